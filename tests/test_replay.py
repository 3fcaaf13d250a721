"""What real browsers sent, item by item through conversion, ledger and assembly: the same events in whatever order."""

import json
import random
from collections import Counter, defaultdict

import msgspec
import pytest
from aws_schemas import Schemas

from otel_rum_exporter import otlp
from otel_rum_exporter.assembly import assemble
from otel_rum_exporter.client import Delivered
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.ledger import Ledger

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
        self._config = RumConfig(app_monitor_id=MONITOR, **options)
        self._converter = Converter(self._config)
        self._session_metadata = session_metadata
        self.ledger = Ledger(self._config)
        self.requests = []

    def put(self, item, ids=None):
        """Admit an item; log records come with the ids of their export."""
        is_log = hasattr(item, "log_record")
        converted = self._converter.log(item, ids or LogEventIds()) if is_log else self._converter.span(item)
        self.ledger.admit([converted], 0.0)

    def deliver(self):
        """Build and deliver everything that waits."""
        self.ledger.begin_flush()
        while (job := self.ledger.take(0.0)) is not None:
            view = self.ledger.session_of(job)
            assembled = assemble(job, view, self._config, session_metadata=self._session_metadata)
            delivery = self.ledger.keep(job, assembled)
            if delivery is not None:
                self.requests.append(msgspec.to_builtins(delivery.batch.request()))
                self.ledger.settle(delivery, Delivered())

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
