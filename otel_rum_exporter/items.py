"""What conversion reads: the narrow protocol that the SDK's spans and log records and our OTLP items both satisfy.

Every member may lie: attributes come from applications. Conversion checks types when it reads a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.trace import SpanKind, StatusCode

Attributes = Mapping[str, Any]


class ResourceItem(Protocol):
    """The entity that produced an item."""

    @property
    def attributes(self) -> Attributes: ...


class ScopeItem(Protocol):
    """The instrumentation library that produced an item."""

    @property
    def name(self) -> str: ...


class SpanContextItem(Protocol):
    """The ids of a span; 0 is no id. `is_remote`: known from another process's request."""

    @property
    def trace_id(self) -> int: ...
    @property
    def span_id(self) -> int: ...
    @property
    def is_remote(self) -> bool: ...


class StatusItem(Protocol):
    """How a span ended."""

    @property
    def status_code(self) -> StatusCode: ...
    @property
    def description(self) -> str | None: ...


class SpanEventItem(Protocol):
    """A moment within a span. `timestamp` is epoch nanoseconds."""

    @property
    def name(self) -> str: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def attributes(self) -> Attributes | None: ...


class SpanItem(Protocol):
    """A finished span. Times are epoch nanoseconds."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> SpanKind: ...
    @property
    def context(self) -> SpanContextItem | None: ...
    @property
    def parent(self) -> SpanContextItem | None: ...
    @property
    def start_time(self) -> int | None: ...
    @property
    def end_time(self) -> int | None: ...
    @property
    def status(self) -> StatusItem: ...
    @property
    def attributes(self) -> Attributes | None: ...
    @property
    def events(self) -> Sequence[SpanEventItem]: ...
    @property
    def resource(self) -> ResourceItem: ...
    @property
    def instrumentation_scope(self) -> ScopeItem | None: ...


class LogRecordItem(Protocol):
    """A log record. Times are epoch nanoseconds, 0 or None when unknown."""

    @property
    def timestamp(self) -> int | None: ...
    @property
    def observed_timestamp(self) -> int | None: ...
    @property
    def trace_id(self) -> int | None: ...
    @property
    def span_id(self) -> int | None: ...
    @property
    def body(self) -> Any: ...
    @property
    def attributes(self) -> Attributes | None: ...
    @property
    def event_name(self) -> str | None: ...


class LogItem(Protocol):
    """A log record with where it came from."""

    @property
    def log_record(self) -> LogRecordItem: ...
    @property
    def resource(self) -> ResourceItem: ...
    @property
    def instrumentation_scope(self) -> ScopeItem | None: ...
