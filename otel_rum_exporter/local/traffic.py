"""How many requests were under way at once, in all and of one session."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

Interval = tuple[float, float]


@dataclass(slots=True)
class Visit:
    """One request under way; the session is known once its body was read."""

    started: float
    session: str = ""


class Traffic:
    """Keeps when each request came and was answered.

    Exact intervals rather than counters: a session is known only after the body, when an
    overlapping request of it may already be answered.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: list[Visit] = []
        self._closed: defaultdict[str, list[Interval]] = defaultdict(list)

    def enter(self) -> Visit:
        """Note that a request arrived."""
        visit = Visit(self._clock())
        self._open.append(visit)
        return visit

    def leave(self, visit: Visit) -> None:
        """Note that a request was answered, or its connection lost."""
        self._open.remove(visit)
        self._closed[visit.session].append((visit.started, self._clock()))

    def reset(self) -> None:
        """Forget the requests that are over."""
        self._closed.clear()

    def summary(self) -> dict[str, int]:
        """Return how many requests are in flight now, were at most, and were at most of one session."""
        sessions = {session: list(intervals) for session, intervals in self._closed.items()}
        for visit in self._open:
            sessions.setdefault(visit.session, []).append((visit.started, float("inf")))
        per_session = [_peak(intervals) for session, intervals in sessions.items() if session]
        return {
            "now": len(self._open),
            "max": _peak(interval for intervals in sessions.values() for interval in intervals),
            "max_per_session": max(per_session, default=0),
        }


def _peak(intervals: Iterable[Interval]) -> int:
    """Return the largest number of intervals that hold one moment; one may start as another ends."""
    steps = sorted(step for start, end in intervals for step in ((start, 1), (end, -1)))
    return max(accumulate(change for _, change in steps), default=0)
