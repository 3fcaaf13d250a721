"""Sockets that this package's servers listen on."""

from __future__ import annotations

import asyncio
import socket


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Errors: OSError when the address cannot be bound; its `filename` is the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        error.filename = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise


def url_of(listening: socket.socket, host: str, scheme: str = "http") -> str:
    """Return the URL under which a socket that listens can be reached."""
    shown = f"[{host}]" if listening.family == socket.AF_INET6 else host
    return f"{scheme}://{shown}:{listening.getsockname()[1]}"


def send_without_delay(transport: asyncio.BaseTransport) -> None:
    """Send each answer at once: kept connections would wait 40 ms for it.

    asyncio does so itself only for sockets that it made.
    """
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
