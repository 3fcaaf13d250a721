"""What the SDK and its users see of the exporters: options, errors, sharing, the SDK's own processors."""

import logging
import threading
import time

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from rum_items import MONITOR_ID, RESOURCE, log, session, span, spans
from rum_threads import own_threads

from otel_rum_exporter import ConfigError, DropReason, RumConfig, RumLogRecordExporter, RumSpanExporter, exporters
from otel_rum_exporter.cause_log import CauseLog

LONG_MS = 30_000


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    """What is said once in a process is said once in each of these tests."""
    monkeypatch.setattr(exporters, "_log", CauseLog(exporters._logger, time.monotonic))


@pytest.fixture(params=[RumSpanExporter, RumLogRecordExporter])
def exporter_class(request):
    return request.param


@pytest.fixture
def make(exporter_class):
    """Makes exporters of either kind; afterwards they are shut down and their counts must add up."""
    made = []

    def make(*arguments, **options):
        made.append(exporter_class(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.shutdown(timeout_millis=0)
        assert each.stats().is_balanced


def export(exporter, number=1):
    is_spans = isinstance(exporter, SpanExporter)
    items = spans(number, session_id=session(1)) if is_spans else [log(session_id=session(1)) for _ in range(number)]
    return exporter.export(items).name


def config_of(exporter):
    return exporter.pipeline._config


# options


def test_arguments_count_before_the_environment(make, monkeypatch):
    """And an option that is given neither way has its default."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_MAX_EVENTS", "7")
    monkeypatch.setenv("OTEL_EXPORTER_RUM_TIMEOUT", "700")
    config = config_of(make(max_events=3))
    assert (config.max_events, config.timeout, config.flush_interval) == (3, 700, 5000)


def test_text_is_read_as_the_environment_is(make):
    """OpenTelemetry's declarative configuration passes what stands in its file."""
    assert config_of(make(max_events="3", session_sample_rate="0.5", insecure="true")).max_events == 3


def test_a_whole_configuration(make, monkeypatch):
    """It is taken as it is, whatever the environment says."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_MAX_EVENTS", "7")
    config = RumConfig(app_monitor_id=MONITOR_ID)
    assert config_of(make(config)) == config


@pytest.mark.parametrize("config", [{"app_monitor_id": MONITOR_ID}, "text", 7], ids=["dict", "text", "number"])
def test_what_is_no_configuration(make, config):
    """A positional argument is a whole configuration, and nothing else."""
    with pytest.raises(TypeError, match="config is a RumConfig"):
        make(config)


def test_a_whole_configuration_is_checked(make):
    """Its constructor checks nothing, so the exporter does."""
    with pytest.raises(ConfigError) as raised:
        make(RumConfig(app_monitor_id="nonsense", max_events=0))
    assert {problem.option for problem in raised.value.problems} == {"app_monitor_id", "max_events"}


def test_a_configuration_and_options(make):
    """Options beside a whole configuration would be lost without a word."""
    with pytest.raises(TypeError, match="either config or options, not both: region"):
        make(RumConfig(), region="us-east-1")


def test_bad_arguments_are_named_all_at_once(make, monkeypatch):
    """Those of the environment beside them, too, each with what is accepted."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_TIMEOUT", "soon")
    with pytest.raises(ConfigError) as raised:
        make(app_monitor_id="shop", max_events=101, regoin="us-east-1")
    assert {problem.option for problem in raised.value.problems} == {
        "app_monitor_id",
        "max_events",
        "regoin",
        "timeout",
    }
    for text in ("shop", "a UUID such as", "did you mean region?", "OTEL_EXPORTER_RUM_TIMEOUT", "soon"):
        assert text in str(raised.value)


def test_a_misspelt_variable_is_named_once(make, monkeypatch, caplog):
    """It costs nothing but a line, whoever meant it; a whole configuration reads no variables."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_REGOIN", "eu-central-1")
    make(RumConfig(app_monitor_id=MONITOR_ID))
    assert caplog.messages == []
    make(), make(app_monitor_id=MONITOR_ID)
    (line,) = caplog.messages
    assert "OTEL_EXPORTER_RUM_REGOIN is ignored: no such option, did you mean region?" in line


def test_a_bad_environment_never_raises(make, monkeypatch, caplog):
    """Without arguments one line says what to set; everything is dropped and counted, and no thread starts."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID", "shop")
    monkeypatch.setenv("OTEL_EXPORTER_RUM_MAX_EVENTS", "101")
    exporter, other = make(), make()
    (record,) = caplog.records
    assert (record.levelno, "\n" in record.message) == (logging.ERROR, False)
    assert all(name in record.message for name in ("OTEL_EXPORTER_RUM_APP_MONITOR_ID", "OTEL_EXPORTER_RUM_MAX_EVENTS"))
    assert [export(exporter, 3), export(other)] == ["FAILURE", "FAILURE"]
    assert exporter.stats().items_dropped == {DropReason.NOT_CONFIGURED: 4}
    assert exporter.force_flush(LONG_MS)
    assert (own_threads(), len(caplog.records)) == ([], 1)


# sharing


def test_exporters_of_one_configuration_share_a_pipeline(exporters, rum):
    """It closes with the last of them; until then the closed one refuses, and the other goes on."""
    each = exporters()
    each.logs.export([log(session_id=session(1))])
    each.logs.shutdown()
    assert each.logs.export([log(session_id=session(1))]) is LogRecordExportResult.FAILURE
    assert rum.stats()["requests"] == 0
    assert each.spans.export(spans(1, session_id=session(1))) is SpanExportResult.SUCCESS
    each.spans.shutdown()
    assert rum.stats()["events_distinct"] == 2
    assert each.stats().items_dropped == {DropReason.SHUTDOWN: 1}


def test_exporters_of_other_configurations_do_not_share(make):
    """Each has its own counts and its own end."""
    one, other = make(app_monitor_id=MONITOR_ID), make(app_monitor_id=MONITOR_ID, max_events=50)
    one.shutdown()
    assert [export(one), export(other)] == ["FAILURE", "SUCCESS"]
    assert (one.stats().received, other.stats().received) == (1, 1)


def test_concurrent_shutdowns_count_once(make):
    """Another exporter of the configuration goes on, however often and by whom this one is shut down."""
    one, other = make(app_monitor_id=MONITOR_ID), make(app_monitor_id=MONITOR_ID)
    threads = [threading.Thread(target=one.shutdown) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [export(one), export(other)] == ["FAILURE", "SUCCESS"]


def test_a_later_exporter_begins_anew(exporters):
    """After the last of a configuration was closed, the next one works."""
    first = exporters()
    first.shutdown()
    second = exporters()
    assert second.spans.pipeline is not first.spans.pipeline
    assert second.spans.export([]) is SpanExportResult.SUCCESS


def test_a_thousand_exporters_leave_nothing(exporter_class, rum):
    """Threads and shared pipelines are gone with the exporters."""
    options = {"app_monitor_id": MONITOR_ID, "endpoint": rum.endpoint, "region": "us-east-1"}
    for _ in range(1000):
        exporter_class(**options).shutdown()
    assert not own_threads()
    assert exporters_in_use() == 0


def exporters_in_use():
    return len(exporters._shared._users)


# the SDK


def test_they_are_what_the_sdk_asks_for():
    """All abstract methods are there, in every version of the SDK."""
    assert issubclass(RumSpanExporter, SpanExporter)
    assert issubclass(RumLogRecordExporter, LogRecordExporter)


def test_batch_processors(exporters, rum):
    """As an application uses them; a provider's shutdown delivers everything."""
    each = exporters()
    tracing, logging_ = TracerProvider(resource=RESOURCE), LoggerProvider(resource=RESOURCE)
    tracing.add_span_processor(BatchSpanProcessor(each.spans))
    logging_.add_log_record_processor(BatchLogRecordProcessor(each.logs))
    with tracing.get_tracer("shop").start_as_current_span("work", attributes={"session.id": session(1)}):
        logging_.get_logger("shop").emit(log(session_id=session(1)).log_record)
    logging_.shutdown()
    tracing.shutdown()
    assert (rum.stats()["requests"], rum.stats()["events_distinct"]) == (1, 2)


def test_simple_processors(exporters, rum):
    """They call export on the application's thread, which still never waits for the network."""
    rum.set_faults(hang=True, times=1)
    each = exporters(timeout=500)
    tracing, logging_ = TracerProvider(resource=RESOURCE), LoggerProvider(resource=RESOURCE)
    tracing.add_span_processor(SimpleSpanProcessor(each.spans))
    logging_.add_log_record_processor(SimpleLogRecordProcessor(each.logs))
    with tracing.get_tracer("shop").start_as_current_span("work", attributes={"session.id": session(1)}):
        logging_.get_logger("shop").emit(log(session_id=session(1)).log_record)
    assert each.stats().queued == 2
    assert each.spans.force_flush(LONG_MS)
    logging_.shutdown()
    tracing.shutdown()


def test_two_processors_share_one_exporter(exporters, rum):
    """The exporter ends with the first of them; what the other still brings is counted."""
    each = exporters()
    providers = [TracerProvider(resource=RESOURCE), TracerProvider(resource=RESOURCE)]
    for provider in providers:
        provider.add_span_processor(BatchSpanProcessor(each.spans))
    for provider in providers:
        for _ in range(3):
            provider.get_tracer("shop").start_span("work", attributes={"session.id": session(1)}).end()
    each.logs.shutdown()
    for provider in providers:
        provider.shutdown()
    assert (each.stats().delivered, each.stats().items_dropped) == (3, {DropReason.SHUTDOWN: 3})
    assert rum.stats()["events_distinct"] == 3


def test_the_sdks_timeout_is_a_bound(exporters, rum):
    """shutdown takes the time that is left to the SDK, by the name that it looks for."""
    rum.set_faults(hang=True)
    each = exporters(timeout=1000, shutdown_timeout=600_000)
    each.logs.shutdown()
    each.spans.export([span(session_id=session(1))])
    each.spans.shutdown(timeout_millis=100)
    assert each.stats().events_dropped == {DropReason.SHUTDOWN: 1}
