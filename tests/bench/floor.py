"""The floor: the cheapest honest code that turns the benchmark's spans into the bodies that this package makes of them.

It knows everything that the exporter has to find out: that these are HTTP calls, which attributes there are, that no
URL holds a secret, that no text has to be cut, whose the spans are and what all requests share. What is left has to be
done by whoever sends these bytes: read four attributes, hash an id, write the details, write the request.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from http import HTTPStatus
from itertools import groupby
from typing import Any
from uuid import uuid4

import msgspec

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_NOBODY = "00000000-0000-0000-0000-000000000000"
_METADATA = '{"version":"1.0.0"}'
_VARIANT = "89ab"


class _Request(msgspec.Struct, gc=False):
    method: str
    url: str


class _Response(msgspec.Struct, gc=False):
    status: int
    statusText: str  # noqa: N815 - the JSON's name


class _Details(msgspec.Struct, gc=False):
    version: str
    request: _Request
    response: _Response
    trace_id: str
    segment_id: str


class _Event(msgspec.Struct, gc=False):
    id: str
    timestamp: float
    type: str
    details: str
    metadata: str


class _Body(msgspec.Struct):
    Id: str
    BatchId: str
    AppMonitorDetails: dict[str, str]
    UserDetails: dict[str, str]
    RumEvents: list[_Event]
    SessionMetadata: str


_encode = msgspec.json.Encoder().encode


def bodies(spans: Iterable[Any], monitor_id: str, domain: str) -> list[bytes]:
    """Return the request bodies of spans whose sessions follow one another."""
    monitor = {"id": monitor_id, "version": "2.4.1", "name": "shop"}
    shared = _encode({"version": "1.0.0", "domain": domain, "platformType": "web"}).decode()
    return [
        _encode(
            _Body(
                Id=monitor_id,
                BatchId=str(uuid4()),
                AppMonitorDetails=monitor,
                UserDetails={"sessionId": session_id, "userId": _NOBODY},
                RumEvents=events,
                SessionMetadata=shared,
            )
        )
        for session_id, events in _by_session(spans)
    ]


def sizes(spans: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Yield how long the JSON of each span's event is: of its details, and of all that the request holds of it."""
    events = map(_event, spans)
    return ((len(event.details), len(_encode(event))) for event in events)


def _by_session(spans: Iterable[Any]) -> Iterator[tuple[str, list[_Event]]]:
    for session_id, of_session in groupby(spans, key=lambda span: span.attributes["session.id"]):
        # as the exporter sends them: by their time
        yield session_id, [_event(span) for span in sorted(of_session, key=lambda span: span.end_time)]


def _event(span: Any) -> _Event:
    context, attributes = span.context, span.attributes
    status = attributes["http.response.status_code"]
    trace, number = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    content = _Details(
        "1.0.0",
        _Request(attributes["http.request.method"], attributes["url.full"]),
        _Response(status, _PHRASES[status]),
        f"1-{trace[:8]}-{trace[8:]}",
        number,
    )
    seed = blake2b(b"span", digest_size=16)
    seed.update(context.trace_id.to_bytes(16, "big"))
    seed.update(context.span_id.to_bytes(8, "big"))
    h, variant = seed.hexdigest(), seed.digest()[8] & 3
    return _Event(
        f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{_VARIANT[variant]}{h[17:20]}-{h[20:]}",
        round(span.end_time / 1e6) / 1e3,
        "com.amazon.rum.http_event",
        _encode(content).decode(),
        _METADATA,
    )
