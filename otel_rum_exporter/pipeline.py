"""Admit items, flush, shut down, survive a fork: what exporters call.

`export` converts on the caller's thread and buffers, or commits to the spool; it never waits for the network.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from opentelemetry.metrics import MeterProvider

from otel_rum_exporter import uwsgi
from otel_rum_exporter.callers.callers import CALLERS
from otel_rum_exporter.callers.joining import Converted, is_inner, join_log, join_span
from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.convert.spans import ENTRY_KINDS
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.instruments import LOGS, SPANS, Signal
from otel_rum_exporter.items import LogItem, SpanItem
from otel_rum_exporter.metrics import PipelineMetrics, metrics_of
from otel_rum_exporter.notices import Notices
from otel_rum_exporter.sending.batching import Stored
from otel_rum_exporter.sending.ledger import Ledger, Loaded
from otel_rum_exporter.sending.workers import Workers
from otel_rum_exporter.sessions.session import Keyed
from otel_rum_exporter.stats import Statistics

if TYPE_CHECKING:
    from otel_rum_exporter.spool.store import Store

_SENDING_LOGGERS = ("boto3.", "botocore.", "urllib3.", "otel_rum_exporter.")

_ANSWERS_SHARE = 0.25  # of the time at the end, with a spool: whose requests are cut off are sent again from there
_LAST_WAIT_S = 0.05  # at the end, for others who hold the spool's file, however late it is by then

_logger = logging.getLogger(__name__)


_pipelines: weakref.WeakSet[Pipeline] = weakref.WeakSet()
_beginnings: dict[int, threading.Lock] = {}  # by process: none is held by a thread that is not here


def _begin_in_child() -> None:
    """Begin anew with each pipeline after a fork: one hook for all, since `os` never forgets any."""
    for pipeline in list(_pipelines):
        pipeline.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class Admission(Struct, frozen=True):
    """What became of items that the pipeline was given.

    Attributes:
        is_taken: False when nothing can be admitted any more.
        is_kept: Whether the events wait where they should: each is on disk, if there is a spool, and none gave way
            for want of room.
        dropped: How many items became no event, by reason.
    """

    is_taken: bool
    is_kept: bool
    dropped: Mapping[DropReason, int]


class Pipeline:
    """Converts, keeps and delivers what the exporters of one configuration are given."""

    def __init__(
        self,
        config: RumConfig,
        *,
        is_configured: bool = True,
        patience_s: float = 0.0,
        takes_whole: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare everything; start nothing.

        Args:
            config: The configuration.
            is_configured: False for a pipeline that only counts what it is given as dropped.
            patience_s: For how long admission waits for a spool that is held by others, or by a disk that is slow; an
                application's threads hardly do.
            takes_whole: Whether items for whose events there is no room in memory are not taken at all, all of a call and
                without a trace: for senders that send them again, and would find that all of it was reported before.
            clock: Monotonic seconds.
        """
        self._config = config
        self._is_configured = is_configured
        self._patience_s, self._takes_whole = patience_s, takes_whole
        self._clock = clock
        self._converter = Converter(config)
        self._log = Notices(_logger, clock)
        self._metrics: PipelineMetrics | None = None
        self._begin()
        self._pid = os.getpid()
        if is_configured and (advice := uwsgi.advice()):
            self._log.say(logging.WARNING, "uwsgi", advice)
        _pipelines.add(self)

    def _begin(self) -> None:
        """Start with nothing queued, nothing counted and no thread."""
        self._ledger = Ledger(self._config)
        self._client = RumClient(self._config)
        self._store = _store(self._config) if self._config.spool_dir is not None else None
        self._workers = Workers(self._config, self._ledger, self._client, self._store, log=self._log, clock=self._clock)
        self._workers.metrics = self._metrics
        self._workers.may_start_threads = uwsgi.threads_run()
        self._changed = self._workers.changed
        self._closing = False

    def begin_in_child(self) -> None:
        """Leave to the parent what it admitted; its lock and its connections are not the child's."""
        serves_others, is_shut = self._ledger.sessions.serves_others, self._closing
        if self._store is not None:
            self._store.abandon()
        self._begin()
        self._log.begin_in_child()
        self._ledger.sessions.serves_others = serves_others
        self._ledger.sessions.start_none()
        self._closing = self._workers.is_closed = is_shut
        self._pid = os.getpid()

    def _begin_after_unnoticed_fork(self) -> None:
        """Begin in a child of which Python was not told: the first thread that comes does, the others wait for it."""
        if self._pid == os.getpid():
            return
        with _beginnings.setdefault(os.getpid(), threading.Lock()):
            if self._pid != os.getpid():
                self.begin_in_child()

    def measure(self, provider: MeterProvider) -> None:
        """Report to a meter provider: the first one that this is called with. One thread at a time may."""
        if self._metrics is None:
            self._metrics = metrics_of(self._config, self.stats, provider, self._log, self._clock)
            self._workers.metrics = self._metrics

    # what exporters call

    def export_spans(self, spans: Sequence[SpanItem], *, is_shut: bool = False) -> bool:
        """Admit spans. Returns False when nothing can be admitted any more, here or by the exporter that `is_shut`."""
        return self.admit_spans(spans, is_shut=is_shut).is_taken

    def export_logs(self, logs: Sequence[LogItem], *, is_shut: bool = False) -> bool:
        """Admit log records, as `export_spans` does spans."""
        return self.admit_logs(logs, is_shut=is_shut).is_taken

    def admit_spans(self, spans: Sequence[SpanItem], *, is_shut: bool = False) -> Admission:
        """Admit spans, and tell what became of them."""
        looks = self._config.session == "process" or not self._ledger.sessions.serves_others
        if looks and any(map(_serves_others, spans)):
            self._serve_others(spans)
        convert = self._span if CALLERS.has_processor else self._converter.span
        return self._export(SPANS, spans, convert, is_shut=is_shut)

    def admit_logs(self, logs: Sequence[LogItem], *, is_shut: bool = False) -> Admission:
        """Admit log records, and tell what became of them."""
        ids = LogEventIds()
        return self._export(LOGS, logs, lambda log: self._log_record(log, ids), is_shut=is_shut)

    def flush(self, timeout_s: float) -> bool:
        """Deliver what was admitted so far, or have it on disk. Returns whether all of it is, within the timeout.

        Where nothing can be delivered before the timeout, as far as is known, it does not wait for it.
        """
        deadline = self._clock() + timeout_s
        self._begin_after_unnoticed_fork()
        ledger, workers = self._ledger, self._workers
        with self._changed:
            epoch = ledger.begin_flush(self._clock())
            workers.ensure_thread_locked()

        def is_over() -> bool:
            return workers.is_closed or ledger.is_flushed(epoch) or ledger.dispatch.is_stuck(self._clock(), deadline)

        while not self._others_deliver(is_over, deadline):
            workers.work(until=is_over, deadline=deadline)
        with self._changed:
            is_safe, is_on_disk = ledger.end_flush(epoch), ledger.statistics().queued > 0
        if self._store is not None:
            workers.tell()  # whoever flushes may end the process, before those who delivered come to that
            self._store.await_settled()
            if is_on_disk:
                is_safe = self._store.secure() and is_safe
        return is_safe

    def _others_deliver(self, is_over: Callable[[], bool], deadline: float) -> bool:
        """Wait until a flush is over or its deadline passes. Returns False as soon as no thread is there to deliver."""
        with self._changed:
            while not is_over() and (left := deadline - self._clock()) > 0:
                if not self._workers.has_thread:
                    return False
                self._changed.wait(left)
        return True

    def shutdown(self, timeout_s: float) -> None:
        """Deliver what is left until the timeout, drop and count the rest, and admit nothing more.

        With a spool the last quarter of the time is for the answers to requests that are out, since what has none is sent
        again at the next start. The rest is kept on disk; for that there is a moment more where somebody else holds the file.
        """
        deadline = self._clock() + timeout_s
        self._begin_after_unnoticed_fork()
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._ledger.dispatch.begin_close()
        self.flush(timeout_s if self._store is None else timeout_s * (1 - _ANSWERS_SHARE))
        with self._changed:
            self._workers.close_locked()
            self._await_answers_locked(deadline)
        if self._store is not None:
            self._workers.save_all(self._store, wait_s=max(_LAST_WAIT_S, deadline - self._clock()))
        with self._changed:
            self._ledger.close()
        self._workers.tell()
        if self._store is not None:
            self._count_lost(self._store.close())
        self._client.close()
        self._log.ended(self.stats())

    def _await_answers_locked(self, deadline: float) -> None:
        """Wait for what is being sent: what the flush had no time for, or what came from disk or was admitted meanwhile.

        What is delivered after the end stays on disk, and would be sent again.
        """
        while self._ledger.dispatch.is_sending and (left := deadline - self._clock()) > 0:
            self._changed.wait(left)

    def _count_lost(self, events: int) -> None:
        """Count what is lost with a spool file, of this process's events and of those that it had not read yet."""
        with self._changed:
            own = min(events, max(0, self._ledger.statistics().queued))
            for number, is_own in ((own, True), (events - own, False)):
                self._ledger.load(Loaded([], 0, number, is_own=is_own), self._clock())

    def stats(self) -> Statistics:
        """Return what became of everything so far."""
        with self._changed:
            statistics = self._ledger.statistics()
        if self._store is None:
            return statistics
        return replace(statistics, **self._store.numbers()._asdict())

    # admission

    def _export(
        self,
        signal: Signal,
        items: Sequence[SpanItem] | Sequence[LogItem],
        convert: Callable[..., Converted],
        *,
        is_shut: bool,
    ) -> Admission:
        if self._metrics is None:
            return self._admit(items, convert, is_shut=is_shut)
        with self._metrics.exporting(signal, len(items)) as export:
            admission = self._admit(items, convert, is_shut=is_shut)
            export.dropped, export.is_refused = admission.dropped, not admission.is_taken
        return admission

    def _admit(
        self, items: Sequence[SpanItem] | Sequence[LogItem], convert: Callable[..., Converted], *, is_shut: bool
    ) -> Admission:
        self._begin_after_unnoticed_fork()
        is_taken = self._is_configured and not self._closing and not is_shut
        converted = self._converted(items, convert) if is_taken else []
        with self._changed:
            if not is_taken or self._closing:  # perhaps meanwhile
                reason = DropReason.SHUTDOWN if self._is_configured else DropReason.NOT_CONFIGURED
                self._ledger.refuse(len(items), reason)
                return Admission(is_taken=False, is_kept=False, dropped={reason: len(items)})
            if self._takes_whole and self._store is None and not self._ledger.has_room_for(converted):
                return Admission(is_taken=True, is_kept=False, dropped={})
            events, reasons = self._ledger.join(converted, self._clock())
            if self._store is None:
                overflowed = self._ledger.overflowed
                self._queue_locked(events, [None] * len(events))
                is_kept = self._ledger.overflowed == overflowed
        if self._store is not None:
            is_kept = self._commit(self._store, events, has_duplicates=DropReason.DUPLICATE in reasons)
        with self._changed:
            self._workers.ensure_thread_locked()
        self._workers.tell()
        self._workers.deliver_inline()
        self._log.explain(reasons)
        return Admission(is_taken=True, is_kept=is_kept, dropped=reasons)

    def _commit(self, store: Store, events: Sequence[Keyed], *, has_duplicates: bool) -> bool:
        """Keep events on disk, and let them wait. Returns whether all of them are on disk, and what they repeat."""
        stored = store.keep(events, self._patience_s)
        with self._changed:
            left = self._queue_locked(events, stored)
            is_kept = None not in stored and not (has_duplicates and self._ledger.has_unstored)
        store.leave(left)
        return is_kept

    def _queue_locked(self, events: Sequence[Keyed], stored: Sequence[Stored | None]) -> list[Stored]:
        """Let events wait for their batch; where the overflow policy is to block, as many at a time as there is room for."""
        until = self._clock() + self._config.timeout_s
        left: list[Stored] = []
        number = len(events)
        while events:
            if self._config.overflow == "block" and None in stored:  # what is on disk may leave memory to others
                number = max(1, self._await_room_locked(events, until))
            left += self._ledger.queue(events[:number], stored[:number], self._clock())
            events, stored = events[number:], stored[number:]
        return left

    def _await_room_locked(self, events: Sequence[Keyed], until: float) -> int:
        """Wait until there is room, for as long as an attempt may take. Returns for how many of the events there is."""
        ledger, workers = self._ledger, self._workers
        workers.ensure_thread_locked()
        while not (fitting := ledger.fitting(events)) and not ledger.is_empty and workers.has_thread:
            left = until - self._clock()
            if left <= 0 or self._closing or ledger.dispatch.is_oldest_parked():
                break
            self._changed.wait(left)
        return fitting

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
        if _is_of_sending(log):
            return DropReason.SELF_TRAFFIC
        return join_log(self._converter.log(log, ids), log, process_takes_all=self._config.session == "process")

    def _converted(
        self, items: Sequence[SpanItem] | Sequence[LogItem], convert: Callable[..., Converted]
    ) -> list[Converted]:
        converted: list[Converted] = []
        for item in items:
            try:
                converted.append(convert(item))
            except Exception as error:  # noqa: BLE001, PERF203 - an item's fault must not be the application's
                self._log.unconvertible(error)
                converted.append(DropReason.UNCONVERTIBLE)
        return converted


def _store(config: RumConfig) -> Store:
    """Return the spool. SQLite and what goes with it are a quarter of what is imported, so only who has one does."""
    from otel_rum_exporter.spool.store import Store  # noqa: PLC0415 - see above

    return Store(config)


def _serves_others(span: SpanItem) -> bool:
    return getattr(span, "kind", None) in ENTRY_KINDS


def _is_of_sending(log: LogItem) -> bool:
    """Tell whether a log record is about sending: boto3 logs the exceptions of that on DEBUG, and so does this package.

    Batch processors clear a record's context, so that cannot tell its own requests from the application's.
    """
    scope = log.instrumentation_scope
    return scope is not None and str(scope.name).startswith(_SENDING_LOGGERS)
