"""What is remembered of each session: its pages, its browser, its user, what was reported.

Bounded: the sessions that were idle longest are forgotten first. No lock and no clock: the pipeline has them.
"""

from __future__ import annotations

import hashlib
import sys
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Conversion, Draft, Once
from otel_rum_exporter.convert.ids import uuid_of
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import encode
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, Client, PageViewEvent, SessionStartEvent
from otel_rum_exporter.identity import NOBODY, ProcessSession, is_sampled, session_uuid, user_uuid
from otel_rum_exporter.timeline import Place, Timeline, Visit

START = SessionStartEvent.type_

_IDLE_S = 1800.0  # aws-rum-web's sessionLengthSeconds: a session that was quiet for so long is over
_MAX_NOTES = 256  # of a session: what it reported and what others need of it
_MAX_CALLS = 16  # starts and ends of the calls of one URL
_MAX_CLIENTS = 1024  # that sessions share
_NAME_BITS = 2**60 - 1
_SEEN, _SENT = "seen", "sent"
# nanoseconds: what servers say of a session comes after what its user's items say
_SERVER_RANK, _NO_RANK = 2**64, 2**65
# what a session takes, as measured with 100,000 of them: the session itself, a note, a visit
_SESSION_BYTES, _NOTE_BYTES, _VISIT_BYTES = 650, 90, 200
_LOOK_AHEAD_NS = 30_000_000_000  # how long before its record a hard load may have begun
_AFTER_END_S = 10.0  # for which a session that has ended is remembered: what happened before may arrive after


class Session(Struct, gc=False):
    """What is remembered of a session. There are many: what most of them do not need is made when it is needed."""

    seen_at: float
    timeline: Timeline = field(default_factory=Timeline)
    started: bool = False
    is_client: bool = False
    events: int = 0
    begun_ns: int | None = None  # the time of the earliest of the user's own items
    domain: str | None = None
    domain_rank: int = _NO_RANK
    user_id: str = NOBODY
    size: int = 0
    client: Client = NO_CLIENT  # the user's browser, by its own items
    caller: Client = NO_CLIENT  # the same as servers see it
    notes: dict[int, Any] | None = None
    """What items said that others need, what was reported and how many were sent, by the hashes of their names, which
    take a third of the memory."""


class SessionView(NamedTuple):
    """What a batch needs to know of its session, as of one moment; safe to read without a lock.

    `notes` may still grow; reading a single one is safe all the same.
    """

    places: Sequence[Place] = ()
    domain: str | None = None
    client: Client = NO_CLIENT
    caller: Client = NO_CLIENT
    begun_ns: int | None = None
    notes: Mapping[int, Any] = MappingProxyType({})

    def fact(self, key: Hashable) -> Any:
        """Return what items of the session said that others need, None if none did."""
        return self.notes.get(_name(key))

    def number_sent(self, kind: Hashable) -> int:
        """Return how many of a kind were sent, of which there may be only so many."""
        number: int = self.notes.get(_name((_SENT, kind)), 0)
        return number

    def place_at(self, time_ns: int) -> Place | None:
        """Return the page the user was on, None if that is not known.

        Just before a session's first page that is the first: a hard load is reported when it is done.
        """
        after = bisect_right(self.places, time_ns, key=lambda place: place.visit.time_ns)
        if after:
            return self.places[after - 1]
        first = self.places[0] if self.places else None
        is_load = first and first.interaction == 0 and first.visit.time_ns - time_ns <= _LOOK_AHEAD_NS
        return first if is_load else None

    def place_of(self, time_ns: int, page_id: str) -> Place | None:
        """Return the page that the view of this time came to, None if the user was on it already."""
        found = (each for each in self.places if each.visit.time_ns == time_ns and each.visit.page_id == page_id)
        return next((place for place in found if place.visit.is_view), None)


class BatchKey(NamedTuple):
    """Everything that a request says once. `client` is what the batch's items say of the user's device.

    `is_client` is None where neither the items nor their session have said so far whether they come from one.
    """

    monitor: AppMonitor
    session_id: str
    user_id: str
    is_client: bool | None
    client: Client


class Keyed(NamedTuple):
    """An event with whose it is."""

    key: BatchKey
    draft: Draft


class Sessions:
    """The sessions that this process has seen, the latest that `context_sessions` and `context_bytes` leave room for."""

    def __init__(self, config: RumConfig, process_session: ProcessSession) -> None:
        """Begin with no session. `process_session` is the one that items without a session join."""
        self._config = config
        self._process_session = process_session
        self._inherited: frozenset[str] = frozenset()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._size = 0
        self._clients: dict[Client, Client] = {}
        self._ended: deque[tuple[float, str]] = deque()
        self.serves_others = config.session == "require"
        self.forgotten = 0
        """How many sessions were forgotten to make room."""

    def __len__(self) -> int:
        return len(self._sessions)

    def view(self, session_id: str) -> SessionView:
        """Return what is remembered of a session: nothing, if it was forgotten."""
        session = self._sessions.get(session_id)
        if session is None:
            return SessionView()
        notes = {} if session.notes is None else session.notes
        timeline, client, caller = session.timeline.places, session.client, session.caller
        return SessionView(timeline, session.domain, client, caller, session.begun_ns, notes)

    def count_sent(self, session_id: str, kinds: Iterable[Hashable]) -> None:
        """Take note of what a batch holds of the kinds of which there may be only so many."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        for kind in kinds:
            _note(session, (_SENT, kind), (_noted(session, (_SENT, kind)) or 0) + 1)

    def start_none(self) -> None:
        """Take the process's sessions as started: a forked child goes on with its parent's."""
        self._inherited = self._process_session.known

    def admit(self, conversion: Conversion, monitor: AppMonitor, now: float) -> list[Keyed] | DropReason:
        """Give an item's events their session.

        Shape:  the item's events, perhaps with a session_start_event before them, less those reported before; none
                for an item that only completes others.
        Errors: NO_SESSION, SAMPLED_OUT, DUPLICATE when every event was reported before, LIMITED, UNMAPPED for the
                session's end.
        """
        conversion = self._owned(conversion)
        if conversion.session is None:
            return DropReason.NO_SESSION
        session_id = session_uuid(conversion.session, monitor.id)
        if not is_sampled(session_id, self._config.session_sample_rate):
            return DropReason.SAMPLED_OUT
        if conversion.ends_session:
            self._ended.append((now, session_id))
            self._forget_ended(now)
            return DropReason.UNMAPPED
        session = self._touch(session_id, now)
        self._learn(session, conversion, monitor)
        # an item may only complete others
        keyed = self._events(session, session_id, conversion, monitor) if conversion.events else []
        self._weigh(session)
        self._forget(now)
        return keyed

    def _events(
        self, session: Session, session_id: str, conversion: Conversion, monitor: AppMonitor
    ) -> list[Keyed] | DropReason:
        key = self._key(session, session_id, conversion, monitor)
        starts = [draft for draft in conversion.events if draft.type == START]
        drafts = [draft for draft in conversion.events if draft not in starts and _is_news(session, draft)]
        drafts = [*self._start(session, session_id, conversion, starts), *drafts]
        if not drafts:
            return DropReason.DUPLICATE
        session.events += len(drafts)
        limit = self._config.session_event_limit
        return DropReason.LIMITED if limit and session.events > limit else [Keyed(key, draft) for draft in drafts]

    def _owned(self, conversion: Conversion) -> Conversion:
        """Return the conversion with the process's session where it has none, and with the user of that."""
        session = conversion.session or (None if self.serves_others else self._process_session.join())
        user = conversion.user or (self._process_session.user_of(session) if session else None)
        if (session, user) == (conversion.session, conversion.user):
            return conversion
        return msgspec.structs.replace(conversion, session=session, user=user)

    def _touch(self, session_id: str, now: float) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(now)
        session.seen_at = now
        self._sessions.move_to_end(session_id)
        return session

    def _weigh(self, session: Session) -> None:
        size = _SESSION_BYTES + _NOTE_BYTES * len(session.notes or ()) + _VISIT_BYTES * len(session.timeline.visits)
        self._size += size - session.size
        session.size = size

    def _forget(self, now: float) -> None:
        while len(self._sessions) > self._config.context_sessions or self._is_too_large():
            self._size -= self._sessions.popitem(last=False)[1].size
            self.forgotten += 1
        oldest = next(iter(self._sessions))
        if now - self._sessions[oldest].seen_at > _IDLE_S:
            self._size -= self._sessions.pop(oldest).size
        self._forget_ended(now)

    def _is_too_large(self) -> bool:
        return self._size > self._config.context_bytes and len(self._sessions) > 1

    def _forget_ended(self, now: float) -> None:
        while self._ended and now - self._ended[0][0] > _AFTER_END_S:
            ended_at, session_id = self._ended.popleft()
            session = self._sessions.get(session_id)
            if session is not None and session.seen_at <= ended_at + _AFTER_END_S:
                self._size -= self._sessions.pop(session_id).size

    def _learn(self, session: Session, conversion: Conversion, monitor: AppMonitor) -> None:
        origin = conversion.origin
        session.is_client = session.is_client or bool(origin.is_client)
        if origin.client != NO_CLIENT and origin.is_client:
            session.client = self._shared(_merged(session.client, origin.client))
        elif origin.client != NO_CLIENT:
            session.caller = self._shared(origin.client)
        if conversion.previous_session and session.user_id == NOBODY:
            previous = self._sessions.get(session_uuid(conversion.previous_session, monitor.id))
            session.user_id = previous.user_id if previous else NOBODY
        for draft in conversion.events:
            _learn_when_and_where(session, draft, is_client=bool(origin.is_client))
            if isinstance(draft.details, PageViewEvent):
                page_id = sys.intern(draft.details.pageId)
                session.timeline.add(Visit(draft.time_ns, page_id, title=draft.page.title or ""))
        if conversion.seen:
            time_ns, page_id = conversion.seen
            session.timeline.add(Visit(time_ns, sys.intern(page_id), is_view=False))
        for name, fact in conversion.facts.items():
            # of the calls of a URL the latest
            before = (_noted(session, name) or ()) if _is_call(name) else ()
            _note(session, name, (*before, *fact)[-_MAX_CALLS:] if before else fact)

    def _shared(self, client: Client) -> Client:
        """Return the one object that all sessions with equal browsers share."""
        if len(self._clients) >= _MAX_CLIENTS:
            self._clients.clear()
        return self._clients.setdefault(client, client)

    def _key(self, session: Session, session_id: str, conversion: Conversion, monitor: AppMonitor) -> BatchKey:
        origin = conversion.origin
        if conversion.user:
            session.user_id = user_uuid(conversion.user, monitor.id, self._config.user_id_secret)
        # items that do not name their user or their device share the requests of those that do
        is_client = origin.is_client or (session.is_client or None if origin.is_client is None else False)
        client = session.client if is_client else NO_CLIENT if is_client is None else session.caller
        return BatchKey(monitor, session_id, session.user_id, is_client, client)

    def _start(self, session: Session, session_id: str, conversion: Conversion, explicit: list[Draft]) -> list[Draft]:
        """Return the session's start, once, at the first sight of a user's own item or of the process's session."""
        if session.started or self._config.session_start == "off" or conversion.session in self._inherited:
            return []
        is_own = conversion.origin.is_client or self._process_session.is_own(conversion.session)
        if not explicit and not (is_own and self._config.session_start == "first_seen"):
            return []
        session.started = True
        first = min(explicit or conversion.events, key=lambda draft: draft.time_ns)
        # the same id wherever the session is seen
        start_id = uuid_of(hashlib.sha256(b"session_start:" + session_id.encode()).digest()[:16])
        details = encode(SessionStartEvent())
        return [Draft(id=start_id, time_ns=first.time_ns, type=START, details=details, attributes=first.attributes)]


def _is_news(session: Session, draft: Draft) -> bool:
    """Tell whether this was not reported before. A metric that grows is news each time that it was reported later."""
    once = draft.once
    if once is None:
        return True
    name = (_SEEN, once.key)
    at_ns = once.reported_ns if once.latest else draft.time_ns
    before = _noted(session, name)
    if before is not None and (at_ns < before if once.latest else _is_near(once, at_ns - before)):
        return False
    _note(session, name, at_ns)
    return True


def _learn_when_and_where(session: Session, draft: Draft, *, is_client: bool) -> None:
    """Take note of when the session began and of its domain: the first that the user named, else that a server did."""
    if is_client and (session.begun_ns is None or draft.time_ns < session.begun_ns):
        session.begun_ns = draft.time_ns
    rank = draft.time_ns if is_client else draft.time_ns + _SERVER_RANK
    if draft.domain and rank < session.domain_rank:
        session.domain, session.domain_rank = sys.intern(draft.domain), rank


def _merged(old: Client, new: Client) -> Client:
    """Return what is known of a device: the latest word on each member."""
    return new if old == NO_CLIENT else Client(**{
        name: getattr(new, name) if getattr(new, name) is not msgspec.UNSET else getattr(old, name)
        for name in Client.__struct_fields__
    })  # fmt: skip


def _name(name: Hashable) -> int:
    """Return a name as notes have it: larger integers take more memory."""
    return hash(name) & _NAME_BITS


def _note(session: Session, name: Hashable, value: Any) -> None:
    """Remember a value; the oldest is forgotten when there are too many."""
    if session.notes is None:
        session.notes = {}
    session.notes.pop(_name(name), None)
    session.notes[_name(name)] = value
    if len(session.notes) > _MAX_NOTES:
        del session.notes[next(iter(session.notes))]


def _noted(session: Session, name: Hashable) -> Any:
    return session.notes.get(_name(name)) if session.notes else None


def _is_call(name: Hashable) -> bool:
    return isinstance(name, tuple) and name[0] == "call"


def _is_near(once: Once, distance_ns: int) -> bool:
    return once.within_ns is None or abs(distance_ns) <= once.within_ns
