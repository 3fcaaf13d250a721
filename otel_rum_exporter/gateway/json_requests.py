"""JSON bodies: bounded before they are parsed, parsed in one step into OTLP's messages, read into items.

Where that step fails, a second one mends what can be mended, and finds out which records are to blame: it takes each
record as it stands, and parses one after another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw, Struct

from otel_rum_exporter.gateway import json_messages as messages
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.parsed import Group, Parsed, Reader
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Signal
from otel_rum_exporter.json_repairs import whole_characters, whole_numbers
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

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_VALUE = bytes(byte for byte in range(256) if byte not in b"{[,")
_TRACE_BYTES, _SPAN_BYTES = 16, 8
_END_NS = 2**64  # of times

_EMPTY = re.compile(rb"\s*(?:\{\s*\}\s*)?")
_MEMBERS = {Signal.TRACES: "resourceSpans", Signal.LOGS: "resourceLogs"}


class _Decoders(Struct, frozen=True):
    """A signal's decoders: of a whole request, of one whose records are left as they stand, and of one of these."""

    whole: msgspec.json.Decoder[Any]
    frame: msgspec.json.Decoder[Any]
    record: msgspec.json.Decoder[Any]


def _decoders(request: Any, record: Any) -> _Decoders:
    decoder = partial(msgspec.json.Decoder, strict=False)  # numbers may be strings
    return _Decoders(decoder(request[record]), decoder(request[Raw]), decoder(record))


_DECODERS = {
    Signal.TRACES: _decoders(messages.TracesRequest, messages.Span),
    Signal.LOGS: _decoders(messages.LogsRequest, messages.LogRecord),
}


def parse(signal: Signal, body: bytes, limits: BodyLimits) -> Parsed:
    """Parse a body.

    Errors: TooLarge before anything is built, Malformed for what is not JSON, or not a request of this signal. An empty
            object is a request without records, and so is an empty body.
    """
    _check(body, limits)
    decoders, read = _DECODERS[signal], _READERS[signal]
    try:
        request = decoders.whole.decode(body or b"{}")
    except _NOT_JSON:
        body = whole_numbers(whole_characters(body))
        request, read = _frame(signal, body), _one_by_one(decoders.record, read)
    if request.resources is None:
        _refuse_foreign(signal, body)
    return Parsed(_groups(request, limits.depth), read, is_empty=not request.resources)


def _check(body: bytes, limits: BodyLimits) -> None:
    """Refuse what could become too many objects. Shape: an object takes two bytes at least, and a comma before it."""
    max_values = 2 * limits.elements  # an honest attribute is two objects, and its key and its value have a comma
    if len(body) > max_values and len(body.translate(None, _NO_VALUE)) > max_values:
        raise TooLarge(f"the request has more than {max_values} values")


def _frame(signal: Signal, body: bytes) -> Any:
    """Parse all but the records."""
    try:
        return _DECODERS[signal].frame.decode(body)
    except _NOT_JSON as error:
        raise Malformed(f"the body is not a request of {signal.records} in OTLP's JSON: {error}") from None


def _refuse_foreign(signal: Signal, body: bytes) -> None:
    """Refuse an object that has members, though none that the signal has."""
    member = _MEMBERS[signal].encode()
    if _EMPTY.fullmatch(body) or member in body:
        return
    for other, its_member in _MEMBERS.items():
        if its_member.encode() in body:
            raise Malformed(f"{its_member} belong to {other.path}")
    raise Malformed(f"the body has no member {_MEMBERS[signal]}; members of OTLP's JSON are camelCase")


def _groups(request: Any, depth: int) -> Iterator[Group]:
    for of_resource in request.resources or ():
        attributes = _attributes(of_resource.resource and of_resource.resource.attributes, depth)
        for of_scope in of_resource.scopes or ():
            if of_scope.records:
                name = of_scope.scope and of_scope.scope.name
                yield Group(attributes, Scope(name) if name else None, of_scope.records)


def _one_by_one(decoder: msgspec.json.Decoder[Any], read: Reader) -> Reader:
    """Return what reads a record as it stands in the body."""

    def read_raw(raw: Raw, resource: Resource, scope: Scope | None, depth: int) -> Span | Log:
        try:
            record = decoder.decode(raw)
        except _NOT_JSON as error:
            raise Malformed(f"a record is malformed: {error}") from None
        return read(record, resource, scope, depth)

    return read_raw


def _span(span: messages.Span, resource: Resource, scope: Scope | None, depth: int) -> Span:
    trace_id, span_id = _id(span.trace_id, _TRACE_BYTES, "trace id"), _id(span.span_id, _SPAN_BYTES, "span id")
    if not trace_id or not span_id:
        raise Malformed(f"a span has no {'span' if trace_id else 'trace'} id, or one of zeros")
    kind = span_kind(span.kind or 0)
    return Span(  # in the order of its members, since names take time
        span.name or "",
        kind,
        SpanContext(trace_id, span_id),
        _parent(span, trace_id, kind) if span.parent_span_id else None,
        _time(span.start_time_unix_nano),
        _time(span.end_time_unix_nano),
        _status(span.status),
        _attributes(span.attributes, depth),
        [_span_event(event, depth) for event in span.events or ()],
        resource,
        scope,
    )


def _span_event(event: messages.SpanEvent, depth: int) -> SpanEvent:
    return SpanEvent(event.name or "", _time(event.time_unix_nano), _attributes(event.attributes, depth))


def _log(record: messages.LogRecord, resource: Resource, scope: Scope | None, depth: int) -> Log:
    read = LogRecord(
        _time(record.time_unix_nano),
        _time(record.observed_time_unix_nano),
        _id(record.trace_id, _TRACE_BYTES, "trace id"),
        _id(record.span_id, _SPAN_BYTES, "span id"),
        _value(record.body, depth),
        _attributes(record.attributes, depth),
        record.event_name or None,
    )
    return Log(read, resource, scope)


_READERS: dict[Signal, Reader] = {Signal.TRACES: _span, Signal.LOGS: _log}


def _parent(span: messages.Span, trace_id: int, kind: Any) -> SpanContext | None:
    parent_id = _id(span.parent_span_id, _SPAN_BYTES, "parent span id")
    return SpanContext(trace_id, parent_id, is_remote(span.flags or 0, kind)) if parent_id else None


def _id(text: str | None, size: int, name: str) -> int:
    if not text:
        return 0
    try:
        id_ = bytes.fromhex(text)
    except ValueError:
        id_ = b""
    if len(id_) != size or len(text) != 2 * size:  # fromhex takes spaces
        raise Malformed(f"a {name} is not {2 * size} hex digits")
    return int.from_bytes(id_, "big")


def _time(time_ns: int | None) -> int:
    if not time_ns:
        return 0
    if time_ns >= _END_NS:
        raise Malformed("a time does not fit into 64 bits")
    return time_ns


def _status(status: messages.Status | None) -> Status:
    if status is None or not (status.code or status.message):
        return UNSET_STATUS
    return Status(status_code(status.code or 0), status.message or None)


def _attributes(pairs: Iterable[messages.KeyValue] | None, depth: int) -> dict[str, Any]:
    if not pairs:
        return {}
    return {pair.key or "": _value(pair.value, depth) for pair in pairs}


def _value(value: messages.AnyValue | None, depth: int) -> Any:
    """Return the member of a value that is set; None if none is."""
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return value.int_value
    if value.bool_value is not None:
        return value.bool_value
    if value.double_value is not None:
        return value.double_value
    return _nested(value, depth)


def _nested(value: messages.AnyValue, depth: int) -> Any:
    if value.array_value is None and value.kvlist_value is None:
        return None
    if depth == 0:
        raise Malformed("a value is nested too deeply")
    if value.array_value is not None:
        return [_value(member, depth - 1) for member in value.array_value.values or ()]
    return _attributes(value.kvlist_value.values if value.kvlist_value else None, depth - 1)
