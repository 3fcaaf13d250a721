"""AWS Lambda: nothing waits for the next invocation, and a freeze between two of them loses nothing."""

import os
import signal
from unittest.mock import MagicMock

import pytest
from lifecycle_proxy import Proxy
from opentelemetry.sdk.trace import TracerProvider

from otel_rum_exporter import DropReason, RumConfig, RumSpanExporter, aws_lambda
from otel_rum_exporter.aws_lambda import flush_after
from otel_rum_exporter.pipeline import Pipeline

# the runtime: a line of input is an invocation, "broken" raises; its number says how many milliseconds are left
RUNTIME = """
    import sys
    from lifecycle_apps import Shop
    from otel_rum_exporter import aws_lambda
    from otel_rum_exporter.aws_lambda import flush_after

    aws_lambda._LONGEST_S = 30  # for slow machines
    shop = Shop(batch=True, flush_interval=600_000, timeout=1_000, max_age=3_600_000)

    class Context:
        def get_remaining_time_in_millis(self):
            return self.left_ms

    @flush_after
    def handler(event, context):
        shop.sell(event)
        if event == "broken":
            raise KeyError(event)
        return f"sold {event}"

    context = Context()
    for line in sys.stdin:
        event, context.left_ms = line.split()[0], int(line.split()[1])
        try:
            print(handler(event, context), flush=True)
        except KeyError as error:
            print("raised", error, flush=True)
    shop.flush()
    shop.report()
"""

PLENTY = "900000"


def invoke(function, event, left_ms=PLENTY):
    function.write(f"{event} {left_ms}")
    return function.read()


def test_an_invocation_has_delivered_when_it_returns(applications, conserved):
    """Whether its handler returned or raised, although no batch was due."""
    with applications.start(RUNTIME) as function:
        assert invoke(function, "first") == "sold first"
        assert conserved.names() == ["first"]
        assert invoke(function, "broken") == "raised 'broken'"
        assert conserved.names() == ["broken", "first"]
        assert function.end() == (0, "", "")


def freeze(function):
    function.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, function.pid, os.WSTOPPED)


def thaw(function):
    function.signal(signal.SIGCONT)


needs_stops = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped on this system")


@needs_stops
@pytest.mark.parametrize("lose", [Proxy.close, Proxy.reset, Proxy.forget], ids=["closed", "reset", "forgotten"])
def test_a_connection_that_is_lost_during_a_freeze(applications, conserved, rum, lose):
    """The next invocation's events arrive on a new one, by its end or by that of the one after it."""
    conserved.answers_get_lost = lose is not Proxy.close
    runtime = RUNTIME if lose is Proxy.forget else RUNTIME.replace("timeout=1_000", "timeout=30_000")
    with (
        Proxy(rum.endpoint) as proxy,
        applications.start(runtime, OTEL_EXPORTER_RUM_ENDPOINT=proxy.url) as function,
    ):
        assert invoke(function, "before") == "sold before"
        assert conserved.names() == ["before"]
        for number in range(3):
            freeze(function)
            lose(proxy)
            thaw(function)
            assert invoke(function, f"after-{number}") == f"sold after-{number}"
        assert function.end()[0] == 0
        assert proxy.accepted > 1
    assert conserved.names() == ["after-0", "after-1", "after-2", "before"]


@needs_stops
def test_a_freeze_in_the_middle_of_a_request(applications, conserved, rum):
    """An invocation without time left does not wait for it; after the thaw it is tried again."""
    conserved.faults = ("hang",)
    rum.set_faults(hang="before", times=1)
    with (
        Proxy(rum.endpoint) as proxy,
        applications.start(RUNTIME, OTEL_EXPORTER_RUM_ENDPOINT=proxy.url) as function,
    ):
        assert invoke(function, "first", left_ms="600") == "sold first"
        freeze(function)
        proxy.close()
        thaw(function)
        assert invoke(function, "second") == "sold second"
        assert function.end()[0] == 0
    assert conserved.names() == ["first", "second"]


@pytest.mark.parametrize(
    ("max_age", "delivered", "dropped"),
    [(300_000, 0, {DropReason.EXPIRED: 1}), (3_600_000, 1, {})],
    ids=["longer than max_age", "shorter than max_age"],
)
def test_what_ages_during_a_freeze(options, conserved, max_age, delivered, dropped):
    """Where the clock goes on, what was left behind is ten minutes older at the thaw."""
    now = [0.0]
    config = RumConfig.load({**options, "max_age": max_age, "flush_interval": 60_000}, os.environ)
    pipeline = conserved.watch(Pipeline(config, clock=lambda: now[0]))
    try:
        pipeline.export_spans([_span()])
        now[0] += 600
        pipeline.flush(30)
        assert (pipeline.stats().delivered, pipeline.stats().events_dropped) == (delivered, dropped)
    finally:
        pipeline.shutdown(0)


def _span():
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("shop").start_span("work")
    span.end()
    return span


class Context:
    def __init__(self, answer):
        self.answer = answer

    def get_remaining_time_in_millis(self):
        return self.answer


class BrokenContext:
    def get_remaining_time_in_millis(self):
        raise RuntimeError("no runtime here")


@pytest.mark.parametrize(
    ("context", "left_s"),
    [
        (Context(60_000), 2),
        (Context(1_500), 1),
        (Context(500), 0),
        (Context(-7), 0),
        (Context("soon"), 2),
        (Context(None), 2),
        (Context("1000"), 2),
        (MagicMock(), 2),
        (BrokenContext(), 2),
        (object(), 2),
        (None, 2),
    ],
    ids=[
        *("a minute", "1.5 s", "the reserve", "over", "text", "nothing", "digits"),
        *("a mock", "one that raises", "another object", "none"),
    ],
)
def test_the_time_that_a_flush_may_take(conserved, context, left_s):
    """2 seconds, or all but half a second of what is left; no context at all limits nothing."""
    conserved.is_unreported = True
    assert aws_lambda._time_left_s(context) == left_s


def test_a_handler_keeps_its_name_arguments_and_errors(options, conserved):
    """The decorator changes nothing that the runtime or a caller sees."""
    exporter = conserved.watch(RumSpanExporter(**options))

    @flush_after
    def handler(event, context):
        """Sell something."""
        return event, context

    assert (handler.__name__, handler.__doc__) == ("handler", "Sell something.")
    assert handler(1, "none") == (1, "none")
    exporter.shutdown()


FAULTY_PROVIDER = """
    import time, threading
    from lifecycle_apps import Shop
    from opentelemetry.sdk.trace import SpanProcessor
    from otel_rum_exporter.aws_lambda import flushing

    class Broken(SpanProcessor):
        def force_flush(self, timeout_millis=30_000):
            {fault}

    shop = Shop(flush_interval=600_000)
    shop.provider.add_span_processor(Broken())
    with flushing():
        shop.sell("first")
    print("goes on")
    shop.exporter.force_flush(30_000)
    shop.report()
"""


@pytest.mark.parametrize(
    "fault", ["raise KeyError('other exporter')", "threading.Event().wait()"], ids=["raises", "hangs"]
)
def test_another_exporter_of_the_provider(applications, conserved, fault):
    """Whatever it does, the handler's end does not wait for it beyond its time, and this exporter loses nothing."""
    _, output, errors = applications.run(FAULTY_PROVIDER.format(fault=fault))
    assert output == "goes on\n"
    assert ("TracerProvider could not be flushed: KeyError" in errors) is ("raise" in fault)
    assert conserved.names() == ["first"]
