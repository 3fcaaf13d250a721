"""SIGTERM, where the option `chain_sigterm` asks for it: deliver first, then do what would have been done without.

A signal's handler runs on the main thread between any two bytecodes, perhaps inside `export` and with its lock held. So
it neither delivers nor waits: it starts a thread and returns, the interrupted code goes on and lets go of its locks, and
the thread sends the signal once more when all is delivered or the time is up. Only that second one is passed on. Where the
interrupted code comes to its end meanwhile, as uvicorn's does, the interpreter waits with its own: it would shut down what
the thread empties.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class _Progress:
    """How far this process is with a SIGTERM. A forked child, which has another process id, begins anew."""

    begun_in: int | None = None
    delivered_in: int | None = None


class _Handler:
    """Delivers, then passes the signal on to the handler that was there before."""

    def __init__(self, deliver: Callable[[], object], previous: Any) -> None:
        self._deliver = deliver
        self._previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        process = os.getpid()
        if _Progress.delivered_in == process:
            self._pass_on(number, frame)
        elif _Progress.begun_in != process:  # another one while delivering does not hurry it
            _Progress.begun_in = process
            self._begin(number, frame)

    def _begin(self, number: int, frame: FrameType | None) -> None:
        is_over = _thread.allocate_lock()
        is_over.acquire()
        try:
            # not threading.Thread: its start waits, for locks that the interrupted code may hold
            _thread.start_new_thread(self._deliver_and_repeat, (number, is_over))
        except RuntimeError:  # the interpreter is about to exit, or the system has no more threads
            self._pass_on(number, frame)
        else:
            atexit.register(_await, is_over, os.getpid())  # the last that is registered is the first that is called

    def _deliver_and_repeat(self, number: int, is_over: _thread.LockType) -> None:
        try:
            self._deliver()
        finally:
            _Progress.delivered_in = os.getpid()
            os.kill(os.getpid(), number)
            is_over.release()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._previous is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _Progress.delivered_in = os.getpid()  # for another of these handlers, below the one that comes now
        try:
            if callable(self._previous):
                self._previous(number, frame)
        finally:
            _Progress.begun_in = _Progress.delivered_in = None


def _await(is_over: _thread.LockType, process: int) -> None:
    if os.getpid() == process:  # in a forked child nobody delivers
        is_over.acquire()


def chain_sigterm(deliver: Callable[[], object]) -> bool:
    """Deliver on SIGTERM, then call the handler that is there now.

    SIG_DFL ends the process by the signal, SIG_IGN and a handler that C code has set are not called: without this
    package Python would not have called them either. Where no thread can start, as at interpreter exit, the signal is
    passed on at once.

    Args:
        deliver: Called on a thread of its own; returns in bounded time.

    Returns:
        False where handlers cannot be set: beside the main thread, and on Windows, which has no SIGTERM.
    """
    if os.name == "nt":
        return False
    previous = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _Handler):
        return True
    try:
        signal.signal(signal.SIGTERM, _Handler(deliver, previous))
    except ValueError:  # not the main thread, or not the main interpreter
        return False
    return True
