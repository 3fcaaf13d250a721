"""A connection that ends when its sender takes too long, or sends headers without end; uvicorn itself waits for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import uvicorn

from otel_rum_exporter.sockets import send_without_delay

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
else:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Protocol
    except ImportError:  # httptools is compiled, and not for each platform
        from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol

MAX_HEADER_BYTES = 64 * 1024

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nx-content-type-options: nosniff\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nx-content-type-options: nosniff\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class Connection(Protocol):
    """A connection with limits."""

    header_timeout_s: ClassVar[float]
    max_connections: ClassVar[int]

    def __init__(self, config: uvicorn.Config, *arguments: Any, **keywords: Any) -> None:
        super().__init__(config, *arguments, **keywords)
        self._late: asyncio.TimerHandle | None = None
        self._is_in_headers = False
        self._header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        send_without_delay(transport)
        if len(self.connections) > self.max_connections:
            transport.write(_FULL)
            transport.close()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of the headers, if that is what comes next."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif not self.transport.is_closing():
            self._wait()
            self._count_headers(len(data))

    def on_message_begin(self) -> None:
        """Begin to count headers. With httptools only: h11 bounds them itself."""
        self._is_in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Count no more."""
        self._is_in_headers = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the rest of the next request's headers, if they have begun behind this one."""
        super().on_response_complete()
        if self._has_begun_next:
            self._wait()

    @property
    def _has_begun_next(self) -> bool:
        h11 = getattr(self, "conn", None)
        return self._is_in_headers if h11 is None else bool(h11.trailing_data[0])

    def _count_headers(self, number: int) -> None:
        self._header_bytes += number
        if self._is_in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.header_timeout_s, self._end)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _end(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()


def protocol_with(header_timeout_s: float, max_connections: int) -> type[Connection]:
    """Return uvicorn's protocol with these limits.

    Args:
        header_timeout_s: How long a connection may take until the headers of its first request, or the next one it has
            begun, are complete; and for how long the rest of a body is read that was answered before its end.
        max_connections: How many there may be. One more is told to come back, and closed.
    """
    limits = {"header_timeout_s": header_timeout_s, "max_connections": max_connections}
    return type("LimitedConnection", (Connection,), limits)
