"""All attempts of a batch: when to try again, what to try again of a batch that is at fault, when to give up. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple
from uuid import uuid4

from msgspec import Struct, field
from msgspec.structs import replace

from otel_rum_exporter.client.verdicts import Retry
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import Batch, RumEvent
from otel_rum_exporter.sending.batching import Queued

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_MIN_RETRY_AFTER_S = 1.0  # of a throttled request that names no time
_MAX_RETRY_AFTER_S = 300.0
_UNKNOWN_TRIES = 3  # of a batch that gets an answer which the service is not known to give

SUSPECTS = 4
"""Single events that are refused with the same words, and none is taken: then it is not the events that are at fault."""


class Part(NamedTuple):
    """Events that are sent as one request, `queued` in the order of the batch's events."""

    batch: Batch
    queued: list[Queued]

    def only(self, kept: Collection[Queued]) -> Part:
        """Return what is left of it with some events only: a batch of its own, unless these are all."""
        pairs = [pair for pair in zip(self.queued, self.batch.events, strict=True) if pair[0] in kept]
        if len(pairs) == len(self.queued):
            return self
        events = tuple(event for _, event in pairs)
        batch = replace(self.batch, batch_id=str(uuid4()), events=events)
        return Part(batch, [queued for queued, _ in pairs])

    def halves(self) -> list[Part]:
        """Return the two halves, each a batch of its own."""
        middle = (len(self.queued) + 1) // 2
        events = self.batch.events
        return [
            Part(replace(self.batch, batch_id=str(uuid4()), events=some), queued)
            for some, queued in (
                (events[:middle], self.queued[:middle]),
                (events[middle:], self.queued[middle:]),
            )
        ]


class Rejection(NamedTuple):
    """An event that the service does not take, with its words, or that it would not take."""

    queued: Queued
    event: RumEvent
    message: str
    reason: DropReason = DropReason.REJECTED


class Delivery(Struct, eq=False):
    """A batch on its way.

    A batch that the service finds fault with is bisected, until the events at fault stand alone: `rest` are the parts
    that are still to be sent, the next one first, and `suspects` the events that were refused alone while none of the
    batch was taken yet.

    Shape:  of 100 events one at fault is found by 15 requests at most, two by 27, three by 37.
    Units:  times are seconds of the pipeline's clock. A flush may come before `due_at`, but not before `not_before`.
    """

    whole: Part
    rest: list[Part] = field(default_factory=list)
    suspects: list[Rejection] = field(default_factory=list)
    is_proven: bool = False
    lease: int | None = None  # what the spool knows it by
    attempts: int = 0
    failures: int = 0  # since the exporter is shutting down
    due_at: float = 0.0
    not_before: float = 0.0

    def __post_init__(self) -> None:
        """Begin with all of it to be sent."""
        self.rest = self.rest or [self.whole]

    @property
    def part(self) -> Part:
        """What is sent next."""
        return self.rest[0]

    @property
    def queued(self) -> list[Queued]:
        """The events that are still on their way."""
        left = [queued for part in self.rest for queued in part.queued]
        return [*left, *(suspect.queued for suspect in self.suspects)]

    @property
    def is_bisected(self) -> bool:
        """Whether only a part of the batch is sent."""
        return self.part is not self.whole

    @property
    def is_stored(self) -> bool:
        """Whether its events are on disk, where they outlive a mistake in the configuration."""
        return all(each.stored is not None for each in self.queued)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to be sent."""
        return not self.rest

    @property
    def admitted_at(self) -> float:
        """When the oldest of its events was admitted."""
        return min(each.admitted_at for each in self.queued)

    def delivered(self) -> Part:
        """Take note that the service took the part. Returns it."""
        self.is_proven = True
        return self._next()

    def split(self) -> None:
        """Replace a part that the service finds fault with by its halves."""
        self.rest[:1] = self.part.halves()
        self.attempts = 0

    def suspect(self, message: str) -> bool:
        """Take note that a single event was refused. Returns whether it seems that all would be, for the same reason."""
        part = self._next()
        self.suspects.append(Rejection(part.queued[0], part.batch.events[0], message))
        messages = {suspect.message for suspect in self.suspects}
        return not self.is_proven and len(self.suspects) >= SUSPECTS and len(messages) == 1

    def convicted(self, *, is_known_good: bool) -> list[Rejection]:
        """Return the suspects, once some event was taken or nothing is left that might be."""
        if not (self.is_proven or is_known_good or self.is_over):
            return []
        suspects, self.suspects = self.suspects, []
        return suspects

    def given_up(self, message: str) -> list[Rejection]:
        """Take note that nothing of it will be taken. Returns all that is left of it."""
        left = [
            Rejection(queued, event, message)
            for part in self.rest
            for queued, event in zip(part.queued, part.batch.events, strict=True)
        ]
        suspects, self.rest, self.suspects = self.suspects, [], []
        return [*suspects, *left]

    def expire(self, until: float) -> list[Queued]:
        """Take out the events that were admitted until a moment; what is left is another batch. Returns them."""
        queued = self.queued
        kept = {each for each in queued if each.admitted_at > until}
        if len(kept) == len(queued):
            return []
        if kept and not self.is_bisected:
            self.whole = self.whole.only(kept)
            self.rest = [self.whole]
        else:
            self.rest = [part.only(kept) for part in self.rest if not kept.isdisjoint(part.queued)]
            self.suspects = [suspect for suspect in self.suspects if suspect.queued in kept]
        if self.suspects and not self.rest:
            self.restore()
        return [each for each in queued if each not in kept]

    def restore(self, acquitted: Iterable[Rejection] = ()) -> None:
        """Make one batch of it again, of what has not ended: it is the request that is at fault.

        Args:
            acquitted: Suspects that were convicted just now.
        """
        self.whole = self.whole.only({*self.queued, *(each.queued for each in acquitted)})
        self.rest, self.suspects, self.attempts = [self.whole], [], 0

    def _next(self) -> Part:
        self.attempts = 0
        return self.rest.pop(0)


def retry_at(delivery: Delivery, verdict: Retry, now: float, random: Callable[[], float]) -> float:
    """Return when to try again.

    Full jitter: a random time up to 0.5 s, 1 s, 2 s ... 30 s, so that many senders do not return together; never
    before the service's Retry-After; at once with new credentials.
    """
    if verdict.cause == "credentials":
        return now
    backoff: float = random() * min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(delivery.attempts - 1, 10))
    return now + max(backoff, asked_wait_s(verdict))


def asked_wait_s(verdict: Retry) -> float:
    """Return for how long the service does not want to be asked again: its Retry-After, within bounds."""
    floor = verdict.after_s if verdict.after_s is not None else 0.0
    if verdict.cause == "throttled":
        floor = max(floor, _MIN_RETRY_AFTER_S)
    return min(floor, _MAX_RETRY_AFTER_S)


def is_hopeless(delivery: Delivery, verdict: Retry) -> bool:
    """Tell whether a batch got the same strange answer often enough."""
    return verdict.cause == "unknown" and delivery.attempts >= _UNKNOWN_TRIES
