"""OTLP request bodies that are made beforehand, and differ each time that they are sent.

Encoding spans takes longer than the gateway takes for them, so it is done once. What makes a span another one, and its
event another event, is its trace id: all spans of a body share one, which is put in anew for each request.
"""

import json
import zlib
from base64 import b64decode
from collections.abc import Iterator
from itertools import cycle, starmap
from typing import Any, NamedTuple

from candidates import chunks
from spans import browser_spans, generate_spans, make_spans

SESSIONS = 100
PER_POST = 50
KINDS = ("calls", "mixed", "browser")

_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}
_MARK = bytes.fromhex("fe0db1a5c3e7f992fe0db1a5c3e7f992")  # a trace id that nothing else looks like
_FAR_APART = 0x9E3779B97F4A7C15F39CC0605CEDC835  # numbers become ids that look like any other
_FAST = 1  # of zlib: it is the generator's time that is saved
_GZIP = 16 + zlib.MAX_WBITS


class Body(NamedTuple):
    """A request body but for its trace id, which stands between its pieces, and how many spans it has."""

    pieces: list[bytes]
    spans: int
    is_hex: bool

    def with_trace(self, number: int) -> bytes:
        """Return the body with a trace id of its own."""
        trace_id = (number * _FAR_APART % 2**128).to_bytes(16, "big")
        return (trace_id.hex().encode() if self.is_hex else trace_id).join(self.pieces)


def bodies(kind: str, encoding: str) -> list[Body]:
    """Return bodies of 100 sessions, with 50 spans each.

    Args:
        kind: `calls`: HTTP calls with 7 attributes, a session in a body; `mixed`: the same, of 50 sessions in a body, as
            a Collector has them; `browser`: page loads, clicks and calls, of a dozen sessions in a body.
        encoding: `protobuf` or `json`.
    """
    makers = {
        "calls": lambda: make_spans(SESSIONS * PER_POST, PER_POST),
        "mixed": lambda: generate_spans(SESSIONS * PER_POST, 1, in_rotation=SESSIONS),
        "browser": lambda: browser_spans(SESSIONS),
    }
    return [_body(spans, encoding) for spans in chunks(list(makers[kind]()), PER_POST)]


def posts(kind: str, encoding: str, *, is_gzip: bool) -> Iterator[tuple[bytes, bytes, int]]:
    """Return the head, the body and the number of spans of one request after the other, without end."""
    gzip = "content-encoding: gzip\r\n" if is_gzip else ""
    head = f"POST /v1/traces HTTP/1.1\r\nhost: gateway\r\ncontent-type: {_TYPES[encoding]}\r\n{gzip}content-length: "

    def post(number: int, body: Body) -> tuple[bytes, bytes, int]:
        content = body.with_trace(number)
        if is_gzip:
            content = _compressed(content)
        return f"{head}{len(content)}\r\n\r\n".encode(), content, body.spans

    return starmap(post, enumerate(cycle(bodies(kind, encoding)), 1))


def _body(spans: list[Any], encoding: str) -> Body:
    # not before the environment is clean
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415

    request = encode_spans(spans)
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                span.trace_id = _MARK
    if encoding == "protobuf":
        return Body(request.SerializeToString().split(_MARK), len(spans), is_hex=False)
    return Body(_as_json(request).split(_MARK.hex().encode()), len(spans), is_hex=True)


def _as_json(request: Any) -> bytes:
    """Return a request in OTLP's JSON, which has ids in hex, where protobuf's has base64."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - see above

    document = MessageToDict(request, use_integers_for_enums=True)
    for of_resource in document["resourceSpans"]:
        for of_scope in of_resource["scopeSpans"]:
            for span in of_scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = b64decode(span[name]).hex()
    return json.dumps(document, separators=(",", ":")).encode()


def _compressed(content: bytes) -> bytes:
    compressor = zlib.compressobj(_FAST, wbits=_GZIP)
    return compressor.compress(content) + compressor.flush()
