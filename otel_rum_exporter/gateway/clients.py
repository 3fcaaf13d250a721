"""Whose address a request comes from: that of the connection, or what a proxy says that is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"

_LONGEST = 100  # characters of an address, with brackets, zone, port and spaces
_MOST_HOPS = 32  # of a header that anybody can make as long as they like
_IPV6_PREFIX = 64  # what one site has: all of its addresses are one client


class Clients:
    """Tells clients apart by their address; IPv6 by the first 64 bits, since one machine has all the others."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Trust proxies with these addresses or networks. Errors: ValueError for what is neither."""
        self.trusted: tuple[Network, ...] = tuple(ip_network(each.strip()) for each in trusted)

    def of(self, peer: str | None, forwarded_for: Sequence[str]) -> str:
        """Return the client of a request.

        Args:
            peer: Address of the connection's other end.
            forwarded_for: The `X-Forwarded-For` headers, which count as far as trusted proxies wrote them: the last
                address that is no trusted proxy's is the client's.
        """
        address = _parsed(peer or "")
        if address is None:
            return UNKNOWN
        if self.trusted and self._trusts(address):
            hops = [hop for line in forwarded_for for hop in line.split(",")]
            for hop in reversed(hops[-_MOST_HOPS:]):
                said = _parsed(hop)
                if said is None:  # whatever stands further left is no better
                    break
                address = said
                if not self._trusts(address):
                    break
        return _key(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.trusted if network.version == address.version)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    return None if len(text) > _LONGEST else _parsed_short(text)


@lru_cache(maxsize=4096)
def _parsed_short(text: str) -> IPv4Address | IPv6Address | None:
    bare = text.strip()
    if bare.startswith("["):  # [2001:db8::1]:443
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:  # 192.0.2.1:443
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _key(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address) or address.is_loopback:
        return str(address)
    return str(ip_network((address, _IPV6_PREFIX), strict=False))
