"""What waits on disk: an outage that memory could not bridge, and a disk that fills up meanwhile."""

import threading
import time
from itertools import count

import pytest
from proof_app import Spans
from proof_endpoint import arrivals, check, document
from small_disk import small_disk

from otel_rum_exporter import RumSpanExporter

EVENTS_OF_A_FULL_DISK = 15_000


@pytest.mark.parametrize("events", [10_000, pytest.param(30_000, marks=pytest.mark.nightly)])
def test_an_outage_that_the_spool_bridges(options, rum, proof, tmp_path, events):
    """Many times more than memory may hold waits on disk; all of it arrives, and live events hardly wait for it."""
    rum.set_faults(status=503, retry_after="")
    exporter = RumSpanExporter(**options, queue_events=2000, spool_dir=str(tmp_path / "spool"))
    backlog = Spans(10)
    for first in range(0, events, 100):
        exporter.export(backlog.make("backlog", range(first, first + 100)))
    most_in_memory = exporter.stats().queued - exporter.stats().spooled
    rum.clear_faults()
    live, exported_at, pause, over_at = Spans(1), {}, threading.Event(), time.monotonic() + 300
    for number in count():
        exported_at[f"live.{number}"] = time.time()
        exporter.export(live.make("live", [number]))
        if exporter.stats().queued < 100 or time.monotonic() > over_at:
            break
        pause.wait(0.1)
    assert exporter.force_flush(60_000)
    exporter.shutdown()
    stats, arrived = exporter.stats(), arrivals(rum)
    check(rum, [document(stats)])
    waits = [arrived[name] - at for name, at in exported_at.items()]
    sent_at = sorted(each["received_at"] for each in rum.requests())
    most = max(sum(at <= each < at + 1 for each in sent_at) for at in sent_at)
    proof(
        "A11",
        f"outage with {events:,} events in the spool, 2,000 in memory at most; then live events, 10/s",
        target="0 lost, live events wait < 30 s, the drain keeps to 45 requests/s (burst on top)",
        measured=f"{stats.accepted - stats.delivered} lost, live {max(waits):.1f} s at most ({len(waits)} events), "
        f"{most} requests in the busiest second, {most_in_memory} events in memory alone",
        is_met=stats.accepted == stats.delivered and max(waits) < 30 and most <= 90,
    )
    assert stats.accepted == stats.delivered == events + len(exported_at)
    assert max(waits) < 60


def test_a_disk_that_fills_up(options, rum, proof, tmp_path):
    """What the disk has no room for waits in memory; when the endpoint recovers, all of both arrives."""
    rum.set_faults(status=503, retry_after="")
    with small_disk(tmp_path / "disk", "8m") as disk:
        spool = {"spool_dir": str(disk / "spool"), "spool_reserve_bytes": 2**20, "queue_events": 20_000}
        exporter, spans = RumSpanExporter(**options, **spool), Spans(10)
        for first in range(0, EVENTS_OF_A_FULL_DISK, 100):
            exporter.export(spans.make("event", range(first, first + 100)))
        before = exporter.stats()
        rum.clear_faults()
        assert exporter.force_flush(100_000)
        exporter.shutdown()
        stats = exporter.stats()
        check(rum, [document(stats)])
    lost = stats.accepted - stats.delivered
    proof(
        "A7",
        f"{EVENTS_OF_A_FULL_DISK:,} events into a spool on an 8 MiB disk, then recovery",
        target="memory takes over when the disk is full; 100 % of the spool drains",
        measured=f"{before.spooled:,} on disk and {before.queued - before.spooled:,} in memory, {lost} lost",
        is_met=lost == 0 and stats.spooled == 0,
    )
    assert 0 < before.spooled < before.queued
    assert (lost, stats.spooled) == (0, 0)
