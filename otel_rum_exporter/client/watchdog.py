"""Calls with a deadline, each made by the thread that wants it made, which may be left behind.

One thread watches all calls. It sleeps until the first of them would be late, and what begins and ends meanwhile does not
wake it: handing each request to a thread that is waited for would cost an eighth of all the CPU that sending it takes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from otel_rum_exporter.client.left_behind import LeftBehind, NoThreadError, TooLateError

T = TypeVar("T")

_NAME = "RumWatchdog"  # of the thread


class LeftBehindError(Exception):
    """This thread's call took too long, and others went on without it: it is to end, and to touch nothing."""


class _Call:
    """A call that is being made."""

    __slots__ = ("give_up", "thread")

    def __init__(self, give_up: Callable[[TooLateError], None]) -> None:
        self.give_up = give_up
        self.thread = threading.current_thread()


class Watchdog:
    """Gives up calls that take too long.

    Shape:  all have the same time, so the first that began is the first that is late, and none that begins is late before
            the moment at which the thread wakes anyway. It ends when nothing was called for as long as a call may take.
    Units:  seconds.
    """

    def __init__(self, limit_s: float, left: LeftBehind, clock: Callable[[], float] = time.monotonic) -> None:
        """Start nothing.

        Args:
            limit_s: How long a call may take.
            left: Where the threads of calls that take longer are counted.
            clock: Monotonic seconds.
        """
        self._limit_s = limit_s
        self._left = left
        self._clock = clock
        self._wake = threading.Condition(threading.Lock())
        self._late_at: dict[_Call, float] = {}  # the calls that are being made, the first that began first
        self._thread: threading.Thread | None = None
        self._is_idle = False  # whether nothing has begun since the thread found nothing to watch
        self._is_closed = False

    def call(self, function: Callable[[], T], give_up: Callable[[TooLateError], None]) -> T:
        """Return what a function returns, or raise what it raises.

        Args:
            function: What to call, on this thread.
            give_up: Called instead, on another thread, when that takes too long; it must not raise.

        Errors: TooLateError, NoThreadError: nothing was called. LeftBehindError: `give_up` was.
        """
        self._left.check()
        call = _Call(give_up)
        self._begin(call)
        try:
            result = function()
        except Exception:
            self._end(call)
            raise
        self._end(call)  # where not even this is reached, the call is given up when its time is over
        return result

    def close(self) -> None:
        """Let the thread end, as soon as nothing is being called."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()

    def _begin(self, call: _Call) -> None:
        with self._wake:
            if self._thread is None:
                self._start_locked()
            self._is_idle = False
            self._late_at[call] = self._clock() + self._limit_s

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise NoThreadError from error
        self._thread = thread

    def _end(self, call: _Call) -> None:
        with self._wake:
            if self._late_at.pop(call, None) is None:
                raise LeftBehindError
            if self._is_closed and not self._late_at:
                self._wake.notify()

    def _run(self) -> None:
        while (call := self._late_call()) is not None:
            call.give_up(self._left.leave(call.thread, self._limit_s))
            del call  # what was to be sent need not be kept until there is more

    def _late_call(self) -> _Call | None:
        """Wait for a call that is late, and take it from its thread. Returns None when there is nothing to wait for."""
        with self._wake:
            while True:
                late_in = next(iter(self._late_at.values()), math.inf) - self._clock()
                if late_in <= 0.0:
                    call = next(iter(self._late_at))
                    del self._late_at[call]
                    return call
                if not self._late_at and (self._is_idle or self._is_closed):
                    self._thread = None
                    return None
                self._is_idle = not self._late_at
                self._wake.wait(min(late_in, self._limit_s))
