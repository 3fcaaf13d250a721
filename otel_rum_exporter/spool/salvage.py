"""A damaged spool file becomes a sound one with all that could be read, and is kept beside it for people.

Killed at any instant, it is done again or finished at the next opening, and no row is there twice:

    X.sqlite is there            what X.sqlite.salvaged holds may be incomplete: written anew
    X.sqlite is gone             X.sqlite.salvaged is complete: it becomes X.sqlite

in between, the damaged file gets its name X.sqlite.corrupt-<time>. Whoever does this holds the file's lock.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from otel_rum_exporter.spool.database import create_tables, files_of, is_emptied, seal, suspicion_of
from otel_rum_exporter.spool.forks import inside_sqlite

_AT_ONCE = 256  # rows between looks at the clock
_COPIED_BYTES = 64 * 1024 * 1024  # of a file that is copied although somebody waits
_HIGHEST_ID = 2**63 - 1
_LINEAR = 1024  # ids that are tried one by one behind damage; a page holds some dozens
# https://www.sqlite.org/fileformat.html: the number of pages in a database's header, the size of one in a log's
_SIZE_AT = slice(28, 32)
_PAGE_SIZE_AT = slice(8, 12)
_LARGEST_PAGE = 65536


class Salvaged(NamedTuple):
    """How many rows and dead letters could be read, and where the damaged file is now."""

    events: int
    dead_letters: int
    quarantined: Path


class _OutOfTime(Exception):  # noqa: N818 - the caller's wish, no fault
    pass


def salvage(path: Path, deadline: float | None, now_s: float) -> Salvaged | None:
    """Replace a damaged file by a sound one.

    Args:
        path: The file.
        deadline: Monotonic seconds, after which nothing has happened and None is returned.
        now_s: Epoch seconds, for the name of the damaged file.

    Raises:
        sqlite3.Error: The new file could not be written, and nothing has happened: the disk may be full.
    """
    target = _target_of(path)
    _remove(target)
    if is_emptied(path):
        _fill(path)
    try:
        with inside_sqlite:
            events, letters = _copy(path, target, deadline)
    except _OutOfTime:
        _remove(target)
        return None
    quarantined = _quarantine_name(path, now_s)
    path.rename(quarantined)
    finish(path)
    return Salvaged(events, letters, quarantined)


def finish(path: Path) -> None:
    """Finish what was begun before the process ended, if anything was."""
    target = _target_of(path)
    if path.exists() or not target.exists():
        return
    _, log, index = files_of(path)
    # the new file must not find the old one's log
    quarantined = max(path.parent.glob(f"{path.name}.corrupt-*Z"), default=None)
    if log.exists():
        log.rename(f"{quarantined}-wal") if quarantined else log.unlink()
    index.unlink(missing_ok=True)
    target.rename(path)
    suspicion_of(path).unlink(missing_ok=True)
    _sync(path.parent)


def _fill(path: Path) -> None:
    """Give an empty database one page, of zeros: now SQLite reads its log, where the first page is as it should be."""
    _, log, _ = files_of(path)
    with log.open("rb") as file:
        page_size = int.from_bytes(file.read(_PAGE_SIZE_AT.stop)[_PAGE_SIZE_AT], "big")
    os.truncate(path, min(page_size, _LARGEST_PAGE))


def _target_of(path: Path) -> Path:
    return path.with_name(path.name + ".salvaged")


def _remove(database: Path) -> None:
    for file in (*files_of(database), database.with_name(database.name + "-journal")):
        file.unlink(missing_ok=True)


def _quarantine_name(path: Path, now_s: float) -> Path:
    moment = datetime.fromtimestamp(now_s, timezone.utc)
    name = f"{path.name}.corrupt-{moment:%Y%m%dT%H%M%S.%fZ}"
    return path.with_name(name)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # cannot be opened there
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(path: Path, target: Path, deadline: float | None) -> tuple[int, int]:
    """Write all that can be read into a new file, and return how many rows and dead letters that is."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(target, isolation_level=None)) as into:
        # a file that is not finished is worth nothing; the finished one is synced
        into.execute("PRAGMA journal_mode = OFF")
        into.execute("PRAGMA synchronous = OFF")
        create_tables(into)
        with _opened(path, target, deadline) as damaged:
            counts = _copied(damaged, into, _EVENTS, deadline), _copied(damaged, into, _LETTERS, deadline)
            _keep_ids_unique(damaged, into)
    _sync(target)
    return counts


@contextlib.contextmanager
def _opened(path: Path, sound: Path, deadline: float | None) -> Iterator[sqlite3.Connection]:
    """Open the damaged file; where its first page is unusable, a copy of it with the first page of a sound one."""
    with closing(_connected(path)) as damaged:
        if _has_tables(damaged):
            yield damaged
            return
    if deadline is not None and path.stat().st_size > _COPIED_BYTES:
        raise _OutOfTime
    copy = path.with_name(path.name + ".copy")
    try:
        _transplant(path, sound, copy)
        with closing(_connected(copy)) as damaged:
            yield damaged
    finally:
        _remove(copy)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # else a file with fewer pages than its header says cannot be read at all
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA writable_schema = ON")
    return connection


def _has_tables(damaged: sqlite3.Connection) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('events', 'letters')"
    try:
        return bool(damaged.execute(query).fetchone()[0])
    except sqlite3.Error:
        return False


def _transplant(path: Path, sound: Path, copy: Path) -> None:
    """Copy a file, with the first page of a sound one: that holds the schema, which is always the same."""
    _remove(copy)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for source, name in zip(files_of(path)[:2], files_of(copy), strict=False):
        if source.exists():
            shutil.copyfile(source, name)
    with sound.open("rb") as file:
        page = bytearray(file.read(_page_size(sound)))
    page[_SIZE_AT] = (path.stat().st_size // len(page)).to_bytes(4, "big")
    with copy.open("r+b") as file:
        file.write(page)


def _page_size(path: Path) -> int:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:], "big")
    return 65536 if size == 1 else size


class _Table(NamedTuple):
    name: str
    columns: tuple[str, ...]
    sealed: tuple[int, ...]  # where among the columns the sealed parts are
    seal: int  # and their seal

    def select(self) -> str:
        """Return the query for all rows from an id on."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} WHERE id >= ? ORDER BY id"  # noqa: S608 - our own names

    def insert(self) -> str:
        """Return the statement that adds a row."""
        marks = ", ".join("?" * len(self.columns))
        return f"INSERT OR IGNORE INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"  # noqa: S608 - our own names

    def is_sound(self, row: tuple[Any, ...]) -> bool:
        """Tell whether a row is what was written."""
        parts = [row[index] for index in self.sealed]
        if not all(isinstance(part, str | bytes | int) for part in parts):
            return False
        return bool(seal(*parts) == row[self.seal])


_EVENTS = _Table("events", ("id", "session", "key", "event", "admitted_ms", "size", "seal"), (0, 1, 2, 3), 6)
_LETTERS = _Table(
    "letters",
    (
        *("id", "session", "key", "event", "readable", "event_id", "admitted_ms", "buried_ms", "size", "reason"),
        *("message", "seal"),
    ),
    (1, 2, 3, 4),
    11,
)


def _copied(damaged: sqlite3.Connection, into: sqlite3.Connection, table: _Table, deadline: float | None) -> int:
    rows = _Rows(damaged, table, deadline).readable()
    before = into.total_changes
    while some := list(islice(rows, _AT_ONCE)):
        into.executemany(table.insert(), some)
        _check_time(deadline)
    return into.total_changes - before


def _check_time(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise _OutOfTime


class _Rows:
    """The rows of a damaged table: what is on a damaged page is stepped over."""

    def __init__(self, damaged: sqlite3.Connection, table: _Table, deadline: float | None) -> None:
        self._damaged = damaged
        self._table = table
        self._deadline = deadline

    def readable(self) -> Iterator[tuple[Any, ...]]:
        """Yield the sound rows, some perhaps twice, in order of their ids as far as these are in order."""
        start = 0
        while start <= _HIGHEST_ID:
            # first one alone: Python fetches one ahead, and fails before it hands out the last one that it could read
            for row in chain(self._from(start, " LIMIT 1"), self._from(start)):
                yield row
                start = max(start, row[0] + 1)
            start = self._behind(start)

    def _from(self, start: int, limit: str = "") -> Iterator[tuple[Any, ...]]:
        """Yield the sound rows from an id on, until one cannot be read."""
        with contextlib.suppress(sqlite3.Error, OverflowError):  # the latter behind the highest id
            for row in self._damaged.execute(self._table.select() + limit, (start,)):
                if self._table.is_sound(row):
                    yield row

    def _behind(self, failed: int) -> int:
        """Return from where on rows can be read again; behind the highest id for nowhere.

        The damage may also consist of wrong ids: only a sound row shows that it is over.
        """
        for start in range(failed, failed + _LINEAR):
            if self._is_sound_from(start):
                return start
        return self._far_behind(failed + _LINEAR)

    def _far_behind(self, failed: int) -> int:
        """Return the same: by steps that double until they are past the damage, and halves back to its end."""
        step = 1
        while not self._is_sound_from(failed + step):
            step *= 2
            if failed + step > _HIGHEST_ID:
                return failed + step
        bad, good = failed + step // 2, failed + step
        while good - bad > 1:
            middle = (bad + good) // 2
            bad, good = (bad, middle) if self._is_sound_from(middle) else (middle, good)
        return good

    def _is_sound_from(self, start: int) -> bool:
        _check_time(self._deadline)
        return any(True for _ in self._from(start, " LIMIT 1"))


def _keep_ids_unique(damaged: sqlite3.Connection, into: sqlite3.Connection) -> None:
    """Let new rows have ids that no row had before, as far as that can still be known."""
    with contextlib.suppress(sqlite3.Error):
        for name, last in damaged.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            into.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))
