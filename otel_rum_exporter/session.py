"""What is remembered of each session: its pages, its browser, its user, what was reported.

Bounded: the sessions that were idle longest are forgotten first. No lock and no clock: the pipeline has them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
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
_MAX_SEEN = 128  # exceptions and web vitals remembered of a session
_MAX_FACTS = 128  # of a session
_MAX_CALLS = 8  # of one URL
_MAX_SENT = 64  # counts of a session's pages
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
    domain_rank: tuple[bool, int] | None = None
    user_id: str = NOBODY
    client: Client = NO_CLIENT  # the user's browser, by its own items
    caller: Client = NO_CLIENT  # the same as servers see it
    seen: dict[Hashable, int] | None = None
    facts: dict[Hashable, Any] | None = None
    sent: dict[Hashable, int] | None = None


class SessionView(NamedTuple):
    """What a batch needs to know of its session, as of one moment; safe to read without a lock.

    `sent` counts what was sent of the kinds that there may be only so many of. It is the session's own: one batch of a
    session is built at a time.
    """

    places: Sequence[Place] = ()
    domain: str | None = None
    client: Client = NO_CLIENT
    caller: Client = NO_CLIENT
    begun_ns: int | None = None
    facts: Mapping[Hashable, Any] = MappingProxyType({})
    sent: dict[Hashable, int] | None = None

    def fact(self, key: Hashable) -> Any:
        """Return what items of the session said that others need, None if none did."""
        return self.facts.get(key)

    def number_sent(self, kind: Hashable) -> int:
        """Return how many of a kind were sent."""
        return self.sent.get(kind, 0) if self.sent else 0

    def count_sent(self, kind: Hashable) -> None:
        """Count one of a kind as sent; of what was sent long ago it is forgotten how many there were."""
        if self.sent is None:
            return
        self.sent[kind] = self.sent.pop(kind, 0) + 1
        if len(self.sent) > _MAX_SENT:
            del self.sent[next(iter(self.sent))]

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

    def place_of(self, visit: Visit) -> Place | None:
        """Return the page that this visit came to, None if the user was on it already."""
        return next((place for place in self.places if place.visit[:3] == visit[:3]), None)


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
    """The sessions that this process has seen, the latest `context_sessions` of them."""

    def __init__(self, config: RumConfig, process_session: ProcessSession) -> None:
        """Begin with no session. `process_session` is the one that items without a session join."""
        self._config = config
        self._process_session = process_session
        self._inherited: frozenset[str] = frozenset()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
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
            return SessionView(sent={})
        session.sent = {} if session.sent is None else session.sent
        return SessionView(
            session.timeline.places,
            session.domain,
            session.client,
            session.caller,
            session.begun_ns,
            session.facts or {},
            session.sent,
        )

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
        return self._events(session, session_id, conversion, monitor) if conversion.events else []

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
            self._forget(now)
        session.seen_at = now
        self._sessions.move_to_end(session_id)
        return session

    def _forget(self, now: float) -> None:
        while len(self._sessions) > self._config.context_sessions:
            self._sessions.popitem(last=False)
            self.forgotten += 1
        oldest = next(iter(self._sessions))
        if now - self._sessions[oldest].seen_at > _IDLE_S:
            del self._sessions[oldest]
        self._forget_ended(now)

    def _forget_ended(self, now: float) -> None:
        while self._ended and now - self._ended[0][0] > _AFTER_END_S:
            ended_at, session_id = self._ended.popleft()
            session = self._sessions.get(session_id)
            if session is not None and session.seen_at <= ended_at + _AFTER_END_S:
                del self._sessions[session_id]

    def _learn(self, session: Session, conversion: Conversion, monitor: AppMonitor) -> None:
        origin = conversion.origin
        session.is_client = session.is_client or bool(origin.is_client)
        if origin.client != NO_CLIENT and origin.is_client:
            session.client = _merged(session.client, origin.client)
        elif origin.client != NO_CLIENT:
            session.caller = origin.client
        if conversion.previous_session and session.user_id == NOBODY:
            previous = self._sessions.get(session_uuid(conversion.previous_session, monitor.id))
            session.user_id = previous.user_id if previous else NOBODY
        for draft in conversion.events:
            _learn_when_and_where(session, draft, is_client=bool(origin.is_client))
            if isinstance(draft.details, PageViewEvent):
                session.timeline.add(Visit(draft.time_ns, draft.details.pageId, title=draft.page.title or ""))
        if conversion.seen:
            session.timeline.add(Visit(*conversion.seen, is_view=False))
        for name, fact in conversion.facts.items():
            _remember(session, name, fact)

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
    seen = session.seen = {} if session.seen is None else session.seen
    at_ns = once.reported_ns if once.latest else draft.time_ns
    before = seen.get(once.key)
    if before is not None and (at_ns < before if once.latest else _is_near(once, at_ns - before)):
        return False
    seen[once.key] = at_ns
    if len(seen) > _MAX_SEEN:
        del seen[next(iter(seen))]
    return True


def _learn_when_and_where(session: Session, draft: Draft, *, is_client: bool) -> None:
    """Take note of when the session began and of its domain: the first that the user named, else that a server did."""
    if is_client and (session.begun_ns is None or draft.time_ns < session.begun_ns):
        session.begun_ns = draft.time_ns
    rank = (not is_client, draft.time_ns)
    if draft.domain and (session.domain_rank is None or rank < session.domain_rank):
        session.domain, session.domain_rank = draft.domain, rank


def _merged(old: Client, new: Client) -> Client:
    """Return what is known of a device: the latest word on each member."""
    return new if old == NO_CLIENT else Client(**{
        name: getattr(new, name) if getattr(new, name) is not msgspec.UNSET else getattr(old, name)
        for name in Client.__struct_fields__
    })  # fmt: skip


def _remember(session: Session, name: Hashable, fact: Any) -> None:
    """Keep a fact; of the calls of a URL the latest few."""
    facts = session.facts = {} if session.facts is None else session.facts
    before = facts.pop(name, None)
    facts[name] = (*before, *fact)[-_MAX_CALLS:] if _is_call(name) and before else fact
    if len(facts) > _MAX_FACTS:
        del facts[next(iter(facts))]


def _is_call(name: Hashable) -> bool:
    return isinstance(name, tuple) and name[0] == "call"


def _is_near(once: Once, distance_ns: int) -> bool:
    return once.within_ns is None or abs(distance_ns) <= once.within_ns
