"""Items to RUM events: pure, without session state, thread, clock or I/O. One module per family; dispatch is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from opentelemetry.trace import SpanKind

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import custom, errors, http, metadata, pages, urls, vitals
from otel_rum_exporter.convert.attributes import Attributes, text
from otel_rum_exporter.convert.conversion import Conversion, Draft, Once, Origin
from otel_rum_exporter.convert.ids import LogEventIds, span_event_id
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, encode, shrink, utf8_bytes, well_formed
from otel_rum_exporter.events import (
    MAX_EVENT_BYTES,
    NO_PAGE,
    CustomEvent,
    Details,
    JsErrorEvent,
    Page,
    PageViewEvent,
    SessionStartEvent,
)
from otel_rum_exporter.items import LogItem, LogRecordItem, ResourceItem, ScopeItem, SpanItem

__all__ = ["Conversion", "Converter", "Draft", "LogEventIds"]

_ENTRY_KINDS = (SpanKind.SERVER, SpanKind.CONSUMER)

# spans of browser and mobile instrumentations that carry no HTTP attributes; their own families convert them
_OTHER_SPANS = frozenset({
    "documentLoad", "documentFetch", "resourceFetch", "longtask", "CORS Preflight", "device.hang", "AppStart",
    "app.screen.time_to_first_appear", "app.screen.time_to_first_draw", "slowRenders", "frozenRenders",
})  # fmt: skip
_OTHER_SCOPES = ("io.opentelemetry.lifecycle", "io.opentelemetry.slowrendering", "io.opentelemetry.network")

# named log events that no event of RUM corresponds to, or whose own families convert them
_OTHER_LOGS = frozenset({
    "browser.navigation_timing", "browser.resource_timing", "browser.user_action.click", "app.screen.click",
    "app.widget.click", "device.crash", "device.anr", "device.hang", "app.crash", "app.jank", "session.end",
    "app.screen.view_did_appear", "network.change", "device.app.lifecycle", "device.battery",
})  # fmt: skip

_SELF = "otel_rum_exporter"
_END_OF_TIME_NS = 2**63  # the year 2262


class Converter:
    """Converts items by one configuration.

    Shape:  one item -> a Conversion with at least one event, or the reason why there is none.
    Errors: what applications put into attributes never raises; objects that are no items may.
    """

    def __init__(self, config: RumConfig) -> None:
        """Prepare the tables that depend on the configuration."""
        self._config = config
        self._custom_attributes = metadata.CustomAttributeFilter(config.attributes)
        self._origins: dict[tuple[int, int, bool], tuple[Origin, ResourceItem, ScopeItem | None]] = {}
        self._logs: dict[str, Callable[[Attributes, Any], tuple[Details | DropReason, Once | None]]] = {
            "browser.navigation": lambda attributes, _: (pages.page_view(attributes, config.page_id_format), None),
            "browser.web_vital": lambda attributes, body: (
                vitals.web_vital(attributes, body),
                vitals.once(attributes, body),
            ),
            "session.start": lambda _attributes, _body: (SessionStartEvent(), Once("session_start")),
        }

    def span(self, span: SpanItem) -> Conversion | DropReason:
        """Convert a span: itself, its exceptions, its named events."""
        attributes = dict(span.attributes or {})
        if _is_own(span.instrumentation_scope):
            return DropReason.SELF_TRAFFIC
        origin = self._origin(span.resource, span.instrumentation_scope)
        is_entry = span.kind in _ENTRY_KINDS
        if is_entry and not origin.is_client:
            place = self._entry_place(attributes, origin)
            origin = metadata.with_caller(origin, attributes) if _is_first_server(span) else origin
        else:
            place = self._place(attributes, origin)
        itself = self._span_details(span, attributes, origin)
        drafts = [
            place.draft(span_event_id(span.context, part, content), time_ns, details, content, once)
            for part, time_ns, details, once in self._span_parts(span, attributes, origin, itself)
            for content in (_content(details),)
            if content is not None and time_ns
        ]
        if drafts:
            return _conversion(attributes, origin, drafts)
        if isinstance(itself, DropReason):
            return itself
        return DropReason.TOO_LARGE if _time_ns(span.end_time, span.start_time) else DropReason.INCOMPLETE

    def log(self, log: LogItem, ids: LogEventIds) -> Conversion | DropReason:
        """Convert a log record. `ids` belongs to the export that the record is part of."""
        record = log.log_record
        attributes = dict(record.attributes or {})
        if _is_own(log.instrumentation_scope):
            return DropReason.SELF_TRAFFIC
        name = record.event_name or text(attributes, "event.name", "otel.event.name") or ""
        origin = self._origin(log.resource, log.instrumentation_scope, is_client_event=metadata.is_client_event(name))
        if name == "session.start" and isinstance(record.body, Mapping):
            attributes = {**record.body, **attributes}  # where old semantic conventions have them
        details, once = self._log_details(record, name, attributes, origin)
        if isinstance(details, DropReason):
            return details
        time_ns, content = _time_ns(record.timestamp, record.observed_timestamp), _content(details)
        if not time_ns or content is None:
            return DropReason.INCOMPLETE if content else DropReason.TOO_LARGE
        destination = text(attributes, "url.full") if name == "browser.navigation" else None
        place = self._place(attributes, origin, destination)
        session = text(attributes, "session.id")
        draft = place.draft(ids.next(record, session, time_ns, content), time_ns, details, content, once)
        return _conversion(attributes, origin, [draft])

    def _origin(self, resource: ResourceItem, scope: ScopeItem | None, *, is_client_event: bool = False) -> Origin:
        """Return what resource and scope say, worked out once for each pair: items share these objects."""
        key = (id(resource), id(scope), is_client_event)
        known = self._origins.get(key)
        if known is None or known[1] is not resource or known[2] is not scope:
            if len(self._origins) >= 256:  # noqa: PLR2004 - resources are few; this bounds those that are not
                self._origins.clear()
            origin = metadata.origin(self._config, resource, scope, is_client_event=is_client_event)
            # the objects are kept with it, so that their ids stay theirs
            known = self._origins[key] = (origin, resource, scope)
        return known[0]

    def _span_details(
        self, span: SpanItem, attributes: Attributes, origin: Origin
    ) -> Details | CustomEvent | DropReason:
        """Return what the span itself becomes; the order of the tests is that of how much they know."""
        if http.is_http(attributes) and (span.kind is SpanKind.CLIENT or _is_first_server(span)):
            return http.http_event(span, attributes, self._config, is_client=origin.is_client)
        if span.name in _OTHER_SPANS or "target_xpath" in attributes or _is_scope(span, _OTHER_SCOPES):
            return DropReason.UNMAPPED
        if urls.is_self_traffic(text(attributes, "url.full", "http.url")):
            return DropReason.SELF_TRAFFIC
        wanted = ("all",) if span.kind in (SpanKind.CLIENT, SpanKind.PRODUCER) else ("spans", "all")
        if self._config.custom_events not in wanted:
            return DropReason.FILTERED
        return custom.span_event(span, attributes, self._config)

    def _span_parts(
        self, span: SpanItem, attributes: Attributes, origin: Origin, itself: Details | CustomEvent | DropReason
    ) -> list[tuple[str, int, Details | CustomEvent, Once | None]]:
        """Return the events of a span, each with the part of the span it stands for and its time."""
        parts: list[tuple[str, int, Details | CustomEvent, Once | None]] = []
        if itself is DropReason.SELF_TRAFFIC:
            return parts
        if not isinstance(itself, DropReason):
            parts.append(("span", _time_ns(span.end_time, span.start_time), itself, None))
        # the exception of an HTTP call is the call's error
        is_call = span.kind is SpanKind.CLIENT and http.is_http(attributes)
        trace_id = span.context.trace_id if span.context else 0
        for index, event in enumerate(span.events):
            event_attributes, time_ns = event.attributes or {}, _time_ns(event.timestamp)
            details: Details | CustomEvent
            if event.name == "exception" or errors.is_exception(event_attributes):
                if not is_call:
                    described = span.status.description
                    details, once = self._exception(event_attributes, origin, trace_id, time_ns, described)
                    parts.append((f"event:{index}", time_ns, details, once))
            elif self._config.custom_events != "none" and event.name and event.name not in custom.MARKS:
                details = custom.named_event(event.name, event_attributes, self._config)
                parts.append((f"event:{index}", time_ns, details, None))
        return parts

    def _log_details(
        self, record: LogRecordItem, name: str, attributes: Attributes, origin: Origin
    ) -> tuple[Details | CustomEvent | DropReason, Once | None]:
        if errors.is_exception(attributes):
            time_ns = _time_ns(record.timestamp, record.observed_timestamp)
            return self._exception(attributes, origin, record.trace_id or 0, time_ns, None)
        if name in self._logs:
            return self._logs[name](attributes, record.body)
        if not name or name in _OTHER_LOGS:
            return DropReason.UNMAPPED, None
        wanted = ("all",) if name == "browser.console" else ("events", "spans", "all")
        if self._config.custom_events not in wanted:
            return DropReason.FILTERED, None
        return custom.named_event(name, attributes, self._config, record.body), None

    def _exception(
        self, attributes: Attributes, origin: Origin, trace_id: int, time_ns: int, description: str | None
    ) -> tuple[Details | CustomEvent, Once]:
        error = errors.js_error(attributes, self._config, description=description)
        once = errors.once(error, trace_id, time_ns, is_client=origin.is_client)
        if origin.is_client or self._config.server_exceptions == "js_error":
            return error, once
        return CustomEvent("otel.exception", _as_object(error)), once

    def _place(self, attributes: Attributes, origin: Origin, destination: str | None = None) -> _Place:
        """Return page and domain where a browser's item names its document, or the page that it goes to."""
        document = text(attributes, "browser.document.url.full")
        page = urls.page_id(document, self._config.page_id_format) if document and not destination else None
        domain = metadata.page_domain(attributes, destination) if origin.is_client else None
        return _Place(_page(page), domain, self._custom_attributes.select(attributes, origin.attributes))

    def _entry_place(self, attributes: Attributes, origin: Origin) -> _Place:
        """Return page and domain that a server was asked for."""
        page = pages.server_page_id(attributes, self._config.page_id_format)
        selected = self._custom_attributes.select(attributes, origin.attributes)
        return _Place(_page(page), metadata.server_domain(attributes), selected)


class _Place(Struct, frozen=True):
    """What all events of an item share."""

    page: Page
    domain: str | None
    attributes: Any

    def draft(
        self, event_id: str, time_ns: int, details: Details | CustomEvent, content: str, once: Once | None
    ) -> Draft:
        return Draft(
            id=event_id,
            time_ns=time_ns,
            type=details.type_,
            details=details if isinstance(details, PageViewEvent) else content,
            page=self.page,
            domain=self.domain,
            attributes=self.attributes,
            once=once,
        )


def _conversion(attributes: Attributes, origin: Origin, drafts: list[Draft]) -> Conversion:
    return Conversion(
        session=text(attributes, "session.id") or origin.session,
        user=text(attributes, "user.id", "enduser.pseudo.id", "enduser.id", "app.installation.id") or origin.user,
        origin=origin,
        events=drafts,
    )


def _content(details: Details | CustomEvent) -> str | None:
    """Return the details as JSON text that fits into an event, None if it cannot."""
    content = encode(details.details if isinstance(details, CustomEvent) else details)
    return content if utf8_bytes(content) <= MAX_EVENT_BYTES else shrink(content, MAX_EVENT_BYTES)


def _as_object(error: JsErrorEvent) -> dict[str, Any]:
    names = ("version", "type", "message", "filename", "lineno", "stack")
    return {name: value for name in names if isinstance(value := getattr(error, name), str | int)}


def _page(page_id: str | None) -> Page:
    return Page(pageId=clip(well_formed(page_id), pages.MAX_PAGE_ID)) if page_id else NO_PAGE


def _time_ns(*times: int | None) -> int:
    """Return the first time that is known, else 0. Botocore refuses those that fit into no calendar."""
    return next((time_ns for time_ns in times if time_ns and 0 < time_ns < _END_OF_TIME_NS), 0)


def _is_first_server(span: SpanItem) -> bool:
    """Tell whether no instrumented caller reports this request itself."""
    return span.kind is SpanKind.SERVER and not (span.parent is not None and span.parent.is_remote)


def _is_scope(span: SpanItem, prefixes: tuple[str, ...]) -> bool:
    scope = span.instrumentation_scope
    return scope is not None and bool(scope.name) and scope.name.startswith(prefixes)


def _is_own(scope: ScopeItem | None) -> bool:
    return scope is not None and bool(scope.name) and scope.name.startswith(_SELF)
