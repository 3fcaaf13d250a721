"""The table of the proofs, from pytest's JUnit report: what each measured, and the tests elsewhere that show the rest.

python proof_table.py REPORT.xml TABLE.json
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from proof_record import PROPERTY, Measured

VERDICTS = {True: "met", False: "MISSED", None: "-"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the contract that tests elsewhere show."""

    line: str
    what: str
    target: str
    tests: str


LISTED = (
    Listed("A4", "the spool alone, killed at random", "0 kept events lost", "tests/spool/test_spool_kills.py"),
    Listed("A7", "a full disk drains", "100 %", "tests/spool/test_spool_full_disk.py"),
    Listed("A8", "damaged spools", "readable rows saved, the rest put aside", "tests/spool/test_spool_corruption.py"),
    Listed("A10", "what a dead sibling left is adopted", "0 lost, once", "tests/pipeline/test_store.py"),
    Listed("B8", "drip, reset, TLS stall, slow DNS", "tried again, 0 lost", "tests/pipeline/test_transport.py"),
    Listed("B1-B4, B6", "pacing, simulated", "see there", "tests/pipeline/test_pacing.py"),
    Listed("B10, C1-C3, C6", "dispatch, simulated", "see there", "tests/pipeline/test_dispatch.py"),
    Listed("D4", "all ends of a process, healthy endpoint", "0 lost", "tests/lifecycle/test_exits.py"),
    Listed("D5", "SIGTERM", "0 lost, chained", "tests/lifecycle/test_sigterm.py"),
    Listed("D6", "Lambda, frozen and thawed", "0 lost", "tests/lifecycle/test_lambda.py"),
    Listed("D7, E6", "cycles and threads", "back to the baseline, conserved", "tests/lifecycle/test_cycles.py"),
    Listed("E1, E3", "gunicorn, uWSGI, celery", "0 lost, 0 duplicates", "tests/lifecycle/test_servers.py"),
    Listed("E2-E4", "forks, with each lock held", "child delivers", "tests/lifecycle/test_forks.py"),
    Listed("E5", "gevent and asyncio", "no waiting for the network", "tests/lifecycle/test_loops.py"),
    Listed("F3", "hostile values", "never raises", "tests/lifecycle/test_hostile_values.py"),
    Listed("I3", "root logger exports everything, endpoint down", "no feedback", "tests/lifecycle/test_feedback.py"),
)


def main(report: Path, table: Path) -> None:
    """Print the table, and write it as JSON."""
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest has just written it
    rows = [*_measured(cases), *filter(None, (_listed(each, cases) for each in LISTED))]
    rows.sort(key=lambda row: row["line"])
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    columns = ("line", "what", "target", "measured", "verdict")
    for row in (dict(zip(columns, columns, strict=True)), *rows):
        sys.stdout.write(" | ".join(row[column] for column in columns) + "\n")


def _measured(cases: list[ET.Element]) -> Iterator[dict[str, str]]:
    """Yield what the proofs recorded, and a row for each that recorded nothing."""
    for case in cases:
        if not case.get("classname", "").startswith("tests.proofs."):
            continue
        outcome = _outcome(case)
        recorded = [each.get("value", "") for each in case.iter("property") if each.get("name") == PROPERTY]
        for text in recorded:
            row = Measured(**json.loads(text))
            verdict = "FAILED" if outcome == "failed" else VERDICTS[row.is_met]
            yield {key: value for key, value in asdict(row).items() if key != "is_met"} | {"verdict": verdict}
        if not recorded:
            name = case.get("name", "")
            yield {"line": "?", "what": name, "target": "", "measured": _reason(case), "verdict": outcome.upper()}


def _listed(listed: Listed, cases: list[ET.Element]) -> dict[str, str] | None:
    """Return the row of a test file; None if it was not run."""
    module = listed.tests.removesuffix(".py").replace("/", ".")
    outcomes = [_outcome(case) for case in cases if case.get("classname", "").startswith(module)]
    if not outcomes:
        return None
    numbers = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
    return {
        "line": listed.line,
        "what": f"{listed.what} ({listed.tests})",
        "target": listed.target,
        "measured": ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number),
        "verdict": "FAILED" if numbers["failed"] else "met" if numbers["passed"] else "SKIPPED",
    }


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _reason(case: ET.Element) -> str:
    reasons = [each.get("message") or "" for each in case if each.tag in {"failure", "error", "skipped"}]
    return reasons[0].splitlines()[0] if reasons and reasons[0] else "nothing recorded"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
