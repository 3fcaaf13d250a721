"""OTLP's messages as they stand in JSON, as far as they are read: what msgspec decodes a body into.

Members that are missing or null have their default; unknown ones are skipped without being built. Numbers may be
strings, as 64-bit ones are.

Source: opentelemetry-proto 1.x, "JSON Protobuf Encoding"; protobuf's ProtoJSON format.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct, field

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0)]
"""Epoch nanoseconds. Their upper bound, 2**64, is none that msgspec can check."""

Record = TypeVar("Record")


class AnyValue(Struct, rename="camel", gc=False):
    """A value, of which one member is set. Bytes are skipped: they have no place in an event."""

    string_value: str | None = None
    int_value: Int64 | None = None
    bool_value: bool | None = None
    double_value: float | None = None
    array_value: ArrayValue | None = None
    kvlist_value: KeyValueList | None = None


class ArrayValue(Struct, gc=False):
    """Values in an order."""

    values: list[AnyValue | None] | None = None


class KeyValue(Struct, gc=False):
    """An attribute."""

    key: str | None = None
    value: AnyValue | None = None


class KeyValueList(Struct, gc=False):
    """Values by name."""

    values: list[KeyValue] | None = None


class SpanEvent(Struct, rename="camel", gc=False):
    """A moment within a span."""

    name: str | None = None
    time_unix_nano: Time | None = None
    attributes: list[KeyValue] | None = None


class Status(Struct, gc=False):
    """How a span ended."""

    code: int | None = None
    message: str | None = None


class Span(Struct, rename="camel", gc=False):
    """A span."""

    name: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    flags: int | None = None
    kind: int | None = None
    start_time_unix_nano: Time | None = None
    end_time_unix_nano: Time | None = None
    status: Status | None = None
    attributes: list[KeyValue] | None = None
    events: list[SpanEvent] | None = None


class LogRecord(Struct, rename="camel", gc=False):
    """A log record."""

    time_unix_nano: Time | None = None
    observed_time_unix_nano: Time | None = None
    trace_id: str | None = None
    span_id: str | None = None
    body: AnyValue | None = None
    attributes: list[KeyValue] | None = None
    event_name: str | None = None


class Resource(Struct, gc=False):
    """What produced records."""

    attributes: list[KeyValue] | None = None


class Scope(Struct, gc=False):
    """The instrumentation library that produced records."""

    name: str | None = None


class ScopeSpans(Struct, Generic[Record], gc=False):
    """Spans of one scope."""

    scope: Scope | None = None
    records: list[Record] | None = field(name="spans", default=None)


class ScopeLogs(Struct, Generic[Record], gc=False):
    """Log records of one scope."""

    scope: Scope | None = None
    records: list[Record] | None = field(name="logRecords", default=None)


class ResourceSpans(Struct, Generic[Record], gc=False):
    """Spans of one resource."""

    resource: Resource | None = None
    scopes: list[ScopeSpans[Record]] | None = field(name="scopeSpans", default=None)


class ResourceLogs(Struct, Generic[Record], gc=False):
    """Log records of one resource."""

    resource: Resource | None = None
    scopes: list[ScopeLogs[Record]] | None = field(name="scopeLogs", default=None)


class TracesRequest(Struct, Generic[Record], gc=False):
    """A request of spans."""

    resources: list[ResourceSpans[Record]] | None = field(name="resourceSpans", default=None)


class LogsRequest(Struct, Generic[Record], gc=False):
    """A request of log records."""

    resources: list[ResourceLogs[Record]] | None = field(name="resourceLogs", default=None)


Request = TracesRequest[Record] | LogsRequest[Record]
