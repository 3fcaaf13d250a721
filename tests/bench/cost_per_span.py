"""What a span costs: CPU, the caller's time and memory, beside OTLP/HTTP and beside a plain boto3 loop.

python tests/bench/cost_per_span.py [--spans N] [--json FILE] [--quick]

A benchmark and not a test: it passes or fails nothing. CPU time is that of the whole process with all its threads; the
endpoint is a process of its own. The candidates take turns, so that a slow minute of the machine meets all of them, and
the ratio of two candidates is taken within each round.
"""

import argparse
import gc
import importlib.metadata
import json
import logging
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count, product
from pathlib import Path
from typing import Any

import memory
from candidates import CANDIDATES, ENCODERS, EXPORT_SIZE, clean_environment
from report import lines
from sink import Sink
from spans import make_spans

PER_REQUEST = (1, 10, 100)
MEMORY_CANDIDATES = ("rum", "otlp")

_SPANS, _ROUNDS, _MEMORY_SPANS = 2000, 7, 100_000
_QUICK_SPANS, _QUICK_ROUNDS, _QUICK_MEMORY_SPANS = 200, 2, 10_000
_STEP = max(PER_REQUEST)

Series = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print and write what was found."""
    arguments = _arguments()
    logging.disable(logging.WARNING)
    clean_environment()
    started = time.monotonic()
    rounds = _QUICK_ROUNDS if arguments.quick else _ROUNDS
    spans = arguments.spans or (_QUICK_SPANS if arguments.quick else _SPANS)
    spans = -(-spans // _STEP) * _STEP  # whole sessions
    memory_spans = min(50 * spans, _QUICK_MEMORY_SPANS if arguments.quick else _MEMORY_SPANS)
    with Sink() as sink:
        found = {
            "versions": _versions(),
            "settings": {
                "spans": spans,
                "rounds": rounds,
                "export_spans": EXPORT_SIZE,
                "memory_spans": memory_spans,
            },
            **_measure(sink, spans, rounds),
            "memory": _memory(sink, memory_spans),
        }
    found["took_s"] = round(time.monotonic() - started, 1)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join([*lines(found), "", f"Took {found['took_s']:.0f} s.", ""]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--spans", type=int, help=f"spans of a run, in whole hundreds (default {_SPANS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the raw numbers go")
    parser.add_argument("--quick", action="store_true", help="fewer spans and rounds: an impression in ten seconds")
    return parser.parse_args()


def _versions() -> dict[str, str]:
    packages = ("boto3", "msgspec", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _measure(sink: Sink, spans: int, rounds: int) -> dict[str, Any]:
    """Return the raw numbers by kind, spans of a request and candidate: one of each round."""
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


def _series() -> Series:
    return defaultdict(lambda: defaultdict(list))


def _cpu_us(work: Callable[[list[Any], int], Any], spans: list[Any], per_request: int) -> float:
    with _only_new_garbage():
        started = time.process_time()
        work(spans, per_request)
        return (time.process_time() - started) / len(spans) * 1e6


def _export_ms(candidate: Any, spans: list[Any]) -> float:
    """Return how long the caller waits for one export, which is all that a batch span processor sees."""
    with _only_new_garbage():
        started = time.perf_counter()
        candidate.export(spans)
        waited_ms = (time.perf_counter() - started) * 1e3
    candidate.flush()
    return waited_ms


@contextmanager
def _only_new_garbage() -> Iterator[None]:
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


def _memory(sink: Sink, spans: int) -> dict[str, dict[str, int]]:
    """Return the memory of some candidates, each in a new process; nothing where the system does not tell."""
    if not memory.is_measurable():
        return {}
    found = {}
    for name in MEMORY_CANDIDATES:
        command = [sys.executable, memory.__file__, name, sink.url, str(spans)]
        found[name] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


if __name__ == "__main__":
    main()
