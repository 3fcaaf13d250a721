"""What is on disk and in no memory: rows of spool files, and batches that a process which ended was sending.

Read as there is room in memory, batches first, then the rows from the oldest on.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from otel_rum_exporter.sending.batching import Stored
from otel_rum_exporter.sending.delivery import Delivery
from otel_rum_exporter.sending.ledger import FromDisk, Loaded, Resumed
from otel_rum_exporter.spool.owed import Owed
from otel_rum_exporter.spool.queue import Lease, Row, Spool, SpoolError, SpoolFull
from otel_rum_exporter.spool.stored import keyed_of, resumed

_AT_ONCE = 500  # rows that are read into memory together
_REST_S = 5.0  # after something could not be read


class _Range(Struct, eq=False):
    """Rows of a file that are not in memory: `counted` of them were accepted by this process, None for what it found."""

    spool: Spool
    after: int
    last: int
    counted: int | None = None


class Backlog:
    """The rows and batches of this process's files that are yet to come into memory.

    Shape:  `lost` counts rows that this process had accepted, and that went with a damaged file: what can be read of it
            is found in the next one, and accepted anew.
    Errors: none are raised; `failed` is told, and what could not be read is tried again. Thread-safe.
    """

    def __init__(
        self,
        max_age_s: float,
        owed: Owed,
        failed: Callable[[Spool, SpoolError | SpoolFull, str], None],
        wall: Callable[[], float],
    ) -> None:
        """Begin with nothing.

        Args:
            max_age_s: After which events are not sent any more, but removed.
            owed: Removes them.
            failed: Told of errors.
            wall: Epoch seconds.
        """
        self._max_age_s = max_age_s
        self._owed = owed
        self._failed = failed
        self._wall = wall
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # who holds it may go on behind rows, or take them out of the ranges
        self._files: set[Spool] = set()
        self._ranges: deque[_Range] = deque()
        self._left: deque[tuple[Spool, Lease]] = deque()
        self._lost = 0
        self._rests_until = -math.inf

    @property
    def is_due(self) -> bool:
        """Whether there is something, and it may be read."""
        return bool(self._ranges or self._left or self._lost) and time.monotonic() >= self._rests_until

    # what there is

    def add_file(self, spool: Spool, leases: Iterable[Lease], last: int) -> None:
        """Take note of all that is in a file that others left: the batches that they were sending, and rows up to an id."""
        with self._lock:
            self._files.add(spool)
            self._left.extend((spool, lease) for lease in leases)
            self._ranges.append(_Range(spool, 0, last))

    def add_rows(self, spool: Spool, ranges: Iterable[tuple[int, int]]) -> None:
        """Take note of rows that somebody else put into a file, by their first and last ids."""
        with self._lock:
            self._ranges.extend(_Range(spool, first - 1, last) for first, last in ranges)

    def leave(self, stored: Sequence[Stored]) -> None:
        """Take note of events of this process, for which there is no room in memory."""
        with self._lock:
            there = [each for each in stored if each.spool in self._files]
            self._lost += len(stored) - len(there)
            for each in there:
                last = self._ranges[-1] if self._ranges else None
                if last and last.counted and last.spool is each.spool and last.last == each.id - 1:
                    last.last, last.counted = each.id, last.counted + 1
                else:
                    self._ranges.append(_Range(each.spool, each.id - 1, each.id, 1))

    def drop(self, spool: Spool) -> None:
        """Count what there was in a damaged file as lost: opening it again finds what can be read."""
        with self._lock:
            self._files.discard(spool)
            self._lost += sum(each.counted or 0 for each in self._ranges if each.spool is spool)
            self._ranges = deque(each for each in self._ranges if each.spool is not spool)
            self._left = deque(each for each in self._left if each[0] is not spool)

    def clear(self) -> None:
        """Leave all of it to whoever comes next."""
        with self._lock:
            self._ranges.clear()
            self._left.clear()

    # rows

    def load(self) -> Loaded | None:
        """Read the next rows, the oldest first; None if there are none. One thread at a time may."""
        with self._reading:
            return self._load()

    def _load(self) -> Loaded | None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            return Loaded([], 0, lost, is_own=True)
        parts: list[Loaded] = []
        room = _AT_ONCE
        while room > 0 and (part := self._load_part(room, parts)) is not None:
            parts.append(part)
            room -= max(1, len(part.events) + part.expired + part.lost)
        return _joined(parts) if parts else None

    def _load_part(self, room: int, parts: Sequence[Loaded]) -> Loaded | None:
        """Read rows of the first range: of several together, since of what alternates with others each is a single row."""
        with self._lock:
            # batches first: what cannot be resumed of them is among the rows
            current = self._ranges[0] if self._ranges and not self._left else None
        if current is None or (parts and parts[0].is_own != (current.counted is not None)):
            return None
        rows = self._read(current, room)
        return None if rows is None else self._loaded(current, rows)

    def _read(self, current: _Range, room: int) -> list[Row] | None:
        try:
            rows = current.spool.load(current.after, min(room, current.last - current.after))
        except SpoolError as error:
            self._rests_until = time.monotonic() + _REST_S  # it stays where it is until this may have passed
            self._failed(current.spool, error, "Events that wait on disk cannot be read")
            return None
        return [row for row in rows if row.id <= current.last]

    def _loaded(self, current: _Range, rows: Sequence[Row]) -> Loaded | None:
        missing = self._pass(current, rows)
        if missing is None:
            return None
        ages_s = {row.id: self._age_s(row.admitted_ms) for row in rows}
        old = [row for row, age_s in ages_s.items() if age_s > self._max_age_s]
        events = [
            FromDisk(keyed, Stored(current.spool, row.id), ages_s[row.id])
            for row in rows
            if ages_s[row.id] <= self._max_age_s and (keyed := keyed_of(row))
        ]
        unknown = set(ages_s) - set(old) - {event.stored.id for event in events}
        if old or unknown:
            self._owed.add(current.spool, rows=[*old, *unknown])
            self._owed.settle()
        return Loaded(events, len(old), len(unknown) + missing, is_own=current.counted is not None)

    def _pass(self, current: _Range, rows: Sequence[Row]) -> int | None:
        """Go on behind rows that were read. Returns how many are missing of those that were counted, at the end.

        None where the file was found damaged meanwhile: its rows are counted as lost.
        """
        with self._lock:
            if current not in self._ranges:
                return None
            current.after = rows[-1].id if rows else current.last
            if current.counted is not None:
                current.counted -= len(rows)
            if current.after < current.last:
                return 0
            self._ranges.remove(current)
            return current.counted or 0

    def _age_s(self, admitted_ms: int) -> float:
        return max(0.0, self._wall() - admitted_ms / 1000)

    # what is too old

    def expire(self) -> list[Loaded]:
        """Give up what is too old, though there may be no room in memory to read it. Returns how much that was."""
        before_ms = int((self._wall() - self._max_age_s) * 1000)
        numbers: Counter[bool] = Counter()
        with self._reading:
            self._release_older(before_ms)
            with self._lock:
                files = [each for each in self._files if each.oldest_ms is not None and each.oldest_ms < before_ms]
            for spool in files:
                numbers += self._expire(spool, before_ms)
        return [Loaded([], number, 0, is_own=is_own) for is_own, number in numbers.items()]

    def _expire(self, spool: Spool, before_ms: int) -> Counter[bool]:
        numbers: Counter[bool] = Counter()
        try:
            for rows in spool.older(before_ms):
                numbers += self._give_up(spool, rows)
        except (SpoolError, SpoolFull) as error:
            self._failed(spool, error, "Events that are too old could not be taken out of the spool yet")
        return numbers

    def _give_up(self, spool: Spool, rows: Sequence[int]) -> Counter[bool]:
        """Take rows out that are in no memory. Returns how many, by whether this process had accepted them."""
        with self._lock:
            ranges = sorted((each for each in self._ranges if each.spool is spool), key=lambda each: each.after)
        starts = [each.after for each in ranges]
        found: dict[int, _Range] = {}
        for row in rows:
            index = bisect_left(starts, row) - 1
            if index >= 0 and row <= ranges[index].last:
                found[row] = ranges[index]
        if found:
            spool.forget(list(found))
        return self._passed_over(Counter(found.values()))

    def _passed_over(self, numbers: Counter[_Range]) -> Counter[bool]:
        passed: Counter[bool] = Counter()
        with self._lock:
            for each in numbers.keys() & set(self._ranges):  # a damaged file's are gone, and counted as lost
                passed[each.counted is not None] += numbers[each]
                if each.counted is not None:
                    each.counted -= numbers[each]
            self._ranges = deque(each for each in self._ranges if each.counted != 0)
        return passed

    def _release_older(self, before_ms: int) -> None:
        """Let the events of batches that are too old wait again: those that are old themselves end with the others."""
        with self._lock:
            old = [each for each in self._left if each[1].oldest_ms < before_ms]
            self._left = deque(each for each in self._left if each[1].oldest_ms >= before_ms)
        for spool, lease in old:
            self._end_lease(spool, lease)

    # batches

    def resume(self) -> Resumed | None:
        """Return a batch that a process which ended was sending.

        Where some of it was delivered or is too old, its events wait again, each by itself.
        """
        while (left := self._next_lease()) is not None:
            spool, lease = left
            is_too_old = self._age_s(lease.oldest_ms) > self._max_age_s
            delivery = None if is_too_old else resumed(spool, lease)
            if delivery is not None:
                ages_s = dict(zip(lease.rows, map(self._age_s, lease.admitted_ms), strict=True))
                return Resumed(delivery, [ages_s[each.stored.id] for each in delivery.queued if each.stored])
            if not self._end_lease(spool, lease):
                return None
        return None

    def _next_lease(self) -> tuple[Spool, Lease] | None:
        with self._lock:
            return self._left.popleft() if self._left else None

    def give_back(self, delivery: Delivery) -> None:
        """Let the events of a batch that cannot be sent now wait again."""
        stored = [each.stored for each in delivery.queued if each.stored is not None]
        if delivery.lease is not None and stored:
            # where that fails, it is tried again, as with one that is too old to be resumed
            lease = Lease(delivery.lease, delivery.whole.batch.batch_id, b"", rows=(), admitted_ms=())
            self._end_lease(stored[0].spool, lease)

    def _end_lease(self, spool: Spool, lease: Lease) -> bool:
        """Let the events of a batch wait again. Where that fails, it stands there once more, to be tried later."""
        try:
            spool.release(lease.id)
        except (SpoolError, SpoolFull) as error:
            self._failed(spool, error, "A batch could not be resumed")
        else:
            return True
        with self._lock:
            if spool in self._files:  # else it was found damaged
                self._left.append((spool, lease))
        self._rests_until = time.monotonic() + _REST_S
        return False


def _joined(parts: Sequence[Loaded]) -> Loaded:
    events = [event for part in parts for event in part.events]
    expired, lost = sum(part.expired for part in parts), sum(part.lost for part in parts)
    return Loaded(events, expired, lost, is_own=parts[0].is_own)
