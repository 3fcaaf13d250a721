"""The pipeline without threads, clock and network: items go in, batches come out at the end."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from otel_rum_exporter.assembly import assemble
from otel_rum_exporter.batching import Batches
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Conversion, Converter, LogEventIds
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import AppMonitor, Batch
from otel_rum_exporter.otlp import Log, Span
from otel_rum_exporter.session import Keyed, Sessions
from otel_rum_exporter.testing import APP_MONITOR_ID

PROCESS_SESSION_ID = "00000000-0000-4000-8000-000000000000"
"""The session of items without one, where the option `session` is `process`: a fixed one, so that output repeats."""

_NO_MONITOR = AppMonitor(APP_MONITOR_ID)
_EPOCH = 0
_NOW = 0.0  # of all sessions: nothing grows old here


class Offline:
    """Converts items as the pipeline does, and keeps their events until the end.

    Shape:  every item is counted in `items_dropped` or has events; every event is in a batch or in `events_dropped`.

    Args:
        config: The configuration. The session mode `auto` is `require`: files hold what other processes reported.
    """

    def __init__(self, config: RumConfig) -> None:
        mode = "require" if config.session == "auto" else config.session
        # pages are resolved at the end, so that no session may be forgotten before
        self._config = replace(config, session=mode, context_sessions=sys.maxsize)
        self._converter = Converter(self._config)
        self._sessions = Sessions(self._config, PROCESS_SESSION_ID)
        self._batches = Batches(config.max_events, config.max_bytes, linger_s=math.inf)
        self._position = 0
        self.items_dropped: Counter[DropReason] = Counter()
        self.events_dropped: Counter[DropReason] = Counter()

    def add(self, items: Sequence[Span | Log]) -> None:
        """Take the items of one request."""
        ids = LogEventIds()
        for item in items:
            converted = self._converter.span(item) if isinstance(item, Span) else self._converter.log(item, ids)
            self._admit(converted)

    def _admit(self, converted: Conversion | DropReason) -> None:
        keyed: list[Keyed] | DropReason
        if isinstance(converted, DropReason):
            keyed = converted
        else:
            keyed = self._sessions.admit(converted, converted.origin.monitor or _NO_MONITOR, _NOW)
        if isinstance(keyed, DropReason):
            self.items_dropped[keyed] += 1
            return
        self._position += 1
        for each in keyed:
            # the position stands in for the time, so that batches keep the order of the files
            if self._batches.add(each, float(self._position), _EPOCH):
                self.events_dropped[DropReason.DUPLICATE] += 1

    def batches(self) -> Iterator[Batch]:
        """Yield everything as batches, in the order of their oldest events."""
        self._batches.flush(_EPOCH)
        while queued := self._batches.take(math.inf):
            session_id = queued[0].key.session_id
            view = self._sessions.view(session_id)
            assembled = assemble(queued, view, self._config, session_metadata=True)
            self.events_dropped.update(reason for _, reason in assembled.dropped)
            if assembled.left:
                self._batches.give_back(assembled.left)
            self._batches.release(session_id)
            if assembled.batch:
                yield assembled.batch
