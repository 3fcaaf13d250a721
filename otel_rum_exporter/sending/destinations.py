"""App monitors that take nothing at present: now and then one of their batches finds out. Pure."""

from __future__ import annotations

import math

from msgspec import Struct

from otel_rum_exporter.drops import ParkReason
from otel_rum_exporter.sending.delivery import SUSPECTS, Rejection

_FIRST_PROBE_S, _LONGEST_PROBE_S = 30.0, 300.0
_HURRIED_S = 1.0  # between probes that flushes ask for
_GOOD_S = 300.0  # for which an app monitor that took a batch is known to be well


class Destination(Struct):
    """What is known of an app monitor. Units: seconds of the pipeline's clock."""

    parked: ParkReason | None = None
    """Why it takes nothing; None while it does."""
    probe_at: float = math.inf
    probed_at: float = -math.inf
    delivered_at: float = -math.inf
    is_probing: bool = False
    probes: int = 0
    refused: int = 0
    """Batches of single events that were refused one after the other, with the same words."""
    message: str = ""

    def is_known_good(self, now: float) -> bool:
        """Tell whether it took a batch lately, so that events must be at fault that it does not take."""
        return now - self.delivered_at < _GOOD_S

    def due_in(self, now: float) -> float:
        """Return in how many seconds the next probe is due; infinity while one is on its way, or none is needed."""
        return math.inf if self.parked is None or self.is_probing else max(0.0, self.probe_at - now)

    def begin_probe(self, now: float) -> None:
        """Take note that a probe leaves."""
        self.is_probing, self.probed_at = True, now

    def park(self, reason: ParkReason, now: float) -> None:
        """Take note that it takes nothing, so that batches wait: after the first time for 30 s, then twice as long each time, five minutes at most."""
        if self.parked is None or self.is_probing:  # what was on its way along with others says nothing new
            self._probe_later(now, min(_LONGEST_PROBE_S, _FIRST_PROBE_S * 2 ** min(self.probes, 10)))
            self.probes += 1
        self.parked = reason

    def put_off(self, now: float) -> None:
        """Take note of a probe that said nothing of the app monitor: no answer, or another fault of the service."""
        self._probe_later(now, _FIRST_PROBE_S)

    def hurry(self, now: float) -> None:
        """Bring the next probe forward, for somebody who waits."""
        if self.parked is not None:
            self.probe_at = min(self.probe_at, max(now, self.probed_at + _HURRIED_S))

    def unpark(self) -> None:
        """Take note that it is well."""
        self.parked, self.probes, self.probe_at, self.is_probing = None, 0, math.inf, False

    def delivered(self, now: float) -> None:
        """Take note that it took a batch."""
        self.delivered_at, self.refused = now, 0
        self.unpark()

    def convicts(self, rejected: list[Rejection]) -> bool:
        """Take note of single events that were refused, though none was taken. Returns whether it is to blame itself."""
        for rejection in rejected:
            self.refused = self.refused + 1 if rejection.message == self.message else 1
            self.message = rejection.message
        return self.refused >= SUSPECTS

    def _probe_later(self, now: float, wait_s: float) -> None:
        self.is_probing = False
        self.probe_at = now + wait_s
