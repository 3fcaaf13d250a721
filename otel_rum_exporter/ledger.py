"""What waits, what is on its way, and what became of everything: the state that the pipeline's lock guards.

No lock, thread, clock or I/O of its own. Every event that is admitted ends in exactly one counter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from otel_rum_exporter.assembly import Assembled
from otel_rum_exporter.batching import SETTLE_S, Batches, Queued
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.context import SessionView
from otel_rum_exporter.convert import Conversion
from otel_rum_exporter.delivery import Delivery
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import AppMonitor
from otel_rum_exporter.identity import PROCESS_SESSION, ProcessSession
from otel_rum_exporter.session import BatchKey, Keyed, Sessions
from otel_rum_exporter.stats import Counters, Statistics
from otel_rum_exporter.verdicts import Delivered, Parked, Refused, Rejected, Retry, Verdict

_TOLD = (DropReason.QUEUE_FULL, DropReason.EXPIRED, DropReason.TOO_LARGE)

Job = Delivery | list[Queued]
"""What a sender does next: another attempt, or events to make a batch of."""


class Ledger:
    """The state of a pipeline.

    Shape:  an event is in `batches`, in a job that a sender holds, in `waiting`, or counted as delivered or dropped.
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
        self._outstanding: Counter[int] = Counter()  # events on their way, by the flush that will wait for them
        self._lost: Counter[int] = Counter()  # likewise, until a flush has told of them
        self._epoch = 0
        self._flushes = 0
        self._sending = 0
        self._is_closed = False
        self._untold: Counter[DropReason] = Counter()  # losses that no verdict tells of
        self.sessions = Sessions(config, process_session)
        self.batches = Batches(config.max_events, config.max_bytes, config.flush_interval_s, SETTLE_S)
        self.waiting: list[Delivery] = []  # for their next attempt

    # admission

    def admit(self, converted: Sequence[Conversion | DropReason], now: float) -> set[DropReason]:
        """Take what items became. Returns the reasons of those that were dropped."""
        reasons = {reason for each in converted if (reason := self._admit(each, now)) is not None}
        self._make_room()
        return reasons

    def _admit(self, converted: Conversion | DropReason, now: float) -> DropReason | None:
        counters = self._counters
        counters.received += 1
        keyed = self._keyed(converted, now)
        if isinstance(keyed, DropReason):
            counters.items_dropped[keyed] += 1
            return keyed
        counters.converted += 1
        counters.accepted += len(keyed)
        self._outstanding[self._epoch] += len(keyed)
        for each in keyed:
            replaced = self.batches.add(each, now, self._epoch)
            if replaced is not None:
                self._drop([replaced], DropReason.DUPLICATE)
        return None

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

    def _make_room(self) -> None:
        batches, config = self.batches, self._config
        while batches.count > config.queue_events or batches.size > config.queue_bytes:
            oldest = batches.drop_oldest()
            if oldest is None:
                return
            self._lose([oldest], DropReason.QUEUE_FULL)

    # delivery

    @property
    def has_slot(self) -> bool:
        """Whether one more batch may be on its way."""
        return self._sending + len(self.waiting) < self._config.max_in_flight

    @property
    def dropped(self) -> int:
        """How many events were dropped so far."""
        return sum(self._counters.events_dropped.values())

    def take(self, now: float) -> Job | None:
        """Return what is due, for a sender to hold until `settle`, `keep` or `fail`."""
        job = self._take(now)
        self._sending += job is not None
        return job

    def _take(self, now: float) -> Job | None:
        for delivery in self.waiting:
            if delivery.due_at <= now:
                self.waiting.remove(delivery)
                return delivery
        while self.has_slot and (queued := self.batches.take(now)):
            fresh = [each for each in queued if now - each.admitted_at < self._config.max_age_s]
            self._lose(
                [each for each in queued if now - each.admitted_at >= self._config.max_age_s], DropReason.EXPIRED
            )
            if fresh:
                return fresh
            self.batches.release(queued[0].key.session_id)
        return None

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds something is due, None for never."""
        due_in = self.batches.due_in(now) if self.has_slot else None
        times = [delivery.due_at - now for delivery in self.waiting] + ([] if due_in is None else [due_in])
        return max(0.0, min(times)) if times else None

    def session_of(self, queued: list[Queued]) -> SessionView:
        """Return what is remembered of the session of a job's events, whose pages are told with them."""
        return self.sessions.tell(queued[0].key.session_id, max(each.draft.time_ns for each in queued))

    def keep(self, queued: list[Queued], assembled: Assembled) -> Delivery | None:
        """Take what became of a job's events: return their delivery, which the sender goes on to hold, if any is left."""
        self.sessions.count_sent(queued[0].key.session_id, assembled.counted.elements())
        elsewhere = {id(each) for each in assembled.left}
        for each, reason in assembled.dropped:
            elsewhere.add(id(each))
            self._lose([each], reason)
        if assembled.left:
            self.batches.give_back(assembled.left)
        if assembled.batch is None:
            self._finish(queued[0].key)
            return None
        return Delivery(assembled.batch, [each for each in queued if id(each) not in elsewhere])

    def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Take the verdict of an attempt. With Retry the delivery says itself when it is due again."""
        self._counters.requests += 1
        match verdict:
            case Delivered():
                self._end(delivery.queued)
                self._counters.delivered += len(delivery.queued)
            case Refused(reason=reason) | Parked(reason=reason):
                self._drop(delivery.queued, reason)
            case Rejected():
                self._drop(delivery.queued, DropReason.REJECTED)
            case Retry() if self._is_closed:
                self._drop(delivery.queued, DropReason.SHUTDOWN)
            case Retry(cause=cause):
                self._counters.retried[cause] += 1
                self.waiting.append(delivery)
                self._sending -= 1
                return
        self._finish(delivery.queued[0].key)

    def fail(self, queued: list[Queued]) -> None:
        """Drop the events of a job that could not be assembled."""
        self._drop(queued, DropReason.INTERNAL)
        self._finish(queued[0].key)

    def _finish(self, key: BatchKey) -> None:
        self._sending -= 1
        self.batches.release(key.session_id)

    def _drop(self, queued: Sequence[Queued], reason: DropReason) -> None:
        self._end(queued)
        self._counters.events_dropped[reason] += len(queued)
        if reason is not DropReason.DUPLICATE:
            self._lost.update(each.epoch for each in queued)

    def _lose(self, queued: Sequence[Queued], reason: DropReason) -> None:
        self._drop(queued, reason)
        if queued and reason in _TOLD:
            self._untold[reason] += len(queued)

    def take_losses(self) -> dict[DropReason, int]:
        """Return what was lost on its way to a request since this was last asked, for the log."""
        losses = dict(self._untold)
        self._untold.clear()
        return losses

    def _end(self, queued: Sequence[Queued]) -> None:
        self._outstanding.subtract(each.epoch for each in queued)
        if self._is_closed:
            # counted as lost at the end, which did not wait any longer
            self._counters.events_dropped[DropReason.SHUTDOWN] -= len(queued)

    # flush, end, statistics

    def begin_flush(self) -> int:
        """Make everything due that the service has not asked to wait with. Returns the number of this flush."""
        epoch = self._epoch
        self._epoch += 1
        self._flushes += 1
        self.batches.flush(epoch)
        for delivery in self.waiting:
            delivery.due_at = min(delivery.due_at, delivery.not_before)
        return epoch

    def is_flushed(self, epoch: int) -> bool:
        """Tell whether nothing that a flush waits for is on its way any more."""
        for each in [each for each, number in self._outstanding.items() if not number and each < self._epoch]:
            del self._outstanding[each]
        return not any(number and each <= epoch for each, number in self._outstanding.items())

    def end_flush(self, epoch: int) -> bool:
        """Tell whether all that a flush waited for was delivered; flushes at the same time all learn of a loss."""
        is_lost = any(each <= epoch for each in self._lost)
        self._flushes -= 1
        if not self._flushes:
            self._lost = Counter({each: number for each, number in self._lost.items() if each > epoch})
        return self.is_flushed(epoch) and not is_lost

    def close(self) -> int:
        """Drop what is left, and return how much it was.

        What is being sent ends on its own; until it does it counts as lost.
        """
        left = self.batches.drain()
        left.extend(queued for delivery in self.waiting for queued in delivery.queued)
        self.waiting.clear()
        self._drop(left, DropReason.SHUTDOWN)
        sending = sum(self._outstanding.values())
        self._counters.events_dropped[DropReason.SHUTDOWN] += sending
        self._is_closed = True
        return len(left) + sending

    def refuse(self, items: int, reason: DropReason) -> None:
        """Count items that are not even converted."""
        self._counters.received += items
        self._counters.items_dropped[reason] += items

    def statistics(self) -> Statistics:
        """Return what became of everything so far."""
        self._counters.sessions_forgotten = self.sessions.forgotten
        return self._counters.snapshot(0 if self._is_closed else sum(self._outstanding.values()))
