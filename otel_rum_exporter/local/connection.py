"""One request's ASGI channel, and the TCP connection beneath it for the faults that need it."""

import asyncio
import contextlib
import socket
import struct
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from otel_rum_exporter.local.answers import Answer
from otel_rum_exporter.local.sigv4 import HttpRequest

TRANSPORT = "transport"
"""Key under which the server puts the connection's transport into ``scope["state"]``."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection:
    """Receives one request and answers it, or loses the connection.

    Args:
        scope: ASGI's description of the request.
        receive: ASGI's receive.
        send: ASGI's send.
        closing: Set when the server stops, so that no fault delays it.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._closing = closing

    async def read_request(self, limit: int) -> tuple[HttpRequest, bool]:
        """Read the request as it came over the wire, and tell whether its body kept to the limit.

        Errors: ClientDisconnect where it ends before it is whole.
        """
        body = bytearray()
        is_whole = True
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            # the rest of a large body is read and forgotten: a client that still sends would miss the answer
            is_whole = is_whole and len(body) + len(chunk) <= limit
            body += chunk if is_whole else b""
            more = message.get("more_body", False)
        return self._as_request(bytes(body)), is_whole

    async def answer(self, answer: Answer, drip_s: float = 0) -> None:
        """Send an answer; with a drip time, byte by byte."""
        if drip_s:
            await self._drip(answer.as_bytes(), drip_s)
            return
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.all_headers().items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body})

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        if seconds:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), seconds)

    async def lose(self, how: str) -> None:
        """Never answer: wait until the client gives up ("hang"), or reset the connection now ("reset")."""
        if how == "hang":
            await self._client_gone_or_closing()
        else:
            linger = self._transport.get_extra_info("socket")
            linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
        await self._client_gone()

    @property
    def _transport(self) -> Any:
        return self._scope["state"][TRANSPORT]

    async def _drip(self, data: bytes, interval_s: float) -> None:
        for byte in data:
            if self._transport.is_closing():
                break
            self._transport.write(bytes([byte]))
            await self.pause(interval_s)
        self._transport.close()
        await self._client_gone()

    async def _client_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _client_gone_or_closing(self) -> None:
        waits = [asyncio.ensure_future(self._client_gone()), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _as_request(self, body: bytes) -> HttpRequest:
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip()
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return HttpRequest(
            method=self._scope["method"],
            path=self._scope["raw_path"].decode("latin-1"),
            query=self._scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
        )
