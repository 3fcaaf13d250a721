"""Protobuf bodies: bounded before they are parsed, parsed by OpenTelemetry's own classes, read into items.

Reading a member of a message takes longer than all else here. So each is read once, in the order that finds the usual
first, and members that conversion does not need are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind

from otel_rum_exporter.gateway import protobuf_bounds
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.parsed import Group, Parsed
from otel_rum_exporter.gateway.refusals import Malformed
from otel_rum_exporter.gateway.signals import Signal
from otel_rum_exporter.otlp import (
    UNSET_STATUS,
    Log,
    LogRecord,
    Resource,
    Scope,
    Span,
    SpanContext,
    SpanEvent,
    Status,
    is_remote,
    span_kind,
    status_code,
)

_TRACE_BYTES, _SPAN_BYTES = 16, 8


def parse(signal: Signal, body: bytes, limits: BodyLimits) -> Parsed:
    """Parse a body.

    Errors: TooLarge before anything is built, Malformed for what is not protobuf of this signal. An empty body is a
            request without records.
    """
    protobuf_bounds.check(signal, body, limits)
    request: Any = ExportTraceServiceRequest() if signal is Signal.TRACES else ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError:
        raise Malformed(f"the body is not a protobuf {type(request).__name__}") from None
    is_empty = not request.ListFields()
    if signal is Signal.TRACES:
        return Parsed(_groups(request.resource_spans, "scope_spans", "spans", limits.depth), _span, is_empty)
    return Parsed(_groups(request.resource_logs, "scope_logs", "log_records", limits.depth), _log, is_empty)


def _groups(resources: Iterable[Any], scopes: str, records: str, depth: int) -> Iterator[Group]:
    for of_resource in resources:
        attributes = _attributes(of_resource.resource.attributes, depth)
        for of_scope in getattr(of_resource, scopes):
            if of_records := getattr(of_scope, records):
                yield Group(attributes, _scope(of_scope), of_records)


def _scope(of_scope: Any) -> Scope | None:
    name = of_scope.scope.name
    return Scope(name) if name else None


def _span(message: Any, resource: Resource, scope: Scope | None, depth: int) -> Span:
    trace_id, span_id = _id(message.trace_id, _TRACE_BYTES, "trace id"), _id(message.span_id, _SPAN_BYTES, "span id")
    if not trace_id or not span_id:
        raise Malformed(f"a span has no {'span' if trace_id else 'trace'} id, or one of zeros")
    kind = span_kind(message.kind)
    return Span(  # in the order of its members, since names take time
        message.name,
        kind,
        SpanContext(trace_id, span_id),
        _parent(message, trace_id, kind),
        message.start_time_unix_nano,
        message.end_time_unix_nano,
        _status(message.status),
        _attributes(message.attributes, depth),
        [_span_event(event, depth) for event in message.events],
        resource,
        scope,
    )


def _span_event(message: Any, depth: int) -> SpanEvent:
    return SpanEvent(message.name, message.time_unix_nano, _attributes(message.attributes, depth))


def _log(message: Any, resource: Resource, scope: Scope | None, depth: int) -> Log:
    record = LogRecord(
        message.time_unix_nano,
        message.observed_time_unix_nano,
        _id(message.trace_id, _TRACE_BYTES, "trace id"),
        _id(message.span_id, _SPAN_BYTES, "span id"),
        _value(message.body, depth),
        _attributes(message.attributes, depth),
        message.event_name or None,
    )
    return Log(record, resource, scope)


def _id(id_: bytes, size: int, name: str) -> int:
    if id_ and len(id_) != size:
        raise Malformed(f"a {name} is not {size} bytes")
    return int.from_bytes(id_, "big")


def _parent(message: Any, trace_id: int, kind: SpanKind) -> SpanContext | None:
    parent_id = _id(message.parent_span_id, _SPAN_BYTES, "parent span id")
    return SpanContext(trace_id, parent_id, is_remote(message.flags, kind)) if parent_id else None


def _status(message: Any) -> Status:
    code, description = message.code, message.message
    return Status(status_code(code), description or None) if code or description else UNSET_STATUS


def _attributes(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    attributes = {}
    for pair in pairs:
        value = pair.value
        # most values are text or integers; where a value is neither, or empty, both are
        attributes[pair.key] = value.string_value or value.int_value or _value(value, depth)
    return attributes


def _value(value: Any, depth: int) -> Any:
    """Return the value that a message holds; None for an empty one, and for bytes, which have no place in an event."""
    kind = value.WhichOneof("value")
    if kind in _PLAIN:
        return getattr(value, kind)
    if kind not in _NESTED:
        return None
    if depth == 0:
        raise Malformed("a value is nested too deeply")
    return _NESTED[kind](value, depth - 1)


def _array(value: Any, depth: int) -> list[Any]:
    return [_value(member, depth) for member in value.array_value.values]


def _map(value: Any, depth: int) -> dict[str, Any]:
    return _attributes(value.kvlist_value.values, depth)


_PLAIN = frozenset({"string_value", "bool_value", "int_value", "double_value"})
_NESTED: Mapping[str, Callable[[Any, int], Any]] = {"array_value": _array, "kvlist_value": _map}
