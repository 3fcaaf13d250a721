"""HTTP calls become `http_event`: CLIENT spans each, SERVER spans that no instrumented caller reports itself.

RUM has no duration here, and counts a call as failed by its status or its `error`. A call without a status failed
only if its span says so in one of many ways: JavaScript's fetch leaves status code 0 and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any

from msgspec import UNSET, Struct, field
from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import hosts, privacy, urls
from otel_rum_exporter.convert.attributes import Attributes, Integer, Text, integer, read, text
from otel_rum_exporter.convert.errors import js_error
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import prepared, well_formed
from otel_rum_exporter.events import HttpEvent, HttpRequest, HttpResponse, JsErrorEvent
from otel_rum_exporter.items import SpanEventItem, SpanItem

_ERROR_STACK_LENGTH = 200  # characters; what aws-rum-web's HTTP plugins keep
_MAX_METHOD = 32
_MAX_ERROR = 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_CLIENT_ERROR = 400
_FIRST_STATUS, _LAST_STATUS = 100, 999  # some servers make their own up
RESPONSES = {each.value: HttpResponse(status=each.value, statusText=each.phrase) for each in HTTPStatus}
_XHR_ENDS = ("abort", "timeout", "error")  # span events of XMLHttpRequest, in aws-rum-web's words
METHODS: dict[str | None, str] = {
    name: name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
}
"""The methods that semantic conventions know."""

RUM_SERVICES = ("RUM", "CloudWatch RUM")
"""What instrumentations of AWS's SDKs call the service whose calls are our own."""


def is_http(attributes: Attributes) -> bool:
    """Tell whether a span is an HTTP call, by old or new semantic conventions."""
    return "http.request.method" in attributes or "http.method" in attributes


@prepared
class _Call(Struct, frozen=True, kw_only=True, gc=False):
    """What the attributes say of a call, by new and by old semantic conventions."""

    url: Text = field(name="url.full", default=None)
    old_url: Text = field(name="http.url", default=None)
    method: Text = field(name="http.request.method", default=None)
    old_method: Text = field(name="http.method", default=None)
    status: Integer = field(name="http.response.status_code", default=None)
    old_status: Integer = field(name="http.status_code", default=None)
    status_text: Text = field(name="http.status_text", default=None)
    rpc_service: Text = field(name="rpc.service", default=None)


def http_event(
    span: SpanItem,
    attributes: dict[str, Any],
    span_events: Sequence[SpanEventItem],
    config: RumConfig,
    *,
    is_client: bool,
) -> HttpEvent | DropReason:
    """Return the event of an HTTP span.

    Args:
        span: A CLIENT or SERVER span.
        attributes: Its attributes.
        span_events: Its events.
        config: `url_query` counts.
        is_client: Whether a browser or a mobile app made the call.

    Errors: SELF_TRAFFIC, INCOMPLETE for a call without an outcome.
    """
    call = read(attributes, _Call)
    url = call.url or call.old_url
    if span.kind is SpanKind.SERVER:
        url = _url_asked(attributes, span, url)
    elif url is None:
        url = _url_of_parts(attributes, hosts.called(attributes))
    if urls.is_self_traffic(url, call.method or call.old_method) or call.rpc_service in RUM_SERVICES:
        return DropReason.SELF_TRAFFIC
    status = call.status or (call.old_status or 0 if call.status is None else 0)
    has_status = _FIRST_STATUS <= status <= _LAST_STATUS  # 0 is none, too
    error = None
    if span_events or not has_status:
        error = _error(span, attributes, span_events, config, is_client=is_client, has_status=has_status)
    if not has_status and error is None:
        return DropReason.INCOMPLETE
    context = span.context
    trace_id, span_id = (context.trace_id, context.span_id) if context else (0, 0)
    return HttpEvent(
        request=HttpRequest(
            method=METHODS.get(call.method) or _method(span, call, attributes),
            url=well_formed(privacy.url(url, config)) if url else UNSET,
        ),
        response=_response(call.status_text, status, config) if has_status else UNSET,
        error=UNSET if error is None else error,
        trace_id=xray_trace_id(trace_id) if trace_id else UNSET,
        segment_id=span_id.to_bytes(8, "big").hex() if span_id else UNSET,
    )


def xray_trace_id(trace_id: int) -> str:
    """Return a trace id in X-Ray's form, `1-8hex-24hex`."""
    digits = trace_id.to_bytes(16, "big").hex()
    return f"1-{digits[:8]}-{digits[8:]}"


def is_wanted(call: HttpEvent, config: RumConfig, *, is_client: bool) -> bool:
    """Tell whether the option `http_events` leaves a call in.

    In a browser or a mobile app any status but 2xx is a failure, as aws-rum-web has it; elsewhere 4xx and 5xx are.
    """
    if config.http_events != "failures":
        return config.http_events == "all"
    if call.response is UNSET or call.error is not UNSET:
        return True
    status = call.response.status
    return not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES if is_client else status >= _CLIENT_ERROR


def _method(span: SpanItem, call: _Call, attributes: Attributes) -> str:
    method = call.method or call.old_method
    if method == "_OTHER":
        method = text(attributes, "http.request.method_original") or method
    first_word = span.name.partition(" ")[0]
    method = method or (first_word if first_word in METHODS else "GET")
    return well_formed(method[:_MAX_METHOD])


def _response(told: str | None, status: int, config: RumConfig) -> HttpResponse:
    if told:
        return HttpResponse(status=status, statusText=privacy.text(told, config))
    return RESPONSES.get(status) or HttpResponse(status=status)


def _url_asked(attributes: Attributes, span: SpanItem, url: str | None) -> str | None:
    """Return the URL that a server was asked for; `url` is what an attribute holds of it, of Tornado's a path."""
    if url is None or url.startswith("/"):
        scope = span.instrumentation_scope
        url = _url_of_parts(attributes, hosts.asked(attributes, (scope.name or "") if scope else ""), url)
    return url and urls.encoded(url)


def _url_of_parts(attributes: Attributes, authority: hosts.Authority | None, target: str | None = None) -> str | None:
    """Return the URL of a call where no attribute holds it whole; `target` is path and query, if one attribute holds both."""
    target = target or _target(attributes)
    if target.startswith(("http://", "https://")):  # a request for a proxy names all of it
        return target
    if authority is None or urls.is_unspecified(authority.host):
        return target or None
    scheme = text(attributes, "url.scheme", "http.scheme") or "http"
    slash = "" if target.startswith(("/", "?")) or not target else "/"
    return f"{scheme}://{_with_port(authority, scheme)}{slash}{target}"


def _target(attributes: Attributes) -> str:
    query = (text(attributes, "url.query") or "").removeprefix("?")
    return (text(attributes, "url.path", "http.target") or "") + ("?" + query if query else "")


def _with_port(authority: hosts.Authority, scheme: str) -> str:
    host, port = authority
    if host.count(":") > 1 and "[" not in host:  # an IPv6 address without brackets, to which ASGI adds the port
        host = host.removesuffix(f":{port}")
    parts = urls.authority_parts(host)
    if parts is None:
        return host
    port = parts.port or port
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or host
    if port is None or not 0 < port <= _LAST_PORT or port == _DEFAULT_PORTS.get(scheme):
        return name
    return f"{name}:{port}"


def _error(  # noqa: PLR0913 - what a failure can be read from
    span: SpanItem,
    attributes: Attributes,
    span_events: Sequence[SpanEventItem],
    config: RumConfig,
    *,
    is_client: bool,
    has_status: bool,
) -> JsErrorEvent | None:
    """Return why a call failed; with a status only a real exception says more than the status does."""
    for event in span_events:
        if event.name == "exception":
            description = span.status.description
            length = min(_ERROR_STACK_LENGTH, config.stack_trace_length)
            return js_error(event.attributes or {}, config, description=description, stack_length=length)
    if has_status:
        return None
    description = span.status.description
    ends = {event.name for event in span_events}
    kind, message = _failure(span, attributes, ends, is_client=is_client)
    if kind is None:
        return None
    message = message or description or text(attributes, "http.error_message", "error.type") or kind
    message = privacy.head(message, _MAX_ERROR, config)
    return JsErrorEvent(type=privacy.text(kind, config), message=well_formed(message))


def _failure(
    span: SpanItem, attributes: Attributes, ends: Collection[str], *, is_client: bool
) -> tuple[str | None, str | None]:
    """Return type and message of a failure without a status and an exception, or (None, None) if there was none."""
    for end in _XHR_ENDS if is_client else ():
        if end in ends:
            # aws-rum-web gives "<status>" as the message of an error, which is 0
            return f"XMLHttpRequest {end}", "0" if end == "error" else f"XMLHttpRequest {end}"
    kind = text(attributes, "error.type", "http.error_name")
    if kind and not kind.isdigit():
        return kind, None
    if integer(attributes, "http.response.status_code", "http.status_code") == 0:
        # fetch's network failure, abort and opaque answer all look like this
        reason = text(attributes, "http.status_text")
        return ("TypeError", reason or "Failed to fetch") if is_client else ("Error", reason)
    # a numeral is a status, not a type
    if kind or span.status.status_code is StatusCode.ERROR:
        return "Error", None
    return None, None
