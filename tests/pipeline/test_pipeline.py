"""From items to PutRumEvents and back to a verdict: real exporters, the real boto3 client, a real socket."""

import contextlib
import logging
import random
import sys
import threading
import time

import pytest
from botocore.httpsession import URLLib3Session
from opentelemetry import context
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind
from rum_items import MONITOR_ID, RESOURCE, log, session, span, spans, vital
from rum_threads import OWN_THREAD, own_threads

from otel_rum_exporter import DropReason, ParkReason, RumConfig
from otel_rum_exporter.client.lean_client import LeanClient
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.sessions.session import is_sampled

LONG_MS = 30_000
SHORT_MS = 300
WIDE_S = 10  # far more than anything here takes, far less than a hang


def until(exporters, predicate):
    """Wait until the pipeline is in some state; it notifies whenever that changes."""
    changed = exporters.spans.pipeline._changed
    with changed:
        assert changed.wait_for(predicate, 30)


@contextlib.contextmanager
def within(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# what goes together


def test_spans_and_logs_of_a_session_share_one_request(exporters, rum):
    """Across exports and across both exporters."""
    each = exporters()
    for _ in range(3):
        assert each.spans.export(spans(2, session_id=session(1))) is SpanExportResult.SUCCESS
        assert each.logs.export([log(session_id=session(1))]) is LogRecordExportResult.SUCCESS
    assert each.logs.force_flush(LONG_MS)
    (request,) = rum.requests()
    assert (request["events"], request["session_id"]) == (9, session(1))


def test_each_session_has_its_own_requests(exporters, rum):
    """A request is of one session and of one user."""
    each = exporters()
    each.spans.export([span(session_id=session(number % 3), user_id=f"u{number % 2}") for number in range(12)])
    assert each.spans.force_flush(LONG_MS)
    assert len({(request["session_id"], request["user_id"]) for request in rum.requests()}) == 6
    assert rum.stats()["requests"] == 6


def test_full_batches_go_without_a_flush(exporters, rum):
    """A hundred events do not wait for the flush interval."""
    each = exporters()
    each.spans.export(spans(100, session_id=session(1)))
    assert len(rum.wait_for_events(100)) == 100
    assert rum.stats()["requests"] == 1


def test_old_batches_go_without_a_flush(exporters, rum):
    """What is not full goes after the flush interval."""
    exporters(flush_interval=1).spans.export(spans(2, session_id=session(1)))
    rum.wait_for_events(2)


def test_large_batches_are_split_by_bytes(exporters, rum):
    """No body is larger than max_bytes; nothing is lost over it."""
    each = exporters(max_bytes=20_000)
    each.spans.export(spans(30, session_id=session(1), size=3000))
    assert each.spans.force_flush(LONG_MS)
    assert max(request["body_bytes"] for request in rum.requests()) <= 20_000
    assert each.stats().delivered == 30


def test_events_without_ascii_are_split_by_bytes(exporters, rum):
    """What botocore escapes counts as it is sent; events that do not fit are left for the next request."""
    each = exporters(max_bytes=20_000)
    each.spans.export([span("é" * 900, session_id=session(1)) for _ in range(30)])
    assert each.spans.force_flush(LONG_MS)
    assert max(request["body_bytes"] for request in rum.requests()) <= 20_000
    assert each.stats().delivered == 30


def test_metadata_reaches_each_event(exporters, rum):
    """With SessionMetadata or, by an older botocore, in the events themselves."""
    each = exporters(release_id="r1")
    each.spans.export(spans(2, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    for event in rum.events():
        metadata = event["metadata"]
        assert (metadata["domain"], metadata["aws:releaseId"]) == ("shop.example", "r1")


def test_only_the_last_value_of_a_metric_is_sent(exporters, rum):
    """A vital that grows while it waits is one event; the values it replaced are counted."""
    each = exporters()
    for value in (0.1, 0.2, 0.3):
        each.logs.export([vital("CLS", value, session_id=session(1))])
    assert each.logs.force_flush(LONG_MS)
    assert [event["details"]["value"] for event in rum.events()] == [0.3]
    assert each.stats().events_dropped == {DropReason.DUPLICATE: 2}


# threads


def test_threads(exporters):
    """None before the first event; then daemons with a name that says whose they are."""
    each = exporters()
    assert not own_threads()
    each.spans.export([])
    each.logs.export([log(None, session_id=session(1))])
    assert not own_threads()
    each.spans.export(spans(1, session_id=session(1)))
    (thread,) = own_threads()
    assert (thread.name, thread.daemon) == (OWN_THREAD, True)
    each.shutdown()
    thread.join(20)
    assert not thread.is_alive()


def test_no_more_threads_than_requests_in_flight(exporters, rum):
    """max_in_flight bounds both."""
    rum.set_faults(latency_ms=20)
    each = exporters(max_in_flight=3)
    each.spans.export([span(session_id=session(number)) for number in range(12)])
    assert each.spans.force_flush(LONG_MS)
    assert 1 < len(own_threads()) <= 3
    assert 1 < rum.stats()["in_flight"]["max"] <= 3


CONNECTING = []


def _record_connections(event, _arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and CONNECTING:
        CONNECTING[-1].add(threading.current_thread().name)


sys.addaudithook(_record_connections)  # cannot be removed; it does nothing outside of the block below


@contextlib.contextmanager
def connecting_threads():
    """The names of the threads that open connections meanwhile."""
    CONNECTING.append(set())
    try:
        yield CONNECTING[-1]
    finally:
        CONNECTING.pop()


def test_export_never_waits_for_the_network(exporters, rum):
    """With an endpoint that hangs, export returns; only the exporter's own threads connect."""
    rum.set_faults(hang=True)
    each = exporters(flush_interval=0, timeout=1000)
    with connecting_threads() as names:
        for number in range(20):
            assert each.spans.export(spans(5, session_id=session(number))) is SpanExportResult.SUCCESS
            assert each.logs.export([log(session_id=session(number))]) is LogRecordExportResult.SUCCESS
        until(each, lambda: names)
    assert names == {OWN_THREAD}
    assert each.stats().delivered == 0
    rum.clear_faults()
    assert each.spans.force_flush(LONG_MS)


def test_instrumentation_is_suppressed_while_sending(exporters, monkeypatch):
    """Instrumentations of botocore, urllib3 and requests honour this context key."""
    each = exporters()
    seen, send = [], URLLib3Session.send

    def look_and_send(session, request):
        seen.append(context.get_value("suppress_instrumentation"))
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", look_and_send)
    each.spans.export(spans(1, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    assert seen == [True]


def test_one_batch_of_a_session_is_in_flight(exporters, rum):
    """Sessions are sent at the same time, the batches of one after each other."""
    rum.set_faults(latency_ms=10)
    each = exporters(max_events=1)
    each.spans.export([span(str(number), session_id=session(number % 4)) for number in range(20)])
    assert each.spans.force_flush(LONG_MS)
    in_flight = rum.stats()["in_flight"]
    assert in_flight["max_per_session"] == 1
    assert in_flight["max"] > 1
    order = [int(event["details"]["name"]) for event in rum.events(session=session(1))]
    assert order == sorted(order)


# attempts


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429, "retry_after": "abc"}, {"reset": "before"}, {"reset": "after"}], ids=str
)
def test_a_retry_is_the_same_batch(exporters, rum, fault):
    """BatchId and event ids stay, so that the service can tell what it has."""
    rum.set_faults(**fault, times=2)
    each = exporters()
    each.spans.export(spans(3, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    requests, stats = rum.requests(), rum.stats()
    assert (len(requests), len({request["batch_id"] for request in requests})) == (3, 1)
    assert (stats["events_distinct"], stats["events_changed"]) == (3, 0)
    assert stats["events_duplicate"] == (6 if fault.get("reset") == "after" else 0)
    assert sum(each.stats().retried.values()) == 2


def test_retries_do_not_reorder_a_session(exporters, rum):
    """What came later waits for what is tried again."""
    rum.set_faults(status=503, times=3)
    each = exporters(max_events=1)
    each.spans.export([span(str(number), session_id=session(1)) for number in range(5)])
    assert each.spans.force_flush(LONG_MS)
    assert [event["details"]["name"] for event in rum.events()] == ["0", "1", "2", "3", "4"]


def test_too_old_after_a_failure(exporters, rum, caplog):
    """What cannot be delivered within max_age is given up, counted, and not announced as tried again."""
    rum.set_faults(status=503)
    each = exporters(max_age=1)
    each.spans.export(spans(3, session_id=session(1)))
    assert not each.spans.force_flush(LONG_MS)
    assert sum(each.stats().events_dropped.values()) == 3
    assert set(each.stats().events_dropped) == {DropReason.EXPIRED}
    assert "tried again" not in caplog.text


def test_too_old_before_the_first_attempt(rum):
    """Events may grow old behind others; no request is made for them, and a flush does not wait in vain."""
    now = [0.0]
    config = RumConfig.load({"app_monitor_id": MONITOR_ID, "endpoint": rum.endpoint, "region": "us-east-1"}, {})
    pipeline = Pipeline(config, clock=lambda: now[0])
    pipeline.export_spans(spans(3, session_id=session(1)))
    now[0] = config.max_age_s + 1
    with within(WIDE_S):
        assert not pipeline.flush(30)
    assert pipeline.stats().events_dropped == {DropReason.EXPIRED: 3}
    assert (pipeline.stats().is_balanced, rum.stats()["requests"]) == (True, 0)
    pipeline.shutdown(1)


@pytest.mark.parametrize(("status", "reason"), [(403, ParkReason.UNAUTHORIZED), (404, ParkReason.NOT_FOUND)])
def test_an_app_monitor_that_takes_nothing_is_waited_for(exporters, rum, caplog, status, reason):
    """One line says what the service said; its events wait, and go when it takes them again."""
    rum.set_faults(status=status)
    each = exporters()
    each.spans.export([span(session_id=session(number)) for number in range(4)])
    assert not each.spans.force_flush(LONG_MS)
    assert (each.stats().queued, dict(each.stats().parked)) == (4, {MONITOR_ID: reason})
    (line,) = caplog.messages
    assert line.startswith(f"RUM exporter: The app monitor takes nothing at present ({reason}): {status} ")
    rum.clear_faults()
    assert each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, each.stats().parked) == (4, {})


def test_refused_events_are_counted(exporters, rum, caplog):
    """An event that the service finds fault with is dropped, and the log has its words."""
    each = exporters()
    each.spans.export([span("good", session_id=session(1)), span("bad", session_id=session(1))])
    rum.set_faults(poison=["bad"])
    assert not each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, each.stats().events_dropped) == (1, {DropReason.REJECTED: 1})
    (line,) = caplog.messages
    assert line.startswith("RUM exporter: 1 event was refused and dropped: 400 ValidationException")


def test_an_unforeseen_error_while_sending_loses_one_batch(exporters, rum, caplog, monkeypatch):
    """Whatever a library does, the batch leaves the queue, counted, and the next is sent."""
    each = exporters()
    failures, send = ["once"], URLLib3Session.send

    def fail_once(session, request):
        if failures:
            raise KeyError(failures.pop())
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", fail_once)
    each.spans.export(spans(2, session_id=session(1)))
    assert not each.spans.force_flush(LONG_MS)
    each.spans.export(spans(3, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    assert (each.stats().events_dropped, rum.stats()["events_distinct"]) == ({DropReason.INTERNAL: 2}, 3)
    assert caplog.messages == ["RUM exporter: 2 events were dropped (internal_error): KeyError: 'once'"]


def test_an_item_that_is_none_hurts_nobody(exporters, caplog):
    """Conversion's faults are counted, and the items beside it go on."""
    each = exporters()
    assert each.logs.export([object(), log(session_id=session(1))]) is LogRecordExportResult.SUCCESS
    assert each.logs.force_flush(LONG_MS)
    assert each.stats().items_dropped == {DropReason.UNCONVERTIBLE: 1}
    (line,) = caplog.messages
    assert line.startswith(
        "RUM exporter: An item could not be converted: AttributeError: 'object' object has no attribute"
    )


# flush


def test_flush_with_nothing_to_do(exporters):
    """Nothing waits, so everything is delivered; no thread is needed to say so."""
    with within(WIDE_S):
        assert exporters().spans.force_flush(LONG_MS)
    assert not own_threads()


def test_flush_tells_of_a_loss_once(exporters, rum):
    """False when something was refused, and True again when that has been told."""
    rum.set_faults(status=400, times=1)
    each = exporters()
    each.spans.export(spans(1, session_id=session(1)))
    assert not each.spans.force_flush(LONG_MS)
    each.spans.export(spans(1, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)


def test_flush_tells_of_what_was_lost_before_it(exporters, rum):
    """A batch that went by itself and was refused is not delivered, either."""
    rum.set_faults(status=400)
    each = exporters(flush_interval=0)
    each.spans.export(spans(1, session_id=session(1)))
    until(each, lambda: each.spans.pipeline._ledger._counters.events_dropped)
    assert not each.spans.force_flush(LONG_MS)


def test_flushes_at_the_same_time_all_learn_of_a_loss(exporters, rum):
    """Two processors flush the exporters that share a pipeline; neither may take the other's answer."""
    rum.set_faults(status=400, latency_ms=100)
    each = exporters()
    each.spans.export(spans(1, session_id=session(1)))
    results = []
    flushing = [threading.Thread(target=lambda: results.append(each.spans.force_flush(LONG_MS))) for _ in range(4)]
    for thread in flushing:
        thread.start()
    for thread in flushing:
        thread.join()
    assert results == [False] * 4


@pytest.mark.parametrize("fault", [{"hang": "before"}, {"status": 503}, {"status": 429, "retry_after": "100"}], ids=str)
def test_flush_keeps_its_deadline(exporters, rum, fault):
    """False after the timeout, and what was not delivered still is, later, unless it is given up."""
    rum.set_faults(**fault)
    each = exporters(timeout=1000)
    each.spans.export(spans(2, session_id=session(1)))
    with within(WIDE_S):
        assert not each.spans.force_flush(SHORT_MS)
    assert each.stats().queued == 2


def test_a_flush_does_not_wait_for_what_comes_later(exporters, rum):
    """Whoever flushes gets an answer although others go on exporting."""
    each = exporters()
    each.spans.export(spans(1, session_id=session(1)))
    stop = threading.Event()

    def go_on():
        while not stop.wait(
            0.001
        ):  # without a pause the queue would overflow, and what is flushed would be dropped first
            each.spans.export(spans(1, session_id=session(2)))

    other = threading.Thread(target=go_on)
    other.start()
    try:
        assert each.spans.force_flush(LONG_MS)
    finally:
        stop.set()
        other.join()
    assert len(rum.events(session=session(1))) == 1


def test_a_flush_ends_a_backoff(rum, monkeypatch):
    """What waits for its next attempt is tried at once; the clock stands still, so nothing else could make it due."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    rum.set_faults(status=503, times=1)
    options = {"app_monitor_id": MONITOR_ID, "endpoint": rum.endpoint, "region": "us-east-1", "flush_interval": 0}
    pipeline = Pipeline(RumConfig.load(options, {}), clock=lambda: 0.0)
    pipeline.export_spans(spans(100, session_id=session(1)))
    with pipeline._changed:
        assert pipeline._changed.wait_for(lambda: pipeline._ledger.dispatch.waiting, 30)
    results = []
    flushing = threading.Thread(target=lambda: results.append(pipeline.flush(30)), daemon=True)
    flushing.start()
    flushing.join(30)
    assert results == [True]
    pipeline.shutdown(1)
    assert pipeline.stats().delivered == rum.stats()["events_distinct"]


def test_a_flush_does_not_shorten_retry_after(exporters, rum):
    """The service is not asked again before it wants to be, whoever flushes."""
    rum.set_faults(status=429, retry_after="100")
    each = exporters(flush_interval=0)
    each.spans.export(spans(1, session_id=session(1)))
    until(each, lambda: each.spans.pipeline._ledger.dispatch.waiting)
    assert not each.spans.force_flush(SHORT_MS)
    assert rum.stats()["requests"] == 1


# shutdown


def test_shutdown_delivers(exporters, rum):
    """What was admitted goes out before the exporters are closed."""
    each = exporters()
    each.spans.export([span(session_id=session(number)) for number in range(20)])
    each.shutdown()
    assert (rum.stats()["events_distinct"], each.stats().queued) == (20, 0)


FAULTS = {
    "hang": {"hang": "before"},
    "slow": {"latency_ms": 1000},
    "drip": {"drip_ms": 10},
    "down": {"status": 503},
    "throttled": {"status": 429, "retry_after": "60"},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_shutdown_keeps_its_deadline(exporters, rum, caplog, fault):
    """Afterwards nothing is queued, everything is counted and one line says what was lost."""
    rum.set_faults(**fault)
    each = exporters(timeout=1500)
    each.answers_get_lost = True
    each.spans.export([span(session_id=session(number)) for number in range(20)])
    with within(WIDE_S):
        each.shutdown(SHORT_MS)
    stats = each.stats()
    assert (stats.queued, stats.is_balanced) == (0, True)
    assert stats.events_dropped[DropReason.SHUTDOWN] == 20 - stats.delivered > 0
    assert len([line for line in caplog.messages if "before the exporter was shut down" in line]) == 1


@pytest.mark.usefixtures("_credentials")
def test_shutdown_with_a_refused_endpoint(exporters, refused, caplog):
    """Nobody listens: the deadline holds, all is counted, the log names the reason once."""
    each = exporters(endpoint=refused)
    each.spans.export(spans(5, session_id=session(1)))
    with within(WIDE_S):
        each.shutdown(2000)  # the first attempt comes first
    assert each.stats().events_dropped == {DropReason.SHUTDOWN: 5}
    assert len(caplog.messages) == 2
    assert "Could not connect to the endpoint URL" in caplog.messages[0]


def test_the_configured_timeout_bounds_a_longer_one(exporters, rum):
    """The SDK asks for thirty seconds; the option says how long an application may be held up at its end."""
    rum.set_faults(status=503)
    each = exporters(shutdown_timeout=100)
    each.spans.export(spans(1, session_id=session(1)))
    with within(WIDE_S):
        each.shutdown(600_000)


def test_shutdown_is_idempotent(exporters, rum, caplog):
    """Later calls do nothing and say nothing; exports fail and are counted."""
    each = exporters()
    each.spans.export(spans(1, session_id=session(1)))
    for _ in range(3):
        each.shutdown()
    assert each.spans.export(spans(2, session_id=session(1))) is SpanExportResult.FAILURE
    assert each.logs.export([log(session_id=session(1))]) is LogRecordExportResult.FAILURE
    assert each.stats().items_dropped == {DropReason.SHUTDOWN: 3}
    assert each.spans.force_flush(LONG_MS)
    assert (rum.stats()["events_distinct"], caplog.messages) == (1, [])


def test_a_flush_does_not_wait_for_what_is_not_sent_any_more(exporters, rum):
    """After the shutdown, and beside it."""
    rum.set_faults(status=503)
    each = exporters()
    each.spans.export(spans(1, session_id=session(1)))
    results = []
    beside = threading.Thread(target=lambda: results.append(each.spans.force_flush(LONG_MS)))
    beside.start()
    until(each, lambda: each.spans.pipeline._ledger.dispatch.waiting)
    with within(WIDE_S):
        each.shutdown(SHORT_MS)
        beside.join()
        results.append(each.spans.force_flush(LONG_MS))
    assert results == [False, False]


def test_who_delivers_itself_sends_nothing_after_the_end(exporters, rum, monkeypatch):
    """Where no thread can be started, one that flushes does; when another one shuts down, it stops."""
    is_sending, may_answer = threading.Event(), threading.Event()
    start, send = threading.Thread.start, LeanClient.send

    def refuse(thread):
        if thread.name == OWN_THREAD:
            raise RuntimeError("can't start new thread")
        start(thread)

    def slow_send(client, request):
        is_sending.set()
        assert may_answer.wait(60)
        return send(client, request)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(LeanClient, "send", slow_send)
    each = exporters()
    each.spans.export([span(session_id=session(number)) for number in range(5)])
    results = []
    flushing = threading.Thread(target=lambda: results.append(each.spans.force_flush(LONG_MS)))
    flushing.start()
    assert is_sending.wait(60)
    each.shutdown(0)
    may_answer.set()
    flushing.join()
    assert (results, rum.stats()["requests"]) == ([False], 1)


# many threads


@pytest.fixture
def _restless():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_threads(number, target):
    threads = [threading.Thread(target=target, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.usefixtures("_restless")
def test_concurrent_exports_lose_nothing(exporters, rum):
    """Eight threads export and flush, with faults; afterwards every item is accounted for."""
    rum.set_faults(error_rate=0.2, error_status=503, seed=1)
    each = exporters(flush_interval=5, max_events=10)

    def export(index):
        for number in range(25):
            each.spans.export(spans(2, session_id=session((index + number) % 5)))
            each.logs.export([log(session_id=session(number % 5))])
            if number % 10 == 9:
                each.spans.force_flush(1)

    for thread in run_threads(8, export):
        thread.join()
    rum.clear_faults()
    assert each.spans.force_flush(LONG_MS)
    stats = each.stats()
    assert (stats.received, stats.delivered, stats.queued) == (600, 600, 0)


@pytest.mark.usefixtures("_restless")
def test_exports_during_a_shutdown_are_counted(exporters):
    """Each export is either admitted and delivered, or refused and counted; nothing falls in between."""
    each = exporters()
    started = threading.Barrier(9)
    refused = []

    def export(index):
        started.wait()
        results = [each.spans.export(spans(1, session_id=session(index))) for _ in range(60)]
        refused.extend(result for result in results if result is SpanExportResult.FAILURE)

    threads = run_threads(8, export)
    started.wait()
    each.shutdown()
    for thread in threads:
        thread.join()
    stats = each.stats()
    assert stats.received == 480
    assert stats.items_dropped.get(DropReason.SHUTDOWN, 0) == len(refused)
    assert stats.delivered == 480 - len(refused)


def test_a_shutdown_overtakes_an_export(exporters, rum):
    """What was being converted when the shutdown came is refused and counted, not queued for ever."""
    each = exporters()

    class Overtaken(ReadableSpan):
        @property
        def attributes(self):
            each.shutdown()
            return {"session.id": session(1)}

    late = Overtaken("late", resource=RESOURCE, start_time=1, end_time=2)
    assert each.spans.export([late]) is SpanExportResult.FAILURE
    assert each.stats().items_dropped == {DropReason.SHUTDOWN: 1}
    assert rum.stats()["requests"] == 0


# bounds


def test_the_oldest_gives_way_when_the_queue_is_full(exporters, rum):
    """queue_events bounds what waits; what made room is counted, and a flush tells of it."""
    each = exporters(queue_events=10)
    each.spans.export([span(str(number), session_id=session(number % 2)) for number in range(25)])
    assert not each.spans.force_flush(LONG_MS)
    assert each.stats().events_dropped == {DropReason.QUEUE_FULL: 15}
    assert sorted(int(event["details"]["name"]) for event in rum.events()) == list(range(15, 25))


def test_the_newest_gives_way_where_that_is_asked_for(exporters, rum):
    """With overflow drop_newest what waits stays, and what comes is counted as dropped."""
    rum.set_faults(status=503)
    each = exporters(queue_events=10, overflow="drop_newest")
    names = [f"work {number}" for number in range(15)]
    each.spans.export([span(name, session_id=session(1)) for name in names])
    assert each.stats().events_dropped == {DropReason.QUEUE_FULL: 5}
    rum.clear_faults()
    assert not each.spans.force_flush(LONG_MS)
    assert [event["details"]["name"] for event in rum.events()] == names[:10]


def test_who_exports_waits_where_that_is_asked_for(exporters, rum):
    """With overflow block an export waits until there is room: nothing is dropped while the endpoint takes events."""
    rum.set_faults(latency_ms=20)
    each = exporters(queue_events=10, overflow="block", flush_interval=0)
    for number in range(20):
        each.spans.export([span(session_id=session(number)) for _ in range(5)])
    assert each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, each.stats().events_dropped) == (100, {})


@pytest.mark.parametrize(("bound", "size"), [({"queue_events": 10}, 0), ({"queue_bytes": 50_000}, 4000)])
def test_an_export_that_is_larger_than_the_memory_waits_in_parts(exporters, rum, bound, size):
    """With overflow block one export may hold more than there is room for, whichever bound it is that it passes."""
    each = exporters(**bound, overflow="block", flush_interval=0)
    each.spans.export([span(session_id=session(number % 7), size=size) for number in range(95)])
    assert each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, each.stats().events_dropped, rum.stats()["events_distinct"]) == (95, {}, 95)


def test_who_exports_waits_for_room_and_not_for_an_answer(exporters, rum):
    """What is on its way has left its room to others, however long the answer takes."""
    rum.set_faults(latency_ms=3000)
    each = exporters(queue_events=5, overflow="block", flush_interval=0, max_in_flight=1)
    each.spans.export(spans(10, session_id=session(1)))
    assert (each.stats().accepted, each.stats().queued, each.stats().requests) == (10, 10, 0)
    rum.clear_faults()


def test_who_exports_does_not_wait_for_ever(exporters, rum):
    """For `timeout` at most, then the new event gives way; a shutdown ends the wait."""
    rum.set_faults(hang="before")
    each = exporters(queue_events=5, overflow="block", flush_interval=0, timeout=300, max_in_flight=1)
    with within(WIDE_S):
        for number in range(4):
            each.spans.export([span(session_id=session(number)) for _ in range(5)])
    assert each.stats().events_dropped.keys() == {DropReason.QUEUE_FULL}


def test_the_queue_is_bounded_in_bytes(exporters):
    """queue_bytes holds for few large events, too."""
    each = exporters(queue_bytes=50_000)
    each.spans.export(spans(40, session_id=session(1), size=4000))
    assert not each.spans.force_flush(LONG_MS)
    stats = each.stats()
    assert set(stats.events_dropped) == {DropReason.QUEUE_FULL}
    assert 5 <= stats.delivered <= 12


# whose session


def test_a_process_on_its_own_has_a_session(exporters, rum, caplog):
    """Items without session.id join the session of the process, which starts once."""
    each = exporters(session_start="first_seen")
    each.spans.export(spans(2))
    each.logs.export([log()])
    assert each.spans.force_flush(LONG_MS)
    (request,) = rum.requests()
    assert rum.events()[0]["type"] == "com.amazon.rum.session_start_event"
    assert (request["events"], caplog.messages) == (4, [])


def served(**attributes):
    return span("GET", kind=SpanKind.SERVER, **attributes)


SERVES_OTHERS = "since this process serves the sessions of others"


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_a_process_that_serves_others_needs_their_session(exporters, rum, caplog, mode):
    """From the first SERVER span on, items without session.id are dropped and counted; one warning says what to do."""
    each = exporters(session=mode)
    each.spans.export([served(), span(), served(session_id=session(1)), span(session_id=session(1))])
    each.spans.export(spans(3))
    each.logs.export([log()])
    assert each.spans.force_flush(LONG_MS)
    assert each.stats().items_dropped == {DropReason.NO_SESSION: 6}
    assert {event["session_id"] for event in rum.events()} == {session(1)}
    (line,) = caplog.messages
    assert SERVES_OTHERS in line


def test_the_process_turns_out_to_serve_others(exporters, rum, caplog):
    """With auto, what came before the first SERVER span went into the process's session."""
    each = exporters(session="auto")
    each.spans.export(spans(2))
    each.spans.export([span("poll", kind=SpanKind.CONSUMER)])
    each.spans.export(spans(2))
    assert each.spans.force_flush(LONG_MS)
    assert each.stats().items_dropped == {DropReason.NO_SESSION: 3}
    assert (len(rum.events()), len(caplog.messages)) == (2, 1)


def test_requests_of_others_in_the_processs_session(exporters, rum, caplog):
    """Whoever asks for that gets it, and is told once what it means."""
    each = exporters(session="process")
    each.spans.export([served(), span()])
    each.spans.export([served()])
    assert each.spans.force_flush(LONG_MS)
    assert len({event["session_id"] for event in rum.events()}) == 1
    (line,) = caplog.messages
    assert "OTEL_EXPORTER_RUM_SESSION=process asks for" in line


def test_sampling_keeps_or_drops_whole_sessions(exporters, rum):
    """The share is by hash of the session, so that every process decides alike."""
    each = exporters(session_sample_rate=0.5)
    numbers = range(40)
    each.spans.export([span(session_id=session(number)) for number in numbers for _ in range(2)])
    assert each.spans.force_flush(LONG_MS)
    sampled = {session(number) for number in numbers if is_sampled(session(number), 0.5)}
    assert {event["session_id"] for event in rum.events()} == sampled
    assert each.stats().items_dropped == {DropReason.SAMPLED_OUT: 2 * (40 - len(sampled))}


# which app monitor


def test_the_resource_names_the_app_monitor(exporters, rum):
    """Without an option, and with the alias that its policy may ask for."""
    other = "22222222-2222-4222-8222-222222222222"
    names = {"aws.rum.appmonitor.id": other, "aws.rum.appmonitor.alias": "front"}
    resource = RESOURCE.merge(type(RESOURCE)(names))
    each = exporters(app_monitor_id=None)
    each.spans.export([span(session_id=session(1), resource=resource)])
    each.logs.export([log(session_id=session(1), resource=resource)])
    assert each.spans.force_flush(LONG_MS)
    (request,) = rum.requests()
    assert (request["monitor_id"], request["alias"], request["events"]) == (other, "front", 2)


def test_no_app_monitor(exporters, caplog):
    """One line says what to set; everything is counted."""
    each = exporters(app_monitor_id=None)
    each.spans.export(spans(2, session_id=session(1)))
    each.spans.export(spans(2, session_id=session(1)))
    assert each.stats().items_dropped == {DropReason.NOT_CONFIGURED: 4}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "OTEL_EXPORTER_RUM_APP_MONITOR_ID" in record.message


def test_no_credentials(exporters, monkeypatch, caplog):
    """One line says what to set; everything waits for that."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    each = exporters()
    each.spans.export([span(session_id=session(number)) for number in range(5)])
    assert not each.spans.force_flush(LONG_MS)
    assert (each.stats().queued, each.stats().parked) == (5, {MONITOR_ID: ParkReason.UNAUTHORIZED})

    def errors():
        return [record.message for record in caplog.records if record.levelno == logging.ERROR]

    until(each, errors)  # of several threads that found out, another one may be the one that says so
    (line,) = errors()
    assert "set AWS credentials, or OTEL_EXPORTER_RUM_AUTH=none" in line


def test_the_domain_is_asked_for_once(exporters, caplog):
    """App monitors check the domain; without one the service would drop the events without a word."""
    each = exporters(domain=None)
    for _ in range(2):
        each.spans.export(spans(1, session_id=session(1)))
        assert each.spans.force_flush(LONG_MS)
    (line,) = caplog.messages
    assert "OTEL_EXPORTER_RUM_DOMAIN" in line
