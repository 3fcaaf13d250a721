"""Times of items: epoch nanoseconds, as far as a calendar goes."""

from __future__ import annotations

_END_OF_TIME_NS = 2**63  # the year 2262


def known_ns(*times: int | None) -> int:
    """Return the first time that is known, else 0. Botocore refuses those that fit into no calendar."""
    return next((time_ns for time_ns in times if time_ns and 0 < time_ns < _END_OF_TIME_NS), 0)
