"""Origins and client addresses: what is allowed, who is who."""

import pytest

from otel_rum_exporter.gateway.clients import Clients, _parsed_short
from otel_rum_exporter.gateway.origins import Origins

# origins


@pytest.mark.parametrize(
    ("pattern", "origin", "is_allowed"),
    [
        ("https://shop.example", "https://shop.example", True),
        ("https://Shop.Example:443", "https://shop.example", True),
        ("http://localhost:3000", "http://localhost:3000", True),
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com:8443", "https://a.example.com:8443", True),
        ("https://shop.example", "http://shop.example", False),
        ("https://shop.example", "https://shop.example:8443", False),
        ("https://shop.example", "https://shop.example.evil.example", False),
        ("https://shop.example", "https://evil-shop.example", False),
        ("https://shop.example", "https://shopxexample", False),
        ("https://shop.example", "https://shop.example/", False),
        ("https://shop.example", "https://user@shop.example", False),
        ("https://shop.example", "https://shop.example\n", False),
        ("https://shop.example", "null", False),
        ("https://shop.example", "", False),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://a.example.com.evil.example", False),
        ("https://*.example.com", "https://evil.example/.example.com", False),
        ("https://*.example.com", "https://evil.example#.example.com", False),
        ("https://*.example.com", "https://evil.example:443@a.example.com", False),
        ("https://*.example.com", "http://a.example.com", False),
        ("https://*.example.com", "https://" + "a" * 64 + ".example.com", False),
        ("https://*.example.com", "https://" + "a." * 1000 + "example.com", False),
    ],
)
def test_what_an_origin_allows(pattern, origin, is_allowed):
    """An origin allows itself, a wildcard the hosts below its domain; no part of a name is enough."""
    assert Origins([pattern]).allow(origin) == is_allowed


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "null", "", "https://*", "https://*.com", "https://a.*.example", "https://*a.example", "*.example.com",
        "shop.example", "ftp://shop.example", "https://shop.example/", "https://shop.example/path", "https://",
        "https://*.*.example.com", "https://shop.example:999999", "https://-a.example", "https://shop .example",
    ],
)  # fmt: skip
def test_what_is_no_origin(pattern):
    """What is no origin is refused when it is configured, everything and nothing first of all."""
    with pytest.raises(ValueError, match="an origin such as"):
        Origins([pattern])


def test_no_origin_allows_nothing():
    """Without origins no page may send."""
    assert not Origins().allow("https://shop.example")
    assert not Origins().allow("")


# clients


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["evil, 10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", ["evil"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [", ".join(["203.0.113.9"] * 1000 + ["198.51.100.1"])], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:1:2:3::1]:443"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", [], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:3::1"], "2001:db8:1:3::/64"),
        ("::1", [], "::1"),
        (None, ["198.51.100.1"], "unknown"),
        ("fe80::1%eth0", [], "fe80::/64"),
    ],
)
def test_whose_address_it_is(peer, forwarded, client):
    """The last address that no trusted proxy has is the client's; of IPv6 a site's network is one client."""
    assert Clients(["10.0.0.0/8", "fd00::/8"]).of(peer, forwarded) == client


def test_what_is_too_long_for_an_address_is_not_kept():
    """Anybody can write a header; addresses that were read are remembered."""
    before = _parsed_short.cache_info().currsize
    long = [f"{number}{'a' * 1000}" for number in range(30)]
    assert [Clients(["127.0.0.1"]).of("127.0.0.1", [hop]) for hop in long] == ["127.0.0.1"] * 30
    assert _parsed_short.cache_info().currsize <= before + 1


@pytest.mark.parametrize("network", ["proxy.example", "10.0.0.1/8", "", "10.0.0.0/33"])
def test_what_is_no_network(network):
    """A proxy is an address or a network; a network with bits of an address is a mistake."""
    with pytest.raises(ValueError, match=r".+"):
        Clients([network])
