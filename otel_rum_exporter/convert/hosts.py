"""Which host a call went to: the one that was called, or that a server's caller asked for.

What a server is bound to is nobody's domain, and who called it is nobody's business; attributes mix them up:

- Python's WSGI instrumentation has the Host header as `http.host`, and the port that the server is bound to beside it.
- Its ASGI instrumentation has the bound address as `http.host`, or `server.address` with a port, and the Host header, by
  old conventions only, as `http.server_name`, which elsewhere is the server's own name.
- By new conventions WSGI's has the Host header, port and all, as `server.address`, and the bound port as `server.port`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from otel_rum_exporter.convert import urls
from otel_rum_exporter.convert.attributes import Attributes, integer, text

_OWN_NAMES = (
    "server.address",
    "net.host.name",
    "http.server_name",
)  # where these are addresses, a server is bound to them


_PYTHON = "opentelemetry.instrumentation."
# scopes by whose server.address a server may be bound to it, and those by whose server.port it always is
_ASGI = frozenset(_PYTHON + name for name in ("asgi", "fastapi", "starlette", "django"))
_BOUND_PORT = _ASGI | {_PYTHON + name for name in ("wsgi", "flask", "falcon", "pyramid.callbacks")}


class Authority(NamedTuple):
    """A host, perhaps with its port, and the port that an attribute of its own names."""

    host: str
    port: int | None


def asked(attributes: Attributes, scope: str) -> Authority | None:
    """Return the host that a server was asked for, as the instrumentation of a scope tells of it."""
    header = text(attributes, "http.host")
    if header is not None:
        return Authority(header, None)
    address = text(attributes, "server.address")
    if address is not None:
        if scope in _ASGI and _is_address(urls.bare_host(address) or ":"):
            return None
        return Authority(address, None if scope in _BOUND_PORT else integer(attributes, "server.port"))
    own = text(attributes, "net.host.name", "http.server_name")
    return None if own is None else Authority(own, integer(attributes, "net.host.port"))


def called(attributes: Attributes) -> Authority | None:
    """Return the host that a client called."""
    host = text(attributes, "server.address", "http.host", "net.peer.name", "http.server_name")
    return None if host is None else Authority(host, integer(attributes, "server.port", "net.peer.port"))


def server_domain(attributes: Attributes) -> str | None:
    """Return the host that a server's caller asked for, never the address that the server is bound to."""
    address = None
    for host in _named(attributes):
        if host and not _is_address(host):
            return host
        address = address or host
    for name in _OWN_NAMES:
        host = urls.bare_host(text(attributes, name))
        if host and not _is_address(host):
            return host
    return address


def _named(attributes: Attributes) -> Iterator[str | None]:
    yield urls.bare_host(text(attributes, "url.domain"))
    yield urls.host(text(attributes, "url.full", "http.url"))
    yield urls.bare_host(text(attributes, "http.host"))


def _is_address(host: str) -> bool:
    """Tell whether a host is an address; with a port behind it an IPv6 address without brackets may be none, but no name."""
    if ":" in host:
        return True
    if not host[-1].isdigit():
        return False
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
