"""Raw numbers to the tables that a person reads."""

from collections.abc import Iterator
from statistics import median
from typing import Any

NAMES = {"rum": "RUM", "rum_uncompressed": "RUM, no gzip", "otlp": "OTLP", "boto3_loop": "boto3 loop"}

_FIRST = 22
_WIDE = 24
_NARROW = 12
_MIB = 2**20


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the report: the ratios first, then what they are made of."""
    cpu = found["cpu_us_per_span"]
    settings, versions = found["settings"], found["versions"]
    yield "Cost of a span from the SDK to the endpoint"
    yield "  " + ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"  {settings['spans']} spans a run, {settings['rounds']} rounds, candidates in turn; median (min-max)"
    yield ""
    yield from _ratios("CPU of RumSpanExporter, as a multiple of", cpu)
    yield ""
    yield from _table("CPU per span, us, all threads", cpu, digits=0)
    yield ""
    yield from _ratios("Conversion and encoding alone, as a multiple of", found["encoding_us_per_span"])
    yield ""
    yield from _table("The same per span, us", found["encoding_us_per_span"], digits=1)
    yield ""
    yield from _table(f"export() of {settings['export_spans']} spans, ms", found["export_ms"], digits=1)
    yield ""
    yield from _sizes(found["body_bytes_per_span"])
    if found["memory"]:
        yield ""
        yield from _memory(found["memory"], settings["memory_spans"])


def _ratios(title: str, series: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    """Yield how many times the exporter's cost is that of others: of each round, then the median."""
    others = [name for name in next(iter(series.values())) if name != "rum"]
    yield f"{title:<{_FIRST + _WIDE}}" + "".join(f"{NAMES[name]:>{_WIDE}}" for name in others)
    for per_request, by_name in series.items():
        cells = [
            _cell([mine / other for mine, other in zip(by_name["rum"], by_name[name], strict=True)], 2)
            for name in others
        ]
        yield f"{_row(per_request):<{_FIRST + _WIDE}}" + "".join(f"{cell:>{_WIDE}}" for cell in cells)


def _table(title: str, series: dict[str, dict[str, list[float]]], digits: int) -> Iterator[str]:
    names = list(next(iter(series.values())))
    yield title
    yield " " * _FIRST + "".join(f"{NAMES[name]:>{_WIDE}}" for name in names)
    for per_request, by_name in series.items():
        cells = [_cell(by_name[name], digits) for name in names]
        yield f"{_row(per_request):<{_FIRST}}" + "".join(f"{cell:>{_WIDE}}" for cell in cells)


def _sizes(series: dict[str, dict[str, float]]) -> Iterator[str]:
    names = list(next(iter(series.values())))
    yield "Bytes of request body per span"
    yield " " * _FIRST + "".join(f"{NAMES[name]:>{_WIDE}}" for name in names)
    for per_request, by_name in series.items():
        yield f"{_row(per_request):<{_FIRST}}" + "".join(f"{by_name[name]:>{_WIDE}.0f}" for name in names)


def _memory(memory: dict[str, dict[str, int]], spans: int) -> Iterator[str]:
    yield f"Memory, MiB resident, {spans} spans in 100 a request, a process each"
    yield " " * _FIRST + "".join(f"{title:>{_NARROW}}" for title in ("before", "+ loaded", "+ at peak"))
    for name, each in memory.items():
        loaded, growth = each["warm_bytes"] - each["before_bytes"], each["peak_bytes"] - each["warm_bytes"]
        values = (each["before_bytes"], loaded, growth)
        yield f"  {NAMES[name]:<{_FIRST - 2}}" + "".join(f"{value / _MIB:>{_NARROW}.1f}" for value in values)


def _row(per_request: str) -> str:
    return f"  {per_request} a request"


def _cell(values: list[float], digits: int) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low}-{high})"
