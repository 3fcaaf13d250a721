"""Ids of events: the same for the same item, another one for another."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.convert.conversion import Part
from otel_rum_exporter.convert.ids import LogEventIds, id_of_part, span_event_id, uuid_of
from otel_rum_exporter.events import SessionStartEvent

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def context(trace_id=0x8C32, span_id=0xB9A2):
    return SimpleNamespace(trace_id=trace_id, span_id=span_id)


def record(**members):
    defaults = {"trace_id": 1, "span_id": 2, "observed_timestamp": 3}
    return SimpleNamespace(**{**defaults, **members})


def part(name="log", time_ns=5):
    return Part(name, time_ns, SessionStartEvent())


@given(st.binary(min_size=16, max_size=16))
def test_form(digest):
    """Version 8 of RFC 9562, 36 characters."""
    assert FORM.fullmatch(uuid_of(digest))


def test_span_ids_are_stable():
    """Fixed for good: a restart and another process derive the same."""
    assert span_event_id(context(), part("span"), "{}") == "42c29f23-3171-8c0c-88eb-31ddfa87106b"
    assert id_of_part(b"span", (0x8C32).to_bytes(16, "big"), (0xB9A2).to_bytes(8, "big")) == span_event_id(
        context(), part("span"), "{}"
    )


def test_span_ids_are_distinct():
    """By span, by trace, by the part of the span; the content counts only where there are no ids."""
    ids = {
        span_event_id(context(), part("span"), "a"),
        span_event_id(context(), part("event:0"), "a"),
        span_event_id(context(), part("event:1"), "a"),
        span_event_id(context(span_id=1), part("span"), "a"),
        span_event_id(context(trace_id=1), part("span"), "a"),
        span_event_id(context(span_id=0), part("span"), "a"),
        span_event_id(context(span_id=0), part("span"), "b"),
        span_event_id(None, part("span"), "c"),
    }
    assert len(ids) == 8
    assert span_event_id(context(), part("span"), "another content") in ids
    assert span_event_id(None, part("span"), "a") in ids


@pytest.mark.parametrize(
    "changed",
    [{"record": record(trace_id=9)}, {"record": record(span_id=9)}, {"record": record(observed_timestamp=9)},
     {"session": "other"}, {"session": None}, {"part": part(time_ns=9)}, {"content": "other"}],
    ids=["trace", "span", "observed", "session", "no session", "time", "content"],
)  # fmt: skip
def test_log_ids(changed):
    """Whatever tells two records apart gives them ids of their own; the same record has the same id."""
    one = {"record": record(), "session": "s", "part": part(), "content": "c"}
    assert LogEventIds().next(**one) == LogEventIds().next(**one)
    assert LogEventIds().next(**one) != LogEventIds().next(**{**one, **changed})


def test_equal_records_of_one_export():
    """They are numbered; a resend of the export numbers them alike."""
    one = {"record": record(trace_id=None, span_id=None), "session": "s\ud800", "part": part(), "content": "c"}
    exports = [LogEventIds() for _ in range(2)]
    first, again = ([ids.next(**one) for _ in range(5)] for ids in exports)
    assert first == again
    assert len(set(first)) == 5
    assert all(FORM.fullmatch(each) for each in first)
