"""What applications of these tests are made of: a provider that exports to RUM, spans, and a report at the end."""

import json
import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from otel_rum_exporter import RumSpanExporter

FLUSH_MS = 30_000
SESSION = "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11"


class Shop:
    """An application that reports spans; `batch` tells by which of the SDK's processors."""

    def __init__(self, *, batch=False, shutdown_on_exit=False, is_global=True, **options):
        self.exporter = RumSpanExporter(**({"session_start": "off"} | options))
        processor = BatchSpanProcessor if batch else SimpleSpanProcessor
        self.provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=shutdown_on_exit)
        self.provider.add_span_processor(processor(self.exporter))
        if is_global:
            trace.set_tracer_provider(self.provider)
        self._tracer = self.provider.get_tracer("shop")

    def sell(self, name, *, session=SESSION):
        self._tracer.start_span(str(name), attributes={"session.id": session}).end()

    def flush(self):
        """Deliver all. Returns whether it was in time."""
        self.provider.force_flush(FLUSH_MS)
        return self.exporter.force_flush(FLUSH_MS)

    def report(self, suffix=""):
        """Write this process's statistics to where the test looks for them."""
        stats = self.exporter.stats()
        document = {
            "pid": os.getpid(),
            "is_balanced": stats.is_balanced,
            "received": stats.received,
            "accepted": stats.accepted,
            "delivered": stats.delivered,
            "queued": stats.queued,
            "dropped": {str(reason): number for reason, number in stats.events_dropped.items()},
        }
        path = Path(os.environ["RUM_REPORTS"], f"{os.getpid()}{suffix}.json")
        unfinished = path.with_suffix(".part")  # so that nobody reads half of it
        unfinished.write_text(json.dumps(document))
        unfinished.replace(path)


shop = None  # of a process that forks


def sell_in_child(number):
    """What a child of multiprocessing does: with the shop that it inherited, or with its own."""
    of_child = shop or Shop(flush_interval=600_000)
    for event in range(50):
        of_child.sell(f"of child {number}, {event}")
    assert of_child.flush()
    of_child.report()
