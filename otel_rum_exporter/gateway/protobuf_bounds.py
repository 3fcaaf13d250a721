"""How much memory a protobuf body could take is known before it is parsed.

A message costs its sender two bytes and its receiver 50 to 180: 4 MiB may hold two million spans. Most bodies are too
small to matter. Of others, the records are counted, by stepping over each. All other messages are counted one by one
only where there could be too many: each begins with one of few bytes, and a body seldom has so many of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Signal

SMALL_BYTES = 64 * 1024
"""Bodies up to this size are parsed without being counted: empty spans, the most that fit, take 6 MB."""

_MAX_NESTING = 100  # of messages; the parser's own limit
_FIELDS_PER_ELEMENT = 3  # that are looked at: of an honest span, two are no elements for each that is one
_MORE = 0x80  # set in each byte of a number but its last
_VARINT_BITS = 70
_VARINT, _LENGTH_DELIMITED, _FIXED_BYTES = 0, 2, {1: 8, 5: 4}  # wire types
_TORN = "the body is not protobuf: its messages do not end where they say"

Schema = dict[int, "Schema"]
"""The members of a message that are messages themselves, or repeated: by their tags as they stand in a body."""


def _tag(number: int) -> int:
    return number << 3 | 2  # length-delimited


# Source: opentelemetry-proto, common.proto, resource.proto, trace.proto, logs.proto
_LEAF: Schema = {}
_STEPPED_OVER: Schema = {}
_ANY_VALUE: Schema = {}
_KEY_VALUE: Schema = {_tag(2): _ANY_VALUE}
_ANY_VALUE.update({_tag(5): {_tag(1): _ANY_VALUE}, _tag(6): {_tag(1): _KEY_VALUE}})
_ENTITY: Schema = {_tag(3): _LEAF, _tag(4): _LEAF}
_RESOURCE: Schema = {_tag(1): _KEY_VALUE, _tag(3): _ENTITY}
_SCOPE: Schema = {_tag(3): _KEY_VALUE}
_EVENT: Schema = {_tag(3): _KEY_VALUE}
_LINK: Schema = {_tag(4): _KEY_VALUE}
_SPAN: Schema = {_tag(9): _KEY_VALUE, _tag(11): _EVENT, _tag(13): _LINK, _tag(15): _LEAF}
_LOG_RECORD: Schema = {_tag(5): _ANY_VALUE, _tag(6): _KEY_VALUE}


def _request(record: Schema, resource: Schema, scope: Schema) -> Schema:
    return {_tag(1): {_tag(1): resource, _tag(2): {_tag(1): scope, _tag(2): record}}}


def _others(schema: Schema) -> bytes:
    """Return the bytes that no tag of a schema begins with. A tag may be longer than it needs to be: then bit 7 is set."""
    known, left = {id(schema): schema}, [schema]
    while left:  # schemas may hold themselves
        new = {id(child): child for child in left.pop().values() if id(child) not in known}
        known.update(new)
        left.extend(new.values())
    firsts = {first for known_schema in known.values() for tag in known_schema for first in (tag, tag | _MORE)}
    return bytes(byte for byte in range(256) if byte not in firsts)


class _Bounds(Struct, frozen=True):
    """What a signal's requests are counted by.

    Attributes:
        whole: The schema of a request.
        record: That of a record in it.
        others: Bytes that begin no message.
    """

    whole: Schema
    record: Schema
    others: bytes

    @classmethod
    def of(cls, record: Schema) -> _Bounds:
        whole = _request(record, _RESOURCE, _SCOPE)
        return cls(whole, record, _others(whole))


_BOUNDS = {Signal.TRACES: _Bounds.of(_SPAN), Signal.LOGS: _Bounds.of(_LOG_RECORD)}
_RECORDS = _request(_STEPPED_OVER, _LEAF, _LEAF)


def check(signal: Signal, body: bytes, limits: BodyLimits) -> None:
    """Refuse a body that holds too much.

    Errors: TooLarge for more records or more elements than the limits; Malformed where messages do not end within the
            message that holds them.
    """
    if len(body) <= min(SMALL_BYTES, 2 * limits.elements):
        return
    bounds = _BOUNDS[signal]
    if len(body.translate(None, bounds.others)) <= limits.elements:
        _count(_members(body, _RECORDS), _STEPPED_OVER, limits, limits.elements)
    else:
        _count(_members(body, bounds.whole), bounds.record, limits, _FIELDS_PER_ELEMENT * limits.elements)


def _count(members: Iterable[Schema | None], record: Schema, limits: BodyLimits, max_fields: int) -> None:
    records = elements = 0
    for fields, member in enumerate(members, 1):
        elements += member is not None
        records += member is record
        if records > limits.records:
            raise TooLarge(f"the request has more than {limits.records} records")
        if elements > limits.elements or fields > max_fields:
            raise TooLarge(f"the request has more than {limits.elements} attributes, values, events and links")


def _members(body: bytes, schema: Schema) -> Iterator[Schema | None]:
    """Yield the schema of each member within a body, of messages within messages, too; None where there is none.

    Errors: Malformed where messages do not end within the message that holds them.
    """
    position, end = 0, len(body)
    around: list[tuple[int, Schema]] = []  # the messages that hold this one: where they end
    try:
        while position < end or around:
            if position == end:
                end, schema = around.pop()
                continue
            position, after, child = _member(body, position, schema)
            if after > end or len(around) > _MAX_NESTING:
                raise Malformed(_TORN)
            yield child
            if child:
                around.append((end, schema))
                end, schema = after, child
            else:
                position = after
    except IndexError:
        raise Malformed(_TORN) from None


def _member(body: bytes, position: int, schema: Schema) -> tuple[int, int, Schema | None]:
    """Return where the content of the member at a position begins and ends, and its schema."""
    tag = body[position]
    position += 1
    if tag >= _MORE:  # numbers of one byte, which most are, are read here
        position, tag = _varint(body, position - 1)
    wire_type = tag & 7
    if wire_type == _LENGTH_DELIMITED:
        length = body[position]
        position += 1
        if length >= _MORE:
            position, length = _varint(body, position - 1)
        return position, position + length, schema.get(tag)
    if wire_type == _VARINT:
        return position, _varint(body, position)[0], None
    if wire_type not in _FIXED_BYTES:  # groups, which OTLP never had
        raise Malformed(_TORN)
    return position, position + _FIXED_BYTES[wire_type], None


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """Return where a number ends and the number."""
    byte = body[position]
    position += 1
    if byte < _MORE:
        return position, byte
    value, shift = byte - _MORE, 7
    while shift < _VARINT_BITS:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return position, value
        shift += 7
    raise Malformed(_TORN)
