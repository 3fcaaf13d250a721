"""Requests that hang, wherever they do: the thread is left behind, others go on, and everything is counted once."""

import random
import socket
import threading
import time

import pytest
from botocore.httpsession import URLLib3Session
from rum_items import session, span, spans
from rum_threads import own_threads

from otel_rum_exporter.client.lean_client import LeanClient

LONG_MS = 30_000
LONG_S = 30


class Hanging:
    """A function that hangs in the calls that it is told to hang in, until it is let go."""

    def __init__(self, function, times):
        self._function, self._left = function, times
        self._lock, self._end = threading.Lock(), threading.Event()
        self.hangs = threading.Semaphore(0)
        self.threads = []

    def __call__(self, *arguments, **options):
        with self._lock:
            self._left -= 1
            is_hanging = self._left >= 0
            if is_hanging:
                self.threads.append(threading.current_thread())
        if is_hanging:
            self.hangs.release()
            self._end.wait(LONG_S)
        return self._function(*arguments, **options)

    def let_go(self):
        self._end.set()

    def let_go_and_end(self):
        """Also see that the threads end, as those that are left behind do."""
        self.let_go()
        for thread in self.threads:
            thread.join(LONG_S)
            assert not thread.is_alive()


PLACES = {
    "a request": (URLLib3Session, "send"),
    "a name": (socket, "getaddrinfo"),
    "credentials": (LeanClient, "sign"),
}


@pytest.fixture
def ready(exporters):
    """Makes exporters whose client of boto3 is made: that takes a tenth of a second, or as long as a timeout here."""

    def make(**options):
        each = exporters(**options)
        each.spans.pipeline._client._access.client()
        return each

    return make


@pytest.fixture
def hanging(monkeypatch):
    """Makes something hang."""
    made = []

    def make(place, times=1):
        function = Hanging(getattr(*place), times)

        def call(*arguments, **options):  # a function, which becomes a method where it has to
            return function(*arguments, **options)

        monkeypatch.setattr(*place, call)
        made.append(function)
        return function

    yield make
    for function in made:
        function.let_go()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """What failed is tried again without a pause."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


def counts(each):
    stats = each.stats()
    return stats.delivered, stats.requests, dict(stats.retried)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_another_thread_goes_on(ready, caplog, hanging, place):
    """What hangs is given up after the timeout, and its batch delivered by another thread."""
    hung = hanging(place)
    each = ready(timeout=1000)
    each.spans.export(spans(3, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    assert counts(each) == (3, 2, {"network": 1})
    assert len(own_threads()) == 2  # the one that is left behind, and the one that went on
    assert caplog.messages[0].endswith("The request was given up: no end after 1 s")
    hung.let_go_and_end()
    assert len(own_threads()) == 1


def test_an_answer_that_comes_too_late(ready, rum, hanging):
    """Its request arrives, and is thrown away here: nothing of it is counted, and the thread ends."""
    hung = hanging(PLACES["a request"])
    each = ready(timeout=1000)
    each.spans.export(spans(3, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    before = each.stats()
    hung.let_go_and_end()
    assert each.stats() == before
    assert (rum.stats()["requests"], rum.stats()["events_distinct"]) == (2, 3)
    workers = each.spans.pipeline._workers
    deadline = time.monotonic() + LONG_S
    while workers._busy and time.monotonic() < deadline:  # the flush was over before the thread that sent was back
        time.sleep(0.01)
    assert (workers._threads, workers._busy) == (1, 0)


def test_threads_that_are_left_behind_are_few(ready, hanging):
    """`max_in_flight` at most; further requests are given up at once until one of these ends."""
    hung = hanging(PLACES["a request"], times=1000)
    each = ready(timeout=300, max_in_flight=2, flush_interval=0)
    each.spans.export([span(session_id=session(number)) for number in range(2)])
    changed = each.spans.pipeline._changed
    with changed:
        retried = each.spans.pipeline._ledger._counters.retried
        assert changed.wait_for(lambda: retried["network"] >= 4, LONG_S)
    assert 2 <= len(hung.threads) <= 3  # the third one may begin while one is left behind
    left = list(each.spans.pipeline._client._watchdog._left._threads)
    assert set(left) <= set(hung.threads)
    assert len(own_threads()) <= len(left) + 2
    hung.let_go()
    for thread in left:
        thread.join(LONG_S)
    assert each.spans.force_flush(LONG_MS)
    assert each.stats().delivered == 2


def test_a_shutdown_while_a_request_hangs(ready, hanging):
    """It keeps its deadline; the request is given up later, and the thread that sees to that ends with it."""
    hung = hanging(PLACES["a request"])
    each = ready(timeout=1000)
    each.answers_get_lost = True
    each.spans.export(spans(3, session_id=session(1)))
    each.spans.force_flush(0)  # begins the request
    assert hung.hangs.acquire(timeout=LONG_S)
    each.shutdown(100)
    assert each.stats().delivered == 0
    assert each.stats().is_balanced
    (watching,) = own_threads("RumWatchdog")
    watching.join(LONG_S)
    assert not watching.is_alive()
    assert counts(each) == (0, 1, {"network": 1})
    hung.let_go_and_end()
    assert counts(each) == (0, 1, {"network": 1})
    assert not own_threads()


def test_a_flush_goes_on_without_threads(ready, hanging, monkeypatch):
    """Where no other thread can be started for the one that is left behind, whoever flushes delivers itself."""
    hung = hanging(PLACES["a request"])
    each = ready(timeout=1000)
    each.spans.export(spans(3, session_id=session(1)))
    each.spans.force_flush(0)  # begins the request
    assert hung.hangs.acquire(timeout=LONG_S)

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert each.spans.force_flush(LONG_MS)
    assert counts(each) == (3, 2, {"network": 1})


def test_a_fault_while_a_request_is_given_up(ready, hanging, monkeypatch):
    """Whatever a log handler or a meter does then, another thread goes on, and the next hung request is noticed."""
    hanging(PLACES["a request"], times=2)
    each = ready(timeout=300)
    failures = ["once"]
    log = each.spans.pipeline._log
    outcome = log.outcome

    def fail_once(*arguments):
        if failures:
            raise KeyError(failures.pop())
        outcome(*arguments)

    monkeypatch.setattr(log, "outcome", fail_once)
    each.spans.export(spans(3, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    assert counts(each) == (3, 3, {"network": 2})
