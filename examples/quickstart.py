"""Spans to CloudWatch RUM in code; an endpoint on this machine stands in for AWS.

pip install 'otel-rum-exporter[server]' && python quickstart.py
"""

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_rum_exporter import RumSpanExporter
from otel_rum_exporter.testing import LocalRum

SESSION = {"session.id": "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11", "user.id": "ada"}

with LocalRum(credentials=None) as rum:
    exporter = RumSpanExporter(
        app_monitor_id="12345678-1234-1234-1234-123456789012",
        region="eu-central-1",
        domain="shop.example.com",  # of the app monitor
        endpoint=rum.endpoint,  # leave these two out and it goes to AWS,
        auth="none",  # signed with the credentials that boto3 finds
    )
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("quickstart")

    # session.id says whose a span is
    with tracer.start_as_current_span("checkout", attributes=SESSION):
        pass
    try:
        with tracer.start_as_current_span("pay", attributes=SESSION):
            raise ValueError("card expired")  # noqa: TRY301 - this one is wanted
    except ValueError:
        pass

    provider.shutdown()  # delivers what is left
    for event in rum.events():
        print(event["type"], event["details"])
    print(exporter.stats())
