"""HTTP CLIENT spans also become `xray_trace_event` where that is asked for: a segment with the call as its subsegment.

To be switched on only where the spans do not reach X-Ray by another way: every call would be there twice.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec import UNSET

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import urls
from otel_rum_exporter.convert.attributes import Attributes, integer, or_unset, text
from otel_rum_exporter.convert.http import xray_trace_id
from otel_rum_exporter.events import (
    HttpEvent,
    XRayCause,
    XRayException,
    XRayHttp,
    XRayRequest,
    XRayResponse,
    XRaySubsegment,
    XRayTraceEvent,
)
from otel_rum_exporter.items import SpanItem

_ORIGIN = "AWS::RUM::AppMonitor"
_SENT_NOTHING = ("XMLHttpRequest abort", "XMLHttpRequest timeout")
_THROTTLED = 429
_HEADER = "http.response.header.content-length"  # a list of one value


def xray_trace_event(
    span: SpanItem, attributes: Attributes, call: HttpEvent, config: RumConfig
) -> XRayTraceEvent | None:
    """Return the segment of an HTTP call, None for a span without ids or times.

    Args:
        span: The CLIENT span.
        attributes: Its attributes.
        call: What it became.
        config: `xray_service_name` counts.

    Units:  times are epoch seconds with millisecond precision.
    Source: aws-rum-web 3.2 for names, flags and the cause; the subsegment's id is the span's, so that the spans of the
            called service attach to it.
    """
    context = span.context
    if context is None or not context.trace_id or not context.span_id or not span.start_time:
        return None
    span_id = f"{context.span_id:016x}"
    start, end = _seconds(span.start_time), _seconds(span.end_time or span.start_time)
    error, throttle, fault = _flags(call)
    is_cut = _kind(call) in _SENT_NOTHING
    name = _host(call, attributes)
    subsegment = XRaySubsegment(
        id=span_id,
        name=name,
        start_time=start,
        end_time=end,
        in_progress=False,
        namespace="aws" if name.endswith(".amazonaws.com") else "remote",
        error=error or UNSET,
        throttle=throttle or UNSET,
        fault=fault or UNSET,
        http=_http(call, attributes),
        cause=_cause(call),
    )
    return XRayTraceEvent(
        name=config.xray_service_name,
        origin=_ORIGIN,
        id=sha256(f"rum-segment:{span_id}".encode()).hexdigest()[:16],
        trace_id=xray_trace_id(context.trace_id),
        parent_id=f"{span.parent.span_id:016x}" if span.parent is not None and span.parent.span_id else UNSET,
        start_time=start,
        end_time=end,
        in_progress=False,
        # a call that the page itself ended is no fault of the segment
        error=UNSET if is_cut else error or UNSET,
        throttle=throttle or UNSET,
        fault=fault or UNSET,
        subsegments=[subsegment],
    )


def _seconds(time_ns: int) -> float:
    return round(time_ns / 1e6) / 1e3


def _kind(call: HttpEvent) -> str | None:
    return None if call.error is UNSET or not isinstance(call.error.type, str) else call.error.type


def _flags(call: HttpEvent) -> tuple[bool, bool, bool]:
    """Return error, throttle and fault, as X-Ray tells them apart."""
    if call.response is UNSET:
        is_cut = _kind(call) in _SENT_NOTHING
        return is_cut, False, not is_cut
    status = call.response.status
    is_throttled = status == _THROTTLED
    return 400 <= status <= 499 and not is_throttled, is_throttled, status >= 500  # noqa: PLR2004 - HTTP's classes


def _host(call: HttpEvent, attributes: Attributes) -> str:
    url = call.request.url if isinstance(call.request.url, str) else None
    return urls.host(url) or text(attributes, "server.address", "net.peer.name") or "unknown"


def _http(call: HttpEvent, attributes: Attributes) -> XRayHttp:
    request = XRayRequest(method=call.request.method, url=call.request.url, traced=True)
    if call.response is UNSET:
        return XRayHttp(request=request)
    header = attributes.get(_HEADER)
    sizes = {**attributes, _HEADER: header[0]} if isinstance(header, list | tuple) and header else attributes
    length = integer(sizes, "http.response.body.size", "http.response_content_length", _HEADER)
    return XRayHttp(
        request=request, response=XRayResponse(status=call.response.status, content_length=or_unset(length))
    )


def _cause(call: HttpEvent) -> XRayCause:
    if call.error is UNSET:
        return or_unset(None)  # type: ignore[return-value]
    return XRayCause(exceptions=[XRayException(type=call.error.type, message=call.error.message)])
