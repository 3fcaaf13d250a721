"""What a span costs, beside OTLP/HTTP and beside a plain boto3 loop, and whether that is within the targets.

python dev.py bench [--quick | --full] [--json FILE] [--doc]
python dev.py bench soak [--seconds N] [--svg FILE]
python dev.py bench gateway [--seconds N] [--rounds N] [--json FILE] [--doc]

A benchmark and not a test: it passes or fails nothing. Candidates take turns, so that a slow minute of the machine meets
all of them, and a ratio of two is taken within each round; of the rounds the median counts.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import child
import cpu
import growth
import memory
import quota_spent
import report
import span_end
import stages
import start
from candidates import EXPORT_SIZE, clean_environment
from effort import DEFAULT, FULL, QUICK, Effort
from rows import Row
from sink import Sink
from soak import soak

TOP = Path(__file__).resolve().parent.parent.parent
PAGE = TOP / "docs" / "performance.md"
RAW = TOP / "build" / "bench.json"
RAW_OF_GATEWAY = TOP / "build" / "bench-gateway.json"


def main() -> None:
    """Measure, print and write what was found."""
    arguments = _arguments()
    logging.disable(logging.WARNING)
    clean_environment()
    if arguments.command == "soak":
        soak(arguments.seconds, arguments.svg)
        return
    if arguments.command == "gateway":
        _of_gateway(arguments)
        return
    effort = QUICK if arguments.quick else FULL if arguments.full else DEFAULT
    started = time.monotonic()
    found, rows = _measured(effort)
    _write(found, rows, arguments.json, started)
    details = [*report.tables(found), "", *stages.table(found)]
    _say(found, [*details, "", *report.header(found), "", *report.table(rows)], arguments.json)
    if arguments.doc:
        where = ["", "Where the CPU time goes:", "", *stages.table(found)]
        report.write(PAGE, [*report.header(found), "", *report.markdown(rows), *where])


def _of_gateway(arguments: argparse.Namespace) -> None:
    import gateway  # noqa: PLC0415 - needs the extra `server`

    started = time.monotonic()
    found, rows = gateway.measured(arguments.seconds, arguments.rounds)
    found["versions"] = _versions("uvicorn", "uvloop", "httptools", "protobuf")
    header = [report.versions(found), gateway.title(found), ""]
    where = ["", "Where the CPU time goes:", "", *gateway.where(found)]
    _write(found, rows, arguments.json, started)
    _say(found, [*header, *report.table(rows), *where], arguments.json)
    if arguments.doc:
        report.write(PAGE, [*header, *report.markdown(rows), *where], report.GATEWAY_MARKS)


def _write(found: dict[str, Any], rows: list[Row], path: Path, started: float) -> None:
    found["took_s"] = round(time.monotonic() - started, 1)
    found["table"] = [
        {"figure": each.figure, "target": each.target, "values": each.values, "verdict": each.verdict} for each in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _say(found: dict[str, Any], lines: list[str], path: Path) -> None:
    sys.stdout.write("\n".join([*lines, "", f"Took {found['took_s']:.0f} s; raw numbers: {path}", ""]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=(__doc__ or "").partition("\n")[0])
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="few spans and rounds: an impression in half a minute")
    effort.add_argument("--full", action="store_true", help="many of both: half an hour")
    parser.add_argument("--json", type=Path, metavar="FILE", default=RAW, help="where the raw numbers go")
    parser.add_argument("--doc", action="store_true", help="write the table into docs/performance.md")
    commands = parser.add_subparsers(dest="command")
    long = commands.add_parser("soak", help="the highest rate, for minutes")
    long.add_argument("--seconds", type=int, default=600, help="for how long (default 600)")
    long.add_argument("--svg", type=Path, default=TOP / "docs" / "performance-soak.svg", help="where the plot goes")
    under_load = commands.add_parser("gateway", help="the gateway under load")
    under_load.add_argument("--seconds", type=float, default=20.0, help="of each round (default 20)")
    under_load.add_argument("--rounds", type=int, default=3, help="how many there are (default 3)")
    under_load.add_argument(
        "--json", type=Path, metavar="FILE", default=RAW_OF_GATEWAY, help="where the raw numbers go"
    )
    under_load.add_argument("--doc", action="store_true", help="write the tables into docs/performance.md")
    return parser.parse_args()


def _measured(effort: Effort) -> tuple[dict[str, Any], list[Row]]:
    """Return the raw numbers and the rows."""
    found: dict[str, Any] = {"versions": _versions(), "settings": effort._asdict() | {"export_spans": EXPORT_SIZE}}
    with Sink() as sink:
        found["cpu"] = cpu.measure(sink, effort.spans, effort.rounds)
        found["stages"] = stages.measure(sink.url, effort.stage_spans, effort.growth_rounds)
        found["span_end"] = _span_ends(sink.url, effort)
        found["memory"] = dict(_memory(sink.url, effort))
        found["growth"] = _growth(effort)
        found["quota"] = {str(number): quota_spent.measure(number, effort.quota_s) for number in quota_spent.SESSIONS}
        found["start"] = {
            "imports": [child.measured(start.__file__, "import") for _ in range(effort.imports)],
            "starts": [child.measured(start.__file__, "export", sink.url) for _ in range(effort.starts)],
        }
    return found, list(_rows(found))


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    yield from cpu.rows(found["cpu"])
    yield from span_end.rows(found["span_end"])
    yield from memory.rows(found["memory"])
    yield from growth.rows(found["growth"])
    yield from quota_spent.rows(found["quota"])
    yield from start.rows(found["start"])


def _versions(*more: str) -> dict[str, str]:
    packages = ("boto3", "msgspec", "opentelemetry-sdk", *(more or ("opentelemetry-exporter-otlp-proto-http",)))
    machine = {"Python": platform.python_version(), "CPUs": str(os.cpu_count()), "machine": platform.machine()}
    return machine | {name: importlib.metadata.version(name) for name in packages}


def _span_ends(url: str, effort: Effort) -> dict[str, dict[str, list[list[float]]]]:
    found: dict[str, dict[str, list[list[float]]]] = {
        case: {name: [] for name in span_end.EXPORTERS} for case in ("room", "full")
    }
    for _ in range(effort.end_rounds):
        for case, by_name in found.items():
            for name, rounds in by_name.items():
                rounds.append(child.measured(span_end.__file__, name, url, effort.end_spans, case))
    return found


def _memory(url: str, effort: Effort) -> Iterator[tuple[str, Any]]:
    yield "events", child.measured(memory.__file__, "events", url, effort.memory_events)
    yield "sessions", child.measured(memory.__file__, "sessions", url, effort.memory_sessions)
    if memory.is_measurable():
        yield "flat", child.measured(memory.__file__, "flat", url, effort.flat_spans)


def _growth(effort: Effort) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {str(sessions): [] for sessions in growth.SESSIONS}
    for _ in range(effort.growth_rounds):
        for sessions, rounds in found.items():
            rounds.append(child.measured(growth.__file__, effort.growth_spans, sessions))
    return found


if __name__ == "__main__":
    main()
