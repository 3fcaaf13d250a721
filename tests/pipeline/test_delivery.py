"""When a batch is tried again. Pure: time and chance are numbers."""

import pytest
from rum_items import key, keyed

from otel_rum_exporter.client.verdicts import Retry
from otel_rum_exporter.events import Batch
from otel_rum_exporter.sending.batching import Queued
from otel_rum_exporter.sending.delivery import Delivery, Part, retry_at

NOW = 1000.0


def delivery(attempts):
    return Delivery(Part(None, [Queued(key(), keyed(key()).draft, NOW, 0, 1)]), attempts=attempts)


def part(*names):
    queued = [Queued(key(), keyed(key(), name).draft, NOW + each, 0, 1) for each, name in enumerate(names)]
    owner = {"monitor": key().monitor, "session_id": "s", "user_id": "u"}
    return Part(Batch(batch_id="b", session_metadata=None, events=names, **owner), queued)


def wait_s(verdict, attempts=1, chance=0.0):
    return retry_at(delivery(attempts), verdict, NOW, lambda: chance) - NOW


def test_what_is_too_old_goes_alone():
    """What is left of a batch is another one, of whichever part it is, and one of suspects that nothing stands behind."""
    whole = part("a", "b", "c", "d")
    batch = Delivery(whole)
    assert (batch.expire(NOW - 1), batch.part) == ([], whole)
    assert batch.expire(NOW) == whole.queued[:1]
    assert (batch.part.batch.events, batch.is_bisected, batch.admitted_at) == (("b", "c", "d"), False, NOW + 1)
    assert batch.part.batch.batch_id != whole.batch.batch_id
    batch.split()
    assert batch.expire(NOW + 1) == whole.queued[1:2]
    assert [each.batch.events for each in batch.rest] == [("c",), ("d",)]
    batch.suspect("no")
    assert batch.expire(NOW + 2) == whole.queued[2:3]
    assert (batch.queued, batch.suspects) == (whole.queued[3:], [])
    assert batch.expire(NOW + 3) == whole.queued[3:]
    assert batch.is_over


def test_suspects_that_are_left_alone_are_sent_again():
    whole = part("a", "b", "c", "d")
    whole.queued[0].admitted_at = NOW + 9
    batch = Delivery(whole)
    batch.split()
    batch.split()
    batch.suspect("no")
    assert batch.expire(NOW + 3) == whole.queued[1:]
    assert (batch.part.batch.events, batch.suspects, batch.is_over) == (("a",), [], False)


def test_what_is_restored_is_what_is_left():
    """As it was, if that is all of it; else another batch: neither what was taken of it nor what was rejected."""
    whole = part("a", "b", "c", "d")
    batch = Delivery(whole)
    batch.split()
    batch.restore()
    assert batch.part is whole
    batch.split()
    batch.delivered()
    batch.split()
    batch.suspect("no")
    batch.restore()
    assert [each.draft.id for each in batch.part.queued] == list(batch.part.batch.events) == ["c", "d"]
    assert batch.part.batch.batch_id != whole.batch.batch_id


@pytest.mark.parametrize(("attempts", "most_s"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (8, 30), (10_000, 30)])
def test_the_wait_doubles_up_to_its_bound(attempts, most_s):
    """The wait is a random share of 0.5 s, 1 s, 2 s ... 30 s."""
    verdict = Retry("network", "reset")
    assert [wait_s(verdict, attempts, chance) for chance in (0.0, 0.5, 1.0)] == [0, most_s / 2, most_s]


@pytest.mark.parametrize(
    ("cause", "after_s", "least_s"),
    [
        ("server", 7.0, 7.0),
        ("server", None, 0.0),
        ("throttled", 7.0, 7.0),
        ("throttled", None, 1.0),
        ("throttled", 0.25, 1.0),
        ("throttled", 86_400.0, 300.0),
        ("server", 1e300, 300.0),
    ],
)
def test_retry_after_is_the_least_wait(cause, after_s, least_s):
    """The service is not asked again before its Retry-After, within five minutes; a throttled one not within 1 s."""
    assert wait_s(Retry(cause, "", after_s)) == least_s


def test_the_longer_wait_counts():
    """A short Retry-After does not shorten the backoff."""
    assert wait_s(Retry("throttled", "", 2.0), attempts=7, chance=1.0) == 30
