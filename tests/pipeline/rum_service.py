"""The sending side on a simulated clock: a ledger, what would be its threads, and a service that answers by rules."""

import heapq
import itertools
import random

from rum_items import key, keyed

from otel_rum_exporter import RumConfig
from otel_rum_exporter.client.verdicts import Delivered, Rejected
from otel_rum_exporter.convert.conversion import Draft
from otel_rum_exporter.sending.assembly import assemble
from otel_rum_exporter.sending.delivery import Delivery
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sessions.identity import ProcessSession
from otel_rum_exporter.sessions.session import Keyed

PROCESS = ProcessSession("99999999-8888-4777-8666-555555555555")


def event(name, number=1, monitor=None):
    """An event with this id, of a session."""
    batch_key = key(number) if monitor is None else key(number, monitor=monitor)
    return keyed(batch_key, name)


class Sending:
    """Sends what a ledger has, on a clock of its own, with `max_in_flight` requests of some latency at a time.

    `answer` gets a batch and the time, and returns a verdict.
    """

    def __init__(self, answer=lambda _batch, _now: Delivered(), *, latency_s=0.1, seed=1, **options):
        self.config = RumConfig(**{"domain": "shop.example", "session_start": "off", "max_age": 86_400_000, **options})
        self.ledger = Ledger(self.config, process_session=PROCESS)
        self.now = 0.0
        self.requests = []  # when each left, with its batch and its verdict
        self.delivered_at = {}
        self._answer = answer
        self._latency_s = latency_s
        self._in_flight = []
        self._order = itertools.count()
        self._random = random.Random(seed)
        self.ledger.dispatch._random = self._random.random

    def put(self, *events):
        self.ledger.queue(events, [None] * len(events), self.now)

    def flush(self):
        return self.ledger.begin_flush(self.now)

    def run(self, seconds, every=None):
        """Let time pass. `every` is how often a producer is called, and the producer, which adds events."""
        until = self.now + seconds
        produce_at = self.now + every[0] if every else until
        while True:
            self._send()
            due_in = self.ledger.dispatch.due_in(self.now)
            times = [until, *(each[0] for each in self._in_flight[:1])]
            times += [self.now + max(due_in, 1e-4)] if due_in is not None and self._has_sender else []
            self.now = min(*times, produce_at)
            if every and self.now >= produce_at:
                produce_at += every[0]
                every[1](self.now)
            while self._in_flight and self._in_flight[0][0] <= self.now:
                self._end(*heapq.heappop(self._in_flight)[2:])
            if self.now >= until:
                return

    def run_until_sent(self, most_s=86_400):
        """Let time pass until nothing waits."""
        until = self.now + most_s
        while self.ledger.statistics().queued and self.now < until:
            self.run(min(10.0, until - self.now))
        assert not self.ledger.statistics().queued

    @property
    def _has_sender(self):
        return len(self._in_flight) < self.config.max_in_flight

    def _send(self):
        while self._has_sender and (job := self.ledger.take(self.now)) is not None:
            delivery = job if isinstance(job, Delivery) else self._assembled(job)
            if delivery is not None:
                delivery.attempts += 1
                verdict = self._answer(delivery.part.batch, self.now)
                self.requests.append((self.now, delivery.part.batch, verdict))
                back_at = self.now + self._latency_s * self._random.uniform(0.6, 1.5)
                heapq.heappush(self._in_flight, (back_at, next(self._order), delivery, verdict))

    def _assembled(self, queued):
        view = self.ledger.session_of(queued)
        return self.ledger.keep(queued, assemble(queued, view, self.config, session_metadata=True), self.now)

    def _end(self, delivery, verdict):
        outcome = self.ledger.settle(delivery, verdict, self.now)
        for each in outcome.delivered:
            self.delivered_at[each.draft.id] = self.now
        assert self.ledger.statistics().is_balanced


def poisoned(*ids, message="400 ValidationException: bad event"):
    """A service that refuses requests with any of these events."""
    bad = frozenset(ids)

    def answer(batch, _now):
        return Rejected(message) if any(each.id in bad for each in batch.events) else Delivered()

    return answer


def drafts(number, session, time_ns=1):
    """Events of a session with a moment of their own."""
    return [
        Keyed(key(session), Draft(id=f"{session}.{i}", time_ns=time_ns + i, type="t", details="{}"))
        for i in range(number)
    ]
