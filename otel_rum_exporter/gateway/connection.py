"""A connection that ends when its sender takes too long, or sends what has no end; uvicorn itself waits for ever.

Its limits are those that no request has a say in: time, headers, requests that wait for others, answers that nobody reads.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn

from otel_rum_exporter.gateway.places import Places
from otel_rum_exporter.sockets import send_without_delay

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ImportError:  # httptools is compiled, and not for each platform
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol

MAX_HEADER_BYTES = 64 * 1024  # of a request: its URL, its headers, and what may follow its last chunk

_BESIDES_BYTES = 32  # that a header costs besides its name and value; as HPACK counts (RFC 7541, 4.1)
_MAX_WAITING = 32  # requests that were sent before the one ahead of them was answered: no OTLP sender does so


def _refusal(status: str, why: str, *headers: str) -> bytes:
    """Return an answer that is given without a look at the request."""
    of_text = ("content-type: text/plain", f"content-length: {len(why)}", "x-content-type-options: nosniff")
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, *of_text, "connection: close", "", why)).encode()


_MALFORMED = _refusal("400 Bad Request", "this is not HTTP/1.1")
_TOO_MANY = _refusal("429 Too Many Requests", "too many requests wait for others on this connection", "retry-after: 2")
_TOO_LARGE = _refusal("431 Request Header Fields Too Large", f"more than {MAX_HEADER_BYTES} bytes besides the body")
_FULL = _refusal("503 Service Unavailable", "there are too many connections", "retry-after: 2")


class _Refused(Exception):  # noqa: N818 - what happened to the request
    """Ends the parsing of what a connection sent; httptools passes it on as an error of its own."""


class Connection(Protocol):
    """A connection with limits."""

    header_timeout_s: ClassVar[float]
    places: ClassVar[Places]

    def __init__(self, config: uvicorn.Config, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._late: asyncio.TimerHandle | None = None
        self._hung: asyncio.TimerHandle | None = None
        self._cycles: list[Any] = []  # with httptools, several when requests come before the answers of others
        self._refusal = _MALFORMED
        self._is_refused = False
        self._is_in_headers = self._is_between = False
        self._header_bytes = 0
        self._unheard_bytes = 0  # since the parser has last said what they were

    # the connection

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        send_without_delay(transport)
        if not self.places.take(self, self.client[0] if self.client else None):
            transport.write(_FULL)
            self._close()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_more()
        self._abort_no_more()
        self._answer_no_more()
        self.places.leave(self)
        super().connection_lost(exc)

    @property
    def may_give_way(self) -> bool:
        """Whether the connection has nothing in hand that its sender may count on: no request that is complete."""
        return all(each.more_body for each in self._unanswered)

    def give_way(self) -> None:
        """Make room for somebody else."""
        self._close()

    # what comes in

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, if that is what comes next."""
        if self._is_refused:
            return
        self._unheard_bytes += len(data)
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if self._unheard_bytes > MAX_HEADER_BYTES and self._is_parsed:
            self._refusal = _TOO_LARGE
            self.send_400_response("")
        elif self._unanswered:
            self._wait_no_more()
        elif self._is_between:
            self._rest()
        else:
            self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text goes without what other answers say
        """Answer what is no request, or too much of one, as soon as the requests before it are answered."""
        self._is_refused = True
        for each in self._unanswered:
            if each.more_body:
                _disconnect(each)
        self._answer_refused()

    def _answer_refused(self) -> None:
        if not self._unanswered and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self._close()

    @property
    def _unanswered(self) -> list[Any]:
        """The requests that were begun and are still to be answered, in order."""
        cycles = self._cycles or ([] if self.cycle is None else [self.cycle])
        return [each for each in cycles if not (each.response_complete or each.disconnected)]

    def _answer_no_more(self) -> None:
        """Let those who work on answers know that they have nowhere to go; uvicorn itself tells the last one only."""
        for each in self._unanswered:
            _disconnect(each)

    # what httptools' parser says; h11 bounds all of this itself

    @property
    def _is_parsed(self) -> bool:
        return not hasattr(self, "conn")

    def on_message_begin(self) -> None:
        """Begin to count headers."""
        if len(self._unanswered) >= _MAX_WAITING:
            self._refuse(_TOO_MANY)
        self._is_in_headers, self._is_between, self._header_bytes = True, False, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it, also one that follows the last chunk of a body."""
        self._count_header(len(name) + len(value) + _BESIDES_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait for headers no more."""
        self._is_in_headers = False
        unanswered = self._unanswered
        super().on_headers_complete()
        self._cycles = [*unanswered, self.cycle]

    def on_body(self, body: bytes) -> None:
        """Leave it to those who read it to count it."""
        self._unheard_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing is on its way now."""
        super().on_message_complete()
        self._is_between = True

    def _count_header(self, number: int) -> None:
        self._unheard_bytes = 0
        self._header_bytes += number
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(_TOO_LARGE)

    def _refuse(self, answer: bytes) -> None:
        self._refusal = answer
        raise _Refused

    # what goes out

    def on_response_complete(self) -> None:
        """Wait for the rest of the next request's headers, if they have begun behind this one."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()
        elif self._is_refused:
            self._answer_refused()
        elif self._has_begun_next:
            self._wait()

    @property
    def _has_begun_next(self) -> bool:
        h11 = getattr(self, "conn", None)
        return self._is_in_headers if h11 is None else bool(h11.trailing_data[0])

    def pause_writing(self) -> None:
        """Wait until answers are read, but not for ever."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._abort_no_more()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that rests."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    # time

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.header_timeout_s, self._end)

    def _rest(self) -> None:
        """Begin to rest, after the last of a body that was answered before it had come."""
        self._wait_no_more()
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        self._close()

    def _close(self) -> None:
        """End the connection, also when what was answered is not read."""
        self._answer_no_more()
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        if self._hung is None:
            self._hung = self.loop.call_later(self.header_timeout_s, self._abort)

    def _abort(self) -> None:
        self._answer_no_more()
        self.transport.abort()

    def _abort_no_more(self) -> None:
        if self._hung is not None:
            self._hung.cancel()
            self._hung = None


def _disconnect(cycle: Any) -> None:
    """Make a request what it is when its sender is gone."""
    cycle.disconnected = True
    cycle.message_event.set()


def protocol_with(header_timeout_s: float, max_connections: int) -> type[Connection]:
    """Return uvicorn's protocol with these limits.

    Args:
        header_timeout_s: How long a connection may take until the headers of its first request, or the next one it has
            begun, are complete; for how long the rest of a body is read that was answered before its end; and how long
            answers may stay unread.
        max_connections: How many there may be, see `Places`. One that finds none is told to come back, and closed.
    """
    limits = {"header_timeout_s": header_timeout_s, "places": Places(max_connections)}
    return type("LimitedConnection", (Connection,), limits)
