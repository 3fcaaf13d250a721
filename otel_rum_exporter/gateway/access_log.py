"""The access log: a line for each request, and for each connection that is ended without one, where that is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from starlette.types import Scope

from otel_rum_exporter.encoding import clip
from otel_rum_exporter.gateway.endings import Ending
from otel_rum_exporter.gateway.log_lines import fields
from otel_rum_exporter.gateway.refusals import MAX_REASON

_LONGEST_PATH = 200  # characters of it in a line

_logger = logging.getLogger("otel_rum_exporter.gateway.access")


def log_request(scope: Scope, client: str, status: int | None, reason: str, begun: float) -> None:
    """Log a request; its query is not said.

    Args:
        scope: The request (ASGI).
        client: Its address.
        status: The answer's; None where there was nobody any more to answer.
        reason: What its sender was told, or why there is no answer; empty for neither.
        begun: When it came, of `time.perf_counter`.
    """
    said = {
        "method": scope["method"],
        "path": clip(scope["path"], _LONGEST_PATH),
        "status": status,
        "client": client,
        "duration_ms": round((time.perf_counter() - begun) * 1000, 1),
        "reason": clip(reason, MAX_REASON) or None,
    }
    _log("request", said)


def log_ending(client: str, ending: Ending) -> None:
    """Log a connection that is ended."""
    _log("connection ended", {"status": ending.status, "client": client, "reason": ending.reason})


def _log(what: str, said: Mapping[str, object]) -> None:
    _logger.info(what, extra=fields(**{name: value for name, value in said.items() if value is not None}))
