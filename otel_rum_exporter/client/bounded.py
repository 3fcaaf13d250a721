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

from otel_rum_exporter.client.left_behind import LeftBehind, NoThreadError

T = TypeVar("T")

_NAME = "RumRequest"  # of the threads


class Bounded:
    """Makes calls on threads that may be left behind, for callers that may not.

    Shape:  each calling thread has one thread that calls for it, and which ends with it. Starting one for each call
            would cost a third of a request's CPU.
    """

    def __init__(self, left: LeftBehind) -> None:
        """Begin without threads. Those that are left behind are counted with `left`."""
        self._left = left
        self._own = threading.local()

    def call(self, function: Callable[[], T], timeout_s: float) -> T:
        """Return what a function returns, or raise what it raises.

        Errors: TooLateError, NoThreadError.
        """
        self._left.check()
        caller = self._own.__dict__.pop("caller", None) or _Caller()
        caller.calls.put(partial(copy_context().run, function))
        try:
            value, error = caller.results.get(timeout=timeout_s)
        except queue.Empty:
            raise self._left.leave(caller.thread, timeout_s) from None
        self._own.caller = caller  # one that was interrupted or left still has a result to give, and is not used again
        if error is not None:
            raise error
        result: T = value
        return result


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
