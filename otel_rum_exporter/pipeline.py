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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context

from otel_rum_exporter.assembly import assemble
from otel_rum_exporter.batching import Queued
from otel_rum_exporter.client import RumClient
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.convert.spans import ENTRY_KINDS
from otel_rum_exporter.delivery import Delivery, asked_wait_s, retry_at
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.items import LogItem, SpanItem
from otel_rum_exporter.joining import Converted, is_inner, join_log, join_span
from otel_rum_exporter.ledger import Job, Ledger
from otel_rum_exporter.notices import Notices
from otel_rum_exporter.stats import Statistics
from otel_rum_exporter.verdicts import Refused, Retry, Verdict

_IDLE_S = 30.0  # after which a thread that is not the only one ends
_BOTO_LOGGERS = ("boto3.", "botocore.", "urllib3.")

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
        self._log = Notices(_logger, clock)
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin_in_child = weakref.WeakMethod(self._begin_in_child)
            os.register_at_fork(after_in_child=lambda: (begin := begin_in_child()) and begin())

    def _begin(self) -> None:
        """Start with nothing queued, nothing counted and no thread."""
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._ledger = Ledger(self._config)
        self._client = RumClient(self._config)
        self._threads = 0
        self._idle = 0
        self._closing = False
        self._closed = False

    def _begin_in_child(self) -> None:
        """Leave to the parent what it admitted; its lock and its connections are not the child's."""
        serves_others, is_shut = self._ledger.sessions.serves_others, self._closing
        self._begin()
        self._log.begin_in_child()
        self._ledger.sessions.serves_others = serves_others
        self._ledger.sessions.start_none()
        self._closing = self._closed = is_shut

    def _begin_after_unnoticed_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin_in_child()

    # what exporters call

    def export_spans(self, spans: Sequence[SpanItem], *, is_shut: bool = False) -> bool:
        """Admit spans. Returns False when nothing can be admitted any more, here or by the exporter that `is_shut`."""
        if self._config.session != "require" and any(_serves_others(span) for span in spans):
            self._serve_others(spans)
        return self._export(spans, self._span, is_shut=is_shut)

    def export_logs(self, logs: Sequence[LogItem], *, is_shut: bool = False) -> bool:
        """Admit log records, as `export_spans` does spans."""
        ids = LogEventIds()
        return self._export(logs, lambda log: self._log_record(log, ids), is_shut=is_shut)

    def flush(self, timeout_s: float) -> bool:
        """Deliver what was admitted so far. Returns whether all of it was, within the timeout."""
        deadline = self._clock() + timeout_s
        self._begin_after_unnoticed_fork()
        with self._changed:
            ledger, epoch = self._ledger, self._ledger.begin_flush()
            self._ensure_thread_locked()
            self._changed.notify_all()
            delivers_itself = self._threads == 0 and not ledger.is_flushed(epoch)
        if delivers_itself:
            self._work(until=lambda: ledger.is_flushed(epoch), deadline=deadline)
        with self._changed:
            while not ledger.is_flushed(epoch) and (left := deadline - self._clock()) > 0:
                self._changed.wait(left)
            return ledger.end_flush(epoch)

    def shutdown(self, timeout_s: float) -> None:
        """Deliver what is left until the timeout, drop and count the rest, and admit nothing more."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
        self.flush(timeout_s)
        with self._changed:
            lost = self._ledger.close()
            self._closed = True
            self._changed.notify_all()
        self._log.left_at_shutdown(lost)

    def stats(self) -> Statistics:
        """Return what became of everything so far."""
        with self._changed:
            return self._ledger.statistics()

    # admission

    def _export(
        self, items: Sequence[SpanItem] | Sequence[LogItem], convert: Callable[..., Converted], *, is_shut: bool
    ) -> bool:
        self._begin_after_unnoticed_fork()
        is_taken = self._is_configured and not self._closing and not is_shut
        converted = [self._converted(item, convert) for item in items] if is_taken else []
        now = self._clock()
        with self._changed:
            if not is_taken or self._closing:  # perhaps meanwhile
                reason = DropReason.SHUTDOWN if self._is_configured else DropReason.NOT_CONFIGURED
                self._ledger.refuse(len(items), reason)
                return False
            reasons = self._ledger.admit(converted, now)
            losses = self._ledger.take_losses()
            self._ensure_thread_locked()
            self._changed.notify_all()
        self._log.explain(reasons)
        self._log.lost(losses)
        return True

    def _serve_others(self, spans: Sequence[SpanItem]) -> None:
        """Stop taking what has no session for the process's own, or say that others' spans are among it."""
        if self._config.session == "auto":
            self._ledger.sessions.serves_others = True
        elif any(_serves_others(span) and "session.id" not in (span.attributes or ()) for span in spans):
            self._log.merged()

    def _span(self, span: SpanItem) -> Converted:
        with_itself = self._config.stamp_all_spans or not is_inner(span)
        converted = self._converter.span(span, with_itself=with_itself)
        return join_span(converted, span, process_takes_all=self._config.session == "process")

    def _log_record(self, log: LogItem, ids: LogEventIds) -> Converted:
        return join_log(self._converter.log(log, ids), log, process_takes_all=self._config.session == "process")

    def _converted(self, item: SpanItem | LogItem, convert: Callable[..., Converted]) -> Converted:
        try:
            return DropReason.SELF_TRAFFIC if _is_of_boto(item) else convert(item)
        except Exception as error:  # noqa: BLE001 - an item's fault must not be the application's
            self._log.unconvertible(error)
            return DropReason.UNCONVERTIBLE

    # delivery

    def _ensure_thread_locked(self) -> None:
        due_in = self._ledger.batches.due_in(self._clock())
        is_wanted = self._threads == 0 or (self._idle == 0 and due_in == 0 and self._ledger.has_slot)
        if due_in is None or not is_wanted or self._threads >= self._config.max_in_flight:
            return
        thread = threading.Thread(target=self._run, name="RumExporter", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is about to exit, or the system has no more threads
            return
        self._threads += 1

    def _run(self) -> None:
        try:
            self._work(until=lambda: self._closed, deadline=None)
        except Exception as error:  # noqa: BLE001 - the next admission starts another thread
            self._log.verdict(_fault(error), 0)
            with self._changed:
                self._threads -= 1

    def _work(self, until: Callable[[], bool], deadline: float | None) -> None:
        """Deliver what is due until a condition holds, the deadline passes or, on a thread, nothing comes any more."""
        with _suppressed():
            while (job := self._next_job(until, deadline)) is not None:
                delivery = job if isinstance(job, Delivery) else self._assembled(job)
                self._tell_losses()
                if delivery is not None:
                    self._attempt(delivery, deadline)
            self._tell_losses()

    def _tell_losses(self) -> None:
        with self._changed:
            losses = self._ledger.take_losses()
        self._log.lost(losses)

    def _next_job(self, until: Callable[[], bool], deadline: float | None) -> Job | None:
        with self._changed:
            waited_s = 0.0
            while not until():
                now = self._clock()
                if deadline is not None and now >= deadline:
                    return None
                dropped = self._ledger.dropped
                job = self._ledger.take(now)
                if self._ledger.dropped != dropped:  # what was too old is gone, and flushes wait for it
                    self._changed.notify_all()
                if job is not None:
                    self._ensure_thread_locked()
                    return job
                if deadline is None and waited_s >= _IDLE_S and self._threads > 1:
                    break
                waited_s += self._wait_locked(now, deadline)
            if deadline is None:
                self._threads -= 1
            return None

    def _wait_locked(self, now: float, deadline: float | None) -> float:
        longest = _IDLE_S if deadline is None else deadline - now
        due_in = self._ledger.due_in(now)
        self._idle += 1
        self._changed.wait(longest if due_in is None else min(longest, due_in))
        self._idle -= 1
        return self._clock() - now

    def _assembled(self, queued: list[Queued]) -> Delivery | None:
        with self._changed:
            session = self._ledger.session_of(queued)
        try:
            known = self._client.knows_session_metadata()
            assembled = assemble(queued, session, self._config, session_metadata=known)
        except Exception as error:  # noqa: BLE001 - events must leave the queue whatever happens
            self._log.verdict(_fault(error), len(queued))
            with self._changed:
                self._ledger.fail(queued)
                self._changed.notify_all()
            return None
        if assembled.lacks_domain:
            self._log.no_domain()
        with self._changed:
            self._changed.notify_all()
            return self._ledger.keep(queued, assembled)

    def _attempt(self, delivery: Delivery, deadline: float | None) -> None:
        delivery.attempts += 1
        timeout_s = None if deadline is None else min(self._config.timeout_s, deadline - self._clock())
        try:
            verdict = self._client.attempt(delivery.batch, timeout_s)
        except Exception as error:  # noqa: BLE001 - a batch must leave the queue whatever happens
            verdict = _fault(error)
        verdict = self._judged(delivery, verdict)
        self._log.verdict(verdict, len(delivery.queued))  # before a shutdown that waits for it lets the process end
        with self._changed:
            self._ledger.settle(delivery, verdict)
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


def _serves_others(span: SpanItem) -> bool:
    return getattr(span, "kind", None) in ENTRY_KINDS


def _fault(error: Exception) -> Refused:
    return Refused(DropReason.INTERNAL, f"{type(error).__name__}: {error}")


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
