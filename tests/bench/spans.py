"""The spans that every candidate gets: real SDK spans of HTTP calls, the same in every run.

The seed changes ids and the numbers in URLs, and nothing else.
"""

from collections.abc import Iterator
from random import Random
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind

APP_MONITOR_ID = "11111111-2222-3333-4444-555555555555"

_FIRST_START_NS = 1_760_000_000_000_000_000
_FAR_APART = 0x9E3779B97F4A7C15  # numbers become ids that look like any other
_CALLS = (
    ("GET", "/api/products/{}", 200),
    ("GET", "/api/products/{}/reviews?page=2&sort=newest", 200),
    ("POST", "/api/carts/{}/items", 201),
    ("GET", "/api/customers/{}", 404),
    ("PUT", "/api/customers/{}/address", 204),
    ("POST", "/api/orders/{}/payment", 503),
)


def make_spans(count: int, per_session: int, seed: int = 0) -> list[ReadableSpan]:
    """Return spans whose sessions follow one another, each with `per_session` spans."""
    return list(generate_spans(count, per_session, seed))


def generate_spans(
    count: int, per_session: int, seed: int = 0, *, in_rotation: int | None = None
) -> Iterator[ReadableSpan]:
    """Yield what `make_spans` returns one by one, so that 100,000 need not be in memory together.

    With `in_rotation` so many sessions take turns instead, span by span.
    """
    random = Random(seed)
    ended = _Ended()
    resource = Resource({"service.name": "shop", "service.version": "2.4.1", "telemetry.sdk.language": "python"})
    provider = TracerProvider(resource=resource, id_generator=_SeededIds(random), shutdown_on_exit=False)
    provider.add_span_processor(ended)
    tracer = provider.get_tracer("shop.http", "1.0.0")
    for number in range(count):
        if in_rotation is not None:
            session_id = str(UUID(int=(number % in_rotation) * _FAR_APART, version=4))
        elif number % per_session == 0:
            session_id = str(UUID(int=random.getrandbits(128), version=4))
        method, path, status = _CALLS[number % len(_CALLS)]
        start_ns = _FIRST_START_NS + number * 5_000_000
        attributes = {
            "http.request.method": method,
            "url.full": "https://api.shop.example.com" + path.format(random.randrange(100_000)),
            "server.address": "api.shop.example.com",
            "server.port": 443,
            "http.response.status_code": status,
            "network.protocol.version": "1.1",
            "network.peer.address": "203.0.113.17",
            "session.id": session_id,
        }
        span = tracer.start_span(method, Context(), SpanKind.CLIENT, attributes, start_time=start_ns)
        span.end(start_ns + random.randrange(5_000_000, 250_000_000))
        yield ended.latest


def browser_spans(sessions: int) -> Iterator[ReadableSpan]:
    """Yield what browsers report of sessions: a page's load, a click that leads to another page, two calls of each."""
    random = Random(2)
    ended = _Ended()
    resource = Resource({"service.name": "shop", "telemetry.sdk.language": "webjs", "browser.platform": "Linux"})
    provider = TracerProvider(resource=resource, id_generator=_SeededIds(random), shutdown_on_exit=False)
    provider.add_span_processor(ended)
    loads = provider.get_tracer("@opentelemetry/instrumentation-document-load", "1.0.0")
    others = provider.get_tracer("@opentelemetry/instrumentation-fetch", "1.0.0")
    for number in range(sessions):
        whose = {"session.id": str(UUID(int=random.getrandbits(128), version=4)), "user.id": f"user-{number}"}
        start_ns = _FIRST_START_NS + number * 1_000_000_000
        for place, (name, kind, attributes, marks) in enumerate(_VISIT):
            at_ns = start_ns + 500_000_000 * place
            tracer = loads if name == "documentLoad" else others
            span = tracer.start_span(name, Context(), kind, {**attributes, **whose}, start_time=at_ns)
            for mark, after_ms in marks.items():
                span.add_event(mark, timestamp=at_ns + after_ms * 1_000_000)
            span.end(at_ns + 300_000_000)
            yield ended.latest


_SHOP = "https://shop.example.com"
_LOAD = {"fetchStart": 0, "responseEnd": 80, "firstContentfulPaint": 120, "domComplete": 250, "loadEventEnd": 260}
_VISIT = (
    ("documentLoad", SpanKind.INTERNAL, {"http.url": f"{_SHOP}/products"}, _LOAD),
    ("GET", SpanKind.CLIENT, {"http.method": "GET", "http.url": f"{_SHOP}/api/products", "http.status_code": 200}, {}),
    ("Navigation: /cart", SpanKind.INTERNAL, {"event_type": "click", "target_xpath": '//*[@id="cart"]'}, {}),
    ("GET", SpanKind.CLIENT, {"http.method": "GET", "http.url": f"{_SHOP}/api/cart", "http.status_code": 200}, {}),
)


class _Ended(SpanProcessor):
    latest: ReadableSpan

    def on_end(self, span):
        self.latest = span


class _SeededIds(IdGenerator):
    def __init__(self, random):
        self._random = random

    def generate_span_id(self):
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self):
        return self._random.getrandbits(128) or 1
