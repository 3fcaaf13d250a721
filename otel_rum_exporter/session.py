"""Who: session and user ids as UUIDs, and what is remembered of each session: its pages, its browser, what was seen.

Bounded: the sessions that were idle longest are forgotten first. No lock and no clock: the pipeline has them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID, uuid4, uuid5

import msgspec
from msgspec import Struct, field

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Conversion, Draft, Once
from otel_rum_exporter.convert.ids import uuid_of
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import encode
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, Client, PageViewEvent, SessionStartEvent

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The user id of users that telemetry does not name; aws-rum-web sends the same."""

PROCESS_SESSION_ID = str(uuid4())
"""The process's own session, the same in all its pipelines and in its forked children."""

START = SessionStartEvent.type_

_IDLE_S = 1800.0  # aws-rum-web's sessionLengthSeconds: a session that was quiet for so long is over
_MAX_VISITS = 64  # pages remembered of a session
_MAX_SEEN = 128  # exceptions and web vitals remembered of a session

_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_WRAPPED = re.compile(r"\{(?P<braced>[^{}]*)\}|urn:uuid:(?P<urn>.*)", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{32}")


@lru_cache(maxsize=8192)
def session_uuid(raw: str, app_monitor_id: str) -> str:
    """Return a session id in the API's form, the same in every process.

    UUIDs are kept, 32 hex digits get dashes, any other string is hashed with the app monitor's id.
    """
    return _uuid(raw) or str(uuid5(UUID(app_monitor_id), "session:" + _hashable(raw)))


@lru_cache(maxsize=8192)
def user_uuid(raw: str, app_monitor_id: str, secret: str | None) -> str:
    """Return a user id in the API's form, as `session_uuid` does.

    With a secret, other strings become an HMAC, which nobody can reverse by guessing e-mail addresses.
    """
    known = _uuid(raw)
    if known:
        return known
    if secret is None:
        return str(uuid5(UUID(app_monitor_id), "user:" + _hashable(raw)))
    return uuid_of(hmac.digest(secret.encode(), _hashable(raw).encode(), "sha256")[:16])


def is_sampled(session_id: str, rate: float) -> bool:
    """Tell whether a session is in the sample; every process says the same of it."""
    if rate >= 1:
        return True
    return int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:8], "big") / 2**64 < rate


def _uuid(raw: str) -> str | None:
    wrapped = _WRAPPED.fullmatch(raw)
    candidate = (wrapped["braced"] or wrapped["urn"] or "") if wrapped else raw
    if _UUID.fullmatch(candidate):
        return candidate
    if _HEX.fullmatch(candidate):
        return f"{candidate[:8]}-{candidate[8:12]}-{candidate[12:16]}-{candidate[16:20]}-{candidate[20:]}"
    return None


def _hashable(raw: str) -> str:
    return raw.encode("utf-8", "replace").decode()


class Visit(NamedTuple):
    """The user came to a page. Ordered by time."""

    time_ns: int
    page_id: str


class Place(NamedTuple):
    """A page in a session: the `interaction`-th from 0, and the one before it."""

    visit: Visit
    interaction: int
    parent: Visit | None


class Timeline:
    """The pages of a session in the order of their time, however they arrive."""

    def __init__(self) -> None:
        """Begin without a page."""
        self._visits: list[Visit] = []
        self._places: list[Place] = []
        self._forgotten = 0

    def add(self, visit: Visit) -> None:
        """Take note of a visit; the oldest is forgotten when there are too many."""
        insort(self._visits, visit)
        if len(self._visits) > _MAX_VISITS:
            self._forgotten += self._visits[0].page_id != self._visits[1].page_id
            del self._visits[0]
        # a page changes only when its id does
        changes = [new for old, new in pairwise(self._visits) if new.page_id != old.page_id]
        pages = [self._visits[0], *changes]
        parents = [None, *pages]
        self._places = [
            Place(page, self._forgotten + number, parent)
            for number, (page, parent) in enumerate(zip(pages, parents, strict=False))
        ]

    @property
    def places(self) -> Sequence[Place]:
        """The pages so far; a later visit makes a new sequence, so this one may be read without a lock."""
        return self._places


class Session(Struct):
    """What is remembered of a session."""

    seen_at: float
    timeline: Timeline = field(default_factory=Timeline)
    started: bool = False
    domain: str | None = None
    user_id: str = NOBODY
    client: Client = NO_CLIENT  # the user's browser, by its own items
    caller: Client = NO_CLIENT  # the same as servers see it
    seen: dict[Hashable, int] = field(default_factory=dict)


class SessionView(NamedTuple):
    """What a batch needs to know of its session, as of one moment; safe to read without a lock."""

    places: Sequence[Place] = ()
    domain: str | None = None
    client: Client = NO_CLIENT

    def place_at(self, time_ns: int) -> Place | None:
        """Return the page the user was on. Before the first, that is the first: a hard load's record comes late."""
        if not self.places:
            return None
        after = bisect_right(self.places, time_ns, key=lambda place: place.visit.time_ns)
        return self.places[max(0, after - 1)]

    def place_of(self, visit: Visit) -> Place | None:
        """Return the page that this visit came to, None if the user was on it already."""
        return next((place for place in self.places if place.visit == visit), None)


class BatchKey(NamedTuple):
    """Everything that a request says once. `client` is what the batch's items say of the user's device."""

    monitor: AppMonitor
    session_id: str
    user_id: str
    is_client: bool
    client: Client


class Keyed(NamedTuple):
    """An event with whose it is."""

    key: BatchKey
    draft: Draft


class Sessions:
    """The sessions that this process has seen, the latest `context_sessions` of them."""

    def __init__(self, config: RumConfig, process_session_id: str) -> None:
        """Begin with no session. `process_session_id` is the UUID of the process's own."""
        self._config = config
        self._process_session_id = process_session_id
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self.serves_others = config.session == "require"

    def __len__(self) -> int:
        return len(self._sessions)

    def view(self, session_id: str) -> SessionView:
        """Return what is remembered of a session: nothing, if it was forgotten."""
        session = self._sessions.get(session_id)
        return SessionView(session.timeline.places, session.domain, session.client) if session else SessionView()

    def start_none(self) -> None:
        """Take the process's session as started: a forked child goes on with its parent's."""
        self._sessions[self._process_session_id] = Session(0.0, started=True)

    def admit(self, conversion: Conversion, monitor: AppMonitor, now: float) -> list[Keyed] | DropReason:
        """Give an item's events their session.

        Shape:  the item's events, perhaps with a session_start_event before them, less those reported before.
        Errors: NO_SESSION, SAMPLED_OUT, DUPLICATE when every event was reported before.
        """
        session_id = self._session_id(conversion, monitor)
        if session_id is None:
            return DropReason.NO_SESSION
        if not is_sampled(session_id, self._config.session_sample_rate):
            return DropReason.SAMPLED_OUT
        session = self._touch(session_id, now)
        self._learn(session, conversion)
        key = self._key(session, session_id, conversion, monitor)
        starts = [draft for draft in conversion.events if draft.type == START]
        drafts = [draft for draft in conversion.events if draft not in starts and _is_news(session, draft)]
        drafts = [*self._start(session, session_id, conversion, starts), *drafts]
        return [Keyed(key, draft) for draft in drafts] or DropReason.DUPLICATE

    def _session_id(self, conversion: Conversion, monitor: AppMonitor) -> str | None:
        if conversion.session:
            return session_uuid(conversion.session, monitor.id)
        return None if self.serves_others else self._process_session_id

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
        oldest = next(iter(self._sessions))
        if now - self._sessions[oldest].seen_at > _IDLE_S:
            del self._sessions[oldest]

    def _learn(self, session: Session, conversion: Conversion) -> None:
        origin = conversion.origin
        if origin.client != NO_CLIENT and origin.is_client:
            session.client = origin.client
        elif origin.client != NO_CLIENT:
            session.caller = origin.client
        for draft in conversion.events:
            if draft.domain and session.domain is None:
                session.domain = draft.domain
            if isinstance(draft.details, PageViewEvent):
                session.timeline.add(Visit(draft.time_ns, draft.details.pageId))

    def _key(self, session: Session, session_id: str, conversion: Conversion, monitor: AppMonitor) -> BatchKey:
        origin = conversion.origin
        if conversion.user:
            session.user_id = user_uuid(conversion.user, monitor.id, self._config.user_id_secret)
        # items that do not name their user or their device share the requests of those that do
        client = session.client if origin.is_client else session.caller
        return BatchKey(monitor, session_id, session.user_id, origin.is_client, client)

    def _start(self, session: Session, session_id: str, conversion: Conversion, explicit: list[Draft]) -> list[Draft]:
        """Return the session's start, once, at the first sight of a user's own item or of the process's session."""
        is_own = conversion.origin.is_client or session_id == self._process_session_id
        implicit = is_own and self._config.session_start == "first_seen"
        if session.started or self._config.session_start == "off" or not (explicit or implicit):
            return []
        session.started = True
        first = min(explicit or conversion.events, key=lambda draft: draft.time_ns)
        # the same id wherever the session is seen
        start_id = uuid_of(hashlib.sha256(b"session_start:" + session_id.encode()).digest()[:16])
        return [msgspec.structs.replace(first, id=start_id, type=START, details=encode(SessionStartEvent()), once=None)]


def _is_news(session: Session, draft: Draft) -> bool:
    """Tell whether this was not reported before. A metric that grows is news each time."""
    once = draft.once
    if once is None:
        return True
    before = session.seen.get(once.key)
    if before is not None and not once.latest and _is_near(once, draft.time_ns - before):
        return False
    session.seen[once.key] = draft.time_ns
    if len(session.seen) > _MAX_SEEN:
        del session.seen[next(iter(session.seen))]
    return True


def _is_near(once: Once, distance_ns: int) -> bool:
    return once.within_ns is None or abs(distance_ns) <= once.within_ns
