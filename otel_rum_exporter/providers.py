"""OpenTelemetry's global providers: what their processors still hold goes into the exporters, within a time."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import get_logger_provider

from otel_rum_exporter.cause_log import CauseLog, printable

_logger = logging.getLogger(__name__)
_log = CauseLog(_logger, time.monotonic)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_log.begin_in_child)


def flush_providers(timeout_s: float) -> bool:
    """Call `force_flush` of the global tracer and logger provider.

    The SDK's batch processors do not look at the timeout that they are given, and another exporter in them may take
    half a minute. So it happens on a thread, which goes on by itself when the time is up.

    Errors: False if a provider did not do it in time, or not at all; never raises.
    """
    flushed: list[bool] = []

    def flush() -> None:
        providers = (trace.get_tracer_provider(), get_logger_provider())
        results = [_is_flushed(provider, timeout_s) for provider in providers]  # both, also when the first fails
        flushed.append(all(results))

    thread = threading.Thread(target=flush, name="RumFlush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is about to exit, or the system has no more threads
        flush()
    else:
        thread.join(timeout_s)
    return flushed == [True]


def _is_flushed(provider: Any, timeout_s: float) -> bool:
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:  # the API's own, without an SDK
        return True
    try:
        return force_flush(int(timeout_s * 1000)) is not False
    except Exception as error:  # noqa: BLE001 - another exporter's fault must not be the application's
        line = f"{type(provider).__name__} could not be flushed: {type(error).__name__}: {printable(error)}"
        _log.say(logging.WARNING, "providers", line)
        return False
