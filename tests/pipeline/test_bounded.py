"""Calls with a deadline, on real threads."""

import contextvars
import threading
import weakref

import pytest

from otel_rum_exporter.client.bounded import Bounded
from otel_rum_exporter.client.left_behind import LeftBehind, NoThreadError, TooLateError

LONG_S = 30
SHORT_S = 0.05


def requesting():
    return {thread for thread in threading.enumerate() if thread.name == "RumRequest"}


@pytest.fixture
def stuck():
    """Something that does not end before the test does."""
    end = threading.Event()
    yield lambda: end.wait(LONG_S)
    end.set()


def test_result():
    """A call returns what the function returns."""
    assert Bounded(LeftBehind(1)).call(lambda: 42, LONG_S) == 42


def test_exception():
    """A call raises what the function raises, and the next one is made."""
    bounded = Bounded(LeftBehind(1))
    with pytest.raises(ZeroDivisionError):
        bounded.call(lambda: 1 / 0, LONG_S)
    assert bounded.call(lambda: 1, LONG_S) == 1


def test_the_context_goes_along():
    """OpenTelemetry's suppression of instrumentations is a context variable."""
    variable = contextvars.ContextVar("variable")
    variable.set("here")
    assert Bounded(LeftBehind(1)).call(variable.get, LONG_S) == "here"


def test_one_thread_for_many_calls():
    """A thread of its own calls for each caller, always the same."""
    bounded = Bounded(LeftBehind(1))
    names = {bounded.call(threading.get_ident, LONG_S) for _ in range(5)}
    assert len(names) == 1
    assert threading.get_ident() not in names


def test_threads_end_with_their_caller():
    """What a sender leaves behind when it ends is nothing."""
    before, bounded, seen = requesting(), Bounded(LeftBehind(8)), []
    callers = [
        threading.Thread(target=lambda: seen.append(bounded.call(threading.current_thread, LONG_S))) for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(LONG_S)
    for thread in seen:
        thread.join(LONG_S)
    assert len(set(seen)) == 8
    assert requesting() <= before


def test_threads_end_with_the_object():
    """So they do where the caller lives on."""
    bounded = Bounded(LeftBehind(1))
    thread = bounded.call(threading.current_thread, LONG_S)
    del bounded
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_too_late(stuck):
    """A call that does not end is left behind, and the next one has another thread and its own result."""
    bounded = Bounded(LeftBehind(2))
    with pytest.raises(TooLateError, match=r"^no end after 0\.05 s$"):
        bounded.call(stuck, SHORT_S)
    assert bounded.call(lambda: "mine", LONG_S) == "mine"


def test_no_more_than_some_are_left_behind():
    """Else a service that hangs would collect threads; when they come to an end, calls are made again."""
    bounded, end, threads = Bounded(LeftBehind(2)), threading.Event(), []

    def hang():
        threads.append(threading.current_thread())
        end.wait(LONG_S)

    for _ in range(2):
        with pytest.raises(TooLateError, match="no end"):
            bounded.call(hang, SHORT_S)
    with pytest.raises(TooLateError, match=r"^2 earlier requests have not come to an end yet$"):
        bounded.call(lambda: 1, LONG_S)
    end.set()
    for thread in threads:
        thread.join(LONG_S)
    assert bounded.call(lambda: 1, LONG_S) == 1


def test_no_thread(monkeypatch):
    """Where none can be started the caller learns of it; the interpreter says so with a RuntimeError."""

    def refuse(_):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NoThreadError):
        Bounded(LeftBehind(1)).call(lambda: 1, LONG_S)


def test_what_was_sent_is_not_kept():
    """An idle thread holds neither the call nor its result."""

    class Payload:
        pass

    bounded, payload = Bounded(LeftBehind(1)), Payload()
    gone, seen = weakref.ref(payload), threading.Event()
    weakref.finalize(payload, seen.set)
    bounded.call(lambda payload=payload: payload is not None, LONG_S)
    del payload
    assert seen.wait(LONG_S)
    assert gone() is None
