"""docs/mapping.md says what the code does: every name of the dispatch tables is in its tables, and no other."""

import re
from pathlib import Path

import pytest

from otel_rum_exporter import events
from otel_rum_exporter.convert import custom, logs, mobile, spans

TEXT = (Path(__file__).parent.parent / "docs" / "mapping.md").read_text(encoding="utf-8")


def rows(title):
    """The rows of a section's table, each as its cells."""
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1:]]


def names(cell):
    return set(re.findall(r"`([^`]+)`", cell))


def named_in_first_cells(title):
    return set().union(*(names(row[0]) for row in rows(title)))


def event_types():
    structs = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Details)]
    return {each.type_.removeprefix(events.PREFIX) for each in structs if hasattr(each, "type_")}


# names in the first cells that are no names of items
ATTRIBUTES = {"exception.type", "exception.message", "event_type", "target_xpath"}


def test_log_events():
    known = set(logs.FAMILIES) | logs.UNMAPPED | {"browser.console"}
    assert named_in_first_cells("Log events") - ATTRIBUTES == known


def test_spans():
    known = set(spans.FAMILIES) | spans.UNMAPPED | set(mobile.SHOWN)
    assert named_in_first_cells("Spans") - ATTRIBUTES == known


@pytest.mark.parametrize("title", ["Log events", "Spans"])
def test_event_types_exist(title):
    """The second cells name RUM's types, custom types, options and reasons; no type is misspelt."""
    named = set().union(*(names(row[1]) for row in rows(title)))
    assert {name for name in named if name.endswith("_event")} <= event_types()


def test_every_type_is_named():
    assert event_types() <= names(TEXT)
    assert {custom.SPAN_TYPE, *mobile.STARTS.values()} <= names(TEXT)


def test_unmapped_rows_are_the_unmapped_names():
    dropped = [names(row[0]) for title in ("Log events", "Spans") for row in rows(title) if "unmapped" in row[1]]
    assert set().union(*dropped) == logs.UNMAPPED | spans.UNMAPPED
