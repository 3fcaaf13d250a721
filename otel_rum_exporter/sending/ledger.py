"""Who brings what, and what became of everything: the state that the pipeline's lock guards.

No lock, thread, clock or I/O of its own. Every event that is admitted ends in exactly one counter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from otel_rum_exporter.client.verdicts import Verdict
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Conversion
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import AppMonitor
from otel_rum_exporter.sending.assembly import Assembled
from otel_rum_exporter.sending.batching import Queued, Stored, size_of
from otel_rum_exporter.sending.delivery import Delivery, Part, Rejection
from otel_rum_exporter.sending.dispatch import Dispatch, Job, Outcome
from otel_rum_exporter.sessions.context import SessionView
from otel_rum_exporter.sessions.identity import PROCESS_SESSION, ProcessSession
from otel_rum_exporter.sessions.session import BatchKey, Keyed, Sessions
from otel_rum_exporter.stats import Counters, Statistics

_TOLD = (DropReason.QUEUE_FULL, DropReason.EXPIRED, DropReason.TOO_LARGE, DropReason.DAMAGED)
_BACKLOG_SHARE = 0.5  # of the requests, while live events wait
_IN_VAIN_S = 1.0  # after rows that nobody takes at present
_DISPLACED_SHARE = 0.05  # of the memory, at once: looking for what may be left on disk takes a look at each session


class FromDisk(NamedTuple):
    """An event, where it stays until it is delivered, and for how many seconds it has waited."""

    keyed: Keyed
    stored: Stored
    age_s: float


class Resumed(NamedTuple):
    """A batch that another process was sending, and for how many seconds each of its events has waited."""

    delivery: Delivery
    ages_s: Sequence[float]


class Loaded(NamedTuple):
    """Events that come from disk into memory.

    Shape:  besides `events`, `expired` were too old and `lost` can no longer be read. `is_own` says whether this process
            had accepted them all; else they are accepted now.
    """

    events: list[FromDisk]
    expired: int
    lost: int
    is_own: bool


class Ended(NamedTuple):
    """Events that need not be kept on disk any more, and those that become dead letters there."""

    forgotten: list[Queued]
    buried: list[Rejection]


class Ledger:
    """The state of a pipeline.

    Shape:  an event is with `dispatch`, in a job that a sender holds, on disk alone, or counted: as delivered, as a dead
            letter, or as dropped for a reason.
    Units:  times are seconds of the pipeline's clock.
    """

    def __init__(
        self,
        config: RumConfig,
        *,
        process_session: ProcessSession = PROCESS_SESSION,
        default_monitor: AppMonitor | None = None,
    ) -> None:
        """Begin with nothing queued and nothing counted. `default_monitor` takes items that name no app monitor."""
        self._config = config
        self._default_monitor = default_monitor
        self._counters = Counters()
        # by the flush that will wait for them: events on their way, of these what is in memory only, losses to tell of
        self._outstanding: Counter[int] = Counter()
        self._unstored: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._saving: set[Queued] = set()  # of what is in memory only, what somebody is about to keep on disk
        self._epoch = 0
        self._flushing: list[int] = []  # the epochs that flushes wait for
        self._on_disk = 0  # events that are in no memory
        self._load_at = -math.inf
        self._is_load_in_vain = False
        self._is_closed = False
        self._untold: Counter[DropReason] = Counter()  # losses that no verdict tells of
        self._ended = Ended([], [])
        self.sessions = Sessions(config, process_session)
        self.dispatch = Dispatch(config)

    # admission

    def admit(self, converted: Sequence[Conversion | DropReason], now: float) -> dict[DropReason, int]:
        """Take what items became, into memory. Returns how many were dropped, by reason."""
        events, reasons = self.join(converted, now)
        self.queue(events, [None] * len(events), now)
        return reasons

    def join(
        self, converted: Sequence[Conversion | DropReason], now: float
    ) -> tuple[list[Keyed], dict[DropReason, int]]:
        """Give what items became its session. Returns the events, and how many items were dropped, by reason."""
        events: list[Keyed] = []
        reasons: dict[DropReason, int] = {}
        for each in converted:
            keyed = self._keyed(each, now)
            if isinstance(keyed, DropReason):
                reasons[keyed] = reasons.get(keyed, 0) + 1
            else:
                events += keyed
        self._counters.received += len(converted)
        self._counters.converted += len(converted) - sum(reasons.values())
        self._counters.items_dropped.update(reasons)
        return events, reasons

    def _keyed(self, converted: Conversion | DropReason, now: float) -> list[Keyed] | DropReason:
        if isinstance(converted, DropReason):
            return converted
        monitor = converted.origin.monitor or self._default_monitor
        if monitor is None:
            return DropReason.NOT_CONFIGURED
        try:
            return self.sessions.admit(converted, monitor, now)
        except Exception:  # noqa: BLE001 - an item's fault must not be the application's
            return DropReason.UNCONVERTIBLE

    def queue(self, events: Sequence[Keyed], stored: Sequence[Stored | None], now: float) -> list[Stored]:
        """Let events wait for their batch. Returns which are on disk only, for want of room in memory."""
        self._counters.accepted += len(events)
        if self._is_closed:
            on_disk = [where for where in stored if where is not None]
            self._counters.events_dropped[DropReason.SHUTDOWN] += len(events) - len(on_disk)
            self._on_disk += len(on_disk)
            return on_disk
        return self._queue(events, stored, now)

    def _queue(self, events: Sequence[Keyed], stored: Sequence[Stored | None], now: float) -> list[Stored]:
        batches, epoch = self.dispatch.batches, self._epoch
        drops_oldest = self._config.overflow == "drop_oldest"
        left: list[Stored] = []
        room = self.dispatch.room
        queued = unstored = 0
        for keyed, where in zip(events, stored, strict=True):
            if (where is not None or not drops_oldest) and not batches.fits(keyed.draft, room):
                left += self._make_room_for(keyed, where, now)
                room = self.dispatch.room
                if not batches.fits(keyed.draft, room):
                    left += self._keep_out(where)
                    continue
            queued += 1
            unstored += where is None
            replaced = batches.add(keyed, now, epoch, where)
            if replaced is not None:
                self._drop([replaced], DropReason.DUPLICATE)
            if batches.count > room.events or batches.size > room.size:
                left += self._make_room(now)
                room = self.dispatch.room
        self._outstanding[epoch] += queued
        self._unstored[epoch] += unstored
        self._on_disk += len(left)
        return left

    def _make_room_for(self, keyed: Keyed, where: Stored | None, now: float) -> list[Stored]:
        """Take out what waits for app monitors that take nothing, in favour of an event. Returns what is on disk alone now."""
        if where is not None:
            return self._displaced_by(keyed)
        left: list[Stored] = []
        dispatch = self.dispatch
        while not dispatch.batches.fits(keyed.draft, dispatch.room):
            parked = dispatch.drop_parked(now, keyed.key.monitor.id)
            if not parked:
                break
            left += self._leave(parked)
        return left

    def _keep_out(self, where: Stored | None) -> list[Stored]:
        """Take note that there is no room for an event. Returns where it is on disk; else it is lost."""
        if where is not None:
            return [where]
        self._counters.events_dropped[DropReason.QUEUE_FULL] += 1
        self._untold[DropReason.QUEUE_FULL] += 1
        self._lost[self._epoch] += 1
        return []

    def _displaced_by(self, keyed: Keyed) -> list[Stored]:
        """Leave events of app monitors that take nothing on disk alone, in favour of one that is well. Returns where."""
        batches = self.dispatch.batches
        # so that some of them are on disk
        if batches.is_held(keyed.key.monitor.id) or batches.held_count <= sum(self._unstored.values()):
            return []
        return self._leave(batches.displace_held(max(1, int(_DISPLACED_SHARE * self._config.queue_events))))

    def _make_room(self, now: float) -> list[Stored]:
        """Take what waits longest out of the memory until its bound holds. Returns what is on disk; the rest is lost."""
        left: list[Stored] = []
        while self.dispatch.fullness > 1 and (oldest := self.dispatch.drop_oldest(now)):
            left += self._leave(oldest)
        return left

    def _leave(self, queued: Sequence[Queued]) -> list[Stored]:
        """Take note that events are in memory no more. Returns where they are on disk; the rest is lost."""
        on_disk = [each for each in queued if each.stored is not None]
        self._take_off(on_disk)
        self._lose([each for each in queued if each.stored is None], DropReason.QUEUE_FULL)
        return [each.stored for each in on_disk if each.stored is not None]

    @property
    def overflowed(self) -> int:
        """How many events gave way for want of room so far."""
        return self._counters.events_dropped[DropReason.QUEUE_FULL]

    def has_room_for(self, converted: Sequence[Conversion | DropReason]) -> bool:
        """Tell whether all events of items would find room in memory, and a start of each of their sessions."""
        items = [each for each in converted if isinstance(each, Conversion)]
        drafts = [draft for each in items for draft in each.events]
        events, size = len(drafts) + len({each.session for each in items}), sum(map(size_of, drafts))
        batches, room = self.dispatch.batches, self.dispatch.room
        return batches.count + events <= room.events and batches.size + size <= room.size

    def fitting(self, events: Sequence[Keyed]) -> int:
        """Return how many of some events there is room for in memory, from the first on."""
        batches, room = self.dispatch.batches, self.dispatch.room
        size, most = batches.size, max(0, room.events - batches.count)
        for number, keyed in enumerate(events[:most]):
            size += size_of(keyed.draft)
            if size > room.size:
                return number
        return min(most, len(events))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits in memory."""
        return not self.dispatch.fullness

    @property
    def has_unstored(self) -> bool:
        """Whether something that was accepted is in memory only."""
        return any(number > 0 for number in self._unstored.values())

    def refuse(self, items: int, reason: DropReason) -> None:
        """Count items that are not even converted."""
        self._counters.received += items
        self._counters.items_dropped[reason] += items

    # what comes from disk

    def load_in(self, now: float) -> float:
        """Return in how many seconds what is on disk alone may come: 0 for now, infinity for not before there is room.

        At once when all that may leave has left; else so that it takes half of the requests, however many live sessions
        there are. What waits for an app monitor that takes nothing makes room for it.
        """
        dispatch = self.dispatch
        if dispatch.is_crowded_by_others:
            return math.inf
        if dispatch.batches.due_in(now) != 0.0 and not self._is_load_in_vain:
            return 0.0
        return max(0.0, self._load_at - now) if dispatch.pacer.circuit == "closed" else math.inf

    def load(self, loaded: Loaded, now: float) -> list[Stored]:
        """Take events that come from disk. Returns which stay there: no room in memory, or nobody takes them at present."""
        left: list[Stored] = []
        displaced: list[Stored] = []
        parked = {each for each in self.dispatch.parked if not self.dispatch.lacks_other(each)}
        taken = set[BatchKey]()
        number = len(loaded.events) + loaded.expired + loaded.lost
        if loaded.is_own:
            self._on_disk -= number
        else:
            self._counters.accepted += number
        for reason, count in ((DropReason.EXPIRED, loaded.expired), (DropReason.DAMAGED, loaded.lost)):
            self._counters.events_dropped[reason] += count
            self._untold[reason] += count
        for keyed, stored, age_s in loaded.events:
            if not loaded.is_own:
                self.sessions.recall(keyed, now)
            if keyed.key.monitor.id in parked:
                left.append(stored)
                continue
            # it has waited, and gathered, for long enough
            out = self._queue([keyed], [stored], now - max(age_s, self.dispatch.batches.waits_s))
            displaced += out
            if stored not in out:
                taken.add(keyed.key)
        self._on_disk += len(left)
        self._is_load_in_vain = bool(left or displaced) and not taken
        turn_s = len(taken) / (_BACKLOG_SHARE * self.dispatch.pacer.rate)
        self._load_at = now + (_IN_VAIN_S if self._is_load_in_vain else turn_s)
        return left + displaced

    def resume(self, resumed: Resumed, now: float) -> bool:
        """Take a batch that another process was sending. Returns False while another one of its session is out."""
        delivery = resumed.delivery
        for queued, age_s in zip(delivery.queued, resumed.ages_s, strict=True):
            queued.admitted_at, queued.epoch = now - age_s, self._epoch
        if not self.dispatch.resume(delivery, now):
            return False
        number = len(delivery.queued)
        self._counters.accepted += number
        self._counters.duplicates_possible += number
        self._outstanding[self._epoch] += number
        return True

    # delivery

    def take(self, now: float) -> Job | None:
        """Return what is due, for a sender to hold until `settle`, `keep` or `fail`."""
        self._lose(self.dispatch.expired(now), DropReason.EXPIRED)
        return self.dispatch.take(now)

    def session_of(self, queued: list[Queued]) -> SessionView:
        """Return what is remembered of the session of a job's events, whose pages are told with them."""
        return self.sessions.tell(queued[0].key.context, max(each.draft.time_ns for each in queued))

    def keep(self, queued: list[Queued], assembled: Assembled, now: float) -> Delivery | None:
        """Take what became of a job's events: return their delivery, which the sender goes on to hold, if any is left."""
        self.sessions.count_sent(queued[0].key.context, assembled.counted.elements())
        for each, reason in assembled.dropped:
            self._lose([each], reason)
        self._reject(assembled.rejected)
        if assembled.left:
            self.dispatch.batches.give_back(assembled.left)
        if assembled.batch is None:
            self.dispatch.cancel(queued, now)
            return None
        delivery = Delivery(Part(assembled.batch, assembled.written))
        self.dispatch.begin(delivery)
        return delivery

    def settle(self, delivery: Delivery, verdict: Verdict, now: float) -> Outcome:
        """Take the verdict of an attempt."""
        self._counters.requests += 1
        sent = delivery.part.queued
        outcome = self.dispatch.settle(delivery, verdict, now)
        self._end(outcome.delivered)
        self._counters.delivered += len(outcome.delivered)
        self._reject(outcome.rejected)
        self._drop(outcome.dropped, outcome.reason)
        if outcome.retried is not None:
            self._counters.retried[outcome.retried] += 1
        if outcome.is_unsure:
            self._counters.duplicates_possible += len(set(sent).difference(outcome.dropped))
        return outcome

    def fail(self, queued: list[Queued], now: float) -> None:
        """Drop the events of a job that could not be assembled."""
        self._drop(queued, DropReason.INTERNAL)
        self.dispatch.cancel(queued, now)

    # what ends

    def _reject(self, rejected: Sequence[Rejection]) -> None:
        """Take note of events that the service does not take: dead letters, where there is a place for these."""
        for rejection in rejected:
            queued, reason = rejection.queued, rejection.reason
            if queued.stored is None:
                self._lose([queued], reason)
                continue
            self._ended.buried.append(rejection)
            self._take_off([queued])
            self._lost[queued.epoch] += 1
            self._counters.dead_lettered[reason] += 1

    def _drop(self, queued: Sequence[Queued], reason: DropReason) -> None:
        if not queued:
            return
        self._end(queued)
        self._counters.events_dropped[reason] += len(queued)
        if reason is not DropReason.DUPLICATE:
            self._lost.update(each.epoch for each in queued)

    def _lose(self, queued: Sequence[Queued], reason: DropReason) -> None:
        self._drop(queued, reason)
        if queued and reason in _TOLD:
            self._untold[reason] += len(queued)

    def _end(self, queued: Sequence[Queued]) -> None:
        if not queued:
            return
        self._take_off(queued)
        self._ended.forgotten.extend(each for each in queued if each.stored is not None)

    def _take_off(self, queued: Sequence[Queued]) -> None:
        unstored = [each.epoch for each in queued if each.stored is None]
        _subtract(self._outstanding, [each.epoch for each in queued])
        _subtract(self._unstored, unstored)
        if self._saving:
            self._saving.difference_update(queued)
        if self._is_closed:
            # counted as lost at the end, which did not wait any longer
            self._counters.events_dropped[DropReason.SHUTDOWN] -= len(unstored)

    @property
    def lost(self) -> int:
        """How many events were dropped so far."""
        return sum(self._counters.events_dropped.values())

    def take_ended(self) -> Ended:
        """Return what ended since this was last asked, of what is on disk."""
        ended, self._ended = self._ended, Ended([], [])
        return ended

    def take_losses(self) -> dict[DropReason, int]:
        """Return what was lost on its way to a request since this was last asked, for the log."""
        losses = {reason: number for reason, number in self._untold.items() if number}
        self._untold.clear()
        return losses

    # flush, end, statistics

    def begin_flush(self, now: float = 0.0) -> int:
        """Make everything due that the service has not asked to wait with. Returns the number of this flush."""
        epoch = self._epoch
        self._epoch += 1
        self._flushing.append(epoch)
        self.dispatch.begin_flush(epoch, now)
        return epoch

    def is_flushed(self, epoch: int) -> bool:
        """Tell whether nothing that a flush waits for is on its way any more."""
        for each in [each for each, number in self._outstanding.items() if not number and each < self._epoch]:
            del self._outstanding[each]
            self._unstored.pop(each, None)
        return not any(number and each <= epoch for each, number in self._outstanding.items())

    @property
    def has_flushed(self) -> bool:
        """Whether nothing that one of the flushes waits for is on its way any more."""
        return any(map(self.is_flushed, self._flushing))

    def end_flush(self, epoch: int) -> bool:
        """Tell whether all that a flush waited for was delivered or is on disk; flushes at once all learn of a loss."""
        is_lost = any(number and each <= epoch for each, number in self._lost.items())
        self._flushing.remove(epoch)
        if not self._flushing:
            self._lost = Counter({each: number for each, number in self._lost.items() if each > epoch})
        is_safe = not any(number and each <= epoch for each, number in self._unstored.items())
        return is_safe and not is_lost

    def begin_saving(self, limit: int | None) -> list[Queued]:
        """Return events that no disk keeps, wherever they are, for somebody to keep after all, who then calls `saved`."""
        if not any(self._unstored.values()):
            return []
        unstored = (each for each in self.dispatch.on_their_way() if each.stored is None and each not in self._saving)
        found = list(islice(unstored, limit))
        self._saving.update(found)
        return found

    @property
    def is_saving(self) -> bool:
        """Whether somebody is about to keep events, which may fail: then they are there to be kept once more."""
        return bool(self._saving)

    def saved(self, queued: Sequence[Queued], stored: Sequence[Stored | None]) -> None:
        """Take note of where such events are kept now; what ended meanwhile need not be."""
        for each, where in zip(queued, stored, strict=True):
            is_on_its_way = each in self._saving
            self._saving.discard(each)
            if where is None:
                continue
            each.stored = where
            if not is_on_its_way:
                self._ended.forgotten.append(each)
                continue
            self._unstored[each.epoch] -= 1
            if self._is_closed:  # and counted as lost
                self._counters.events_dropped[DropReason.SHUTDOWN] -= 1

    def close(self) -> None:
        """Count what is left as lost, but for what is on disk.

        What is being sent ends on its own; until it does it counts as lost, too.
        """
        self._counters.events_dropped[DropReason.SHUTDOWN] += sum(self._unstored.values())
        self._is_closed = True

    def statistics(self) -> Statistics:
        """Return what became of everything so far."""
        counters, dispatch = self._counters, self.dispatch
        counters.sessions_forgotten = self.sessions.forgotten
        in_memory = sum(self._outstanding.values()) - (sum(self._unstored.values()) if self._is_closed else 0)
        return counters.snapshot(
            queued=in_memory + self._on_disk,
            queued_bytes=dispatch.batches.size + dispatch.waiting.size,
            request_rate=dispatch.pacer.rate,
            circuit=dispatch.pacer.circuit,
            parked=dispatch.parked,
        )


def _subtract(counter: Counter[int], epochs: list[int]) -> None:
    """Take off one for each of the epochs: one by one that takes four times as long, and most are the same."""
    while epochs:
        epoch = epochs[0]
        number = epochs.count(epoch)
        counter[epoch] -= number
        epochs = [each for each in epochs if each != epoch] if number < len(epochs) else []
