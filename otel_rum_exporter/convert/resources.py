"""Resources of a page become `performance_resource_event`: `browser.resource_timing` log events, `resourceFetch` spans.

Calls by fetch and XMLHttpRequest are left to `http_event`, and the telemetry's own requests to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy, urls
from otel_rum_exporter.convert.attributes import Attributes, number, or_unset, text
from otel_rum_exporter.convert.conversion import Deferred, Facts, Key
from otel_rum_exporter.convert.ids import digest, low_bits
from otel_rum_exporter.convert.navigation import fetch_known_as, load_known_as, span_times, time_origin_ns
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.convert.timing import ROUNDED, SHARED_NAMES, read_marks, shared_fields
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import well_formed
from otel_rum_exporter.events import ResourceEvent
from otel_rum_exporter.items import SpanItem

LIMITED = ("image", "other")
"""File types of which aws-rum-web records only some of a page's."""

_PREFIX = "browser.resource_timing."
_MAX_INITIATOR = 64
_CALLS = ("fetch", "xmlhttprequest")
_NAMES = {
    **SHARED_NAMES,
    "redirectStart": "redirect_start",
    "redirectEnd": "redirect_end",
    "workerStart": "worker_start",
}
# aws-rum-web's table, with its gaps: woff2, webp, avif and mjs are in none of these, and case counts
_EXTENSIONS = {
    "stylesheet": ("css", "less"),
    "document": ("htm", "html", "ts", "doc", "docx", "pdf", "xls", "xlsx"),
    "script": ("js",),
    "image": ("ai", "bmp", "gif", "ico", "jpeg", "jpg", "png", "ps", "psd", "svg", "tif", "tiff"),
    "font": ("fnt", "fon", "otf", "ttf", "woff"),
}
_BY_EXTENSION = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions}
_BY_INITIATOR = {
    "image": "image", "img": "image", "input": "image", "iframe": "document", "frame": "document",
    "script": "script", "css": "stylesheet",
}  # fmt: skip
_INITIATORS = {"script": "script", "stylesheet": "link", "image": "img", "font": "css", "document": "iframe"}


class SpanResource(Deferred, frozen=True, kw_only=True, gc=False, tag="resource"):
    """The event of a `resourceFetch` span, which waits to learn when its page's load began, and whether it is a call's.

    Calls before the end of the load look the same, but for their own span. Units: epoch nanoseconds.
    """

    type_: str = ResourceEvent.type_
    event: ResourceEvent
    url: int
    trace: int
    start_ns: int
    end_ns: int

    def resolve(self, session: Facts) -> ResourceEvent | DropReason:
        """Return the event, unless the URL was called at the same time."""
        calls = session.fact(("call", self.url)) or ()
        if any(
            start_ns <= self.end_ns and self.start_ns <= end_ns
            for start_ns, end_ns in zip(calls[::2], calls[1::2], strict=True)
        ):
            return DropReason.DUPLICATE
        load = session.fact(load_known_as(self.trace))
        origin_ns = time_origin_ns(load, session.fact(fetch_known_as(self.trace))) if load else None
        if origin_ns is None or origin_ns > self.start_ns:
            return self.event
        return msgspec.structs.replace(self.event, startTime=(self.start_ns - origin_ns) / 1e6)


def known_as(url: str | None, start: float, duration: float) -> Key:
    """Return what a resource's event is known as in its session."""
    return ("resource", digest(f"{start:.1f} {duration:.1f} {url or ''}"))


def call_known_as(url: str) -> Key:
    """Return what the calls of a URL are known as in their session: start, end, start, end ... in epoch nanoseconds."""
    return ("call", digest(url))


def from_log(attributes: Attributes, config: RumConfig) -> ResourceEvent | DropReason:
    """Return the event of a `browser.resource_timing` record.

    Errors: SELF_TRAFFIC; UNMAPPED for calls, which have their own event, and for URLs that are not http; INCOMPLETE
            without a duration.
    """
    url, initiator = text(attributes, "url.full"), text(attributes, _PREFIX + "initiator_type") or "other"
    refused = _refused(url)
    if refused is not None or initiator in _CALLS:
        return refused or DropReason.UNMAPPED
    marks = read_marks(attributes, _NAMES, _PREFIX)
    start, duration = _start_and_duration(marks, number(attributes, _PREFIX + "duration"))
    if duration is None or duration < 0:
        return DropReason.INCOMPLETE
    event = ResourceEvent(
        initiatorType=well_formed(initiator[:_MAX_INITIATOR]),
        duration=duration,
        fileType=file_type(url or "", initiator),
        targetUrl=or_unset(url and well_formed(privacy.url(url, config))),
        startTime=or_unset(start),
        transferSize=or_unset(marks.get("transferSize")),
    )
    return (
        event
        if config.resource_details == "basic"
        else _full(event, marks, text(attributes, _PREFIX + "next_hop_protocol"))
    )


def _start_and_duration(marks: Mapping[str, float], duration: float | None) -> tuple[float | None, float | None]:
    """Return both as far as the one or the marks tell of the other."""
    start, end = marks.get("redirectStart") or marks.get("fetchStart"), marks.get("responseEnd")
    if not end:
        return start, duration
    if duration is None:
        return start, None if start is None else round(end - start, ROUNDED)
    return max(0, round(end - duration, ROUNDED)), duration


def from_span(span: SpanItem, attributes: Attributes, config: RumConfig) -> SpanResource | DropReason:
    """Return what a `resourceFetch` span becomes. Errors: as `from_log`."""
    url = text(attributes, "url.full", "http.url")
    refused = _refused(url)
    if refused is not None:
        return refused
    times = span_times(span.events)
    start_ns = known_ns(times.get("fetchStart"), span.start_time)
    end_ns = known_ns(times.get("responseEnd"), span.end_time)
    if not url or not start_ns or end_ns < start_ns:
        return DropReason.INCOMPLETE
    kind = file_type(url, "")
    event = ResourceEvent(
        initiatorType=_INITIATORS.get(kind, "other"),
        duration=(end_ns - start_ns) / 1e6,
        fileType=kind,
        targetUrl=well_formed(privacy.url(url, config)),
    )
    trace = low_bits(span.context.trace_id if span.context else 0)
    return SpanResource(event=event, url=digest(url), trace=trace, start_ns=start_ns, end_ns=end_ns)


def file_type(url: str, initiator: str) -> str:
    """Return the type of a resource, as aws-rum-web tells it: by the extension, then by what asked for it."""
    name = url.rpartition("/")[2]
    extension = name.rpartition(".")[2].partition("?")[0].partition("#")[0]
    return _BY_EXTENSION.get(extension) or _BY_INITIATOR.get(initiator, "other")


def _refused(url: str | None) -> DropReason | None:
    if url is None:
        return None
    parts = urls.split(url)
    if parts is None or parts.scheme not in ("http", "https"):
        return DropReason.UNMAPPED
    return DropReason.SELF_TRAFFIC if urls.is_self_traffic(url) else None


def _full(event: ResourceEvent, marks: dict[str, float], protocol: str | None) -> ResourceEvent:
    """Return the event with every timing that is known; another origin's zeros are not measurements."""
    known = {name: value for name, value in marks.items() if value or name in ("transferSize", "secureConnectionStart")}
    own = {name: getattr(event, name) for name in ("initiatorType", "duration", "fileType", "targetUrl", "startTime")}
    fields = shared_fields(known if marks.get("requestStart") else {})
    return ResourceEvent(**(fields | own | {"transferSize": event.transferSize}), nextHopProtocol=or_unset(protocol))
