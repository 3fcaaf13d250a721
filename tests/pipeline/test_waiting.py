"""Batches between two attempts: how much of the memory they take, and which of them gives way."""

import time

import pytest
from rum_items import key, keyed, session, span

from otel_rum_exporter import DropReason
from otel_rum_exporter.events import AppMonitor, Batch
from otel_rum_exporter.sending.batching import Queued
from otel_rum_exporter.sending.delivery import Delivery, Part
from otel_rum_exporter.sending.waiting import Waiting

WIDE_S = 20  # far more than anything here takes
MONITOR, OTHER = "11111111-2222-4333-8444-555555555555", "99999999-9999-4999-8999-999999999999"


def delivery(*admitted_at, monitor=MONITOR, stored=None, due_at=0.0):
    of = key(monitor=monitor)
    queued = [Queued(of, keyed(of).draft, at, 0, 10, stored=stored) for at in admitted_at]
    owner = {"monitor": AppMonitor(monitor, "shop", "1.0.0", None), "session_id": "s", "user_id": "u"}
    batch = Batch(batch_id="b", session_metadata=None, events=(None,) * len(queued), **owner)
    return Delivery(Part(batch, queued), due_at=due_at)


@pytest.fixture
def waiting():
    return Waiting()


def test_events_and_bytes_are_those_of_all(waiting):
    """Whether they wait for their time or for an app monitor, until they are taken."""
    waiting.add(delivery(1.0, 2.0))
    waiting.park(delivery(3.0))
    assert (waiting.count, waiting.size, len(waiting)) == (3, 30, 1)
    waiting.take(5.0, with_bisected=True)
    assert (waiting.count, waiting.size) == (1, 10)
    waiting.take_parked(MONITOR)
    assert (waiting.count, waiting.size, waiting.oldest_at) == (0, 0, float("inf"))


def test_what_was_parked_goes_at_once(waiting):
    """When the app monitor is well again, and only its own."""
    mine, others = delivery(1.0), delivery(2.0, monitor=OTHER)
    waiting.park(mine)
    waiting.park(others)
    waiting.unpark(MONITOR, 7.0)
    assert (list(waiting), mine.due_at) == ([mine], 7.0)
    assert (waiting.is_parked(mine), waiting.is_parked(others), waiting.count) == (False, True, 2)


def test_the_oldest_is_one_that_memory_alone_keeps(waiting):
    """What is on disk makes room in no other way than by being sent."""
    on_disk, young, old = delivery(1.0, stored=("file", 1)), delivery(9.0), delivery(8.0, 2.0)
    for each in (on_disk, young, old):
        waiting.park(each)
    assert waiting.oldest() is old
    assert waiting.older_than(2.5) == [on_disk, old]
    waiting.remove(old)
    assert (waiting.oldest(), waiting.oldest_at) == (young, 1.0)


def test_a_batch_loses_what_is_too_old(waiting):
    """The rest of it stays where it is, and counts as before."""
    mixed, other = delivery(1.0, 2.0), delivery(3.0)
    for each in (mixed, other):
        waiting.park(each)
    first = mixed.queued[0]
    assert waiting.expire(mixed, 1.5) == [first]
    assert (waiting.count, waiting.size, waiting.oldest_at, waiting.oldest()) == (2, 20, 2.0, mixed)
    assert waiting.take_parked(MONITOR) is mixed


def test_who_exports_does_not_wait_in_vain(exporters, rum):
    """What an app monitor that takes nothing has in memory makes no room: an export that would block gives up at once."""
    rum.set_faults(status=404)
    timeout = 1000 * WIDE_S
    each = exporters(queue_events=5, overflow="block", flush_interval=0, timeout=timeout, max_in_flight=1)
    each.spans.export([span(session_id=session(1))])
    pipeline = each.spans.pipeline
    with pipeline._changed:
        assert pipeline._changed.wait_for(lambda: pipeline._ledger.dispatch.parked, WIDE_S)
    began = time.monotonic()
    for number in range(2, 6):
        each.spans.export([span(session_id=session(number)) for _ in range(3)])
    assert time.monotonic() - began < WIDE_S
    assert each.stats().events_dropped == {DropReason.QUEUE_FULL: 8}
