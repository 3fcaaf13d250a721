"""Exporters with a spool: what is accepted survives the process, the endpoint and the memory's bound."""

import contextlib
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind
from rum_items import MONITOR_ID, START_NS, key, keyed, session, span, spans
from rum_processes import run
from rum_service import event
from rum_threads import OWN_THREAD, join_own_threads

from otel_rum_exporter import DropReason, RumConfig
from otel_rum_exporter.client.lean_client import LeanClient
from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.sending.workers import Workers
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Spool, SpoolError
from otel_rum_exporter.spool.store import Store

LONG_MS = 30_000
PROGRAM = [str(Path(sys.executable).with_name("otel-rum-exporter"))]


@pytest.fixture
def spool_dir(tmp_path):
    return tmp_path / "spool"


def on_disk(spool_dir):
    """Waiting events and dead letters, as they are for whoever comes next."""
    directory = SpoolDirectory(spool_dir)
    spools = [directory.open_beside(path) for path in directory.files()]
    try:
        return sum(each.events for each in spools), sum(each.dead_letters for each in spools)
    finally:
        for each in spools:
            each.close()


def sent_ids(rum):
    return [event["id"] for event in rum.events()]


def until_delivered(each, number):
    """Wait until so many events are delivered; the pipeline notifies whenever something changes."""
    pipeline = each.spans.pipeline
    with pipeline._changed:
        assert pipeline._changed.wait_for(lambda: pipeline._ledger.statistics().delivered >= number, 30)


def test_what_is_delivered_leaves_the_disk(exporters, rum, spool_dir):
    """Events are on disk while they wait, and gone afterwards, with their file."""
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(150, session_id=session(1)))
    assert (each.stats().spooled, each.stats().queued) == (150, 150)
    assert each.stats().spooled_bytes > 150 * 100
    assert each.spans.force_flush(LONG_MS)
    each.shutdown()
    assert rum.stats()["events_distinct"] == 150
    assert (each.stats().spooled, list(spool_dir.iterdir())) == (0, [])


def test_what_is_left_at_the_end_goes_with_the_next(exporters, rum, spool_dir, caplog):
    """An exporter that shuts down while the endpoint is down loses nothing; the next one in the directory delivers it."""
    rum.set_faults(status=503)
    first = exporters(spool_dir=spool_dir, shutdown_timeout=2000)
    first.spans.export(spans(30, session_id=session(1)))
    first.spans.export(spans(30, session_id=session(2)))
    assert first.spans.force_flush(300)  # delivered or on disk
    first.shutdown()
    assert first.stats().is_balanced
    assert (first.stats().queued, first.stats().events_dropped) == (60, {})
    assert not [line for line in caplog.messages if "not delivered" in line]
    assert on_disk(spool_dir) == (60, 0)
    rum.clear_faults()
    second = exporters(spool_dir=spool_dir)
    second.spans.export(spans(1, session_id=session(3)))
    until_delivered(second, 60)
    assert second.spans.force_flush(LONG_MS)
    assert len(set(sent_ids(rum))) == len(sent_ids(rum)) == 61
    assert second.stats().delivered == 61
    first.delivered_by_others, second.delivered_by_others = 61, 0


def test_a_batch_that_was_on_its_way_is_the_same_batch_afterwards(exporters, rum, spool_dir):
    """With the BatchId, the ids and the pages that it had: what the service has already can be told."""
    rum.set_faults(reset="after")
    first = exporters(spool_dir=spool_dir)
    first.answers_get_lost = True
    first.spans.export(spans(20, session_id=session(1)))
    first.spans.force_flush(500)
    first.shutdown()
    rum.clear_faults()
    second = exporters(spool_dir=spool_dir)
    second.answers_get_lost = True
    second.spans.export(spans(1, session_id=session(2)))
    until_delivered(second, 20)
    batches = {}
    for request in rum.requests():
        batches.setdefault(request["session_id"], set()).add(request["batch_id"])
    assert len(batches[session(1)]) == 1
    assert second.stats().duplicates_possible >= 20


def test_who_exports_does_not_wait_for_memory_while_there_is_room_on_disk(exporters, rum, spool_dir):
    """With overflow block, too: what memory does not hold waits on disk, and nothing is held up or dropped."""
    rum.set_faults(status=429, retry_after="300")
    each = exporters(spool_dir=spool_dir, queue_events=10, overflow="block", timeout=10 * LONG_MS, flush_interval=0)
    exporting = threading.Thread(
        target=lambda: [each.spans.export(spans(10, session_id=session(number))) for number in range(10)]
    )
    exporting.start()
    exporting.join(LONG_MS / 1000)
    assert not exporting.is_alive()
    assert (each.stats().spooled, each.stats().queued, each.stats().events_dropped) == (100, 100, {})


def test_more_than_memory_holds_waits_on_disk(exporters, rum, spool_dir):
    """The memory's bound holds, nothing is dropped, and all of it comes in the end, each once."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir, queue_events=100, flush_interval=0)
    for number in range(40):
        each.spans.export(spans(25, session_id=session(number % 7)))
    stats = each.stats()
    assert (stats.accepted, stats.queued, stats.events_dropped) == (1000, 1000, {})
    assert each.spans.pipeline._ledger.dispatch.batches.count <= 100
    rum.clear_faults()
    each.spans.force_flush(LONG_MS)
    until_delivered(each, 1000)
    assert len(set(sent_ids(rum))) == len(sent_ids(rum)) == 1000


@pytest.mark.usefixtures("_credentials")
def test_events_of_a_session_keep_their_pages_across_the_disk(rum, spool_dir):
    """What waits on disk is resolved when its batch is built, with what was known of its session."""
    script = """
        import os, sys
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from otel_rum_exporter import RumSpanExporter, record_page_view
        exporter = RumSpanExporter(flush_interval=60_000)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        record_page_view("notes/edit")
        with provider.get_tracer("t").start_as_current_span("work"):
            pass
        os._exit(0)
    """
    environment = {**rum.environment(), "OTEL_EXPORTER_RUM_SPOOL_DIR": str(spool_dir)}
    run(script, **environment)
    assert on_disk(spool_dir)[0] == 3
    run(script.replace("os._exit(0)", "provider.shutdown()").replace("60_000", "0"), **environment)
    (work,) = [event for event in rum.events("otel.span") if event["session_id"] != ""][:1]
    assert (work["metadata"]["pageId"], work["metadata"]["interaction"]) == ("notes/edit", 0)


def test_dead_letters(exporters, rum, spool_dir):
    """What the service finds fault with is kept, with its words, and can be sent again."""
    rum.set_faults(poison=["bad"])
    each = exporters(spool_dir=spool_dir)
    each.spans.export([span("good", session_id=session(1)), span("bad", session_id=session(1))])
    assert not each.spans.force_flush(LONG_MS)
    stats = each.stats()
    assert (stats.delivered, stats.dead_lettered, stats.events_dropped) == (1, {DropReason.REJECTED: 1}, {})
    (letter,) = json_lines("export", "--dir", spool_dir)
    assert "ValidationException" in letter["message"]
    rum.clear_faults()
    requeued = subprocess.run(
        [*PROGRAM, "spool", "requeue", "--all", "--dir", spool_dir], check=True, capture_output=True, text=True
    )
    assert "1 dead letter" in requeued.stdout
    pipeline = each.spans.pipeline
    with pipeline._changed:  # as if its turn had come
        pipeline._workers._tend_at = 0.0
        pipeline._workers._watching.notify_all()
    until_delivered(each, 2)
    assert sorted(event["details"]["name"] for event in rum.events()) == ["bad", "good"]


def test_what_waits_can_be_read(exporters, rum, spool_dir):
    """By people: whose it is, when it was, and all that it says."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir, attributes="plan")
    each.spans.export(
        [
            span("search", session_id=session(1), user_id=session(7), plan="gold"),
            span("GET /", kind=SpanKind.SERVER, session_id=session(2), **{"url.full": "https://shop.example/"}),
        ]
    )
    first, *others = json_lines("export", "--queued", "--dir", spool_dir)
    assert (first["appMonitor"], first["session"], first["user"]) == (MONITOR_ID, session(1), session(7))
    assert first["event"].pop("details")["name"] == "search"
    assert first["event"].pop("id")
    assert first["event"].pop("timestamp") == pytest.approx(START_NS / 1e9, abs=60)
    assert first["event"] == {"type": "otel.span", "attributes": {"plan": "gold"}}
    assert {line["session"] for line in others} == {session(2)}
    assert all(isinstance(line["event"]["details"], dict) for line in others)


def json_lines(*arguments):
    done = subprocess.run(
        [*PROGRAM, "spool", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("_credentials")
def test_rows_that_cannot_be_read_for_a_moment_wait(rum, spool_dir, monkeypatch):
    """A disk that fails once loses nothing, and is not asked again at once."""
    options = {"app_monitor_id": MONITOR_ID, "endpoint": rum.endpoint, "region": "us-east-1", "spool_dir": spool_dir}
    store = Store(RumConfig.load(options, {}))
    store.leave(store.keep([event("a"), event("b")]))
    failures = [SpoolError("the disk does not answer")]
    load = Spool.load
    monkeypatch.setattr(Spool, "load", lambda *each: load(*each) if not failures else fail(failures.pop()))
    store.load()  # what a former owner may have left comes first
    assert not store.has_backlog
    store._backlog._rests_until = 0.0
    loaded = [found for _ in range(3) if (found := store.load()) is not None]
    assert [keyed.draft.id for found in loaded for keyed, *_ in found.events] == ["a", "b"]
    assert sum(found.lost for found in loaded) == 0
    store.close()


def fail(error):
    raise error


def test_a_deployment_without_a_region_keeps_the_backlog(exporters, rum, spool_dir, caplog):
    """What is on disk waits for a configuration that can send it; the log says what is missing."""
    first = exporters(spool_dir=spool_dir)
    rum.set_faults(status=503)
    first.spans.export(spans(6, session_id=session(1)))
    first.shutdown(300)
    second = exporters(spool_dir=spool_dir, region=None, endpoint=None)
    second.spans.export(spans(2, session_id=session(2)))
    second.spans.force_flush(5000)
    second.shutdown(300)
    assert second.stats().events_dropped == {}
    assert on_disk(spool_dir) == (8, 0)
    assert [line for line in caplog.messages if "takes nothing at present (not_configured)" in line]


def test_without_a_disk_events_wait_in_memory(exporters, rum, spool_dir, caplog):
    """A spool without room costs a line in the log, not the events."""
    reserve = shutil.disk_usage(spool_dir.parent).total + 1
    each = exporters(spool_dir=spool_dir, spool_reserve_bytes=reserve)
    each.spans.export(spans(10, session_id=session(1)))
    assert (each.stats().queued, each.stats().spooled) == (10, 0)
    assert each.spans.force_flush(LONG_MS)
    assert rum.stats()["events_distinct"] == 10
    assert [line for line in caplog.messages if "Events are kept in memory only" in line]


def test_a_directory_that_cannot_be_used(exporters, rum, spool_dir, caplog):
    """One line says why; the exporter works without it."""
    spool_dir.write_text("not a directory")
    each = exporters(spool_dir=spool_dir)
    for _ in range(3):
        each.spans.export(spans(10, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    assert rum.stats()["events_distinct"] == 30
    (line,) = caplog.messages
    assert line.startswith("RUM exporter: No spool; events are kept in memory only: the spool directory")


def test_a_directory_that_can_be_used_later(spool_dir):
    """Whether there is a spool is not settled at the start: each look after the files tries again to open one."""
    spool_dir.write_text("not a directory")
    store = Store(RumConfig.load({"app_monitor_id": MONITOR_ID, "spool_dir": spool_dir}, {}))
    assert store.keep([keyed(key())]) == [None]
    spool_dir.unlink()
    store.tend()
    (stored,) = store.keep([keyed(key())])
    assert stored is not None
    store.close()
    assert on_disk(spool_dir) == (1, 0)


def test_a_directory_that_is_removed_in_use(exporters, rum, spool_dir, caplog):
    """Events that waited there are delivered from memory, and so are those that come later."""
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(10, session_id=session(1)))
    shutil.rmtree(spool_dir.rename(spool_dir.with_name("gone")))  # at once: a thread may put a file back meanwhile
    assert each.spans.force_flush(LONG_MS)
    each.spans.export(spans(10, session_id=session(2)))
    assert each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, rum.stats()["events_distinct"]) == (20, 20)
    assert not [line for line in caplog.messages if "thread failed" in line]


def test_damage_in_use(exporters, rum, spool_dir, caplog):
    """A file that is overwritten beneath the exporter: it goes on in memory and with another file, and counts."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir, queue_events=50, flush_interval=0)
    each.spans.export(spans(40, session_id=session(1)))
    for number in range(20):
        each.spans.export(spans(40, session_id=session(2 + number)))
    (path,) = [each for each in spool_dir.iterdir() if each.suffix == ".sqlite"]
    for file in spool_dir.glob(path.name + "*"):
        with file.open("r+b") as opened:
            size = file.stat().st_size
            opened.seek(4096 if size > 8192 else 0)
            opened.write(b"\xff" * max(0, size - 8192))
    rum.clear_faults()
    for _ in range(5):
        each.spans.export(spans(10, session_id=session(1)))
    each.spans.force_flush(LONG_MS)
    assert each.stats().is_balanced
    assert rum.stats()["events_distinct"] >= 50
    assert caplog.messages


@pytest.mark.usefixtures("_credentials")
def test_a_fork(rum, spool_dir):
    """The child has a file of its own and the parent's stays the parent's; each delivers what it was given."""
    script = """
        import os
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from otel_rum_exporter import RumSpanExporter
        exporter = RumSpanExporter(flush_interval=60_000)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracer = provider.get_tracer("t")
        def work(name):
            with tracer.start_as_current_span(name):
                pass
        work("before")
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                work(f"child {number}")
                assert exporter.force_flush(20_000)
                provider.shutdown()
                os._exit(0)
            children.append(child)
        work("after")
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        provider.shutdown()
        assert exporter.stats().is_balanced and exporter.stats().delivered == 3, exporter.stats()
    """
    run(script, **rum.environment(), OTEL_EXPORTER_RUM_SPOOL_DIR=str(spool_dir))
    names = sorted(event["details"]["name"] for event in rum.events("otel.span"))
    assert names == ["after", "before", "child 0", "child 1", "child 2"]
    assert on_disk(spool_dir) == (0, 0)


def test_what_a_dead_sibling_left_is_adopted(exporters, rum, spool_dir):
    """A worker that was killed leaves its file to the others."""
    script = """
        import os
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from otel_rum_exporter import RumSpanExporter
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(RumSpanExporter(flush_interval=60_000)))
        for number in range(20):
            with provider.get_tracer("t").start_as_current_span(f"{number}"):
                pass
        os.kill(os.getpid(), 9)
    """
    each = exporters(spool_dir=spool_dir, session="process")
    each.spans.export(spans(1, session_id=session(1)))
    environment = {**rum.environment(), "OTEL_EXPORTER_RUM_SPOOL_DIR": str(spool_dir)}
    assert run(script, check=False, **environment).returncode == -9
    pipeline = each.spans.pipeline
    with pipeline._changed:  # as if its turn had come
        pipeline._workers._tend_at = 0.0
        pipeline._workers._watching.notify_all()
    with pipeline._changed:
        assert pipeline._changed.wait_for(lambda: pipeline._ledger.statistics().accepted >= 21, 30)
    each.spans.force_flush(LONG_MS)
    until_delivered(each, 21)
    assert rum.stats()["events_distinct"] == 22  # and the start of the sibling's session


@pytest.mark.usefixtures("_credentials")
def test_a_file_that_is_closed_is_not_taken_back(rum, spool_dir):
    """A thread that looks for files just as its own is closed leaves it to the next."""
    options = {"app_monitor_id": MONITOR_ID, "endpoint": rum.endpoint, "region": "us-east-1", "spool_dir": spool_dir}
    store = Store(RumConfig.load(options, {}))
    (stored,) = store.keep([event("e")])
    assert stored is not None
    store.close()
    store.tend()
    with store._lock:
        assert not store._files
    store._found(SpoolDirectory(spool_dir).open_own())
    assert not store._files
    assert on_disk(spool_dir) == (1, 0)


@pytest.mark.parametrize("is_flushed", [False, True], ids=["gathering", "in a batch"])
def test_too_old(exporters, rum, spool_dir, is_flushed):
    """What waited on disk for longer than max_age is given up, and counted, also where it was in a request before."""
    rum.set_faults(status=404)
    first = exporters(spool_dir=spool_dir)
    first.spans.export(spans(10, session_id=session(1)))
    if is_flushed:
        assert first.spans.force_flush(LONG_MS)  # it is on disk
    first.shutdown(0)
    join_own_threads()
    rum.clear_faults()
    assert first.stats().queued == 10
    second = exporters(spool_dir=spool_dir)
    pipeline = second.spans.pipeline
    pipeline._store._backlog._wall = lambda: 4e9
    second.spans.export(spans(1, session_id=session(1)))
    with pipeline._changed:
        assert pipeline._changed.wait_for(lambda: pipeline._ledger.statistics().events_dropped, 30)
    assert second.stats().events_dropped == {DropReason.EXPIRED: 10}
    second.shutdown()
    first.delivered_by_others = second.stats().delivered


# what others do to the files


def test_admission_waits_for_a_slow_disk_where_it_may(spool_dir):
    """A commit that another thread holds up is tried again, for as long as there is patience."""
    is_held, may_go = threading.Event(), threading.Event()
    looks = []

    def clock():
        looks.append(None)
        if len(looks) == 3:  # at the beginning, before the first try, and before the second
            may_go.set()
        return 0.0

    def hold(spool):
        with spool._database.reading():
            is_held.set()
            assert may_go.wait(60)

    store = Store(RumConfig.load({"app_monitor_id": MONITOR_ID, "spool_dir": spool_dir}, {}), clock=clock)
    (first,) = store.keep([event("a")])
    may_go.clear()
    holder = threading.Thread(target=hold, args=(first.spool,))
    holder.start()
    assert is_held.wait(60)
    looks.clear()
    (second,) = store.keep([event("b")], wait_s=1.0)
    holder.join(60)
    assert second.spool is first.spool
    store.close()
    assert on_disk(spool_dir) == (2, 0)


def held(spool_dir):
    """Somebody in the middle of a transaction, on the only file."""
    (path,) = SpoolDirectory(spool_dir).files()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def test_an_export_does_not_wait_for_others(exporters, rum, spool_dir, caplog):
    """Its events wait in memory, counted and told once, and are on disk at the end: whoever holds the file lets go by then."""
    rum.set_faults(status=404)  # the app monitor is parked: nothing is on its way at the end
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    began = time.monotonic()
    for _ in range(10):
        each.spans.export(spans(2, session_id=session(1)))
    assert time.monotonic() - began < 4
    assert (each.stats().queued, each.stats().spooled, each.stats().unspooled) == (21, 1, 20)
    (line,) = [line for line in caplog.messages if "Events are kept in memory only" in line]
    assert "locked" in line
    end = threading.Thread(target=each.shutdown, args=(LONG_MS,))
    end.start()
    holder.execute("ROLLBACK")
    end.join(60)
    holder.close()
    assert (each.stats().queued, each.stats().unspooled, each.stats().events_dropped) == (21, 20, {})
    assert on_disk(spool_dir) == (21, 0)
    each.delivered_by_others = each.stats().delivered


def test_the_end_waits_for_others_until_its_deadline(spool_dir):
    """Neither longer nor, where there is time, less long; once it tries in any case."""
    now = [0.0]

    def clock():
        now[0] += 0.25
        return now[0]

    store = Store(RumConfig.load({"app_monitor_id": MONITOR_ID, "spool_dir": spool_dir}, {}), clock=clock)
    assert None not in store.keep([event("a")])
    holder = held(spool_dir)
    for wait_s in (0.0, 2.0, 8.0):
        began = now[0]
        assert store.save([event("b")], [0.0], wait_s) == [None]
        assert wait_s <= now[0] - began <= wait_s + 1.0
    holder.execute("ROLLBACK")
    holder.close()
    assert None not in store.save([event("b")], [0.0], 0.0)
    store.close()
    assert on_disk(spool_dir) == (2, 0)


def test_what_no_disk_takes_at_the_end_is_counted(exporters, rum, spool_dir, caplog):
    """Others hold the file beyond the deadline: what is in memory only is lost, and the log says so."""
    rum.set_faults(status=404)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    each.spans.export(spans(3, session_id=session(1)))
    each.shutdown(0)
    holder.close()
    assert each.stats().is_balanced
    assert (each.stats().queued, each.stats().events_dropped) == (1, {DropReason.SHUTDOWN: 3})
    assert [line for line in caplog.messages if "3 of 4 events were not delivered" in line]
    assert on_disk(spool_dir) == (1, 0)


def test_a_shutdown_without_any_time_saves_all(exporters, rum, spool_dir):
    """What had no place on disk gets one, also when the deadline has passed."""
    rum.set_faults(status=404)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    each.spans.export(spans(3, session_id=session(1)))
    holder.close()
    each.shutdown(0)
    assert (each.stats().queued, each.stats().events_dropped) == (4, {})
    assert on_disk(spool_dir) == (4, 0)


@pytest.mark.parametrize("fault", [{"hang": "before"}, {"hang": "after"}], ids=["unseen", "answer lost"])
def test_what_is_on_its_way_at_the_end_is_on_disk(exporters, rum, spool_dir, fault):
    """Also where it had no place there before: whether the service has it nobody knows, so it comes with the same ids."""
    rum.set_faults(**fault)
    first = exporters(spool_dir=spool_dir, flush_interval=0)
    first.answers_get_lost = True
    first.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    first.spans.export(spans(4, session_id=session(2)))
    assert first.stats().unspooled == 4
    pipeline = first.spans.pipeline
    with pipeline._changed:
        out = pipeline._ledger.dispatch._out
        for _ in range(3000):  # nobody is told that a batch leaves
            if key(2).context in out:
                break
            pipeline._changed.wait(0.01)
        assert key(2).context in out
    holder.close()
    first.shutdown(0)
    assert (first.stats().queued, first.stats().events_dropped) == (5, {})
    assert on_disk(spool_dir) == (5, 0)
    rum.clear_faults()
    second = exporters(spool_dir=spool_dir)
    second.answers_get_lost = True
    second.spans.export(spans(1, session_id=session(3)))
    until_delivered(second, 5)
    second.shutdown()
    assert rum.stats()["events_distinct"] == 6


def test_what_somebody_fails_to_save_at_the_end_is_saved_all_the_same(exporters, rum, spool_dir, monkeypatch):
    """A thread that looks after the files may be at it when the exporter shuts down, and fail just then."""
    rum.set_faults(status=404)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    each.spans.export(spans(4, session_id=session(1)))
    holder.close()
    pipeline, has_begun, may_fail = each.spans.pipeline, threading.Event(), threading.Event()
    save = Store.save

    def slow_save(store, keyed, *arguments):
        if threading.current_thread() is not other:
            may_fail.set()
            return save(store, keyed, *arguments)
        has_begun.set()
        assert may_fail.wait(60)
        return [None] * len(keyed)

    monkeypatch.setattr(Store, "save", slow_save)
    other = threading.Thread(target=lambda: pipeline._workers.save(pipeline._store))
    other.start()
    assert has_begun.wait(60)
    each.shutdown(0)
    other.join()
    assert (each.stats().queued, each.stats().events_dropped) == (5, {})
    assert on_disk(spool_dir) == (5, 0)


def test_the_end_waits_for_answers(exporters, spool_dir, monkeypatch):
    """What is out when no more is sent is answered mostly: else it would be sent again at the next start."""
    each = exporters(spool_dir=spool_dir, flush_interval=0, shutdown_timeout=120_000)
    is_out, sends_no_more = threading.Event(), threading.Event()
    attempt, close = RumClient.attempt_or_be_left, Workers.close_locked

    def slow_attempt(*arguments):
        verdict = attempt(*arguments)
        is_out.set()
        assert sends_no_more.wait(60)
        time.sleep(0.1)
        return verdict

    monkeypatch.setattr(RumClient, "attempt_or_be_left", slow_attempt)
    monkeypatch.setattr(Workers, "close_locked", lambda workers: (close(workers), sends_no_more.set()))
    monkeypatch.setattr(Pipeline, "flush", lambda *_: False)  # as when its time is over
    each.spans.export(spans(5, session_id=session(1)))
    assert is_out.wait(60)
    each.shutdown()
    assert (each.stats().delivered, each.stats().queued) == (5, 0)
    assert on_disk(spool_dir) == (0, 0)


def removing_late(each, monkeypatch):
    """Let threads that deliver come to removing that from disk later. Returns two events: they would now, and may."""
    would, may, settle = threading.Event(), threading.Event(), Store.settle

    def late_settle(store):
        if threading.current_thread().name == OWN_THREAD and each.stats().delivered:
            would.set()
            assert may.wait(60)
        settle(store)

    monkeypatch.setattr(Store, "settle", late_settle)
    return would, may


def test_what_is_delivered_just_before_the_end_leaves_the_disk(exporters, spool_dir, monkeypatch):
    """The thread that delivered it has not come to that when the exporter shuts down, and comes to it too late."""
    each = exporters(spool_dir=spool_dir, flush_interval=0)
    has_delivered, is_over = removing_late(each, monkeypatch)
    each.spans.export(spans(5, session_id=session(1)))
    assert has_delivered.wait(60)
    each.shutdown()
    is_over.set()
    assert (each.stats().delivered, each.stats().queued) == (5, 0)
    assert on_disk(spool_dir) == (0, 0)


def test_what_is_delivered_leaves_the_disk_before_a_flush_is_over(exporters, spool_dir, monkeypatch):
    """Whoever flushes may end the process then, as SIGTERM does; the thread that delivered it has not come to that yet."""
    each = exporters(spool_dir=spool_dir, flush_interval=0)
    has_delivered, is_over = removing_late(each, monkeypatch)
    each.spans.export(spans(5, session_id=session(1)))
    assert has_delivered.wait(60)
    assert each.spans.force_flush(LONG_MS)
    left = on_disk(spool_dir)
    is_over.set()
    assert left == (0, 0)


def test_what_is_being_sent_at_the_end_leaves_the_disk_with_its_answer(exporters, rum, spool_dir, monkeypatch):
    """What comes from disk while the exporter shuts down is nothing that the last flush waits for, and is sent all the same."""
    rum.set_faults(status=503)
    first = exporters(spool_dir=spool_dir)
    first.spans.export(spans(5, session_id=session(1)))
    first.shutdown(0)
    join_own_threads()  # one of which may be sending
    rum.clear_faults()
    begins_flush, is_sending, is_closed = threading.Event(), threading.Event(), threading.Event()
    load, send, flush, close = Store.load, LeanClient.send, Pipeline._others_deliver, Workers.close_locked

    def late_load(store):
        assert begins_flush.wait(60)
        return load(store)

    def slow_send(client, request):
        is_sending.set()
        assert is_closed.wait(60)
        time.sleep(0.2)
        return send(client, request)

    def late_flush(*arguments):
        begins_flush.set()
        assert is_sending.wait(60)
        return flush(*arguments)

    def told_close(workers):
        close(workers)
        is_closed.set()

    monkeypatch.setattr(Store, "load", late_load)
    monkeypatch.setattr(LeanClient, "send", slow_send)
    monkeypatch.setattr(Pipeline, "_others_deliver", late_flush)
    monkeypatch.setattr(Workers, "close_locked", told_close)
    second = exporters(spool_dir=spool_dir, shutdown_timeout=60_000)
    second.spans.export([])
    second.shutdown()
    assert (second.stats().delivered, second.stats().queued) == (5, 0)
    assert on_disk(spool_dir) == (0, 0)
    first.delivered_by_others = 5


def test_nobody_puts_a_file_back_that_is_closed(exporters, rum, spool_dir):
    """Whoever flushes looks whether the files are where they should be, also as they are being closed."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(5, session_id=session(1)))
    store = each.spans.pipeline._store
    securing, has_begun, is_closed = store._securing, threading.Event(), threading.Event()

    class Late:
        def __enter__(self):
            if threading.current_thread() is other:
                has_begun.set()
                assert is_closed.wait(60)
            securing.acquire()

        def __exit__(self, *_):
            securing.release()

    store._securing = Late()
    results = []
    other = threading.Thread(target=lambda: results.append(store.secure()))
    other.start()
    assert has_begun.wait(60)
    each.shutdown(0)
    is_closed.set()
    other.join()
    assert results == [True]
    (spool,) = SpoolDirectory(spool_dir).adopt()
    assert spool.events == 5
    spool.close()


def test_what_had_no_place_on_disk_gets_one_when_there_is_room(exporters, rum, spool_dir):
    """Not at the end only: until then a crash would lose it. Whoever delivers it takes it off the disk again."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(1, session_id=session(1)))
    holder = held(spool_dir)
    each.spans.export(spans(20, session_id=session(2)))
    assert (each.stats().unspooled, each.stats().spooled) == (20, 1)
    holder.close()
    pipeline = each.spans.pipeline
    with pipeline._changed:  # as if its turn had come
        pipeline._workers._tend_at = 0.0
        pipeline._workers.ensure_thread_locked()
    each.spans.force_flush(300)  # not delivered, but safe
    until(lambda: each.stats().spooled == 21)
    assert each.spans.force_flush(0)
    assert on_disk(spool_dir) == (21, 0)
    rum.clear_faults()
    until_delivered(each, 21)
    each.shutdown()
    assert (rum.stats()["events_distinct"], each.stats().unspooled) == (21, 20)
    assert on_disk(spool_dir) == (0, 0)


def until(condition):
    """Look again and again: no lock tells of what is on disk."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_could_not_be_removed_is_removed_later(exporters, rum, spool_dir):
    """Else what was delivered would be sent again at the next start, and what was refused would be tried again."""
    rum.set_faults(poison=["bad"])
    each = exporters(spool_dir=spool_dir)
    each.spans.export([*spans(9, session_id=session(1)), span("bad", session_id=session(1))])
    holder = held(spool_dir)
    assert not each.spans.force_flush(LONG_MS)
    assert (each.stats().delivered, each.stats().spooled) == (9, 10)
    holder.execute("ROLLBACK")
    holder.close()
    each.shutdown()
    assert on_disk(spool_dir) == (0, 1)


def removed(spool_dir):
    shutil.rmtree(spool_dir, ignore_errors=True)  # a thread may put a file back meanwhile


def made_anew(spool_dir):
    removed(spool_dir)
    spool_dir.mkdir(mode=0o700, exist_ok=True)


def without_its_file(spool_dir):
    (path,) = SpoolDirectory(spool_dir).files()
    path.unlink()


def taken_away(spool_dir):
    """For good: a file has the name of the directory."""
    while not spool_dir.is_file():
        spool_dir.rename(spool_dir.with_name(f"away-{time.monotonic_ns()}"))
        with contextlib.suppress(IsADirectoryError):  # a thread was faster, and made one
            spool_dir.write_text("")


@pytest.mark.parametrize("lose", [removed, made_anew, without_its_file])
def test_a_spool_that_is_removed_in_use_is_put_back(exporters, rum, spool_dir, lose):
    """With what was on disk alone, too: when a flush says that all is on disk, and at the end."""
    rum.set_faults(status=503)
    first = exporters(spool_dir=spool_dir, queue_events=20)
    for number in range(4):
        first.spans.export(spans(10, session_id=session(number)))
    lose(spool_dir)
    assert first.spans.force_flush(300)
    assert on_disk(spool_dir) == (40, 0)
    lose(spool_dir)
    first.shutdown(300)
    assert (first.stats().queued, first.stats().events_dropped) == (40, {})
    assert on_disk(spool_dir) == (40, 0)
    join_own_threads()
    rum.clear_faults()
    second = exporters(spool_dir=spool_dir)
    second.spans.export(spans(1, session_id=session(6)))
    until_delivered(second, 40)
    second.shutdown()
    assert len(set(sent_ids(rum))) == len(sent_ids(rum)) == 41
    first.delivered_by_others, second.delivered_by_others = 41, 0


def test_what_comes_while_the_spool_is_gone_is_on_disk_in_the_end(exporters, rum, spool_dir):
    """It waits in memory, where no flush calls it safe, until there is a file again."""
    rum.set_faults(status=404)
    each = exporters(spool_dir=spool_dir)
    each.spans.export(spans(10, session_id=session(1)))
    made_anew(spool_dir)
    each.spans.export(spans(5, session_id=session(2)))
    in_memory = each.stats().unspooled  # none, if a thread that looks after the files was faster
    assert in_memory in {0, 5}
    if each.spans.force_flush(LONG_MS):  # that thread may have come since
        assert on_disk(spool_dir) == (15, 0)
    else:
        assert in_memory
    each.spans.export(spans(1, session_id=session(2)))
    each.shutdown(LONG_MS)
    assert (each.stats().queued, each.stats().unspooled, each.stats().events_dropped) == (16, in_memory, {})
    assert on_disk(spool_dir) == (16, 0)


def test_a_spool_that_cannot_be_put_back_is_still_delivered(exporters, rum, spool_dir):
    """What was on disk alone is read from the file that is open, though it has no name any more."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir, queue_events=20)
    for number in range(4):
        each.spans.export(spans(10, session_id=session(number)))
    taken_away(spool_dir)
    assert not each.spans.force_flush(300)
    rum.clear_faults()
    each.spans.force_flush(LONG_MS)
    until_delivered(each, 40)
    each.shutdown()
    assert (each.stats().delivered, each.stats().queued, each.stats().events_dropped) == (40, 0, {})
    assert len(set(sent_ids(rum))) == len(sent_ids(rum)) == 40


def test_what_is_lost_with_a_spool_is_counted(exporters, rum, spool_dir, caplog):
    """Nothing of it waits anywhere after the end."""
    rum.set_faults(status=503)
    each = exporters(spool_dir=spool_dir, queue_events=20)
    for number in range(4):
        each.spans.export(spans(10, session_id=session(number)))
    taken_away(spool_dir)
    each.shutdown(300)
    assert each.stats().is_balanced
    assert (each.stats().queued, each.stats().events_dropped) == (0, {DropReason.DAMAGED: 40})
    assert [line for line in caplog.messages if "40 of 40 events were not delivered" in line]


# what is told


def test_the_end_says_what_stays_on_disk(exporters, rum, spool_dir, caplog):
    """Once, and only if something does."""
    caplog.set_level(logging.INFO, "otel_rum_exporter")
    rum.set_faults(status=503)
    first = exporters(spool_dir=spool_dir)
    first.spans.export(spans(12, session_id=session(1)))
    first.shutdown(200)
    first.shutdown(200)
    lines = [line for line in caplog.messages if f"12 events stay in the spool {spool_dir}" in line]
    assert len(lines) == 1
    join_own_threads()
    rum.clear_faults()
    caplog.clear()
    second = exporters(spool_dir=spool_dir)
    second.spans.export(spans(1, session_id=session(2)))
    until_delivered(second, 12)
    second.shutdown()
    assert not [line for line in caplog.messages if "in the spool" in line]
    first.delivered_by_others, second.delivered_by_others = 13, 0


def test_dead_letters_that_make_room_are_counted(exporters, rum, spool_dir, monkeypatch):
    """Also when the file is closed; a metric says the same."""
    monkeypatch.setattr("otel_rum_exporter.spool.dead_letters.MAX_AGE_MS", -1)  # each is too old at once
    rum.set_faults(poison=["bad"])
    reader = InMemoryMetricReader()
    each = exporters(spool_dir=spool_dir, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    each.spans.export([span("good", session_id=session(1)), span("bad", session_id=session(1))])
    assert not each.spans.force_flush(LONG_MS)
    for _ in range(2):
        stats = each.stats()
        assert (stats.dead_lettered, stats.spool_dead_letters) == ({DropReason.REJECTED: 1}, 0)
        assert stats.spool_dead_letters_evicted == counted(reader, "rum.exporter.dead_letter.evicted") == 1
        each.shutdown()
    reader.shutdown()


def counted(reader, name):
    """What a metric comes to."""
    (resource,) = reader.get_metrics_data().resource_metrics
    (metric,) = [each for each in resource.scope_metrics[0].metrics if each.name == name]
    return metric.data.data_points[0].value


@pytest.mark.usefixtures("_credentials")
def test_damaged_files_are_counted(spool_dir):
    """And what could be read of them is there."""
    store = Store(RumConfig.load({"app_monitor_id": MONITOR_ID, "spool_dir": spool_dir}, {}))
    (stored,) = store.keep([event("a")])
    store.close()
    stored.spool.path.with_name(stored.spool.path.name + ".suspect").touch()
    again = Store(RumConfig.load({"app_monitor_id": MONITOR_ID, "spool_dir": spool_dir}, {}))
    again.keep([event("b")])
    assert (again.numbers().spool_files_damaged, again.numbers().spooled) == (1, 2)
    again.close()
