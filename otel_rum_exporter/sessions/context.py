"""What is remembered of one session: its pages, its browser, its users, its notes."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from otel_rum_exporter.convert.conversion import NOTHING, CustomAttributes, Draft, Once
from otel_rum_exporter.events import NO_CLIENT, Client
from otel_rum_exporter.sessions.identity import NOBODY
from otel_rum_exporter.sessions.notes import NO_NOTES, Notes
from otel_rum_exporter.sessions.timeline import Place, Timeline, Visit

_MAX_USERS = 16
# nanoseconds: what servers say of a session comes after what its user's items say
_SERVER_RANK, _NO_RANK = 2**64, 2**65
# what a session takes, as measured with 100,000 of them: the session itself, an attribute, a visit, a user
_SESSION_BYTES, _ATTRIBUTE_BYTES, _VISIT_BYTES, _USER_BYTES = 600, 170, 200, 270
_LOOK_AHEAD_NS = 30_000_000_000  # how long before its record a hard load may have begun


class Stay(Struct, frozen=True, order=True, gc=False):
    """The user as whom a session's items were seen, from the first to the last moment that is known."""

    first_ns: int
    last_ns: int
    user_id: str


class Session(Struct, gc=False):
    """What is remembered of a session. There are many: what most of them do not need is made when it is needed."""

    seen_at: float
    visits: tuple[Visit, ...] = ()  # a timeline's members, which alone take less
    forgotten: int = 0
    started: bool = False
    is_client: bool = False
    events: int = 0
    begun_ns: int | None = None  # the time of the earliest of the user's own events
    begun_with: CustomAttributes = NOTHING  # that event's
    domain: str | None = None
    domain_rank: int = _NO_RANK
    users: tuple[Stay, ...] = ()
    client: Client = NO_CLIENT  # the user's browser, by its own items
    caller: Client = NO_CLIENT  # the same as servers see it
    user: int | None = None  # the hash of the name in the last item that had one, and the id of that name
    user_id: str | None = None
    notes: Notes = NO_NOTES
    size: int = _SESSION_BYTES
    """What the session takes. Units: bytes, estimated."""

    def view(self) -> SessionView:
        """Return what a batch needs to know of the session."""
        places = Timeline(self.visits, self.forgotten).places
        return SessionView(
            places, self.domain, self.client, self.caller, self.begun_ns, self.begun_with, self.notes, self.users
        )

    # what items say

    def learn_when_and_where(self, draft: Draft, *, is_client: bool) -> None:
        """Take note of when it began and of its domain: the first that the user named, else that a server did."""
        if is_client and (self.begun_ns is None or draft.time_ns <= self.begun_ns):
            is_tie = draft.time_ns == self.begun_ns
            begun_with = min(self.begun_with, draft.attributes, key=_text) if is_tie else draft.attributes
            self.size += _ATTRIBUTE_BYTES * (len(begun_with) - len(self.begun_with))
            self.begun_with = begun_with or NOTHING
            self.begun_ns = draft.time_ns
        if draft.domain:
            rank = draft.time_ns if is_client else draft.time_ns + _SERVER_RANK
            if rank < self.domain_rank:
                self.domain, self.domain_rank = sys.intern(draft.domain), rank

    def learn_visit(self, visit: Visit) -> None:
        """Take note of a page that the user came to, or was seen on."""
        number = len(self.visits)
        self.visits, self.forgotten = Timeline(self.visits, self.forgotten).with_visit(visit)
        self.size += _VISIT_BYTES * (len(self.visits) - number)

    def tell_pages(self, time_ns: int) -> None:
        """Keep the numbers of the pages up to the one that began at a moment: an event on it is about to be sent."""
        self.visits, self.forgotten = Timeline(self.visits, self.forgotten).told(time_ns)

    def learn_user(self, user_id: str, first_ns: int, last_ns: int) -> None:
        """Take note of the user that an item names. Of two that alternate within a moment the order may be lost."""
        latest = self.users[-1] if self.users else None
        if latest is None or latest.user_id != user_id or first_ns < latest.first_ns:
            users = _with(self.users, Stay(first_ns, last_ns, user_id))[-_MAX_USERS:]
            self.size += _USER_BYTES * (len(users) - len(self.users))
            self.users = users
        elif last_ns > latest.last_ns:
            self.users = (*self.users[:-1], Stay(latest.first_ns, last_ns, user_id))

    def learn_fact(self, key: Hashable, fact: Any) -> None:
        """Take note of what other items need."""
        self._note(self.notes.with_fact(key, fact))

    def is_news(self, draft: Draft) -> bool:
        """Tell whether this was not reported before. A metric that grows is news each time that it was reported later."""
        once = draft.once
        if once is None:
            return True
        is_latest = once.counts == "latest"
        at_ns = once.reported_ns if is_latest else draft.time_ns
        before = self.notes.seen_ns(once.key)
        if before is not None and (at_ns < before if is_latest else is_near(once, at_ns - before)):
            return False
        self._note(self.notes.with_seen(once.key, at_ns))
        return True

    def is_earlier(self, draft: Draft) -> bool:
        """Tell whether this counts instead of what was reported before, if that was not sent yet: as it has a later time.

        Of a metric each report counts instead of the one before.
        """
        once = draft.once
        if once is None or once.counts == "latest":
            return False
        if once.counts == "last_waiting":
            return True
        before = self.notes.seen_ns(once.key)
        if before is None or draft.time_ns >= before:
            return False
        self._note(self.notes.with_seen(once.key, draft.time_ns))
        return True

    def count_sent(self, kind: Hashable) -> None:
        """Take note of an event of which there may be only so many."""
        self._note(self.notes.with_sent(kind))

    def _note(self, notes_and_growth: tuple[Notes, int]) -> None:
        self.notes, growth = notes_and_growth
        self.size += growth


class SessionView(NamedTuple):
    """What a batch needs to know of its session, as of one moment; safe to read without a lock."""

    places: Sequence[Place] = ()
    domain: str | None = None
    client: Client = NO_CLIENT
    caller: Client = NO_CLIENT
    begun_ns: int | None = None
    begun_with: CustomAttributes = NOTHING
    notes: Notes = NO_NOTES
    users: Sequence[Stay] = ()

    def fact(self, key: Hashable) -> Any:
        """Return what items of the session said that others need, None if none did."""
        return self.notes.fact(key)

    def number_sent(self, kind: Hashable) -> int:
        """Return how many of a kind were sent, of which there may be only so many."""
        return self.notes.number_sent(kind)

    def user_at(self, time_ns: int) -> str:
        """Return the user of a moment, as of the last item until then that named one."""
        if not self.users:
            return NOBODY
        index = bisect_right(self.users, time_ns, key=lambda stay: stay.first_ns)
        return self.users[index - 1].user_id if index else NOBODY

    def place_at(self, time_ns: int) -> Place | None:
        """Return the page the user was on, None if that is not known.

        Just before a session's first page that is the first: a hard load is reported when it is done.
        """
        if not self.places:
            return None
        after = bisect_right(self.places, time_ns, key=lambda place: place.visit.time_ns)
        if after:
            return self.places[after - 1]
        first = self.places[0]
        is_load = first.interaction == 0 and first.visit.time_ns - time_ns <= _LOOK_AHEAD_NS
        return first if is_load else None

    def place_of(self, time_ns: int, page_id: str) -> Place | None:
        """Return the page that the view of this time came to, None if the user was on it already."""
        found = (each for each in self.places if each.visit.time_ns == time_ns and each.visit.page_id == page_id)
        return next((place for place in found if place.visit.is_view), None)


def _text(attributes: CustomAttributes) -> str:
    return repr(sorted(attributes.items()))


def merged(old: Client, new: Client) -> Client:
    """Return what is known of a device: the latest word on each member."""
    return new if old in (NO_CLIENT, new) else Client(**{
        name: getattr(new, name) if getattr(new, name) is not msgspec.UNSET else getattr(old, name)
        for name in Client.__struct_fields__
    })  # fmt: skip


def is_near(once: Once, distance_ns: int) -> bool:
    """Tell whether two reports of one key are of one event, by how far apart they are."""
    return once.within_ns is None or abs(distance_ns) <= once.within_ns


def _with(users: Sequence[Stay], stay: Stay) -> tuple[Stay, ...]:
    """Return the stays with one more, in the order of time; neighbours of one user are one stay."""
    parts: list[Stay] = []
    for each in sorted([*_around(users, stay.first_ns), stay]):
        before = parts[-1] if parts else None
        if before and before.user_id == each.user_id:
            parts[-1] = Stay(before.first_ns, max(before.last_ns, each.last_ns), each.user_id)
        else:
            parts.append(each)
    return tuple(parts)


def _around(users: Sequence[Stay], time_ns: int) -> list[Stay]:
    """Return the stays, the one that a moment lies in cut in two: its first moment and its last are known."""
    parts = []
    for each in users:
        is_cut = each.first_ns < time_ns < each.last_ns
        parts += [Stay(ns, ns, each.user_id) for ns in (each.first_ns, each.last_ns)] if is_cut else [each]
    return parts
