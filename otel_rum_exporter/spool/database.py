"""The SQLite file of a spool: its schema, one connection behind one lock, transactions, and what its errors mean.

Write-ahead logging, so that the command line reads beside the owner. A connection belongs to the process that made it:
SQLite forbids to carry it over a fork, where even closing it can harm the parent's.
Source: https://www.sqlite.org/howtocorrupt.html, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from otel_rum_exporter.spool.forks import inside_sqlite

SCHEMA_VERSION = 1

OWNER_WAIT_S = 0.1
"""For how long an owner waits for another process that writes to its file: an export may be waiting for the owner."""
BESIDE_WAIT_S = 5.0
"""For how long somebody else waits for the owner."""

_IMPATIENT_S = 0.01  # instead of an owner's, since it last waited in vain
_CHECKPOINT_PAGES = 1000
_WAL_BYTES = 8 * 1024 * 1024  # to which a write-ahead log is cut that a long transaction made longer
_CHECKED_BYTES = 64 * 1024 * 1024  # up to which checking a whole file takes no time that a start would notice
_SCARCE_BYTES = 16 * 1024 * 1024  # of free disk, where the log must not grow any more
_SMALLEST_PAGE = 512  # bytes, https://www.sqlite.org/fileformat.html
_FOREVER = -1.0  # as locks take it
_PARAMETERS = 500  # of one statement; SQLite's limit was 999 for long

# size stands in the indices by age, so that counting needs none of the pages that hold events;
# members is a table of its own, so that leasing does not write the events anew
_SCHEMA = f"""
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, admitted_ms INTEGER NOT NULL, size INTEGER NOT NULL,
    seal INTEGER NOT NULL, key BLOB NOT NULL, event BLOB NOT NULL);
CREATE INDEX events_by_age ON events (admitted_ms, size);
CREATE TABLE leases (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT NOT NULL, size INTEGER NOT NULL, seal INTEGER NOT NULL,
    body BLOB);
CREATE TABLE members (event_id INTEGER PRIMARY KEY, lease INTEGER NOT NULL);
CREATE INDEX members_by_lease ON members (lease);
CREATE TABLE letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_id INTEGER NOT NULL, session TEXT NOT NULL,
    admitted_ms INTEGER NOT NULL, buried_ms INTEGER NOT NULL, size INTEGER NOT NULL, seal INTEGER NOT NULL,
    reason TEXT NOT NULL, message TEXT NOT NULL, key BLOB NOT NULL, event BLOB NOT NULL, readable BLOB NOT NULL);
CREATE INDEX letters_by_age ON letters (buried_ms, size);
PRAGMA user_version = {SCHEMA_VERSION}
"""

_FULL = ("database or disk is full", "no space left")
_BUSY = "is locked"
_CORRUPT = ("malformed", "not a database", "no such table", "no such column", "no such index", "corrupt")


class SpoolError(Exception):
    """The spool cannot be used; the message says why, for people."""


class SpoolCorruptError(SpoolError):
    """The file is damaged. Opening it again quarantines it and saves what can be read."""


class SpoolBusyError(SpoolError):
    """Another process, or another thread, holds the file for longer than it is waited for."""


class SpoolMovedError(SpoolError):
    """The file was removed or replaced while it was open: what is written to it, nobody will find."""


class SpoolFull(Exception):  # noqa: N818 - it is no fault, like queue.Full
    """There is no room for more: the size bound, the disk reserve or the disk itself forbids it."""


class Numbers(NamedTuple):
    """How much there is. Units: sizes in bytes, `oldest_ms` in epoch milliseconds, None for nothing."""

    events: int
    size_bytes: int
    oldest_ms: int | None
    dead_letters: int
    dead_letter_bytes: int


def seal(*parts: str | bytes | int) -> int:
    """Return a checksum: SQLite notices damage to its pages' structure, but not to what they hold."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part if isinstance(part, bytes) else str(part).encode(), checksum)
    return checksum


def files_of(path: Path) -> list[Path]:
    """Return the names of all files that SQLite makes of a database."""
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]


def suspicion_of(path: Path) -> Path:
    """Return the name of the empty file that says: this database was found damaged in use."""
    return path.with_name(path.name + ".suspect")


def is_emptied(path: Path) -> bool:
    """Tell whether a database has no page but a log. SQLite must not see it so: it would remove the log."""
    _, log, _ = files_of(path)
    return path.stat().st_size < _SMALLEST_PAGE and log.exists() and log.stat().st_size > 0


def remove_files(path: Path) -> None:
    """Remove a database that nobody has open, and what belongs to it."""
    for file in (*reversed(files_of(path)), suspicion_of(path)):
        file.unlink(missing_ok=True)


class Transaction:
    """What is changed together. The numbers are those that hold once it is committed."""

    def __init__(self, connection: sqlite3.Connection, numbers: Numbers) -> None:
        self._connection = connection
        self.events = numbers.events
        self.size_bytes = numbers.size_bytes
        self.dead_letters = numbers.dead_letters
        self.dead_letter_bytes = numbers.dead_letter_bytes

    def run(self, sql: str, *values: object) -> int:
        """Run a statement. Returns the id of the row that it inserted."""
        return self._connection.execute(sql, values).lastrowid or 0

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once for each row of values."""
        self._connection.executemany(sql, rows)

    def all(self, sql: str, *values: object) -> list[Any]:
        """Return all rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> Any:
        """Return the first row of a query; only for queries that have one."""
        return self._connection.execute(sql, values).fetchone()

    def numbers(self) -> Numbers:
        """Return the numbers as they are with these changes."""
        (oldest_ms,) = self.one("SELECT min(admitted_ms) FROM events")
        return Numbers(self.events, self.size_bytes, oldest_ms, self.dead_letters, self.dead_letter_bytes)


class Database:
    """One connection to a file, and its numbers.

    Errors: raises `SpoolFull` for a full disk, `SpoolCorruptError` for damage, `SpoolBusyError` for a file that others
            hold, `SpoolMovedError` for writing to one that is gone, and `SpoolError` for everything else that SQLite
            reports, for use in another process, and after `close`.
    """

    def __init__(self, path: Path, *, fsync: bool, wait_s: float) -> None:
        """Open or create the file.

        Args:
            path: The file.
            fsync: Whether commits survive a power loss, but for those that need not.
            wait_s: For how long another process may hold the file; less, while it was waited for in vain before.
        """
        self.path = path
        self._fsync = self._is_syncing = fsync
        self._wait_s = wait_s
        self._is_impatient = False
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None  # of the data that the numbers are of; None where nobody knows
        with self._translated():
            self._identity, size = _identity(path), path.stat().st_size
            if is_emptied(path):
                raise SpoolCorruptError(f"{path}: it is empty, beside a log of what was committed")
            self._connection = connection = self._connect(path)
            try:
                self._set_up(connection)
                if size <= _CHECKED_BYTES:
                    _check(connection)
                self._numbers_now(connection)
            except BaseException:
                self._connection = None
                connection.close()
                raise

    numbers: Numbers

    def _connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=self._wait_s, isolation_level=None, check_same_thread=False)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        if _schema_version(connection) > SCHEMA_VERSION:  # its rows are all there, for the version that knows them
            raise SpoolError(f"{self.path}: a newer version of this package wrote it")
        for pragma in (
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {_WAL_BYTES}",
            f"synchronous = {_synchronous(is_syncing=self._fsync)}",
            "temp_store = MEMORY",  # nobody's data in files elsewhere
            "secure_delete = FAST",  # overwrites what is deleted, where the page is written anyway
        ):
            connection.execute(f"PRAGMA {pragma}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise SpoolError(f"{self.path}: this file system cannot do write-ahead logging; choose a local disk")
        create_tables(connection)

    @property
    def is_open(self) -> bool:
        """Whether the connection can be used, in this process."""
        return self._connection is not None and self._pid == os.getpid()

    @property
    def is_in_place(self) -> bool:
        """Whether the open file is still the one of that name."""
        return _identity(self.path) == self._identity

    @contextmanager
    def reading(self, wait_s: float = _FOREVER) -> Iterator[sqlite3.Connection]:
        """Hold the connection for queries. `wait_s` is for how long other threads may hold it."""
        self.check_process()
        if not self._lock.acquire(timeout=wait_s):
            raise SpoolBusyError(f"{self.path}: other threads hold it for more than {wait_s} s")
        try:
            with self._translated():
                if self._connection is None:
                    raise SpoolError(f"{self.path}: the spool is closed")
                self._numbers_now(self._connection)
                yield self._connection
        finally:
            self._lock.release()

    @contextmanager
    def writing(self, wait_s: float = _FOREVER, *, survives_power_loss: bool = True) -> Iterator[Transaction]:
        """Hold the connection for a transaction: all of it is committed, or nothing.

        Args:
            wait_s: As for `reading`.
            survives_power_loss: False for what may as well be undone then. Syncing is most of a small commit, and whoever
                else wants to write waits for it.
        """
        with self.reading(wait_s) as connection:
            if not self.is_in_place:
                raise SpoolMovedError(f"{self.path} was removed or replaced while it was in use")
            if shutil.disk_usage(self.path.parent).free < _SCARCE_BYTES:
                # what is in the database already need not stay in the log, which then begins at its start again
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._sync(connection, is_syncing=self._fsync and survives_power_loss)
            try:
                self._begin(connection)
                transaction = Transaction(connection, self._numbers_now(connection))
                yield transaction
                numbers = transaction.numbers()
                connection.execute("COMMIT")
                self.numbers = numbers
            except BaseException:
                self._version = None
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _begin(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            self._be_impatient(connection, is_impatient=_BUSY in str(error))
            raise
        self._be_impatient(connection, is_impatient=False)

    def _sync(self, connection: sqlite3.Connection, *, is_syncing: bool) -> None:
        """Sync the log with each commit from now on, with all that was committed before; or leave that to the system."""
        if is_syncing != self._is_syncing:
            connection.execute(f"PRAGMA synchronous = {_synchronous(is_syncing=is_syncing)}")
            self._is_syncing = is_syncing

    def _be_impatient(self, connection: sqlite3.Connection, *, is_impatient: bool) -> None:
        """Wait less, or as long as before: where one waited in vain, all who come after would."""
        if is_impatient != self._is_impatient:
            wait_s = min(self._wait_s, _IMPATIENT_S) if is_impatient else self._wait_s
            connection.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}").fetchall()
            self._is_impatient = is_impatient

    def move(self, path: Path) -> None:
        """Go on in another file, an empty one, with all that is in this one: row ids and leases stay as they are.

        What was removed can be read as long as it is open. SQLite notices on closing it that it was, and leaves alone
        what may be of the same name by then.
        """
        with self.reading() as connection:
            target = self._connect(path)
            try:
                connection.backup(target)
                self._set_up(target)
            except BaseException:
                target.close()
                raise
            self.path, self._identity, self._connection = path, _identity(path), target
            self._version, self._is_impatient, self._is_syncing = None, False, self._fsync
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            self._numbers_now(target)

    def check_process(self) -> None:
        """Refuse use in a process that another one forked, before any lock: a thread that is not here may hold it."""
        if self._pid != os.getpid():
            raise SpoolError(f"{self.path}: the spool belongs to process {self._pid}; this process needs its own")

    def close(self) -> None:
        """Close the connection; in another process than its own, leave it alone."""
        if not self.is_open:
            self.abandon()
            return
        with self._lock, inside_sqlite:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def abandon(self) -> None:
        """Forget the connection after a fork, without closing it, not even when the interpreter ends."""
        connection, self._connection = self._connection, None
        if connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
            _inherited[self._identity] = connection

    def _numbers_now(self, connection: sqlite3.Connection) -> Numbers:
        """Return the numbers; counted anew after errors, and where the command line changed something."""
        version = _data_version(connection)
        if version != self._version:
            self._version = version
            self.numbers = _counted(connection)
        return self.numbers

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with inside_sqlite:
                yield
        except SpoolCorruptError:
            self._suspect()
            raise
        except sqlite3.Error as error:
            message = f"{self.path}: {error}"
            if _BUSY in str(error):
                raise SpoolBusyError(message) from error
            if any(sign in str(error).lower() for sign in _FULL):
                raise SpoolFull(message) from error
            if any(sign in str(error).lower() for sign in _CORRUPT):
                self._suspect()
                raise SpoolCorruptError(message) from error
            raise SpoolError(message) from error
        except OSError as error:
            raise SpoolError(str(error)) from error

    def _suspect(self) -> None:
        with contextlib.suppress(OSError):
            suspicion_of(self.path).touch(mode=0o600)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_inherited: dict[tuple[int, int] | None, sqlite3.Connection] = {}


def close_inherited(path: Path) -> None:
    """Close what a parent had open of a file that this process owns by now: that parent has ended.

    SQLite tells files by device and inode, and takes the locks of all connections to one for this process's own. Those of
    the parent are not: whoever looked at the file beside this process would be the last to close it, as far as he can
    see, and remove the log with what is committed there.
    """
    connection = _inherited.pop(_identity(path), None)
    if connection is not None:
        with inside_sqlite, contextlib.suppress(sqlite3.Error):
            connection.close()


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file; refuse those of another version."""
    if _schema_version(connection) == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    version = _schema_version(connection)  # another process may have been faster
    if version != SCHEMA_VERSION:
        if version or tables:
            connection.execute("ROLLBACK")
            raise SpoolCorruptError(f"its schema has version {version}, not {SCHEMA_VERSION}")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    connection.execute("COMMIT")


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _synchronous(*, is_syncing: bool) -> str:
    return "FULL" if is_syncing else "NORMAL"  # NORMAL syncs the log where a checkpoint needs it, and no more


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise SpoolCorruptError(f"its structure is damaged: {found}")


def _data_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _counted(connection: sqlite3.Connection) -> Numbers:
    events, size, oldest_ms = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), min(admitted_ms) FROM events INDEXED BY events_by_age"
    ).fetchone()
    (bodies,) = connection.execute("SELECT coalesce(sum(size), 0) FROM leases").fetchone()
    letters, letter_bytes = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM letters INDEXED BY letters_by_age"
    ).fetchone()
    return Numbers(events, size + bodies, oldest_ms, letters, letter_bytes)


def chunks(ids: Iterable[int]) -> Iterator[tuple[str, list[int]]]:
    """Yield ids in as many as one statement takes, each time with the question marks that stand for them."""
    numbers = iter(ids)
    while chunk := list(islice(numbers, _PARAMETERS)):
        yield ",".join("?" * len(chunk)), chunk
