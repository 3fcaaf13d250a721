"""Which events go out together, and when: a buffer for each batch key, sent when full, when old, or on a flush.

No lock and no clock: the pipeline has them. One batch of a session is out at a time, so that retries never reorder it.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Hashable, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct, field

from otel_rum_exporter.convert.conversion import Draft, Once
from otel_rum_exporter.encoding import wire_bytes
from otel_rum_exporter.sending.schedule import Schedule
from otel_rum_exporter.sessions.context import is_near
from otel_rum_exporter.sessions.session import BatchKey, Keyed

if TYPE_CHECKING:  # without a spool nothing needs SQLite
    from otel_rum_exporter.spool.queue import Spool

_UNRESOLVED_BYTES = 1024  # of details that the session completes

ENVELOPE_BYTES = 320
"""An event's part of a request besides its details: id, timestamp, type, page fields."""

SETTLE_S = 2.0
"""How long events wait for other items of their session that say on which page and whose they were."""

_VOID = -1  # no entry's ticket
_NO_KEYS: frozenset[BatchKey] = frozenset()


class Stored(NamedTuple):
    """Where an event is on disk."""

    spool: Spool
    id: int


class Queued(Struct, gc=False, eq=False):
    """An event on its way.

    `user_id` is None where the item names no user, `stored` for what is in memory only; `size` is what `size_of` says of
    the draft. Units: `admitted_at` is in seconds of the pipeline's clock, `size` in bytes.
    """

    key: BatchKey
    draft: Draft
    admitted_at: float
    epoch: int
    size: int
    user_id: str | None = None
    stored: Stored | None = None


class Room(NamedTuple):
    """How many events, and bytes of them, there may be."""

    events: int
    size: int


class _Buffer(Struct, gc=False, eq=False):
    key: BatchKey
    # oldest first; a deque takes 600 bytes, and most sessions have a few events
    events: list[Queued] = field(default_factory=list)
    size: int = 0
    ticket: int = _VOID  # which entry of the schedule is this buffer's; older entries are void


class Batches:
    """The events that wait.

    Shape:  n events -> batches of at most max_events; each event once, within a key by their age, and those of the same
            age in the order of arrival.
    Units:  max_bytes and size count bytes of the request body, times are seconds of the caller's clock.
    """

    def __init__(self, max_events: int, max_bytes: int, linger_s: float, settle_s: float = 0.0) -> None:
        """Begin empty.

        Args:
            max_events: Events of a batch.
            max_bytes: Bytes of a batch.
            linger_s: For how long a batch gathers, from its first event on.
            settle_s: How long each of its events waits even if they are enough, unless a flush asks.
        """
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._settle_s = min(settle_s, linger_s)
        self.waits_s = linger_s + self._settle_s
        """How long an event waits at most until it is due, so that what came within the linger goes with it, settled."""
        self._buffers: dict[BatchKey, _Buffer] = {}
        self._schedule: Schedule[_Buffer] = Schedule()
        self._ages: Schedule[_Buffer] | None = None  # by age, from when on room is first made: most need none
        self._oldest_at = math.inf  # no event is older
        self._tickets = count()
        # the sessions that are out, by their keys' `context`, each with its keys that came due since
        self._busy: dict[str, frozenset[BatchKey]] = {}
        self._held: dict[str, set[BatchKey]] = {}  # likewise the app monitors that take nothing
        self._reported: dict[tuple[str, Hashable], Queued] = {}  # what may be replaced
        self._flushed_epoch = -1
        self.count = 0
        self.size = 0
        self.held_count = self.held_size = 0
        """How much of that is of app monitors that are held."""

    def __len__(self) -> int:
        """Return how many batches gather."""
        return len(self._buffers)

    def fits(self, draft: Draft, room: Room) -> bool:
        """Tell whether there is room for one event more, where there is so much for all of them."""
        return self.count < room.events and self.size + size_of(draft) <= room.size

    def add(self, keyed: Keyed, now: float, epoch: int, stored: Stored | None = None) -> Queued | None:
        """Take an event. Returns the one that it replaces, of the same report; itself, if that is out already."""
        buffer = self._buffers.get(keyed.key)
        key = keyed.key if buffer is None else buffer.key  # one for all of them
        queued = Queued(key, keyed.draft, now, epoch, size_of(keyed.draft), keyed.user_id, stored)
        replaced = None
        once = queued.draft.once
        if once is not None:
            replaced = self._replace(queued, once)
            if keyed.is_earlier and replaced is None:
                return queued
            self._reported[queued.key.context, once.key] = queued
        self.count += 1
        self.size += queued.size
        if self._held:
            self._count_held([queued], 1)
        if buffer is None or not buffer.events:  # perhaps the event that was replaced was all
            buffer = self._buffers[key] = _Buffer(key, [queued], queued.size)
            self._reschedule(key, buffer)
            return replaced
        events = buffer.events
        if now < events[-1].admitted_at:  # it comes from disk, where it waited for longer
            insort(events, queued, key=_admitted_at)
        else:
            events.append(queued)
        buffer.size += queued.size
        if len(events) >= self._max_events or buffer.size >= self._max_bytes or events[0] is queued:
            self._reschedule(key, buffer)
        return replaced

    def due_in(self, now: float, *, is_crowded: bool = False) -> float | None:
        """Return in how many seconds the next batch is due: 0 for now, None for never, or not before something ends."""
        if is_crowded:
            return 0.0 if any(map(self._is_free, self._buffers)) else None
        first = self._schedule.first()
        return None if first is None else max(0.0, first[0] - now)

    def take(self, now: float, *, is_crowded: bool = False) -> list[Queued] | None:
        """Return the events of a batch, and hold its session until `release`.

        It is the one that is due longest; of a crowd the fullest, due or not, so that requests make the most room.
        """
        if is_crowded:
            key = self._fullest()
            return None if key is None else self._take(key, math.inf)
        while (buffer := self._schedule.take(now)) is not None:
            key = buffer.key
            context = key.context
            if context in self._busy:
                self._busy[context] |= {key}
            elif key.monitor.id in self._held:
                self._held[key.monitor.id].add(key)
            else:
                return self._take(key, now)
        return None

    def hold_session(self, key: BatchKey) -> bool:
        """Hold a session for a batch that comes from elsewhere. Returns False if one of it is out."""
        is_free = key.context not in self._busy
        self._busy.setdefault(key.context, _NO_KEYS)
        return is_free

    def hold(self, monitor_id: str) -> None:
        """Let the batches of an app monitor wait until `release_held`."""
        if monitor_id not in self._held:
            self._held[monitor_id] = set()
            self._count_all_held(monitor_id, 1)

    def take_held(self, monitor_id: str, now: float) -> list[Queued] | None:
        """Return the events of a batch that was due but for `hold`, as `take` does."""
        for key in self._held.get(monitor_id, ()):
            if key in self._buffers and key.context not in self._busy:
                self._held[monitor_id].discard(key)
                return self._take(key, now)
        return None

    def release_held(self, monitor_id: str) -> None:
        """Let the batches of an app monitor go again."""
        if monitor_id in self._held:
            self._count_all_held(monitor_id, -1)
            self._resume(self._held.pop(monitor_id))

    def release(self, key: BatchKey) -> None:
        """Let the next batch of a session go."""
        self._resume(self._busy.pop(key.context, _NO_KEYS))

    def _resume(self, keys: Iterable[BatchKey]) -> None:
        for key in keys:
            buffer = self._buffers.get(key)
            if buffer:
                self._reschedule(key, buffer)

    def give_back(self, events: list[Queued]) -> None:
        """Put events that did not fit into their batch back to the front of their buffer."""
        key = events[0].key
        buffer = self._buffers.setdefault(key, _Buffer(key))
        events = sorted(events, key=_admitted_at)
        has_older = bool(buffer.events) and buffer.events[0].admitted_at < events[-1].admitted_at
        buffer.events[:0] = events
        if has_older:  # it came from disk meanwhile
            buffer.events.sort(key=_admitted_at)
        for queued in events:
            if queued.draft.once:
                self._reported.setdefault((queued.key.context, queued.draft.once.key), queued)
        size = sum(queued.size for queued in events)
        buffer.size += size
        self._count_held(events, 1)
        self.count += len(events)
        self.size += size
        self._reschedule(key, buffer)

    def flush(self, epoch: int) -> None:
        """Make every batch due that holds an event of this epoch or an earlier one."""
        self._flushed_epoch = epoch
        for key, buffer in self._buffers.items():
            self._reschedule(key, buffer)

    def oldest(self) -> Queued | None:
        """Return the event that waits longest."""
        if self._ages is None:
            self._ages = Schedule()
            for buffer in sorted(self._buffers.values(), key=_age):
                self._ages.add(_age(buffer), buffer, len(self._buffers))
        first = self._ages.first()
        return None if first is None else first[1].events[0]

    def drop_oldest(self) -> Queued | None:
        """Take out the event that waits longest, to make room."""
        oldest = self.oldest()
        if oldest is not None:
            buffer = self._buffers[oldest.key]
            del buffer.events[0]
            buffer.size -= self._count_out([oldest])
            self._reschedule(buffer.key, buffer)
        return oldest

    def is_held(self, monitor_id: str) -> bool:
        """Tell whether the batches of an app monitor wait for `release_held`."""
        return monitor_id in self._held

    def has_other(self, monitor_id: str) -> bool:
        """Tell whether an event of an app monitor waits whose session is not out."""
        return any(key.monitor.id == monitor_id and key.context not in self._busy for key in self._buffers)

    def displace_held(self, most: int) -> list[Queued]:
        """Take out events of app monitors that are held, the oldest first, which the disk keeps anyhow."""
        displaced: list[Queued] = []
        held = [buffer for buffer in self._buffers.values() if buffer.key.monitor.id in self._held]
        for buffer in sorted(held, key=_age):
            taken = [each for each in buffer.events if each.stored is not None][: most - len(displaced)]
            if taken:
                gone = set(taken)
                buffer.events = [each for each in buffer.events if each not in gone]
                buffer.size -= self._count_out(taken)
                self._reschedule(buffer.key, buffer)
                displaced += taken
            if len(displaced) >= most:
                break
        return displaced

    def older_than(self, before: float) -> list[Queued]:
        """Take out what was admitted before a moment."""
        taken: list[Queued] = []
        while self._oldest_at < before:
            oldest_at = self._earliest()
            if oldest_at < before and (oldest := self.drop_oldest()) is not None:
                taken.append(oldest)
            else:
                self._oldest_at = oldest_at
        return taken

    def _earliest(self) -> float:
        if self._ages is None:
            return min(map(_age, self._buffers.values()), default=math.inf)
        first = self._ages.first()
        return math.inf if first is None else first[0]

    def queued(self) -> Iterator[Queued]:
        """Yield all events."""
        for buffer in self._buffers.values():
            yield from buffer.events

    def _fullest(self) -> BatchKey | None:
        """Return the key of a buffer that may leave: a look at each of them, at most as often as requests may."""
        fullest, most = None, 0
        for key, buffer in self._buffers.items():
            if len(buffer.events) > most and self._is_free(key):
                fullest, most = key, len(buffer.events)
        return fullest

    def _is_free(self, key: BatchKey) -> bool:
        return key.context not in self._busy and key.monitor.id not in self._held

    def _take(self, key: BatchKey, now: float) -> list[Queued]:
        self._busy[key.context] = _NO_KEYS
        buffer = self._buffers[key]
        # with many sessions each event leaves alone
        number = 1 if len(buffer.events) == 1 else self._number_to_take(buffer.events, now)
        if number == len(buffer.events):
            del self._buffers[key]
            buffer.ticket = _VOID
            self._count_out(buffer.events)
            return buffer.events
        taken = buffer.events[:number]
        del buffer.events[:number]
        buffer.size -= self._count_out(taken)
        self._reschedule(key, buffer)
        return taken

    def _number_to_take(self, events: list[Queued], now: float) -> int:
        """Return how many of a buffer's events make a batch, at least one."""
        room = self._max_bytes
        for number, queued in enumerate(events[: self._max_events]):
            room -= queued.size
            if number and (room < 0 or not self._may_go(queued, now)):
                return number
        return min(len(events), self._max_events)

    def _may_go(self, queued: Queued, now: float) -> bool:
        return queued.epoch <= self._flushed_epoch or queued.admitted_at + self._settle_s <= now

    def _count_out(self, taken: list[Queued]) -> int:
        """Take note of events that wait no more. Returns their size."""
        size = 0
        for queued in taken:
            size += queued.size
            once = queued.draft.once
            if once is not None and self._reported.get((queued.key.context, once.key)) is queued:
                del self._reported[queued.key.context, once.key]
        self.count -= len(taken)
        self.size -= size
        self._count_held(taken, -1)
        return size

    def _count_held(self, events: list[Queued], sign: int) -> None:
        """Take note of events of one buffer."""
        if self._held and events and events[0].key.monitor.id in self._held:
            self.held_count += sign * len(events)
            self.held_size += sign * sum(queued.size for queued in events)

    def _count_all_held(self, monitor_id: str, sign: int) -> None:
        for buffer in self._buffers.values():
            if buffer.key.monitor.id == monitor_id:
                self._count_held(buffer.events, sign)

    def _replace(self, queued: Queued, once: Once) -> Queued | None:
        """Take out what reports the same and still waits: of a metric that grows an older value, else a later time."""
        waiting = self._reported.get((queued.key.context, once.key))
        if waiting is None or waiting.key != queued.key:
            return None
        if once.counts != "latest" and not is_near(once, waiting.draft.time_ns - queued.draft.time_ns):
            return None
        buffer = self._buffers[waiting.key]
        buffer.events.remove(waiting)
        buffer.size -= self._count_out([waiting])
        self._reschedule(waiting.key, buffer)
        return waiting

    def _reschedule(self, key: BatchKey, buffer: _Buffer) -> None:
        """Say anew when a buffer is due; one that is empty goes."""
        buffer.ticket = next(self._tickets)
        if not buffer.events:
            del self._buffers[key]
            return
        oldest = buffer.events[0]
        if oldest.epoch <= self._flushed_epoch:
            due_at = oldest.admitted_at
        elif len(buffer.events) >= self._max_events or buffer.size >= self._max_bytes:
            due_at = buffer.events[min(self._max_events, len(buffer.events)) - 1].admitted_at + self._settle_s
        else:
            due_at = oldest.admitted_at + self.waits_s
        self._oldest_at = min(self._oldest_at, oldest.admitted_at)
        self._schedule.add(due_at, buffer, len(self._buffers))
        if self._ages is not None:
            self._ages.add(oldest.admitted_at, buffer, len(self._buffers))


def _admitted_at(queued: Queued) -> float:
    return queued.admitted_at


def _age(buffer: _Buffer) -> float:
    """Return when the oldest event of a buffer was admitted."""
    return buffer.events[0].admitted_at


def size_of(draft: Draft) -> int:
    """Return what an event adds to a request body. Units: bytes, metadata estimated."""
    size = wire_bytes(draft.details) if isinstance(draft.details, str) else _UNRESOLVED_BYTES
    attributes = sum(len(name) + 64 for name in draft.attributes) if draft.attributes else 0
    return ENVELOPE_BYTES + size + attributes
