"""The directory of spool files: which is whose, what becomes of those that others left, and who may read them.

    spool-<process>-<random>.sqlite     one owner's queue and dead letters, besides SQLite's -wal and -shm
    spool-<process>-<random>.lock       locked for as long as its owner lives
    *.sqlite.corrupt-<time>             what a damaged file was before all that can be read was saved into a new one

The process in a name is the one that made the file; an owner that died is followed by another one.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.spool.database import close_inherited, files_of, remove_files, suspicion_of
from otel_rum_exporter.spool.dead_letters import MAX_AGE_MS
from otel_rum_exporter.spool.lock import FileLock, holder
from otel_rum_exporter.spool.queue import Spool, SpoolCorruptError, SpoolError, SpoolFull, SpoolOptions
from otel_rum_exporter.spool.salvage import finish, salvage

_FILES = "spool-*.sqlite"
_START_S = 1.0  # for what opening may do about damaged files, so that a start is over in two seconds
_OTHERS = 0o077
_OTHERS_WRITE = 0o022

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class SpoolDirectory:
    """The files in one directory.

    Attributes:
        path: The directory.
        quarantined: How many damaged files were put aside.
        salvaged: How many events and dead letters were read from them.
    """

    def __init__(self, path: Path, options: SpoolOptions | None = None) -> None:
        """Create the directory if there is none.

        Args:
            path: The directory; its owner alone may write there.
            options: How files are kept.

        Raises:
            SpoolError: The directory cannot be used, or is not safe.
        """
        self.path = path
        self._options = options or SpoolOptions()
        self._log = CauseLog(_logger, time.monotonic)
        self.quarantined = 0
        self.salvaged = 0
        try:
            _create(path)
            check_private(path)
        except OSError as error:
            raise SpoolError(f"the spool directory {path} cannot be used: {error.strerror}") from error

    def open_own(self) -> Spool:
        """Open a file whose owner is gone, or else a new one. Takes two seconds at most: damage that is larger waits.

        Raises:
            SpoolError: No file can be made.
        """
        self._remove_old_quarantine()
        deadline = time.monotonic() + _START_S
        for path in self.files():
            spool = self._take(path, deadline)
            if spool is not None:
                return spool
        return self._make()

    def adopt(self) -> list[Spool]:
        """Open all files whose owners are gone. Takes its time for damaged ones: not for threads that others wait for."""
        return [spool for path in self.files() if (spool := self._take(path, None)) is not None]

    def files(self) -> list[Path]:
        """Return the spool files, and those that are just being saved from damage."""
        names = {path.name.removesuffix(".salvaged") for path in self.path.glob(_FILES + "*") if _is_spool(path)}
        return [self.path / name for name in sorted(names)]

    def quarantine(self) -> list[Path]:
        """Return the damaged files that were put aside."""
        return sorted(self.path.glob(_FILES + ".corrupt-*Z"))

    def owner(self, path: Path) -> int | None:
        """Return the id of the process that owns a file, 0 where that cannot be told, None if nobody does."""
        return holder(_lock_of(path))

    def open_beside(self, path: Path) -> Spool:
        """Open a file without becoming its owner, to look at it and to move its dead letters."""
        _refuse_links(path)
        return Spool(path, self._options)

    def open_alone(self, path: Path) -> Spool | None:
        """Open a file as its owner; None where another process owns it."""
        return self._take(path, None)

    def restore(self, spool: Spool) -> None:
        """Put a file that was removed or replaced while it was open back, with all that it held, under a new name.

        Where only its lock was removed, that is put back.

        Raises:
            SpoolError: It cannot be. What was in it can be read as before, until it is closed.
        """
        if spool.has_file:
            self._relock(spool)
            return
        try:
            _create(self.path)
            check_private(self.path)
        except OSError as error:
            raise SpoolError(f"the spool directory {self.path} cannot be used: {error.strerror}") from error
        self._in_new_file(spool.move)

    def _relock(self, spool: Spool) -> None:
        lock = None if spool.has_lock else FileLock.take(_lock_of(spool.path))
        if lock is not None:
            spool.relock(lock)
        elif not spool.has_lock:
            raise SpoolError(f"{spool.path}: its lock was removed, and another process has taken it over")

    def _make(self) -> Spool:
        return self._in_new_file(lambda path, lock: Spool(path, self._options, lock))

    def _in_new_file(self, use: Callable[[Path, FileLock], T]) -> T:
        try:
            path, lock = self._new_name()
        except OSError as error:
            raise SpoolError(f"no spool file can be made in {self.path}: {error.strerror}") from error
        try:
            _create_private(path)
            return use(path, lock)
        except (SpoolError, SpoolFull, OSError) as error:
            remove_files(path)
            lock.remove()
            raise SpoolError(f"no spool file can be made in {self.path}: {error}") from error

    def _new_name(self) -> tuple[Path, FileLock]:
        while True:
            path = self.path / f"spool-{os.getpid()}-{secrets.token_hex(4)}.sqlite"
            lock = FileLock.take(_lock_of(path))
            if lock is not None:  # else somebody tidied up just then
                return path, lock

    def _take(self, path: Path, deadline: float | None) -> Spool | None:
        """Become the owner of a file and open it; None where that is not possible, or not before the deadline."""
        lock = None
        spool = None
        try:
            _refuse_links(path)
            lock = FileLock.take(_lock_of(path))
            if lock is not None:
                spool = self._open(path, lock, deadline)
        except (SpoolError, SpoolFull, OSError, sqlite3.Error) as error:
            self._log.say(logging.ERROR, path.name, f"A spool file cannot be opened: {printable(error)}")
        finally:
            if lock is not None and spool is None:
                lock.release()
        return spool

    def _open(self, path: Path, lock: FileLock, deadline: float | None) -> Spool | None:
        close_inherited(path)
        finish(path)
        if not path.exists():  # its last owner removed it just then
            lock.remove()
            return None
        try:
            if suspicion_of(path).exists():
                raise SpoolCorruptError("it was found damaged in use")  # noqa: TRY301 - as opening it does
            return Spool(path, self._options, lock)
        except SpoolCorruptError as error:
            return Spool(path, self._options, lock) if self._salvage(path, error, deadline) else None

    def _salvage(self, path: Path, error: SpoolError, deadline: float | None) -> bool:
        salvaged = salvage(path, deadline, self._options.wall())
        if salvaged is None:
            return False
        self.quarantined += 1
        self.salvaged += salvaged.events + salvaged.dead_letters
        line = (
            f"The spool file {printable(path)} is damaged ({printable(error)}); {salvaged.events} events and "
            f"{salvaged.dead_letters} dead letters could be read and are kept. "
            f"The damaged file is now {printable(salvaged.quarantined.name)}"
        )
        self._log.say(logging.ERROR, f"damaged {path.name}", line)
        return True

    def _remove_old_quarantine(self) -> None:
        """Remove damaged files as dead letters are: they hold what users did."""
        oldest_s = self._options.wall() - MAX_AGE_MS / 1000
        for path in self.path.glob(_FILES + ".corrupt-*"):
            with suppress(OSError):
                if path.lstat().st_mtime < oldest_s:
                    path.unlink()


def check_private(path: Path) -> None:
    """Refuse a directory in which others could put or read files.

    Raises:
        SpoolError: It is none, somebody else's, a symbolic link or open to others.
        OSError: It cannot be looked at.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise SpoolError(f"the spool directory {path} is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(found.st_mode):
        raise SpoolError(f"the spool directory {path} is not a directory")
    if os.name == "nt":  # rights are inherited from the folder above there
        return
    if found.st_uid != os.getuid():
        raise SpoolError(f"the spool directory {path} belongs to user {found.st_uid}, not to this one ({os.getuid()})")
    is_among_others = path.absolute().parent.stat().st_mode & stat.S_IWOTH
    if found.st_mode & (_OTHERS if is_among_others else _OTHERS_WRITE):
        raise SpoolError(
            f"the spool directory {path} is open to other users; `chmod 700 {path}` closes it, or name a folder in it"
        )


def _create(path: Path) -> None:
    with suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # whatever the umask says


def _create_private(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)  # whatever the umask says; SQLite gives its other files the same mode
    finally:
        os.close(descriptor)


def _is_spool(path: Path) -> bool:
    return path.name.endswith((".sqlite", ".sqlite.salvaged"))


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _refuse_links(path: Path) -> None:
    for file in _companions(path):
        if file.is_symlink():
            raise SpoolError(f"{file} is a symbolic link, which is not followed")


def _companions(path: Path) -> Iterator[Path]:
    yield from files_of(path)
    yield _lock_of(path)
    yield suspicion_of(path)
    yield path.with_name(path.name + ".salvaged")
