"""When the next request may leave: within the quota, after the pauses that the service asks for, rarely while it is down.

No lock, thread or clock: the pipeline has them. Each request that leaves is one `take` and then exactly one outcome:
`delivered`, `answered`, `throttled`, `failed` or `unsent`.
"""

from __future__ import annotations

import math
import random as chance
from collections.abc import Callable

from otel_rum_exporter.stats import CircuitState

_BURST_S = 0.5
"""How many seconds of the highest rate a sender that was idle may use at once.

Simulated: a fresh sender delivers 40 sessions in 1.1 s, and none of its first seconds holds more than the quota's 50
requests, however the service counts them. A tenth of a second makes that 2.3 s. A whole one makes it 0.6 s, but puts
more than 50 into the first second, and has half as many again throttled of four senders with 40 sessions at a time.
"""

_MIN_BURST = 2.0  # of a sender with a small share: one request now and then leaves half, and is told from use

_START = 5.0  # requests a second of all senders together, until deliveries show that more is possible
_FLOOR = 0.2  # requests a second of one sender, however often it is throttled
_DOUBLING = math.log(2)  # what each delivery adds to the rate, so that a second of them doubles it
_GAIN = 0.25  # requests a second that all senders together add to their rates in each second
_LOSS = 0.8  # what is left of the rate after a throttled request
_LOSS_EVERY_S = 1.0  # those that left before the rate sank say nothing about the new one

_MIN_THROTTLED_S = 1.0
_MAX_PAUSE_S = (
    300.0  # a longer Retry-After is cut: in memory, events do not live longer, and the next answer may ask again
)

_FAILURES = 5  # one after the other, until the circuit opens
_PROBE_AFTER_S = (5.0, 10.0, 20.0, 30.0)  # the last one is repeated
_JITTER = 0.1  # senders that lost the endpoint together come back apart; never earlier than the schedule says

_LATE_S = 1.0  # how old a time may be that was read before waiting for a lock
_TICK_S = 1e-6  # a shorter wait is a rounding error


class _Forward:
    """Makes a time that never runs backwards of a clock that should not, but might.

    A reading that is a little older than the last one comes from a thread that waited for its turn: time stands still.
    One that is much older comes from a clock that was set back: time goes on from where it was.
    """

    def __init__(self) -> None:
        self._latest = -math.inf
        self._ahead = 0.0  # of the clock

    def time(self, now: float) -> float:
        if now + self._ahead < self._latest - _LATE_S:
            self._ahead = self._latest - now
        self._latest = max(self._latest, now + self._ahead)
        return self._latest


class Bucket:
    """A token bucket: a request takes a token, and `rate` new ones come each second, until there are `burst`.

    Shape:  at most burst + rate * t requests leave in any t seconds.
    Units:  `rate` is requests a second; times are seconds of the caller's clock, which may stand still or be set back.
    """

    def __init__(self, rate: float, burst: float) -> None:
        """Begin full. `burst` is at least one request."""
        self.burst = max(1.0, burst)
        self._rate = rate
        self._tokens = self.burst
        self._at = -math.inf  # when there were so many; in the future while it rests
        self._forward = _Forward()

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    def level(self, now: float) -> float:
        """Return how many tokens there are; fewer than none when more was taken than there was."""
        return self._tokens_at(self._forward.time(now))

    def wait_s(self, now: float) -> float:
        """Return in how many seconds a request may leave: 0 for now."""
        rest_s = max(0.0, self._at - self._forward.time(now))
        token_s = max(0.0, 1.0 - self.level(now)) / self._rate
        return rest_s + (token_s if token_s > _TICK_S else 0.0)

    def take(self, now: float) -> None:
        """Let a request leave."""
        self._move(now)
        self._tokens -= 1.0

    def set_rate(self, now: float, rate: float) -> None:
        """Change how many tokens come from now on."""
        self._move(now)
        self._rate = rate

    def rest(self, now: float, rest_s: float) -> None:
        """Let nothing leave for some seconds, and then one request at most: a pause must not end in a burst."""
        self._move(now, rest_s)
        self._tokens = min(self._tokens, 1.0)

    def _move(self, now: float, on_s: float = 0.0) -> None:
        at = max(self._at, self._forward.time(now) + on_s)
        self._tokens = self._tokens_at(at)
        self._at = at

    def _tokens_at(self, time: float) -> float:
        return min(self.burst, self._tokens + self._rate * max(0.0, time - self._at))


class _Circuit:
    """Closed while the endpoint answers, open after failures in a row; then one probe at a time finds out.

    What was on its way when the circuit opened says nothing new by failing. Outcomes name no request, and count as those
    of the earliest, which holds but for answers that overtake: each probe still has exactly one outcome.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self.state: CircuitState = "closed"
        self._random = random
        self._in_flight = 0
        self._earlier = 0  # of these, how many left before the circuit opened
        self._failures = 0
        self._failed_probes = 0
        self._probe_at = self._probed_at = -math.inf

    def wait_s(self, time: float) -> float:
        if self.state == "probing":
            return math.inf
        return max(0.0, self._probe_at - time) if self.state == "open" else 0.0

    def leave(self, time: float) -> None:
        self._in_flight += 1
        if self.state == "open":
            self.state = "probing"
            self._probed_at = time

    def hurry(self, time: float) -> None:
        """Bring the next probe forward. Flushes that follow each other get no more than one every few seconds."""
        self._probe_at = min(self._probe_at, max(time, self._probed_at + _PROBE_AFTER_S[0]))

    def answered(self) -> None:
        self._end()
        self.state = "closed"
        self._failures = 0

    def failed(self, time: float) -> None:
        is_probe = self._end()
        if self.state == "closed":
            self._failures += 1
            if self._failures >= _FAILURES:
                self._open(time)
        elif is_probe:
            self._failed_probes += 1
            self._schedule(time)

    def unsent(self) -> None:
        if self._end():
            self.state = "open"

    def _open(self, time: float) -> None:
        self._earlier = self._in_flight
        self._failed_probes = 0
        self._schedule(time)

    def _schedule(self, time: float) -> None:
        delay_s = _PROBE_AFTER_S[min(self._failed_probes, len(_PROBE_AFTER_S) - 1)]
        self.state = "open"
        self._probe_at = time + delay_s * (1.0 + _JITTER * self._random())

    def _end(self) -> bool:
        """Take a request off. Returns whether it was the probe."""
        self._in_flight -= 1
        if self._earlier > 0:
            self._earlier -= 1
            return False
        return self.state == "probing"


class Pacer:
    """Paces the requests of one sender, and stops it while the service asks for a pause or does not answer.

    The rate starts low, doubles with each second of use until the first throttled request, and from then on grows by
    little and sinks by a fifth (AIMD), so that senders which do not know of each other share what there is.

    Shape:  at most half a second's worth of the highest rate leaves at once, or two requests; while the circuit is open, one probe at a time.
    Units:  rates are requests a second; times are seconds of the caller's clock, which may stand still or be set back.
    Errors: never raises; a Retry-After that makes no sense counts as none.
    Source: quota of PutRumEvents, 50 requests a second for each account and region.
    """

    def __init__(self, rate: float, senders: int = 1, *, random: Callable[[], float] = chance.random) -> None:
        """Begin with a low rate and a full bucket.

        Args:
            rate: The highest rate of all senders together.
            senders: How many share it.
            random: Numbers from 0 to 1.
        """
        self._ceiling = rate / senders
        self._gain = _GAIN / senders
        start = min(self._ceiling, max(_FLOOR, _START / senders))
        self._bucket = Bucket(start, max(_MIN_BURST, self._ceiling * _BURST_S))
        self._circuit = _Circuit(random)
        self._forward = _Forward()
        self._is_new = True  # until the first throttled request
        self._is_short = False  # of tokens, so that more of them would be used
        self._lost_at = -math.inf

    @property
    def rate(self) -> float:
        """The rate at present."""
        return self._bucket.rate

    @property
    def circuit(self) -> CircuitState:
        """Closed while the endpoint answers, open while it does not, probing while a request finds out."""
        return self._circuit.state

    def wait_s(self, now: float) -> float:
        """Return in how many seconds a request may leave: 0 for now, infinity for not before an outcome."""
        time = self._forward.time(now)
        return max(self._circuit.wait_s(time), self._bucket.wait_s(time))

    def take(self, now: float) -> None:
        """Let a request leave. To be called when `wait_s` is 0."""
        time = self._forward.time(now)
        self._circuit.leave(time)
        self._bucket.take(time)
        self._is_short = self._bucket.level(time) < self._bucket.burst / 2

    def probe_now(self, now: float) -> None:
        """Ask for the next probe at once, for somebody who waits; a pause that the service asked for still holds."""
        self._circuit.hurry(self._forward.time(now))

    def delivered(self, now: float) -> None:
        """Take note that the service took a request (2xx)."""
        self._circuit.answered()
        if self._is_short:
            self._change_rate(now, self.rate + (_DOUBLING if self._is_new else self._gain / self.rate))

    def answered(self, now: float) -> None:  # noqa: ARG002 - the outcomes are alike
        """Take note that the service refused a request for what it was: it is well, and the rate is another matter."""
        self._circuit.answered()

    def throttled(self, now: float, after_s: float | None) -> None:
        """Take note of a request too many (429). Units: `after_s` is the service's Retry-After in seconds, if any."""
        self._circuit.answered()
        self._is_new = False
        time = self._forward.time(now)
        if time - self._lost_at >= _LOSS_EVERY_S:
            self._lost_at = time
            self._change_rate(now, self.rate * _LOSS)
        self._pause(time, max(_MIN_THROTTLED_S, after_s or 0.0))

    def failed(self, now: float, after_s: float | None) -> None:
        """Take note of no answer or a server's fault (5xx). Units: as for `throttled`."""
        time = self._forward.time(now)
        self._circuit.failed(time)
        self._pause(time, max(0.0, after_s or 0.0))

    def unsent(self, now: float) -> None:  # noqa: ARG002 - the outcomes are alike
        """Take note that a request did not leave after all, which says nothing about the service."""
        self._circuit.unsent()

    def _change_rate(self, now: float, rate: float) -> None:
        self._bucket.set_rate(self._forward.time(now), min(self._ceiling, max(_FLOOR, rate)))

    def _pause(self, time: float, pause_s: float) -> None:
        pause_s = min(_MAX_PAUSE_S, pause_s)
        if pause_s > 0.0:
            self._bucket.rest(time, pause_s)
