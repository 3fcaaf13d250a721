"""Who: session and user ids as the API takes them, the same in every process."""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from uuid import UUID, uuid4, uuid5

from otel_rum_exporter.convert.ids import uuid_of

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The user id of users that telemetry does not name; aws-rum-web sends the same."""

PROCESS_SESSION_ID = str(uuid4())
"""The process's own session, the same in all its pipelines and in its forked children."""

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
