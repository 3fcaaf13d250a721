"""The batches that wait: for their next attempt, or with an app monitor that takes nothing. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

from otel_rum_exporter.sending.batching import Queued
from otel_rum_exporter.sending.delivery import Delivery


class Waiting:
    """Batches between two attempts: each waits for its time, or is parked with its app monitor.

    Shape:  `count` and `size` are of the events of all of them; a batch that a sender holds is not among them.
    Units:  `size` counts bytes as `Batches` does, times are seconds of the pipeline's clock.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._timed: list[Delivery] = []
        self._parked: dict[str, deque[Delivery]] = {}
        self._admitted_at: dict[Delivery, float] = {}  # of each, its oldest event
        self._in_memory: dict[Delivery, float] = {}  # likewise, of those that no disk keeps
        self.count = 0
        self.size = 0

    def __iter__(self) -> Iterator[Delivery]:
        """Yield those that wait for their time."""
        yield from self._timed

    def __len__(self) -> int:
        """Return how many wait for their time."""
        return len(self._timed)

    @property
    def oldest_at(self) -> float:
        """When the oldest event of all was admitted; infinity without any."""
        return min(self._admitted_at.values(), default=math.inf)

    def add(self, delivery: Delivery) -> None:
        """Let a batch wait for its time."""
        self._timed.append(delivery)
        self._count_in(delivery)

    def park(self, delivery: Delivery) -> None:
        """Let a batch wait for its app monitor."""
        self._parked.setdefault(_monitor_of(delivery), deque()).append(delivery)
        self._count_in(delivery)

    def take(self, now: float, *, with_bisected: bool) -> Delivery | None:
        """Return a batch whose time has come."""
        for delivery in self._timed:
            if delivery.due_at <= now and (with_bisected or not delivery.is_bisected):
                return self.remove(delivery)
        return None

    def take_parked(self, monitor_id: str) -> Delivery | None:
        """Return the batch that waits longest for an app monitor."""
        parked = self._parked.get(monitor_id)
        return self.remove(parked[0]) if parked else None

    def number_parked(self, monitor_id: str) -> int:
        """Return how many batches wait for an app monitor."""
        return len(self._parked.get(monitor_id, ()))

    def unpark(self, monitor_id: str, now: float) -> None:
        """Let those that waited for an app monitor go at once."""
        for delivery in self._parked.pop(monitor_id, ()):
            delivery.due_at = now
            self._timed.append(delivery)

    def oldest(self) -> Delivery | None:
        """Return the batch with the oldest event of those that memory alone keeps."""
        return min(self._in_memory, key=self._in_memory.__getitem__, default=None)

    def older_than(self, before: float) -> list[Delivery]:
        """Return the batches with an event that was admitted before a moment."""
        return [each for each, at in self._admitted_at.items() if at < before]

    def is_parked(self, delivery: Delivery) -> bool:
        """Tell whether a batch waits for its app monitor."""
        return delivery in self._parked.get(_monitor_of(delivery), ())

    def remove(self, delivery: Delivery) -> Delivery:
        """Take out a batch. Returns it."""
        line = self._parked[_monitor_of(delivery)] if self.is_parked(delivery) else self._timed
        line.remove(delivery)
        del self._admitted_at[delivery]
        self._in_memory.pop(delivery, None)
        self._count(delivery, -1)
        return delivery

    def expire(self, delivery: Delivery, until: float) -> list[Queued]:
        """Take out of a batch what was admitted until a moment, which is not all of it. Returns that."""
        self._count(delivery, -1)
        self._in_memory.pop(delivery, None)
        old = delivery.expire(until)
        self._count_in(delivery)
        return old

    def queued(self) -> Iterator[Queued]:
        """Yield the events of all."""
        for delivery in self._admitted_at:
            yield from delivery.queued

    def _count_in(self, delivery: Delivery) -> None:
        self._admitted_at[delivery] = delivery.admitted_at
        if not delivery.is_stored:
            self._in_memory[delivery] = delivery.admitted_at
        self._count(delivery, 1)

    def _count(self, delivery: Delivery, sign: int) -> None:
        queued = delivery.queued
        self.count += sign * len(queued)
        self.size += sign * sum(each.size for each in queued)


def _monitor_of(delivery: Delivery) -> str:
    return delivery.whole.batch.monitor.id
