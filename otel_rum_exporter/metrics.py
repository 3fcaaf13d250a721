"""What is measured of a pipeline for a meter provider of OpenTelemetry. Without one nothing is.

`otel.sdk.exporter.*` say what `export` did with items, as of any exporter: one is exported when its events are accepted.
`rum.exporter.*` say what became of the events, and of the requests.

Nothing is recorded with the pipeline's lock held: a collection asks for statistics while it holds the SDK's locks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from typing import Concatenate, ParamSpec
from urllib.parse import urlsplit

from opentelemetry.metrics import MeterProvider, get_meter_provider

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.client.verdicts import Delivered, Parked, Refused, Rejected, Retry, Verdict
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.instruments import (
    ERROR,
    LOGS,
    SCOPE,
    SPANS,
    Attributes,
    Instruments,
    Signal,
    Source,
    instruments_of,
)
from otel_rum_exporter.sending.delivery import Part
from otel_rum_exporter.stats import Statistics

_ENABLED = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
_PIPELINE = f"{SCOPE}.pipeline.Pipeline"
_AWS_HOST = "dataplane.rum.{}.amazonaws.com"  # botocore data/rum/2018-05-10, in the regions that have RUM

_numbers = count()

_P = ParamSpec("_P")


def default_meter_provider(environ: Mapping[str, str]) -> MeterProvider | None:
    """Return the global meter provider if the environment asks for the SDK's own metrics, else None.

    As in the SDK, nothing but `true` does. SDKs that do not know the variable do not measure themselves; this package does.
    """
    return get_meter_provider() if environ.get(_ENABLED, "").strip().lower() == "true" else None


@dataclass(slots=True)
class Export:
    """How an export ended: the number of items that were dropped, by reason, and whether all of them were refused."""

    dropped: Mapping[DropReason, int] | Mapping[str, int] = field(default_factory=dict)
    is_refused: bool = False


def _never_raises(
    record: Callable[Concatenate[PipelineMetrics, _P], None],
) -> Callable[Concatenate[PipelineMetrics, _P], None]:
    """Let what a meter provider raises be no fault of an export or a delivery."""

    @wraps(record)
    def quietly(self: PipelineMetrics, /, *arguments: _P.args, **keywords: _P.kwargs) -> None:
        try:
            record(self, *arguments, **keywords)
        except Exception as error:  # noqa: BLE001 - it is others' code
            _say(self.log, error)

    return quietly


class PipelineMetrics:
    """What is recorded of one pipeline, and what is read of it as long as this is held.

    Shape:  `otel.component.name` tells the pipelines of a process apart; exporters that share one share its metrics.
    Units:  seconds, of the pipeline's clock.
    Errors: none are raised; what a meter provider raises is logged.
    """

    def __init__(
        self,
        config: RumConfig,
        statistics: Callable[[], Statistics],
        instruments: Instruments,
        log: CauseLog,
        clock: Callable[[], float],
    ) -> None:
        """Begin to report; `metrics_of` says what the arguments are."""
        number, common = next(_numbers), _common(config)
        self._attributes = _component(_PIPELINE, number) | common
        self._of_signal = {each: _component(each.component, number) | common for each in (SPANS, LOGS)}
        self._instruments = instruments
        self._clock = clock
        self._source = Source(statistics, self._attributes, has_spool=config.spool_dir is not None)
        self.log = log
        instruments.add(self._source)

    @contextmanager
    def exporting(self, signal: Signal, items: int) -> Iterator[Export]:
        """Measure an export; whoever exports says how it ended."""
        export, began_at = Export(), self._clock()
        self._passed(signal, items)
        try:
            yield export
        except Exception as error:
            export.dropped, export.is_refused = {type(error).__qualname__: items}, True
            raise
        finally:
            self._passed(signal, -items)
            self._exported(signal, items, export, self._clock() - began_at)

    @_never_raises
    def _passed(self, signal: Signal, items: int) -> None:
        self._instruments.in_flight[signal].add(items, self._of_signal[signal])

    @_never_raises
    def _exported(self, signal: Signal, items: int, export: Export, duration_s: float) -> None:
        attributes, exported = self._of_signal[signal], self._instruments.exported[signal]
        taken = items - sum(export.dropped.values())
        if taken:
            exported.add(taken, attributes)
        outcome = attributes
        for reason, dropped in export.dropped.items():
            failure = attributes | {ERROR: str(reason)}
            exported.add(dropped, failure)
            outcome = failure if export.is_refused else attributes
        self._instruments.export_s.record(duration_s, outcome)

    @_never_raises
    def attempted(self, part: Part, verdict: Verdict, began_at: float, ended_at: float) -> None:
        """Measure a request. To be called before anybody learns how it ended, so that who waits for it finds it here."""
        error = _error(verdict)
        if error is not None:
            self._instruments.request_s.record(ended_at - began_at, self._attributes | {ERROR: error})
            return
        self._instruments.request_s.record(ended_at - began_at, self._attributes)
        self._instruments.batch_events.record(len(part.queued), self._attributes)
        oldest_at = min(each.admitted_at for each in part.queued)
        self._instruments.delay_s.record(max(0.0, ended_at - oldest_at), self._attributes)


def metrics_of(
    config: RumConfig,
    statistics: Callable[[], Statistics],
    provider: MeterProvider,
    log: CauseLog,
    clock: Callable[[], float],
) -> PipelineMetrics | None:
    """Report a pipeline to a meter provider. One thread at a time may.

    Args:
        config: The pipeline's configuration.
        statistics: The pipeline's method; it is not kept alive by it.
        provider: Where the instruments are made, unless they are there.
        log: Told of what the provider raises.
        clock: Monotonic seconds.

    Returns:
        None where the provider makes no instruments.
    """
    try:
        return PipelineMetrics(config, statistics, instruments_of(provider), log, clock)
    except Exception as error:  # noqa: BLE001 - it is others' code
        _say(log, error)
        return None


def _say(log: CauseLog, error: Exception) -> None:
    line = f"Its own metrics could not be recorded: {type(error).__name__}: {printable(error)}"
    log.say(logging.WARNING, "metrics", line)


def _component(component: str, number: int) -> Attributes:
    return {"otel.component.type": component, "otel.component.name": f"{component}/{number}"}


def _common(config: RumConfig) -> Attributes:
    """Return where a configuration sends, and for whom, as far as it says so itself."""
    attributes: Attributes = {}
    endpoint = config.endpoint or (config.region and f"https://{_AWS_HOST.format(config.region)}")
    if endpoint:
        parts = urlsplit(endpoint)
        attributes["server.address"] = parts.hostname or ""
        attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    if config.app_monitor_id:
        attributes["aws.rum.appmonitor.id"] = config.app_monitor_id
    return attributes


def _error(verdict: Verdict) -> str | None:
    match verdict:
        case Delivered():
            return None
        case Retry(cause=cause):
            return cause
        case Parked(reason=parked):
            return str(parked)
        case Refused(reason=refused):
            return str(refused)
        case Rejected():
            return "rejected"
