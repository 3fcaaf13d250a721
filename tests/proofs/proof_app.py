"""The application of the proofs, run as a process of its own: exports at a steady rate and says what was accepted.

python proof_app.py JSON, with the members of `Work`.
"""

import json
import logging
import resource
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from proof_endpoint import document

from otel_rum_exporter import RumSpanExporter


@dataclass(frozen=True, slots=True)
class Work:
    """What the application does.

    Attributes:
        name: What the names of its spans begin with.
        rate: Spans a second; 0 exports all at once.
        number: Spans altogether; None goes on for ever.
        each: Spans per export.
        sessions: Sessions that take turns, one per span.
        seconds: How long to stay after the last export.
        is_heir: Whether to stay until a line comes, for what others left to arrive.
        flush_s: Time for a flush at the end; 0 flushes nothing.
        options: The exporter's.
    """

    name: str = "event"
    rate: float = 0
    number: int | None = None
    each: int = 50
    sessions: int = 1
    seconds: float = 0
    is_heir: bool = False
    flush_s: float = 0
    options: dict = field(default_factory=dict)


class Spans(SpanProcessor):
    """Makes finished spans."""

    def __init__(self, sessions=1):
        self._ended = []
        self._sessions = sessions
        provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
        provider.add_span_processor(self)
        self._tracer = provider.get_tracer("shop")

    def on_end(self, span):
        self._ended.append(span)

    def make(self, name, numbers):
        """Spans with these numbers in their names."""
        for number in numbers:
            session = f"00000000-0000-4000-8000-{number % self._sessions:012d}"
            self._tracer.start_span(f"{name}.{number}", attributes={"session.id": session}).end()
        ended, self._ended = self._ended, []
        return ended


def rss_mib():
    """Resident memory now; Linux only."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - read a thousand times
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


def work(work):
    """Export, saying `accepted FIRST LAST` for each export that returned; then a line of statistics."""
    exporter, spans, pause = RumSpanExporter(**work.options), Spans(work.sessions), threading.Event()
    started, before = time.monotonic(), rss_mib()
    most, took = before, []
    for first in count(0, work.each):
        if work.number is not None and first >= work.number:
            break
        if work.rate:
            pause.wait(max(0.0, started + first / work.rate - time.monotonic()))
        chunk = spans.make(work.name, range(first, first + work.each))
        at = time.perf_counter()
        result = exporter.export(chunk)
        took.append(time.perf_counter() - at)
        if result is SpanExportResult.SUCCESS:
            print("accepted", first, first + work.each, flush=True)
        most = max(most, rss_mib())
    pause.wait(work.seconds)
    if work.is_heir:
        sys.stdin.readline()
    if work.flush_s:
        exporter.force_flush(int(work.flush_s * 1000))
    exporter.shutdown()
    print(json.dumps({**document(exporter.stats()), "rss_growth_mib": most - before, "export_s": took}))


def end_with_spans_queued(exporter, number):
    """Queue spans in the SDK's processor, say when the end begins, and leave the rest to the interpreter's exit."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * number, schedule_delay_millis=600_000))
    trace.set_tracer_provider(provider)
    tracer = provider.get_tracer("shop")
    for each in range(number):
        tracer.start_span(f"event.{each}").end()
    print("ends", time.time(), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    work(Work(**json.loads(sys.argv[1])))
