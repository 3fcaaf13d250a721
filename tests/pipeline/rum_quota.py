"""An account's quota and the senders that share it, simulated: no thread, no clock, and the same each time.

Run as a script, it prints what became of the requests in each of the scenarios.
"""

import heapq
import math
import random
import sys
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from otel_rum_exporter.sending.pacing import Pacer

RATE = 45.0  # what is configured, of the quota's 50
RUN_S = 120.0
RAMP_S = 30.0


class Quota:
    """An endpoint that admits 50 requests a second, and 50 at once. `others` requests a second are not ours."""

    latency_s = (0.060, 0.150)  # there and back, over the internet

    def __init__(self, others=0.0, rate=50.0, burst=50.0):
        self.others = others
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def answer(self, now):
        """Return True for taken, False for throttled."""
        self._left = min(self._burst, self._left + self._rate * (now - self._at))
        self._at = now
        is_taken = self._left >= 1
        self._left -= is_taken
        return is_taken


class Outage:
    """An endpoint that fails until a time: quickly, or after a timeout as a black hole does."""

    others = 0.0

    def __init__(self, until=math.inf, latency_s=Quota.latency_s):
        self.until, self.latency_s = until, latency_s

    def answer(self, now):
        """Return True for taken, None for failed."""
        return None if now < self.until else True


class Request(NamedTuple):
    """When a request left and came back, from which sender, and the answer."""

    left_at: float
    back_at: float
    sender: int
    answer: bool | None


class Requests(list):
    """The requests of a simulation, in the order of their answers."""

    def since(self, time):
        return Requests(each for each in self if each.left_at >= time)

    @property
    def throttled_percent(self):
        return 100 * sum(each.answer is False for each in self) / len(self)

    def goodput(self, seconds):
        """Return how many were taken a second."""
        return sum(each.answer is True for each in self) / seconds

    def most_within(self, window_s):
        """Return the largest number that left within a time."""
        times = sorted(each.left_at for each in self)
        return max(sum(at <= each < at + window_s for each in times) for at in times)


@dataclass
class Sender:
    """A process that sends when its pacer lets it, as long as it has something to send and requests to send it with."""

    number: int
    pacer: Pacer
    backlog: float = math.inf
    may_be_out: int = 8
    wakes_at: float = field(default=math.inf, init=False)


class Simulation:
    """Senders and an endpoint, from event to event."""

    def __init__(self, endpoint, senders, seed=1, after_s=None):
        self.endpoint, self.senders, self.after_s = endpoint, senders, after_s
        self.requests = Requests()
        self.now = 0.0
        self._random = random.Random(seed)
        self._events = []
        self._order = count()
        for sender in senders:
            self._in(0.0, self._send, sender)
        if endpoint.others:
            self._in(0.0, self._others)

    def run(self, until):
        """Go on until a time, or until there is nothing left to send. Returns all requests so far."""
        while self._events and self._events[0][0] <= until:
            self.now, _, event, arguments = heapq.heappop(self._events)
            event(*arguments)
        return self.requests

    def _in(self, seconds, event, *arguments):
        heapq.heappush(self._events, (self.now + seconds, next(self._order), event, arguments))

    def _others(self):
        self.endpoint.answer(self.now)
        self._in(self._random.expovariate(self.endpoint.others), self._others)

    def _send(self, sender):
        while sender.backlog and sender.may_be_out:
            wait_s = sender.pacer.wait_s(self.now)
            if wait_s > 0:
                self._wait(sender, wait_s)
                return
            sender.pacer.take(self.now)
            sender.backlog -= 1
            sender.may_be_out -= 1
            self._in(self._half_way_s(), self._arrive, sender, self.now)

    def _wait(self, sender, wait_s):
        if math.isfinite(wait_s) and self.now + wait_s != sender.wakes_at:
            sender.wakes_at = self.now + wait_s
            self._in(wait_s, self._wake, sender)

    def _wake(self, sender):
        if sender.wakes_at == self.now:  # else it was told of another time since
            sender.wakes_at = math.inf
            self._send(sender)

    def _half_way_s(self):
        return self._random.uniform(*self.endpoint.latency_s) / 2

    def _arrive(self, sender, left_at):
        self._in(self._half_way_s(), self._return, sender, left_at, self.endpoint.answer(self.now))

    def _return(self, sender, left_at, answer):
        self.requests.append(Request(left_at, self.now, sender.number, answer))
        sender.may_be_out += 1
        sender.backlog += answer is not True
        if answer:
            sender.pacer.delivered(self.now)
        elif answer is None:
            sender.pacer.failed(self.now, self.after_s)
        else:
            sender.pacer.throttled(self.now, self.after_s)
        self._send(sender)


def senders(number, share=1, backlog=math.inf, seed=1):
    """Return senders, each of which takes itself for one of `share`."""
    chances = random.Random(seed)
    return [Sender(each, Pacer(RATE, share, random=chances.random), backlog) for each in range(number)]


class Scenario(NamedTuple):
    """So many senders with an endless backlog, and what else the account is used for."""

    number: int
    share: int
    others: float

    def run(self, until=RUN_S, seed=1):
        return Simulation(Quota(self.others), senders(self.number, self.share, seed=seed), seed).run(until)


SCENARIOS = {
    "1 sender": Scenario(1, 1, 0.0),
    "1 sender, half the quota taken": Scenario(1, 1, 25.0),
    "4 senders, half the quota taken": Scenario(4, 4, 25.0),
    "16 senders": Scenario(16, 16, 0.0),
    "16 senders, half the quota taken": Scenario(16, 16, 25.0),
    "16 senders that do not know of each other": Scenario(16, 1, 0.0),
    "the same, half the quota taken": Scenario(16, 1, 25.0),
}


def report():
    """Yield a line for each scenario."""
    yield f"{'':42} {'throttled':>16} {'taken':>12}"
    for name, scenario in SCENARIOS.items():
        requests = scenario.run()
        ramped = requests.since(RAMP_S)
        shares = f"{requests.throttled_percent:.2f} % / {ramped.throttled_percent:.2f} %"
        rates = f"{requests.goodput(RUN_S):.1f} / {ramped.goodput(RUN_S - RAMP_S):.1f}"
        yield f"{name:42} {shares:>16} {rates:>12}"
    yield "of 120 s: all / after the first 30 s; taken: requests a second"


if __name__ == "__main__":
    sys.stdout.write("\n".join(report()) + "\n")
