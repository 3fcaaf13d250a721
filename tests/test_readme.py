"""What the README says is so: reasons, links, names, code."""

import ast
import re
from pathlib import Path

import pytest

import otel_rum_exporter
from otel_rum_exporter import DropReason

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
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


def test_reasons():
    """The table has all reasons and no others, each once for items and once for events at most."""
    rows = list(reasons())
    assert {reason for _, reason in rows} == {reason.value for reason in DropReason}
    assert len(rows) == len(set(rows))


def test_links():
    """Links within the repository lead somewhere."""
    links = re.findall(r"\]\(([^)]+)\)", README)
    inner = [link for link in links if "://" not in link]
    assert {"docs/mapping.md", "examples/notes_app.py"} <= set(inner)
    assert [link for link in inner if not (TOP / link).exists()] == []


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
