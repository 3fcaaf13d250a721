"""Parsed OTLP messages become items.

Reading a member of a message takes longer than all else, so each is read once, and those that conversion does not need
are not read at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter.gateway.refusals import Malformed
from otel_rum_exporter.otlp import Log, LogRecord, Resource, Scope, Span, SpanContext, SpanEvent, Status

Group = tuple[Resource, Scope | None, Iterable[Any]]
"""Records with the resource and the scope that they share."""

_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200  # SpanFlags
_KINDS = (
    SpanKind.INTERNAL,
    SpanKind.INTERNAL,
    SpanKind.SERVER,
    SpanKind.CLIENT,
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
)
_CALLED = (SpanKind.SERVER, SpanKind.CONSUMER)
_STATUSES = (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR)
_UNSET_STATUS = Status()


def span(message: Any, resource: Resource, scope: Scope | None, depth: int) -> Span:
    """Return a Span message as an item. Errors: Malformed if an id is not one, or a value lies deeper than `depth`."""
    kind = _KINDS[message.kind] if 0 <= message.kind < len(_KINDS) else SpanKind.INTERNAL
    trace_id = _id(message.trace_id, 16, "trace id")
    return Span(
        name=message.name,
        kind=kind,
        context=SpanContext(trace_id, _id(message.span_id, 8, "span id")),
        parent=_parent(message, trace_id, kind),
        start_time=message.start_time_unix_nano,
        end_time=message.end_time_unix_nano,
        status=_status(message),
        attributes=_attributes(message.attributes, depth),
        events=[
            SpanEvent(event.name, event.time_unix_nano, _attributes(event.attributes, depth))
            for event in message.events
        ],
        resource=resource,
        instrumentation_scope=scope,
    )


def log(message: Any, resource: Resource, scope: Scope | None, depth: int) -> Log:
    """Return a LogRecord message as an item. Errors: as for spans, except that a log record needs no ids."""
    return Log(
        LogRecord(
            timestamp=message.time_unix_nano,
            observed_timestamp=message.observed_time_unix_nano,
            trace_id=_id_or_none(message.trace_id, 16, "trace id"),
            span_id=_id_or_none(message.span_id, 8, "span id"),
            body=_value(message.body, depth),
            attributes=_attributes(message.attributes, depth),
            event_name=message.event_name or None,
        ),
        resource,
        scope,
    )


def _id(id_: bytes, size: int, name: str) -> int:
    known = int.from_bytes(id_, "big") if len(id_) == size else 0
    if not known:
        raise Malformed(f"a {name} is not {size} bytes with a bit set")
    return known


def _id_or_none(id_: bytes, size: int, name: str) -> int:
    if id_ and len(id_) != size:
        raise Malformed(f"a {name} is not {size} bytes")
    return int.from_bytes(id_, "big")


def _parent(message: Any, trace_id: int, kind: SpanKind) -> SpanContext | None:
    parent_id = _id_or_none(message.parent_span_id, 8, "parent span id")
    if not parent_id:
        return None
    flags = message.flags
    # senders that do not know the flag: what calls a server is another process
    is_remote = bool(flags & _IS_REMOTE) if flags & _HAS_IS_REMOTE else kind in _CALLED
    return SpanContext(trace_id, parent_id, is_remote)


def _status(message: Any) -> Status:
    if not message.HasField("status"):
        return _UNSET_STATUS
    status = message.status
    code = _STATUSES[status.code] if 0 <= status.code < len(_STATUSES) else StatusCode.UNSET
    return Status(code, status.message or None)


def _attributes(pairs: Iterable[Any], depth: int) -> dict[str, Any]:
    return {pair.key: _value(pair.value, depth) for pair in pairs}


def _value(value: Any, depth: int) -> Any:
    """Return the value that a message holds; None for an empty one, and for bytes."""
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


def span_groups(request: Any, resource_of: Callable[[dict[str, Any]], Resource], depth: int) -> Iterator[Group]:
    """Yield the spans of a request of traces."""
    for of_resource in request.resource_spans:
        resource = resource_of(_attributes(of_resource.resource.attributes, depth))
        for of_scope in of_resource.scope_spans:
            yield resource, _scope(of_scope.scope.name), of_scope.spans


def log_groups(request: Any, resource_of: Callable[[dict[str, Any]], Resource], depth: int) -> Iterator[Group]:
    """Yield the log records of a request of logs."""
    for of_resource in request.resource_logs:
        resource = resource_of(_attributes(of_resource.resource.attributes, depth))
        for of_scope in of_resource.scope_logs:
            yield resource, _scope(of_scope.scope.name), of_scope.log_records


def _scope(name: str) -> Scope | None:
    return Scope(name) if name else None
