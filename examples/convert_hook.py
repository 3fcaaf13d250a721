"""A say of your own in what an item becomes: the option `convert`.

pip install 'otel-rum-exporter[server]' && python convert_hook.py
"""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_rum_exporter import RumSpanExporter
from otel_rum_exporter.events import CustomEvent
from otel_rum_exporter.testing import LocalRum

SESSION = {"session.id": "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11"}


def convert(item, events):  # noqa: ANN001, ANN201 - an example stays short
    """Send checkouts as events of their own, health checks not at all, and the rest as it comes."""
    name = getattr(item, "name", "")  # log records have none
    if name == "health":
        return []
    if name == "checkout":
        return [CustomEvent("shop.checkout", {"items": item.attributes["cart.items"]})]
    return events


with LocalRum(credentials=None) as rum:
    exporter = RumSpanExporter(
        app_monitor_id="12345678-1234-1234-1234-123456789012",
        domain="shop.example.com",
        endpoint=rum.endpoint,
        region="eu-central-1",
        auth="none",
        convert=convert,
    )
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer: trace.Tracer = provider.get_tracer("shop")

    tracer.start_span("checkout", attributes={**SESSION, "cart.items": 3}).end()
    tracer.start_span("health", attributes=SESSION).end()
    tracer.start_span("restock", attributes=SESSION).end()

    provider.shutdown()
    for event in rum.events():
        print(event["type"], event["details"])
    print(exporter.stats())
