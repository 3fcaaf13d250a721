"""What a spool holds as JSON lines."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from otel_rum_exporter.encoding import encode
from otel_rum_exporter.spool.queue import DeadLetter, Row
from otel_rum_exporter.spool.stored import keyed_of


def export_letters(letters: Iterable[tuple[str, DeadLetter]]) -> None:
    """Print dead letters, each with its RUM event."""
    _write(
        {
            "id": number,
            "reason": letter.reason,
            "message": letter.message,
            "session": letter.row.session,
            "admittedMs": letter.row.admitted_ms,
            "buriedMs": letter.buried_ms,
            "event": _shown(letter.readable),
        }
        for number, letter in letters
    )


def export_rows(rows: Iterable[tuple[str, Row]]) -> None:
    """Print what waits. Pages and batches are made of it later, so that these are not yet the events that will be sent."""
    _write({"id": number, "admittedMs": row.admitted_ms, **_waiting(row)} for number, row in rows)


def _waiting(row: Row) -> dict[str, Any]:
    """Return whose a row is and its event; where another version wrote that in another way, its bytes."""
    keyed = keyed_of(row)
    if keyed is None:
        return {"session": row.session, "key": _shown(row.key), "event": _shown(row.event)}
    draft = keyed.draft
    event = {"id": draft.id, "timestamp": draft.time_ns // 1_000_000 / 1000, "type": draft.type}
    # some have details that the rest of their session completes: of these what is known
    details = draft.details if isinstance(draft.details, str) else encode(draft.details)
    return {
        "appMonitor": keyed.key.monitor.id,
        "session": row.session,
        "user": keyed.user_id,  # null where the item names none: then it is the session's
        "event": {**event, "details": _shown(details.encode()), "attributes": dict(draft.attributes)},
    }


def _shown(value: bytes) -> Any:
    """Return bytes as the JSON they are, else as the text they are, else in base64."""
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    else:
        return msgspec.Raw(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _write(lines: Iterable[dict[str, Any]]) -> None:
    stdout = sys.stdout.buffer
    try:
        stdout.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
        stdout.flush()
    except BrokenPipeError:
        # who reads has enough; nothing may fail on the way out, when Python flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
