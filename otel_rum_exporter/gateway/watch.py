"""Looks at the pipeline now and then: whether there is room for more, and whether the gateway is of use at present."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.stats import Statistics

EVERY_S = 0.5

_SPOOL_FULL = 0.98  # from where on nothing is taken: what is on its way in has room
_SPOOL_UNREADY = 0.9
_MEMORY_FULL = 0.9
_CIRCUIT_OPEN_S = 60.0


class Watch:
    """What is known of the pipeline.

    Attributes:
        is_draining: Whether the gateway is about to stop.
        shortage: Why nothing more can be taken at present; empty if it can.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        config: RumConfig,
        clock: Callable[[], float],
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Watch a pipeline.

        Args:
            pipeline: The pipeline.
            config: Its configuration.
            clock: Monotonic seconds.
            free_bytes: Returns how much room there is on a path's disk.
        """
        self._pipeline = pipeline
        self._config = config
        self._clock = clock
        self._free_bytes = free_bytes
        self._opened_at: float | None = None  # since when the circuit is not closed
        self._latest = pipeline.stats()
        self.is_draining = False
        self.shortage = ""

    def look(self) -> Statistics:
        """Look at the pipeline; waits for its lock, so not on the thread of the event loop."""
        now = self._latest = self._pipeline.stats()
        if now.circuit == "closed":
            self._opened_at = None
        elif self._opened_at is None:
            self._opened_at = self._clock()
        self.shortage = self._shortage(now)
        return now

    def _shortage(self, now: Statistics) -> str:
        config = self._config
        if config.spool_dir is None:
            share = max(now.queued / config.queue_events, now.queued_bytes / config.queue_bytes)
            return "the queue is full" if share >= _MEMORY_FULL else ""
        if self._spool_share(now) >= _SPOOL_FULL:
            return "the spool is full"
        try:
            is_short = self._free_bytes(config.spool_dir) < config.spool_reserve_bytes
        except OSError:  # the directory was removed; the spool puts it back
            is_short = False
        return "the spool's disk is full" if is_short else ""

    def _spool_share(self, now: Statistics) -> float:
        return now.spooled_bytes / self._config.spool_max_bytes

    def troubles(self) -> list[str]:
        """Return why requests had better go elsewhere, as of the last look."""
        troubles = ["draining"] if self.is_draining else []
        if self.shortage:
            troubles.append(self.shortage)
        elif self._config.spool_dir is not None and self._spool_share(self._latest) >= _SPOOL_UNREADY:
            troubles.append("the spool is nearly full")
        if self._opened_at is not None and self._clock() - self._opened_at >= _CIRCUIT_OPEN_S:
            troubles.append("CloudWatch RUM has not answered for a minute")
        return troubles
