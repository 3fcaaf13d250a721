"""OTLP requests for tests: the same in both encodings, written by hand or by the SDK."""

import importlib
import json
from base64 import b64encode

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from otel_rum_exporter.gateway.signals import Encoding, Signal

TRACE, SPAN = "8c320e683ee344ca86ed3829c1e75fec", "b9a27564d4d261fd"
START = 1_795_403_988_882_000_000
SESSION = "99999999-8888-4777-8666-555555555555"
BROWSER = {"service.name": "shop", "telemetry.sdk.language": "webjs", "browser.language": "en"}

REQUESTS = {Signal.TRACES: ExportTraceServiceRequest, Signal.LOGS: ExportLogsServiceRequest}
_NAMES = {
    Signal.TRACES: ("resourceSpans", "scopeSpans", "spans"),
    Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords"),
}
_IDS = ("traceId", "spanId", "parentSpanId")


def record(signal, **members):
    """A valid span or log record, with these members instead of its own; those that are None are left out."""
    times = {"startTimeUnixNano": str(START), "endTimeUnixNano": str(START + 10**6), "name": "GET", "kind": 3}
    if signal is Signal.LOGS:
        times = {"timeUnixNano": str(START), "eventName": "cart.filled"}
    known = {"traceId": TRACE, "spanId": SPAN, **times, **members}
    return {name: value for name, value in known.items() if value is not None}


def request(signal, *records, resource=None, scope=None):
    """A request of these records."""
    of_resource, of_scope, of_record = _NAMES[signal]
    group = {of_record: list(records), **({"scope": scope} if scope else {})}
    return {of_resource: [{of_scope: [group], **({"resource": {"attributes": pairs(resource)}} if resource else {})}]}


def pairs(attributes):
    """Texts by name, as attributes."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]


def body(encoding, signal, document):
    """A request's body. Protobuf's own reader of JSON takes ids for base64, and does the rest by OTLP's rules."""
    if encoding is Encoding.JSON:
        return json.dumps(document).encode()
    message = ParseDict(_with_base64(document), REQUESTS[signal](), ignore_unknown_fields=True)
    return message.SerializeToString()


def _with_base64(value):
    if isinstance(value, list):
        return [_with_base64(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key: b64encode(bytes.fromhex(member)).decode() if key in _IDS else _with_base64(member)
        for key, member in value.items()
    }


def sdk_spans():
    """Spans of the SDK with everything that a span may have, of one resource and two scopes."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource(BROWSER), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for scope, kind in (("@opentelemetry/instrumentation-fetch", SpanKind.CLIENT), ("shop", SpanKind.INTERNAL)):
        tracer = provider.get_tracer(scope)
        with tracer.start_as_current_span("GET", kind=kind, attributes=CALL) as parent:
            parent.add_event("loaded", {"size": 5, "ratio": 0.5})
            link = Link(parent.get_span_context(), {"why": "test"})
            with tracer.start_as_current_span("checkout", links=[link], attributes=ANY_VALUES) as child:
                child.record_exception(ValueError("no stock"))
                child.set_status(Status(StatusCode.ERROR, "no stock"))
    provider.shutdown()
    return list(memory.get_finished_spans())


def sdk_logs():
    """Log records of the SDK: named events, plain lines, an exception."""
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource(BROWSER), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("shop", "1.2")
    failure = {"exception.type": "TypeError", "exception.message": "x is not a function", "session.id": SESSION}
    for name, attributes, said in (
        ("cart.filled", {**ANY_VALUES, "session.id": SESSION}, {"items": [1, 2.5, "three", None, {"a": True}]}),
        ("browser.navigation", {"url.full": "https://shop.example/cart?item=7", "session.id": SESSION}, None),
        ("", failure, "a plain line"),
    ):
        logger.emit(
            LogRecord(
                timestamp=START,
                observed_timestamp=START + 5,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=said,
                attributes=attributes,
                event_name=name or None,
            )
        )
    provider.shutdown()
    return list(memory.get_finished_logs())


CALL = {
    "http.request.method": "GET",
    "url.full": "https://shop.example/api/products/7?token=secret",
    "http.response.status_code": 200,
    "server.address": "shop.example",
    "server.port": 443,
    "session.id": SESSION,
    "fast": True,
}
ANY_TEXT = {"text": "Grüße, 世界 😀", "control": "\x00\x1b\r\n", "quoted": '"\\', "": "no name"}
ANY_VALUES = {
    "text": "Grüße, 世界 😀",
    "empty": "",
    "zero": 0,
    "negative": -(2**63),
    "large": 2**63 - 1,
    "false": False,
    "ratio": 0.1,
    "nothing": 0.0,
    "texts": ("a", "", "c"),
    "numbers": (1, 2, 3),
}


def encoded_by_the_sdk(signal):
    """Items of the SDK, and the body that OpenTelemetry's OTLP exporter sends of them."""
    encoders = pytest.importorskip("opentelemetry.exporter.otlp.proto.common")
    items = sdk_spans() if signal is Signal.TRACES else sdk_logs()
    name = "trace_encoder" if signal is Signal.TRACES else "_log_encoder"
    encoder = importlib.import_module(f"{encoders.__name__}.{name}")
    encode = encoder.encode_spans if signal is Signal.TRACES else encoder.encode_logs
    return items, encode(items).SerializeToString()
