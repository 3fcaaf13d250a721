"""Page loads become `performance_navigation_event`: `browser.navigation_timing` log events, or `documentLoad` spans.

A `documentLoad` span and its child `documentFetch` hold the marks of one load as span events with wall clock times, in
two items that may arrive apart; they are put together when the batch is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct

from otel_rum_exporter.convert.attributes import Attributes, integer, number, text
from otel_rum_exporter.convert.conversion import Deferred, Facts, Key
from otel_rum_exporter.convert.custom import MARKS
from otel_rum_exporter.convert.ids import digest
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.convert.timing import SHARED_NAMES, Marks, between, read_marks, shared_fields
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import NavigationEvent
from otel_rum_exporter.items import SpanEventItem, SpanItem

_TYPES = ("navigate", "reload", "back_forward", "reserved")
# OpenTelemetry's namespaces; the last was the browser instrumentation's before 0.3
_PREFIXES = ("browser.navigation_timing.", "browser.resource_timing.", "navigation.")
_NAMES = {
    **SHARED_NAMES,
    "unloadEventStart": "unload_event_start",
    "unloadEventEnd": "unload_event_end",
    "domInteractive": "dom_interactive",
    "domContentLoadedEventStart": "dom_content_loaded_event_start",
    "domContentLoadedEventEnd": "dom_content_loaded_event_end",
    "domComplete": "dom_complete",
    "loadEventStart": "load_event_start",
    "loadEventEnd": "load_event_end",
    "duration": "duration",
}
_LEVEL = 2  # of Navigation Timing
_MAX_LOAD_MS = 30_000


class FetchMarks(Struct, frozen=True, gc=False):
    """What a `documentFetch` span says of a load. Units: epoch nanoseconds; sizes in bytes."""

    times_ns: Mapping[str, int]
    encoded_bytes: int | None
    decoded_bytes: int | None


class SpanNavigation(Deferred, frozen=True, kw_only=True, gc=False, tag="navigation"):
    """The event of a `documentLoad` span, which waits for the marks of its `documentFetch`."""

    type_: str = NavigationEvent.type_
    load: Mapping[str, int]
    trace: int
    page: int

    def resolve(self, session: Facts) -> NavigationEvent | DropReason:
        """Return the event, unless a `browser.navigation_timing` record told of the same load."""
        if session.fact(known_as(self.page)) is not None:
            return DropReason.DUPLICATE
        return from_spans(self.load, session.fact(fetch_known_as(self.trace)))


def page_key(url: str | None) -> int:
    """Return what stands for a page's URL as a performance entry may have it: without a place in the document."""
    return digest((url or "").partition("#")[0])


def known_as(page: int) -> Key:
    """Return what a page's navigation event is known as in its session."""
    return ("navigation", page)


def span_known_as(page: int) -> Key:
    """Return what the event of a `documentLoad` span is known as: it gives way to the one of a record."""
    return ("span navigation", page)


def load_known_as(trace: int) -> Key:
    """Return what the marks of a trace's `documentLoad` are known as."""
    return ("load", trace)


def fetch_known_as(trace: int) -> Key:
    """Return what the marks of a trace's `documentFetch` are known as."""
    return ("fetch", trace)


def from_log(attributes: Attributes) -> NavigationEvent | DropReason:
    """Return the event of a `browser.navigation_timing` record. Errors: INCOMPLETE if the load never finished."""
    marks = read_marks(attributes, _NAMES, *_PREFIXES)
    kind = (text(attributes, *(prefix + "type" for prefix in _PREFIXES)) or "").replace("-", "_")
    redirects = integer(attributes, *(prefix + "redirect_count" for prefix in _PREFIXES))
    duration = marks.get("duration") or marks.get("loadEventEnd")
    if not duration or not marks.get("loadEventEnd", duration):
        return DropReason.INCOMPLETE
    return _event(marks, duration, kind, redirects)


def load_ns(attributes: Attributes) -> int:
    """Return how long before its `browser.navigation_timing` record a page began to load, 0 if that is not known.

    Units:  nanoseconds, 30 seconds at most.
    """
    names = (prefix + name for name in ("duration", "load_event_end") for prefix in _PREFIXES)
    return round(min(max(0, number(attributes, *names) or 0), _MAX_LOAD_MS) * 1e6)


def from_spans(load: Mapping[str, int], fetch: FetchMarks | None) -> NavigationEvent | DropReason:
    """Return the event of a `documentLoad` span's marks and, where it is known, its `documentFetch`.

    Errors: INCOMPLETE without loadEventEnd, or where it stands before the load began: it was 0 then.
    """
    origin_ns = time_origin_ns(load, fetch)
    if origin_ns is None or load.get("loadEventEnd", 0) <= load.get("fetchStart", origin_ns):
        return DropReason.INCOMPLETE
    times = {**load, **(fetch.times_ns if fetch else {})}
    if fetch is None:
        times.pop("fetchStart", None)  # it is the origin itself, for want of a better one
    marks = {name: max(0, time_ns - origin_ns) / 1e6 for name, time_ns in times.items()}
    if fetch is not None and fetch.encoded_bytes is not None:
        # the instrumentation writes the decoded size only where it differs
        marks["encodedBodySize"] = fetch.encoded_bytes
        marks["decodedBodySize"] = fetch.encoded_bytes if fetch.decoded_bytes is None else fetch.decoded_bytes
    return _event(marks, marks["loadEventEnd"], "", None)


def time_origin_ns(load: Mapping[str, int], fetch: FetchMarks | None) -> int | None:
    """Return when the load began, by the wall clock.

    Marks that were 0 stand at the origin itself, before `fetchStart`; without such a mark `fetchStart` is the best
    that is known.
    """
    times = fetch.times_ns if fetch else load
    start = times.get("fetchStart")
    return None if start is None else min(start, *times.values())


def span_times(events: Sequence[SpanEventItem]) -> dict[str, int]:
    """Return the marks that a span holds as events. Units: epoch nanoseconds."""
    times = {event.name: known_ns(event.timestamp) for event in events if event.name in MARKS}
    return {name: time_ns for name, time_ns in times.items() if time_ns}


def fetch_marks(span: SpanItem, attributes: Attributes) -> FetchMarks:
    """Return what a `documentFetch` span says of its page's load."""
    return FetchMarks(
        span_times(span.events),
        integer(attributes, "http.response_content_length", "http.response.body.size"),
        integer(attributes, "http.response_content_length_uncompressed"),
    )


def _event(marks: Marks, duration: float, kind: str, redirects: int | None) -> NavigationEvent:
    fields = shared_fields(marks)
    for name in ("domInteractive", "domContentLoadedEventStart", "domComplete", "loadEventStart"):
        if name in marks:
            fields[name] = marks[name]
    derived = {
        "domContentLoaded": between(marks, "domContentLoadedEventEnd", "domContentLoadedEventStart"),
        "domProcessingTime": between(marks, "loadEventStart", "responseEnd"),
        "loadEventTime": between(marks, "loadEventEnd", "loadEventStart"),
        "promptForUnload": between(marks, "unloadEventEnd", "unloadEventStart"),
    }
    fields.update({name: value for name, value in derived.items() if value is not None})
    if "promptForUnload" in fields:
        fields["unloadEventStart"] = marks["unloadEventStart"]
    return NavigationEvent(
        initiatorType="navigation",
        startTime=0,
        duration=duration,
        navigationType=kind if kind in _TYPES else UNSET,  # type: ignore[arg-type]
        redirectCount=UNSET if redirects is None or redirects < 0 else redirects,
        navigationTimingLevel=_LEVEL,
        **fields,  # type: ignore[arg-type]
    )
