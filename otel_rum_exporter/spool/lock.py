"""Whose a spool file is: who holds the lock on its companion file. The system lets go of it when the process ends.

POSIX: `flock`, which belongs to the open file and so to all processes that inherited it: a forked child has to close its
descriptor. Windows: `msvcrt.locking`, which belongs to the process. Neither can be relied on across a network.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FileLock:
    """A lock that is held, with the id of the process that holds it in its file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take over an open and locked file. `take` makes these."""
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Take the lock if it is free, and return it. The file is made if there is none.

        Raises:
            OSError: The file cannot be opened; so it is for a symbolic link.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        if not (_try_lock(descriptor) and _is_at(path, descriptor)):
            os.close(descriptor)
            return None
        with contextlib.suppress(OSError):  # a full disk has no room for the number, and the lock holds without it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        return cls(path, descriptor)

    def release(self) -> None:
        """Let go, for others to take it. In a forked child: close the descriptor, which the parent's lock survives."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the file and let go.

        Whoever opened the file before and locks it after finds that it is no longer there, in `take`. Windows removes
        no open file: there it is removed after letting go, which fails if somebody was faster, as it should.
        """
        if sys.platform == "win32":
            self.release()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.release()


def holder(path: Path) -> int | None:
    """Return the id of the process that holds a lock; None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        if _try_lock(descriptor, shared=True):
            return None
        return int(os.pread(descriptor, 20, 0)) if sys.platform != "win32" else 0
    except ValueError:  # it has only just taken it
        return 0
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            # far behind what the file holds, which the lock would hide from readers
            os.lseek(descriptor, 1024, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether this is the file of that name, and not one that was removed meanwhile."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
