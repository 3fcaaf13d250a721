"""The events of a spool as rows: added, read, leased, and taken out with all that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from otel_rum_exporter.spool.database import SpoolCorruptError, Transaction, chunks, seal

COLUMNS = "id, session, key, event, admitted_ms, seal"
"""What `row_of` takes."""

_OVERHEAD_BYTES = 64  # of a row and its entry in the index
_LEASE_OVERHEAD_BYTES = 64


class NewRow(NamedTuple):
    """An event to keep; `key` and `event` are for the caller to understand. Units: epoch milliseconds."""

    session: str
    key: bytes
    event: bytes
    admitted_ms: int


class Row(NamedTuple):
    """An event that is kept. Ids grow, and are never used again."""

    id: int
    session: str
    key: bytes
    event: bytes
    admitted_ms: int


def size_of(row: NewRow) -> int:
    """Return what a row counts against the size bound. Units: bytes."""
    return _OVERHEAD_BYTES + len(row.session) + len(row.key) + len(row.event)


def row_of(values: Sequence[Any]) -> Row:
    """Return a row from its columns.

    Raises:
        SpoolCorruptError: They are not what was written.
    """
    *fields, written = values
    row = Row(*fields)
    if seal(row.id, row.session, row.key, row.event) != written:
        raise SpoolCorruptError(f"event {row.id} is damaged")
    return row


def add(write: Transaction, rows: Sequence[NewRow]) -> list[int]:
    """Add rows. Returns their ids, in order."""
    (last,) = write.one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")
    sizes = [size_of(row) for row in rows]
    write.run_many(
        "INSERT INTO events (id, session, admitted_ms, size, seal, key, event) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (number, session, admitted_ms, size, seal(number, session, key, event), key, event)
            for number, size, (session, key, event, admitted_ms) in zip(
                range(last + 1, 2**63), sizes, rows, strict=False
            )
        ),
    )
    write.events += len(rows)
    write.size_bytes += sum(sizes)
    return list(range(last + 1, last + 1 + len(rows)))


def remove(write: Transaction, ids: Iterable[int]) -> int:
    """Take rows out, of their leases, too; a lease that loses its last row goes. Returns how many there were."""
    removed = 0
    for marks, some in chunks(ids):
        # S608 here and below: the text that is put in consists of question marks
        number, size = write.one(f"SELECT count(*), coalesce(sum(size), 0) FROM events WHERE id IN ({marks})", *some)  # noqa: S608
        leases = write.all(f"SELECT DISTINCT lease FROM members WHERE event_id IN ({marks})", *some)  # noqa: S608
        write.run(f"DELETE FROM members WHERE event_id IN ({marks})", *some)  # noqa: S608
        write.run(f"DELETE FROM events WHERE id IN ({marks})", *some)  # noqa: S608
        for (lease,) in leases:
            if not write.one("SELECT EXISTS (SELECT 1 FROM members WHERE lease = ?)", lease)[0]:
                end_lease(write, lease)
        write.events -= number
        write.size_bytes -= size
        removed += number
    return removed


def add_lease(write: Transaction, batch_id: str, body: bytes | None, rows: Iterable[int]) -> int:
    """Bind rows to a request, those that are not gone meanwhile. Returns the lease."""
    size = _LEASE_OVERHEAD_BYTES + len(body or b"")
    lease = write.run(
        "INSERT INTO leases (batch_id, size, seal, body) VALUES (?, ?, ?, ?)", batch_id, size, seal(body or b""), body
    )
    write.run_many(
        "INSERT INTO members (event_id, lease) SELECT id, ? FROM events WHERE id = ?", [(lease, row) for row in rows]
    )
    write.size_bytes += size
    return lease


def end_lease(write: Transaction, lease: int) -> None:
    """Take a lease away; its rows, where there are any, wait again."""
    for (size,) in write.all("SELECT size FROM leases WHERE id = ?", lease):
        write.size_bytes -= size
    write.run("DELETE FROM members WHERE lease = ?", lease)
    write.run("DELETE FROM leases WHERE id = ?", lease)
