"""Setting it up: one line, as often as one likes, and by itself under opentelemetry-instrument."""

import pytest
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider, SpanKind
from requests_of_browsers import SESSION, cookie, cwr_s

from otel_rum_exporter import (
    ConfigError,
    RumSessionPropagator,
    RumSessionSpanProcessor,
    RumSpanExporter,
    join_browser_sessions,
)
from otel_rum_exporter.callers import processors

MONITOR_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def _global_state(monkeypatch):
    """Neither configuration nor propagators of other tests."""
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([W3CBaggagePropagator()]))
    monkeypatch.setenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID", MONITOR_ID)
    yield
    propagate.set_global_textmap(before)


class Recording(TracerProvider):
    """The SDK's provider, which also tells which processors it was given."""

    def __init__(self, **options):
        super().__init__(shutdown_on_exit=False, **options)
        self.given = []

    def add_span_processor(self, span_processor):
        self.given.append(span_processor)
        super().add_span_processor(span_processor)


def session_of(provider, headers):
    span = provider.get_tracer("app").start_span("GET", propagate.extract(headers, Context()), SpanKind.SERVER)
    return span.attributes.get("session.id")


def test_one_line():
    """Afterwards the spans of a request are in the browser's session; what propagated before still does."""
    provider = Recording()
    assert join_browser_sessions(provider)
    assert session_of(provider, {"cookie": cookie()}) == SESSION
    assert session_of(provider, {"baggage": "session.id=from-baggage"}) == "from-baggage"


def test_again():
    """A second call changes nothing; another provider gets its own processor."""
    provider, other = Recording(), Recording()
    join_browser_sessions(provider)
    composite = propagate.get_global_textmap()
    join_browser_sessions(provider)
    join_browser_sessions(other)
    assert [type(each) for each in provider.given + other.given] == [RumSessionSpanProcessor] * 2
    assert propagate.get_global_textmap() is composite


def test_propagator_is_there_already():
    """OTEL_PROPAGATORS may have named it."""
    named = CompositePropagator([RumSessionPropagator()])
    propagate.set_global_textmap(named)
    join_browser_sessions(Recording())
    assert propagate.get_global_textmap() is named


def test_options():
    """Options are those of the exporters, by argument or environment; a bad one is refused."""
    provider = Recording()
    join_browser_sessions(provider, session_headers="x-session")
    assert session_of(provider, {"x-session": SESSION}) == SESSION
    with pytest.raises(ConfigError, match="session_sample_rate"):
        join_browser_sessions(Recording(), session_sample_rate=7)


def test_app_monitor_of_the_resource(monkeypatch):
    """The resource may name the app monitor, whose id may be in the cookie's name."""
    monkeypatch.delenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID")
    provider = Recording(resource=Resource({"aws.rum.appmonitor.id": MONITOR_ID}))
    join_browser_sessions(provider)
    assert session_of(provider, {"cookie": f"cwr_s_{MONITOR_ID}={cwr_s()}"}) == SESSION


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), None], ids=["no-op", "global proxy"])
def test_without_sdk(provider):
    """Without the SDK there is nothing to join, and nothing changes."""
    before = propagate.get_global_textmap()
    assert join_browser_sessions(provider) is False
    assert propagate.get_global_textmap() is before


def test_hook_without_exporter(monkeypatch):
    """opentelemetry-instrument calls the hook in every application of the environment: without an exporter it rests."""
    provider = Recording()
    monkeypatch.setattr(processors.trace, "get_tracer_provider", lambda: provider)
    processors.join_when_exporting()
    assert provider.given == []
    exporter = RumSpanExporter()
    processors.join_when_exporting()
    exporter.shutdown()
    assert len(provider.given) == 1


def test_hook_never_raises(monkeypatch, caplog):
    """An exception in the hook would end the set-up of everything else."""
    monkeypatch.setattr(processors.exporters, "is_in_use", lambda: 1 / 0)
    processors.join_when_exporting()
    assert "cannot join the sessions of browsers: ZeroDivisionError" in caplog.text
