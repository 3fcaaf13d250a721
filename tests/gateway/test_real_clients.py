"""OpenTelemetry's own exporters against the gateway: those of Python in protobuf, those of JavaScript in JSON."""

import pytest
from gateway_relay import Relay
from gateway_tables import MONITOR
from node_programs import running
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

TOKEN = "a-token-of-a-collector"  # noqa: S105 - of this test
TOKENS = f"""
[[tokens]]
name = "clients"
token = "{TOKEN}"
app_monitor = "{MONITOR}"
"""
ONE_A_SECOND = """
[limits]
client_requests_per_second = 1
client_burst = 1
"""
QUICK = {"OTEL_EXPORTER_RUM_FLUSH_INTERVAL": "100"}
RESOURCE = Resource({"service.name": "python-client"})
COMPRESSIONS = {"gzip": Compression.Gzip, "none": Compression.NoCompression}
HTTP_EVENT = "com.amazon.rum.http_event"


def session(number):
    return f"00000000-0000-4000-8000-{number:012d}"


def settings(url, path, compression="gzip"):
    return {
        "endpoint": f"{url}/v1/{path}",
        "headers": {"authorization": f"Bearer {TOKEN}"},
        "compression": COMPRESSIONS[compression],
    }


def record(tracer, count, **attributes):
    """Make spans of outgoing calls, each to another URL."""
    for index in range(count):
        url = f"http://shop.example/{index}"
        known = {"http.request.method": "GET", "http.response.status_code": 200, "url.full": url}
        of_session = {"session.id": session(index % 3)}
        tracer.start_span("GET", kind=SpanKind.CLIENT, attributes={**known, **of_session, **attributes}).end()


def finished_spans(count, **attributes):
    """Spans as a processor hands them to an exporter."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    record(provider.get_tracer("clients"), count, **attributes)
    provider.shutdown()
    return memory.get_finished_spans()


def called(events):
    return sorted(event["details"]["request"]["url"] for event in events)


def urls(count):
    return sorted(f"http://shop.example/{index}" for index in range(count))


@pytest.fixture
def relayed(gateways, rum):
    """A gateway, and a relay in front of it that answers the first request with 503 and Retry-After: 1."""
    gateway = gateways(rum, TOKENS, **QUICK)
    with Relay(gateway.addresses.url, first=[503], retry_after=1).serving() as relay:
        yield gateway, relay


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_python_spans_arrive(compression, gateways, rum):
    """Each span of a batch that the SDK's processor exports becomes an event of its session, within the limits as they are."""
    gateway = gateways(rum, TOKENS, **QUICK)
    provider = TracerProvider(resource=RESOURCE)
    exporter = OTLPSpanExporter(**settings(gateway.addresses.url, "traces", compression))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    record(provider.get_tracer("clients"), 300)
    provider.shutdown()
    events = rum.wait_for_events(300)
    assert called(events) == urls(300)
    of_sessions = {number: [event for event in events if event["session_id"] == session(number)] for number in range(3)}
    assert {number: len(each) for number, each in of_sessions.items()} == {0: 100, 1: 100, 2: 100}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_python_log_events_arrive(compression, gateways, rum):
    """Each named log event becomes an event with its attributes."""
    gateway = gateways(rum, TOKENS, **QUICK)
    provider = LoggerProvider(resource=RESOURCE)
    exporter = OTLPLogExporter(**settings(gateway.addresses.url, "logs", compression))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = provider.get_logger("clients")
    for index in range(100):
        logger.emit(event_name="cart.checkout", attributes={"session.id": session(1), "cart.items": index})
    provider.shutdown()
    events = rum.wait_for_events(100)
    assert {event["type"] for event in events} == {"cart.checkout"}
    assert sorted(event["details"]["attributes"]["cart.items"] for event in events) == list(range(100))


def test_python_exporter_sends_again_when_it_may(gateways, rum):
    """A client over its rate is told when to come again, does so, and nothing of both exports is lost."""
    pytest.importorskip(
        "opentelemetry.exporter.otlp.common.http", reason="the exporters of older SDKs do not send again after 429"
    )
    gateway = gateways(rum, TOKENS + ONE_A_SECOND, **QUICK)
    exporter = OTLPSpanExporter(**settings(gateway.addresses.url, "traces"))
    parts = finished_spans(10)
    results = [exporter.export(part) for part in (parts[:5], parts[5:])]
    exporter.shutdown()
    assert results == [SpanExportResult.SUCCESS] * 2
    assert called(rum.wait_for_events(10)) == urls(10)
    assert gateway.metric('rum_gateway_requests_total{signal="traces",status="429"}') == 1


def test_python_exporter_sends_again_after_an_outage(relayed, rum):
    """What 503 turned away comes again after a second, and arrives once."""
    _, relay = relayed
    exporter = OTLPSpanExporter(**settings(relay.url, "traces"))
    assert exporter.export(finished_spans(10)) is SpanExportResult.SUCCESS
    exporter.shutdown()
    events = rum.wait_for_events(10)
    assert called(events) == urls(10)
    assert {event["times_received"] for event in events} == {1}
    (refused, refused_at), (taken, taken_at) = relay.answers
    assert (refused, taken) == (503, 200)
    assert taken_at - refused_at > 0.7, "the exporter's own jitter allows a fifth less than a second"


def test_python_exporter_takes_a_partial_success_for_one(gateways, rum):
    """Spans of no session are rejected and counted; the exporter neither fails nor sends the others again."""
    gateway = gateways(rum, TOKENS, **QUICK)
    exporter = OTLPSpanExporter(**settings(gateway.addresses.url, "traces"))
    strangers = finished_spans(2, **{"session.id": ""})
    assert exporter.export([*finished_spans(5), *strangers]) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert called(rum.wait_for_events(5)) == urls(5)
    assert gateway.metric('rum_gateway_requests_total{signal="traces",status="200"}') == 1
    assert gateway.metric('rum_gateway_records_rejected_total{signal="traces",reason="no_session"}') == 2


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_javascript_exporters(compression, gateways, rum, tmp_path):
    """Spans and log events arrive as JSON; of the spans without a session the exporter says that they were rejected."""
    gateway = gateways(rum, TOKENS, **QUICK)
    arguments = (gateway.addresses.url, TOKEN, compression, 50, 20, 2)
    with running("export.mjs", tmp_path, *arguments) as printed:
        assert printed["outcomes"] == {"traces": "success", "logs": "success"}
        (said,) = printed["said"]
    events = rum.wait_for_events(70)
    assert called([event for event in events if event["type"] == HTTP_EVENT]) == urls(50)
    items = [event["details"]["attributes"]["cart.items"] for event in events if event["type"] == "cart.checkout"]
    assert sorted(items) == list(range(20))
    assert "partial success" in said.lower()
    assert '"rejectedSpans":"2"' in said


def test_javascript_exporter_sends_again_after_an_outage(relayed, rum, tmp_path):
    """What 503 turned away comes again after the second that the relay asked for."""
    _, relay = relayed
    with running("export.mjs", tmp_path, relay.url, TOKEN, "gzip", 10, 5, 0) as printed:
        assert printed["outcomes"] == {"traces": "success", "logs": "success"}
    assert len(rum.wait_for_events(15)) == 15
    statuses = [status for status, _ in relay.answers]
    assert statuses == [503, 200, 200]
    assert relay.answers[1][1] - relay.answers[0][1] > 0.9


def test_javascript_exporter_sends_again_when_it_may(gateways, rum, tmp_path):
    """Its log events come right after its spans, are turned away with 429, and come again."""
    gateway = gateways(rum, TOKENS + ONE_A_SECOND, **QUICK)
    with running("export.mjs", tmp_path, gateway.addresses.url, TOKEN, "none", 10, 5, 0) as printed:
        assert printed["outcomes"] == {"traces": "success", "logs": "success"}
    assert len(rum.wait_for_events(15)) == 15
    assert gateway.metric('rum_gateway_requests_total{signal="logs",status="429"}') == 1
