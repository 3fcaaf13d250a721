"""What the process knows of its callers completes converted items: sessions of logs, pages, and what must not be sent.

Spans carry their session already, since the span processor stamped it. Log records find it by the span they were
written in: processors of log records that are added late run after the record went to the exporter's.
"""

from __future__ import annotations

import msgspec

from otel_rum_exporter.callers.callers import CALLERS, CallerSession
from otel_rum_exporter.convert.conversion import Conversion, Draft
from otel_rum_exporter.convert.spans import ENTRY_KINDS
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.items import LogItem, SpanItem

Converted = Conversion | DropReason


def is_inner(span: SpanItem) -> bool:
    """Tell whether a span is a server's own work for a caller, below the span that the caller knows of."""
    if span.kind in ENTRY_KINDS or span.context is None or not CALLERS.has_processor:
        return False
    known = CALLERS.get(span.context.span_id)
    return known is not None and known.caller is not None


def join_span(converted: Converted, span: SpanItem, *, process_takes_all: bool) -> Converted:
    """Complete what a span became.

    Args:
        converted: The conversion, or why there is none.
        span: The span.
        process_takes_all: Whether items without a session join the process's own, whoever is served.

    Errors: SAMPLED_OUT where the caller's session is not recorded; NO_SESSION.
    """
    if isinstance(converted, DropReason) or not CALLERS.has_processor:
        return converted
    known = CALLERS.get(span.context.span_id) if span.context else None
    return _joined(converted, known.caller if known else None, may_join_process=process_takes_all)


def join_log(converted: Converted, log: LogItem, *, process_takes_all: bool) -> Converted:
    """Complete what a log record became, as `join_span` does.

    A record outside of recorded spans joins the process's session as long as the process has served nobody.
    """
    if isinstance(converted, DropReason) or not CALLERS.has_processor:
        return converted
    known = CALLERS.get(log.log_record.span_id or 0)
    if known is None:
        return _joined(converted, None, may_join_process=process_takes_all or not CALLERS.has_served)
    if converted.session is None:
        session, user = known.identity
        converted = msgspec.structs.replace(converted, session=session, user=converted.user or user)
    return _joined(converted, known.caller, may_join_process=process_takes_all)


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
