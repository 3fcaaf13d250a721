"""The threads that deliver: each takes what is due, makes a batch of it, sends it, and says what became of it.

They start when the first event is admitted, one more whenever a batch is due and none is free, `max_in_flight` at most.
One whose request takes too long is left behind with it: the request is settled without it, and another may start.
Where no thread can be started, as at interpreter exit, the thread that flushes delivers itself; where none would run, as in
uWSGI without threads, also the one that exports.
"""

from __future__ import annotations

import enum
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context

from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.client.verdicts import Delivered, Refused, Verdict
from otel_rum_exporter.client.watchdog import LeftBehindError
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.metrics import PipelineMetrics
from otel_rum_exporter.notices import Notices
from otel_rum_exporter.sending.assembly import Assembled, assemble
from otel_rum_exporter.sending.batching import Queued, Stored
from otel_rum_exporter.sending.delivery import Delivery
from otel_rum_exporter.sending.dispatch import Job
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sessions.session import Keyed

if TYPE_CHECKING:  # without a spool nothing needs SQLite
    from otel_rum_exporter.spool.store import Store

_IDLE_S = 30.0  # after which a thread that is not the only one ends
_ALONE_S = (
    0.005  # in which a thread that sends may be back: a second one would only contend with it for the interpreter
)
_TEND_S = 20.0  # between looks for files that others left
_OTHERS_SAVE_S = 1.0  # at the end, for a thread that is at it; three times what a commit waits for whoever has the file
_SAVED_AT_ONCE = 2000  # events for which there was no room on disk before: for 30 ms exports wait for it
_INLINE_S = 1.0  # after which a thread that exports begins no further request
_LONGEST_INLINE_S = 3.0  # after which it waits for no answer


class Chore(enum.Enum):
    """What a thread does besides sending, where there is a spool."""

    LOAD = "load what waits on disk alone"
    TEND = "look after the files"


class Workers:
    """The delivering side of a pipeline.

    Attributes:
        changed: Guards the ledger, and tells of everything that may have become of events.
        is_closed: Set, with the lock held, when nothing is sent any more.
        metrics: Told of each request, where somebody wants to know.
        may_start_threads: False where they would not run.
    """

    def __init__(  # noqa: PLR0913 - what they work with
        self,
        config: RumConfig,
        ledger: Ledger,
        client: RumClient,
        store: Store | None,
        *,
        log: Notices,
        clock: Callable[[], float],
    ) -> None:
        """Start nothing."""
        self._config = config
        self._ledger = ledger
        self._client = client
        self._store = store
        self._log = log
        self._clock = clock
        self._threads = 0
        self._spare = 0  # threads that wait until they are called
        self._is_watched = False  # whether a thread waits for what is due next
        self._wakes_at = math.inf  # when it looks again, unless it is told to
        self._busy = 0  # threads with a job
        self._taken_at = -math.inf  # when the latest of these was taken
        self._tend_at = clock()
        self._is_loading = False
        self._saves = 0  # how often somebody began to keep what is in memory only
        lock = threading.Lock()
        self.changed = threading.Condition(lock)
        # of the threads that have nothing to do one watches the time: all of them would wake for each batch
        self._watching, self._sparing = threading.Condition(lock), threading.Condition(lock)
        self.is_closed = False
        self.metrics: PipelineMetrics | None = None
        self.may_start_threads = True

    # threads

    @property
    def has_thread(self) -> bool:
        """Whether a thread is there to deliver. To be asked with the lock held."""
        return self._threads > 0

    def ensure_thread_locked(self) -> None:
        """Have a thread look at what is due: the one that watches, a spare one, or one more. Needs the lock."""
        now = self._clock()
        if self._is_watched:
            # waking it for each batch would cost a tenth of a request
            if now + self._look_in_locked(now) < self._wakes_at:
                self._wakes_at = now
                self._watching.notify()
            return
        if self._spare:
            self._sparing.notify()
            return
        due_in = self._ledger.dispatch.due_in(now)
        is_wanted = self._threads == 0 or due_in == 0
        has_nothing = due_in is None and self._store is None
        if has_nothing or not is_wanted or self._threads >= self._config.max_in_flight or not self.may_start_threads:
            return
        thread = threading.Thread(target=self._run, name="RumExporter", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is about to exit, or the system has no more threads
            return
        self._threads += 1

    def deliver_inline(self) -> None:
        """Send what is due, where no thread of this package's would run; for so long as a web request can bear."""
        if self.may_start_threads:
            return
        began_at = self._clock()
        with _suppressed():
            while self._clock() < began_at + _INLINE_S and (job := self._due_job()) is not None:
                self._handle(job, began_at + _LONGEST_INLINE_S)

    def _due_job(self) -> Job | Chore | None:
        with self.changed:
            return None if self.is_closed else self._job_locked(self._clock(), is_thread=True)

    def close_locked(self) -> None:
        """Let all threads end. Needs the lock."""
        self.is_closed = True
        for condition in (self.changed, self._watching, self._sparing):
            condition.notify_all()

    def _run(self) -> None:
        try:
            self.work(until=lambda: self.is_closed, deadline=None)
        except LeftBehindError:
            pass  # `_give_up` has done all there is to do
        except Exception as error:  # noqa: BLE001 - the next admission starts another thread
            self._log.fault(error, 0)
            with self.changed:
                self._threads -= 1

    def work(self, until: Callable[[], bool], deadline: float | None) -> None:
        """Deliver what is due until a condition holds, the deadline passes or, on a thread, nothing comes any more.

        Errors: LeftBehindError where there is no deadline, on a thread of this package's own.
        """
        with _suppressed():
            is_back = False
            while (job := self._next_job(until, deadline, is_back=is_back)) is not None:
                self._handle(job, deadline)
                is_back = True
            self.tell()

    def _handle(self, job: Job | Chore, deadline: float | None) -> None:
        match job:
            case Chore():
                self._do(job)
            case Delivery():
                self._attempt(job, deadline)
            case _:
                delivery = self._assembled(job)
                if delivery is not None:
                    self._attempt(delivery, deadline)

    def _next_job(self, until: Callable[[], bool], deadline: float | None, *, is_back: bool) -> Job | Chore | None:
        with self.changed:
            self._busy -= is_back
            waited_s = 0.0
            while not until():
                now = self._clock()
                if deadline is not None and now >= deadline:
                    return None
                job = None
                if is_back or self._helps_in_locked(now) <= 0.0:
                    job = self._job_locked(now, is_thread=deadline is None)
                if job is not None:
                    self._busy, self._taken_at = self._busy + 1, now
                    self.ensure_thread_locked()
                    return job
                if deadline is None and waited_s >= _IDLE_S and self._threads > 1:
                    break
                if is_back and self._is_watched:
                    self._watching.notify()  # it does not know yet of what has come of this thread's job
                waited_s += self._wait_locked(now, deadline)
                is_back = False
            if deadline is None:
                self._threads -= 1
            return None

    def _job_locked(self, now: float, *, is_thread: bool) -> Job | Chore | None:
        if self._store is not None and is_thread:
            if now >= self._tend_at:
                self._tend_at = now + _TEND_S
                return Chore.TEND
            if self._store.has_backlog and not self._is_loading and self._ledger.load_in(now) <= 0.0:
                self._is_loading = True
                return Chore.LOAD
        dropped = self._ledger.lost
        job = self._ledger.take(now)
        makes_room = job is not None and self._config.overflow == "block"  # for which somebody may wait
        if makes_room or self._ledger.lost != dropped:  # what was too old is gone, and flushes wait for it
            self.changed.notify_all()
        return job

    def _wait_locked(self, now: float, deadline: float | None) -> float:
        longest = _IDLE_S if deadline is None else deadline - now
        if self._is_watched:
            self._spare += 1
            try:
                self._sparing.wait(longest)
            finally:
                self._spare -= 1
        else:
            wait_s = min(longest, self._look_in_locked(now, is_thread=deadline is None))
            self._is_watched, self._wakes_at = True, now + wait_s
            try:
                self._watching.wait(wait_s)
            finally:
                self._is_watched = False
        return self._clock() - now

    def _look_in_locked(self, now: float, *, is_thread: bool = True) -> float:
        """Return in how many seconds a thread that is free should look for something to do."""
        return max(self._helps_in_locked(now), self._due_in_locked(now, is_thread=is_thread))

    def _helps_in_locked(self, now: float) -> float:
        return self._taken_at + _ALONE_S - now if self._busy else 0.0

    def _due_in_locked(self, now: float, *, is_thread: bool) -> float:
        dispatch = self._ledger.dispatch
        due_in = dispatch.due_in(now)
        times = [dispatch.expires_in(now), math.inf if due_in is None else due_in]
        if self._store is not None and is_thread:
            times.append(max(0.0, self._tend_at - now))
            if self._store.has_backlog and not self._is_loading:
                times.append(self._ledger.load_in(now))
        return min(times)

    # chores

    def _do(self, chore: Chore) -> None:
        if self._store is None:
            return
        if chore is Chore.TEND:
            self._tend(self._store)
            return
        try:
            self._resume(self._store)
            loaded = self._store.load()
        finally:
            self._is_loading = False
        with self.changed:
            left = [] if loaded is None else self._ledger.load(loaded, self._clock())
            self.changed.notify_all()
        self._store.leave(left)
        self.tell()

    def _tend(self, store: Store) -> None:
        store.tend()
        for expired in store.expire():
            with self.changed:
                self._ledger.load(expired, self._clock())
        saved = self.save(store, limit=_SAVED_AT_ONCE)
        self.tell()
        if saved == _SAVED_AT_ONCE:  # there may be more
            with self.changed:
                self._tend_at = self._clock()

    def save(self, store: Store, *, limit: int | None = None, wait_s: float = 0.0) -> int:
        """Keep on disk what is in memory only, also what is being sent, if there is room by now. Returns how many that was.

        Args:
            store: The disk.
            limit: For how many events at most; None for all.
            wait_s: For how long others may hold the file.
        """
        with self.changed:
            self._saves += 1
            left, now = self._ledger.begin_saving(limit), self._clock()
        keyed = [Keyed(each.key, each.draft, each.user_id) for each in left]
        stored: list[Stored | None] = [None] * len(left)
        try:
            stored = store.save(keyed, [now - each.admitted_at for each in left], wait_s)
        finally:
            with self.changed:
                self._ledger.saved(left, stored)
                self.changed.notify_all()  # the end may wait for it
        return len(stored) - stored.count(None)

    def save_all(self, store: Store, *, wait_s: float) -> None:
        """Do so at the end, with what another thread was about to keep, too: where it fails, there is a try more."""
        until = self._clock() + max(wait_s, _OTHERS_SAVE_S)
        with self.changed:
            was_saving, saves = self._ledger.is_saving, self._saves
        self.save(store, wait_s=wait_s)
        with self.changed:
            while self._ledger.is_saving and (left := until - self._clock()) > 0:
                self.changed.wait(left)
            is_alone = not was_saving and self._saves == saves + 1
        if not is_alone:
            self.save(store, wait_s=wait_s)

    def _resume(self, store: Store) -> None:
        while (resumed := store.resume()) is not None:
            with self.changed:
                is_taken = self._ledger.resume(resumed, self._clock())
            if not is_taken:
                store.give_back(resumed.delivery)

    def tell(self) -> None:
        """Log what was lost since, and remove from disk what ended."""
        with self.changed:
            losses, ended = self._ledger.take_losses(), self._ledger.take_ended()
            if self._store is not None:  # at once, for a shutdown that comes before this thread goes on
                self._store.owe(ended.forgotten, ended.buried)
        self._log.lost(losses)
        if self._store is not None:
            self._store.settle()

    # batches

    def _assembled(self, queued: list[Queued]) -> Delivery | None:
        with self.changed:
            session = self._ledger.session_of(queued)
        try:
            known = self._client.knows_session_metadata()
            assembled = assemble(queued, session, self._config, session_metadata=known)
        except Exception as error:  # noqa: BLE001 - events must leave the queue whatever happens
            self._log.fault(error, len(queued))
            with self.changed:
                self._ledger.fail(queued, self._clock())
                self.changed.notify_all()
            return None
        return self._kept(queued, assembled)

    def _kept(self, queued: list[Queued], assembled: Assembled) -> Delivery | None:
        if assembled.lacks_domain:
            self._log.no_domain()
        with self.changed:
            delivery = self._ledger.keep(queued, assembled, self._clock())
            if len(assembled.written) < len(queued):
                self.changed.notify_all()
        try:
            self.tell()
            if delivery is not None and self._store is not None:
                self._store.lease(delivery)
        except Exception as error:  # noqa: BLE001 - the batch that this thread holds goes all the same
            self._log.fault(error, 0)
        return delivery

    def _attempt(self, delivery: Delivery, deadline: float | None) -> None:
        delivery.attempts += 1
        began_at = self._clock()
        verdict = self._verdict(delivery, began_at, deadline)
        self._settle(delivery, verdict, began_at)

    def _verdict(self, delivery: Delivery, began_at: float, deadline: float | None) -> Verdict:
        batch = delivery.part.batch
        try:
            if deadline is None:
                return self._client.attempt_or_be_left(batch, partial(self._give_up, delivery, began_at))
            return self._client.attempt(batch, min(self._config.timeout_s, deadline - began_at))
        except LeftBehindError:
            raise
        except Exception as error:  # noqa: BLE001 - a batch must leave the queue whatever happens
            return Refused(DropReason.INTERNAL, f"{type(error).__name__}: {error}")

    def _give_up(self, delivery: Delivery, began_at: float, verdict: Verdict) -> None:
        """Go on without a thread whose request takes too long; on the thread that noticed."""
        with _suppressed():
            try:
                self._settle(delivery, verdict, began_at)
            except Exception as error:  # noqa: BLE001 - the next one that takes too long is to be noticed, too
                self._log.fault(error, 0)
        with self.changed:
            self._threads, self._busy = self._threads - 1, self._busy - 1
            if not self.is_closed:
                self.ensure_thread_locked()
            self.changed.notify_all()  # where no thread could be started, whoever flushes delivers itself

    def _settle(self, delivery: Delivery, verdict: Verdict, began_at: float) -> None:
        if self.metrics is not None:
            self.metrics.attempted(delivery.part, verdict, began_at, self._clock())
        with self.changed:
            now = self._clock()
            outcome = self._ledger.settle(delivery, verdict, now)
            # waking who flushes for each batch would cost a tenth of a request
            is_news = (
                self.is_closed  # then the end waits for each
                or self._ledger.has_flushed
                or not isinstance(verdict, Delivered)
                or self._config.overflow == "block"
                or self._ledger.dispatch.due_in(now) != 0.0
            )
        self._log.outcome(verdict, outcome)
        self.tell()
        if is_news:
            with self.changed:  # when all is said: a shutdown that waits for it lets the process end
                self.changed.notify_all()


@contextmanager
def _suppressed() -> Iterator[None]:
    """Let no instrumentation make telemetry out of sending telemetry."""
    token = otel_context.attach(otel_context.set_value("suppress_instrumentation", value=True))
    try:
        yield
    finally:
        otel_context.detach(token)
