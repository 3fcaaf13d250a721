"""AWS Lambda: each invocation has delivered before it returns; an endpoint on this machine stands in for AWS.

pip install 'otel-rum-exporter[server]' && python lambda_function.py
"""

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_rum_exporter import RumSpanExporter
from otel_rum_exporter.aws_lambda import flush_after
from otel_rum_exporter.testing import LocalRum

tracer = trace.get_tracer("function")


@flush_after
def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Sell something; the span's session is the one of the browser that called."""
    attributes = {"session.id": event["headers"]["x-session-id"]}
    with tracer.start_as_current_span("checkout", attributes=attributes) as span:
        span.add_event("cart.sold", {"cart.items": event["items"]})
        return {"statusCode": 200}


def main() -> None:
    """Do what Lambda does: configure once, then call the handler for each event."""
    with LocalRum(credentials=None) as rum:
        exporter = RumSpanExporter(
            app_monitor_id="12345678-1234-1234-1234-123456789012",
            region="eu-central-1",
            domain="shop.example.com",
            max_age=3_600_000,  # what had no time left survives an hour's pause
            endpoint=rum.endpoint,  # leave these two out and it goes to AWS,
            auth="none",  # signed with the function's role
        )
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)

        for items in (1, 2):
            event = {"headers": {"x-session-id": "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11"}, "items": items}
            answer = handler(event, None)
            print(answer, "events so far:", rum.stats()["events_distinct"])


if __name__ == "__main__":
    main()
