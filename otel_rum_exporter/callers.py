"""Whose request a trace serves: found by the propagator, used by the span processor and when items are admitted.

The caller travels in the request's context under a private key, so that it is no attribute and no exporter sees it.
Log records keep the context that they were emitted in. Exported spans have none: of them only the trace is known.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import cast

from msgspec import Struct
from opentelemetry.context import Context, create_key, get_value, set_value

from otel_rum_exporter.convert.attributes import or_unset
from otel_rum_exporter.events import NO_PAGE, Page

_MAX_TRACES = 10_000
_KEY = create_key("otel-rum-caller")


class Ignored(str, Enum):
    """Why something that a request said of its session was ignored; the value is the name in statistics."""

    LONG_HEADER = "long_header"
    """The request's cookies have more than 16 KiB together."""
    LONG_VALUE = "long_value"
    """A cookie, header or baggage entry of more than 4 KiB."""
    NOT_BASE64 = "not_base64"
    """aws-rum-web's cookie is no base64."""
    NOT_JSON = "not_json"
    """aws-rum-web's cookie holds no JSON."""
    WRONG_TYPE = "wrong_type"
    """The JSON is not aws-rum-web's: a member is missing, or of another type."""
    NO_UUID = "no_uuid"
    """The session id or the user id of aws-rum-web's cookies is no UUID, or the one that names nobody."""
    UNREADABLE = "unreadable"
    """Reading the request, or stamping a span, failed."""


class CallerSession(Struct, frozen=True, kw_only=True, gc=False):
    """The session of whoever sent a request, and the page that they were on.

    Shape:  with `record` False aws-rum-web does not record the session, so nothing else must.
    """

    session: str
    user: str | None = None
    page_id: str | None = None
    interaction: int | None = None
    domain: str | None = None
    record: bool = True

    @property
    def page(self) -> Page:
        """The page as events name it."""
        if self.page_id is None:
            return NO_PAGE
        return Page(pageId=self.page_id, interaction=or_unset(self.interaction))


def with_caller(context: Context, caller: CallerSession | None) -> Context:
    """Return the context of a request with its caller, or with none."""
    return set_value(_KEY, caller, context)


def caller_of(context: Context | None) -> CallerSession | None:
    """Return the caller of the request that a context belongs to; None is the current context."""
    return cast("CallerSession | None", get_value(_KEY, context))


def was_examined(context: Context) -> bool:
    """Tell whether the propagator made this context."""
    return _KEY in context


class TraceSessions:
    """The callers of the latest traces, and what was ignored of requests. Thread-safe, and usable after a fork.

    Shape:  one caller for each trace; the traces that were idle longest are forgotten first.
    """

    def __init__(self, most: int = _MAX_TRACES) -> None:
        """Begin without a trace."""
        self.is_filled = False
        self._most = most
        self._callers: OrderedDict[int, CallerSession] = OrderedDict()
        self._ignored: Counter[Ignored] = Counter()
        self._unlock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._callers)

    def remember(self, trace_id: int, caller: CallerSession) -> None:
        """Take note of a request's caller. A trace that must not be recorded stays so, whoever else is in it."""
        with self._lock:
            known = self._callers.pop(trace_id, caller)
            self._callers[trace_id] = caller if known.record else known
            if len(self._callers) > self._most:
                self._callers.popitem(last=False)

    def get(self, trace_id: int) -> CallerSession | None:
        """Return the caller of a trace, None if it has none or was forgotten."""
        with self._lock:
            caller = self._callers.get(trace_id)
            if caller is not None:
                self._callers.move_to_end(trace_id)
            return caller

    def ignore(self, reason: Ignored) -> None:
        """Count something that a request said and that cannot be used."""
        with self._lock:
            self._ignored[reason] += 1

    def ignored(self) -> Mapping[Ignored, int]:
        """Return how much of what requests said was ignored, by reason."""
        with self._lock:
            return dict(self._ignored)


TRACE_SESSIONS = TraceSessions()
"""The process's own. `is_filled` says whether a session processor writes to it."""
