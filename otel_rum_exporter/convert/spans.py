"""Spans: which family a span belongs to, and what its events become.

The tests are in the order of how much they know: HTTP attributes first, then the names that browser and mobile
instrumentations give their spans, then what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from opentelemetry.trace import SpanKind

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import (
    custom,
    errors,
    http,
    interaction,
    mobile,
    navigation,
    pages,
    resources,
    trace,
    urls,
    vitals,
)
from otel_rum_exporter.convert.attributes import text
from otel_rum_exporter.convert.conversion import NOTHING, Found, Key, Origin, Part
from otel_rum_exporter.convert.ids import low_bits
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import CustomEvent, Details
from otel_rum_exporter.items import SpanEventItem, SpanItem

ENTRY_KINDS = (SpanKind.SERVER, SpanKind.CONSUMER)

_DOCUMENT_LOAD = "document-load"  # part of that instrumentation's scope
_VITAL_MARK = "firstContentfulPaint"


class Span(Struct, frozen=True, gc=False):
    """A span, as far as conversion needs it."""

    item: SpanItem
    attributes: dict[str, Any]
    origin: Origin
    events: Sequence[SpanEventItem]

    @property
    def trace(self) -> int:
        """What stands for its trace in keys, 0 without one."""
        return low_bits(self.item.context.trace_id if self.item.context else 0)

    @property
    def end_ns(self) -> int:
        """When it ended, or at least began; 0 if neither is known."""
        return known_ns(self.item.end_time, self.item.start_time)

    @property
    def scope(self) -> str:
        """The name of the instrumentation that made it."""
        scope = self.item.instrumentation_scope
        return (scope.name or "") if scope else ""


Family = Callable[[Span, RumConfig], Found | DropReason]


def read(span: Span, config: RumConfig, *, with_itself: bool = True) -> Found | DropReason:
    """Return what a span holds: itself, its exceptions, its named events.

    Errors: the reason for the span itself, if its events become nothing either; FILTERED where only they are wanted.
    """
    family = _family(span)
    itself = _unknown(span, config) if family is None else family(span, config)
    if not with_itself and itself is not DropReason.SELF_TRAFFIC:
        itself = DropReason.FILTERED
    if itself is DropReason.SELF_TRAFFIC or not span.events:
        return itself
    parts = (_span_event(span, index, event, config) for index, event in enumerate(span.events))
    events = [part for part in parts if part is not None]
    if isinstance(itself, DropReason):
        return Found(events) if events else itself
    return Found([*itself.parts, *events], itself.facts)


def is_first_server(span: SpanItem) -> bool:
    """Tell whether a span serves a request that no instrumented caller reports itself."""
    return span.kind is SpanKind.SERVER and not (span.parent is not None and span.parent.is_remote)


def _unknown(span: Span, config: RumConfig) -> Found | DropReason:
    if span.item.name in UNMAPPED or span.item.name.startswith(mobile.IOS_LIFECYCLE):
        return DropReason.UNMAPPED
    is_of_rum = text(span.attributes, "rpc.service") in http.RUM_SERVICES  # with a status, but without a method
    method = text(span.attributes, "http.request.method", "http.method")
    if is_of_rum or urls.is_self_traffic(text(span.attributes, "url.full", "http.url"), method):
        return DropReason.SELF_TRAFFIC
    return _other(span, config)


def _family(span: Span) -> Family | None:
    """Return what converts a span, None for spans that are no instrumentation's of a browser or a mobile app."""
    item = span.item
    if http.is_http(span.attributes) and (item.kind is SpanKind.CLIENT or is_first_server(item)):
        return _call
    if item.name in FAMILIES and _is_of_family(span):
        return FAMILIES[item.name]
    if "target_xpath" in span.attributes:
        return _interaction
    return _screen if span.scope.startswith(mobile.LIFECYCLE_SCOPE) else None


def _is_of_family(span: Span) -> bool:
    """Tell whether a span has its name from the instrumentation that gives such names."""
    names_pages = span.item.name in ("documentLoad", "documentFetch", "resourceFetch")
    return not names_pages or not span.scope or _DOCUMENT_LOAD in span.scope


def _call(span: Span, config: RumConfig) -> Found | DropReason:
    is_client = bool(span.origin.is_client)
    call = http.http_event(span.item, span.attributes, span.events, config, is_client=is_client)
    if isinstance(call, DropReason):
        return call
    end_ns = span.end_ns
    is_wanted = config.http_events == "all" or http.is_wanted(call, config, is_client=is_client)
    parts = [Part("span", end_ns, call)] if is_wanted else []
    traced = None
    if config.xray_events and span.item.kind is SpanKind.CLIENT:
        traced = trace.xray_trace_event(span.item, span.attributes, call, config)
    if traced is not None:
        parts.append(Part("xray", end_ns, traced))
    if not parts:
        return DropReason.FILTERED
    return Found(parts, _call_facts(span, end_ns) if is_client else NOTHING)


def _call_facts(span: Span, end_ns: int) -> Mapping[Key, object]:
    url = text(span.attributes, "url.full", "http.url")
    return {resources.call_known_as(url): (known_ns(span.item.start_time), end_ns)} if url else NOTHING


def _document_fetch(span: Span, _config: RumConfig) -> Found | DropReason:
    marks = navigation.fetch_marks(span.item, span.attributes)
    parts = []
    if "responseStart" in marks.times_ns:
        answered_ns = marks.times_ns["responseStart"]
        vital = vitals.from_span("ttfb", answered_ns, marks.times_ns, span.trace)
        parts.append(Part("ttfb", answered_ns, vital))
    return Found(parts, {navigation.fetch_known_as(span.trace): marks})


def _document_load(span: Span, config: RumConfig) -> Found | DropReason:
    url = text(span.attributes, "url.full", "http.url")
    load = navigation.span_times(span.events)
    parts = []
    if "loadEventEnd" in load:
        page = navigation.page_key(url)
        event = navigation.SpanNavigation(load=load, trace=span.trace, page=page)
        parts.append(Part("span", span.end_ns, event, known_as=navigation.span_known_as(page)))
    view = pages.page_view({"url.full": url}, config)
    if not isinstance(view, DropReason):
        parts.append(Part("page", known_ns(span.item.start_time), view))
    if _VITAL_MARK in load:
        vital = vitals.from_span("fcp", load[_VITAL_MARK], load, span.trace)
        parts.append(Part("fcp", load[_VITAL_MARK], vital))
    return Found(parts, {navigation.load_known_as(span.trace): load})


def _resource_fetch(span: Span, config: RumConfig) -> Found | DropReason:
    event = resources.from_span(span.item, span.attributes, config)
    if isinstance(event, DropReason):
        return event
    return Found([Part("span", span.end_ns, event, is_limited=event.event.fileType in resources.LIMITED)])


def _interaction(span: Span, config: RumConfig) -> Found | DropReason:
    event = interaction.interaction_span(span.item, span.attributes, config)
    if isinstance(event, DropReason):
        return event
    start_ns = known_ns(span.item.start_time, span.item.end_time)
    parts = [Part("span", start_ns, event)]
    view = pages.route_view(span.item.name, config)
    if view is not None:
        parts.append(Part("page", span.end_ns, view))
    span_key = low_bits(span.item.context.span_id if span.item.context else 0)
    return Found(parts, {interaction.known_as(span_key): (event.event.event, start_ns, span.end_ns)})


def _screen(span: Span, config: RumConfig) -> Found | DropReason:
    view = mobile.screen(span.attributes, config) if span.item.name in mobile.SHOWN else DropReason.UNMAPPED
    return view if isinstance(view, DropReason) else Found([Part("page", known_ns(span.item.start_time), view)])


def _timing(span: Span, config: RumConfig) -> Found | DropReason:
    if config.custom_events == "none":
        return DropReason.FILTERED
    return Found([Part("span", span.end_ns, mobile.timing(span.item, span.attributes, config))])


def _hang(span: Span, config: RumConfig) -> Found | DropReason:
    attributes = mobile.fault(span.item.name, span.attributes)
    details, once = errors.exception(attributes, config, span.origin, trace=span.trace, time_ns=span.end_ns)
    return Found([Part("span", span.end_ns, details, once)])


def _long_task(span: Span, config: RumConfig) -> Found | DropReason:
    if config.custom_events != "all":
        return DropReason.UNMAPPED
    return Found([Part("span", span.end_ns, mobile.timing(span.item, span.attributes, config))])


def _other(span: Span, config: RumConfig) -> Found | DropReason:
    wanted = ("all",) if span.item.kind in (SpanKind.CLIENT, SpanKind.PRODUCER) else ("spans", "all")
    if config.custom_events not in wanted:
        return DropReason.FILTERED
    return Found([Part("span", span.end_ns, custom.span_event(span.item, span.attributes, config))])


def _span_event(span: Span, index: int, event: SpanEventItem, config: RumConfig) -> Part | None:
    """Return what a span event becomes: an exception, a named event, or nothing for the marks of instrumentations."""
    attributes, time_ns, name = event.attributes or {}, known_ns(event.timestamp), f"event:{index}"
    details: Details | CustomEvent
    if event.name == "exception" or errors.is_exception(attributes):
        if span.item.kind is SpanKind.CLIENT and http.is_http(span.attributes):
            return None  # it is the call's error
        details, once = errors.exception(
            attributes,
            config,
            span.origin,
            trace=span.trace,
            time_ns=time_ns,
            description=span.item.status.description,
        )
        return Part(name, time_ns, details, once)
    if config.custom_events == "none" or not event.name or event.name in custom.MARKS:
        return None
    return Part(name, time_ns, custom.named_event(event.name, attributes, config))


FAMILIES: Mapping[str, Family] = {
    "documentLoad": _document_load,
    "documentFetch": _document_fetch,
    "resourceFetch": _resource_fetch,
    "longtask": _long_task,
    "device.hang": _hang,
    **dict.fromkeys((*mobile.STARTS, *mobile.DURATIONS), _timing),
}
"""Spans that are known by their name."""

UNMAPPED = frozenset({"CORS Preflight", "slowRenders", "frozenRenders", "network.change"})
"""Spans that RUM knows nothing like."""
