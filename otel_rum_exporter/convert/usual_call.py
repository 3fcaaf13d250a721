"""The most frequent item by far in one step: an HTTP call that a service made, and that was answered.

Of the 8 us that such a span takes on its way through `spans` and `http`, half goes into getting from one function to the
next. Here is what they come to when nothing is unusual; whatever is goes their way. Tests hold both to the same result.
"""

from __future__ import annotations

import msgspec
from msgspec import field
from opentelemetry.trace import SpanKind

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy, urls
from otel_rum_exporter.convert.attributes import Attributes, Integer, Text
from otel_rum_exporter.convert.conversion import Conversion, Draft, Origin, Said
from otel_rum_exporter.convert.http import METHODS, RESPONSES
from otel_rum_exporter.convert.ids import id_of_part
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.encoding import encode, prepared
from otel_rum_exporter.events import MAX_EVENT_BYTES, HttpEvent, HttpRequest
from otel_rum_exporter.items import SpanItem

_MAX_URL = MAX_EVENT_BYTES // 12  # characters: whatever they are, escaped they leave room for the rest of the event


@prepared
class _Told(Said, frozen=True, kw_only=True, gc=False):
    """What the attributes say, by the names that stable semantic conventions have for it."""

    url: Text = field(name="url.full", default=None)
    method: Text = field(name="http.request.method", default=None)
    status: Integer = field(name="http.response.status_code", default=None)
    status_text: Text = field(name="http.status_text", default=None)
    rpc_service: Text = field(name="rpc.service", default=None)


def is_asked_for(config: RumConfig) -> bool:
    """Tell whether a configuration wants of such a call one event, and nothing else."""
    return config.convert is None and config.http_events == "all" and not (config.xray_events or config.attributes)


def convert(span: SpanItem, attributes: Attributes, origin: Origin, config: RumConfig) -> Conversion | None:
    """Return what a usual call becomes, None for all that is not one: it may become something else, or nothing.

    Args:
        span: The span.
        attributes: Its attributes, whose values are plain.
        origin: What its resource and scope say: such a call is one that no user's device made.
        config: A configuration by which `is_asked_for` is true.
    """
    if span.kind is not SpanKind.CLIENT or origin.is_client is not False or span.events:
        return None
    try:
        told = msgspec.convert(attributes, _Told)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    method, response, end_ns = METHODS.get(told.method), RESPONSES.get(told.status or 0), known_ns(span.end_time)
    if method is None or response is None or not end_ns or not (url := _shown(told, config)):
        return None
    context = span.context
    if context is None or not (context.trace_id and context.span_id):
        return None
    trace_id, span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
    digits = trace_id.hex()
    call = HttpEvent(
        request=HttpRequest(method=method, url=url),
        response=response,
        trace_id=f"1-{digits[:8]}-{digits[8:]}",
        segment_id=span_id.hex(),
    )
    draft = Draft(id_of_part(b"span", trace_id, span_id), end_ns, HttpEvent.type_, encode(call))
    return Conversion(
        session=told.session or origin.session,
        user=told.user or origin.user,
        origin=origin,
        events=[draft],
        previous_session=told.previous_session,
    )


def _shown(told: _Told, config: RumConfig) -> str | None:
    """Return the URL as it is shown, None for calls that say more of themselves, of their page, or that are our own."""
    url = told.url
    if url is None or len(url) > _MAX_URL or not url.isascii() or urls.is_self_traffic(url, told.method):
        return None
    if told.status_text or told.rpc_service or told.document_url or told.screen_title:
        return None
    return privacy.url(url, config)
