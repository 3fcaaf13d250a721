"""Calls that others go on without when they take too long, on real threads."""

import contextlib
import gc
import sys
import threading
import weakref
from functools import partial

import pytest

from otel_rum_exporter.client.left_behind import LeftBehind, NoThreadError, TooLateError
from otel_rum_exporter.client.watchdog import LeftBehindError, Watchdog

LONG_S = 30
SHORT_S = 0.05


@pytest.fixture
def watchdog():
    """Makes watchdogs; afterwards they are closed, and their threads end."""
    made = []

    def make(limit_s, most_left=8, **clock):
        watching = Watchdog(limit_s, LeftBehind(most_left), **clock)
        made.append(weakref.ref(watching))
        return watching

    yield make
    for watching in filter(None, [each() for each in made]):
        watching.close()
        join_thread_of(watching)


def join_thread_of(watching):
    thread = watching._thread
    if thread is not None:
        thread.join(LONG_S)
        assert not thread.is_alive()


def never(*late):
    raise AssertionError(late)


class Waits:
    """How long the thread of a watchdog means to sleep, each time; it sleeps until it is told to wake."""

    def __init__(self, watching):
        self.seen = []
        self._begins, self._wake = threading.Semaphore(0), watching._wake
        self._wait, watching._wake.wait = watching._wake.wait, self._sleep

    def _sleep(self, timeout):
        self.seen.append(timeout)
        self._begins.release()
        self._wait(LONG_S)

    def next(self):
        assert self._begins.acquire(timeout=LONG_S)

    def end(self):
        with self._wake:
            self._wake.notify()


class Hung:
    """A call on a thread of its own that goes on until it is let go, and what became of it."""

    def __init__(self, watchdog, outcome=lambda: "late"):
        self._watchdog, self._outcome = watchdog, outcome
        self._begun, self._end, self._given_up = threading.Event(), threading.Event(), threading.Event()
        self.seen = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._begun.wait(LONG_S)

    def _run(self):
        try:
            self.seen.append(self._watchdog.call(self._hang, self._give_up))
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.seen.append(error)

    def _hang(self):
        self._begun.set()
        self._end.wait(LONG_S)
        return self._outcome()

    def _give_up(self, late):
        self.seen.append((str(late), threading.current_thread().name))
        self._given_up.set()

    def until_given_up(self):
        assert self._given_up.wait(LONG_S)
        return self

    def let_go(self):
        self._end.set()
        self.thread.join(LONG_S)
        return self.seen


def test_result(watchdog):
    """A call returns what the function returns, which runs on the thread that calls."""
    assert watchdog(LONG_S).call(threading.current_thread, never) is threading.current_thread()


def test_exception(watchdog):
    """A call raises what the function raises, and the next one is made."""
    watching = watchdog(LONG_S)
    with pytest.raises(ZeroDivisionError):
        watching.call(lambda: 1 / 0, never)
    assert watching.call(lambda: 1, never) == 1


@pytest.mark.parametrize("outcome", [lambda: "late", lambda: 1 / 0], ids=["a result", "an error"])
def test_too_late(watchdog, outcome):
    """A call that does not end is given up once, and whatever comes of it later is thrown away."""
    hung = Hung(watchdog(SHORT_S), outcome).until_given_up()
    (given_up, end) = hung.let_go()
    assert given_up == ("no end after 0.05 s", "RumWatchdog")
    assert isinstance(end, LeftBehindError)


def test_late_but_first(watchdog):
    """A call that ends before its lateness is noticed has its result: it is with whoever comes first."""
    now = [0.0]
    watching = watchdog(LONG_S, clock=lambda: now[0])
    waits = Waits(watching)

    def take_long():
        waits.next()
        now[0] = 2 * LONG_S
        return "in time"

    assert watching.call(take_long, never) == "in time"


def test_each_call_ends_once(watchdog):
    """It is given up or it returns, never both, also where these happen at the same moment."""
    watching, ends = watchdog(0.001, most_left=10_000), []

    def call(number):
        with contextlib.suppress(LeftBehindError):
            ends.append(watching.call(lambda: threading.Event().wait(0.001) or number, lambda _: ends.append(number)))

    def call_often(first):
        for number in range(first, first + 100):
            call(number)

    threads = [threading.Thread(target=call_often, args=(100 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    watching.close()
    join_thread_of(watching)
    assert sorted(ends) == list(range(400))


def test_others_go_on_meanwhile(watchdog):
    """A call that hangs holds up none, and each is late when its own time is over."""
    watching = watchdog(SHORT_S)
    hung = [Hung(watching) for _ in range(4)]
    assert watching.call(lambda: "mine", never) == "mine"
    for each in hung:
        each.until_given_up().let_go()
    assert [len(each.seen) for each in hung] == [2] * 4


def test_calls_wake_nobody(watchdog, monkeypatch):
    """The thread looks when it starts, and again when the first of the calls would be late."""
    watching, told = watchdog(LONG_S), []
    wait = watching._wake.wait
    monkeypatch.setattr(watching._wake, "wait", lambda timeout: (told.append("wait"), wait(timeout)))
    monkeypatch.setattr(watching._wake, "notify", lambda: told.append("notify"))
    for _ in range(1000):
        watching.call(lambda: None, never)
    assert len(told) <= 1
    assert "notify" not in told
    monkeypatch.undo()


def test_it_looks_again_when_the_next_would_be_late(watchdog):
    """Calls that ended meanwhile do not count, and those that began meanwhile are late later."""
    now = [0.0]
    watching = watchdog(LONG_S, clock=lambda: now[0])
    waits = Waits(watching)
    watching.call(waits.next, never)
    now[0] = 10.0
    hung = Hung(watching, lambda: "in time")
    now[0] = 30.0
    waits.end()
    waits.next()
    assert waits.seen == [LONG_S, 10.0]
    assert hung.let_go() == ["in time"]


def test_the_thread_starts_with_the_first_call(watchdog):
    """None before; then one for all, a daemon."""
    watching = watchdog(LONG_S)
    assert watching._thread is None
    threads = {watching.call(lambda: watching._thread, never) for _ in range(5)}
    (thread,) = threads
    assert (thread.name, thread.daemon) == ("RumWatchdog", True)
    watching.close()
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_the_thread_ends_when_nothing_is_called(watchdog):
    """The next call has another one."""
    watching = watchdog(SHORT_S)
    first = watching.call(lambda: watching._thread, never)
    first.join(LONG_S)
    assert not first.is_alive()
    second = watching.call(lambda: watching._thread, never)
    assert second not in (None, first)


def test_the_thread_ends_with_the_last_call(watchdog):
    """After the close it stays for calls that are being made, and no longer."""
    watching = watchdog(LONG_S)
    hung = Hung(watching)
    thread = watching._thread
    watching.close()
    assert thread.is_alive()
    assert hung.let_go() == ["late"]
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_calls_after_the_close(watchdog):
    """What was begun before may come to its call only then; it is watched all the same."""
    watching = watchdog(SHORT_S)
    watching.close()
    hung = Hung(watching).until_given_up()
    thread = watching._thread
    hung.let_go()
    assert len(hung.seen) == 2
    if thread is not None:
        thread.join(LONG_S)
    assert watching._thread is None


def test_no_more_than_some_are_left_behind(watchdog):
    """Else a service that hangs would collect threads; when they come to an end, calls are made again."""
    watching = watchdog(SHORT_S, most_left=2)
    hung = [Hung(watching).until_given_up() for _ in range(2)]
    with pytest.raises(TooLateError, match=r"^2 earlier requests have not come to an end yet$"):
        watching.call(lambda: 1, never)
    for each in hung:
        each.let_go()
    assert watching.call(lambda: 1, never) == 1


def test_a_thread_that_ends_in_the_middle(watchdog):
    """Its call is late, too, and nothing is left of it."""
    watching, seen = watchdog(SHORT_S, most_left=1), []
    given_up = threading.Event()

    def call():
        with contextlib.suppress(SystemExit):
            watching.call(sys.exit, lambda late: (seen.append(str(late)), given_up.set()))

    thread = threading.Thread(target=call)
    thread.start()
    assert given_up.wait(LONG_S)
    thread.join(LONG_S)
    assert seen == ["no end after 0.05 s"]
    assert watching.call(lambda: 1, never) == 1


def test_no_thread(watchdog, monkeypatch):
    """Where none can be started the caller learns of it; the interpreter says so with a RuntimeError."""

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    watching = watchdog(LONG_S)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NoThreadError):
        watching.call(lambda: 1, never)
    monkeypatch.undo()
    assert watching.call(lambda: 1, never) == 1


class Payload:
    pass


def test_what_was_sent_is_not_kept(watchdog):
    """A thread that waits holds nothing of calls that ended."""
    watching, payload = watchdog(LONG_S), Payload()
    gone = weakref.ref(payload)
    watching.call(partial(isinstance, payload, Payload), partial(never, payload))
    del payload
    gc.collect()
    assert gone() is None


def test_what_was_given_up_is_not_kept(watchdog):
    """Nor of calls that it gave up."""
    watching, payload, gone = watchdog(SHORT_S), Payload(), threading.Event()
    weakref.finalize(payload, gone.set)
    Hung(watching, lambda payload=payload: payload).until_given_up().let_go().clear()
    del payload
    gc.collect()
    assert gone.wait(LONG_S)


def test_a_watchdog_that_nobody_needs_is_not_kept(watchdog):
    """It is gone with its thread, which ends by itself."""
    watching, gone = watchdog(SHORT_S), threading.Event()
    weakref.finalize(watching, gone.set)
    watching.call(lambda: None, never)
    del watching
    assert gone.wait(LONG_S)
