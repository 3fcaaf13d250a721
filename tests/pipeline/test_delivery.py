"""When a batch is tried again. Pure: time and chance are numbers."""

import pytest
from rum_items import key, keyed

from otel_rum_exporter.batching import Queued
from otel_rum_exporter.client.verdicts import Retry
from otel_rum_exporter.delivery import Delivery, Part, retry_at

NOW = 1000.0


def delivery(attempts):
    return Delivery(Part(None, [Queued(key(), keyed(key()).draft, NOW, 0, 1)]), attempts=attempts)


def wait_s(verdict, attempts=1, chance=0.0):
    return retry_at(delivery(attempts), verdict, NOW, lambda: chance) - NOW


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
