"""Answers are OTLP's, in both encodings: its own classes and plain JSON read them."""

import json

import pytest
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_rum_exporter.gateway.otlp_answers import failure, success
from otel_rum_exporter.gateway.signals import Encoding, Signal

RESPONSES = {Signal.TRACES: ExportTraceServiceResponse, Signal.LOGS: ExportLogsServiceResponse}
COUNTS = {Signal.TRACES: "rejected_spans", Signal.LOGS: "rejected_log_records"}

both_signals = pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name.lower())


@both_signals
def test_all_was_taken(signal):
    """Then partial_success must not be set."""
    assert success(signal, Encoding.PROTOBUF) == b""
    assert success(signal, Encoding.JSON) == b"{}"


@both_signals
@pytest.mark.parametrize(("rejected", "message"), [(3, "a span has no trace id"), (0, "no spans"), (2, "")])
def test_partial_success(signal, rejected, message):
    """Counts and reasons; a reason without a count is a warning."""
    response = RESPONSES[signal].FromString(success(signal, Encoding.PROTOBUF, rejected, message))
    assert response.HasField("partial_success")
    assert getattr(response.partial_success, COUNTS[signal]) == rejected
    assert response.partial_success.error_message == message
    partial = json.loads(success(signal, Encoding.JSON, rejected, message))["partialSuccess"]
    assert int(partial.get(signal.rejected, "0")) == rejected
    assert partial.get("errorMessage", "") == message


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (400, Code.INVALID_ARGUMENT),
        (401, Code.UNAUTHENTICATED),
        (403, Code.PERMISSION_DENIED),
        (404, Code.NOT_FOUND),
        (405, Code.UNIMPLEMENTED),
        (408, Code.DEADLINE_EXCEEDED),
        (413, Code.RESOURCE_EXHAUSTED),
        (415, Code.INVALID_ARGUMENT),
        (429, Code.RESOURCE_EXHAUSTED),
        (503, Code.UNAVAILABLE),
        (418, Code.UNKNOWN),
    ],
)
def test_failures(http_status, code):
    """A google.rpc.Status with the code that the HTTP status stands for."""
    status = Status.FromString(failure(Encoding.PROTOBUF, http_status, "no"))
    assert (status.code, status.message) == (code, "no")
    assert json.loads(failure(Encoding.JSON, http_status, "no")) == {"code": code, "message": "no"}


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("message", ["long " * 1000, "Grüße, 世界 " * 100, "half \ud800", 'quoted "\n\x1b'])
def test_any_message(encoding, message):
    """Messages are cut at 256 characters and are whole Unicode."""
    answers = [failure(encoding, 400, message), success(Signal.LOGS, encoding, 1, message)]
    said = (
        [json.loads(answers[0])["message"], json.loads(answers[1])["partialSuccess"]["errorMessage"]]
        if encoding is Encoding.JSON
        else [Status.FromString(answers[0]).message, _error_message(answers[1])]
    )
    for text in said:
        assert 0 < len(text) <= 256
        assert text[:5] == message[:5]


def _error_message(answer):
    return ExportLogsServiceResponse.FromString(answer).partial_success.error_message
