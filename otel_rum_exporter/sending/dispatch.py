"""What is sent next, and what becomes of a batch by the answer it got: pace, retries, bisection, app monitors that wait.

No lock, thread, clock or I/O: the pipeline has them.
"""

from __future__ import annotations

import math
import random as chance
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from otel_rum_exporter.client.verdicts import Delivered, Parked, Refused, Rejected, Retry, Verdict
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.drops import DropReason, ParkReason
from otel_rum_exporter.sending.batching import SETTLE_S, Batches, Queued, Room
from otel_rum_exporter.sending.delivery import Delivery, Rejection, asked_wait_s, is_hopeless, retry_at
from otel_rum_exporter.sending.destinations import Destination
from otel_rum_exporter.sending.pacing import Bucket, Pacer
from otel_rum_exporter.sending.waiting import Waiting
from otel_rum_exporter.sessions.session import BatchKey

_BISECTION_SHARE = 0.1  # of the requests, while others are due: finding events at fault must not hold these up
_BISECTION_BURST = 16.0  # what it takes to find one among a hundred
_CROWDED = 0.5  # of the memory's bound
_REFUSED = 0.25  # likewise: where batches that wait take more of it, an app monitor is not asked with yet another one
_GATHERED = 1 / 3  # of `max_age`: what then settles for as long again leaves before it is too old
_MAX_DESTINATIONS = 256  # of those that are well there is little to remember
_MAX_BISECTED = 64  # batches; where more wait for their share, they take more of it: memory is bounded, too

Job = Delivery | list[Queued]
"""What a sender does next: another attempt, or events to make a batch of."""


class Outcome(Struct):
    """What an answer means for the events of a delivery.

    Shape:  an event is in one of the lists, or still on its way: `is_over` says that none is.
    """

    delivered: list[Queued] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    dropped: list[Queued] = field(default_factory=list)
    reason: DropReason = DropReason.REJECTED
    retried: str | None = None
    is_parked: bool = False
    is_over: bool = False
    is_unsure: bool = False  # whether the service may have taken what is sent again


class Dispatch:
    """The events that wait and the batches that are on their way.

    Shape:  an event is in `batches`, in a job that a sender holds, or in `waiting`.
    Units:  times are seconds of the pipeline's clock.
    """

    def __init__(self, config: RumConfig, *, random: Callable[[], float] | None = None) -> None:
        """Begin with nothing that waits. `random` gives numbers from 0 to 1."""
        self._config = config
        self._random = random
        self._out: dict[str, Job] = {}  # what senders hold, by its keys' `context`
        self._destinations: dict[str, Destination] = {}
        self._bisection = Bucket(_BISECTION_SHARE * config.max_requests_per_second / config.senders, _BISECTION_BURST)
        self._is_closing = False
        self.pacer = Pacer(config.max_requests_per_second, config.senders, random=self._chance)
        linger_s = min(config.flush_interval_s, _GATHERED * config.max_age_s)
        self.batches = Batches(config.max_events, config.max_bytes, linger_s, SETTLE_S)
        self.waiting = Waiting()
        self.has_given_up = False
        """Whether a batch was refused the connection twice while the exporter shuts down, and none was delivered since."""

    def _chance(self) -> float:
        return (self._random or chance.random)()

    @property
    def has_slot(self) -> bool:
        """Whether one more batch may be on its way. Bisected ones and those of a parked app monitor hold up no others."""
        waiting = sum(not delivery.is_bisected for delivery in self.waiting)
        return len(self._out) + waiting < self._config.max_in_flight

    @property
    def is_sending(self) -> bool:
        """Whether senders hold anything."""
        return bool(self._out)

    @property
    def fullness(self) -> float:
        """How much of the memory's bound what waits takes: 1 is all of it."""
        queue, waiting = self.batches, self.waiting
        return self._share(queue.count + waiting.count, queue.size + waiting.size)

    @property
    def room(self) -> Room:
        """What `batches` may hold, with what waits besides them, until the memory's bound is passed."""
        waiting, config = self.waiting, self._config
        return Room(config.queue_events - waiting.count, config.queue_bytes - waiting.size)

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits for its batch, in the room that other batches leave, that it should go as soon as it can."""
        return self._is_crowded_by(self.batches.count, self.batches.size)

    @property
    def is_crowded_by_others(self) -> bool:
        """Whether it is also without what waits for app monitors that take nothing."""
        batches = self.batches
        return self._is_crowded_by(batches.count - batches.held_count, batches.size - batches.held_size)

    def _is_crowded_by(self, events: int, size_bytes: int) -> bool:
        room = max(0.0, 1.0 - self._share(self.waiting.count, self.waiting.size))
        return self._share(events, size_bytes) > _CROWDED * room

    def _share(self, events: int, size_bytes: int) -> float:
        return max(events / self._config.queue_events, size_bytes / self._config.queue_bytes)

    def take(self, now: float) -> Job | None:
        """Return what is due and may leave, for a sender to hold until `settle` or `cancel`."""
        if self.pacer.wait_s(now) > 0.0:
            return None
        job = self._take(now)
        if job is not None:
            self._out[_key_of(job).context] = job
            self.pacer.take(now)
        return job

    def _take(self, now: float) -> Job | None:
        may_bisect = self._bisection.wait_s(now) <= 0.0 or len(self.waiting) > _MAX_BISECTED
        delivery = self._due(now, with_bisected=may_bisect)
        if delivery is not None:
            return delivery
        for monitor_id, destination in self._destinations.items():
            if destination.due_in(now) <= 0.0 and (job := self._probe(monitor_id, destination, now)) is not None:
                return job
        fresh = self.batches.take(now, is_crowded=self.is_crowded) if self.has_slot else None
        return fresh or self._due(now, with_bisected=True)

    def _due(self, now: float, *, with_bisected: bool) -> Delivery | None:
        delivery = self.waiting.take(now, with_bisected=with_bisected)
        if delivery is not None and delivery.is_bisected:
            self._bisection.take(now)
        return delivery

    def _probe(self, monitor_id: str, destination: Destination, now: float) -> Job | None:
        """Return a batch that finds out whether an app monitor is well again: others than those that were refused, too.

        Batches on disk never make room, so they are to take a part of the memory only. But where it may be the events of
        a single one that are at fault, only another one finds out.
        """
        waiting = self.waiting
        may_be_its_own = destination.parked is ParkReason.REJECTED and waiting.number_parked(monitor_id) == 1
        may_be_other = may_be_its_own or self._share(waiting.count, waiting.size) < _REFUSED
        is_other = may_be_other and destination.probes % 2 == 0
        job: Job | None = self.batches.take_held(monitor_id, now) if is_other else None
        job = job or self.waiting.take_parked(monitor_id) or self.batches.take_held(monitor_id, now)
        if job is None:  # nothing waits any more: what comes next finds out
            destination.unpark()
            self.batches.release_held(monitor_id)
            return None
        destination.begin_probe(now)
        return job

    def lacks_other(self, monitor_id: str) -> bool:
        """Tell whether all that is in memory of an app monitor was refused, though others of its events may be taken."""
        destination = self._destinations.get(monitor_id)
        is_refused = destination is not None and destination.parked is ParkReason.REJECTED
        return is_refused and not self.batches.has_other(monitor_id)

    def resume(self, delivery: Delivery, now: float) -> bool:
        """Take a batch that another process was sending. Returns False while another one of its session is out."""
        if not self.batches.hold_session(_key_of(delivery)):
            return False
        delivery.due_at = now
        self.waiting.add(delivery)
        return True

    @property
    def parked(self) -> dict[str, ParkReason]:
        """The app monitors that take nothing at present, and why."""
        parked = ((monitor_id, each.parked) for monitor_id, each in self._destinations.items())
        return {monitor_id: reason for monitor_id, reason in parked if reason is not None}

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds something is due, None for never."""
        times = [delivery.due_at - now for delivery in self.waiting]
        times += [destination.due_in(now) for destination in self._destinations.values()]
        if self.has_slot and (due_in := self.batches.due_in(now, is_crowded=self.is_crowded)) is not None:
            times.append(due_in)
        earliest = min(times, default=math.inf)
        earliest = max(0.0, earliest, self.pacer.wait_s(now)) if earliest < math.inf else earliest
        return earliest if earliest < math.inf else None

    def begin(self, delivery: Delivery) -> None:
        """Take note of what a sender made of the events that it holds."""
        self._out[_key_of(delivery).context] = delivery

    def cancel(self, queued: list[Queued], now: float) -> None:
        """Take back a job that came to no request."""
        self.pacer.unsent(now)
        self._finish(queued[0].key, now)

    # answers

    def settle(self, delivery: Delivery, verdict: Verdict, now: float) -> Outcome:
        """Take the answer to an attempt."""
        self._pace(verdict, now)
        destination = self._destination(delivery.whole.batch.monitor.id)
        outcome = self._outcome(delivery, destination, verdict, now)
        if outcome.is_over:
            self._finish(_key_of(delivery), now)
        return outcome

    def _destination(self, monitor_id: str) -> Destination:
        if monitor_id not in self._destinations and len(self._destinations) >= _MAX_DESTINATIONS:
            self._destinations = {name: each for name, each in self._destinations.items() if each.parked is not None}
        return self._destinations.setdefault(monitor_id, Destination())

    def _pace(self, verdict: Verdict, now: float) -> None:
        match verdict:
            case Delivered():
                self.pacer.delivered(now)
                self.has_given_up = False
            case Retry(cause="throttled", after_s=after_s):
                self.pacer.throttled(now, after_s)
            case Retry(cause="network" | "server", after_s=after_s):
                self.pacer.failed(now, after_s)
            case Refused():
                self.pacer.unsent(now)
            case _:
                self.pacer.answered(now)

    def _outcome(self, delivery: Delivery, destination: Destination, verdict: Verdict, now: float) -> Outcome:
        match verdict:
            case Delivered():
                return self._delivered(delivery, destination, now)
            case Rejected(message=message):
                return self._rejected(delivery, destination, message, now)
            case Refused(reason=DropReason.NOT_CONFIGURED) if delivery.is_stored:
                self._park(delivery, destination, ParkReason.NOT_CONFIGURED, now)
                return Outcome(retried=str(ParkReason.NOT_CONFIGURED), is_parked=True)
            case Refused(reason=reason):
                return Outcome(dropped=delivery.queued, reason=reason, is_over=True)
            case Parked(reason=reason):
                self._park(delivery, destination, reason, now)
                return Outcome(retried=str(reason), is_parked=True)
            case Retry():
                return self._again(delivery, destination, verdict, now)

    def _delivered(self, delivery: Delivery, destination: Destination, now: float) -> Outcome:
        part = delivery.delivered()
        destination.delivered(now)
        self._resume(delivery, now)
        rejected = delivery.convicted(is_known_good=True)
        if not delivery.is_over:
            self._wait(delivery, now)
        return Outcome(delivered=part.queued, rejected=rejected, is_over=delivery.is_over)

    def _rejected(self, delivery: Delivery, destination: Destination, message: str, now: float) -> Outcome:
        if destination.parked is ParkReason.REJECTED:
            self._park(delivery, destination, ParkReason.REJECTED, now)
            return Outcome(is_parked=True)
        destination.unpark()  # it looked at the events, at least
        self._resume(delivery, now)
        if len(delivery.part.queued) > 1:
            delivery.split()
            self._wait(delivery, now)
            return Outcome()
        is_good = destination.is_known_good(now)
        is_of_all = delivery.suspect(message)
        rejected = delivery.convicted(is_known_good=is_good)
        is_unproven = not (is_good or delivery.is_proven)
        if is_unproven and (is_of_all or (rejected and destination.convicts(rejected))):
            delivery.restore(rejected)
            self._park(delivery, destination, ParkReason.REJECTED, now)
            return Outcome(is_parked=True)
        if not delivery.is_over:
            self._wait(delivery, now)
        return Outcome(rejected=rejected, is_over=delivery.is_over)

    def _again(self, delivery: Delivery, destination: Destination, verdict: Retry, now: float) -> Outcome:
        if is_hopeless(delivery, verdict):
            return Outcome(rejected=delivery.given_up(verdict.message), is_over=True)
        outcome = Outcome(dropped=delivery.expire(now - self._config.max_age_s), reason=DropReason.EXPIRED)
        if delivery.is_over:
            outcome.is_over = True
            return outcome
        self._count_failure(delivery, verdict, now)
        if destination.parked is not None and verdict.cause != "credentials":
            self._take_back(delivery)
            self.waiting.park(delivery)
            destination.put_off(now)
        else:
            self._wait(delivery, retry_at(delivery, verdict, now, self._chance), now + asked_wait_s(verdict))
        outcome.retried = verdict.cause
        outcome.is_unsure = verdict.cause in ("network", "server") and verdict.may_have_arrived
        return outcome

    def _count_failure(self, delivery: Delivery, verdict: Retry, now: float) -> None:
        if self._is_closing and verdict.cause == "network":
            delivery.failures += 1
            self.has_given_up = self.has_given_up or delivery.failures > 1
            self.pacer.probe_now(now)  # where so many failed at once that the circuit opened, one is tried again

    def _wait(self, delivery: Delivery, due_at: float, not_before: float = -math.inf) -> None:
        delivery.due_at, delivery.not_before = due_at, not_before
        self._take_back(delivery)
        self.waiting.add(delivery)

    def _park(self, delivery: Delivery, destination: Destination, reason: ParkReason, now: float) -> None:
        self._take_back(delivery)
        destination.park(reason, now)
        self.waiting.park(delivery)
        self.batches.hold(delivery.whole.batch.monitor.id)

    def _take_back(self, delivery: Delivery) -> None:
        self._out.pop(_key_of(delivery).context, None)

    def _resume(self, delivery: Delivery, now: float) -> None:
        """Let go what waited for an app monitor."""
        monitor_id = delivery.whole.batch.monitor.id
        self.batches.release_held(monitor_id)
        self.waiting.unpark(monitor_id, now)

    def _finish(self, key: BatchKey, now: float) -> None:
        self._out.pop(key.context, None)
        self._release(key, now)

    def _release(self, key: BatchKey, now: float) -> None:
        self.batches.release(key)
        destination = self._destinations.get(key.monitor.id)
        if destination is not None and destination.is_probing:  # the probe ended in another way
            destination.put_off(now)

    # age and room

    def expires_in(self, now: float) -> float:
        """Return in how many seconds a batch that waits becomes too old; infinity without any."""
        return max(0.0, self.waiting.oldest_at + self._config.max_age_s - now)

    def expired(self, now: float) -> list[Queued]:
        """Take out what waits for longer than `max_age`, and nothing that does not, though it is in a batch with that."""
        before = now - self._config.max_age_s
        queued = self.batches.older_than(before)
        if self.waiting.oldest_at < before:
            for delivery in self.waiting.older_than(before):
                is_all = all(each.admitted_at <= before for each in delivery.queued)
                queued += self._give_up(delivery, now) if is_all else self.waiting.expire(delivery, before)
        return queued

    def drop_oldest(self, now: float) -> list[Queued]:
        """Take out the event that waits longest, to make room; with it the rest of its batch, where it is in one by now."""
        match self._oldest():
            case None:
                return []
            case Delivery() as delivery:
                return self._give_up(delivery, now)
            case queued:
                self.batches.drop_oldest()
                return [queued]

    def drop_parked(self, now: float, monitor_id: str) -> list[Queued]:
        """Do so in favour of an app monitor that is well, if what waits longest is of one that takes nothing."""
        return [] if self._is_parked(monitor_id) or not self.is_oldest_parked() else self.drop_oldest(now)

    def is_oldest_parked(self) -> bool:
        """Tell whether what waits longest is of an app monitor that takes nothing, so that it will not make room soon."""
        match self._oldest():
            case Queued() as queued:
                return self._is_parked(queued.key.monitor.id)
            case Delivery() as delivery:
                return self.waiting.is_parked(delivery)
            case _:
                return False

    def _oldest(self) -> Queued | Delivery | None:
        """Return what waits longest: an event, or a batch of which memory alone keeps something."""
        queued, delivery = self.batches.oldest(), self.waiting.oldest()
        if delivery is None or (queued is not None and queued.admitted_at <= delivery.admitted_at):
            return queued
        return delivery

    def _is_parked(self, monitor_id: str) -> bool:
        destination = self._destinations.get(monitor_id)
        return destination is not None and destination.parked is not None

    def _give_up(self, delivery: Delivery, now: float) -> list[Queued]:
        key, was_parked = _key_of(delivery), self.waiting.is_parked(delivery)
        self.waiting.remove(delivery)
        if was_parked:
            self.batches.release(key)
        else:
            self._release(key, now)
        return delivery.queued

    # flush, end

    def begin_flush(self, epoch: int, now: float) -> None:
        """Make everything due that the service has not asked to wait with."""
        self.batches.flush(epoch)
        self.pacer.probe_now(now)
        for delivery in self.waiting:
            delivery.due_at = min(delivery.due_at, delivery.not_before)
        for destination in self._destinations.values():
            destination.hurry(now)

    def begin_close(self) -> None:
        """Take note that the exporter shuts down: what fails now is not tried for long."""
        self._is_closing = True

    def is_stuck(self, now: float, deadline: float) -> bool:
        """Tell whether nothing can be sent any more before a deadline, as far as is known."""
        if self.is_sending:
            return False
        if self._is_closing and self.has_given_up:
            return True
        due_in = self.due_in(now)
        return due_in is None or now + due_in > deadline

    def on_their_way(self) -> Iterator[Queued]:
        """Yield all events: those that wait, and those that senders hold."""
        yield from self.batches.queued()
        yield from self.waiting.queued()
        for job in self._out.values():
            yield from job if isinstance(job, list) else job.queued


def _key_of(job: Job) -> BatchKey:
    return job[0].key if isinstance(job, list) else job.whole.queued[0].key
