"""The option `convert`: the user's own say in what an item becomes."""

import math

import msgspec
import pytest

from otel_rum_exporter import DropReason, RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.events import CumulativeLayoutShiftEvent, CustomEvent, HttpEvent, PageViewEvent
from otel_rum_exporter.otlp import items

MONITOR_ID = "11111111-2222-3333-4444-555555555555"


def span(**attributes):
    """A CLIENT span as OTLP JSON has it."""
    pairs = [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in attributes.items()]
    of_span = {
        "name": "GET",
        "kind": 3,
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "2",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000001000000000",
        "attributes": pairs,
    }
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [of_span]}]}]}
    return items(msgspec.json.encode(request))[0]


CALL = span(http__request__method="GET", url__full="https://api.example/cart", http__response__status_code="404")


def convert(item, hook):
    config = RumConfig.load({"app_monitor_id": MONITOR_ID, "convert": hook}, {})
    return Converter(config).span(item)


def details(conversion):
    return [(draft.type, msgspec.json.decode(draft.details)) for draft in conversion.events]


def test_what_is_returned_as_it_came_stays():
    """A function that looks on changes nothing, and ids stay."""
    seen = []

    def look(item, events):
        seen.append((item, list(events)))
        return events

    assert convert(CALL, look) == convert(CALL, None)
    assert seen[0][0] is CALL
    assert isinstance(seen[0][1][0], HttpEvent)


def test_changed_event_keeps_its_id():
    """A replacement of the same type stands for the same part of the item."""
    changed = convert(CALL, lambda _, events: [msgspec.structs.replace(events[0], trace_id=msgspec.UNSET)])
    assert "trace_id" not in details(changed)[0][1]
    assert changed.events[0].id == convert(CALL, None).events[0].id


def test_added_events_have_ids_of_their_own_and_the_items_time():
    """Events may be added, for items that would become nothing too."""
    added = CustomEvent("cart.failed", {"items": 3})
    both = convert(CALL, lambda _, events: [*events, added])
    assert details(both)[1] == ("cart.failed", {"items": 3})
    assert len({draft.id for draft in both.events}) == 2
    assert both.events[1].time_ns == 1_700_000_001_000_000_000
    database = span(db__system="postgresql")
    assert convert(database, lambda *_: None) is DropReason.FILTERED
    assert details(convert(database, lambda *_: [added])) == [("cart.failed", {"items": 3})]


@pytest.mark.parametrize("nothing", [None, [], ()])
def test_nothing_drops_the_item(nothing):
    """An item that would have become something is counted under its own reason."""
    assert convert(CALL, lambda *_: nothing) is DropReason.HOOK


@pytest.mark.parametrize(
    "returned",
    [
        "text",
        {"type": "x"},
        PageViewEvent(pageId=7),
        CumulativeLayoutShiftEvent(value=math.nan),
        HttpEvent(request=None),
        PageViewEvent(pageId=""),
        CustomEvent("", {}),
    ],
    ids=["text", "dict", "wrong type", "not a number", "not an object", "no page", "no type"],
)
def test_what_rum_would_refuse_raises(returned):
    """The pipeline counts such an item as unconvertible; nothing invalid is ever sent."""
    with pytest.raises((TypeError, ValueError, msgspec.ValidationError)):
        convert(CALL, lambda *_: [returned])


def test_custom_types_are_made_valid():
    """A function cannot pass a custom event for a built-in one."""
    made = convert(CALL, lambda *_: [CustomEvent("com.amazon.rum.http_event", {}), CustomEvent("a b", {})])
    assert [draft.type for draft in made.events] == ["custom.com.amazon.rum.http_event", "a_b"]


def test_pages_are_made_to_fit():
    """A page is in the metadata of all that happens on it, where a text has 256 characters at most."""
    made = convert(CALL, lambda *_: [PageViewEvent(pageId="/" + "x" * 5000)])
    assert [len(draft.details.pageId) for draft in made.events] == [256]


def test_own_traffic_is_not_asked_about():
    """What sending causes is not the user's."""
    own = span(http__request__method="POST", url__full=f"https://rum.example/appmonitors/{MONITOR_ID}/")
    assert convert(own, lambda *_: pytest.fail("called")) is DropReason.SELF_TRAFFIC


def test_log_records_are_asked_about_too():
    """Plain records, which RUM knows nothing like, may become events."""
    record = {"timeUnixNano": "1700000000000000000", "body": {"stringValue": "order 7 placed"}, "attributes": []}
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    (log,) = items(msgspec.json.encode(request))

    def placed(item, events):
        return [*events, CustomEvent("order.placed", {"text": item.log_record.body})]

    config = RumConfig.load({"app_monitor_id": MONITOR_ID, "convert": placed}, {})
    assert details(Converter(config).log(log, LogEventIds())) == [("order.placed", {"text": "order 7 placed"})]


def test_items_that_complete_others_still_do():
    """A function cannot take away what an item says of others, and one that looks on changes nothing of it."""
    fetch = {
        "name": "documentFetch",
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "3",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000001000000000",
        "events": [
            {"name": name, "timeUnixNano": "1700000000500000000"} for name in ("fetchStart", "responseStart", "foreign")
        ],
    }
    (item,) = items(msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"spans": [fetch]}]}]}))
    (marks,) = convert(item, None).facts.values()
    assert set(marks.times_ns) == {"fetchStart", "responseStart"}, "marks of the instrumentation only"
    assert convert(item, lambda _, events: events) == convert(item, None)
    left_out = convert(item, lambda *_: [])
    assert (left_out.events, left_out.facts) == ([], convert(item, None).facts)
