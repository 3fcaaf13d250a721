"""Threads that are left behind, since what they do takes too long: how many there may be, and what is said of it."""

from __future__ import annotations

import threading


class TooLateError(Exception):
    """A call took too long, or so many did that no further one is made."""


class NoThreadError(Exception):
    """No thread can be started: the interpreter is about to exit, or the system has no more."""


class LeftBehind:
    """The threads that were left behind and have not come to their end yet."""

    def __init__(self, most: int) -> None:
        """Begin without any. `most` is how many there may be before no further call is made."""
        self._most = most
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def leave(self, thread: threading.Thread, after_s: float) -> TooLateError:
        """Leave a thread behind whose call has taken that long. Returns what to say of the call."""
        with self._lock:
            self._threads.append(thread)
        return TooLateError(f"no end after {after_s:.3g} s")

    def check(self) -> None:
        """See whether one more call may be made. Errors: TooLateError where too many are left behind."""
        if not self._threads:
            return
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) >= self._most:
                raise TooLateError(f"{len(self._threads)} earlier requests have not come to an end yet")
