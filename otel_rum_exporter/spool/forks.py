"""Forks wait while a thread is inside SQLite, which has locks of its own for the whole process.

What another thread holds of them at a fork is held for ever in the child, which then waits for it as soon as it opens a
file: measured, two forks in a thousand beside three threads that commit.
"""

from __future__ import annotations

import os
import threading

_LONGEST_S = 1.0  # that a fork waits: a disk may hang, and the application must not hang with it


class ForkGate:
    """Threads go through it into SQLite and out again; a fork closes it when nobody is inside."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """Begin open. `longest_s` is how long a fork waits for threads to come out."""
        self._longest_s = longest_s
        self.begin_in_child()

    def begin_in_child(self) -> None:
        """Begin anew: whoever was inside is not in the child, and may have held the lock."""
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._inside = 0
        self._forks = 0

    def __enter__(self) -> None:
        """Go inside; not once more from there."""
        if self._pid != os.getpid():  # a fork that Python was not told of
            self.begin_in_child()
        with self._changed:
            self._changed.wait_for(lambda: not self._forks)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        """Come out."""
        with self._changed:
            self._inside = max(
                0, self._inside - 1
            )  # the one that forked, in a signal's handler, was counted in the parent
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in, and wait until nobody is inside."""
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._inside, self._longest_s)

    def open(self) -> None:
        """Let threads in again."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()


inside_sqlite = ForkGate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=inside_sqlite.close,
        after_in_parent=inside_sqlite.open,
        after_in_child=inside_sqlite.begin_in_child,
    )
