"""Calls with a deadline. What takes longer is left behind on its thread, and its result is thrown away.

The time-outs of sockets count from one byte to the next, those of connects for each address, and looking up a name or
credentials has none at all. So the caller waits, and a thread of its own calls.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_NAME = "RumRequest"  # of the threads


class TooLateError(Exception):
    """A call took too long, or so many did that no further one is made."""


class NoThreadError(Exception):
    """No thread can be started: the interpreter is about to exit, or the system has no more."""


class Bounded:
    """Makes calls on threads that may be left behind.

    Shape:  each calling thread has one thread that calls for it, and which ends with it. Starting one for each call
            would cost a third of a request's CPU; handing over costs a fiftieth.
    """

    def __init__(self, most_left: int) -> None:
        """Begin without threads. `most_left` is how many may be left behind at one time."""
        self._most_left = most_left
        self._own = threading.local()
        self._lock = threading.Lock()
        self._left: list[threading.Thread] = []

    def call(self, function: Callable[[], T], timeout_s: float) -> T:
        """Return what a function returns, or raise what it raises.

        Errors: TooLateError, NoThreadError.
        """
        if self._left:
            self._check_left()
        caller = self._own.__dict__.pop("caller", None) or _Caller()
        caller.calls.put(partial(copy_context().run, function))
        try:
            value, error = caller.results.get(timeout=timeout_s)
        except queue.Empty:
            with self._lock:
                self._left.append(caller.thread)
            raise TooLateError(f"no end after {timeout_s:.3g} s") from None
        self._own.caller = caller  # one that was interrupted or left still has a result to give, and is not used again
        if error is not None:
            raise error
        result: T = value
        return result

    def _check_left(self) -> None:
        with self._lock:
            self._left = [thread for thread in self._left if thread.is_alive()]
            if len(self._left) >= self._most_left:
                raise TooLateError(f"{len(self._left)} earlier requests have not come to an end yet")


class _Caller:
    """A thread that makes calls, one after the other, until this object is gone."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=_serve, args=(self.calls, self.results), name=_NAME, daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            raise NoThreadError from error

    def __del__(self) -> None:
        self.calls.put(None)


def _serve(
    calls: queue.SimpleQueue[Callable[[], Any] | None], results: queue.SimpleQueue[tuple[Any, Exception | None]]
) -> None:
    while (call := calls.get()) is not None:
        try:
            results.put((call(), None))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            results.put((None, error))
        del call  # what was sent need not be kept until there is more
