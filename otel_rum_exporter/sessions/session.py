"""Whose an item's events are: each joins its session, which is remembered with what it says of it.

Bounded: the sessions that were idle longest are forgotten first. No lock and no clock: the pipeline has them.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable

from msgspec import Struct

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Conversion, Draft, Origin
from otel_rum_exporter.convert.ids import uuid_of
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import encode
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, Client, PageViewEvent, SessionStartEvent
from otel_rum_exporter.sessions.context import Session, SessionView, merged
from otel_rum_exporter.sessions.identity import ProcessSession, is_sampled, session_uuid, user_uuid
from otel_rum_exporter.sessions.timeline import Visit

START = SessionStartEvent.type_

_IDLE_S = 1800.0  # aws-rum-web's sessionLengthSeconds: a session that was quiet for so long is over
_MAX_CLIENTS = 1024  # that sessions share
_AFTER_END_S = 10.0  # for which a session that has ended is remembered at least: what happened before may arrive after
_ALWAYS_NS = -(2**80)  # before any item


class BatchKey(Struct, frozen=True, gc=False, cache_hash=True):
    """What a request says once, but for the user. `client` is what the batch's items say of the user's device.

    `is_client` is None where neither the items nor their session have said so far whether they come from one.
    """

    monitor: AppMonitor
    session_id: str
    is_client: bool | None
    client: Client

    @property
    def context(self) -> str:
        """What its session is remembered as: app monitors may have sessions of the same id, and share nothing of them."""
        return self.monitor.id + self.session_id


class Keyed(Struct, frozen=True, gc=False):
    """An event with whose it is.

    `user_id` is None where the item names no user: then it is the one that the session has at the event's time.
    `is_earlier` says that the same was reported already, and that this counts instead if that was not sent yet.
    """

    key: BatchKey
    draft: Draft
    user_id: str | None = None
    is_earlier: bool = False


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
        # what waits for its batch still needs it
        self._after_end_s = min(max(_AFTER_END_S, config.max_age_s), _IDLE_S)
        self._ended: OrderedDict[str, float] = OrderedDict()  # when, the latest last
        self.serves_others = config.session == "require"
        self.forgotten = 0
        """How many sessions were forgotten to make room."""

    def __len__(self) -> int:
        return len(self._sessions)

    def view(self, context: str) -> SessionView:
        """Return what is remembered of a session, by its keys' `context`: nothing, if it was forgotten."""
        session = self._sessions.get(context)
        return SessionView() if session is None else session.view()

    def tell(self, context: str, time_ns: int) -> SessionView:
        """Return the same for a batch whose last event is of a moment: what it says of pages is kept."""
        view = self.view(context)
        place = view.place_at(time_ns)
        if place is not None:
            self._sessions[context].tell_pages(place.visit.time_ns)
        return view

    def count_sent(self, context: str, kinds: Iterable[Hashable]) -> None:
        """Take note of what a batch holds of the kinds of which there may be only so many."""
        session = self._sessions.get(context)
        if session is not None:
            for kind in kinds:
                session.count_sent(kind)

    def recall(self, keyed: Keyed, now: float) -> None:
        """Learn of a session by an event that comes from disk; it has begun already."""
        session = self._touch(keyed.key.context, now)
        before = session.size
        session.started = True
        session.learn_when_and_where(keyed.draft, is_client=bool(keyed.key.is_client))
        if isinstance(keyed.draft.details, PageViewEvent):
            session.learn_visit(_visit(keyed.draft, keyed.draft.details))
        if keyed.user_id is not None:
            session.learn_user(keyed.user_id, keyed.draft.time_ns, keyed.draft.time_ns)
        self._size += session.size - before
        self._forget(now)

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
        given_session = conversion.session or (None if self.serves_others else self._process_session.join())
        if given_session is None:
            return DropReason.NO_SESSION
        user = conversion.user or self._process_session.user_of(given_session)
        # an id in the API's form is its own
        session_id, context = given_session, monitor.id + given_session
        if context not in self._sessions:
            session_id = session_uuid(given_session, monitor.id)
            context = context if session_id is given_session else monitor.id + session_id
        rate = self._config.session_sample_rate
        if rate < 1.0 and not is_sampled(session_id, rate):
            return DropReason.SAMPLED_OUT
        if conversion.ends_session:
            self._end(context, now)
            return DropReason.UNMAPPED
        session = self._touch(context, now)
        before = session.size
        user_id = self._user_id(session, user, monitor)
        self._learn(session, conversion, monitor, user_id)
        keyed: list[Keyed] | DropReason = []
        if conversion.events:  # an item may only complete others
            key = self._key(session, session_id, conversion.origin, monitor)
            start = None if session.started else self._start(session, session_id, given_session, conversion)
            keyed = self._events(session, key, conversion, user_id, start)
        self._size += session.size - before
        self._forget(now)
        return keyed

    def _events(
        self, session: Session, key: BatchKey, conversion: Conversion, user_id: str | None, start: Draft | None
    ) -> list[Keyed] | DropReason:
        # a start is of whoever the user was then, whichever item came first
        events = [] if start is None else [Keyed(key, start)]
        session.events += len(events)
        for draft in conversion.events:
            if draft.type == START:
                continue
            is_news = draft.once is None or session.is_news(draft)
            if is_news or session.is_earlier(draft):
                events.append(Keyed(key, draft, user_id, not is_news))
                session.events += is_news
        if not events:
            return DropReason.DUPLICATE
        limit = self._config.session_event_limit
        return DropReason.LIMITED if limit and session.events > limit else events

    def _touch(self, context: str, now: float) -> Session:
        session = self._sessions.get(context)
        if session is None:
            session = self._sessions[context] = Session(now)
            self._size += session.size
        else:
            session.seen_at = now
            self._sessions.move_to_end(context)
        return session

    def _forget(self, now: float) -> None:
        sessions, most = self._sessions, self._config.context_sessions
        while len(sessions) > most or (self._size > self._config.context_bytes and len(sessions) > 1):
            self._size -= sessions.popitem(last=False)[1].size
            self.forgotten += 1
        oldest = next(iter(sessions.values()))
        if now - oldest.seen_at > _IDLE_S:
            self._size -= sessions.popitem(last=False)[1].size
        if self._ended:
            self._forget_ended(now)

    def _end(self, context: str, now: float) -> None:
        self._ended[context] = now
        self._ended.move_to_end(context)
        if len(self._ended) > self._config.context_sessions:
            self._ended.popitem(last=False)
        self._forget_ended(now)

    def _forget_ended(self, now: float) -> None:
        while self._ended and now - next(iter(self._ended.values())) > self._after_end_s:
            context, ended_at = self._ended.popitem(last=False)
            session = self._sessions.get(context)
            if session is not None and session.seen_at <= ended_at + _AFTER_END_S:
                self._size -= self._sessions.pop(context).size

    def _learn(self, session: Session, conversion: Conversion, monitor: AppMonitor, user_id: str | None) -> None:
        origin = conversion.origin
        is_client = bool(origin.is_client)
        session.is_client = session.is_client or is_client
        if origin.client is not NO_CLIENT and origin.client != NO_CLIENT:
            if is_client:
                session.client = self._shared(merged(session.client, origin.client))
            else:
                session.caller = self._shared(origin.client)
        if user_id is not None and conversion.events:
            times = [draft.time_ns for draft in conversion.events]
            session.learn_user(user_id, min(times), max(times))
        elif conversion.previous_session:
            self._carry_user_over(session, monitor.id + session_uuid(conversion.previous_session, monitor.id))
        for draft in conversion.events:
            if is_client or draft.domain:
                session.learn_when_and_where(draft, is_client=is_client)
            if isinstance(draft.details, PageViewEvent):
                session.learn_visit(_visit(draft, draft.details))
        if conversion.seen:
            time_ns, page_id = conversion.seen
            session.learn_visit(Visit(time_ns, sys.intern(page_id), is_view=False))
        for name, fact in conversion.facts.items():
            session.learn_fact(name, fact)

    def _user_id(self, session: Session, user: str | None, monitor: AppMonitor) -> str | None:
        """Return the id of the user that an item names. Most items of a session name the same."""
        if not user:
            return None
        name = hash(user)  # which takes less than most names
        if name != session.user:
            session.user, session.user_id = name, user_uuid(user, monitor.id, self._config.user_id_secret)
        return session.user_id

    def _carry_user_over(self, session: Session, previous_context: str) -> None:
        """Let a session that follows another begin with its user."""
        previous = self._sessions.get(previous_context)
        if previous and previous.users and not session.users:
            session.learn_user(previous.users[-1].user_id, _ALWAYS_NS, _ALWAYS_NS)

    def _shared(self, client: Client) -> Client:
        """Return the one object that all sessions with equal browsers share."""
        if len(self._clients) >= _MAX_CLIENTS:
            self._clients.clear()
        return self._clients.setdefault(client, client)

    def _key(self, session: Session, session_id: str, origin: Origin, monitor: AppMonitor) -> BatchKey:
        # items that do not name their device share the requests of those that do
        is_client = origin.is_client or (session.is_client or None if origin.is_client is None else False)
        client = session.client if is_client else NO_CLIENT if is_client is None else session.caller
        return BatchKey(monitor, session_id, is_client, client)

    def _start(self, session: Session, session_id: str, given_session: str, conversion: Conversion) -> Draft | None:
        """Return the session's start, once, at the first sight of a user's own item or of the process's session."""
        if self._config.session_start == "off" or given_session in self._inherited:
            return None
        explicit = [draft for draft in conversion.events if draft.type == START]
        is_own = conversion.origin.is_client or self._process_session.is_own(given_session)
        if not explicit and not (is_own and self._config.session_start == "first_seen"):
            return None
        session.started = True
        first = min(explicit or conversion.events, key=lambda draft: draft.time_ns)
        # the same id wherever the session is seen
        start_id = uuid_of(hashlib.sha256(b"session_start:" + session_id.encode()).digest()[:16])
        details = encode(SessionStartEvent())
        return Draft(id=start_id, time_ns=first.time_ns, type=START, details=details, attributes=first.attributes)


def _visit(draft: Draft, view: PageViewEvent) -> Visit:
    return Visit(draft.time_ns, sys.intern(view.pageId), title=draft.page.title or "")
