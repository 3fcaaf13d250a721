"""HTTP calls become `http_event`: CLIENT spans each, SERVER spans that no instrumented caller reports itself.

RUM has no duration here, and counts a call as failed by its status or its `error`. A call without a status failed
only if its span says so in one of many ways: JavaScript's fetch leaves status code 0 and nothing else.
"""

from __future__ import annotations

from http import HTTPStatus

from msgspec import UNSET
from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy, urls
from otel_rum_exporter.convert.attributes import Attributes, integer, or_unset, text
from otel_rum_exporter.convert.errors import js_error
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import well_formed
from otel_rum_exporter.events import HttpEvent, HttpRequest, HttpResponse, JsErrorEvent
from otel_rum_exporter.items import SpanItem

_ERROR_STACK_LENGTH = 200  # characters; what aws-rum-web's HTTP plugins keep
_MAX_METHOD = 32
_MAX_ERROR = 1024
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_CLIENT_ERROR = 400
_FIRST_STATUS, _LAST_STATUS = 100, 599
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_XHR_ENDS = ("abort", "timeout", "error")  # span events of XMLHttpRequest, in aws-rum-web's words
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})


def is_http(attributes: Attributes) -> bool:
    """Tell whether a span is an HTTP call, by old or new semantic conventions."""
    return "http.request.method" in attributes or "http.method" in attributes


def http_event(span: SpanItem, attributes: Attributes, config: RumConfig, *, is_client: bool) -> HttpEvent | DropReason:
    """Return the event of an HTTP span.

    Args:
        span: A CLIENT or SERVER span.
        attributes: Its attributes.
        config: `url_query` counts.
        is_client: Whether a browser or a mobile app made the call.

    Errors: SELF_TRAFFIC, INCOMPLETE for a call without an outcome.
    """
    url = _url(attributes, span.kind)
    if urls.is_self_traffic(url) or attributes.get("rpc.service") in ("RUM", "CloudWatch RUM"):
        return DropReason.SELF_TRAFFIC
    status = _status(attributes)
    error = _error(span, attributes, config, status, is_client=is_client)
    if status is None and error is None:
        return DropReason.INCOMPLETE
    context = span.context
    return HttpEvent(
        request=HttpRequest(method=_method(span, attributes), url=or_unset(url and _shown(url, config))),
        response=or_unset(
            status and HttpResponse(status=status, statusText=or_unset(_phrase(attributes, status, config)))
        ),
        error=or_unset(error),
        trace_id=or_unset(xray_trace_id(context.trace_id) if context and context.trace_id else None),
        segment_id=or_unset(f"{context.span_id:016x}" if context and context.span_id else None),
    )


def _status(attributes: Attributes) -> int | None:
    """Return the status code, None where there is none: 0 and numbers that are no status."""
    status = integer(attributes, "http.response.status_code", "http.status_code") or 0
    return status if _FIRST_STATUS <= status <= _LAST_STATUS else None


def xray_trace_id(trace_id: int) -> str:
    """Return a trace id in X-Ray's form, `1-8hex-24hex`."""
    digits = f"{trace_id:032x}"
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


def _shown(url: str, config: RumConfig) -> str:
    return well_formed(privacy.url(url, config))


def _method(span: SpanItem, attributes: Attributes) -> str:
    method = text(attributes, "http.request.method", "http.method")
    if method == "_OTHER":
        method = text(attributes, "http.request.method_original") or method
    first_word = span.name.partition(" ")[0]
    method = method or (first_word if first_word in _METHODS else "GET")
    return well_formed(method[:_MAX_METHOD])


def _phrase(attributes: Attributes, status: int, config: RumConfig) -> str | None:
    told = text(attributes, "http.status_text")
    return privacy.text(told, config) if told else _PHRASES.get(status)


def _url(attributes: Attributes, kind: SpanKind) -> str | None:
    """Return the URL of the call, put together from its parts where no attribute holds it whole."""
    whole = text(attributes, "url.full", "http.url")
    if whole:
        return whole
    path = text(attributes, "url.path", "http.target") or ""
    query = (text(attributes, "url.query") or "").removeprefix("?")
    target = path + ("?" + query if query else "")
    scheme = text(attributes, "url.scheme", "http.scheme") or "http"
    # WSGI's server.address and http.host may hold the port already
    authority = text(attributes, "http.host") if kind is SpanKind.SERVER else None
    authority = authority or text(attributes, "server.address", "http.host", "net.peer.name", "http.server_name")
    if authority is None or urls.is_unspecified(authority):
        return target or None
    slash = "/" if path and not path.startswith("/") else ""
    return f"{scheme}://{_with_port(authority, scheme, attributes)}{slash}{target}"


def _with_port(authority: str, scheme: str, attributes: Attributes) -> str:
    parts = urls.authority_parts(authority)
    if parts is None:
        return authority
    port = parts.port or integer(attributes, "server.port", "net.peer.port", "net.host.port")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or authority
    if port is None or not 0 < port <= _LAST_PORT or port == _DEFAULT_PORTS.get(scheme):
        return name
    return f"{name}:{port}"


def _error(
    span: SpanItem, attributes: Attributes, config: RumConfig, status: int | None, *, is_client: bool
) -> JsErrorEvent | None:
    """Return why a call failed; with a status only a real exception says more than the status does."""
    description = span.status.description
    for event in span.events:
        if event.name == "exception":
            return js_error(event.attributes or {}, config, description=description, stack_length=_ERROR_STACK_LENGTH)
    if status is not None:
        return None
    kind, message = _failure(span, attributes, is_client=is_client)
    if kind is None:
        return None
    message = message or description or text(attributes, "http.error_message", "error.type") or kind
    message = privacy.head(message, _MAX_ERROR, config)
    return JsErrorEvent(type=privacy.text(kind, config), message=well_formed(message))


def _failure(span: SpanItem, attributes: Attributes, *, is_client: bool) -> tuple[str | None, str | None]:
    """Return type and message of a failure without a status and an exception, or (None, None) if there was none."""
    ends = {event.name for event in span.events}
    for end in _XHR_ENDS:
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
