"""Sockets that this package's servers listen on."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address


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


def url_here(url: str, host: str) -> str:
    """Return the URL under which this machine reaches what listens on a host.

    Args:
        url: Its `url_of`. What listens on all addresses has none of them in it, and few programs connect to that.
        host: The host that it listens on.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return url
    if not address.is_unspecified:
        return url
    return url.replace(f"[{host}]", "[::1]", 1) if address.version == 6 else url.replace(host, "127.0.0.1", 1)  # noqa: PLR2004


def send_without_delay(transport: asyncio.BaseTransport) -> None:
    """Send each answer at once: kept connections would wait 40 ms for it.

    asyncio does so itself only for sockets that it made.
    """
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
