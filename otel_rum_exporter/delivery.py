"""All attempts of a batch: when to try again, and when to give up. Pure; the pipeline runs it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from otel_rum_exporter.batching import Queued
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.events import Batch
from otel_rum_exporter.verdicts import Retry

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_MIN_RETRY_AFTER_S = 1.0  # of a throttled request that names no time
_MAX_RETRY_AFTER_S = 300.0


class Delivery(Struct, eq=False):
    """A batch on its way, with the events it is made of.

    Units:  times are seconds of the pipeline's clock. A flush may come before `due_at`, but not before `not_before`.
    """

    batch: Batch
    queued: list[Queued]
    attempts: int = 0
    due_at: float = 0.0
    not_before: float = 0.0

    @property
    def admitted_at(self) -> float:
        """When the oldest of its events was admitted."""
        return min(each.admitted_at for each in self.queued)


def retry_at(
    delivery: Delivery, verdict: Retry, config: RumConfig, now: float, random: Callable[[], float]
) -> float | None:
    """Return when to try again, None when the batch would be too old by then.

    Full jitter: a random time up to 0.5 s, 1 s, 2 s ... 30 s, so that many senders do not return together; never
    before the service's Retry-After.
    """
    backoff = random() * min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(delivery.attempts - 1, 10))
    due_at = now + max(backoff, asked_wait_s(verdict))
    return due_at if due_at - delivery.admitted_at < config.max_age_s else None


def asked_wait_s(verdict: Retry) -> float:
    """Return for how long the service does not want to be asked again: its Retry-After, within bounds."""
    floor = verdict.after_s if verdict.after_s is not None else 0.0
    if verdict.cause == "throttled":
        floor = max(floor, _MIN_RETRY_AFTER_S)
    return min(floor, _MAX_RETRY_AFTER_S)
