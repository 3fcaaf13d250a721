"""Looks at the pipeline now and then: whether there is room for more, and whether the gateway is of use at present."""

from __future__ import annotations

from collections.abc import Callable

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.stats import Statistics

EVERY_S = 0.5

_SPOOL_FULL = 0.98  # from where on nothing is taken: what is on its way in has room
_SPOOL_UNREADY = 0.9
_MEMORY_FULL = 0.9
_CIRCUIT_OPEN_S = 60.0
_AGAIN_S = 2.0  # after which a request finds out whether events can be kept again
_UNKEPT_S = 10.0  # for which others had better go elsewhere; then some must come to find out


class Watch:
    """What is known of the pipeline.

    Attributes:
        is_draining: Whether the gateway is about to stop.
    """

    def __init__(self, pipeline: Pipeline, config: RumConfig, clock: Callable[[], float]) -> None:
        """Watch a pipeline. `clock` gives monotonic seconds."""
        self._pipeline = pipeline
        self._config = config
        self._clock = clock
        self._opened_at: float | None = None  # since when the circuit is not closed
        self._unkept_at: float | None = None  # when last events could not be kept, and none were since
        self._try_at = 0.0
        self._latest = pipeline.stats()
        self.is_draining = False

    def look(self) -> Statistics:
        """Look at the pipeline; waits for its lock, so not on the thread of the event loop."""
        now = self._latest = self._pipeline.stats()
        if now.circuit == "closed":
            self._opened_at = None
        elif self._opened_at is None:
            self._opened_at = self._clock()
        return now

    def note(self, *, is_kept: bool) -> None:
        """Take note of whether a request's events were kept where they should be."""
        if is_kept:
            self._unkept_at = None
        else:
            self._unkept_at = self._clock()
            self._try_at = self._unkept_at + _AGAIN_S

    def shortage(self) -> str:
        """Return why a request is to be turned away; empty if it is not.

        While events cannot be kept, a request every two seconds is let in to find out.
        """
        if full := self._full():
            return full
        now = self._clock()
        if self._unkept_at is None or now >= self._try_at:
            self._try_at = now + _AGAIN_S
            return ""
        return "events cannot be kept at present"

    def troubles(self) -> list[str]:
        """Return why requests had better go elsewhere."""
        now, config = self._clock(), self._config
        troubles = ["the gateway is about to stop"] if self.is_draining else []
        if full := self._full():
            troubles.append(full)
        elif config.spool_dir is not None and self._spool_share >= _SPOOL_UNREADY:
            troubles.append("the spool is nearly full")
        if self._unkept_at is not None and now - self._unkept_at < _UNKEPT_S:
            troubles.append("events cannot be kept at present")
        if self._opened_at is not None and now - self._opened_at >= _CIRCUIT_OPEN_S:
            troubles.append("CloudWatch RUM has not answered for a minute")
        return troubles

    def _full(self) -> str:
        """Return what is full as of the last look."""
        config, latest = self._config, self._latest
        if config.spool_dir is not None and self._spool_share >= _SPOOL_FULL:
            return "the spool is full"
        if config.spool_dir is not None and self._unkept_at is None:
            return ""  # what is on disk may leave the memory to others
        share = max(latest.queued / config.queue_events, latest.queued_bytes / config.queue_bytes)
        return "the queue is full" if share >= _MEMORY_FULL else ""

    @property
    def _spool_share(self) -> float:
        return self._latest.spooled_bytes / self._config.spool_max_bytes
