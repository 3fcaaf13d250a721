"""What plugs into the OpenTelemetry SDK: a span exporter and a log record exporter that share one pipeline.

The exporters of a process that have the same configuration share their pipeline, so that the spans and logs of a
session share requests. It closes with the last of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.config import ConfigError, RumConfig, ignored_variables
from otel_rum_exporter.metrics import default_meter_provider
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.providers import flush_providers
from otel_rum_exporter.signals import chain_sigterm
from otel_rum_exporter.stats import Statistics, total

_FLUSH_TIMEOUT_MS = 10_000
_ONCE_S = 3600.0

_logger = logging.getLogger(__name__)
_log = CauseLog(_logger, time.monotonic)


class _Shared:
    """The pipelines that are in use, each with the number of exporters that use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # by process, too: a forked child may never shut down the exporters that it inherited, and makes its own
        self._users: dict[tuple[RumConfig, bool, int], tuple[Pipeline, int]] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def acquire(self, config: RumConfig, meter_provider: MeterProvider | None, *, is_configured: bool) -> Pipeline:
        with self._lock:
            key = (config, is_configured, os.getpid())
            pipeline, users = self._users.get(key) or (Pipeline(config, is_configured=is_configured), 0)
            if meter_provider is not None:
                pipeline.measure(meter_provider)
            self._users[key] = (pipeline, users + 1)
            return pipeline

    def release(self, exporter: _RumExporter) -> bool:
        """Shut an exporter, once. Return whether nobody uses its pipeline any more."""
        with self._lock:
            if exporter.is_shut:
                return False
            exporter.is_shut = True
            for key, (pipeline, users) in self._users.items():
                if pipeline is exporter.pipeline:
                    self._users[key] = (pipeline, users - 1)
                    if users == 1:
                        del self._users[key]
                    return users == 1
        return False

    def pipelines(self) -> list[Pipeline]:
        with self._lock:
            return [pipeline for pipeline, _ in self._users.values()]

    def _unlock(self) -> None:
        self._lock = threading.Lock()
        _log.begin_in_child()


_shared = _Shared()


class _RumExporter:
    """What both exporters do.

    Every option is a keyword argument, named as in the option table and in `RumConfig`; what is not given comes from
    the environment variables.

    Args:
        config: A whole configuration instead of options.
        meter_provider: Where the exporter's own metrics go, those of the exporters that share its pipeline, too: the
            first that is given counts. Without one that is the global provider, if the environment variable
            OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED is true, else there are none.
        **options: Options by name, such as `app_monitor_id="..."`.

    Raises:
        ConfigError: When an option was given and the configuration has problems. Without options the problems are
            logged, and everything that is exported is dropped and counted: OpenTelemetry's auto-configuration would
            otherwise leave the rest of the application without telemetry.
        TypeError: When both `config` and options were given, `config` is no `RumConfig`, or `meter_provider` is none.
    """

    def __init__(
        self, config: RumConfig | None = None, *, meter_provider: MeterProvider | None = None, **options: Any
    ) -> None:
        provider, is_configured = _meter_provider(meter_provider), True
        if config is not None and options:
            raise TypeError(f"either config or options, not both: {', '.join(options)}")
        if config is not None:
            config = _checked(config)
        else:
            _warn_of_ignored_variables()
            try:
                config = RumConfig.load(options, os.environ)
            except ConfigError as error:
                if options:
                    raise
                _log.say(logging.ERROR, str(error), _one_line(error), quiet_s=_ONCE_S)
                config, is_configured = RumConfig(), False
        self._timeout_s = config.shutdown_timeout_s
        if config.chain_sigterm:
            _chain_sigterm(config.shutdown_timeout_s)
        self.pipeline = _shared.acquire(config, provider, is_configured=is_configured)
        self.is_shut = False

    def _admit(self, export: Callable[..., bool], items: Sequence[Any]) -> bool:
        try:
            return export(items, is_shut=self.is_shut)
        except Exception as error:  # noqa: BLE001 - nothing raises into the application
            _log.say(
                logging.ERROR, "export", f"Items could not be exported: {type(error).__name__}: {printable(error)}"
            )
            return False

    def shutdown(self, timeout_millis: float | None = None) -> None:
        """Deliver what is left, with the last exporter of the configuration, and take nothing more.

        Units:  timeout_millis is in milliseconds; `shutdown_timeout` bounds it.
        Errors: what cannot be delivered in time is dropped and counted.
        """
        given_s = self._timeout_s if timeout_millis is None else timeout_millis / 1000
        if _shared.release(self):
            self.pipeline.shutdown(min(given_s, self._timeout_s))

    def force_flush(self, timeout_millis: int = _FLUSH_TIMEOUT_MS) -> bool:
        """Deliver what was exported so far, by this exporter and by the one that shares its pipeline.

        Units:  timeout_millis is in milliseconds.
        Errors: False if something was not delivered in time, or not at all.
        """
        return self.pipeline.flush(timeout_millis / 1000)

    def stats(self) -> Statistics:
        """Return what became of everything that was exported, by reason."""
        return self.pipeline.stats()


class RumSpanExporter(_RumExporter, SpanExporter):
    """Sends spans and their events to CloudWatch RUM; for a `BatchSpanProcessor`.

    Without arguments the environment variables configure it. See `RumConfig` for the options.
    """

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Admit spans: convert and buffer them. No network I/O. FAILURE after shutdown or without configuration."""
        is_admitted = self._admit(self.pipeline.export_spans, spans)
        return SpanExportResult.SUCCESS if is_admitted else SpanExportResult.FAILURE


class RumLogRecordExporter(_RumExporter, LogRecordExporter):
    """Sends named log events and exceptions to CloudWatch RUM; for a `BatchLogRecordProcessor`.

    Without arguments the environment variables configure it. See `RumConfig` for the options.
    """

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Admit log records: convert and buffer them. No network I/O. FAILURE after shutdown or without configuration."""
        is_admitted = self._admit(self.pipeline.export_logs, batch)
        return LogRecordExportResult.SUCCESS if is_admitted else LogRecordExportResult.FAILURE


def flush(timeout_millis: int = _FLUSH_TIMEOUT_MS) -> bool:
    """Deliver what all exporters of this process were given so far, where the exporters themselves are out of reach.

    `provider.force_flush()` empties the SDK's processors into the exporters; this goes on from there.

    Units:  timeout_millis is in milliseconds, for all of them together.
    Errors: False if something was not delivered in time, or not at all.
    """
    deadline = time.monotonic() + timeout_millis / 1000
    delivered = [pipeline.flush(max(0.0, deadline - time.monotonic())) for pipeline in _shared.pipelines()]
    return all(delivered)


def flush_everything(timeout_s: float) -> bool:
    """Deliver what the SDK's global providers hold and what the exporters were given. Errors: as with `flush`."""
    deadline = time.monotonic() + timeout_s
    # half of the time is for delivering, whatever the providers' other exporters do with theirs
    is_flushed = flush_providers(timeout_s / 2)
    return flush(int(max(0.0, deadline - time.monotonic()) * 1000)) and is_flushed


def statistics() -> Statistics:
    """Return what became of everything that the exporters of this process were given, by reason.

    Shape:  the sum over all configurations, without those whose exporters are all shut down.
    """
    return total(pipeline.stats() for pipeline in _shared.pipelines())


def pipelines() -> list[Pipeline]:
    """Return the pipelines of this process's exporters, without those that are shut down."""
    return _shared.pipelines()


def is_in_use() -> bool:
    """Tell whether this process has an exporter that is not shut down."""
    return bool(_shared.pipelines())


def _warn_of_ignored_variables() -> None:
    for line in ignored_variables(os.environ):
        _log.say(logging.WARNING, line, line, quiet_s=_ONCE_S)


def _checked(config: object) -> RumConfig:
    if not isinstance(config, RumConfig):
        raise TypeError(f"config is a RumConfig, not {type(config).__name__}; options are keyword arguments")
    return config.checked()


def _meter_provider(given: object) -> MeterProvider | None:
    if given is None:
        return default_meter_provider(os.environ)
    if not isinstance(given, MeterProvider):
        raise TypeError(f"meter_provider is a MeterProvider of OpenTelemetry, not {type(given).__name__}")
    return given


def _chain_sigterm(timeout_s: float) -> None:
    """Chain the handler when an exporter is made: exports mostly come from a processor's thread, which cannot."""
    if not chain_sigterm(lambda: flush_everything(timeout_s)):
        line = "chain_sigterm has no effect: only the main thread can set a signal's handler, and not on Windows."
        _log.say(logging.WARNING, "sigterm", line, quiet_s=_ONCE_S)


def _one_line(error: ConfigError) -> str:
    problems = "; ".join(map(str, error.problems))
    return f"not configured, everything is dropped and counted: {problems}"
