"""What a spool holds as JSON lines."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from otel_rum_exporter.spool.queue import DeadLetter, Row


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
    """Print rows. Pages and batches are made of them later, so that these are not yet what will be sent."""
    _write(
        {
            "id": number,
            "session": row.session,
            "admittedMs": row.admitted_ms,
            "key": _shown(row.key),
            "event": _shown(row.event),
        }
        for number, row in rows
    )


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
