"""Items to RUM events: pure, without session state, thread, clock or I/O.

One module per family; `spans` and `logs` tell which family an item belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

from msgspec import UNSET, Struct

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import hook, hosts, logs, metadata, mobile, navigation, pages, privacy, spans, usual_call
from otel_rum_exporter.convert.attributes import Attributes, read, taken, text
from otel_rum_exporter.convert.conversion import (
    NO_ORIGIN,
    NOTHING,
    Conversion,
    Deferred,
    Draft,
    Found,
    Origin,
    Part,
    Said,
)
from otel_rum_exporter.convert.ids import LogEventIds, span_event_id
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, encode, shrink, utf8_bytes, well_formed
from otel_rum_exporter.events import MAX_EVENT_BYTES, NO_PAGE, CustomEvent, Details, Page, PageViewEvent
from otel_rum_exporter.items import LogItem, ResourceItem, ScopeItem, SpanItem

__all__ = ["Conversion", "Converter", "Draft", "LogEventIds"]

_MAX_ORIGINS = 256  # resources are few; this bounds those that are not
_MAX_CHARACTERS = 16 * 1024  # of a resource and scope that are kept; larger ones, which no SDK makes, are read again
_LISTS = frozenset((list, tuple))
_PLAIN = frozenset((str, bool, int, float, type(None)))

EventId = Callable[[Part, str], str]
"""Makes an event's id of its part and its content."""


class Converter:
    """Converts items by one configuration.

    Shape:  one item -> a Conversion, or the reason why nothing became of it.
    Errors: what applications put into attributes never raises; objects that are no items may.
    """

    def __init__(self, config: RumConfig) -> None:
        """Prepare the tables that depend on the configuration."""
        self._config = config
        self._custom_attributes = metadata.CustomAttributeFilter(config)
        if config.convert is not None:
            hook.prepare()
        self._asks_for_usual_calls = usual_call.is_asked_for(config)
        self._origins: dict[tuple[int, int, bool], _Known] = {}
        self._latest = _Known()
        self._described = _Described()

    def span(self, span: SpanItem, *, with_itself: bool = True) -> Conversion | DropReason:
        """Convert a span: itself, if that is wanted, its exceptions, its named events."""
        origin = self._origin(span.resource, span.instrumentation_scope)
        if origin.is_own:
            return DropReason.SELF_TRAFFIC
        attributes = taken(span.attributes)
        if self._asks_for_usual_calls and with_itself:
            usual = usual_call.convert(span, attributes, origin, self._config)
            if usual is not None:
                return usual
        # the SDK copies a span's events each time they are asked for
        found = spans.read(spans.Span(span, attributes, origin, span.events), self._config, with_itself=with_itself)
        if self._config.convert is not None:
            found = hook.apply(self._config.convert, span, found, known_ns(span.end_time, span.start_time))
        if isinstance(found, DropReason):
            return found
        said = read(attributes, Said)
        if span.kind in spans.ENTRY_KINDS and not origin.is_client:
            place = self._entry_place(attributes, origin)
            origin = metadata.with_caller(origin, attributes) if spans.is_first_server(span) else origin
        else:
            # spans are given their page when they begin
            destination = None if origin.is_client is False else _destination_of_span(span, attributes)
            place = self._place(attributes, said, origin, destination, span.start_time, span.end_time)
            origin = metadata.with_device(origin, attributes) if origin.is_client else origin
        return _conversion(found, said, origin, place, partial(span_event_id, span.context))

    def log(self, log: LogItem, ids: LogEventIds) -> Conversion | DropReason:
        """Convert a log record. `ids` belongs to the export that the record is part of."""
        record = log.log_record
        attributes = taken(record.attributes)
        name = record.event_name or text(attributes, "event.name", "otel.event.name") or ""
        attributes = logs.with_body(name, attributes, record.body)
        origin = self._origin(log.resource, log.instrumentation_scope, is_client_event=metadata.is_client_event(name))
        if origin.is_own:
            return DropReason.SELF_TRAFFIC
        said = read(attributes, Said)
        if name == logs.END:
            return _conversion(Found([]), said, origin, NOWHERE, _no_id, ends_session=True)
        time_ns = known_ns(record.timestamp, record.observed_timestamp)
        found = logs.read(logs.Log(record, name, attributes, origin, time_ns), self._config)
        if self._config.convert is not None:
            found = hook.apply(self._config.convert, log, found, time_ns)
        if isinstance(found, DropReason):
            return found
        destination = text(attributes, "url.full", "navigation.url") if name in _PAGE_RECORDS else None
        # records are given their page when they are written, which may be long after what they tell of
        seen_ns = (
            time_ns - navigation.load_ns(attributes)
            if destination
            else known_ns(record.observed_timestamp, record.timestamp)
        )
        place = self._place(attributes, said, origin, destination, seen_ns)
        return _conversion(found, said, origin, place, partial(ids.next, record, said.session))

    def _origin(self, resource: ResourceItem, scope: ScopeItem | None, *, is_client_event: bool = False) -> Origin:
        """Return what resource and scope say, worked out once for each pair: items share these objects."""
        latest = self._latest
        if latest.resource is resource and latest.scope is scope and latest.is_client_event is is_client_event:
            return latest.origin
        key = (id(resource), id(scope), is_client_event)
        known = self._origins.get(key)
        if known is None or known.resource is not resource or known.scope is not scope:
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.clear()
            described = self._described
            if described.resource is not resource:  # once for all its scopes, of which there may be thousands
                of_resource = metadata.of_resource(self._config, resource)
                described = self._described = _Described(resource, of_resource, _is_small(of_resource.attributes))
            origin = metadata.origin(described.says, scope, is_client_event=is_client_event)
            known = _Known(origin, resource, scope, is_client_event)
            if described.is_small and (scope is None or _is_short(scope.name)):
                self._origins[key] = known
        self._latest = known
        return known.origin

    def _place(
        self, attributes: Attributes, said: Said, origin: Origin, destination: str | None, *seen_ns: int | None
    ) -> _Place:
        """Return page and domain where a client's item names its document or screen, or the page that it goes to.

        Of the times in `seen_ns` the first that is known says when the user was there.
        """
        url = destination or said.document_url
        if url is None and not origin.is_client and said.screen_title is None and self._custom_attributes.is_empty:
            return NOWHERE
        page = pages.page_id(url, self._config) if url else None
        if page is None and origin.is_client:
            page = mobile.screen_name(attributes, self._config)
        domain = metadata.page_domain(said.document_url, destination) if url and origin.is_client else None
        title = said.screen_title and privacy.text(said.screen_title, self._config)
        selected = self._custom_attributes.select(attributes, origin.attributes)
        return _Place(_page(page, title) if page or title else NO_PAGE, domain, selected, known_ns(*seen_ns))

    def _entry_place(self, attributes: Attributes, origin: Origin) -> _Place:
        """Return page and domain that a server was asked for."""
        page = pages.server_page_id(attributes, self._config)
        selected = self._custom_attributes.select(attributes, origin.attributes)
        return _Place(_page(page), hosts.server_domain(attributes), selected)


class _Known(Struct, frozen=True, gc=False):
    """An origin with the objects that it was worked out for, whose ids stay theirs as long as it is kept."""

    origin: Origin = NO_ORIGIN
    resource: ResourceItem | None = None
    scope: ScopeItem | None = None
    is_client_event: bool = False


class _Described(Struct, frozen=True, gc=False):
    """What a resource says, and whether that is little enough to be kept."""

    resource: ResourceItem | None = None
    says: metadata.OfResource = metadata.NOTHING_SAID
    is_small: bool = False


class _Place(Struct, frozen=True, gc=False):
    """What all events of an item share."""

    page: Page
    domain: str | None
    attributes: Mapping[str, Any]
    seen_ns: int = 0


_COMPLETED_LATER = (PageViewEvent, Deferred)

NOWHERE = _Place(NO_PAGE, None, NOTHING)

# records whose url.full is the page, not a request's target
_PAGE_RECORDS = ("browser.navigation", "browser.navigation_timing")


def _is_short(name: str | None) -> bool:
    return not name or len(name) <= _MAX_CHARACTERS


def _is_small(given: Attributes) -> bool:
    """Tell whether a resource may be kept: texts and numbers and lists of them, as SDKs make them, and few."""
    members = chain.from_iterable(value if type(value) in _LISTS else (value,) for value in given.values())
    values = [*given, *members]
    if not _PLAIN.issuperset(map(type, values)):
        return False
    return len(values) + sum(len(value) for value in values if isinstance(value, str)) <= _MAX_CHARACTERS


def _destination_of_span(span: SpanItem, attributes: Attributes) -> str | None:
    """Return the page that a span is about: on loads and interactions `url.full` is the page's."""
    is_of_page = span.name in ("documentLoad", "documentFetch") or "target_xpath" in attributes
    return text(attributes, "url.full", "http.url") if is_of_page else None


def _conversion(  # noqa: PLR0913 - what an item is made of
    found: Found, said: Said, origin: Origin, place: _Place, event_id: EventId, *, ends_session: bool = False
) -> Conversion | DropReason:
    """Return the conversion; the reason of a part that became nothing, if none became anything."""
    drafts, facts, reason = [], found.facts, DropReason.INCOMPLETE
    for part in found.parts:
        content = _content(part.details) if part.time_ns else None
        if content is None:
            reason = DropReason.TOO_LARGE if part.time_ns else DropReason.INCOMPLETE
            continue
        draft = _draft(part, place, content, event_id(part, content))
        drafts.append(draft)
        if part.known_as is not None:
            facts = {**facts, part.known_as: draft.id}
    if not drafts and not facts and not ends_session:
        return reason
    return Conversion(
        session=said.session or origin.session,
        user=said.user or origin.user,
        origin=origin,
        events=drafts,
        facts=facts,
        seen=_seen(place) if origin.is_client else None,
        previous_session=said.previous_session,
        ends_session=ends_session,
    )


def _draft(part: Part, place: _Place, content: str, event_id: str) -> Draft:
    # in the order of Draft's members, since names take a tenth of conversion's time
    return Draft(
        event_id,
        part.time_ns,
        part.details.type_,
        part.details if isinstance(part.details, _COMPLETED_LATER) else content,
        place.page,
        place.domain,
        place.attributes,
        part.once,
        part.is_limited,
    )


def _content(details: Details | CustomEvent | Deferred) -> str | None:
    """Return the details as JSON text that fits into an event, None if it cannot."""
    content = encode(details.details if isinstance(details, CustomEvent) else details)
    if utf8_bytes(content) <= MAX_EVENT_BYTES or isinstance(details, Deferred):
        return content
    return shrink(content, MAX_EVENT_BYTES)


def _page(page_id: str | None, title: str | None = None) -> Page:
    if not page_id and not title:
        return NO_PAGE
    known_id = clip(well_formed(page_id), pages.MAX_PAGE_ID) if page_id else UNSET
    return Page(pageId=known_id, title=clip(well_formed(title), metadata.MAX_STRING) if title else UNSET)


def _seen(place: _Place) -> tuple[int, str] | None:
    """Return when the user was on which page, where the item says so."""
    page_id = place.page.pageId
    return (place.seen_ns, page_id) if place.seen_ns and isinstance(page_id, str) else None


def _no_id(_part: Part, _content: str) -> str:
    raise AssertionError("there is no event")
