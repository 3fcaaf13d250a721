"""What is due next, of many things that are each due at a moment of their own and may be put off.

Most come in the order of their moments, as batches do that all gather for equally long: these stand in a line, where the
next one is found at once. A heap, which takes five times as long with thousands of entries, has the others.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, Protocol, TypeVar

_FEW = 64  # void entries that are not worth looking for


class Ticketed(Protocol):
    """A thing to be scheduled. `ticket` is that of its latest entry; its older entries are void."""

    ticket: int


T = TypeVar("T", bound=Ticketed)


class Schedule(Generic[T]):
    """Things by when they are due. Shape: tickets are unique, so that equal moments come in the order of their tickets."""

    def __init__(self) -> None:
        """Begin empty."""
        self._line: deque[tuple[float, int, T]] = deque()
        self._heap: list[tuple[float, int, T]] = []

    def __len__(self) -> int:
        """Return the number of entries, void ones among them."""
        return len(self._line) + len(self._heap)

    def add(self, at: float, thing: T, things: int) -> None:
        """Say when a thing is due, by its ticket of now. `things` is how many there are, which bounds void entries."""
        line = self._line
        if not line or at >= line[-1][0]:
            line.append((at, thing.ticket, thing))
        else:
            heapq.heappush(self._heap, (at, thing.ticket, thing))
        # void entries behind one that stays long would pile up
        if len(line) + len(self._heap) > _FEW + 2 * things:
            self._line = deque(filter(_is_valid, line))
            self._heap = list(filter(_is_valid, self._heap))
            heapq.heapify(self._heap)

    def first(self) -> tuple[float, T] | None:
        """Return the moment of the next thing, and the thing; None if there is none."""
        entries = self._next()
        return (entries[0][0], entries[0][2]) if entries else None

    def take(self, until: float) -> T | None:
        """Take out the next thing, if it is due until a moment."""
        entries = self._next()
        if not entries or entries[0][0] > until:
            return None
        return (self._line.popleft() if entries is self._line else heapq.heappop(self._heap))[2]

    def _next(self) -> deque[tuple[float, int, T]] | list[tuple[float, int, T]]:
        """Return the line or the heap: the one with the next entry at its beginning."""
        line, heap = self._line, self._heap
        while line and line[0][2].ticket != line[0][1]:
            line.popleft()
        if not heap:
            return line
        while heap and not _is_valid(heap[0]):
            heapq.heappop(heap)
        return heap if heap and (not line or heap[0] < line[0]) else line


def _is_valid(entry: tuple[float, int, Ticketed]) -> bool:
    return entry[2].ticket == entry[1]
