"""Takes a body in: inflated, decoded, given its app monitor, limited by session, admitted. On threads of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import Decoded, decode
from otel_rum_exporter.gateway.denials import limited
from otel_rum_exporter.gateway.gate import Caller
from otel_rum_exporter.gateway.inflate import Inflating
from otel_rum_exporter.gateway.limits import Rate, RateTable
from otel_rum_exporter.gateway.monitors import MONITOR_ID, Monitors
from otel_rum_exporter.gateway.signals import Signal
from otel_rum_exporter.pipeline import Admission, Pipeline

_SESSION = "session.id"
_MAX_MONITORS = 10_000  # far more than are listed
_MALFORMED, _SESSION_LIMIT = "malformed", "session_limit"

# what a sender can do something about; the rest is left out on purpose, and no fault of the request
_TOLD = (
    DropReason.NOT_CONFIGURED,
    DropReason.NO_SESSION,
    DropReason.INCOMPLETE,
    DropReason.LIMITED,
    DropReason.UNCONVERTIBLE,
)


class Taken(Struct, frozen=True):
    """What became of a request.

    Attributes:
        records: How many records it had.
        rejected: How many of them were not taken, by reason.
        message: The same in words; or a warning.
        admission: What the pipeline made of the others.
    """

    records: int
    rejected: Mapping[str, int]
    message: str
    admission: Admission


class Intake:
    """Takes bodies in. Thread-safe."""

    def __init__(
        self,
        pipeline: Pipeline,
        limits: BodyLimits,
        session_records: Rate,
        sessions: int,
        clock: Callable[[], float],
    ) -> None:
        """Feed a pipeline.

        Args:
            pipeline: Where items go.
            limits: What a body may hold.
            session_records: How many records a session may have.
            sessions: How many sessions are remembered for that.
            clock: Monotonic seconds.
        """
        self._pipeline = pipeline
        self._limits = limits
        self._session_records = session_records
        self._sessions = RateTable(sessions)
        self._of_monitors = RateTable(_MAX_MONITORS)
        self._lock = threading.Lock()
        self._clock = clock

    def take(self, signal: Signal, body: bytes, caller: Caller, monitors: Monitors) -> Taken:
        """Take a body in.

        Raises:
            Malformed: It is not what it says it is.
            TooLarge: It holds more than is allowed.
            Denied: One of its app monitors has had too much.
        """
        plain = self._inflated(body) if caller.is_gzip else body
        identity, device = caller.identity, caller.device
        decoded = decode(signal, caller.encoding, plain, self._limits, identity=identity, device=device)
        items: list[Any] = decoded.items
        if caller.identity is None and monitors:
            items = monitors.assigned(items)
        if monitors.has_limits:
            self._charge_monitors(items, monitors)
        within = self._within_limit(items) if self._session_records.is_limit else items
        admission = self._admit(signal, within)
        rejected = Counter({_MALFORMED: decoded.rejected, _SESSION_LIMIT: len(items) - len(within)})
        rejected.update({str(reason): admission.dropped.get(reason, 0) for reason in _TOLD})
        found = {reason: number for reason, number in rejected.items() if number}
        return Taken(len(items) + decoded.rejected, found, _message(found, decoded), admission)

    def _inflated(self, body: bytes) -> bytes:
        inflating = Inflating(self._limits.decoded_bytes)
        inflating.feed(body)
        return inflating.finish()

    def _admit(self, signal: Signal, items: list[Any]) -> Admission:
        if signal is Signal.TRACES:
            return self._pipeline.admit_spans(items)
        return self._pipeline.admit_logs(items)

    def _charge_monitors(self, items: list[Any], monitors: Monitors) -> None:
        numbers = Counter(item.resource.attributes.get(MONITOR_ID) for item in items)
        charged = [(entry, number) for id_, number in numbers.items() if id_ and (entry := monitors.get(id_))]
        with self._lock:
            now = self._clock()
            for entry, _ in charged:
                if wait_s := self._of_monitors.wait_s(entry.id, entry.records, now):
                    raise limited("monitor_records", "too many records for an app monitor", wait_s)
            for entry, number in charged:
                self._of_monitors.charge(entry.id, entry.records, now, number)

    def _within_limit(self, items: list[Any]) -> list[Any]:
        """Return the items whose sessions have some left of what they may send."""
        keys = [_session_key(item) for item in items]
        with self._lock:
            now = self._clock()
            return [item for item, key in zip(items, keys, strict=True) if key is None or self._may_pass(key, now)]

    def _may_pass(self, key: int, now: float) -> bool:
        return self._sessions.take(key, self._session_records, now) == 0.0


def _session_key(item: Any) -> int | None:
    """Return what stands for the session that an item is of, by what it says; None if it does not say.

    It is a hash, since ids may be as long as a body and are kept for their limit.
    """
    record, resource = getattr(item, "log_record", item), item.resource.attributes
    session = record.attributes.get(_SESSION) or resource.get(_SESSION)
    return hash((str(resource.get(MONITOR_ID)), session)) if isinstance(session, str) else None


def _message(rejected: Mapping[str, int], decoded: Decoded) -> str:
    """Return why records were rejected, with numbers."""
    parts = [f"{number} {reason}" for reason, number in rejected.items()]
    message = ", ".join(parts)
    return (
        f"{message}: {'; '.join(decoded.reasons)}"
        if decoded.reasons and message
        else message or "; ".join(decoded.reasons)
    )
