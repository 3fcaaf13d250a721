"""Values that no telemetry should hold: they go through the SDK and an exporter, and hurt nobody."""

import math
import time
from traceback import walk_tb

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter

FLUSH_MS = 60_000
CPU_S = 20  # far more than any of them takes; without a bound it would be minutes


class Exploding:
    """An object that nobody can print, compare or hash."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no comparison")


def nested(depth, leaf="leaf"):
    for number in range(depth):
        leaf = {"inner": leaf} if number % 2 else [leaf]
    return leaf


def cycle():
    ring = {"name": "ring"}
    ring["inner"] = [ring]
    return ring


VALUES = {
    "10 MB": "ü" * 5_000_000,
    "10 MB of bytes": b"\xff" * 10_000_000,
    "10 MB URL": "https://shop.example/?" + "password=secret&" * 600_000,
    "a million lines": "at f (https://shop.example/a.js:1:2)\n" * 300_000,
    "10,000 strings": ["text"] * 10_000,
    "200 deep": nested(200),
    "20,000 deep": nested(20_000),
    "cyclic": cycle(),
    "exploding": Exploding(),
    "exploding within": {"list": [Exploding()]},
    "not a number": math.nan,
    "infinite": -math.inf,
    "huge integer": 10**4000,
    "bytes": b"\x00\xff",
    "lone surrogate": "a\ud800b",
    "surrogates the wrong way round": "\udc00\ud800",
    "controls": "\x00\x1b[2J\u2028\r\n",
    "nothing": None,
    "a type": object,
}

KEYS = (
    "app.value",
    "session.id",
    "user.id",
    "url.full",
    "http.url",
    "http.request.method",
    "http.response.status_code",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
    "browser.page.url",
    "service.name",
)


@pytest.fixture
def exporters(options, conserved):
    """A span and a log exporter of one pipeline, both watched."""
    wanted = {**options, "attributes": "*", "queue_events": 1_000_000, "flush_interval": 60_000}
    made = (RumSpanExporter(**wanted), RumLogRecordExporter(**wanted))
    conserved.watch(made[0])
    yield made
    for each in made:
        each.shutdown()


def check(exporters, started, received):
    """All of it was taken, in bounded time, and what became events was valid: see the fixture `conserved`, too."""
    exporter = exporters[0]
    exporter.force_flush(FLUSH_MS)
    assert time.process_time() - started < CPU_S
    stats = exporter.stats()
    assert stats.received == received
    assert set(map(str, stats.events_dropped)) <= {"duplicate"}, stats


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_through_the_sdk(exporters, value):
    """An application that records the value anywhere: attributes of spans, events, exceptions and logs, bodies."""
    started = time.process_time()
    provider = TracerProvider(
        resource=Resource({"service.name": "shop"}),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_attributes=20_000),
    )
    provider.add_span_processor(SimpleSpanProcessor(exporters[0]))
    log_provider = LoggerProvider(shutdown_on_exit=False)
    log_provider.add_log_record_processor(SimpleLogRecordProcessor(exporters[1]))
    logger, tracer = log_provider.get_logger("shop"), provider.get_tracer("shop")
    received = 0
    for key in KEYS:
        span = tracer.start_span("work", kind=SpanKind.CLIENT, attributes={"http.request.method": "GET"})
        if _is_refused_by_the_sdk(lambda span=span, key=key: span.set_attribute(key, value)):
            continue
        _is_refused_by_the_sdk(
            lambda span=span, key=key: span.add_event("exception", {"exception.type": "E", key: value})
        )
        span.end()
        record = LogRecord(timestamp=1, event_name="sold", attributes={key: value}, body=value)
        received += 1 + (not _is_refused_by_the_sdk(lambda record=record: logger.emit(record)))
    check(exporters, started, received)


def _is_refused_by_the_sdk(call):
    """Tell whether the SDK itself raises, as it does when it copies a cycle: then there is no item."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not come from here
        modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
        assert not any(name.startswith("otel_rum_exporter") for name in modules), modules
        return True
    return False


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_past_the_sdk(exporters, value):
    """Items whose attributes nothing has looked at, as other producers make them."""
    started = time.process_time()
    received = 0
    for number, key in enumerate(KEYS, 1):
        attributes = {"http.request.method": "GET", key: value}
        received += 2
        assert exporters[0].export([_span(number, attributes)]).name == "SUCCESS"
        assert exporters[1].export([_log(attributes, value)]).name == "SUCCESS"
    check(exporters, started, received)


def test_10_000_attributes(exporters):
    """On a span, its event and a log; ten of them become metadata."""
    started = time.process_time()
    attributes = {f"app.attribute.{number}": number for number in range(10_000)}
    exporters[0].export([_span(1, attributes)])
    exporters[1].export([_log(attributes, attributes)])
    check(exporters, started, 2)
    assert exporters[0].stats().delivered > 0


def _span(number, attributes):
    return ReadableSpan(
        name="work",
        context=SpanContext(0xABC, number, is_remote=False, trace_flags=TraceFlags(1)),
        resource=Resource({"service.name": "shop"}),
        attributes=attributes,
        events=[Event("exception", attributes, 1)],
        kind=SpanKind.CLIENT,
        start_time=1_700_000_000_000_000_000,
        end_time=1_700_000_000_500_000_000,
        instrumentation_scope=InstrumentationScope("tests"),
    )


def _log(attributes, body):
    record = LogRecord(timestamp=1_700_000_000_000_000_000, event_name="sold", attributes=attributes, body=body)
    return ReadableLogRecord(record, resource=Resource({}), instrumentation_scope=InstrumentationScope("tests"))


class Unprintable(Exception):  # noqa: N818 - no error of this project
    def __str__(self):
        raise RuntimeError("no text")


def test_an_exception_that_nobody_can_print(exporters):
    """The SDK may refuse it; the application's own error is not replaced by one of this package's."""
    started = time.process_time()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporters[0]))
    span = provider.get_tracer("shop").start_span("work")
    _is_refused_by_the_sdk(lambda: span.record_exception(Unprintable()))
    span.end()
    check(exporters, started, 1)
