"""Golden pairs: OTLP JSON in, RUM events out. Each file is a family of cases, each case says why it is as it is.

A case has `exports` (the OTLP/HTTP bodies in their order), perhaps `options`, and what comes of it: `requests` as
PutRumEvents gets them, and what was dropped by reason. `python tests/convert/golden.py rewrite` writes the outcome of
the present code into the files, to be read as a diff against the specification before it is kept.
"""

import json
import sys
from pathlib import Path

from straight_line import StraightLine, configured, readable

from otel_rum_exporter import otlp
from otel_rum_exporter.convert import Converter, LogEventIds

FOLDER = Path(__file__).parent / "golden"
CAPTURED = FOLDER / "captures"
OUTCOME = ("requests", "items_dropped", "events_dropped")
WIDTH = 118


def files():
    return sorted(FOLDER.glob("*.json"))


def cases(path):
    return json.loads(path.read_text())["cases"]


def converter(case):
    """What converts the items of a case."""
    return Converter(configured(**case.get("options", {})))


def converted(case, exports=None):
    """Each item of a case, with what it is converted to: a Conversion or a DropReason."""
    convert = converter(case)
    for export in case["exports"] if exports is None else exports:
        ids = LogEventIds()
        for item in otlp.items(json.dumps(export)):
            yield item, convert.log(item, ids) if isinstance(item, otlp.Log) else convert.span(item)


def raw_outcome(case, **line_options):
    """The requests of a case as they are sent, and the line they went through."""
    line = StraightLine(configured(**case.get("options", {})), **line_options)
    for export in case["exports"]:
        line.put(otlp.items(json.dumps(export)))
    return line.requests(), line


def outcome(case, **line_options):
    requests, line = raw_outcome(case, **line_options)
    return told(requests, line)


def told(requests, line):
    shown = {
        "requests": [readable(request) for request in requests],
        "items_dropped": dict(sorted(line.items_dropped.items())),
        "events_dropped": dict(sorted(line.events_dropped.items())),
    }
    return {name: value for name, value in shown.items() if value or name == "requests"}


def captured_outcomes(folder):
    """The outcome of each file of a capture, sent one after the other by one process."""
    line = StraightLine(configured())
    outcomes = {}
    for path in sorted(folder.glob("*.json")):
        line.items_dropped.clear()
        line.events_dropped.clear()
        line.put(otlp.items(path.read_bytes()))
        outcomes[path.name] = told(line.requests(), line)
    return outcomes


def layout(value, indent=0):
    """JSON text that people can read: what fits into a line stands in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(flat) + indent <= WIDTH:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        members = [f"{inner}{json.dumps(k)}: {layout(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(members) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(inner + layout(v, indent + 2) for v in value) + "\n" + " " * indent + "]"


def rewrite(captures=None):
    """Write what the present code makes of every case into the files."""
    for path in files():
        family = json.loads(path.read_text())
        for case in family["cases"]:
            for name in OUTCOME:
                case.pop(name, None)
            case.update(outcome(case))
        path.write_text(layout(family) + "\n")
    for name in ("browser-events", "browser-spans") if captures else ():
        (CAPTURED / name).mkdir(parents=True, exist_ok=True)
        for file, told_of in captured_outcomes(Path(captures) / name).items():
            (CAPTURED / name / file).write_text(layout(told_of) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] != ["rewrite"]:
        sys.exit("usage: golden.py rewrite [FOLDER OF CAPTURES]")
    rewrite(*sys.argv[2:3])
