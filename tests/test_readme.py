"""What the README says is so: reasons, links, names, code."""

import ast
import re
from pathlib import Path

import pytest

import otel_rum_exporter
from otel_rum_exporter import DropReason, ParkReason, RumConfig

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
RELIABILITY = (TOP / "docs" / "reliability.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]+))?\)")
REASON = re.compile(r"\| (item|event|) *\| `([a-z_]+)` \| \S")


def reasons():
    """The rows of the table of what is dropped, each with whether it is about items or events."""
    _, _, rest = README.partition("| Dropped | Reason | |\n|---|---|---|\n")
    dropped = ""
    for line in rest.splitlines():
        row = REASON.match(line)
        if row is None:
            return
        dropped = row[1] or dropped
        yield dropped, row[2]


def broken_links(page):
    """The links of a page within the repository that lead to no file, or to none of its headings."""
    for path, heading in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        if "://" not in path and not (target.exists() and (not heading or heading in headings(target))):
            yield path, heading


def headings(page):
    """What links call the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_reasons():
    """The table has all reasons and no others, each once for items and once for events at most."""
    rows = list(reasons())
    assert {reason for _, reason in rows} == {reason.value for reason in DropReason}
    assert len(rows) == len(set(rows))


def test_links():
    """Links within the repository lead somewhere."""
    assert {"docs/mapping.md", "examples/notes_app.py"} <= {path for path, _ in LINK.findall(README)}
    assert list(broken_links(TOP / "README.md")) == []
    assert list(broken_links(TOP / "docs" / "performance.md")) == []


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_code(code):
    """Its imports from here are promised, and it is Python."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module == "otel_rum_exporter":
            assert {name.name for name in node.names} <= set(otel_rum_exporter.__all__)


def test_functions():
    """Every function that the package promises is mentioned."""
    functions = [name for name in otel_rum_exporter.__all__ if name.islower()]
    assert [name for name in functions if name not in README] == []


def test_reliability_has_advice_on_each_reason():
    """Each reason for a drop stands in its table once, and each for a wait at the top."""
    _, _, rest = RELIABILITY.partition("| Reason | Do this |\n|---|---|\n")
    named = [name for line in rest.splitlines() for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])]
    assert sorted(named) == sorted(reason.value for reason in DropReason)
    assert [reason for reason in ParkReason if f"({reason})" not in RELIABILITY] in ([], [ParkReason.REJECTED])


def test_reliability_shows_the_options_as_they_are():
    """Its bounds name options with their defaults, those with a spool among them."""
    _, _, rest = RELIABILITY.partition("| What | Option | Default |\n|---|---|---|\n")
    table, _, _ = rest.partition("\n\n")
    spooled = RumConfig.load({"spool_dir": "/var/spool/rum"}, {})
    assert table
    for line in table.splitlines():
        _, _, options, defaults, _ = line.split("|")
        names, values = (re.findall(r"`([a-z0-9_]+)`", cell) for cell in (options, defaults))
        expected = [str(getattr(RumConfig(), name)) for name in names]
        if "with a spool" in defaults:
            expected += [str(getattr(spooled, name)) for name in names]
        assert values == expected
    mentioned = set(re.findall(r"`([a-z]+_[a-z_]+)(?:=[^`]*)?`", RELIABILITY))
    known = (
        set(RumConfig.__dataclass_fields__)
        | {reason.value for reason in DropReason}
        | {"force_flush", "flush_after", "drop_oldest"}
    )
    assert mentioned <= known


def test_the_map_of_the_code_has_each_module():
    """A newcomer finds every module and package of the top level in it, and nothing that is not there."""
    page = TOP / "docs" / "code.md"
    named = set(re.findall(r"`([a-z_]+/?)`", page.read_text(encoding="utf-8").partition("|---|")[2]))
    entries = [path for path in (TOP / "otel_rum_exporter").iterdir() if not path.name.startswith("__")]
    modules = {path.stem for path in entries if path.suffix == ".py"}
    assert modules | {f"{path.name}/" for path in entries if path.is_dir()} == named - {"_locked", "tests/"}
    assert list(broken_links(page)) == []


def test_reliability_names_metrics_that_there_are():
    """Those to watch stand in the README's table."""
    metrics = README.partition("<!-- metrics:start -->")[2].partition("<!-- metrics:end -->")[0]
    watched = re.findall(r"`((?:rum|otel)\.[a-z_.]+)`", RELIABILITY)
    assert watched
    assert [name for name in watched if f"`{name}`" not in metrics] == []


def test_reliability_leads_somewhere():
    """Its links, and the lines of the log that it explains."""
    assert LINK.findall(RELIABILITY)
    assert list(broken_links(TOP / "docs" / "reliability.md")) == []
    source = "".join(path.read_text(encoding="utf-8") for path in (TOP / "otel_rum_exporter").rglob("*.py"))
    for line in ("takes nothing at present", "refuses whatever it is sent", "failed and will be tried again",
                 "kept as a dead letter", "Events are kept in memory only", "is damaged", "with the domain localhost",
                 "not delivered before the exporter was shut down"):  # fmt: skip
        assert line in source
        assert line in RELIABILITY
