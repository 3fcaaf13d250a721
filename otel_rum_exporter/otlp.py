"""OTLP JSON files become items: light objects with the same members as the SDK's spans and log records.

The gateway makes the same items of what it is sent, in a hurry and from strangers; this reads files, and says what is
wrong with them.

Source: opentelemetry-proto 1.x, "JSON Protobuf Encoding": ids are hex, 64-bit integers may be strings, enums integers.
        protobuf's own JSON parser takes the ids for base64, which is why this does not use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter.json_repairs import whole_characters

_NOT_JSON = (msgspec.DecodeError, RecursionError, UnicodeError)
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200  # SpanFlags
_HEX = re.compile(r"[0-9a-fA-F]+")
_MAX_DEPTH = 32  # of an attribute's value
_KINDS = {
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}
_CALLED = (SpanKind.SERVER, SpanKind.CONSUMER)
_STATUSES = {0: StatusCode.UNSET, 1: StatusCode.OK, 2: StatusCode.ERROR}


class OtlpError(ValueError):
    """A request that is not OTLP JSON. The message says where and what was expected."""


class Resource(Struct, frozen=True, gc=False):
    """The entity that produced items."""

    attributes: dict[str, Any]


class Scope(Struct, frozen=True, gc=False):
    """The instrumentation library that produced items."""

    name: str


class SpanContext(Struct, frozen=True, gc=False):
    """The ids of a span."""

    trace_id: int
    span_id: int
    is_remote: bool = False


class Status(Struct, frozen=True, gc=False):
    """How a span ended."""

    status_code: StatusCode = StatusCode.UNSET
    description: str | None = None


class SpanEvent(Struct, frozen=True, gc=False):
    """A moment within a span. Units: epoch nanoseconds."""

    name: str
    timestamp: int
    attributes: dict[str, Any]


class Span(Struct, frozen=True, gc=False):
    """A finished span. Units: epoch nanoseconds."""

    name: str
    kind: SpanKind
    context: SpanContext
    parent: SpanContext | None
    start_time: int
    end_time: int
    status: Status
    attributes: dict[str, Any]
    events: list[SpanEvent]
    resource: Resource
    instrumentation_scope: Scope | None


class LogRecord(Struct, frozen=True, gc=False):
    """A log record's own part. Units: epoch nanoseconds, 0 where unknown."""

    timestamp: int
    observed_timestamp: int
    trace_id: int
    span_id: int
    body: Any
    attributes: dict[str, Any]
    event_name: str | None


class Log(Struct, frozen=True, gc=False):
    """A log record with where it came from."""

    log_record: LogRecord
    resource: Resource
    instrumentation_scope: Scope | None


UNSET_STATUS = Status()
"""The status of most spans."""


def span_kind(number: int) -> SpanKind:
    """Return what OTLP's number stands for. Errors: INTERNAL for unspecified and unknown kinds."""
    return _KINDS.get(number, SpanKind.INTERNAL)


def status_code(number: int) -> StatusCode:
    """Return what OTLP's number stands for. Errors: UNSET for unknown codes."""
    return _STATUSES.get(number, StatusCode.UNSET)


def is_remote(flags: int, kind: SpanKind) -> bool:
    """Tell whether a span's parent is another process's. `flags` and `kind` are the span's."""
    # senders that do not know the flag: what calls a server is another process
    return bool(flags & _IS_REMOTE) if flags & _HAS_IS_REMOTE else kind in _CALLED


def items(request: bytes | str) -> list[Span | Log]:
    """Read one OTLP/HTTP request body, of spans or of log records.

    Shape:  the request's items in their order; members that OTLP does not know are ignored, as its rules ask.
    Errors: OtlpError for what is not JSON, not an object, or holds a member of the wrong type.
    """
    body = _object(_decoded(request), "the request")
    if body and "resourceSpans" not in body and "resourceLogs" not in body:
        raise OtlpError("neither resourceSpans nor resourceLogs")
    return [
        *_records(body, "resourceSpans", "scopeSpans", "spans", _span),
        *_records(body, "resourceLogs", "scopeLogs", "logRecords", _log),
    ]


def _decoded(request: bytes | str) -> Any:
    with suppress(*_NOT_JSON):
        return msgspec.json.decode(request)
    try:
        return msgspec.json.decode(whole_characters(request.encode() if isinstance(request, str) else request))
    except _NOT_JSON as error:
        raise OtlpError(f"not JSON: {error}") from None


def _records(
    body: dict[str, Any], resources: str, scopes: str, records: str, read: Callable[..., Any]
) -> Iterator[Any]:
    for of_resource in _objects(body, resources):
        resource = Resource(_attributes(_object(of_resource.get("resource") or {}, "resource")))
        for of_scope in _objects(of_resource, scopes):
            name = _object(of_scope.get("scope") or {}, "scope").get("name")
            scope = Scope(name) if isinstance(name, str) and name else None
            for record in _objects(of_scope, records):
                yield read(record, resource, scope)


def _span(span: dict[str, Any], resource: Resource, scope: Scope | None) -> Span:
    trace_id, parent_id = _hex(span, "traceId", 32), _hex(span, "parentSpanId", 16)
    kind = span_kind(_integer(span, "kind"))
    parent_is_remote = is_remote(_integer(span, "flags"), kind)
    status = _object(span.get("status") or {}, "status")
    return Span(
        name=_text(span, "name") or "",
        kind=kind,
        context=SpanContext(trace_id, _hex(span, "spanId", 16)),
        parent=SpanContext(trace_id, parent_id, parent_is_remote) if parent_id else None,
        start_time=_integer(span, "startTimeUnixNano"),
        end_time=_integer(span, "endTimeUnixNano"),
        status=Status(status_code(_integer(status, "code")), _text(status, "message")),
        attributes=_attributes(span),
        events=[
            SpanEvent(_text(event, "name") or "", _integer(event, "timeUnixNano"), _attributes(event))
            for event in _objects(span, "events")
        ],
        resource=resource,
        instrumentation_scope=scope,
    )


def _log(record: dict[str, Any], resource: Resource, scope: Scope | None) -> Log:
    return Log(
        LogRecord(
            timestamp=_integer(record, "timeUnixNano"),
            observed_timestamp=_integer(record, "observedTimeUnixNano"),
            trace_id=_hex(record, "traceId", 32),
            span_id=_hex(record, "spanId", 16),
            body=_value(record.get("body"), _MAX_DEPTH),
            attributes=_attributes(record),
            event_name=_text(record, "eventName"),
        ),
        resource,
        scope,
    )


def _attributes(of: dict[str, Any], name: str = "attributes", depth: int = _MAX_DEPTH) -> dict[str, Any]:
    pairs = _objects(of, name)
    return {key: _value(pair.get("value"), depth) for pair in pairs if isinstance(key := pair.get("key"), str)}


def _value(value: Any, depth: int) -> Any:
    """Return the one member of an AnyValue; None for an empty one, for bytes and for what lies too deep."""
    if value is None or depth == 0:
        return None
    for kind, content in islice(_object(value, "a value").items(), 1):
        if kind == "kvlistValue":
            return _attributes(_object(content, kind), "values", depth - 1)
        if kind == "arrayValue":
            return [_value(member, depth - 1) for member in _objects(_object(content, kind), "values")]
        if kind in _SCALARS:
            return _SCALARS[kind](value, kind)
    return None


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OtlpError(f"{name} is not an object")
    return value


def _objects(of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = of.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise OtlpError(f"{name} is not an array")
    return [_object(value, f"a member of {name}") for value in values]


def _text(of: dict[str, Any], name: str) -> str | None:
    value = of.get(name)
    if value is not None and not isinstance(value, str):
        raise OtlpError(f"{name} is not a string")
    return value


def _integer(of: dict[str, Any], name: str) -> int:
    value = of.get(name) or 0
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise OtlpError(f"{name} is not an integer")
    if not -(2**63) <= value < 2**64:
        raise OtlpError(f"{name} does not fit into 64 bits")
    return int(value)


def _double(of: dict[str, Any], name: str) -> float | None:
    value = of.get(name)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        return float(_text(of, name) or "")  # NaN, Infinity, -Infinity, and numerals as of proto3's JSON
    except ValueError:
        raise OtlpError(f"{name} is not a number") from None


def _flag(of: dict[str, Any], name: str) -> bool | None:
    value = of.get(name)
    if value is not None and not isinstance(value, bool):
        raise OtlpError(f"{name} is not a bool")
    return value


def _hex(of: dict[str, Any], name: str, digits: int) -> int:
    value = _text(of, name)
    if not value:
        return 0
    if len(value) != digits or not _HEX.fullmatch(value):
        raise OtlpError(f"{name} is not an id of {digits} hex digits")
    return int(value, 16)


_SCALARS: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "stringValue": _text,
    "boolValue": _flag,
    "intValue": _integer,
    "doubleValue": _double,
}
