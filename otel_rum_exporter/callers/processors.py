"""Gives the spans of a web application the sessions of the browsers that called it, and those of its own the process's.

`join_browser_sessions` sets it up; `opentelemetry-instrument` does so by itself where it set up a RUM exporter.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
import weakref
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_rum_exporter import exporters
from otel_rum_exporter.callers.callers import (
    CALLERS,
    NOBODYS,
    SESSION_ID,
    USER_ID,
    CallerSession,
    Identity,
    Ignored,
    caller_of,
    identity,
    was_examined,
)
from otel_rum_exporter.callers.propagation import RumSessionPropagator, environment_config
from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy
from otel_rum_exporter.convert.hosts import server_domain
from otel_rum_exporter.convert.pages import server_page_id
from otel_rum_exporter.convert.spans import ENTRY_KINDS
from otel_rum_exporter.sessions.identity import NOBODY, PROCESS_SESSION

_FLUSH_TIMEOUT_MS = 30_000
_MONITOR_ID = "aws.rum.appmonitor.id"

_logger = logging.getLogger(__name__)
_log = CauseLog(_logger, time.monotonic)

_lock = threading.Lock()
_joined: weakref.WeakSet[Any] = weakref.WeakSet()  # the providers that have a processor


class RumSessionSpanProcessor(SpanProcessor):
    """Stamps `session.id` and `user.id` on spans when they start. What the application set itself is left alone.

    A trace that starts with a request (SERVER, CONSUMER, or any span with a remote parent) is its caller's, or
    nobody's; one that starts in the process is the process's. Other spans have the session of their parent as it is
    when they start.

    Args:
        config: Its `page_id_format` and `redact_text` count; without it the defaults.
    """

    def __init__(self, config: RumConfig | None = None) -> None:
        self._config = config or RumConfig()
        CALLERS.has_processor = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span. Never raises."""
        try:
            (session, user), caller = self._whose(span, parent_context)
            _stamp(span, session, user)
            CALLERS.start(span, caller)
        except Exception:  # noqa: BLE001 - starting a span must not fail
            CALLERS.ignore(Ignored.UNREADABLE)

    def on_end(self, span: ReadableSpan) -> None:
        """Take note of the session that the application may have set meanwhile, for the span's log records."""
        CALLERS.end(span)

    def force_flush(self, timeout_millis: int = _FLUSH_TIMEOUT_MS) -> bool:
        """Deliver what the RUM exporters of the process have admitted.

        `TracerProvider.force_flush` calls the processors in the order of their registration, so this one comes after
        the exporter's.
        """
        return exporters.flush(timeout_millis)

    def _whose(self, span: Span, context: Context | None) -> tuple[Identity, CallerSession | None]:
        parent = trace.get_current_span(context)
        is_entry = span.kind in ENTRY_KINDS
        if isinstance(parent, ReadableSpan):
            found = identity(parent.attributes)
            # what runs within a span of the process's own may still serve others
            if not (is_entry and PROCESS_SESSION.is_own(found[0])):
                known = CALLERS.get(parent.get_span_context().span_id)
                return found, known.caller if known else None
        caller = caller_of(context)
        if caller is not None:
            found = (caller.session, caller.user) if caller.record else NOBODYS
            return found, self._located(caller, span)
        is_own = not is_entry and not parent.get_span_context().is_valid
        # a resource with a session says whose process this is
        return (_own() if is_own and SESSION_ID not in span.resource.attributes else NOBODYS), None

    def _located(self, caller: CallerSession, span: Span) -> CallerSession:
        """Return the caller with the page and the host that the span was asked for, as far as the cookie names none."""
        attributes = span.attributes or {}
        page_id, interaction = caller.page_id, caller.interaction
        if page_id is None:
            page_id, interaction = server_page_id(attributes, self._config), None
        else:
            page_id = privacy.page(page_id, self._config)
        domain = server_domain(attributes) or caller.domain
        return msgspec.structs.replace(caller, page_id=page_id, interaction=interaction, domain=domain)


def _own() -> Identity:
    session = PROCESS_SESSION.join()
    user = PROCESS_SESSION.user_of(session)
    return session, None if user == NOBODY else user


def _stamp(span: Span, session: str | None, user: str | None) -> None:
    own = span.attributes or {}
    stamps = {}
    if session and SESSION_ID not in own:
        stamps[SESSION_ID] = session
    # the user belongs to the session it was found with
    if user and USER_ID not in own and own.get(SESSION_ID, session) == session:
        stamps[USER_ID] = user
    if stamps:
        span.set_attributes(stamps)


def join_browser_sessions(tracer_provider: Any = None, **options: Any) -> bool:
    """Let the application's spans and logs join the sessions of the browsers that call it.

    Registers a `RumSessionSpanProcessor` and adds a `RumSessionPropagator` to the global propagators. To be called
    after the exporter's span processor was added; a second call changes nothing. From then on items that belong to
    nobody's session are dropped and counted, unless the option `session` is `process`.

    Args:
        tracer_provider: The SDK's provider; by default the global one.
        **options: Options by name, such as `session_cookies=["sid"]`; as with the exporters, what is not given comes
            from the environment.

    Returns:
        Whether there is a provider that takes processors; without one nothing changes.

    Raises:
        ConfigError: When an option was given and the configuration has problems.

    Example:
        ::

            provider.add_span_processor(BatchSpanProcessor(RumSpanExporter()))
            join_browser_sessions(provider)
    """
    provider = tracer_provider or trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        return False
    config = RumConfig.load(options, os.environ) if options else environment_config()
    if config.app_monitor_id is None and isinstance(monitor_id := _resource(provider).get(_MONITOR_ID), str):
        config = dataclasses.replace(config, app_monitor_id=monitor_id)
    with _lock:
        if provider not in _joined:
            _joined.add(provider)
            provider.add_span_processor(RumSessionSpanProcessor(config))
        _propagate(config)
    return True


def _propagate(config: RumConfig) -> None:
    """Add a propagator to the global ones, if there is none of this package yet."""
    # importing this looks for all propagators that are installed, which nobody else needs
    from opentelemetry import propagate  # noqa: PLC0415
    from opentelemetry.propagators.composite import CompositePropagator  # noqa: PLC0415

    present = propagate.get_global_textmap()
    if not was_examined(present.extract({}, Context())):
        propagate.set_global_textmap(CompositePropagator([present, RumSessionPropagator(config)]))


def join_when_exporting() -> None:
    """Join browser sessions if a RUM exporter was set up; what `opentelemetry-instrument` calls at its end.

    Errors: never raises, since that would end the set-up of everything else.
    """
    try:
        if exporters.is_in_use():
            join_browser_sessions()
    except Exception as error:  # noqa: BLE001 - see above
        cause = type(error).__name__
        _log.say(logging.ERROR, "join", f"Spans cannot join the sessions of browsers: {cause}")


def _resource(provider: Any) -> Any:
    return getattr(getattr(provider, "resource", None), "attributes", {})
