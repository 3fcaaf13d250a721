"""The pipeline without threads, clock and network: items go in, batches come out at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from otel_rum_exporter.client.verdicts import Delivered
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.events import AppMonitor, Batch
from otel_rum_exporter.otlp import Log, Span
from otel_rum_exporter.sending.assembly import assemble
from otel_rum_exporter.sending.delivery import Delivery
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sessions.identity import ProcessSession
from otel_rum_exporter.stats import Statistics
from otel_rum_exporter.testing import APP_MONITOR_ID

PROCESS_SESSION_ID = "00000000-0000-4000-8000-000000000000"
"""The session of items without one, where the option `session` is `process`: a fixed one, so that output repeats."""


class Offline:
    """Converts items as the pipeline does, and keeps their events until the end.

    Args:
        config: The configuration. The session mode `auto` is `require`: files hold what other processes reported.
    """

    def __init__(self, config: RumConfig) -> None:
        mode = "require" if config.session == "auto" else config.session
        # pages are resolved at the end, so nothing may be forgotten, dropped or too old before
        most = sys.maxsize
        self._config = replace(
            config,
            session=mode,
            context_sessions=most,
            context_bytes=most,
            queue_events=most,
            queue_bytes=most,
            max_age=most,
            max_requests_per_second=most,
        )
        self._converter = Converter(self._config)
        self._ledger = Ledger(
            self._config,
            process_session=ProcessSession(PROCESS_SESSION_ID),
            default_monitor=AppMonitor(APP_MONITOR_ID),
        )
        self._position = 0.0  # stands in for the time, so that batches keep the order of the files

    def add(self, items: Sequence[Span | Log]) -> None:
        """Take the items of one request."""
        ids = LogEventIds()
        for item in items:
            self._position += 1
            converted = self._converter.span(item) if isinstance(item, Span) else self._converter.log(item, ids)
            self._ledger.admit([converted], self._position)

    def batches(self) -> Iterator[Batch]:
        """Yield everything as batches, in the order of their oldest events."""
        ledger = self._ledger
        ledger.begin_flush(self._position)
        while (job := ledger.take(self._position)) is not None:
            if not isinstance(job, Delivery):
                delivery = ledger.keep(
                    job,
                    assemble(job, ledger.session_of(job), self._config, session_metadata=True),
                    self._position,
                )
                if delivery is not None:
                    yield delivery.part.batch
                    ledger.settle(delivery, Delivered(), self._position)

    def statistics(self) -> Statistics:
        """Return what became of everything so far."""
        return self._ledger.statistics()
