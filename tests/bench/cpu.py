"""CPU per span, beside OTLP/HTTP and beside a plain boto3 loop; conversion beside its floor; how long `export` takes.

CPU time is that of the whole process with all its threads; the endpoint is a process of its own. The candidates take
turns, so that a slow minute of the machine meets all of them, and the ratio of two is taken within each round.
"""

import gc
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count, product
from typing import Any

from candidates import CANDIDATES, ENCODERS, EXPORT_SIZE, check_floor
from rows import Row, ratios
from sink import Sink
from spans import make_spans

PER_REQUEST = (1, 10, 100)

Series = dict[str, dict[str, list[float]]]


def measure(sink: Sink, spans: int, rounds: int) -> dict[str, Any]:
    """Return the raw numbers by kind, spans of a request and candidate: one of each round."""
    check_floor(make_spans(3 * max(PER_REQUEST), max(PER_REQUEST)))
    cpu, encoding, export = (_series() for _ in range(3))
    sizes: dict[str, dict[str, float]] = defaultdict(dict)
    seeds = count()  # no span is sent twice: a cache would know it, as it never does in an application
    with ExitStack() as stack:
        candidates = {name: stack.enter_context(closing(each(sink.url))) for name, each in CANDIDATES.items()}
        for _, per_request in product(range(rounds), PER_REQUEST):
            row = str(per_request)
            for name, candidate in candidates.items():
                given, before = make_spans(spans, per_request, next(seeds)), sink.counts()
                cpu[row][name].append(_cpu_us(candidate.send, given, per_request))
                sizes[row][name] = _checked_size(name, before, sink.counts(), spans, per_request)
            for name, encode in ENCODERS.items():
                given = make_spans(spans, per_request, next(seeds))
                encoding[row][name].append(_cpu_us(encode, given, per_request))
            for name, candidate in candidates.items():
                given = make_spans(EXPORT_SIZE, per_request, next(seeds))
                export[row][name].append(_export_ms(candidate, given))
    return {
        "cpu_us_per_span": cpu,
        "encoding_us_per_span": encoding,
        "export_ms": export,
        "body_bytes_per_span": sizes,
    }


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows that these numbers fill."""
    cpu, encoding, export = (found[kind] for kind in ("cpu_us_per_span", "encoding_us_per_span", "export_ms"))
    for per_request, name, target, most in (
        ("100", "otlp", "at most 1/3", 1 / 3),
        ("10", "otlp", "at most 1.0", 1.0),
        ("10", "boto3_loop", "at most 1/3", 1 / 3),
        ("1", "otlp", "shown only", None),
        ("1", "boto3_loop", "shown only", None),
        ("100", "boto3_loop", "shown only", None),
    ):
        figure = f"CPU per span at {per_request} a request, of {_NAMES[name]}"
        yield Row(figure, target, ratios(cpu[per_request]["rum"], cpu[per_request][name]), most)
    for per_request, target, most in (("100", "at most 2", 2.0), ("10", "shown only", None)):
        values = ratios(encoding[per_request]["rum"], encoding[per_request]["floor"])
        yield Row(f"conversion and encoding alone at {per_request} a request, of the floor", target, values, most)
    what = "conversion, redaction, ids, event JSON, session, queue; no request, no network"
    yield Row(f"export() of {EXPORT_SIZE} spans", "median under 6 ms", export["100"]["rum"], 6.0, 1, "ms", what)


_NAMES = {"otlp": "the OTLP/HTTP exporter's", "boto3_loop": "the boto3 loop's"}


def _series() -> Series:
    return defaultdict(lambda: defaultdict(list))


def _cpu_us(work: Callable[[list[Any], int], Any], spans: list[Any], per_request: int) -> float:
    with only_new_garbage():
        started = time.process_time()
        work(spans, per_request)
        return (time.process_time() - started) / len(spans) * 1e6


def _export_ms(candidate: Any, spans: list[Any]) -> float:
    """Return how long the caller waits for one export, which is all that a batch span processor sees."""
    with only_new_garbage():
        started = time.perf_counter()
        candidate.export(spans)
        waited_ms = (time.perf_counter() - started) * 1e3
    candidate.flush()
    return waited_ms


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Keep what is there already, such as the spans, out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _checked_size(name: str, before: Any, after: Any, spans: int, per_request: int) -> float:
    """Return the bytes of a span on the wire, after a look at whether the requests were those to be compared."""
    requests, expected = after.requests - before.requests, spans // per_request
    if requests != expected:
        sys.stderr.write(f"{name} sent {requests} requests instead of {expected}\n")
    return (after.body_bytes - before.body_bytes) / spans
