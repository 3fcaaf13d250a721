"""Raw numbers to the tables that a person reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rows import Row

NAMES = {
    "rum": "RUM",
    "rum_uncompressed": "RUM, no gzip",
    "otlp": "OTLP",
    "boto3_loop": "boto3 loop",
    "floor": "floor",
}
MARKS = ("<!-- bench:start, written by `python3 dev.py bench --doc` -->", "<!-- bench:end -->")
GATEWAY_MARKS = ("<!-- gateway:start, written by `python3 dev.py bench gateway --doc` -->", "<!-- gateway:end -->")

_COLUMNS = ("figure", "target", "measured", "verdict", "note")
_FIRST = 22
_WIDE = 24


def header(found: dict[str, Any]) -> Iterator[str]:
    """Yield what the numbers were measured with."""
    settings = found["settings"]
    yield versions(found)
    yield (
        f"{settings['spans']:,} spans of 7 attributes and a session a run, {settings['rounds']} rounds, candidates in "
        "turn; median (least-most) of the rounds."
    )


def versions(found: dict[str, Any]) -> str:
    """Return with what it was measured, in a line."""
    return ", ".join(f"{name} {version}" for name, version in found["versions"].items()) + "."


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the table of the targets, for a terminal."""
    lines = [_COLUMNS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        yield " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the same for a document."""
    for line in (_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, rows)):
        yield "| " + " | ".join(line) + " |"


def write(page: Path, lines: Iterable[str], marks: tuple[str, str] = MARKS) -> None:
    """Put lines between the marks of a document.

    Raises:
        ValueError: When it lacks the marks.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (start and end):
        raise ValueError(f"{page} lacks the lines {' and '.join(marks)}")
    page.write_text("\n".join([before + start, "", *lines, "", end + after]), encoding="utf-8")


def tables(found: dict[str, Any]) -> Iterator[str]:
    """Yield what the ratios are made of."""
    measured, settings = found["cpu"], found["settings"]
    yield from _table("CPU per span, us, all threads", measured["cpu_us_per_span"], digits=0)
    yield ""
    yield from _table("Conversion and encoding alone, us per span", measured["encoding_us_per_span"], digits=1)
    yield ""
    yield from _table(f"export() of {settings['export_spans']} spans, ms", measured["export_ms"], digits=1)
    yield ""
    sizes = measured["body_bytes_per_span"]
    bytes_ = {row: {name: [size] for name, size in by_name.items()} for row, by_name in sizes.items()}
    yield from _table("Bytes of request body per span", bytes_, digits=0)
    yield ""
    yield "CPU per span without delivery by sessions in rotation, us"
    for sessions, rounds in found["growth"].items():
        stages = ", ".join(f"{stage} {median(each[stage] for each in rounds):.1f}" for stage in rounds[0])
        yield f"  {int(sessions):>7,}  {stages}"


def _cells(row: Row) -> tuple[str, ...]:
    return row.figure, row.target, row.measured, row.verdict, row.note


def _table(title: str, series: dict[str, dict[str, list[float]]], digits: int) -> Iterator[str]:
    names = list(next(iter(series.values())))
    yield title
    yield " " * _FIRST + "".join(f"{NAMES[name]:>{_WIDE}}" for name in names)
    for per_request, by_name in series.items():
        cells = [_cell(by_name[name], digits) for name in names]
        yield f"{f'  {per_request} a request':<{_FIRST}}" + "".join(f"{cell:>{_WIDE}}" for cell in cells)


def _cell(values: list[float], digits: int) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low}-{high})" if len(values) > 1 else middle
