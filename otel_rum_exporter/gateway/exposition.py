"""What the gateway and its pipeline count, as Prometheus reads it.

Source: Prometheus, "Text-based format", 0.0.4; OpenTelemetry, "Prometheus and OpenMetrics Compatibility", for how the
        names of the pipeline's metrics are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from otel_rum_exporter.gateway.counts import Counts
from otel_rum_exporter.gateway.limits import Held
from otel_rum_exporter.instruments import READINGS, Reading
from otel_rum_exporter.stats import Statistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_UNITS = {"By": "_bytes", "s": "_seconds", "{request}/s": "_per_second"}
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Sample = tuple[Mapping[str, object], float]


class Metric(NamedTuple):
    """A metric with its samples."""

    name: str
    kind: str
    description: str
    samples: Iterable[Sample]


def text_of(metrics: Iterable[Metric]) -> str:
    """Write metrics."""
    return "".join(line + "\n" for metric in metrics for line in _lines(metric))


def of_gateway(counts: Counts, held: Held, connections: int, *, is_ready: bool) -> Iterator[Metric]:
    """Yield the gateway's own metrics."""
    requests = [({"signal": signal, "status": status}, n) for (signal, status), n in counts.requests.items()]
    yield Metric("rum_gateway_requests_total", "counter", "Requests that were answered.", requests)
    records = [({"signal": signal}, n) for signal, n in counts.records.items()]
    yield Metric("rum_gateway_records_total", "counter", "Spans and log records of requests that were taken.", records)
    rejected = [({"signal": signal, "reason": reason}, n) for (signal, reason), n in counts.rejected.items()]
    yield Metric(
        "rum_gateway_records_rejected_total",
        "counter",
        "Spans and log records that were not taken, of requests that were.",
        rejected,
    )
    limited = [({"limit": limit}, n) for limit, n in counts.limited.items()]
    yield Metric("rum_gateway_limited_total", "counter", "Requests that a limit turned away.", limited)
    ended = [({"reason": reason}, n) for reason, n in counts.ended.items()]
    description = "Connections that were ended because they spoke no HTTP/1.1, or were too many, too slow or too much."
    yield Metric("rum_gateway_connections_ended_total", "counter", description, ended)
    for name, description, value in (
        ("received_bytes", "Bytes of bodies as received.", counts.received_bytes),
        ("disconnected", "Requests whose sender went away before their end.", counts.disconnected),
        ("faults", "Errors of the gateway itself.", counts.faults),
    ):
        yield Metric(f"rum_gateway_{name}_total", "counter", description, [({}, value)])
    for name, description, value in (
        ("in_flight_requests", "Requests that are worked on, or wait for that.", held.bodies),
        ("in_flight_bytes", "Bytes of bodies that were received and are not dealt with yet.", held.size_bytes),
        ("connections", "Open connections.", connections),
        ("ready", "Whether /readyz says so.", int(is_ready)),
    ):
        yield Metric(f"rum_gateway_{name}", "gauge", description, [({}, value)])


def of_pipeline(statistics: Statistics, *, has_spool: bool) -> Iterator[Metric]:
    """Yield what became of items and events."""
    items = [({"error_type": str(reason)}, number) for reason, number in statistics.items_dropped.items()]
    for name, description, samples in (
        ("received", "Spans and log records that the pipeline was given.", [({}, statistics.received)]),
        ("converted", "Spans and log records that became RUM events.", [({}, statistics.converted)]),
        ("dropped", "Spans and log records that became none.", items),
    ):
        yield Metric(f"rum_exporter_item_{name}_total", "counter", description, samples)
    for reading in READINGS:
        if has_spool or not reading.is_of_spool:
            yield _read(reading, statistics)


def _read(reading: Reading, statistics: Statistics) -> Metric:
    value = reading.value(statistics)
    label = reading.by.replace(".", "_")
    samples: list[Sample] = (
        [({label: str(each)}, number) for each, number in value.items()]
        if isinstance(value, Mapping)
        else [({}, value)]
    )
    is_counter = reading.kind == "counter"
    name = reading.name.replace(".", "_") + _UNITS.get(reading.unit, "") + ("_total" if is_counter else "")
    return Metric(name, "counter" if is_counter else "gauge", reading.description, samples)


def _lines(metric: Metric) -> Iterator[str]:
    description = metric.description.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {metric.name} {description}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples:
        pairs = ",".join(f'{name}="{str(said).translate(_ESCAPES)}"' for name, said in labels.items())
        yield f"{metric.name}{{{pairs}}} {value}" if pairs else f"{metric.name} {value}"
