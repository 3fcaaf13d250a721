"""Takes a body in: inflated, decoded, given its app monitor, limited by session, admitted. On threads of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
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


Charge = tuple[RateTable, Hashable, Rate, int]
"""What was charged for a part of a request: in which table, under which key, by which rate, how much."""


class Taken(Struct, frozen=True):
    """What became of a request.

    Attributes:
        records: How many records it had.
        weight: The same with their span events, each of which may become an event, too.
        rejected: How many of them were not taken, by reason.
        message: The same in words; or a warning.
        admission: What the pipeline made of the others.
    """

    records: int
    weight: int
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
        charges = self._charges_of_monitors(items, monitors) if monitors.has_limits else []
        within = items
        if self._session_records.is_limit:
            within, of_sessions = self._within_limit(items, has_choice=bool(monitors) or caller.identity is not None)
            charges += of_sessions
        admission = self._admit(signal, within)
        if not (admission.is_taken and admission.is_kept):  # the same request comes again
            self._give_back(charges)
        rejected = Counter({_MALFORMED: decoded.rejected, _SESSION_LIMIT: len(items) - len(within)})
        rejected.update({str(reason): admission.dropped.get(reason, 0) for reason in _TOLD})
        found = {reason: number for reason, number in rejected.items() if number}
        weight = sum(map(_weight, items)) + decoded.rejected
        return Taken(len(items) + decoded.rejected, weight, found, _message(found, decoded), admission)

    def _inflated(self, body: bytes) -> bytes:
        inflating = Inflating(self._limits.decoded_bytes)
        inflating.feed(body)
        return inflating.finish()

    def _admit(self, signal: Signal, items: list[Any]) -> Admission:
        if signal is Signal.TRACES:
            return self._pipeline.admit_spans(items)
        return self._pipeline.admit_logs(items)

    def _charges_of_monitors(self, items: list[Any], monitors: Monitors) -> list[Charge]:
        numbers: Counter[str] = Counter()
        for item in items:
            numbers[item.resource.attributes.get(MONITOR_ID, "")] += _weight(item)
        listed = [(entry, number) for id_, number in numbers.items() if (entry := monitors.get(id_)) is not None]
        charges: list[Charge] = [(self._of_monitors, entry.id, entry.records, number) for entry, number in listed]
        with self._lock:
            now = self._clock()
            for table, key, rate, _ in charges:
                if wait_s := table.wait_s(key, rate, now):
                    raise limited("monitor_records", "too many records for an app monitor", wait_s)
            for table, key, rate, number in charges:
                table.charge(key, rate, now, number)
        return charges

    def _within_limit(self, items: list[Any], *, has_choice: bool) -> tuple[list[Any], list[Charge]]:
        """Return the items whose sessions have some left of what they may send, and what these were charged."""
        keys = [_session_key(item, has_choice=has_choice) for item in items]
        rate, table = self._session_records, self._sessions
        within: list[Any] = []
        charges: list[Charge] = []
        with self._lock:
            now = self._clock()
            for item, key in zip(items, keys, strict=True):
                weight = _weight(item)
                if key is not None and table.take(key, rate, now, weight):
                    continue
                within.append(item)
                if key is not None:
                    charges.append((table, key, rate, weight))
        return within, charges

    def _give_back(self, charges: list[Charge]) -> None:
        with self._lock:
            now = self._clock()
            for table, key, rate, number in charges:
                table.charge(key, rate, now, -number)


def _weight(item: Any) -> int:
    """Return how many events an item may become."""
    return 1 + len(getattr(item, "events", ()))


def _session_key(item: Any, *, has_choice: bool) -> int | None:
    """Return what stands for the session that an item is of, by what it says; None if it does not say.

    It is a hash, since ids may be as long as a body and are kept for their limit. `has_choice` says that there are several
    app monitors to choose from, so that what the item says of its own is known to be one of them.
    """
    record, resource = getattr(item, "log_record", item), item.resource.attributes
    session = record.attributes.get(_SESSION) or resource.get(_SESSION)
    if not isinstance(session, str):
        return None
    return hash((resource.get(MONITOR_ID) if has_choice else None, session))


def _message(rejected: Mapping[str, int], decoded: Decoded) -> str:
    """Return why records were rejected, with numbers."""
    parts = [f"{number} {reason}" for reason, number in rejected.items()]
    message = ", ".join(parts)
    return (
        f"{message}: {'; '.join(decoded.reasons)}"
        if decoded.reasons and message
        else message or "; ".join(decoded.reasons)
    )
