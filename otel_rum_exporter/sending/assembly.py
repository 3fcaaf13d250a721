"""Queued events and what is known of their session become a batch: pages, metadata, order, size.

Pages are resolved here and not when an event arrives, since the record of a page may arrive after its events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import NOTHING, Deferred, Draft
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import encode, shrink, utf8_bytes, wire_bytes
from otel_rum_exporter.events import MAX_EVENT_BYTES, NO_CLIENT, Batch, Details, Page, PageViewEvent, RumEvent
from otel_rum_exporter.sending.batching import ENVELOPE_BYTES, Queued
from otel_rum_exporter.sending.delivery import Rejection
from otel_rum_exporter.sessions.context import SessionView
from otel_rum_exporter.sessions.session import START, BatchKey
from otel_rum_exporter.sessions.timeline import Place

NO_DOMAIN = "localhost"
"""The domain of sessions whose items name no page; app monitors check it, so users should set their own."""

_VERSION = "1.0.0"
_PLATFORM = "web"  # the only one that aws-rum-web sends


class Assembled(NamedTuple):
    """A batch, or None if nothing was left of it.

    Shape:  every queued event is in `written`, in the order of the batch's events, in `dropped`, in `rejected` if it is
            too large, or in `left`, once; `counted` is what the batch holds of the kinds of which a session or a page
            may have only so many.
    """

    batch: Batch | None
    written: list[Queued]
    dropped: list[tuple[Queued, DropReason]]
    rejected: list[Rejection]
    left: list[Queued]
    lacks_domain: bool
    counted: Counter[Hashable]


def assemble(queued: list[Queued], session: SessionView, config: RumConfig, *, session_metadata: bool) -> Assembled:
    """Build the batch of events with the same key, and of one user: a session in which another logs in is two batches.

    Args:
        queued: The events, at least one.
        session: What is remembered of their session.
        config: `domain`, `release_id` and `max_bytes` count.
        session_metadata: Whether the service's model knows SessionMetadata; else each event carries all of it.

    Errors: TOO_LARGE for an event that does not fit with its metadata, DUPLICATE for a view of the page that the user
            is on already and for what other items told of, LIMITED, INCOMPLETE. Events beyond `max_bytes`, and those
            of other users than the first's, are left for the next batch.
    """
    key = queued[0].key
    in_order = sorted(queued, key=_order)
    start_ns = _begun_ns(in_order) if session.begun_ns is None else session.begun_ns
    users = [each.user_id or session.user_at(_time_ns(each.draft, start_ns)) for each in in_order]
    domain = config.domain or session.domain or _first_domain(queued)
    shared = _shared_metadata(key, session, config, domain or NO_DOMAIN)
    batch = Batch(
        batch_id=str(uuid4()),
        monitor=key.monitor,
        session_id=key.session_id,
        user_id=users[0],
        session_metadata=encode(shared) if session_metadata else None,
        events=(),
    )
    room = config.max_bytes - len(msgspec.json.encode(batch.request()))
    writer = _Writer(session, config, shared, start_ns, room, session_metadata=session_metadata)
    for each, user_id in zip(in_order, users, strict=True):
        writer.write(each, is_wanted=user_id == users[0])
    full = msgspec.structs.replace(batch, events=tuple(writer.events)) if writer.events else None
    return Assembled(full, writer.written, writer.dropped, writer.rejected, writer.left, domain is None, writer.counted)


class _Metadata(Struct, frozen=True, gc=False):
    """The metadata of an event as JSON text, with its size there and as a string in a request body, in bytes."""

    content: str
    utf8_bytes: int
    wire_bytes: int


class _Writer:
    """Writes events one after the other, until the request is full."""

    def __init__(  # noqa: PLR0913 - what a batch shares
        self,
        session: SessionView,
        config: RumConfig,
        shared: dict[str, object],
        start_ns: int,
        room: int,
        *,
        session_metadata: bool,
    ) -> None:
        self.events: list[RumEvent] = []
        self.written: list[Queued] = []
        self.rejected: list[Rejection] = []
        self.dropped: list[tuple[Queued, DropReason]] = []
        self.left: list[Queued] = []
        self.counted: Counter[Hashable] = Counter()
        self._session = session
        self._start_ns = start_ns  # a session begins before anything else in it
        self._domain = shared["domain"]
        self._pinned = config.domain is not None
        self._image_limit = config.resource_image_limit
        self._in_event = {} if session_metadata else shared
        self._room = room
        self._is_full = False
        self._known: dict[Hashable, _Metadata] = {}
        """The metadata of events that name nothing of their own, by where they were: most of a batch have the same."""

    def write(self, queued: Queued, *, is_wanted: bool = True) -> None:
        if self._is_full or not is_wanted:
            self.left.append(queued)
            return
        draft = queued.draft
        if draft.type == START:
            draft = self._begun(draft)
        if isinstance(draft.details, str) and not draft.is_limited:
            self._write(queued, draft, self._session.place_at(draft.time_ns), draft.details, queued.size)
            return
        place, details = self._resolved(draft)
        counted = _counted(draft, place)
        if counted is not None and self._number(counted) >= self._limit(draft):
            details = DropReason.LIMITED if draft.is_limited else DropReason.DUPLICATE
        if isinstance(details, DropReason):
            self.dropped.append((queued, details))
            return
        content = details if isinstance(details, str) else encode(details)
        is_written = self._write(queued, draft, place, content, ENVELOPE_BYTES + wire_bytes(content))
        if is_written and counted is not None:
            self.counted[counted] += 1

    def _write(self, queued: Queued, draft: Draft, place: Place | None, content: str, size: int) -> bool:
        """Write an event whose details are known. Returns False if it was too large, or the request is full.

        `size` is what it takes at most of the request, besides its metadata. Units: bytes.
        """
        metadata = self._metadata(draft, place)
        # most are known to fit without being measured again
        is_small = size + metadata.utf8_bytes <= MAX_EVENT_BYTES
        fitting = content if is_small else _fitting(content, metadata)
        if fitting is None and draft.attributes:  # custom attributes are worth less than the event
            metadata = self._metadata(msgspec.structs.replace(draft, attributes=NOTHING), place)
            fitting = _fitting(content, metadata)
        if fitting is None:
            event = _event(draft, content, "{}")
            self.rejected.append(Rejection(queued, event, "more than 6,144 bytes", DropReason.TOO_LARGE))
            return False
        self._room -= size + metadata.wire_bytes
        # one event alone always fits: it has at most 6,144 bytes
        if self._room < 0 and self.events:
            self._is_full = True
            self.left.append(queued)
            return False
        self.events.append(_event(draft, fitting, metadata.content))
        self.written.append(queued)
        return True

    def _begun(self, start: Draft) -> Draft:
        """Return a session's start as what it began with, and when, whichever event told of it first."""
        if self._session.begun_ns is None:
            return msgspec.structs.replace(start, time_ns=self._start_ns)
        return msgspec.structs.replace(start, time_ns=self._start_ns, attributes=self._session.begun_with)

    def _resolved(self, draft: Draft) -> tuple[Place | None, str | Details | DropReason]:
        """Return an event's place and its details, or why there are none."""
        if isinstance(draft.details, PageViewEvent):
            return self._page_view(draft.time_ns, draft.details)
        place = self._session.place_at(draft.time_ns)
        details = draft.details.resolve(self._session) if isinstance(draft.details, Deferred) else draft.details
        return place, details

    def _number(self, kind: Hashable) -> int:
        return self._session.number_sent(kind) + self.counted[kind]

    def _limit(self, draft: Draft) -> int:
        return self._image_limit if draft.is_limited else 1

    def _page_view(self, time_ns: int, view: PageViewEvent) -> tuple[Place | None, PageViewEvent | DropReason]:
        """Return the view with its place in the session, DUPLICATE if the user was on that page already."""
        place, places = self._session.place_of(time_ns, view.pageId), self._session.places
        if place is not None:
            return place, _view(view, place)
        # of what is older than the pages that are known it is not known where it belongs
        is_known = places and places[0].visit.time_ns <= time_ns
        return None, DropReason.DUPLICATE if is_known else view

    def _metadata(self, draft: Draft, place: Place | None) -> _Metadata:
        if draft.attributes or isinstance(draft.details, PageViewEvent):
            return _measured(encode(self._members(draft, place)))
        key = (id(place), draft.page, draft.domain)  # the session's view keeps its places
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _measured(encode(self._members(draft, place)))
        return known

    def _members(self, draft: Draft, place: Place | None) -> dict[str, object]:
        metadata: dict[str, object] = {**draft.attributes, **self._in_event, "version": _VERSION}
        if draft.domain and draft.domain != self._domain and not self._pinned:
            metadata["domain"] = draft.domain
        # what a view's item says of the page may be of the one before
        own = draft.page
        if isinstance(draft.details, PageViewEvent):
            own = msgspec.structs.replace(own, pageId=draft.details.pageId)
        page = _page(own, place)
        metadata.update(msgspec.to_builtins(page))
        return metadata


def _begun_ns(in_order: list[Queued]) -> int:
    """Return the time of the earliest event. The first in order is that, unless it is a session's start."""
    first = in_order[0].draft
    return min(each.draft.time_ns for each in in_order) if first.type == START else first.time_ns


def _time_ns(draft: Draft, start_ns: int) -> int:
    """Return an event's time: a session's start is when its first item was."""
    return start_ns if draft.type == START else draft.time_ns


def _event(draft: Draft, details: str, metadata: str) -> RumEvent:
    timestamp = round(draft.time_ns / 1e6) / 1e3
    return RumEvent(id=draft.id, timestamp=timestamp, type=draft.type, details=details, metadata=metadata)


def _measured(metadata: str) -> _Metadata:
    return _Metadata(metadata, utf8_bytes(metadata), wire_bytes(metadata))


def _fitting(content: str, metadata: _Metadata) -> str | None:
    """Return the details, cut as far as an event's size asks for; None if that is not far enough."""
    room = MAX_EVENT_BYTES - metadata.utf8_bytes
    return content if utf8_bytes(content) <= room else shrink(content, room)


def _order(queued: Queued) -> tuple[int, int]:
    """Order by time; at the same time the session's start stands first, then the page, then what happened on it."""
    draft = queued.draft
    if draft.type == START:
        return (0, 0)
    return (draft.time_ns, 1 if isinstance(draft.details, PageViewEvent) else 2)


def _first_domain(queued: list[Queued]) -> str | None:
    return next((each.draft.domain for each in queued if each.draft.domain), None)


def _shared_metadata(key: BatchKey, session: SessionView, config: RumConfig, domain: str) -> dict[str, object]:
    # of the user's own device what is known by now; items of servers may be of different callers
    first, second = (key.client, session.caller) if key.is_client is False else (session.client, key.client)
    client = second if first == NO_CLIENT else first
    metadata: dict[str, object] = {"version": _VERSION, "domain": domain, "platformType": _PLATFORM}
    metadata.update(msgspec.to_builtins(client))
    if config.release_id:
        metadata["aws:releaseId"] = config.release_id
    return metadata


def _counted(draft: Draft, place: Place | None) -> Hashable | None:
    """Return what an event is counted as, of which there may be only so many."""
    if draft.is_limited:
        return ("limited", place and place.interaction)
    is_view = isinstance(draft.details, PageViewEvent)
    if not is_view or place is None:
        return None
    # what came too late for a number is known by its time
    number = ("late", place.visit.time_ns) if place.interaction is None else place.interaction
    return ("view", number, place.visit.page_id)


def _page(own: Page, place: Place | None) -> Page:
    """Return the page that an item names itself, else the one that its session was on."""
    if place is None or own.pageId not in (UNSET, place.visit.page_id):
        return own
    return Page(
        pageId=place.visit.page_id,
        interaction=UNSET if place.interaction is None else place.interaction,
        parentPageId=place.parent.page_id if place.parent else UNSET,
        title=place.visit.title or UNSET,
    )


def _view(view: PageViewEvent, place: Place) -> PageViewEvent:
    """Return the view with its place among the session's pages. Source: aws-rum-web 3.2, PageManager."""
    number, parent = place.interaction, place.parent
    if number is None:
        return PageViewEvent(pageId=view.pageId)
    if parent is None:
        return PageViewEvent(pageId=view.pageId, interaction=number, pageInteractionId=f"{view.pageId}-{number}")
    return PageViewEvent(
        pageId=view.pageId,
        interaction=number,
        pageInteractionId=f"{view.pageId}-{number}",
        parentPageInteractionId=f"{parent.page_id}-{number - 1}",
        timeOnParentPage=round((place.visit.time_ns - parent.time_ns) / 1e6),
    )
