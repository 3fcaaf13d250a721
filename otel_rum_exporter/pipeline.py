"""The only threads and the only lock: admit items, deliver batches, flush, shut down, survive a fork.

`export` converts on the caller's thread and buffers; it never waits for the network. Threads start when the first
event is admitted, one more whenever a batch is due and none is free, `max_in_flight` at most. Where no thread can be
started, as at interpreter exit, the flushing thread delivers itself.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind

from otel_rum_exporter.assembly import assemble
from otel_rum_exporter.batching import Batches, Queued
from otel_rum_exporter.client import Delivered, Refused, Retry, RumClient, Verdict
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.delivery import Delivery, asked_wait_s, retry_at
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.items import LogItem, SpanItem
from otel_rum_exporter.joining import Converted, join_log, join_span
from otel_rum_exporter.session import PROCESS_SESSION_ID, BatchKey, Keyed, Sessions
from otel_rum_exporter.stats import CauseLog, Counters, Statistics, printable

_IDLE_S = 30.0  # after which a thread that is not the only one ends
_BOTO_LOGGERS = ("boto3.", "botocore.", "urllib3.")
_SERVES_OTHERS = (SpanKind.SERVER, SpanKind.CONSUMER)
_FOREVER_S = 3600.0 * 24 * 365

_logger = logging.getLogger(__name__)


class Pipeline:
    """Converts, keeps and delivers what the exporters of one configuration are given."""

    def __init__(
        self, config: RumConfig, *, is_configured: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare everything; start nothing.

        Args:
            config: The configuration.
            is_configured: False for a pipeline that only counts what it is given as dropped.
            clock: Monotonic seconds.
        """
        self._config = config
        self._is_configured = is_configured
        self._clock = clock
        self._converter = Converter(config)
        self._log = CauseLog(_logger, clock)
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin_in_child = weakref.WeakMethod(self._begin_in_child)
            os.register_at_fork(after_in_child=lambda: (begin := begin_in_child()) and begin())

    def _begin(self) -> None:
        """Start with nothing queued, nothing counted and no thread."""
        config = self._config
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._counters = Counters()
        self._client = RumClient(config)
        self._sessions = Sessions(config, PROCESS_SESSION_ID)
        self._batches = Batches(config.max_events, config.max_bytes, config.flush_interval_s)
        self._waiting: list[Delivery] = []  # for their next attempt
        self._sending = 0
        self._outstanding: Counter[int] = Counter()  # events on their way, by flush epoch
        self._lost: Counter[int] = Counter()  # likewise, until a flush has told of them
        self._flushing = 0
        self._epoch = 0
        self._threads = 0
        self._idle = 0
        self._closing = False
        self._closed = False

    def _begin_in_child(self) -> None:
        """Leave to the parent what it admitted; its lock and its connections are not the child's."""
        serves_others, is_shut = self._sessions.serves_others, self._closing
        self._begin()
        self._log.begin_in_child()
        self._sessions.serves_others = serves_others
        self._sessions.start_none()
        self._closing = self._closed = is_shut

    # what exporters call

    def export_spans(self, spans: Sequence[SpanItem], *, is_shut: bool = False) -> bool:
        """Admit spans. Returns False when nothing can be admitted any more, here or by the exporter that `is_shut`."""
        if self._config.session != "require" and any(span.kind in _SERVES_OTHERS for span in spans):
            self._serve_others(spans)
        return self._export(spans, self._span, is_shut=is_shut)

    def export_logs(self, logs: Sequence[LogItem], *, is_shut: bool = False) -> bool:
        """Admit log records, as `export_spans` does spans."""
        ids = LogEventIds()
        return self._export(logs, lambda log: self._log_record(log, ids), is_shut=is_shut)

    def flush(self, timeout_s: float) -> bool:
        """Deliver what was admitted so far. Returns whether all of it was, within the timeout."""
        deadline = self._clock() + timeout_s
        self._start_after_unnoticed_fork()
        with self._changed:
            epoch = self._epoch
            self._epoch += 1
            self._flushing += 1
            self._batches.flush(epoch)
            self._hasten_locked()
            self._ensure_thread_locked()
            self._changed.notify_all()
            has_thread = self._threads > 0
            is_idle = not self._is_outstanding_locked(epoch)
        if not has_thread and not is_idle:
            self._work(until=lambda: not self._is_outstanding_locked(epoch), deadline=deadline)
        with self._changed:
            while self._is_outstanding_locked(epoch) and (left := deadline - self._clock()) > 0:
                self._changed.wait(left)
            return not self._is_outstanding_locked(epoch) and not self._is_lost_locked(epoch)

    def shutdown(self, timeout_s: float) -> None:
        """Deliver what is left until the timeout, drop and count the rest, and admit nothing more."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
        self.flush(timeout_s)
        with self._changed:
            left = self._batches.drain()
            left.extend(queued for delivery in self._waiting for queued in delivery.queued)
            self._waiting.clear()
            self._drop_locked(left, DropReason.SHUTDOWN)
            # what is being sent ends on its own; until it does it counts as lost
            sending = sum(self._outstanding.values())
            self._counters.events_dropped[DropReason.SHUTDOWN] += sending
            self._closed = True
            self._changed.notify_all()
            lost = len(left) + sending
        if lost:
            self._log.say(logging.WARNING, "shutdown", f"{lost} events were not delivered before the shutdown timeout")

    def stats(self) -> Statistics:
        """Return what became of everything so far."""
        with self._changed:
            queued = 0 if self._closed else sum(self._outstanding.values())
            return self._counters.snapshot(queued)

    # admission

    def _export(
        self, items: Sequence[SpanItem] | Sequence[LogItem], convert: Callable[..., Converted], *, is_shut: bool
    ) -> bool:
        self._start_after_unnoticed_fork()
        is_taken = self._is_configured and not self._closing and not is_shut
        refusal = DropReason.SHUTDOWN if self._is_configured else DropReason.NOT_CONFIGURED
        converted = [self._converted(item, convert) if is_taken else refusal for item in items]
        now = self._clock()
        with self._changed:
            if self._closing:  # meanwhile
                is_taken, converted = False, [refusal] * len(items)
            reasons = {self._admit_locked(each, now) for each in converted}
            self._make_room_locked()
            self._ensure_thread_locked()
            self._changed.notify_all()
        if is_taken:
            self._explain(reasons)
        return is_taken

    def _serve_others(self, spans: Sequence[SpanItem]) -> None:
        """Stop taking what has no session for the process's own, or say that others' spans are among it."""
        if self._config.session == "auto":
            self._sessions.serves_others = True
        elif any(span.kind in _SERVES_OTHERS and "session.id" not in (span.attributes or ()) for span in spans):
            self._log.say(logging.WARNING, "merged", _MERGED, quiet_s=_FOREVER_S)

    def _span(self, span: SpanItem) -> Converted:
        return join_span(self._converter.span(span), span, process_takes_all=self._config.session == "process")

    def _log_record(self, log: LogItem, ids: LogEventIds) -> Converted:
        return join_log(self._converter.log(log, ids), log, process_takes_all=self._config.session == "process")

    def _converted(self, item: SpanItem | LogItem, convert: Callable[..., Converted]) -> Converted:
        try:
            return DropReason.SELF_TRAFFIC if _is_of_boto(item) else convert(item)
        except Exception as error:  # noqa: BLE001 - an item's fault must not be the application's
            cause = type(error).__name__
            self._log.say(logging.WARNING, "convert", f"An item could not be converted: {cause}: {printable(error)}")
            return DropReason.UNCONVERTIBLE

    def _admit_locked(self, converted: Converted, now: float) -> DropReason | None:
        counters = self._counters
        counters.received += 1
        keyed = self._keyed_locked(converted, now)
        if isinstance(keyed, DropReason):
            counters.items_dropped[keyed] += 1
            return keyed
        counters.converted += 1
        counters.accepted += len(keyed)
        self._outstanding[self._epoch] += len(keyed)
        for each in keyed:
            replaced = self._batches.add(each, now, self._epoch)
            if replaced is not None:
                self._drop_locked([replaced], DropReason.DUPLICATE)
        return None

    def _keyed_locked(self, converted: Converted, now: float) -> list[Keyed] | DropReason:
        if isinstance(converted, DropReason):
            return converted
        monitor = converted.origin.monitor
        return DropReason.NOT_CONFIGURED if monitor is None else self._sessions.admit(converted, monitor, now)

    def _make_room_locked(self) -> None:
        batches, config = self._batches, self._config
        while batches.count > config.queue_events or batches.size > config.queue_bytes:
            oldest = batches.drop_oldest()
            if oldest is None:
                return
            self._drop_locked([oldest], DropReason.QUEUE_FULL)

    def _explain(self, reasons: Iterable[DropReason | None]) -> None:
        """Say once what to set where items are dropped for want of it."""
        for reason in reasons:
            if reason is DropReason.NO_SESSION:
                self._log.say(logging.WARNING, "session", _NO_SESSION, quiet_s=_FOREVER_S)
            elif reason is DropReason.NOT_CONFIGURED:
                self._log.say(logging.ERROR, "monitor", _NO_MONITOR, quiet_s=_FOREVER_S)

    # delivery

    def _ensure_thread_locked(self) -> None:
        due_in = self._batches.due_in(self._clock())
        is_wanted = self._threads == 0 or (self._idle == 0 and due_in == 0 and self._has_slot_locked())
        if due_in is None or not is_wanted or self._threads >= self._config.max_in_flight:
            return
        thread = threading.Thread(target=self._run, name="RumExporter", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is about to exit, or the system has no more threads
            return
        self._threads += 1

    def _run(self) -> None:
        self._work(until=lambda: self._closed, deadline=None)

    def _work(self, until: Callable[[], bool], deadline: float | None) -> None:
        """Deliver what is due until a condition holds, the deadline passes or, on a thread, nothing comes any more."""
        with _suppressed():
            while (job := self._next_job(until, deadline)) is not None:
                delivery = job if isinstance(job, Delivery) else self._assembled_or_dropped(job)
                if delivery is not None:
                    self._attempt(delivery, deadline)

    def _next_job(self, until: Callable[[], bool], deadline: float | None) -> Delivery | list[Queued] | None:
        with self._changed:
            waited_s = 0.0
            while not until():
                now = self._clock()
                if deadline is not None and now >= deadline:
                    return None
                job = self._due_locked(now)
                if job is not None:
                    self._sending += 1
                    self._ensure_thread_locked()
                    return job
                if deadline is None and waited_s >= _IDLE_S and self._threads > 1:
                    break
                waited_s += self._wait_locked(now, deadline)
            if deadline is None:
                self._threads -= 1
            return None

    def _wait_locked(self, now: float, deadline: float | None) -> float:
        moments = [now + _IDLE_S] if deadline is None else [deadline]
        if self._has_slot_locked():
            due_in = self._batches.due_in(now)
            moments.extend([] if due_in is None else [now + due_in])
        moments.extend(delivery.due_at for delivery in self._waiting)
        self._idle += 1
        self._changed.wait(max(0.0, min(moments) - now))
        self._idle -= 1
        return self._clock() - now

    def _has_slot_locked(self) -> bool:
        return self._sending + len(self._waiting) < self._config.max_in_flight

    def _due_locked(self, now: float) -> Delivery | list[Queued] | None:
        for delivery in self._waiting:
            if delivery.due_at <= now:
                self._waiting.remove(delivery)
                return delivery
        while self._has_slot_locked() and (queued := self._batches.take(now)):
            fresh = [each for each in queued if now - each.admitted_at < self._config.max_age_s]
            expired = [each for each in queued if now - each.admitted_at >= self._config.max_age_s]
            self._drop_locked(expired, DropReason.EXPIRED)
            if fresh:
                return fresh
            self._batches.release(queued[0].key.session_id)
        return None

    def _assembled_or_dropped(self, queued: list[Queued]) -> Delivery | None:
        try:
            return self._assembled(queued)
        except Exception as error:  # noqa: BLE001 - events must leave the queue whatever happens
            self._report(Refused(DropReason.INTERNAL, f"{type(error).__name__}: {error}"), len(queued))
            with self._changed:
                self._drop_locked(queued, DropReason.INTERNAL)
                self._finish_locked(queued[0].key)
            return None

    def _assembled(self, queued: list[Queued]) -> Delivery | None:
        key = queued[0].key
        with self._changed:
            session = self._sessions.view(key.session_id)
        known = self._client.knows_session_metadata()
        assembled = assemble(queued, session, self._config, session_metadata=known)
        if assembled.lacks_domain:
            self._log.say(logging.WARNING, "domain", _NO_DOMAIN, quiet_s=_FOREVER_S)
        kept = [each for each in queued if each not in assembled.left]
        gone = {id(each) for each, _ in assembled.dropped}
        with self._changed:
            for each, reason in assembled.dropped:
                self._drop_locked([each], reason)
            if assembled.left:
                self._batches.give_back(assembled.left)
            if assembled.batch is None:
                self._finish_locked(key)
                return None
        return Delivery(assembled.batch, [each for each in kept if id(each) not in gone])

    def _attempt(self, delivery: Delivery, deadline: float | None) -> None:
        delivery.attempts += 1
        timeout_s = None if deadline is None else min(self._config.timeout_s, deadline - self._clock())
        try:
            verdict = self._client.attempt(delivery.batch, timeout_s)
        except Exception as error:  # noqa: BLE001 - a batch must leave the queue whatever happens
            verdict = Refused(DropReason.INTERNAL, f"{type(error).__name__}: {error}")
        verdict = self._judged(delivery, verdict)
        self._report(verdict, len(delivery.queued))  # before a shutdown that waits for it lets the process end
        with self._changed:
            self._counters.requests += 1
            self._settle_locked(delivery, verdict)
            self._changed.notify_all()

    def _judged(self, delivery: Delivery, verdict: Verdict) -> Verdict:
        """Return the verdict: refused, where another attempt would come too late."""
        if not isinstance(verdict, Retry):
            return verdict
        now = self._clock()
        due_at = retry_at(delivery, verdict, self._config, now, random.random)
        if due_at is None or self._closed:
            return Refused(DropReason.SHUTDOWN if self._closed else DropReason.EXPIRED, verdict.message)
        delivery.due_at, delivery.not_before = due_at, now + asked_wait_s(verdict)
        return verdict

    def _settle_locked(self, delivery: Delivery, verdict: Verdict) -> None:
        match verdict:
            case Delivered():
                self._end_locked(delivery.queued)
                self._counters.delivered += len(delivery.queued)
            case Refused(reason=reason):
                self._drop_locked(delivery.queued, reason)
            case Retry() if self._closed:
                self._drop_locked(delivery.queued, DropReason.SHUTDOWN)
            case Retry(cause=cause):
                self._counters.retried[cause] += 1
                self._waiting.append(delivery)
                self._sending -= 1
                return
        self._finish_locked(delivery.queued[0].key)

    def _finish_locked(self, key: BatchKey) -> None:
        self._sending -= 1
        self._batches.release(key.session_id)
        self._changed.notify_all()

    def _drop_locked(self, queued: Sequence[Queued], reason: DropReason) -> None:
        self._end_locked(queued)
        self._counters.events_dropped[reason] += len(queued)
        self._changed.notify_all()  # flushes wait for it
        if reason is not DropReason.DUPLICATE:
            self._lost.update(each.epoch for each in queued)

    def _end_locked(self, queued: Sequence[Queued]) -> None:
        self._outstanding.subtract(each.epoch for each in queued)
        if self._closed:
            # counted as lost at the shutdown, which did not wait any longer
            self._counters.events_dropped[DropReason.SHUTDOWN] -= len(queued)

    def _hasten_locked(self) -> None:
        """Let a flush try at once what waits for its next attempt, unless the service asked to wait."""
        for delivery in self._waiting:
            delivery.due_at = min(delivery.due_at, delivery.not_before)

    def _is_lost_locked(self, epoch: int) -> bool:
        """End a flush: tell whether anything of its epoch or earlier was lost. Flushes at the same time all learn it."""
        is_lost = any(each <= epoch for each in self._lost)
        self._flushing -= 1
        if not self._flushing:
            self._lost = Counter({each: number for each, number in self._lost.items() if each > epoch})
        return is_lost

    def _is_outstanding_locked(self, epoch: int) -> bool:
        for each in [each for each, number in self._outstanding.items() if not number and each < self._epoch]:
            del self._outstanding[each]
        return any(number and each <= epoch for each, number in self._outstanding.items())

    def _report(self, verdict: Verdict, events: int) -> None:
        match verdict:
            case Refused(reason=DropReason.SHUTDOWN):
                pass  # the shutdown has said so
            case Refused(reason=reason, message=message):
                text = f"{events} events were dropped ({reason}): {printable(message)}"
                self._log.say(logging.ERROR, str(reason), text)
            case Retry(cause=cause, message=message):
                text = f"A request with {events} events failed and will be tried again: {printable(message)}"
                self._log.say(logging.WARNING, cause, text)
            case Delivered():
                pass

    def _start_after_unnoticed_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin_in_child()


def _is_of_boto(item: SpanItem | LogItem) -> bool:
    """Tell whether a log record comes from boto3: on DEBUG it logs the exceptions of sending, which would be sent.

    Batch processors clear a record's context, so that cannot tell its own requests from the application's.
    """
    scope = item.instrumentation_scope
    return scope is not None and str(scope.name).startswith(_BOTO_LOGGERS) and hasattr(item, "log_record")


@contextmanager
def _suppressed() -> Iterator[None]:
    """Let no instrumentation make telemetry out of sending telemetry."""
    token = otel_context.attach(otel_context.set_value("suppress_instrumentation", value=True))
    try:
        yield
    finally:
        otel_context.detach(token)


_NO_MONITOR = (
    "No app monitor id: set OTEL_EXPORTER_RUM_APP_MONITOR_ID, or the resource attribute aws.rum.appmonitor.id. "
    "Until then everything is dropped and counted."
)
_NO_SESSION = (
    "Spans and logs without the attribute session.id are dropped, since this process serves the sessions of others. "
    "Set session.id on them, or OTEL_EXPORTER_RUM_SESSION=process to put them into one session of this process."
)
_MERGED = (
    "Requests of others without the attribute session.id are merged into the session of this process, as "
    "OTEL_EXPORTER_RUM_SESSION=process asks for. Set session.id on their spans to tell their users apart."
)
_NO_DOMAIN = (
    "Events are sent with the domain localhost, since no item names its page. Set OTEL_EXPORTER_RUM_DOMAIN to the "
    "domain that the app monitor is registered for."
)
