"""What arrived, in SQLite."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_rum_exporter.local.event_checks import Event, Finding

_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY, received_at REAL, monitor_id TEXT, session_id TEXT, user_id TEXT, batch_id TEXT,
    alias TEXT, app_monitor_details TEXT, session_metadata TEXT, path TEXT, headers TEXT, access_key TEXT,
    encoding TEXT, wire_bytes INTEGER, body_bytes INTEGER, events INTEGER, status TEXT, error TEXT, message TEXT);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, id TEXT UNIQUE, timestamp REAL, type TEXT, details TEXT, metadata TEXT, page_id TEXT,
    request INTEGER, batch_id TEXT, monitor_id TEXT, session_id TEXT, user_id TEXT,
    times_received INTEGER DEFAULT 1, times_changed INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_of_session ON events (session_id, seq);
CREATE TABLE IF NOT EXISTS findings (
    request INTEGER, event_index INTEGER, event_id TEXT, type TEXT, reason TEXT, message TEXT, is_warning INTEGER);
"""

_ADD_REQUEST = """
INSERT INTO requests (received_at, monitor_id, session_id, user_id, batch_id, alias, app_monitor_details,
    session_metadata, path, headers, access_key, encoding, wire_bytes, body_bytes, events, status, error, message)
VALUES (:received_at, :monitor_id, :session_id, :user_id, :batch_id, :alias, :app_monitor_details,
    :session_metadata, :path, :headers, :access_key, :encoding, :wire_bytes, :body_bytes, :events, :status, :error,
    :message)"""

# an event that changes between its deliveries breaks the promise of stable event ids
_ADD_EVENT = """
INSERT INTO events (id, timestamp, type, details, metadata, page_id, request, batch_id, monitor_id, session_id, user_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET times_received = times_received + 1,
    times_changed = times_changed + (details IS NOT excluded.details)"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request as it is kept: the envelope as far as it could be read, and the outcome.

    Attributes:
        status: The status answered, or "hang" or "reset" where none was.
    """

    received_at: float
    monitor_id: str
    path: str
    headers: Mapping[str, str]
    access_key: str | None
    encoding: str
    wire_bytes: int
    body_bytes: int
    status: str
    error: str
    message: str
    document: Mapping[str, Any] = field(default_factory=dict)
    accepted: tuple[Event, ...] = ()
    findings: tuple[Finding, ...] = ()

    def member(self, name: str) -> str | None:
        """Return a member of the envelope if it has the right type."""
        value = self.document.get(name)
        return value if isinstance(value, str) else None

    def user_detail(self, name: str) -> str | None:
        """Return a member of UserDetails if it has the right type."""
        details = self.document.get("UserDetails")
        value = details.get(name) if isinstance(details, dict) else None
        return value if isinstance(value, str) else None


class Store:
    """Keeps requests, and their events once each.

    Args:
        path: SQLite file; empty for a temporary one.
    """

    def __init__(self, path: str = "") -> None:
        # the server may run in another thread than the one that made it, never in two at once
        self.database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.database.row_factory = sqlite3.Row
        # a crash may lose the last rows of a development tool's log; waiting for the disk would slow every answer
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.executescript(_TABLES)

    def add(self, receipt: Receipt) -> None:
        """Keep one request with its accepted events and its findings, all or nothing."""
        self.database.execute("BEGIN")
        try:
            request = self._add_request(receipt)
            self.database.executemany(_ADD_EVENT, [_event_row(event, request, receipt) for event in receipt.accepted])
            self.database.executemany(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(request, f.index, f.event_id, f.type, f.reason, f.message, f.is_warning) for f in receipt.findings],
            )
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def count_events(self) -> int:
        """Return the number of distinct events."""
        (count,) = self.database.execute("SELECT COUNT(*) FROM events").fetchone()
        return int(count)

    def reset(self) -> None:
        """Forget everything."""
        for table in ("events", "requests", "findings"):
            self.database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names

    def close(self) -> None:
        """Close the database; a temporary one vanishes."""
        self.database.close()

    def _add_request(self, receipt: Receipt) -> int | None:
        events = receipt.document.get("RumEvents")
        row = {
            "received_at": receipt.received_at,
            "monitor_id": receipt.monitor_id,
            "session_id": receipt.user_detail("sessionId"),
            "user_id": receipt.user_detail("userId"),
            "batch_id": receipt.member("BatchId"),
            "alias": receipt.member("Alias"),
            "app_monitor_details": json.dumps(receipt.document.get("AppMonitorDetails")),
            "session_metadata": receipt.member("SessionMetadata"),
            "path": receipt.path,
            "headers": json.dumps(receipt.headers),
            "access_key": receipt.access_key,
            "encoding": receipt.encoding,
            "wire_bytes": receipt.wire_bytes,
            "body_bytes": receipt.body_bytes,
            "events": len(events) if isinstance(events, list) else 0,
            "status": receipt.status,
            "error": receipt.error,
            "message": receipt.message,
        }
        return self.database.execute(_ADD_REQUEST, row).lastrowid


def _event_row(event: Event, request: int | None, receipt: Receipt) -> tuple[Any, ...]:
    page_id = event.metadata.get("pageId")
    return (
        event.id,
        event.timestamp,
        event.type,
        event.details_text,
        json.dumps(event.metadata),
        page_id if isinstance(page_id, str) else None,
        request,
        receipt.member("BatchId"),
        receipt.monitor_id,
        receipt.user_detail("sessionId"),
        receipt.user_detail("userId"),
    )
