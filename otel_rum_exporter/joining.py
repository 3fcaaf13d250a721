"""What the process knows of its callers completes converted items: sessions of logs, pages, and what must not be sent.

Spans carry their session already, since the span processor stamped it. A log record finds it in the span it was
written in, through the context that it was emitted in.
"""

from __future__ import annotations

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan

from otel_rum_exporter.callers import TRACE_SESSIONS, CallerSession, caller_of, was_examined
from otel_rum_exporter.convert.attributes import Attributes, text
from otel_rum_exporter.convert.conversion import Conversion, Draft
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.items import LogItem, SpanItem

SESSION_ID = "session.id"
USER_ID = "user.id"

Converted = Conversion | DropReason


def identity(attributes: Attributes | None) -> tuple[str | None, str | None]:
    """Return the session and the user that a span's attributes name."""
    attributes = attributes or {}
    return text(attributes, SESSION_ID), text(attributes, USER_ID)


def join_span(converted: Converted, span: SpanItem, *, process_takes_all: bool) -> Converted:
    """Complete what a span became.

    Args:
        converted: The conversion, or why there is none.
        span: The span.
        process_takes_all: Whether items without a session join the process's own, whoever is served.

    Errors: SAMPLED_OUT where the caller's session is not recorded; NO_SESSION.
    """
    if isinstance(converted, DropReason) or not TRACE_SESSIONS.is_filled:
        return converted
    caller = TRACE_SESSIONS.get(span.context.trace_id) if span.context else None
    return _joined(converted, caller, may_join_process=process_takes_all)


def join_log(converted: Converted, log: LogItem, *, process_takes_all: bool) -> Converted:
    """Complete what a log record became, as `join_span` does.

    A record outside of requests and recorded spans is left to the session mode.
    """
    context = getattr(log.log_record, "context", None)
    if isinstance(converted, DropReason) or not TRACE_SESSIONS.is_filled or not isinstance(context, Context):
        return converted
    caller = caller_of(context)
    in_trace = TRACE_SESSIONS.get(log.log_record.trace_id or 0)
    if in_trace and (caller is None or caller.session == in_trace.session):
        caller = in_trace  # which knows the page that was asked for, too
    span = trace.get_current_span(context)
    if isinstance(span, ReadableSpan):
        converted = _in_session(converted, *identity(span.attributes))
    elif caller is not None and caller.record:
        converted = _in_session(converted, caller.session, caller.user)
    is_somebodys = isinstance(span, ReadableSpan) or was_examined(context)
    return _joined(converted, caller, may_join_process=process_takes_all or not is_somebodys)


def _in_session(converted: Conversion, session: str | None, user: str | None) -> Conversion:
    if converted.session is not None:
        return converted
    return msgspec.structs.replace(converted, session=session, user=converted.user or user)


def _joined(converted: Conversion, caller: CallerSession | None, *, may_join_process: bool) -> Converted:
    session = converted.session
    if caller is not None and not caller.record and session in (None, caller.session):
        return DropReason.SAMPLED_OUT
    if session is None and not may_join_process:
        return DropReason.NO_SESSION
    if caller is None or session != caller.session:
        return converted
    return msgspec.structs.replace(converted, events=[_on_page(draft, caller) for draft in converted.events])


def _on_page(draft: Draft, caller: CallerSession) -> Draft:
    page = draft.page if caller.page_id is None else caller.page
    return msgspec.structs.replace(draft, page=page, domain=draft.domain or caller.domain)
