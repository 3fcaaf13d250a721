"""What the gateway answers, in the encoding of the request.

Source: OTLP 1.x, "OTLP/HTTP Response": an Export...ServiceResponse with 200, else google.rpc.Status.
"""

from __future__ import annotations

import json
from typing import Any

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.gateway.refusals import MAX_REASON
from otel_rum_exporter.gateway.signals import Encoding, Signal

# google/rpc/code.proto says which HTTP status each code stands for; 408, 413 and 415 have none of their own
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 431: 8, 500: 13, 501: 12, 503: 14}
_UNKNOWN = 2


def success(signal: Signal, encoding: Encoding, rejected: int = 0, message: str = "") -> bytes:
    """Return the body of a 200: empty of members if all was taken, else how many records were not, and why.

    Shape:  a message with nothing rejected is a warning.
    """
    message = _sayable(message)
    if encoding is Encoding.JSON:
        return _json(_partial_json(signal, rejected, message))
    response: Any
    if signal is Signal.TRACES:
        partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
        response = ExportTraceServiceResponse(partial_success=partial if rejected or message else None)
    else:
        partial = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
        response = ExportLogsServiceResponse(partial_success=partial if rejected or message else None)
    return bytes(response.SerializeToString())


def failure(encoding: Encoding, code: int, message: str) -> bytes:
    """Return the body of an answer with the HTTP status `code`: a google.rpc.Status with the gRPC code that it stands for."""
    message = _sayable(message)
    rpc_code = _CODES.get(code, _UNKNOWN)
    if encoding is Encoding.JSON:
        return _json({"code": rpc_code, "message": message})
    return bytes(Status(code=rpc_code, message=message).SerializeToString())


def _sayable(message: str) -> str:
    return well_formed(clip(message, MAX_REASON))


def _partial_json(signal: Signal, rejected: int, message: str) -> dict[str, Any]:
    # 64-bit integers are strings in protobuf's JSON
    members = {signal.rejected: str(rejected)} if rejected else {}
    if message:
        members["errorMessage"] = message
    return {"partialSuccess": members} if members else {}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
