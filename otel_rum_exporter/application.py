"""For applications with one user at a time, such as command line tools, desktop apps, notebooks: session, user, pages.

All of it is about the process's own session, which spans and logs without a session of their own belong to. What an
item says itself goes first: `session.id` and `user.id` on a span, a log or the resource. The session begins with the
process, is the same for all exporters and threads, and forked children go on with it.

To which session does an item belong that was made before a switch, and is exported after it? With a
`RumSessionSpanProcessor` spans are stamped when they start, and their children and logs follow them, so they stay where
they were. Without one, as with logs outside of any span, an item joins the session at its export: call
`provider.force_flush()` before the switch.

These functions check what they are given, and raise TypeError or ValueError; nothing else makes them fail. Called
before there is an exporter, sessions and users are kept for those to come.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from opentelemetry import _logs, trace

from otel_rum_exporter import exporters
from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.convert.conversion import TITLE
from otel_rum_exporter.otlp import Log, LogRecord, Resource
from otel_rum_exporter.sessions.identity import PROCESS_SESSION

_ONCE_S = 3600.0 * 24 * 365
_PYTHON = Resource({"telemetry.sdk.language": "python"})

_logger = logging.getLogger(__name__)
_log = CauseLog(_logger, time.monotonic)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_log.begin_in_child)


def set_user(user_id: str | None) -> None:
    """Say who uses the application from now on; None is nobody, as after a logout.

    The user stays when the session changes.

    Args:
        user_id: Any id; as the attribute `user.id` it is kept if it is a UUID, and else hashed to one.

    Raises:
        TypeError: When it is neither text nor None.
        ValueError: When it is blank.
    """
    PROCESS_SESSION.set_user(None if user_id is None else _checked("user_id", user_id))
    _note_missing_exporter()


def start_session(session_id: str | None = None) -> str:
    """Begin another session, for all that is exported from now on.

    RUM's `session_start_event` comes with its first item. What the exporters have admitted stays in its session.

    Args:
        session_id: Any id; as the attribute `session.id` it is kept if it is a UUID, and else hashed to one. Without
            it a new UUID. With the id of an earlier session that one goes on.

    Returns:
        The id, as it was given or made.

    Raises:
        TypeError: When it is neither text nor None.
        ValueError: When it is blank.
    """
    started = PROCESS_SESSION.start(None if session_id is None else _checked("session_id", session_id))
    _note_missing_exporter()
    return started


def end_session() -> None:
    """End the session; the next begins with the next item. The user stays the same."""
    PROCESS_SESSION.end()
    _note_missing_exporter()


def current_session_id() -> str | None:
    """Return the id of the process's own session; None between `end_session` and the next item."""
    return PROCESS_SESSION.current


def record_page_view(page_id: str, *, title: str | None = None) -> None:
    """Say that the user came to a page: a screen, a dialogue, a subcommand. What follows happens on that page.

    It becomes a `page_view_event`, in all exporters. The page that the user is on already is no view again, and counts
    as `duplicate`. Name, version and app monitor come from the options, and else from the resource of the global
    tracer or logger provider. Without an exporter nothing happens, and the log says so once.

    Args:
        page_id: The page's name; its first 256 characters count.
        title: The page's title as the user sees it.

    Raises:
        TypeError: When an argument is not text.
        ValueError: When the page is blank.
    """
    known = _checked("page_id", page_id), "" if title is None else _text("title", title)
    pipelines = exporters.pipelines()
    if not pipelines:
        line = "None exists, so a page view is lost. Create one before the first record_page_view."
        _log.say(logging.WARNING, "page", line, quiet_s=_ONCE_S)
        return
    item = _page_view(*known)
    for pipeline in pipelines:
        pipeline.export_logs([item])


def _page_view(page_id: str, title: str) -> Log:
    resource = _resource()
    attributes = {"app.screen.name": page_id, TITLE: title}
    if "session.id" not in resource.attributes:
        attributes["session.id"] = PROCESS_SESSION.join()
    record = LogRecord(
        timestamp=time.time_ns(),
        observed_timestamp=0,
        trace_id=0,
        span_id=0,
        body=None,
        attributes={name: value for name, value in attributes.items() if value},
        event_name="app.screen.view_did_appear",
    )
    return Log(record, resource, None)


def _resource() -> Any:
    """Return what the SDK's spans and logs would come from."""
    for provider in (trace.get_tracer_provider(), _logs.get_logger_provider()):
        resource = getattr(provider, "resource", None)
        if resource is not None:
            return resource
    return _PYTHON


def _checked(name: str, value: str) -> str:
    if not _text(name, value).strip():
        raise ValueError(f"{name} must not be blank")
    return value


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return value


def _note_missing_exporter() -> None:
    if not exporters.is_in_use():
        line = "None exists yet. The session and its user will count for those to come."
        _log.say(logging.INFO, "session", line, quiet_s=_ONCE_S)
