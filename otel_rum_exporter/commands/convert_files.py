"""`otel-rum-exporter convert`: OTLP JSON in, RUM events as JSON lines out."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
import msgspec

from otel_rum_exporter.commands.offline import Offline
from otel_rum_exporter.commands.output import discard_output
from otel_rum_exporter.config import ConfigError, RumConfig, ignored_variables
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import Batch
from otel_rum_exporter.json_repairs import whole_characters
from otel_rum_exporter.otlp import OtlpError, items

_HINTS = {DropReason.NO_SESSION: " (OTEL_EXPORTER_RUM_SESSION=process puts them into one session)"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNFINISHED = (b"{", b"[", b",", b":")


def convert_files(paths: Iterable[str], app_monitor_id: str | None) -> int:
    """Print the events of all files, and report what was dropped and what could not be read.

    Args:
        paths: Files; - is standard input.
        app_monitor_id: Instead of what the environment says.

    Returns:
        The exit code: 1 if a file or line could not be read.
    """
    for line in ignored_variables(os.environ):
        click.echo(f"Warning: {line}", err=True)
    try:
        offline = Offline(RumConfig.load({"app_monitor_id": app_monitor_id}, os.environ))
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    problems = sum(_read(path, offline) for path in paths)
    try:
        _write(event for batch in offline.batches() for event in _events(batch))
    except BrokenPipeError:  # who reads has enough
        discard_output()
    statistics = offline.statistics()
    _report("item", statistics.items_dropped)
    _report("event", statistics.events_dropped)
    return 1 if problems else 0


def _read(path: str, offline: Offline) -> int:
    """Convert a file request by request, and report those that cannot be read. Returns how many those are."""
    name = "stdin" if path == "-" else path
    problems = 0
    if path == "-" and sys.stdin is None:
        raise click.ClickException("standard input is closed")
    with click.open_file(path, "rb") as file:
        for number, request in requests(file):
            problem = _problem(request, offline)
            if problem:
                click.echo(f"{name}:{number}: {problem}", err=True)
                problems += 1
    return problems


def _problem(request: bytes, offline: Offline) -> str | None:
    try:
        offline.add(items(request))
    except OtlpError as error:
        return str(error)
    return None


def requests(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Split a file into requests, each with the number of its first line.

    Shape:  each line is a request, unless the first one does not end where a JSON text can: then all lines are one.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (1, b""))
    first = first.removeprefix(_BYTE_ORDER_MARK)
    if not first.rstrip().endswith(_UNFINISHED):
        yield from [(number, first)] if first else []
        yield from numbered
        return
    rest = list(numbered)
    whole = first + b"".join(line for _, line in rest)
    # a broken first line must not cost the others
    is_one = _is_json(whole) or not any(_is_json(line) for _, line in rest)
    yield from [(number, whole)] if is_one else [(number, first), *rest]


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(whole_characters(text), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _events(batch: Batch) -> Iterator[dict[str, Any]]:
    shared = json.loads(batch.session_metadata or "{}")
    for event in batch.events:
        yield {
            "id": event.id,
            "timestamp": event.timestamp,
            "type": event.type,
            "details": msgspec.Raw(event.details.encode()),
            "metadata": {**shared, **json.loads(event.metadata)},
            "sessionId": batch.session_id,
            "userId": batch.user_id,
        }


def _write(events: Iterable[dict[str, Any]]) -> None:
    if sys.stdout is None:
        raise click.ClickException("standard output is closed")
    stdout = sys.stdout.buffer
    stdout.writelines(msgspec.json.encode(event) + b"\n" for event in events)
    stdout.flush()


def _report(what: str, dropped: Mapping[DropReason, int]) -> None:
    for reason, number in Counter(dropped).most_common():
        noun = what if number == 1 else what + "s"
        click.echo(f"{number} {noun} dropped: {reason}{_HINTS.get(reason, '')}", err=True)
