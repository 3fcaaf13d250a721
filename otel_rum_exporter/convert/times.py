"""Times of items: epoch nanoseconds."""

from __future__ import annotations

# from 2001 to 2262: before, a clock was never set or counts in another unit; after, there is no calendar for it
_FIRST_NS, _END_NS = 10**18, 2**63


def known_ns(first: int | None, *others: int | None) -> int:
    """Return the first time that a clock can have told, else 0: one event with another would cost its whole batch."""
    if first and _FIRST_NS <= first < _END_NS:
        return int(first)
    for time_ns in others:
        if time_ns and _FIRST_NS <= time_ns < _END_NS:
            return int(time_ns)
    return 0
