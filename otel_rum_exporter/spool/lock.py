"""Whose a spool file is: who holds the lock on its companion file. The system lets go of it when the process ends.

POSIX: `flock`, which belongs to the open file and so to all processes that inherited it: a forked child closes whatever
descriptors it finds here. Windows: `msvcrt.locking`, which belongs to the process. Neither can be relied on across a
network.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class FileLock:
    """A lock that is held, with the id of the process that holds it in its file."""

    def __init__(self, path: Path, flags: int) -> None:
        """Open the file. `take` locks it.

        Raises:
            OSError: It cannot be opened; so it is for a symbolic link.
        """
        self._path = path
        with _inheritance:
            self.descriptor = os.open(path, flags | _NO_LINK, 0o600)
            _open.add(self)

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Take the lock if it is free, and return it. The file is made if there is none.

        Raises:
            OSError: The file cannot be opened; so it is for a symbolic link.
        """
        close_inherited()
        lock = cls(path, os.O_RDWR | os.O_CREAT)
        if not (_try_lock(lock.descriptor) and lock.is_in_place):
            lock.release()
            return None
        with contextlib.suppress(OSError):  # a full disk has no room for the number, and the lock holds without it
            os.ftruncate(lock.descriptor, 0)
            os.write(lock.descriptor, b"%d\n" % os.getpid())
        return lock

    @property
    def is_in_place(self) -> bool:
        """Whether this is the file of that name, and not one that was removed meanwhile."""
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go, for others to take it. In a forked child, which holds nothing of it: do nothing."""
        close_inherited()
        with _inheritance:
            if self in _open:
                _open.remove(self)
                os.close(self.descriptor)

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
        lock = FileLock(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        if _try_lock(lock.descriptor, shared=True):
            return None
        return int(os.pread(lock.descriptor, 20, 0)) if sys.platform != "win32" else 0
    except ValueError:  # it has only just taken it
        return 0
    finally:
        lock.release()


# forks

# held by forks, and while what they hand down changes; by one thread twice where a signal's handler forks
_inheritance = threading.RLock()
_open: set[FileLock] = set()
_pid = os.getpid()


def close_inherited() -> None:
    """Close in a forked child what it inherited, which the parent's locks survive."""
    global _inheritance, _pid
    if _pid == os.getpid():
        return
    _inheritance, _pid = threading.RLock(), os.getpid()  # a thread that is not here may hold the parent's
    for lock in _open:
        os.close(lock.descriptor)
    _open.clear()


def _begin_fork() -> None:
    _inheritance.acquire()


def _end_fork() -> None:
    _inheritance.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_begin_fork, after_in_parent=_end_fork, after_in_child=close_inherited)


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
