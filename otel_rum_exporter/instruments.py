"""The metrics that there are, and the instruments by which a meter provider learns of them.

What `Statistics` counts is read when metrics are collected; what has a distribution is recorded, in `metrics.py`.
Source: OpenTelemetry semantic conventions, "OpenTelemetry SDK metrics", for `otel.*`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from otel_rum_exporter.drops import ParkReason
from otel_rum_exporter.stats import CircuitState, Counters, Statistics, total

SCOPE = "otel_rum_exporter"
ERROR = "error.type"
_CIRCUIT = "rum.exporter.circuit.state"

# boundaries of histograms: in the process, of a request (as for HTTP), until delivery; a full batch is one of its own
_EXPORT_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_DELAY_S = (0.1, 0.5, 1, 2, 5, 7.5, 10, 30, 60, 120, 300, 900, 3600, 21_600, 86_400, 172_800)
_BATCH_EVENTS = (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)

Attributes = dict[str, str | int]


class Signal(NamedTuple):
    """What an exporter is given: the exporter's type, and what the semantic conventions call its items."""

    component: str
    name: str
    unit: str
    items: str


SPANS = Signal(f"{SCOPE}.RumSpanExporter", "span", "{span}", "spans")
LOGS = Signal(f"{SCOPE}.RumLogRecordExporter", "log", "{log_record}", "log records")


class Reading(NamedTuple):
    """A metric that is read: one number, or one for each value of the attribute `by`."""

    kind: Literal["counter", "up_down_counter", "gauge"]
    name: str
    unit: str
    description: str
    value: Callable[[Statistics], float | Mapping[Any, int]]
    by: str = ERROR
    is_of_spool: bool = False


def _circuit(statistics: Statistics) -> Mapping[str, int]:
    return {state: int(state == statistics.circuit) for state in get_args(CircuitState)}


def _parked(statistics: Statistics) -> Mapping[str, int]:
    reasons = list(statistics.parked.values())
    return {reason: reasons.count(reason) for reason in ParkReason}


_counter = partial(Reading, "counter")
_level = partial(Reading, "up_down_counter")  # what can be added up over processes; a gauge cannot
_gauge = partial(Reading, "gauge")

READINGS = (
    _counter("rum.exporter.event.accepted", "{event}", "RUM events that were accepted.", lambda s: s.accepted),
    _counter("rum.exporter.event.delivered", "{event}", "RUM events that the service took.", lambda s: s.delivered),
    _counter("rum.exporter.event.dropped", "{event}", "RUM events that were given up.", lambda s: s.events_dropped),
    _counter(
        "rum.exporter.event.dead_lettered",
        "{event}",
        "RUM events that the service did not take, and the spool kept.",
        lambda s: s.dead_lettered,
    ),
    _counter(
        "rum.exporter.event.duplicates_possible",
        "{event}",
        "RUM events that were sent again without knowing whether the service had taken them.",
        lambda s: s.duplicates_possible,
    ),
    _counter(
        "rum.exporter.request.sent", "{request}", "PutRumEvents requests, each try of a batch.", lambda s: s.requests
    ),
    _counter(
        "rum.exporter.request.retried",
        "{request}",
        "PutRumEvents requests that failed and were tried again.",
        lambda s: s.retried,
    ),
    _counter(
        "rum.exporter.session.forgotten",
        "{session}",
        "Sessions that made room for others, and whose later events may lack their page.",
        lambda s: s.sessions_forgotten,
    ),
    _counter(
        "rum.exporter.event.unspooled",
        "{event}",
        "RUM events that waited in memory, since the spool did not take them.",
        lambda s: s.unspooled,
        is_of_spool=True,
    ),
    _counter(
        "rum.exporter.dead_letter.evicted",
        "{event}",
        "Dead letters that made room for others or became too old.",
        lambda s: s.spool_dead_letters_evicted,
        is_of_spool=True,
    ),
    _counter(
        "rum.exporter.spool.damaged",
        "{file}",
        "Damaged files that were put aside.",
        lambda s: s.spool_files_damaged,
        is_of_spool=True,
    ),
    _level("rum.exporter.event.queued", "{event}", "RUM events that wait or are on their way.", lambda s: s.queued),
    _level("rum.exporter.queue.size", "By", "Size of the events that wait in memory.", lambda s: s.queued_bytes),
    _level("rum.exporter.event.spooled", "{event}", "RUM events on disk.", lambda s: s.spooled, is_of_spool=True),
    _level("rum.exporter.spool.size", "By", "Size of the spool.", lambda s: s.spooled_bytes, is_of_spool=True),
    _gauge(
        "rum.exporter.spool.age", "s", "Age of the oldest event on disk.", lambda s: s.spool_age_s, is_of_spool=True
    ),
    _level(
        "rum.exporter.dead_letter.count",
        "{event}",
        "Dead letters that the spool holds.",
        lambda s: s.spool_dead_letters,
        is_of_spool=True,
    ),
    _level("rum.exporter.app_monitor.parked", "{app_monitor}", "App monitors that take nothing at present.", _parked),
    _gauge(
        "rum.exporter.pacer.rate", "{request}/s", "How many requests may leave at present.", lambda s: s.request_rate
    ),
    _level(_CIRCUIT, "{circuit}", "1 for the state that the circuit is in, 0 for the others.", _circuit, by=_CIRCUIT),
)


class Source:
    """What is read of one pipeline."""

    def __init__(self, statistics: Callable[[], Statistics], attributes: Attributes, *, has_spool: bool) -> None:
        """Keep nothing alive. `statistics` is the pipeline's method."""
        self._statistics = weakref.WeakMethod(statistics)
        self._attributes = attributes
        self.has_spool = has_spool
        self._pid = os.getpid()
        self._latest: Statistics | None = None
        self._inherited: Statistics | None = None

    def read(self) -> Statistics | None:
        """Return the statistics as of now, None when the pipeline is gone.

        A forked child goes on from what its parent last reported, so that no counter decreases.
        """
        statistics = self._statistics()
        if statistics is None:
            return None
        if self._pid != os.getpid():
            self._pid, self._inherited = os.getpid(), _counts(self._latest)
        now = statistics()
        self._latest = now if self._inherited is None else total((self._inherited, now))
        return self._latest

    def observations(self, reading: Reading, statistics: Statistics) -> Iterator[Observation]:
        """Yield what a metric comes to."""
        if reading.is_of_spool and not self.has_spool:
            return
        value = reading.value(statistics)
        if not isinstance(value, Mapping):
            yield Observation(value, self._attributes)
            return
        for each, number in value.items():
            yield Observation(number, {**self._attributes, reading.by: str(each)})


def _counts(statistics: Statistics | None) -> Statistics | None:
    """Return what only grows."""
    if statistics is None:
        return None
    return Statistics(queued=0, **{name: getattr(statistics, name) for name in Counters.__struct_fields__})


class Instruments:
    """The instruments of one meter provider, for all pipelines that report to it.

    An SDK knows an instrument by its name: of a second one of that name it would never call the callback.
    """

    def __init__(self, provider: MeterProvider) -> None:
        """Make all of them."""
        self.provider = provider  # while it is held, its id is nobody else's
        meter = provider.get_meter(SCOPE)
        self.exported = {
            each: meter.create_counter(
                f"otel.sdk.exporter.{each.name}.exported",
                each.unit,
                f"The number of {each.items} for which the export has finished, either successful or failed.",
            )
            for each in (SPANS, LOGS)
        }
        self.in_flight = {
            each: meter.create_up_down_counter(
                f"otel.sdk.exporter.{each.name}.inflight",
                each.unit,
                f"The number of {each.items} which were passed to the exporter, but that have not been exported yet "
                "(neither successful, nor failed).",
            )
            for each in (SPANS, LOGS)
        }
        self.export_s = meter.create_histogram(
            "otel.sdk.exporter.operation.duration",
            "s",
            "The duration of exporting a batch of telemetry records.",
            explicit_bucket_boundaries_advisory=_EXPORT_S,
        )
        self.request_s = meter.create_histogram(
            "rum.exporter.request.duration",
            "s",
            "Duration of PutRumEvents requests.",
            explicit_bucket_boundaries_advisory=_REQUEST_S,
        )
        self.delay_s = meter.create_histogram(
            "rum.exporter.delivery.delay",
            "s",
            "How long the oldest event of a request had waited in memory when the service took it.",
            explicit_bucket_boundaries_advisory=_DELAY_S,
        )
        self.batch_events = meter.create_histogram(
            "rum.exporter.batch.size",
            "{event}",
            "Events of the requests that the service took.",
            explicit_bucket_boundaries_advisory=_BATCH_EVENTS,
        )
        self._sources: tuple[weakref.ref[Source], ...] = ()
        self._seen: list[tuple[Source, Statistics]] = []
        self._asked: set[str] | None = None
        for each in READINGS:
            create = getattr(meter, f"create_observable_{each.kind}")
            create(each.name, [partial(self._observe, each)], each.unit, each.description)

    def add(self, source: Source) -> None:
        """Report a pipeline for as long as its source is there."""
        self._sources = (*(each for each in self._sources if each() is not None), weakref.ref(source))

    def _observe(self, reading: Reading, _: CallbackOptions) -> list[Observation]:
        seen = self._statistics(reading.name)
        return [each for source, statistics in seen for each in source.observations(reading, statistics)]

    def _statistics(self, name: str) -> list[tuple[Source, Statistics]]:
        """Return what all callbacks of a collection see: the one that asks again does so for the next collection."""
        if self._asked is None or name in self._asked:
            self._asked = set()
            sources = [source for each in self._sources if (source := each()) is not None]
            self._seen = [(source, now) for source in sources if (now := source.read()) is not None]
        self._asked.add(name)
        return self._seen


_GLOBAL = 0  # no object has this id
_instruments: weakref.WeakValueDictionary[int, Instruments] = weakref.WeakValueDictionary()


def instruments_of(provider: MeterProvider) -> Instruments:
    """Return the instruments of a provider, made if they are not there. One thread at a time may."""
    keys = [id(provider)]
    if provider is get_meter_provider():
        # what stands in for the global provider until one is set passes its instruments on to that
        keys.append(_GLOBAL)
    there = [each for key in keys if (each := _instruments.get(key)) is not None]
    found = there[0] if there else Instruments(provider)
    _instruments.update(dict.fromkeys(keys, found))
    return found
