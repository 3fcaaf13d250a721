"""A request body becomes items, of the same kind as the SDK's: one conversion serves both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_rum_exporter import otlp
from otel_rum_exporter.gateway import protobuf_items
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal
from otel_rum_exporter.otlp import Resource


class Decoded(Struct, frozen=True):
    """What a request holds.

    Attributes:
        items: Its valid records, in their order: spans of a request of traces, logs of one of logs.
        rejected: How many of its records are not valid.
        reasons: Why, each reason once.
    """

    items: list[Any]
    rejected: int = 0
    reasons: tuple[str, ...] = ()


def decode(
    signal: Signal, encoding: Encoding, body: bytes, limits: BodyLimits, identity: Mapping[str, str] | None = None
) -> Decoded:
    """Read one request body.

    Shape:  n records -> the valid ones as items; each other is counted. `identity` replaces what resources say of their
            app monitor and service, which a sender may then not choose.
    Errors: Malformed for what is no such request, TooLarge for one over a limit.
    """
    if encoding is Encoding.JSON:
        return _json(body, limits)
    return _protobuf(signal, body, limits, identity)


def _json(body: bytes, limits: BodyLimits) -> Decoded:
    try:
        items = otlp.items(body) if body else []
    except otlp.OtlpError as error:
        raise Malformed(str(error)) from None
    if len(items) > limits.records:
        raise TooLarge(f"the request has more than {limits.records} records")
    return Decoded(items)


def _protobuf(signal: Signal, body: bytes, limits: BodyLimits, identity: Mapping[str, str] | None) -> Decoded:
    request: Any = ExportTraceServiceRequest() if signal is Signal.TRACES else ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise Malformed(f"the body is not a protobuf {type(request).__name__}") from None
    groups = protobuf_items.span_groups if signal is Signal.TRACES else protobuf_items.log_groups
    read = protobuf_items.span if signal is Signal.TRACES else protobuf_items.log
    items: list[Any] = []
    reasons: dict[str, int] = {}
    for resource, scope, records in groups(request, lambda said: _resource(said, identity), limits.depth):
        for record in records:
            try:
                items.append(read(record, resource, scope, limits.depth))  # noqa: PERF203 - each record for itself
            except Malformed as error:
                reasons[str(error)] = reasons.get(str(error), 0) + 1
    return Decoded(items, sum(reasons.values()), tuple(reasons))


def _resource(said: dict[str, Any], identity: Mapping[str, str] | None) -> Resource:
    if identity is None:
        return Resource(said)
    chosen = {name: value for name, value in said.items() if not _is_identity(name)}
    return Resource({**chosen, **identity})


def _is_identity(name: str) -> bool:
    return name.startswith("aws.rum.") or name in ("service.name", "service.version")
