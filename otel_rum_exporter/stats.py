"""What became of everything: counters by reason.

Two equations hold at any quiet moment:

    received = converted + items dropped by reason
    accepted = delivered + dead_lettered + events dropped by reason + queued
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field

from otel_rum_exporter.drops import DropReason, ParkReason

CircuitState = Literal["closed", "open", "probing"]
"""Whether requests leave, none does since the endpoint is down, or one finds out."""


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
