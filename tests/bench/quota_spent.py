"""How many of the account's requests sessions take, and how long their events wait, on a simulated clock.

Sessions produce events by chance (Poisson), and the exporter's own ledger decides what leaves when, at 45 requests a
second. The oracle knows all arrivals: of each session a request leaves when its first event has waited for the linger,
or when 100 wait. The linger is 5 s, or as long as it takes to give each session its turn, S / 45 s. Requests are counted in the second half, when both have found their pace.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rows import Row

SESSIONS = (200, 2000)
RATE_EACH = 0.5  # events a second of a session: it is active

_REQUESTS_PER_S = 45.0
_LINGER_S = 5.0
_MAX_EVENTS = 100
_EXPORT_EVERY_S = 0.25

# the ledger, its senders and a service, simulated for the pipeline's tests
sys.path.append(str(Path(__file__).resolve().parent.parent / "pipeline"))


def measure(sessions: int, seconds: float) -> dict[str, float]:
    """Return the requests of the exporter and of the oracle for the same events, and how long an event waited."""
    from rum_service import Sending, event  # noqa: PLC0415 - not before the environment is clean

    arrivals = _arrivals(sessions, seconds)
    sending = Sending(queue_events=10**6, queue_bytes=10**9, max_requests_per_second=_REQUESTS_PER_S)
    put_at: dict[str, float] = {}
    left = iter([*arrivals, (seconds + 1, -1)])
    at, session = next(left)

    def produce(now: float) -> None:
        nonlocal at, session
        while at <= min(now, seconds):
            name = f"e{len(put_at)}"
            put_at[name] = now
            sending.put(event(name, session))
            at, session = next(left)

    sending.run(seconds + 1, every=(_EXPORT_EVERY_S, produce))
    sending.run_until_sent()
    steady = (seconds / 2, seconds)
    return {
        "requests": _within(steady, (left_at for left_at, _, _ in sending.requests)),
        "oracle": _within(steady, _oracle(arrivals, linger_s(sessions))),
        "longest_s": max(sending.delivered_at[name] - put for name, put in put_at.items()),
        "events": len(put_at),
    }


def _within(period: tuple[float, float], times: Iterable[float]) -> int:
    return sum(period[0] <= each < period[1] for each in times)


def linger_s(sessions: int) -> float:
    """Return how long a session's events wait for others, with so many sessions."""
    return max(_LINGER_S, sessions / _REQUESTS_PER_S)


def _arrivals(sessions: int, seconds: float) -> list[tuple[float, int]]:
    """Return when an event of which session arrives, in the order of time. Sessions begin one after the other."""
    chance = random.Random(sessions)
    found = []
    for session in range(sessions):
        # together they would keep the oracle's step: all of its requests at once, then none
        at = chance.uniform(0, linger_s(sessions)) + chance.expovariate(RATE_EACH)
        while at < seconds:
            found.append((at, session))
            at += chance.expovariate(RATE_EACH)
    return sorted(found)


def _oracle(arrivals: list[tuple[float, int]], linger: float) -> Iterator[float]:
    """Yield when a request leaves, as many as are enough."""
    gathering: dict[int, tuple[float, int]] = {}
    for at, session in arrivals:
        leaves_at, number = gathering.get(session, (-1.0, 0))
        if at > leaves_at:
            leaves_at, number = at + linger, 0
            yield leaves_at
        elif number == _MAX_EVENTS:
            leaves_at, number = at + linger, 0
            yield at
        gathering[session] = leaves_at, number + 1


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of what `measure` returned, by the number of sessions."""
    for sessions, each in found.items():
        most_s = linger_s(int(sessions)) + 5.0
        which = f"{int(sessions):,} active sessions"
        note = f"{each['requests']:,.0f} of {each['oracle']:,.0f}"
        ratio = each["requests"] / each["oracle"]
        yield Row(f"requests, {which}, of the oracle's", "at most 1.10", [ratio], 1.1, note=note)
        yield Row(f"longest wait, {which}", f"at most {most_s:.1f} s", [each["longest_s"]], most_s, 1, "s")
