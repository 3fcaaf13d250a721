"""Who: session and user ids as the API takes them, the same in every process."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
from functools import lru_cache
from uuid import UUID, uuid4, uuid5

from otel_rum_exporter.config import UUID_SHAPE
from otel_rum_exporter.convert.ids import uuid_of

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The user id of users that telemetry does not name; aws-rum-web sends the same."""

_MAX_OWN = 64  # sessions of the process whose late items are still known to be its own

_WRAPPED = re.compile(r"\{(?P<braced>[^{}]*)\}|urn:uuid:(?P<urn>.*)", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{32}")


class ProcessSession:
    """The session that items without one belong to, and its user. Thread-safe; a forked child goes on with it.

    An ended session is followed by one that begins when its id is first asked for. The lock is for changes: what is asked
    for each item reads one value that is never changed in place.
    """

    def __init__(self, session_id: str | None = None) -> None:
        """Begin a session, with a new id unless one is given."""
        self._user: str | None = None
        self._lock = threading.Lock()
        self._ids: tuple[str, ...] = ()
        self.start(session_id)

    def begin_in_child(self) -> None:
        """Replace the lock after a fork: a thread that is not in the child may have held it."""
        self._lock = threading.Lock()

    @property
    def current(self) -> str | None:
        """The id of the session, None between its end and the first item of the next."""
        with self._lock:
            return self._ids[-1] if self._has_begun else None

    @property
    def known(self) -> frozenset[str]:
        """The ids of the sessions that have begun, the latest of them."""
        with self._lock:
            return frozenset(self._ids if self._has_begun else self._ids[:-1])

    def join(self) -> str:
        """Return the id of the session for an item to join; after an end that begins the next."""
        with self._lock:
            self._has_begun = True
            return self._ids[-1]

    def start(self, session_id: str | None = None) -> str:
        """Begin a session, with a new id unless one is given. Returns the id."""
        with self._lock:
            self._add(session_id or str(uuid4()))
            self._has_begun = True
            return self._ids[-1]

    def end(self) -> None:
        """End the session. The id of the next is the same in children that are forked before it begins."""
        with self._lock:
            if self._has_begun:
                self._add(str(uuid4()))
                self._has_begun = False

    def set_user(self, user_id: str | None) -> None:
        """Name the user of the session and of those to come; None is nobody, as opposed to a user never named."""
        self._user = user_id or NOBODY

    def user_of(self, session_id: str) -> str | None:
        """Return the user of the current session; None of any other, and before a user was named."""
        return self._user if self._user is not None and session_id == self._ids[-1] else None

    def is_own(self, session_id: str | None) -> bool:
        """Tell whether a session is, or was, the process's own."""
        return session_id in self._ids

    def _add(self, session_id: str) -> None:
        self._ids = (*self._ids, session_id)[-_MAX_OWN:]


PROCESS_SESSION = ProcessSession()
"""The process's own session, the same in all its pipelines and in its forked children."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS_SESSION.begin_in_child)


def session_uuid(raw: str, app_monitor_id: str) -> str:
    """Return a session id in the API's form, the same in every process.

    UUIDs are kept, 32 hex digits get dashes, any other string is hashed with the app monitor's id.
    """
    if UUID_SHAPE.fullmatch(raw):  # as most are
        return raw
    return _uuid(raw) or _hashed_session(raw, app_monitor_id)


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


@lru_cache(maxsize=8192)  # each item asks
def _hashed_session(raw: str, app_monitor_id: str) -> str:
    return str(uuid5(UUID(app_monitor_id), "session:" + _hashable(raw)))


def _uuid(raw: str) -> str | None:
    wrapped = _WRAPPED.fullmatch(raw)
    candidate = (wrapped["braced"] or wrapped["urn"] or "") if wrapped else raw
    if UUID_SHAPE.fullmatch(candidate):
        return candidate
    if _HEX.fullmatch(candidate):
        return f"{candidate[:8]}-{candidate[8:12]}-{candidate[12:16]}-{candidate[16:20]}-{candidate[20:]}"
    return None


def _hashable(raw: str) -> str:
    return raw.encode("utf-8", "replace").decode()
