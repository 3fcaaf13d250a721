"""What real browsers sent, item by item through conversion, ledger and assembly: the same events in whatever order."""

import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import pytest
from aws_schemas import Schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.trace import SpanKind

from otel_rum_exporter import otlp
from otel_rum_exporter.client.verdicts import Delivered
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.events import MAX_EVENT_BYTES
from otel_rum_exporter.sending.assembly import assemble
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sessions.identity import user_uuid

MONITOR = "11111111-2222-4333-8444-555555555555"
SEEDS = range(20)
SHUFFLED_NS = 2 * 10**9
FOLDERS = ["browser-events", "browser-spans"]
RUM = "com.amazon.rum."
SPANS_AGAINST_AWS_RUM_WEB = {
    # type: aws-rum-web's number, ours, and why they differ
    RUM + "session_start_event": (1, 1, ""),
    RUM + "performance_navigation_event": (1, 1, ""),
    RUM + "time_to_first_byte_event": (1, 1, ""),
    RUM + "http_event": (6, 6, ""),
    RUM + "xray_trace_event": (6, 6, ""),
    RUM + "dom_event": (2, 2, ""),
    RUM + "page_view_event": (3, 1, "the instrumentations tell of loads, not of route changes"),
    RUM + "performance_resource_event": (5, 4, "the favicon is loaded after the load, when nothing looks any more"),
    RUM + "first_contentful_paint_event": (1, 0, "the paint came after the load, when documentLoad had ended"),
    RUM + "largest_contentful_paint_event": (1, 0, "no web vitals"),
    RUM + "first_input_delay_event": (1, 0, "no web vitals"),
    RUM + "cumulative_layout_shift_event": (1, 0, "no web vitals"),
    RUM + "interaction_to_next_paint_event": (1, 0, "no web vitals"),
    RUM + "js_error_event": (3, 1, "no uncaught errors; the one is recorded on the application's own span"),
    "otel.span": (0, 1, "the application's own span"),
    "coupon.applied": (0, 1, "the event of that span"),
}


class Replay:
    """The pipeline without its threads, its network and its clock."""

    def __init__(self, *, session_metadata=True, **options):
        self._config = RumConfig(**{"app_monitor_id": MONITOR, "max_requests_per_second": 1e9, **options})
        self._converter = Converter(self._config)
        self._session_metadata = session_metadata
        self.ledger = Ledger(self._config)
        self.requests = []

    def put(self, item, ids=None, now=0.0):
        """Admit an item; log records come with the ids of their export."""
        is_log = hasattr(item, "log_record")
        converted = self._converter.log(item, ids or LogEventIds()) if is_log else self._converter.span(item)
        self.ledger.admit([converted], now)

    def deliver(self):
        """Build and deliver everything that waits."""
        self.ledger.begin_flush()
        self.send(0.0)

    def send(self, now):
        """Build and deliver what is due."""
        while (job := self.ledger.take(now)) is not None:
            view = self.ledger.session_of(job)
            assembled = assemble(job, view, self._config, session_metadata=self._session_metadata)
            delivery = self.ledger.keep(job, assembled, now)
            if delivery is not None:
                self.requests.append(msgspec.to_builtins(delivery.part.batch.request()))
                self.ledger.settle(delivery, Delivered(), now)

    def events(self):
        """The events as the service sees them: what a request says of all of them is in each."""
        seen = set()
        for request in self.requests:
            shared = json.loads(request.get("SessionMetadata", "{}"))
            for event in request["RumEvents"]:
                metadata = json.dumps({**shared, **json.loads(event["metadata"])}, sort_keys=True)
                seen.add((event["id"], event["type"], event["timestamp"], event["details"], metadata))
        return seen


def sent(folder):
    """The items of a capture, each with the moment at which it was sent and the export that it is of."""
    for path in sorted(folder.glob("*.json")):
        for item in otlp.items(path.read_bytes()):
            yield sent_ns(item), item, path


def sent_ns(item):
    if hasattr(item, "log_record"):
        return item.log_record.observed_timestamp or item.log_record.timestamp
    return item.end_time


def replayed(items, **options):
    replay, ids = Replay(**options), defaultdict(LogEventIds)
    for _, item, export in items:
        replay.put(item, ids[export])
    replay.deliver()
    return replay


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("xray_events", [False, True], ids=["", "xray"])
def test_order_of_arrival_does_not_matter(folder, xray_events, captures, rum_schemas):
    """In order, and shuffled within two seconds: the same ids, times, details and metadata, all of them valid."""
    items = list(sent(captures / folder))
    in_order = replayed(items, xray_events=xray_events)
    assert in_order.events()
    schemas = Schemas(rum_schemas)
    assert [problem for request in in_order.requests for problem in schemas.problems_of_request(request)] == []
    for seed in SEEDS:
        random_ = random.Random(seed)
        shuffled = sorted(items, key=lambda each: each[0] + random_.uniform(0, SHUFFLED_NS))
        other = replayed(shuffled, xray_events=xray_events)
        assert sorted(other.events() - in_order.events()) == sorted(in_order.events() - other.events())


# batches that leave by themselves

SESSION = "0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"
BROWSER = otlp.Resource({"telemetry.sdk.language": "webjs"})


def record(at_s, name, user=None, **attributes):
    """A log event of a browser; attributes with `_` for `.`."""
    named = {key.replace("_", "."): value for key, value in attributes.items()} | ({"user.id": user} if user else {})
    time_ns = T + round(at_s * 1e9)
    body = otlp.LogRecord(time_ns, time_ns, 0, 0, None, {"session.id": SESSION, **named}, name)
    return time_ns, otlp.Log(body, BROWSER, None)


def visit():
    """A user who opens a page every 0.7 seconds, does something on each, and logs in on the way."""
    for number in range(40):
        at_s = 0.7 * number
        yield record(at_s, "browser.navigation", url_full=f"https://shop.example/{number % 7}")
        yield from (record(at_s + 0.05 * i, "clicked", step=f"{number}.{i}") for i in range(1, 8))
    yield record(13.31, "logged.in", user="ada")
    yield record(20.02, "bought", user="ada")
    yield record(20.03, "logged.in", user="jo")


def as_it_arrives(items, **options):
    """Replay items by the times at which they arrive; batches leave when they are due."""
    replay, now = Replay(**options), 0.0
    for arrives_ns, item in items:
        while now < (arrives_ns - T) / 1e9:
            now += 0.1
            replay.send(now)
        replay.put(item, now=now)
    for _ in range(100):
        now += 0.1
        replay.send(now)
    return replay


def seen_by_user(replay):
    """The events with their users, without the ids."""
    return Counter(
        (request["UserDetails"]["userId"], event["type"], event["timestamp"], event["details"], event["metadata"])
        for request in replay.requests
        for event in request["RumEvents"]
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"max_events": 10}, {"attributes": ("step", "url.full")}],
    ids=["by age", "by number", "custom attributes"],
)
def test_order_of_arrival_does_not_matter_on_the_timer(options):
    """Without a flush, too: batches leave when they are old or full, and every event has its page, number and user."""
    items = sorted(visit(), key=lambda each: each[0])
    in_order = as_it_arrives(items, **options)
    expected = seen_by_user(in_order)
    assert expected.total() == len(items) + 1
    assert len(in_order.requests) > 5
    for seed in SEEDS:
        random_ = random.Random(seed)
        shuffled = sorted(
            ((at_ns + random_.uniform(0, SHUFFLED_NS), item) for at_ns, item in items), key=lambda e: e[0]
        )
        other = as_it_arrives(shuffled, **options)
        assert seen_by_user(other) == expected
        assert other.ledger.statistics().is_balanced


def test_a_page_that_is_told_of_too_late():
    """Its view has no number, and no other page's changes: numbers that were sent are never given twice."""
    items = sorted(visit(), key=lambda each: each[0])
    late = [each for each in items if getattr(each[1].log_record, "event_name", "") == "browser.navigation"][10]
    replay = as_it_arrives([each for each in items if each is not late] + [(late[0] + 12 * 10**9, late[1])])
    views = [
        json.loads(event["details"])
        for request in replay.requests
        for event in request["RumEvents"]
        if event["type"] == RUM + "page_view_event"
    ]
    numbers = [view["interaction"] for view in views if "interaction" in view]
    assert numbers == list(range(39))
    assert [view for view in views if "interaction" not in view] == [{"version": "1.0.0", "pageId": "/3"}]


def test_a_session_that_ended_long_before_its_batch():
    """Its last events still have their pages, numbers and user."""
    items = [
        record(0, "browser.navigation", user="ada", url_full="https://shop.example/a"),
        record(2, "browser.navigation", url_full="https://shop.example/b"),
        record(3, "clicked"),
        record(4, "session.end"),
        *(record(at_s, "clicked", session_id="another") for at_s in (15, 25)),
    ]
    requests = as_it_arrives(items, flush_interval=30_000).requests[:1]
    assert [request["UserDetails"]["userId"] for request in requests] == [user_uuid("ada", MONITOR, None)]
    pages = [json.loads(event["metadata"]) for event in requests[0]["RumEvents"]]
    assert [(page["pageId"], page["interaction"]) for page in pages] == [("/a", 0), ("/a", 0), ("/b", 1), ("/b", 1)]


def test_what_spans_alone_can_report(captures):
    """The span instrumentations of a browser beside aws-rum-web, the same actions on the same page."""
    golden = [json.loads(path.read_text()) for path in sorted((captures / "aws-rum-web-golden").glob("*.json"))]
    ours = replayed(sent(captures / "browser-spans"), xray_events=True).requests
    theirs, ours = (Counter(event["type"] for each in them for event in each["RumEvents"]) for them in (golden, ours))
    expected = SPANS_AGAINST_AWS_RUM_WEB
    assert {kind: (theirs[kind], ours[kind]) for kind in theirs | ours} == {k: each[:2] for k, each in expected.items()}
    assert all(bool(why) is (theirs != ours) for theirs, ours, why in expected.values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_metadata_once_or_merged(folder, captures):
    """What the service sees does not depend on whether botocore knows SessionMetadata."""
    items = list(sent(captures / folder))
    merged = replayed(items, session_metadata=False)
    assert all("SessionMetadata" not in request for request in merged.requests)
    assert merged.events() == replayed(items).events()


@pytest.mark.parametrize("folder", FOLDERS)
def test_equations(folder, captures):
    """Every item is converted or dropped for a reason, every event delivered or dropped for one."""
    statistics = replayed(sent(captures / folder)).ledger.statistics()
    assert statistics.is_balanced
    assert statistics.queued == 0
    assert statistics.received == sum(1 for _ in sent(captures / folder))


# any items in any order

GOLDEN = sorted((Path(__file__).parent / "convert" / "golden").glob("*.json"))
POOL = [
    item
    for path in GOLDEN
    for case in json.loads(path.read_text())["cases"]
    for export in case["exports"]
    for item in otlp.items(json.dumps(export))
]
NAMES = sorted({name for item in POOL for name in (getattr(item, "log_record", item).attributes)})
VALUES = [value for item in POOL for value in getattr(item, "log_record", item).attributes.values()]
EVENT_NAMES = sorted({item.log_record.event_name or "" for item in POOL if hasattr(item, "log_record")})
SPAN_NAMES = sorted({item.name for item in POOL if not hasattr(item, "log_record")})
T = 1_790_000_000 * 10**9

strange = st.sampled_from(
    [None, 0, -1, 10**400, 1e308, float("nan"), "", "x" * 10_000, "\ud800", b"x", (1, "a"), {"a": {}}, True]
)
values = st.sampled_from(VALUES) | strange | st.floats() | st.text(max_size=8)
times = st.sampled_from(
    [0, 1, -1, T, T + 1, T - 40 * 10**9, T + 10**9, 10**18, 10**18 - 1, 2**63, 10**25]
) | st.integers(T - 10**11, T + 10**11)
ids = st.sampled_from([0, 1, 2, 2**64 - 1])
changes = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
removals = st.sets(st.sampled_from(NAMES), max_size=3)


@st.composite
def mangled(draw):
    """An item of the golden pairs, perhaps changed: its attributes, its times, its name, its ids, its body."""
    item = draw(st.sampled_from(POOL))
    if draw(st.booleans()):
        return item
    record = getattr(item, "log_record", item)
    left_out = draw(removals)
    kept = {name: value for name, value in record.attributes.items() if name not in left_out}
    members = {"attributes": {**kept, **draw(changes)}}
    if record is item:
        more = {
            "name": st.sampled_from(SPAN_NAMES),
            "kind": st.sampled_from(SpanKind),
            "start_time": times,
            "end_time": times,
            "context": st.builds(otlp.SpanContext, ids, ids),
            "parent": st.none() | st.builds(otlp.SpanContext, ids, ids, st.booleans()),
            "events": st.lists(
                st.sampled_from([event for each in POOL for event in getattr(each, "events", ())]), max_size=4
            ),
        }
    else:
        more = {
            "event_name": st.sampled_from(EVENT_NAMES),
            "timestamp": times,
            "observed_timestamp": times,
            "trace_id": ids,
            "body": values | st.dictionaries(st.sampled_from(["session.id", "name", "value"]), values, max_size=3),
        }
    members |= draw(st.fixed_dictionaries({}, optional=more))
    changed = replace(record, **members)
    return changed if record is item else replace(item, log_record=changed)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "attributes": st.just(("*",)),
        "custom_events": st.sampled_from(["none", "all"]),
        "http_events": st.sampled_from(["failures", "none"]),
        "max_bytes": st.just(8192),
        "max_events": st.sampled_from([1, 3]),
        "page_id_format": st.sampled_from(["hash", "path_and_hash"]),
        "queue_events": st.just(3),
        "resource_details": st.just("full"),
        "resource_image_limit": st.sampled_from([0, 1]),
        "session": st.just("require"),
        "session_event_limit": st.sampled_from([1, 4]),
        "session_start": st.sampled_from(["from_events", "off"]),
        "context_sessions": st.just(1),
        "xray_events": st.just(value=True),
    },
)


@pytest.fixture(scope="module")
def schemas(request):
    """AWS's schemas where they are at hand; the rest of what these tests say holds without them."""
    try:
        return Schemas(request.getfixturevalue("rum_schemas"))
    except pytest.skip.Exception:
        return None


@given(st.lists(st.tuples(mangled(), st.integers(1, 2), st.booleans()), max_size=12), OPTIONS, st.booleans())
@settings(max_examples=int(os.environ.get("RUM_EXAMPLES", "150")))
def test_any_sequence(schemas, steps, options, session_metadata):
    """Valid and mangled items, repeated and in any order: nothing raises, every event is valid, nothing is lost count of."""
    replay = Replay(session_metadata=session_metadata, **options)
    for item, times_sent, is_flushed in steps:
        for _ in range(times_sent):
            replay.put(item)
        if is_flushed:
            replay.deliver()
    assert replay.ledger.statistics().is_balanced
    replay.deliver()
    statistics = replay.ledger.statistics()
    assert statistics.is_balanced
    assert statistics.queued == 0
    assert statistics.delivered == sum(len(request["RumEvents"]) for request in replay.requests)
    for request in replay.requests:
        assert not (schemas and schemas.problems_of_request(request))
        for event in request["RumEvents"]:
            assert len(event["details"].encode() + event["metadata"].encode()) <= MAX_EVENT_BYTES
            assert 10**9 <= event["timestamp"] < 2**34
            for text in (event["details"], event["metadata"]):
                json.loads(text, parse_constant=pytest.fail)
