"""Ids of events: the same for the same item, another one for another."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.convert.ids import LogEventIds, span_event_id, uuid_of

FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def context(trace_id=0x8C32, span_id=0xB9A2):
    return SimpleNamespace(trace_id=trace_id, span_id=span_id)


def record(**members):
    defaults = {"trace_id": 1, "span_id": 2, "observed_timestamp": 3}
    return SimpleNamespace(**{**defaults, **members})


@given(st.binary(min_size=16, max_size=16))
def test_form(digest):
    """Version 8 of RFC 9562, 36 characters."""
    assert FORM.fullmatch(uuid_of(digest))


def test_span_ids_are_stable():
    """Fixed for good: a restart and another process derive the same."""
    assert span_event_id(context(), "span", "{}") == "42c29f23-3171-8c0c-88eb-31ddfa87106b"


def test_span_ids_are_distinct():
    """By span, by trace, by the part of the span; the content counts only where there are no ids."""
    ids = {
        span_event_id(context(), "span", "a"),
        span_event_id(context(), "event:0", "a"),
        span_event_id(context(), "event:1", "a"),
        span_event_id(context(span_id=1), "span", "a"),
        span_event_id(context(trace_id=1), "span", "a"),
        span_event_id(context(span_id=0), "span", "a"),
        span_event_id(context(span_id=0), "span", "b"),
        span_event_id(None, "span", "c"),
    }
    assert len(ids) == 8
    assert span_event_id(context(), "span", "another content") in ids
    assert span_event_id(None, "span", "a") in ids


@pytest.mark.parametrize(
    "changed",
    [{"record": record(trace_id=9)}, {"record": record(span_id=9)}, {"record": record(observed_timestamp=9)},
     {"session": "other"}, {"session": None}, {"time_ns": 9}, {"content": "other"}],
    ids=["trace", "span", "observed", "session", "no session", "time", "content"],
)  # fmt: skip
def test_log_ids(changed):
    """Whatever tells two records apart gives them ids of their own; the same record has the same id."""
    one = {"record": record(), "session": "s", "time_ns": 5, "content": "c"}
    assert LogEventIds().next(**one) == LogEventIds().next(**one)
    assert LogEventIds().next(**one) != LogEventIds().next(**{**one, **changed})


def test_equal_records_of_one_export():
    """They are numbered; a resend of the export numbers them alike."""
    one = {"record": record(trace_id=None, span_id=None), "session": "s\ud800", "time_ns": 5, "content": "c"}
    exports = [LogEventIds() for _ in range(2)]
    first, again = ([ids.next(**one) for _ in range(5)] for ids in exports)
    assert first == again
    assert len(set(first)) == 5
    assert all(FORM.fullmatch(each) for each in first)
