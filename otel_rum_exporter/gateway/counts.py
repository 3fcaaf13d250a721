"""What the gateway counts of itself, besides what its pipeline does."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct, field


class Counts(Struct):
    """The counters. Only the thread of the event loop changes them.

    Shape:  `requests` by signal and status; `records` by signal, `rejected` by signal and reason; `limited` by limit,
            `ended` are connections by reason, `faults` are errors of the gateway itself.
    """

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    disconnected: int = 0
    faults: int = 0
