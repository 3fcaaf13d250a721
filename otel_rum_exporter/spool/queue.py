"""The durable queue: events wait on disk until they are delivered, and what the service refuses is kept for people.

    append --> waiting --lease--> leased      both: --forget--> gone, --bury--> dead letter --requeue--> waiting
                  ^                 |
                  +-----release-----+

Rows are leased, never deleted and written anew: whatever instant a process is killed at, each of them is there once.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from otel_rum_exporter.spool import rows as spool_rows
from otel_rum_exporter.spool.database import (
    BESIDE_WAIT_S,
    OWNER_WAIT_S,
    Database,
    SpoolBusyError,
    SpoolCorruptError,
    SpoolError,
    SpoolFull,
    SpoolMovedError,
    Transaction,
    remove_files,
    seal,
)
from otel_rum_exporter.spool.dead_letters import Burial, DeadLetter, DeadLetters
from otel_rum_exporter.spool.group_commit import GroupCommit
from otel_rum_exporter.spool.lock import FileLock
from otel_rum_exporter.spool.rows import NewRow, Row

__all__ = [
    "Burial",
    "DeadLetter",
    "Lease",
    "NewRow",
    "Row",
    "Spool",
    "SpoolBusyError",
    "SpoolCorruptError",
    "SpoolError",
    "SpoolFull",
    "SpoolMovedError",
    "SpoolOptions",
]

_OTHERS_WAIT_S = 0.25  # for which a commit waits for other threads: some transactions, or a slow checkpoint
_AT_ONCE = 500  # rows in a transaction that deletes many, so that it needs little of the disk
_COLUMNS = ", ".join(f"events.{name}" for name in spool_rows.COLUMNS.split(", "))
_LOAD = (
    f"SELECT {_COLUMNS} FROM events WHERE id > ?"  # noqa: S608 - our own columns
    " AND NOT EXISTS (SELECT 1 FROM members WHERE event_id = id) ORDER BY id LIMIT ?"
)
_EXPIRED = (
    "SELECT id FROM events WHERE admitted_ms < ? AND NOT EXISTS (SELECT 1 FROM members WHERE event_id = id) LIMIT ?"
)
# in the order of the index by age, which holds all that this needs; what is younger costs nothing
_OLDER = (
    "SELECT admitted_ms, size, id FROM events WHERE admitted_ms < ? AND (admitted_ms, size, id) > (?, ?, ?)"
    " AND NOT EXISTS (SELECT 1 FROM members WHERE event_id = id) ORDER BY admitted_ms, size, id LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """How a spool is kept.

    Attributes:
        max_bytes: What waiting events and the bodies of leases may take; dead letters have a bound of their own.
        reserve_bytes: Disk space that is left free: without any, SQLite could not even delete.
        fsync: Whether what is kept survives a power loss. Without, it survives the end of the process only.
        wall: Epoch seconds.
    """

    max_bytes: int = 512 * 1024 * 1024
    reserve_bytes: int = 64 * 1024 * 1024
    fsync: bool = False
    wall: Callable[[], float] = time.time


class Lease(NamedTuple):
    """A request that a previous owner of the file made and may have sent; `admitted_ms` says when each of its rows was admitted."""

    id: int
    batch_id: str
    body: bytes
    rows: tuple[int, ...]
    admitted_ms: tuple[int, ...]

    @property
    def oldest_ms(self) -> int:
        """When the oldest of its rows was admitted."""
        return min(self.admitted_ms, default=0)


class Spool:
    """The queue in one file.

    Shape:  each row is in one place at any time: waiting, leased, a dead letter, or gone for a reason that the caller
            knows. A changing call is one transaction; those that delete by age or move all dead letters are several.
    Errors: `SpoolFull` where there is no room, `SpoolError` where the file cannot be used: damaged, closed, inherited,
            held by others, removed.
    """

    def __init__(self, path: Path, options: SpoolOptions, lock: FileLock | None = None) -> None:
        """Open or create a file.

        Args:
            path: The file.
            options: How to keep it.
            lock: What makes this its owner; None is for looking at a file beside its owner.
        """
        self._options = options
        self._lock = lock
        self._database = Database(path, fsync=options.fsync, wait_s=OWNER_WAIT_S if lock else BESIDE_WAIT_S)
        self._letters = DeadLetters(self._database, options.wall)
        self._commits = GroupCommit(self._commit)
        self._is_closing = False
        try:
            self._first_own_lease = self._last("leases") + 1
            if lock:
                self._dissolve_useless_leases()
        except BaseException:
            self._database.close()
            raise

    # numbers

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def events(self) -> int:
        """How many rows wait or are leased."""
        return self._database.numbers.events

    @property
    def size_bytes(self) -> int:
        """What they and their leases take."""
        return self._database.numbers.size_bytes

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest of them was admitted."""
        return self._database.numbers.oldest_ms

    @property
    def dead_letters(self) -> int:
        """How many dead letters there are."""
        return self._database.numbers.dead_letters

    @property
    def dead_letters_evicted(self) -> int:
        """How many dead letters made room for others or became too old since the file was opened."""
        return self._letters.evicted

    def last_id(self) -> int:
        """Return the highest id that a row ever had; 0 for none."""
        return self._last("events")

    # rows

    def append(self, rows: Sequence[NewRow]) -> list[int]:
        """Keep rows. Returns their ids once they are committed; calls from several threads share commits.

        Does not wait for long: 0.25 s for other threads, and 0.1 s for other processes, or 0.01 s after it did in vain.

        Raises:
            SpoolFull: No row was kept.
            SpoolBusyError: Likewise.
        """
        self._database.check_process()
        return self._commits.submit(rows) if rows else []

    def load(self, after: int, limit: int) -> list[Row]:
        """Return waiting rows with an id over `after`, in order."""
        with self._database.reading() as connection:
            return [spool_rows.row_of(values) for values in connection.execute(_LOAD, (after, limit))]

    def older(self, before_ms: int) -> Iterator[list[int]]:
        """Yield the ids of waiting rows that were admitted before, some at a time, the oldest first."""
        last = (-1, -1, -1)
        while True:
            with self._database.reading() as connection:
                found = connection.execute(_OLDER, (before_ms, *last, _AT_ONCE)).fetchall()
            if not found:
                return
            yield [number for *_, number in found]
            last = found[-1]

    def forget(self, rows: Sequence[int]) -> None:
        """Take out rows that were delivered, or dropped for a reason; their leases lose them, and end with the last.

        After a power loss the latest of them may be there again: they would be delivered twice, with the same ids.
        """
        with self._database.writing(survives_power_loss=False) as write:
            spool_rows.remove(write, rows)

    def expire(self, before_ms: int) -> int:
        """Take out waiting rows that were admitted before. Returns how many. Dead letters that are too old go, too."""
        self._letters.evict()
        expired = 0
        while number := self._remove_some(_EXPIRED, before_ms, _AT_ONCE):
            expired += number
        return expired

    def clear(self) -> int:
        """Take out all rows, waiting or leased. Returns how many."""
        cleared = 0
        while number := self._remove_some("SELECT id FROM events LIMIT ?", _AT_ONCE):
            cleared += number
        return cleared

    # leases

    def lease(self, batch_id: str, body: bytes, rows: Sequence[int]) -> int:
        """Bind waiting rows to a request that is about to be sent. Returns the lease.

        Where there is no room for the body it is not kept, and the lease ends with its owner.
        """
        try:
            return self._add_lease(batch_id, body, rows)
        except SpoolFull:
            return self._add_lease(batch_id, None, rows)

    def leases(self, after: int = 0, limit: int = -1) -> list[Lease]:
        """Return the leases that previous owners left, with an id over `after`, in order; -1 is no limit."""
        query = "SELECT id, batch_id, body, seal FROM leases WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
        with self._database.writing() as read:  # a transaction, so that bodies and rows belong together
            found = read.all(query, after, self._first_own_lease, limit)
            return [_lease_of(read, *values) for values in found]

    def release(self, lease: int) -> None:
        """End a lease; its rows wait again."""
        with self._database.writing() as write:
            spool_rows.end_lease(write, lease)

    # dead letters

    def bury(self, burials: Sequence[Burial]) -> None:
        """Make rows dead letters, in one transaction; their leases lose them."""
        self._letters.bury(burials)

    def letters(self, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Return dead letters with an id over `after`, in order."""
        return self._letters.listed(after, limit)

    def reasons(self) -> dict[str, int]:
        """Return how many dead letters there are of each reason."""
        with self._database.reading() as connection:
            return dict(connection.execute("SELECT reason, count(*) FROM letters GROUP BY reason").fetchall())

    def requeue(self, ids: Sequence[int] | None) -> int:
        """Let dead letters wait again as new rows, all for None. Returns how many; fewer than asked if the disk is full."""
        return self._letters.requeue(ids)

    def purge(self, ids: Sequence[int] | None) -> int:
        """Delete dead letters, all for None. Returns how many."""
        return self._letters.purge(ids)

    # place

    @property
    def has_file(self) -> bool:
        """Whether the file is where the next owner will look for it: it was not removed or replaced meanwhile."""
        return self._database.is_in_place

    @property
    def has_lock(self) -> bool:
        """Whether the lock is where others will look for it."""
        return self._lock is not None and self._lock.is_in_place

    def relock(self, lock: FileLock) -> None:
        """Replace a lock whose file was removed."""
        before, self._lock = self._lock, lock
        if before:
            before.release()

    def move(self, path: Path, lock: FileLock) -> None:
        """Go on in another file, an empty one, with all that is in this one; its own is gone."""
        self._database.move(path)
        if self._lock and self._lock.is_in_place:
            self._lock.remove()
        self.relock(lock)

    # end

    def close(self) -> None:
        """Close the file and let others have it; one that holds nothing is removed. In a forked child: `abandon`."""
        if not self._database.is_open:
            self.abandon()
            return
        self._is_closing = True  # what came between finding the file empty and closing it would be removed with it
        is_empty = self._lock is not None and self._is_empty()
        self._database.close()
        lock, self._lock = self._lock, None
        if lock and is_empty:
            with contextlib.suppress(OSError):  # what cannot be removed holds nothing
                # before the lock's own file: whoever takes the lock finds no database
                remove_files(self.path)
                lock.remove()
        if lock:
            lock.release()

    def abandon(self) -> None:
        """Leave the file to the parent after a fork: the connection is not touched, the inherited lock let go."""
        self._database.abandon()
        lock, self._lock = self._lock, None
        if lock:
            lock.release()

    # inside

    def _commit(self, groups: Sequence[Sequence[NewRow]]) -> list[list[int] | Exception]:
        try:
            with self._database.writing(_OTHERS_WAIT_S) as write:
                if self._is_closing:
                    raise SpoolError(f"{self.path}: the spool is about to be closed")  # noqa: TRY301 - as a closed one does
                return [self._admit(write, rows) for rows in groups]
        except (SpoolError, SpoolFull) as error:
            # to each thread an exception of its own, since raising one writes into it
            return [type(error)(*error.args) for _ in groups]

    def _admit(self, write: Transaction, rows: Sequence[NewRow]) -> list[int] | Exception:
        size = sum(map(spool_rows.size_of, rows))
        if write.size_bytes + size > self._options.max_bytes:
            return SpoolFull(f"{self.path} holds {write.size_bytes} bytes, of {self._options.max_bytes} at most")
        if not self._leaves_reserve(size, _reusable_bytes(write)):
            return SpoolFull(f"the disk of {self.path} has fewer than {self._options.reserve_bytes} bytes free")
        return spool_rows.add(write, rows)

    def _leaves_reserve(self, size: int, reusable: int) -> bool:
        """Tell whether there is room for so many bytes. `reusable` are those that the file has, and nothing is in.

        The file never shrinks: once a full disk has drained, what comes goes where the others were. The log alone takes
        of the disk then, for a while, for which half of the reserve is enough.
        """
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise SpoolError(str(error)) from error
        reserve = self._options.reserve_bytes
        # twice: in the write-ahead log and, from the next checkpoint on, in the database
        return free + reusable - 2 * size >= reserve and free - size >= reserve // 2

    def _add_lease(self, batch_id: str, body: bytes | None, rows: Sequence[int]) -> int:
        with self._database.writing(survives_power_loss=False) as write:  # without it the rows make another batch
            if body is not None and not self._leaves_reserve(len(body), _reusable_bytes(write)):
                body = None
            return spool_rows.add_lease(write, batch_id, body, rows)

    def _dissolve_useless_leases(self) -> None:
        with self._database.writing() as write:
            query = (
                "SELECT id FROM leases WHERE body IS NULL OR NOT EXISTS (SELECT 1 FROM members WHERE lease = leases.id)"
            )
            for (lease,) in write.all(query):
                spool_rows.end_lease(write, lease)

    def _remove_some(self, query: str, *values: int) -> int:
        with self._database.writing() as write:
            return spool_rows.remove(write, [number for (number,) in write.all(query, *values)])

    def _last(self, table: str) -> int:
        with self._database.reading() as connection:
            query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?"
            (last,) = connection.execute(query, (table,)).fetchone()
        return int(last)

    def _is_empty(self) -> bool:
        try:
            with self._database.writing() as read:
                return not read.events and not read.dead_letters
        except (SpoolError, SpoolFull):
            return False


def _reusable_bytes(read: Transaction) -> int:
    (pages,), (page_bytes,) = read.one("PRAGMA freelist_count"), read.one("PRAGMA page_size")
    return int(pages * page_bytes)


def _lease_of(read: Transaction, lease: int, batch_id: str, body: bytes, written: int) -> Lease:
    if seal(body) != written:
        raise SpoolCorruptError(f"lease {lease} is damaged")
    query = "SELECT event_id, admitted_ms FROM members JOIN events ON id = event_id WHERE lease = ? ORDER BY event_id"
    rows = read.all(query, lease)
    return Lease(lease, batch_id, body, tuple(row for row, _ in rows), tuple(admitted_ms for _, admitted_ms in rows))
