"""OpenTelemetry exporter for Amazon CloudWatch RUM: spans, span events and log events become RUM events."""

from otel_rum_exporter.config import ConfigError, RumConfig
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.exporters import RumLogRecordExporter, RumSpanExporter, flush, statistics
from otel_rum_exporter.stats import Statistics

__all__ = [
    "ConfigError",
    "DropReason",
    "RumConfig",
    "RumLogRecordExporter",
    "RumSpanExporter",
    "Statistics",
    "flush",
    "statistics",
]
