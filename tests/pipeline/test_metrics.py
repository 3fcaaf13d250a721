"""The exporter's own metrics, as a real meter provider collects them."""

import gc
import json
import os
import re
import threading
import weakref
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SpanExportResult
from rum_items import MONITOR_ID, log, session, span, spans, vital
from rum_processes import run

from otel_rum_exporter import RumConfig, RumLogRecordExporter, RumSpanExporter
from otel_rum_exporter.instruments import READINGS
from otel_rum_exporter.metrics import default_meter_provider
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.stats import Statistics

LONG_MS = 30_000


class Metrics:
    """A meter provider, and what a collection of it finds."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self):
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        assert {scope.scope.name for scope in scopes} <= {"otel_rum_exporter"}
        return [metric for scope in scopes for metric in scope.metrics]

    def collect(self):
        return {metric.name: metric.data.data_points for metric in self.metrics()}


@pytest.fixture
def metrics():
    each = Metrics()
    yield each
    each.provider.shutdown()


def by_error(points):
    """The values of a metric by `error.type`, None for those without."""
    values = Counter()
    for point in points:
        values[point.attributes.get("error.type")] += point.value if hasattr(point, "value") else point.count
    return dict(values)


def value(points):
    (point,) = points
    return point.value


# equal to statistics


def test_every_counter_equals_the_statistics(exporters, rum, metrics):
    """Of a run with a throttled and a failed request, a rejected event, a replaced one and items that become nothing."""
    each = exporters(meter_provider=metrics.provider)
    rum.set_faults(status=429, times=1)
    each.spans.export(spans(5, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    rum.set_faults(status=503, times=1)
    each.spans.export(spans(5, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    rum.clear_faults()
    each.logs.export([vital(value=0.1, session_id=session(2)), vital(value=0.2, session_id=session(2))])
    each.logs.export([log(event_name=None, session_id=session(2))])
    assert each.logs.force_flush(LONG_MS)
    each.spans.export([span(session_id=session(3))])
    found, stats = metrics.collect(), each.stats()

    assert stats.retried == {"throttled": 1, "server": 1}
    assert (stats.queued, stats.is_balanced) == (1, True)
    for name, number in (
        ("event.accepted", stats.accepted),
        ("event.delivered", stats.delivered),
        ("event.queued", stats.queued),
        ("event.duplicates_possible", stats.duplicates_possible),
        ("request.sent", stats.requests),
        ("session.forgotten", stats.sessions_forgotten),
        ("queue.size", stats.queued_bytes),
        ("pacer.rate", stats.request_rate),
    ):
        assert value(found[f"rum.exporter.{name}"]) == number, name
    assert by_error(found["rum.exporter.event.dropped"]) == stats.events_dropped == {"duplicate": 1}
    assert by_error(found["rum.exporter.request.retried"]) == stats.retried


def test_items_of_each_exporter(exporters, metrics):
    """One is exported when it was taken, or with the reason for which it was not; none is on its way afterwards."""
    each = exporters(meter_provider=metrics.provider, session="require")
    each.spans.export([*spans(3, session_id=session(1)), span()])
    each.logs.export([log(session_id=session(1)), log(event_name=None, session_id=session(1)), log()])
    each.spans.shutdown()
    each.spans.export(spans(2, session_id=session(1)))
    found = metrics.collect()

    assert by_error(found["otel.sdk.exporter.span.exported"]) == {None: 3, "no_session": 1, "shutdown": 2}
    assert by_error(found["otel.sdk.exporter.log.exported"]) == {None: 1, "unmapped": 1, "no_session": 1}
    assert [value(found[f"otel.sdk.exporter.{signal}.inflight"]) for signal in ("span", "log")] == [0, 0]
    assert by_error(found["otel.sdk.exporter.operation.duration"]) == {None: 2, "shutdown": 1}


def test_histograms(exporters, rum, metrics):
    """Each request is in the duration, with why it failed; each that was taken is in the size and in the delay."""
    each = exporters(meter_provider=metrics.provider)
    rum.set_faults(status=429, times=1)
    each.spans.export(spans(70, session_id=session(1)))
    each.spans.export(spans(50, session_id=session(1)))
    assert each.spans.force_flush(LONG_MS)
    found = metrics.collect()

    assert by_error(found["rum.exporter.request.duration"]) == {None: 2, "throttled": 1}
    (size,), (delay,) = found["rum.exporter.batch.size"], found["rum.exporter.delivery.delay"]
    assert (size.count, size.sum, size.min, size.max) == (2, 120, 20, 100)
    assert size.bucket_counts[-1] == 1  # a full one
    assert delay.count == 2
    assert delay.min >= 1  # it was throttled for a second


def test_a_batch_that_is_bisected(exporters, rum, metrics):
    """Its parts are requests of their own: the sizes of those that were taken add up to what was delivered."""
    rum.set_faults(poison=["bad"])
    each = exporters(meter_provider=metrics.provider)
    each.spans.export([*spans(7, session_id=session(1)), span("bad", session_id=session(1))])
    assert not each.spans.force_flush(LONG_MS)
    found, stats = metrics.collect(), each.stats()
    (size,) = found["rum.exporter.batch.size"]
    assert (size.sum, size.count) == (stats.delivered, 3) == (7, 3)  # halves, a quarter, one
    assert by_error(found["rum.exporter.request.duration"]) == {None: 3, "rejected": stats.requests - 3}
    assert by_error(found["rum.exporter.event.dropped"]) == {"rejected": 1}


def test_a_request_is_measured_before_a_flush_returns(exporters, metrics):
    """So that nobody who waits for it collects too early."""
    each = exporters(meter_provider=metrics.provider)
    for number in range(1, 6):
        each.spans.export([span(session_id=session(1))])
        assert each.spans.force_flush(LONG_MS)
        (duration,) = metrics.collect()["rum.exporter.request.duration"]
        assert duration.count == number


def test_where_the_service_takes_nothing(exporters, rum, metrics):
    """The app monitor is parked, for a reason."""
    rum.set_faults(status=404)
    each = exporters(meter_provider=metrics.provider)
    each.spans.export([span(session_id=session(1))])
    assert not each.spans.force_flush(2_000)
    found = metrics.collect()
    expected = {"not_found": 1, "unauthorized": 0, "not_configured": 0, "rejected": 0}
    assert by_error(found["rum.exporter.app_monitor.parked"]) == expected


# names


def test_names_and_units():
    """As the semantic conventions ask: dots between lower-case words, units in UCUM and not in names."""
    for reading in READINGS:
        assert re.fullmatch(r"rum\.exporter(\.[a-z]+(_[a-z]+)*)+", reading.name)
        assert re.fullmatch(r"(By|s|\{[a-z_]+\}(/s)?)", reading.unit), reading.name
        assert not re.search(r"bytes|seconds|total|_s$", reading.name)
    assert len({reading.name for reading in READINGS}) == len(READINGS)


def test_every_number_of_the_statistics_has_a_metric():
    """What is counted can be watched; items are counted by each export."""
    numbers = set(Statistics.__struct_fields__) - {"received", "converted", "items_dropped"}
    plain = Statistics(
        received=0,
        converted=0,
        items_dropped={},
        accepted=0,
        delivered=0,
        events_dropped={},
        queued=0,
        requests=0,
        retried={},
    )
    seen = set()

    class Watched:
        def __getattr__(self, name):
            seen.add(name)
            return getattr(plain, name)

    for reading in READINGS:
        reading.value(Watched())
    assert seen == numbers


def test_who_reports(exporters, rum, metrics):
    """The component by its type and number, where it sends to, and for which app monitor."""
    each = exporters(meter_provider=metrics.provider)
    each.spans.export([span(session_id=session(1))])
    found = metrics.collect()
    host, port = rum.endpoint.removeprefix("http://").split(":")
    for name, component in (
        ("otel.sdk.exporter.span.exported", "otel_rum_exporter.RumSpanExporter"),
        ("rum.exporter.event.accepted", "otel_rum_exporter.pipeline.Pipeline"),
    ):
        attributes = dict(found[name][0].attributes)
        assert re.fullmatch(re.escape(component) + r"/\d+", attributes.pop("otel.component.name"))
        assert attributes == {
            "otel.component.type": component,
            "server.address": host,
            "server.port": int(port),
            "aws.rum.appmonitor.id": MONITOR_ID,
        }


def test_the_server_of_a_region(metrics):
    """Without an endpoint it is AWS's of the region."""
    exporter = RumSpanExporter(app_monitor_id=MONITOR_ID, region="eu-central-1", meter_provider=metrics.provider)
    (point,) = metrics.collect()["rum.exporter.event.accepted"]
    exporter.shutdown()
    assert point.attributes["server.address"] == "dataplane.rum.eu-central-1.amazonaws.com"
    assert point.attributes["server.port"] == 443


@pytest.mark.parametrize("has_spool", [True, False], ids=["spool", "memory"])
def test_metrics_of_the_spool(exporters, metrics, tmp_path, has_spool):
    """They are there if it is."""
    each = exporters(meter_provider=metrics.provider, **({"spool_dir": tmp_path / "spool"} if has_spool else {}))
    each.spans.export(spans(2, session_id=session(1)))
    found, stats = metrics.collect(), each.stats()
    names = {name.removeprefix("rum.exporter.") for name in found}
    of_spool = {"event.spooled", "spool.size", "spool.age", "dead_letter.count"}
    assert names & of_spool == (of_spool if has_spool else set())
    if has_spool:
        assert value(found["rum.exporter.event.spooled"]) == stats.spooled == 2
        assert value(found["rum.exporter.spool.size"]) == stats.spooled_bytes > 0
        assert 0 <= value(found["rum.exporter.spool.age"]) <= stats.spool_age_s
        assert value(found["rum.exporter.dead_letter.count"]) == 0
    assert each.spans.force_flush(LONG_MS)


README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_every_metric(exporters, metrics, tmp_path):
    """With its unit, and no other."""
    each = exporters(meter_provider=metrics.provider, spool_dir=tmp_path / "spool")
    each.spans.export([span(session_id=session(1))])
    each.logs.export([log(session_id=session(1))])
    assert each.spans.force_flush(LONG_MS)
    units = {metric.name: metric.unit for metric in metrics.metrics()}
    units |= {reading.name: reading.unit for reading in READINGS}  # those of what has not happened yet
    table = README.partition("<!-- metrics:start -->")[2].partition("<!-- metrics:end -->")[0]
    rows = [re.findall(r"`([^`]+)`", "|".join(line.split("|")[1:3])) for line in table.strip().splitlines()[2:]]
    documented = {}
    for row in rows:
        names = [each for each in row if each.startswith(("otel.", "rum."))]
        of_names = row[len(names) :]
        documented |= dict(zip(names, of_names * (len(names) // len(of_names)), strict=True))
    assert documented == units


# where they go


@pytest.mark.parametrize(
    ("text", "is_enabled"),
    [("true", True), (" TRUE ", True), ("false", False), ("1", False), ("yes", False), ("", False), (None, False)],
)
def test_the_variable(text, is_enabled):
    """It asks for the SDK's own metrics, and is read as the SDK reads it."""
    environ = {} if text is None else {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": text}
    assert default_meter_provider(environ) is (api.get_meter_provider() if is_enabled else None)


GLOBAL_PROVIDER = """
    import json
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter

    before = RumSpanExporter(), RumSpanExporter(region="us-east-1")
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    after = RumLogRecordExporter(), RumSpanExporter(region="us-west-1")
    for exporter in (*before, *after):
        exporter.export([])
    found = reader.get_metrics_data()
    points = {
        metric.name: len(metric.data.data_points)
        for resource in (found.resource_metrics if found else ())
        for scope in resource.scope_metrics
        if scope.scope.name == "otel_rum_exporter"
        for metric in scope.metrics
    }
    print(json.dumps([points.get(name) for name in ("rum.exporter.event.accepted", "otel.sdk.exporter.operation.duration")]))
"""


@pytest.mark.parametrize(("text", "points"), [("true", [3, 4]), ("false", [None, None])])
def test_the_global_provider(text, points):
    """It counts whether it was set before an exporter was made or after, for all pipelines; unasked, none is told."""
    done = run(
        GLOBAL_PROVIDER,
        OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=text,
        OTEL_EXPORTER_RUM_APP_MONITOR_ID=MONITOR_ID,
        OTEL_EXPORTER_RUM_REGION="eu-central-1",
    )
    assert (json.loads(done.stdout), done.stderr) == (points, "")


@pytest.mark.parametrize("exporter_class", [RumSpanExporter, RumLogRecordExporter])
def test_what_is_no_meter_provider(exporter_class):
    """It is refused at once, as what is no configuration."""
    with pytest.raises(TypeError, match="meter_provider is a MeterProvider of OpenTelemetry, not str"):
        exporter_class(app_monitor_id=MONITOR_ID, meter_provider="console")


def test_exporters_of_one_configuration_share_their_metrics(exporters, rum, metrics):
    """A provider makes no other pipeline, and the first that is given counts."""
    later = Metrics()
    each = exporters()
    given = [RumSpanExporter(each.spans.pipeline._config, meter_provider=one.provider) for one in (metrics, later)]
    assert {one.pipeline for one in given} == {each.spans.pipeline}
    each.spans.export([span(session_id=session(1))])
    given[0].export([span(session_id=session(1))])
    assert each.spans.force_flush(LONG_MS)
    assert rum.stats()["requests"] == 1
    assert value(metrics.collect()["otel.sdk.exporter.span.exported"]) == 2
    assert later.collect() == {}
    for one in given:
        one.shutdown()


def test_pipelines_of_one_provider(metrics):
    """Each is a component of its own, in the same metrics."""
    options = {"app_monitor_id": MONITOR_ID, "session_start": "off", "meter_provider": metrics.provider}
    made = [RumSpanExporter(max_events=number, **options) for number in (1, 2)]
    for number, exporter in enumerate(made, start=1):
        exporter.export(spans(number, session_id=session(1)))
    points = metrics.collect()["rum.exporter.event.accepted"]
    for exporter in made:
        exporter.shutdown(timeout_millis=0)
    assert sorted(point.value for point in points) == [1, 2]
    assert len({point.attributes["otel.component.name"] for point in points}) == 2


def test_a_pipeline_that_was_shut_down(metrics):
    """It reports its last numbers as long as somebody has it; metrics do not keep it."""
    exporter = RumSpanExporter(app_monitor_id=MONITOR_ID, meter_provider=metrics.provider)
    exporter.shutdown()
    exporter.export([span(session_id=session(1))])
    assert by_error(metrics.collect()["otel.sdk.exporter.span.exported"]) == {"shutdown": 1}
    pipeline = weakref.ref(exporter.pipeline)
    del exporter
    gc.collect()
    assert pipeline() is None
    assert "rum.exporter.event.accepted" not in metrics.collect()


def test_a_provider_ends_with_its_owner():
    """Exporters that are gone keep no provider."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    exporter = RumSpanExporter(app_monitor_id=MONITOR_ID, meter_provider=provider)
    exporter.shutdown()
    provider.shutdown()
    there = weakref.ref(provider)
    del provider, exporter
    for _ in range(100):
        if there() is None:
            break
        gc.collect()  # which does nothing while another thread is at it
        threading.Event().wait(0.05)
    assert there() is None


# collecting


def test_a_collection_reads_statistics_once(metrics):
    """However many metrics it has; the next one reads them anew."""
    reads = []

    class Read(Pipeline):
        def stats(self):
            reads.append(1)
            return super().stats()

    pipeline = Read(RumConfig(app_monitor_id=MONITOR_ID))
    pipeline.measure(metrics.provider)
    for number in range(1, 4):
        pipeline.export_spans([span(session_id=session(1))])
        assert value(metrics.collect()["rum.exporter.event.accepted"]) == number
        assert len(reads) == number
    pipeline.shutdown(0)


def test_exports_and_collections_at_once(exporters, metrics):
    """Neither waits for the other for ever, and nothing is counted twice."""
    each = exporters(meter_provider=metrics.provider)
    is_over = threading.Event()

    def collect():
        while not is_over.is_set():
            metrics.collect()

    def export():
        for _ in range(50):
            each.spans.export([span(session_id=session(1))])

    collector = threading.Thread(target=collect)
    threads = [threading.Thread(target=export) for _ in range(4)]
    for thread in (collector, *threads):
        thread.start()
    for thread in threads:
        thread.join(60)
    assert each.spans.force_flush(LONG_MS)
    is_over.set()
    collector.join(60)
    assert not any(thread.is_alive() for thread in (collector, *threads))
    found = metrics.collect()
    assert value(found["otel.sdk.exporter.span.exported"]) == value(found["rum.exporter.event.delivered"]) == 200


FORK = """
    import json, os
    from opentelemetry.sdk.metrics import Counter, ObservableCounter, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from otel_rum_exporter import RumSpanExporter

    cumulative = InMemoryMetricReader()
    delta = InMemoryMetricReader(dict.fromkeys((Counter, ObservableCounter), AggregationTemporality.DELTA))
    exporter = RumSpanExporter(meter_provider=MeterProvider([cumulative, delta]))
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))

    def found(reader):
        scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
        metrics = {metric.name: metric for metric in scopes[0].metrics}
        names = "otel.sdk.exporter.span.exported", "rum.exporter.event.delivered", "rum.exporter.event.queued"
        return [metrics[name].data.data_points[0].value for name in names] + [
            metrics["rum.exporter.request.duration"].data.data_points[0].count
        ]

    def work(spans):
        for _ in range(spans):
            tracing.get_tracer("shop").start_span("work").end()

    work(3)
    assert exporter.force_flush(30_000)
    work(1)
    print(json.dumps(found(cumulative) + found(delta)), flush=True)
    child = os.fork()
    work(2)
    assert exporter.force_flush(30_000)
    numbers = found(cumulative) + found(delta)
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        exporter.shutdown()
    print(json.dumps(numbers), flush=True)
    if not child:
        os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork(rum):
    """A child's counters go on from its parent's, as the SDK's do; none decreases, and what waits stays the parent's."""
    done = run(FORK, **rum.environment(), OTEL_EXPORTER_RUM_SESSION="process")
    before, child, parent = map(json.loads, done.stdout.splitlines())
    assert before == [4, 4, 1, 1, 4, 4, 1, 1]  # with the start of the session
    assert child == [6, 6, 0, 2, 2, 2, 0, 2]
    assert parent == [6, 7, 0, 2, 2, 3, 0, 2]


# other people's providers


class Broken(api.NoOpMeterProvider):
    """A provider whose instruments raise, or that makes none."""

    def __init__(self, *, makes_meters):
        self.makes_meters = makes_meters

    def get_meter(self, *_, **__):
        if not self.makes_meters:
            raise RuntimeError("no meter")
        return BrokenMeter("broken")


class BrokenMeter(api.NoOpMeter):
    def create_counter(self, name, unit="", description=""):
        return BrokenInstrument(name, unit, description)

    create_up_down_counter = create_counter

    def create_histogram(self, name, unit="", description="", **_):
        return BrokenInstrument(name, unit, description)


class BrokenInstrument(api.NoOpCounter):
    def add(self, *_, **__):
        raise RuntimeError("no counter")

    record = add


@pytest.mark.parametrize("makes_meters", [True, False], ids=["instruments", "meters"])
def test_a_provider_that_raises(exporters, rum, caplog, makes_meters):
    """Everything is delivered all the same, and one line says what is wrong."""
    each = exporters(meter_provider=Broken(makes_meters=makes_meters))
    assert each.spans.export([span(session_id=session(1))]) is SpanExportResult.SUCCESS
    assert each.logs.export([log(session_id=session(1))]) is LogRecordExportResult.SUCCESS
    assert each.spans.force_flush(LONG_MS)
    assert rum.stats()["events_distinct"] == each.stats().delivered == 2
    (line,) = {message for message in caplog.messages if "metrics" in message}
    assert "Its own metrics could not be recorded: RuntimeError: no " in line


def test_without_a_provider_nothing_is_measured(exporters):
    """No instrument is made, and nobody is told of a request."""
    each = exporters()
    each.spans.export([span(session_id=session(1))])
    assert each.spans.force_flush(LONG_MS)
    pipeline = each.spans.pipeline
    assert (pipeline._metrics, pipeline._workers.metrics) == (None, None)


def test_not_configured(metrics, monkeypatch):
    """What is dropped for want of a configuration is counted as such."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID", "shop")
    exporter = RumSpanExporter(meter_provider=metrics.provider)
    exporter.export([span()])
    exporter.shutdown()
    found = metrics.collect()
    assert by_error(found["otel.sdk.exporter.span.exported"]) == {"not_configured": 1}
    assert by_error(found["otel.sdk.exporter.operation.duration"]) == {"not_configured": 1}
