"""The access log: a line for each request, and for each connection that is ended without one, where that is asked for."""

from __future__ import annotations

import logging
import time

from starlette.types import Scope

from otel_rum_exporter.encoding import clip
from otel_rum_exporter.gateway.endings import Ending
from otel_rum_exporter.gateway.log_lines import fields

_LONGEST_PATH = 200  # characters of it in a line

_logger = logging.getLogger("otel_rum_exporter.gateway.access")


def log_request(scope: Scope, client: str, status: int, begun: float) -> None:
    """Log a request that is answered; `begun` is of `time.perf_counter`. Its query is not said."""
    said = fields(
        method=scope["method"],
        path=clip(scope["path"], _LONGEST_PATH),
        status=status,
        client=client,
        duration_ms=round((time.perf_counter() - begun) * 1000, 1),
    )
    _logger.info("request", extra=said)


def log_ending(client: str, ending: Ending) -> None:
    """Log a connection that is ended."""
    _logger.info("connection ended", extra=fields(reason=ending.reason, status=ending.status or "-", client=client))
