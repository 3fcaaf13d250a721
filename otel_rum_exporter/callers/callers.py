"""Whose request a trace serves: found by the propagator, used by the span processor and when items are admitted.

A request's caller travels in its context under a private key, so that it is no attribute and no exporter sees it. The
context does not reach exporters, so the spans that serve a caller are remembered for them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, cast
from weakref import ref

from msgspec import Struct
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span

from otel_rum_exporter.convert.attributes import Attributes, or_unset
from otel_rum_exporter.events import NO_PAGE, Page

SESSION_ID = "session.id"
USER_ID = "user.id"

_MAX_SPANS = 20_000  # some 5 MB; a record may wait in the SDK for seconds before its span is looked up
_KEY = create_key("otel-rum-caller")

Identity = tuple[str | None, str | None]
NOBODYS: Identity = (None, None)


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


def identity(attributes: Attributes | None) -> Identity:
    """Return the session and the user that a span's attributes name."""
    if not attributes:
        return NOBODYS
    session, user = attributes.get(SESSION_ID), attributes.get(USER_ID)
    # applications may set anything; an empty text names nobody
    return (session or None) if isinstance(session, str) else None, (user or None) if isinstance(user, str) else None


def was_examined(context: Context) -> bool:
    """Tell whether the propagator made this context."""
    return _KEY in context


class Known(NamedTuple):
    """What is known of a span: the caller it serves, if any, and whose it is, as its attributes say."""

    caller: CallerSession | None
    noted: Identity  # when it started, or has ended
    running: ref[ReadableSpan] | None = None  # its attributes may still change

    @property
    def identity(self) -> Identity:
        """Whose the span is."""
        span = self.running and self.running()
        return identity(span.attributes) if span else self.noted


class Callers:
    """What is known of the latest spans, and what was ignored of requests. Thread-safe, and usable after a fork.

    By span and not by trace: pages that caches keep give many users the same trace id.

    Attributes:
        has_processor: Whether a span processor writes to it.
        has_served: Whether a request was seen, so that not all that this process does is its own.
    """

    def __init__(self, most: int = _MAX_SPANS) -> None:
        """Begin without a span. The spans that were idle longest are forgotten when there are more than `most`."""
        self.has_processor = False
        self.has_served = False
        self._most = most
        self._spans: OrderedDict[int, Known] = OrderedDict()
        self._ignored: Counter[Ignored] = Counter()
        self._unlock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._spans)

    def start(self, span: Span, caller: CallerSession | None) -> None:
        """Take note of a span that starts, and of the caller it serves."""
        span_id = span.get_span_context().span_id
        known = Known(caller, identity(span.attributes), ref(span))
        with self._lock:
            self._spans[span_id] = known
            if len(self._spans) > self._most:
                self._spans.popitem(last=False)

    def end(self, span: ReadableSpan) -> None:
        """Take note of whose a span is at last."""
        context, ended = span.get_span_context(), identity(span.attributes)
        with self._lock:
            known = self._spans.pop(context.span_id, None) if context else None
            if context and known:
                self._spans[context.span_id] = Known(known.caller, ended)

    def get(self, span_id: int) -> Known | None:
        """Return what is known of a span, None if it was forgotten or never recorded."""
        with self._lock:
            known = self._spans.get(span_id)
            if known is not None:
                self._spans.move_to_end(span_id)
            return known

    def ignore(self, reason: Ignored) -> None:
        """Count something that a request said and that cannot be used."""
        with self._lock:
            self._ignored[reason] += 1

    def ignored(self) -> Mapping[Ignored, int]:
        """Return how much of what requests said was ignored, by reason."""
        with self._lock:
            return dict(self._ignored)


CALLERS = Callers()
"""The process's own."""
