"""Reads a request's body as it arrives: no more than is allowed, no longer than is allowed."""

from __future__ import annotations

import asyncio

from starlette.types import Receive

from otel_rum_exporter.gateway.denials import Denied, limited, overloaded
from otel_rum_exporter.gateway.limits import Held
from otel_rum_exporter.gateway.refusals import TooLarge


class Disconnected(Exception):  # noqa: N818 - what happened to the request
    """The sender went away before its body was complete."""


class Bodies:
    """Reads bodies, and holds what was read until it is released."""

    def __init__(self, held: Held, max_bytes: int, timeout_s: float) -> None:
        """Bound each body.

        Args:
            held: What all bodies take together.
            max_bytes: Bytes of one, as received.
            timeout_s: How long one may take.
        """
        self._held = held
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def read(self, receive: Receive, client: str) -> bytes:
        """Return a body; the caller releases as many bytes.

        Raises:
            TooLarge: It has too many bytes.
            Denied: It takes too long, or there is no room for it now.
            Disconnected: The sender is gone.
        """
        chunks: list[bytes] = []
        try:
            await asyncio.wait_for(self._read(receive, client, chunks), self._timeout_s)
        except BaseException as error:
            self.release(client, sum(map(len, chunks)))
            if isinstance(error, asyncio.TimeoutError):
                raise Denied(408, "the body took too long", limit="body_timeout", closes=True) from None
            raise
        return b"".join(chunks)

    async def _read(self, receive: Receive, client: str, chunks: list[bytes]) -> None:
        size, has_more = 0, True
        while has_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk, has_more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self._max_bytes:
                raise TooLarge(f"the body has more than {self._max_bytes} bytes")
            if not self._held.take(client, len(chunk)):
                denied = limited if self._held.has_bytes(len(chunk)) else overloaded
                raise denied("in_flight_bytes", "too many bytes are in flight", 1.0)
            chunks.append(chunk)

    def release(self, client: str, number: int) -> None:
        """Let go of bytes that were dealt with."""
        self._held.release(client, number)
