"""How long `span.end()` takes behind a BatchSpanProcessor; run as a process of its own, prints JSON.

python span_end.py CANDIDATE URL SPANS room|full

With room, the processor is flushed before its queue is full. Else spans end as fast as they can, with an endpoint that
takes connections and never answers: the SDK's queue of 2,048 is full, the exporter's is, and the exporter is busy.
"""

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from candidates import clean_environment, otlp_exporter, rum_exporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from rows import Row, percentile, ratios

_ROOM = 1024  # of the 2,048 spans that the processor's queue holds
_FILL = 4096  # spans until the queue is full
_NOISE = {"p50": 1.05, "p99": 1.25}
"""What `span.end()` does is the SDK's, whatever exports: two runs with the same exporter differ by as much at best."""

EXPORTERS = {
    "rum": lambda url, is_full: rum_exporter(url, **({"queue_events": 1000} if is_full else {})),
    "otlp": lambda url, is_full: otlp_exporter(url, **({"timeout": 1} if is_full else {})),
}


def measure(name: str, url: str, number: int, *, is_full: bool) -> list[float]:
    """Return the median and the 99th percentile. Units: microseconds."""
    processor = BatchSpanProcessor(EXPORTERS[name](url, is_full))
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    took = list(_ends(provider.get_tracer("shop"), _FILL + number if is_full else number, processor, is_full=is_full))
    took = took[_FILL:] if is_full else took
    return [percentile(took, share) for share in (0.5, 0.99)]


def _ends(tracer: Any, number: int, processor: BatchSpanProcessor, *, is_full: bool) -> Iterator[float]:
    for each in range(number):
        attributes = {
            "http.request.method": "GET",
            "url.full": f"https://api.shop.example.com/api/products/{each}",
            "server.address": "api.shop.example.com",
            "server.port": 443,
            "http.response.status_code": 200,
            "network.protocol.version": "1.1",
            "session.id": f"6f0c2a51-9a53-4a0e-8f0b-{each // 100:012d}",
        }
        span = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=attributes)
        at = time.perf_counter()
        span.end()
        yield 1e6 * (time.perf_counter() - at)
        if not is_full and each % _ROOM == _ROOM - 1:
            processor.force_flush()


def rows(found: dict[str, dict[str, list[list[float]]]]) -> Iterator[Row]:
    """Yield the rows of what `measure` returned, by whether there is room, and by candidate: one of each round."""
    for case, what in (("room", "with room in the queue"), ("full", "with the queue full")):
        mine, others = found[case]["rum"], found[case]["otlp"]
        for index, share in enumerate(("p50", "p99")):
            ours, theirs = [each[index] for each in mine], [each[index] for each in others]
            figure = f"span.end() {share}, {what}"
            if case == "full" and share == "p99":
                yield Row(figure, "under 50 us", ours, 50.0, 0, "us", f"OTLP {percentile(theirs, 0.5):.0f} us")
            made_of = f"{percentile(ours, 0.5):.1f} us of {percentile(theirs, 0.5):.1f} us"
            most = _NOISE[share]
            yield Row(f"{figure}, of OTLP's", f"at most 1.0, noise {most}", ratios(ours, theirs), most, note=made_of)


if __name__ == "__main__":
    logging.basicConfig(handlers=[logging.NullHandler()])  # lines are made, as in an application, and shown to nobody
    clean_environment()
    candidate, sink_url, spans, case_ = sys.argv[1:]
    with socket.socket() as black_hole:
        black_hole.bind(("127.0.0.1", 0))
        black_hole.listen(128)
        full = case_ == "full"
        target = f"http://127.0.0.1:{black_hole.getsockname()[1]}" if full else sink_url
        sys.stdout.write(json.dumps(measure(candidate, target, int(spans), is_full=full)))
        sys.stdout.flush()
    os._exit(0)  # what is still queued is of no interest
