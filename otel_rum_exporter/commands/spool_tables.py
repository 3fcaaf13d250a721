"""The tables of `otel-rum-exporter spool`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_rum_exporter.cause_log import printable
from otel_rum_exporter.events import PREFIX
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import DeadLetter, Spool

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))
_KIB = 1024


class _Event(msgspec.Struct):
    type: str = "?"


def show_status(directory: SpoolDirectory, spools: Sequence[Spool]) -> None:
    """Print one line for each file, and the dead letters by reason."""
    table = _table("File", "Owner", "Events", "Size", "Oldest", "Dead letters")
    now_ms = time.time() * 1000
    for spool in spools:
        owner = directory.owner(spool.path)
        table.add_row(
            spool.path.name,
            "none" if owner is None else f"process {owner or '?'}",
            str(spool.events),
            _size(spool.size_bytes),
            "-" if spool.oldest_ms is None else _age(now_ms - spool.oldest_ms),
            str(spool.dead_letters),
        )
    console = Console()
    console.print(table)
    reasons = sum((Counter(spool.reasons()) for spool in spools), Counter[str]())
    for reason, number in reasons.most_common():
        console.print(f"{number} dead letter{'' if number == 1 else 's'}: {printable(reason)}", highlight=False)
    for path in directory.quarantine():
        console.print(f"Damaged, and kept for two weeks: {path.name}", highlight=False)


def show_letters(letters: Iterable[tuple[str, DeadLetter]], limit: int, total: int) -> None:
    """Print one line for each dead letter."""
    console = Console()
    if not total:
        console.print("There are no dead letters.")
        return
    table = _table("Id", "Age", "Reason", "Type", "Session", "Message")
    now_ms = time.time() * 1000
    for number, letter in islice(letters, limit):
        texts = (letter.reason, _type(letter.readable), letter.row.session, letter.message)
        table.add_row(number, _age(now_ms - letter.buried_ms), *(Text(printable(text)) for text in texts))
    console.print(table)
    if total > limit:
        console.print(f"{total - limit} more: --limit shows them, `export` prints all.", highlight=False)


def _table(first: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)  # to be copied
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _type(readable: bytes) -> str:
    try:
        return msgspec.json.decode(readable, type=_Event).type.removeprefix(PREFIX)
    except (msgspec.DecodeError, UnicodeError):
        return "?"


def _age(milliseconds: float) -> str:
    seconds = max(0, int(milliseconds / 1000))
    for unit_s, name in _UNITS:
        if seconds >= unit_s:
            return f"{seconds // unit_s} {name}"
    return f"{seconds} s"


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < _KIB:
            return f"{number:.0f} {unit}"
        number /= _KIB
    return f"{number:.1f} GiB"
