"""What comes from disk into memory, and when: beside live sessions, and beside app monitors that take nothing."""

import math

import pytest
from msgspec.structs import replace
from rum_items import key, keyed
from rum_service import PROCESS

from otel_rum_exporter import RumConfig
from otel_rum_exporter.client.verdicts import Delivered, Parked, Rejected, Retry
from otel_rum_exporter.drops import DropReason, ParkReason
from otel_rum_exporter.events import Batch
from otel_rum_exporter.sending.batching import Queued, Stored
from otel_rum_exporter.sending.delivery import Delivery, Part
from otel_rum_exporter.sending.ledger import FromDisk, Ledger, Loaded, Resumed

OTHER = "22222222-3333-4444-8555-666666666666"


def ledger_of(**options):
    return Ledger(RumConfig(domain="shop.example", session_start="off", **options), process_session=PROCESS)


def from_disk(number, *, first=1, monitor=None, age_s=0.0):
    """Events of so many sessions, as they come from disk, of which another process had accepted them."""
    named = {} if monitor is None else {"monitor": monitor}
    return Loaded(
        [
            FromDisk(keyed(key(each, **named), f"{monitor} {each}"), Stored(None, each), age_s)
            for each in range(first, first + number)
        ],
        expired=0,
        lost=0,
        is_own=False,
    )


def batch_from_disk(number, events):
    """A batch of so many events of a session that another process was sending."""
    drafts = [keyed(key(number), f"{number} {each}").draft for each in range(events)]
    job = [Queued(key(number), draft, 0.0, 0, 0, stored=Stored(None, 100 + row)) for row, draft in enumerate(drafts)]
    return delivery_of(job)


def send(ledger, now, verdict):
    """Send the batch that is due, and get an answer to it."""
    job = ledger.take(now)
    delivery = job if isinstance(job, Delivery) else delivery_of(job)
    return ledger.settle(delivery, verdict, now)


def delivery_of(job):
    """A job that is about to be sent."""
    return Delivery(Part(replace(batch_of(job), events=tuple(each.draft for each in job)), job))


def batch_of(job):
    """What is made of a job, but for its events."""
    first = job[0].key
    return Batch(
        batch_id="batch",
        monitor=first.monitor,
        session_id=first.session_id,
        user_id="user",
        session_metadata=None,
        events=(),
    )


def test_what_is_on_disk_comes_at_once_when_nothing_is_due():
    """One chunk after the other, while senders have nothing else to do."""
    ledger = ledger_of(max_requests_per_second=1000)
    assert ledger.load_in(0.0) == 0.0
    ledger.load(from_disk(3), 0.0)
    assert ledger.load_in(0.0) > 0.0
    for _ in range(3):
        send(ledger, 0.0, Delivered())
    assert ledger.load_in(0.0) == 0.0


def test_many_live_sessions_do_not_keep_what_is_on_disk_there():
    """However many gather and are due, half of the requests are for what comes from disk."""
    ledger = ledger_of()
    ledger.queue([keyed(key(each), f"live {each}") for each in range(1000, 2000)], [None] * 1000, 0.0)
    ledger.load(from_disk(100), 10.0)
    wait_s = ledger.load_in(10.0)
    assert wait_s == 100 / (ledger.dispatch.pacer.rate / 2)
    assert ledger.load_in(10.0 + wait_s) == 0.0


def test_what_is_on_disk_stays_there_while_memory_is_crowded_or_nobody_answers():
    ledger = ledger_of(queue_events=10, max_requests_per_second=1000)
    ledger.load(from_disk(6), 0.0)
    assert ledger.load_in(1e6) == math.inf
    ledger = ledger_of(max_requests_per_second=1000)
    ledger.load(from_disk(20), 0.0)
    for _ in range(5):
        send(ledger, 0.0, Retry("network", "refused"))
    assert ledger.load_in(1e6) == math.inf


@pytest.mark.parametrize(("may_have_arrived", "doubtful"), [(True, 3), (False, 0)])
def test_only_what_may_have_arrived_may_come_twice(may_have_arrived, doubtful):
    """Where no connection came about the service has nothing."""
    ledger = ledger_of()
    ledger.queue([keyed(key(1), f"{each}") for each in range(3)], [None] * 3, 0.0)
    send(ledger, 100.0, Retry("network", "down", may_have_arrived=may_have_arrived))
    assert ledger.statistics().duplicates_possible == doubtful


def test_what_a_parked_app_monitor_has_on_disk_keeps_no_others_there():
    """It stays, however much it is, and what comes behind it is read."""
    ledger = ledger_of(max_requests_per_second=1000)
    ledger.load(from_disk(1), 0.0)
    send(ledger, 0.0, Parked(ParkReason.NOT_FOUND, "404"))
    left = ledger.load(from_disk(50, first=2), 0.0)
    assert [each.id for each in left] == list(range(2, 52))
    assert 0.0 < ledger.load_in(0.0) < 10.0  # reading it again and again takes no whole core
    assert ledger.load_in(10.0) == 0.0
    assert ledger.load(from_disk(5, first=60, monitor=OTHER), 10.0) == []
    for _ in range(5):
        assert len(send(ledger, 10.0, Delivered()).delivered) == 1
    statistics = ledger.statistics()
    assert (statistics.accepted, statistics.delivered, statistics.queued) == (56, 5, 51)
    assert statistics.is_balanced


def test_events_on_disk_find_out_where_those_in_memory_may_be_at_fault():
    """An app monitor that refused all that is in memory may take what is behind that: else that would wait for days."""
    ledger = ledger_of(max_requests_per_second=1000)
    ledger.load(from_disk(4), 0.0)
    for _ in range(4):
        send(ledger, 0.0, Rejected("400"))
    assert ledger.dispatch.parked == {key(1).monitor.id: ParkReason.REJECTED}
    assert ledger.load(from_disk(1, first=4), 1.0) == []  # behind what was refused, in the same session
    assert ledger.load(from_disk(2, first=5), 1.0) == []
    assert [each.id for each in ledger.load(from_disk(2, first=7), 1.0)] == [7, 8]
    assert send(ledger, 31.0, Rejected("400")).is_parked  # what was refused before
    assert len(send(ledger, 92.0, Delivered()).delivered) == 1  # another one
    assert ledger.dispatch.parked == {}
    assert ledger.load(from_disk(2, first=9), 93.0) == []


def test_what_comes_from_disk_is_as_old_as_before():
    """Its age does not begin anew with each process that reads it, neither an event's nor a batch's."""
    ledger = ledger_of(max_age=3_600_000)
    ledger.load(from_disk(2, age_s=3590.0), 0.0)
    send(ledger, 0.0, Delivered())
    assert ledger.take(5.0) is not None
    ledger = ledger_of(max_age=3_600_000)
    ledger.load(from_disk(2, age_s=3590.0), 0.0)
    assert ledger.resume(Resumed(batch_from_disk(3, events=2), [3590.0, 0.0]), 0.0)
    assert [each.draft.id for each in ledger.take(11.0).queued] == ["3 1"]
    assert ledger.statistics().events_dropped == {DropReason.EXPIRED: 3}
    assert len(ledger.take_ended().forgotten) == 3
    assert ledger.statistics().is_balanced


def test_what_ends_while_it_is_saved_leaves_the_disk():
    """It was delivered, or dropped, between the look at it and its commit: it counts once, and its row goes."""
    ledger = ledger_of()
    ledger.queue([keyed(key(number), f"{number}") for number in range(3)], [None] * 3, 0.0)
    ledger.begin_flush()
    job = ledger.take(0.0)
    left = ledger.begin_saving(None)
    assert [each.draft.id for each in left].count(job[0].draft.id) == len(left) - 2 == 1
    assert ledger.begin_saving(None) == []  # one is at it
    ledger.settle(Delivery(Part(batch_of(job), job)), Delivered(), 0.0)
    ledger.saved(left, [Stored(None, number) for number in range(3)])
    assert ledger.take_ended().forgotten == job
    assert (ledger.statistics().delivered, ledger.statistics().queued) == (1, 2)
    ledger.close()
    assert ledger.statistics().events_dropped == {}
    assert ledger.statistics().is_balanced


def test_what_is_saved_after_the_end_is_not_lost():
    """A chore that began before commits later than all was counted."""
    ledger = ledger_of()
    ledger.queue([keyed(key(number), f"{number}") for number in range(3)], [None] * 3, 0.0)
    left = ledger.begin_saving(2)
    ledger.close()
    assert ledger.statistics().events_dropped == {DropReason.SHUTDOWN: 3}
    ledger.saved(left, [Stored(None, 1), None])
    assert (ledger.statistics().events_dropped, ledger.statistics().queued) == ({DropReason.SHUTDOWN: 2}, 1)
    assert ledger.statistics().is_balanced


def parked_ledger(**options):
    """A ledger, with a spool, one of whose app monitors takes nothing, and fills the memory."""
    ledger = ledger_of(queue_events=100, max_requests_per_second=1000, max_age=172_800_000, **options)
    ledger.load(from_disk(1), 0.0)
    send(ledger, 0.0, Parked(ParkReason.NOT_FOUND, "404"))
    assert ledger.queue(*on_disk(150, first=2), 1.0) == [Stored(None, each) for each in range(101, 152)]
    return ledger


def on_disk(number, *, first=1, monitor=None):
    """Events of one session, and where they are."""
    of = key(1) if monitor is None else key(2, monitor=monitor)
    ids = range(first, first + number)
    return [keyed(of, f"{monitor} {each}") for each in ids], [Stored(None, each) for each in ids]


def test_what_a_parked_app_monitor_has_in_memory_makes_room_on_disk():
    """Its events are there anyhow. Those of others need the memory: on disk alone they would wait until it is well."""
    ledger = parked_ledger()
    left = ledger.queue(*on_disk(20, first=200, monitor=OTHER), 2.0)
    assert left == [Stored(None, each) for each in range(2, 22)]  # twentieths of the memory at a time
    assert len(send(ledger, 20.0, Delivered()).delivered) == 20
    statistics = ledger.statistics()
    assert (statistics.delivered, statistics.queued, statistics.events_dropped) == (20, 151, {})
    assert statistics.is_balanced


def test_what_is_on_disk_alone_is_read_beside_a_parked_app_monitor():
    """However much of the memory that takes."""
    ledger = parked_ledger()
    assert ledger.load_in(2.0) < math.inf
    left = ledger.load(from_disk(20, first=200, monitor=OTHER), 2.0)
    assert left == [Stored(None, each) for each in range(2, 22)]
    for _ in range(20):
        assert len(send(ledger, 2.0, Delivered()).delivered) == 1
    assert (ledger.statistics().queued, ledger.statistics().is_balanced) == (151, True)


def test_a_parked_app_monitor_takes_no_room_from_itself():
    """One of its events is as good as another, and what memory alone keeps is not lost for what is on disk."""
    ledger = parked_ledger()
    assert ledger.queue(*on_disk(1, first=200), 2.0) == [Stored(None, 200)]
    ledger = ledger_of(queue_events=10, max_requests_per_second=1000)
    ledger.load(from_disk(1), 0.0)
    send(ledger, 0.0, Parked(ParkReason.NOT_FOUND, "404"))
    ledger.queue([keyed(key(1), f"{each}") for each in range(9)], [None] * 9, 1.0)
    assert ledger.queue(*on_disk(1, first=200, monitor=OTHER), 2.0) == [Stored(None, 200)]
    assert ledger.statistics().events_dropped == {}


def test_how_many_events_there_is_room_for():
    """By number, by size, and besides what waits already."""
    events = [keyed(key(1), f"{each}", size=4000) for each in range(9)]
    ledger = ledger_of(queue_events=5)
    assert (ledger.fitting(events), ledger.fitting(events[:2]), ledger.is_empty) == (5, 2, True)
    ledger = ledger_of(queue_bytes=20_000, overflow="block")
    assert ledger.fitting(events) == 4
    ledger.queue(events[:3], [None] * 3, 0.0)
    assert (ledger.fitting(events[3:]), ledger.is_empty) == (1, False)
    ledger.queue(events[3:4], [None], 0.0)
    assert ledger.fitting(events[4:]) == 0
    assert ledger.statistics().events_dropped == {}


@pytest.mark.parametrize("overflow", ["drop_newest", "block"])
def test_what_does_not_fit_keeps_nothing_else_out(overflow):
    """A large event for which there are too few bytes is the one that is lost; a small one behind it may still fit."""
    ledger = ledger_of(queue_bytes=20_000, overflow=overflow)
    for name, size in (("old", 9000), ("large", 12_000), ("small", 1000)):
        ledger.queue([keyed(key(1), name, size=size)], [None], 0.0)
    assert [each.draft.id for each in ledger.dispatch.on_their_way()] == ["old", "small"]
    assert ledger.statistics().events_dropped == {DropReason.QUEUE_FULL: 1}
    assert ledger.statistics().is_balanced


def test_what_is_on_disk_does_not_push_out_what_is_in_memory_only():
    """Though its bytes do not quite fit: it waits on disk alone, where the other would be lost."""
    ledger = ledger_of(queue_bytes=20_000)
    ledger.queue([keyed(key(1), "in memory only", size=9000)], [None], 0.0)
    assert ledger.queue([keyed(key(1), "on disk", size=12_000)], [Stored(None, 1)], 0.0) == [Stored(None, 1)]
    assert [each.draft.id for each in ledger.dispatch.on_their_way()] == ["in memory only"]
    assert (ledger.statistics().events_dropped, ledger.statistics().queued) == ({}, 2)


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
def test_what_gives_way_in_memory_stays_on_disk(overflow):
    """Whatever the policy is, and though what it gives way to has no place on disk."""
    ledger = parked_ledger(overflow=overflow)
    left = ledger.queue([keyed(key(2, monitor=OTHER), f"{each}") for each in range(5)], [None] * 5, 2.0)
    assert left == [Stored(None, each) for each in range(2, 7)]
    assert ledger.take_ended().forgotten == []
    assert (ledger.statistics().events_dropped, ledger.statistics().queued) == ({}, 156)
    assert ledger.statistics().is_balanced


def test_what_comes_from_disk_behind_a_live_event_becomes_too_old_first():
    """Its age counts, not that of what it comes behind."""
    ledger = ledger_of(max_age=3_600_000)
    ledger.queue([keyed(key(1), "live")], [None], 1.0)
    ledger.load(from_disk(1, age_s=3540.0), 1.0)
    ledger.take(62.0)
    assert ledger.statistics().events_dropped == {DropReason.EXPIRED: 1}
    assert (len(ledger.take_ended().forgotten), ledger.statistics().queued) == (1, 1)
