"""Dead letters: events that the service will never take as they are, kept for people to look at and to send again.

Bounded in size and age, since they hold what users did: the oldest go first, and are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from otel_rum_exporter.spool import rows as spool_rows
from otel_rum_exporter.spool.database import Database, SpoolCorruptError, SpoolFull, Transaction, chunks, seal
from otel_rum_exporter.spool.rows import NewRow, Row

MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_MS = 14 * 86_400_000

_AT_ONCE = 100  # letters in a transaction, so that moving many needs little of the disk
_BREATH_S = 0.005  # between two of them, in which the file's owner gets to write: SQLite has no queue
_OVERHEAD_BYTES = 96
_COLUMNS = "id, event_id, session, key, event, admitted_ms, readable, reason, message, buried_ms, seal"


class Burial(NamedTuple):
    """A row that is to become a dead letter: the RUM event as JSON, why, and what the service said."""

    row: int
    readable: bytes
    reason: str
    message: str


class DeadLetter(NamedTuple):
    """An event that was given up. Units: epoch milliseconds."""

    id: int
    row: Row
    readable: bytes
    reason: str
    message: str
    buried_ms: int


class DeadLetters:
    """The dead letters of one file.

    Attributes:
        evicted: How many made room for others or became too old, since the file was opened.
    """

    def __init__(self, database: Database, wall: Callable[[], float], max_bytes: int = MAX_BYTES) -> None:
        self._database = database
        self._wall = wall
        self._max_bytes = max_bytes
        self.evicted = 0

    def bury(self, burials: Sequence[Burial]) -> None:
        """Make rows dead letters, in one transaction. A row that is gone meanwhile is left out."""
        buried_ms = self._now_ms()
        with self._database.writing() as write:
            for burial in burials:
                self._bury(write, burial, buried_ms)
            spool_rows.remove(write, [burial.row for burial in burials])
            evicted = self._evict(write, buried_ms)
        self.evicted += evicted

    def evict(self) -> None:
        """Let those go that are too old."""
        evicted = _AT_ONCE
        while evicted >= _AT_ONCE:  # there may be more
            with self._database.writing() as write:
                evicted = self._evict(write, self._now_ms())
            self.evicted += evicted

    def listed(self, after: int, limit: int) -> list[DeadLetter]:
        """Return letters with an id over `after`, in order."""
        with self._database.reading() as connection:
            return [_letter_of(values) for values in connection.execute(_SELECT, (after, limit))]

    def requeue(self, ids: Sequence[int] | None) -> int:
        """Let letters wait again, all of them or some, as new rows with the same event. Returns how many.

        Raises:
            SpoolFull: The disk is full, and none could be moved.
        """
        moved = 0
        for some in self._in_parts(ids):
            try:
                with self._database.writing() as write:
                    number = self._requeue(write, some)
            except SpoolFull:
                if not moved:
                    raise
                break
            moved += number
        return moved

    def purge(self, ids: Sequence[int] | None) -> int:
        """Delete letters, all of them or some. Returns how many."""
        purged = 0
        for some in self._in_parts(ids):
            with self._database.writing() as write:
                number = _remove(write, some)
            purged += number
        return purged

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _bury(self, write: Transaction, burial: Burial, buried_ms: int) -> None:
        found = write.all(f"SELECT {spool_rows.COLUMNS} FROM events WHERE id = ?", burial.row)  # noqa: S608 - our own columns
        for row in map(spool_rows.row_of, found):
            size = _OVERHEAD_BYTES + spool_rows.size_of(NewRow(*row[1:]))
            size += len(burial.readable) + len(burial.reason) + len(burial.message)
            write.run(
                "INSERT INTO letters (event_id, session, admitted_ms, buried_ms, size, seal, reason, message, key,"
                " event, readable) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row.id,
                row.session,
                row.admitted_ms,
                buried_ms,
                size,
                seal(row.session, row.key, row.event, burial.readable),
                burial.reason,
                burial.message,
                row.key,
                row.event,
                burial.readable,
            )
            write.dead_letters += 1
            write.dead_letter_bytes += size

    def _evict(self, write: Transaction, now_ms: int) -> int:
        old = write.all("SELECT id FROM letters WHERE buried_ms < ? LIMIT ?", now_ms - MAX_AGE_MS, _AT_ONCE)
        evicted = _remove(write, [number for (number,) in old])
        while write.dead_letter_bytes > self._max_bytes:
            oldest = write.one("SELECT min(id) FROM letters")
            evicted += _remove(write, oldest)
        return evicted

    def _in_parts(self, ids: Sequence[int] | None) -> Iterator[list[int]]:
        """Yield ids in small parts, with time in between; those of all letters that are there now, for None."""
        if ids is None:
            with self._database.reading() as connection:
                ids = [number for (number,) in connection.execute("SELECT id FROM letters ORDER BY id")]
        for start in range(0, len(ids), _AT_ONCE):
            yield list(ids[start : start + _AT_ONCE])
            time.sleep(_BREATH_S)

    def _requeue(self, write: Transaction, ids: list[int]) -> int:
        marks = ",".join("?" * len(ids))
        found = write.all(f"SELECT {_COLUMNS} FROM letters WHERE id IN ({marks}) ORDER BY id", *ids)  # noqa: S608 - question marks
        # waiting begins anew: what is older than max_age would be given up at once
        now_ms = self._now_ms()
        rows = [NewRow(*letter.row[1:4], now_ms) for letter in map(_letter_of, found)]
        spool_rows.add(write, rows)
        return _remove(write, ids)


_SELECT = f"SELECT {_COLUMNS} FROM letters WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - our own columns


def _letter_of(values: Sequence[Any]) -> DeadLetter:
    number, event_id, session, key, event, admitted_ms, readable, reason, message, buried_ms, written = values
    if seal(session, key, event, readable) != written:
        raise SpoolCorruptError(f"dead letter {number} is damaged")
    return DeadLetter(number, Row(event_id, session, key, event, admitted_ms), readable, reason, message, buried_ms)


def _remove(write: Transaction, ids: Sequence[int]) -> int:
    removed = 0
    for marks, some in chunks(ids):
        number, size = write.one(f"SELECT count(*), coalesce(sum(size), 0) FROM letters WHERE id IN ({marks})", *some)  # noqa: S608 - question marks
        write.run(f"DELETE FROM letters WHERE id IN ({marks})", *some)  # noqa: S608 - question marks
        write.dead_letters -= number
        write.dead_letter_bytes -= size
        removed += number
    return removed
