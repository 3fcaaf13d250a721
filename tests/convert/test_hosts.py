"""The URL and the domain of what a server was asked for, as different instrumentations tell of it."""

import json
from types import SimpleNamespace

import pytest
from opentelemetry.trace import SpanKind
from test_any_attributes import configured, span

from otel_rum_exporter.convert import Converter, hosts

PYTHON = SimpleNamespace(attributes={"telemetry.sdk.language": "python"})
# Python's WSGI: the Host header, and the port that gunicorn is bound to
WSGI = {"http.scheme": "http", "http.host": "shop.example", "net.host.port": 8000, "http.target": "/cart?x=1",
        "net.peer.ip": "203.0.113.7", "net.peer.port": 54321}  # fmt: skip
GO = {"http.scheme": "http", "net.host.name": "shop.example", "net.host.port": 8080, "http.target": "/cart",
      "net.peer.name": "client.isp.example", "net.peer.port": 54321}  # fmt: skip
# Python's ASGI: what uvicorn is bound to
ASGI = {"url.scheme": "https", "url.path": "/cart", "server.address": "127.0.0.1:8000", "server.port": 8000}
NEW_WSGI = {"url.scheme": "http", "server.address": "shop.example", "server.port": 8000, "url.path": "/cart"}
TORNADO = {"http.scheme": "https", "http.host": "shop.example", "http.target": "/cart?x=1", "http.url": "/cart?x=1"}
NEW_TORNADO = {"url.scheme": "https", "server.address": "shop.example:8443", "url.path": "/cart", "url.full": "/cart"}
OLD_ASGI = {"http.scheme": "http", "http.host": "10.0.0.3:8000", "http.url": "http://10.0.0.3:8000/cart",
            "http.server_name": "shop.example:80", "http.target": "/cart"}  # fmt: skip

TABLE = [
    pytest.param(WSGI, "http://shop.example/cart?x=1", "shop.example", id="WSGI"),
    pytest.param(WSGI | {"http.host": "shop.example:8443"}, "http://shop.example:8443/cart?x=1", "shop.example", id="port"),
    pytest.param(GO, "http://shop.example:8080/cart", "shop.example", id="Go"),
    pytest.param(GO | {"net.host.name": "10.0.0.5"}, "http://10.0.0.5:8080/cart", None, id="bound address"),
    pytest.param(ASGI, "https://127.0.0.1:8000/cart", None, id="address with its port"),
    pytest.param(ASGI | {"server.address": "::1:8000"}, "https://[::1]:8000/cart", None, id="IPv6 address with its port"),
    pytest.param(ASGI | {"server.address": "shop.example", "server.port": 443}, "https://shop.example/cart", "shop.example",
                 id="by the book"),
    pytest.param(OLD_ASGI, "http://10.0.0.3:8000/cart", "shop.example", id="old ASGI"),
    pytest.param(TORNADO, "https://shop.example/cart?x=1", "shop.example", id="Tornado"),
    pytest.param(NEW_TORNADO, "https://shop.example:8443/cart", "shop.example", id="new Tornado"),
    pytest.param({"url.full": "/cart?x=1", "server.address": "shop.example"}, "http://shop.example/cart?x=1",
                 "shop.example", id="whole without a host"),
    pytest.param({"http.host": "192.0.2.1", "http.target": "/"}, "http://192.0.2.1/", "192.0.2.1", id="asked for an address"),
    pytest.param({"url.full": "https://a1.example/x", "server.address": "b"}, "https://a1.example/x", "a1.example", id="whole"),
    pytest.param({"http.target": "http://h.example/x"}, "http://h.example/x", None, id="of a proxy"),
    pytest.param({"net.peer.name": "client.isp.example", "http.target": "/x"}, "/x", None, id="caller alone"),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "url", "domain"), TABLE)
def test_server(attributes, url, domain):
    """Neither the caller's address and port nor what the server is bound to, where anything else is known."""
    attributes = {"http.request.method": "GET", "http.response.status_code": 500, **attributes}
    converted = Converter(configured(http_events="all")).span(span(attributes, kind=SpanKind.SERVER))
    (event,) = [each for each in converted.events if each.type.endswith("http_event")]
    assert f'"url":"{url}"' in event.details
    assert hosts.server_domain(attributes) == domain


BY_SCOPE = [
    pytest.param("flask", NEW_WSGI, "http://shop.example/cart", id="behind a proxy"),
    pytest.param(
        "wsgi", NEW_WSGI | {"server.address": "shop.example:8443"}, "http://shop.example:8443/cart", id="port"
    ),
    pytest.param(
        "falcon", NEW_WSGI | {"server.address": "192.0.2.1"}, "http://192.0.2.1/cart", id="asked for an address"
    ),
    pytest.param("fastapi", ASGI, "/cart", id="bound"),
    pytest.param("starlette", ASGI | {"server.address": "10.0.0.3", "server.port": 80}, "/cart", id="bound to port 80"),
    pytest.param("asgi", ASGI | {"server.address": "::1:8000"}, "/cart", id="bound to IPv6"),
    pytest.param("asgi", ASGI | {"server.address": "/run/shop.sock"}, "/cart", id="bound to a file"),
    pytest.param("django", NEW_WSGI, "http://shop.example/cart", id="Django on WSGI"),
    pytest.param("django", ASGI, "/cart", id="Django on ASGI"),
    pytest.param("aiohttp_server", NEW_WSGI, "http://shop.example:8000/cart", id="by the book"),
]


@pytest.mark.parametrize(("framework", "attributes", "url"), BY_SCOPE)
def test_instrumentations_of_python(framework, attributes, url):
    """By new conventions neither the port nor the address that a server is bound to is part of the URL."""
    scope = SimpleNamespace(name=f"opentelemetry.instrumentation.{framework}", version="1", attributes={})
    attributes = {"http.request.method": "GET", "http.response.status_code": 500, **attributes}
    item = span(attributes, kind=SpanKind.SERVER, instrumentation_scope=scope)
    (event,) = Converter(configured(http_events="all")).span(item).events
    assert json.loads(event.details)["request"]["url"] == url


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"url.scheme": "https", "server.address": "shop.example", "url.path": "/b\u00fc cher"}, id="ASGI"),
        pytest.param(
            {"url.scheme": "https", "server.address": "shop.example", "url.path": "/b\u00c3\u00bc cher"}, id="WSGI"
        ),
        pytest.param({"http.url": "https://shop.example/b\u00fc cher", "http.target": "/b\u00fc cher"}, id="old ASGI"),
        pytest.param(
            {"http.url": "https://shop.example/b%C3%BC%20cher", "http.target": "/b%C3%BC%20cher"}, id="encoded"
        ),
    ],
)
def test_a_path_that_was_decoded(attributes):
    """Page and URL are as the user's browser has them, which may report the page, too."""
    attributes = {"http.request.method": "GET", "http.response.status_code": 200, **attributes}
    (event,) = (
        Converter(configured(http_events="all")).span(span(attributes, kind=SpanKind.SERVER, resource=PYTHON)).events
    )
    assert json.loads(event.details)["request"]["url"] == "https://shop.example/b%C3%BC%20cher"
    assert event.page.pageId == "/b%C3%BC%20cher"


def test_client():
    """A client's call is to its peer."""
    attributes = {"http.method": "GET", "http.status_code": 200, "net.peer.name": "api.example", "net.peer.port": 8443,
                  "net.host.port": 1, "http.scheme": "https", "http.target": "/x"}  # fmt: skip
    converted = Converter(configured(http_events="all")).span(span(attributes, kind=SpanKind.CLIENT))
    assert '"url":"https://api.example:8443/x"' in converted.events[0].details
