"""OpenTelemetry exporter for Amazon CloudWatch RUM: spans, span events and log events become RUM events."""

from otel_rum_exporter.application import (
    current_session_id,
    end_session,
    record_page_view,
    set_user,
    start_session,
)
from otel_rum_exporter.callers.processors import RumSessionSpanProcessor, join_browser_sessions
from otel_rum_exporter.callers.propagation import RumSessionPropagator
from otel_rum_exporter.config import ConfigError, RumConfig
from otel_rum_exporter.drops import DropReason, ParkReason
from otel_rum_exporter.exporters import RumLogRecordExporter, RumSpanExporter, flush, statistics
from otel_rum_exporter.stats import Statistics

__all__ = [
    "ConfigError",
    "DropReason",
    "ParkReason",
    "RumConfig",
    "RumLogRecordExporter",
    "RumSessionPropagator",
    "RumSessionSpanProcessor",
    "RumSpanExporter",
    "Statistics",
    "current_session_id",
    "end_session",
    "flush",
    "join_browser_sessions",
    "record_page_view",
    "set_user",
    "start_session",
    "statistics",
]
