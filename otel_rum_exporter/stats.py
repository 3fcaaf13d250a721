"""What became of everything: counters by reason, and log lines that do not repeat themselves.

Two equations hold at any quiet moment:

    received = converted + items dropped by reason
    accepted = delivered + dead_lettered + events dropped by reason + queued
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from otel_rum_exporter.drops import DropReason, ParkReason
from otel_rum_exporter.pacing import CircuitState

_QUIET_S = 60.0
_LONGEST = 300  # characters of a message that is not ours
_FORMAT = "RUM exporter: %s%s"
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",  # what ends a line or turns it round in terminals and in viewers of logs
    0x2029: "\\u2029",
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


class Statistics(Struct, frozen=True, kw_only=True):
    """What became of the items and events of a pipeline, as of one moment.

    Shape:  `received` and `converted` count items (spans, log records); `accepted`, `delivered`, `dead_lettered`,
            `queued` and `duplicates_possible` count RUM events, the last those that were sent again without knowing
            whether the service had taken them; `requests` counts PutRumEvents requests, `retried` those that failed
            and were tried again, by cause; `sessions_forgotten` counts sessions that made room for others, and whose
            later events may lack their page; `parked` are app monitors that take nothing at present, and why.
            With a spool: `spooled` events and `spool_dead_letters` are on disk, `unspooled` events had no room there and
            waited in memory, `spool_dead_letters_evicted` made room for others or became too old, and
            `spool_files_damaged` were put aside.
    Units:  `queued_bytes` and `spooled_bytes` are bytes, `spool_age_s` is the age of the oldest event on disk in seconds,
            `request_rate` is requests a second.
    """

    received: int
    converted: int
    items_dropped: Mapping[DropReason, int]
    accepted: int
    delivered: int
    events_dropped: Mapping[DropReason, int]
    dead_lettered: Mapping[DropReason, int] = {}
    queued: int
    requests: int
    retried: Mapping[str, int]
    duplicates_possible: int = 0
    sessions_forgotten: int = 0
    queued_bytes: int = 0
    request_rate: float = 0.0
    circuit: CircuitState = "closed"
    parked: Mapping[str, ParkReason] = {}
    spooled: int = 0
    spooled_bytes: int = 0
    spool_age_s: float = 0.0
    spool_dead_letters: int = 0
    spool_dead_letters_evicted: int = 0
    spool_files_damaged: int = 0
    unspooled: int = 0

    @property
    def is_balanced(self) -> bool:
        """Whether both equations hold."""
        items = self.converted + sum(self.items_dropped.values())
        ended = self.delivered + sum(self.dead_lettered.values()) + sum(self.events_dropped.values())
        return self.received == items and self.accepted == ended + self.queued


class Counters(Struct, kw_only=True):
    """The counters behind `Statistics`; the pipeline's lock guards them. Those of the spool are the store's."""

    received: int = 0
    converted: int = 0
    items_dropped: Counter[DropReason] = field(default_factory=Counter)
    accepted: int = 0
    delivered: int = 0
    dead_lettered: Counter[DropReason] = field(default_factory=Counter)
    events_dropped: Counter[DropReason] = field(default_factory=Counter)
    requests: int = 0
    retried: Counter[str] = field(default_factory=Counter)
    duplicates_possible: int = 0
    sessions_forgotten: int = 0
    spool_dead_letters_evicted: int = 0
    spool_files_damaged: int = 0
    unspooled: int = 0

    def snapshot(self, **gauges: Any) -> Statistics:
        """Return the counters as of now, with what else is known of the moment."""
        return Statistics(
            received=self.received,
            converted=self.converted,
            items_dropped={reason: number for reason, number in self.items_dropped.items() if number},
            accepted=self.accepted,
            delivered=self.delivered,
            dead_lettered={reason: number for reason, number in self.dead_lettered.items() if number},
            events_dropped={reason: number for reason, number in self.events_dropped.items() if number},
            requests=self.requests,
            retried=dict(self.retried),
            duplicates_possible=self.duplicates_possible,
            sessions_forgotten=self.sessions_forgotten,
            spool_dead_letters_evicted=self.spool_dead_letters_evicted,
            spool_files_damaged=self.spool_files_damaged,
            unspooled=self.unspooled,
            **gauges,
        )


_FRACTIONS = ("request_rate",)
_ADDED = ("queued", "queued_bytes", "spooled", "spooled_bytes", "spool_dead_letters", *_FRACTIONS)


def total(parts: Iterable[Statistics]) -> Statistics:
    """Return the sum of the statistics of several pipelines; zeros for none."""
    counters, gauges = Counters(), dict.fromkeys(_ADDED, 0.0)
    circuit: CircuitState = "closed"
    parked: dict[str, ParkReason] = {}
    for part in parts:
        circuit = part.circuit if circuit == "closed" else circuit
        parked |= part.parked
        for name in _ADDED:
            gauges[name] += getattr(part, name)
        for name in counters.__struct_fields__:
            value = getattr(part, name)
            addend = Counter(value) if isinstance(value, Mapping) else value
            setattr(counters, name, getattr(counters, name) + addend)
    whole = {name: value if name in _FRACTIONS else int(value) for name, value in gauges.items()}
    return counters.snapshot(**whole, circuit=circuit, parked=parked)


class CauseLog:
    """Log lines, one a minute for each cause, with the number that was left out since.

    Shape:  each is one line, whatever is in it: control characters are escaped.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        """Write to a logger; the clock is monotonic, in seconds."""
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._said_at: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def begin_in_child(self) -> None:
        """Replace the lock after a fork: a thread that is not in the child may have held it."""
        self._lock = threading.Lock()

    def say(self, level: int, cause: str, message: str, *, quiet_s: float = _QUIET_S) -> None:
        """Log a message, unless one of the same cause was logged less than `quiet_s` ago."""
        now = self._clock()
        with self._lock:
            said_at = self._said_at.get(cause)
            if said_at is not None and now - said_at < quiet_s:
                self._left_out[cause] += 1
                return
            self._said_at[cause] = now
            left_out = self._left_out.pop(cause, 0)
        since = f" (and {left_out} more since the last such line)" if left_out else ""
        line = message.translate(_CONTROLS).encode(errors="backslashreplace").decode()  # no lone surrogates
        self._logger.log(level, _FORMAT, line, since)
        last = logging.lastResort
        if last and level >= last.level and self._logger.isEnabledFor(level) and _is_unseen(self._logger):
            last.handle(self._logger.makeRecord(self._logger.name, level, "", 0, _FORMAT, (line, since), None))


def _is_unseen(logger: logging.Logger) -> bool:
    """Whether a logger has OpenTelemetry's handlers alone: beside them Python's handler of last resort is silent."""
    handlers: list[logging.Handler] = []
    ancestor: logging.Logger | None = logger
    while ancestor is not None:
        handlers += ancestor.handlers
        ancestor = ancestor.parent if ancestor.propagate else None
    return bool(handlers) and all(type(each).__module__.startswith("opentelemetry.") for each in handlers)


def printable(text: object) -> str:
    """Return a text that is not ours as one line of a log can hold it."""
    line = str(text).encode("unicode_escape").decode("ascii")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
