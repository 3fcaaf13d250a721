"""Why a connection is ended whatever its requests say: what its sender is told, and how that is counted."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from msgspec import Struct

from otel_rum_exporter.gateway.origins import Header
from otel_rum_exporter.gateway.otlp_answers import failure
from otel_rum_exporter.gateway.signals import Encoding

MAX_HEADER_BYTES = 64 * 1024  # of a request: its URL, its headers, and what may follow its last chunk

_COME_BACK = (("retry-after", "2"),)


class Ending(Struct, frozen=True):
    """Why a connection is ended.

    Attributes:
        reason: What it is counted as.
        status: The HTTP status that its sender is told; None where there is nothing to answer.
        message: The same in words.
        headers: What the answer's headers say besides.
    """

    reason: str
    status: int | None = None
    message: str = ""
    headers: Sequence[Header] = ()

    @property
    def answer(self) -> bytes:
        """The answer: in JSON, since nobody knows what the sender would read."""
        if self.status is None:
            return b""
        encoding = Encoding.JSON
        body = failure(encoding, self.status, self.message)
        headers = [
            ("date", formatdate(usegmt=True)),
            *self.headers,
            ("content-type", encoding.content_type),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            *(f"{name}: {said}" for name, said in headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


MALFORMED = Ending("malformed", 400, "this is not HTTP/1.1")
HTTP2 = Ending(
    "http2", 400, "this is HTTP/2, as gRPC speaks it; OTLP goes here by HTTP/1.1, as http/protobuf or http/json"
)
TLS = Ending("tls", 400, "this is TLS; the gateway speaks http here, not https")
HEADERS_TOO_LATE = Ending("header_timeout", 408, "the headers took too long")
NO_REQUEST = Ending("header_timeout")  # not even its beginning: browsers open connections that they may come to need
TOO_MANY_WAITING = Ending("requests_waiting", 429, "too many requests wait for others on this connection", _COME_BACK)
HEADERS_TOO_LARGE = Ending("header_bytes", 431, f"more than {MAX_HEADER_BYTES} bytes besides the body")
NO_PLACE = Ending("max_connections", 503, "there are too many connections", _COME_BACK)
GAVE_WAY = Ending("max_connections")  # to somebody who had fewer
UNREAD = Ending("answers_unread")


def ending_of(first: bytes) -> Ending:
    """Return what to say of bytes that are no HTTP/1.1: most of them come from senders that take a port for another one."""
    if first.startswith(b"PRI * HTTP/2"):
        return HTTP2
    return TLS if first.startswith(b"\x16\x03") else MALFORMED
