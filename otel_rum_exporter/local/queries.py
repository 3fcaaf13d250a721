"""Questions about what arrived, answered as JSON-ready values."""

import json
import sqlite3
from typing import Any

from otel_rum_exporter.local.schemas import PREFIX

Row = dict[str, Any]


def sessions(database: sqlite3.Connection) -> list[Row]:
    """Return each session in order of arrival: user, time range, number of events by type, pages."""
    found: dict[str, Row] = {}
    rows = database.execute(
        """SELECT session_id, user_id, type, COUNT(*) AS count, MIN(timestamp) AS first, MAX(timestamp) AS last
        FROM events GROUP BY session_id, user_id, type ORDER BY MIN(seq)"""
    )
    for row in rows:
        session = found.setdefault(
            row["session_id"],
            {
                "session_id": row["session_id"],
                "user_id": row["user_id"],
                "first_timestamp": row["first"],
                "last_timestamp": row["last"],
                "events": 0,
                "events_by_type": {},
                "pages": [],
            },
        )
        _add_type(session, row)
    pages = database.execute(
        "SELECT session_id, page_id FROM events WHERE page_id IS NOT NULL GROUP BY 1, 2 ORDER BY MIN(seq)"
    )
    for session_id, page_id in pages:
        found[session_id]["pages"].append(page_id)
    return list(found.values())


def events(
    database: sqlite3.Connection, session: str | None, event_type: str | None, limit: int, offset: int
) -> tuple[int, list[Row]]:
    """Return how many distinct events match, and one page of them in order of arrival.

    Args:
        database: The store's database.
        session: Session id; None for all.
        event_type: Type, with or without the prefix ``com.amazon.rum.``; None for all.
        limit: Events on the page.
        offset: Events before the page.
    """
    where = "WHERE (:session IS NULL OR session_id = :session) AND (:type IS NULL OR type IN (:type, :prefix || :type))"
    values = {"session": session, "type": event_type, "prefix": PREFIX, "limit": limit, "offset": offset}
    (total,) = database.execute(f"SELECT COUNT(*) FROM events {where}", values).fetchone()  # noqa: S608 - fixed text
    rows = database.execute(f"SELECT * FROM events {where} ORDER BY seq LIMIT :limit OFFSET :offset", values)  # noqa: S608 - fixed text
    return total, [_event(row) for row in rows]


def requests(database: sqlite3.Connection, limit: int, offset: int) -> tuple[int, list[Row]]:
    """Return how many requests came, and one page of them in order of arrival, with their findings."""
    (total,) = database.execute("SELECT COUNT(*) FROM requests").fetchone()
    rows = database.execute("SELECT * FROM requests ORDER BY seq LIMIT ? OFFSET ?", (limit, offset))
    return total, [_request(database, row) for row in rows]


def counts(database: sqlite3.Connection) -> Row:
    """Return the numbers of `GET /api/stats` that the database knows."""
    total, received, changed, session_count = database.execute(
        """SELECT COUNT(*), COALESCE(SUM(times_received), 0), COALESCE(SUM(times_changed), 0),
        COUNT(DISTINCT session_id) FROM events"""
    ).fetchone()
    by_status = dict(database.execute("SELECT status, COUNT(*) FROM requests GROUP BY status").fetchall())
    return {
        "requests": sum(by_status.values()),
        "requests_by_status": by_status,
        "events_received": received,
        "events_distinct": total,
        "events_duplicate": received - total,
        "events_changed": changed,
        "rejected_by_reason": _reasons(database, is_warning=False),
        "warnings_by_reason": _reasons(database, is_warning=True),
        "sessions": session_count,
    }


def _add_type(session: Row, row: sqlite3.Row) -> None:
    by_type = session["events_by_type"]
    by_type[row["type"]] = by_type.get(row["type"], 0) + row["count"]
    session["events"] += row["count"]
    session["user_id"] = session["user_id"] or row["user_id"]
    session["first_timestamp"] = min(session["first_timestamp"], row["first"])
    session["last_timestamp"] = max(session["last_timestamp"], row["last"])


def _event(row: sqlite3.Row) -> Row:
    hidden = ("seq", "page_id", "request")
    event = {key: row[key] for key in row.keys() if key not in hidden}  # noqa: SIM118 - a Row iterates over values
    return {**event, "details": json.loads(row["details"]), "metadata": json.loads(row["metadata"])}


def _request(database: sqlite3.Connection, row: sqlite3.Row) -> Row:
    found = database.execute(
        "SELECT event_index, event_id, type, reason, message, is_warning FROM findings WHERE request = ?", (row["seq"],)
    )
    findings = [{**dict(finding), "is_warning": bool(finding["is_warning"])} for finding in found]
    return {
        **dict(row),
        "headers": json.loads(row["headers"]),
        "app_monitor_details": json.loads(row["app_monitor_details"]),
        "findings": findings,
    }


def _reasons(database: sqlite3.Connection, *, is_warning: bool) -> dict[str, int]:
    rows = database.execute("SELECT reason, COUNT(*) FROM findings WHERE is_warning = ? GROUP BY reason", (is_warning,))
    return dict(rows.fetchall())
