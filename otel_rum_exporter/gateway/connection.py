"""A connection that ends when its sender takes too long, or sends what has no end; uvicorn itself waits for ever.

Its limits are those that no request has a say in: time, headers, requests that wait for others, answers that nobody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import uvicorn

from otel_rum_exporter.gateway.endings import (
    GAVE_WAY,
    HEADERS_TOO_LARGE,
    HEADERS_TOO_LATE,
    MALFORMED,
    MAX_HEADER_BYTES,
    NO_PLACE,
    NO_REQUEST,
    TOO_MANY_WAITING,
    UNREAD,
    Ending,
    ending_of,
)
from otel_rum_exporter.gateway.places import Places
from otel_rum_exporter.sockets import send_without_delay

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ImportError:  # httptools is compiled, and not for each platform
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol

_BESIDES_BYTES = 32  # that a header costs besides its name and value; as HPACK counts (RFC 7541, 4.1)
_MAX_WAITING = 32  # requests that were sent before the one ahead of them was answered: no OTLP sender does so

OnEnding = Callable[[str | None, Ending], None]
"""Takes the address at the other end of a connection, and why it is ended."""


class _Refused(Exception):  # noqa: N818 - what happened to the request
    """Ends the parsing of what a connection sent; httptools passes it on as an error of its own."""


class Bounds(NamedTuple):
    """What bounds connections, see `protocol_with`."""

    header_timeout_s: float
    places: Places
    on_ending: OnEnding


class Connection(Protocol):
    """A connection with limits."""

    bounds: ClassVar[Bounds]

    def __init__(self, config: uvicorn.Config, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._late: asyncio.TimerHandle | None = None
        self._hung: asyncio.TimerHandle | None = None
        self._cycles: list[Any] = []  # with httptools, several when requests come before the answers of others
        self._ending = MALFORMED  # if there is one
        self._is_refused = False
        self._is_in_headers = self._is_between = False
        self._header_bytes = 0
        self._unheard_bytes = 0  # since the parser has last said what they were

    # the connection

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        send_without_delay(transport)
        if not self.bounds.places.take(self, self._peer):
            self._end(NO_PLACE)
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_more()
        self._abort_no_more()
        self._answer_no_more()
        self.bounds.places.leave(self)
        super().connection_lost(exc)

    @property
    def may_give_way(self) -> bool:
        """Whether the connection has nothing in hand that its sender may count on: no request that is complete."""
        return all(each.more_body for each in self._unanswered)

    def give_way(self) -> None:
        """Make room for somebody else."""
        self._end(GAVE_WAY)

    # what comes in

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, if that is what comes next."""
        if self._is_refused:
            return
        self._unheard_bytes += len(data)
        self._ending = ending_of(data)
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if self._unheard_bytes > MAX_HEADER_BYTES and self._is_parsed:
            self._turn_away(HEADERS_TOO_LARGE)
        elif self._unanswered:
            self._wait_no_more()
        elif self._is_between:
            self._rest()
        else:
            self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text says less
        """Turn away what is no request, or too much of one."""
        self._turn_away(self._ending)

    def _turn_away(self, ending: Ending) -> None:
        """Say why, and end, as soon as the requests before are answered."""
        self._is_refused, self._ending = True, ending
        for each in self._unanswered:
            if each.more_body:
                _disconnect(each)
        self._answer_refused()

    def _answer_refused(self) -> None:
        if not self._unanswered and not self.transport.is_closing():
            self._end(self._ending)

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
            self._refuse(TOO_MANY_WAITING)
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
            self._refuse(HEADERS_TOO_LARGE)

    def _refuse(self, ending: Ending) -> None:
        self._ending = ending
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
            self._late = self.loop.call_later(self.bounds.header_timeout_s, self._wait_is_over)

    def _wait_is_over(self) -> None:
        self._late = None
        if self._has_begun_next:
            self._turn_away(HEADERS_TOO_LATE)
        elif not self.transport.is_closing():
            self._end(NO_REQUEST)

    def _rest(self) -> None:
        """Begin to rest, after the last of a body that was answered before it had come."""
        self._wait_no_more()
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # the end

    @property
    def _peer(self) -> str | None:
        return self.client[0] if self.client else None

    def _end(self, ending: Ending) -> None:
        """End the connection, also when what was answered is not read."""
        self.bounds.on_ending(self._peer, ending)
        if ending.status is not None:
            self.transport.write(ending.answer)
        self._answer_no_more()
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        if self._hung is None:
            self._hung = self.loop.call_later(self.bounds.header_timeout_s, self._abort)

    def _abort(self) -> None:
        self.bounds.on_ending(self._peer, UNREAD)
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


def protocol_with(
    header_timeout_s: float, max_connections: int, on_ending: OnEnding = lambda *_: None
) -> type[Connection]:
    """Return uvicorn's protocol with these limits.

    Args:
        header_timeout_s: How long a connection may take until the headers of its first request, or the next one it has
            begun, are complete; for how long the rest of a body is read that was answered before its end; and how long
            answers may stay unread.
        max_connections: How many there may be, see `Places`. One that finds none is told to come back, and closed.
        on_ending: Called when a connection is ended for one of these limits, or speaks no HTTP/1.1.
    """
    bounds = Bounds(header_timeout_s, Places(max_connections), on_ending)
    return type("LimitedConnection", (Connection,), {"bounds": bounds})
