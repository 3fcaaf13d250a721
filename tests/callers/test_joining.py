"""Items on their way into the pipeline: logs find their session, pages follow, unrecorded sessions are dropped."""

from contextlib import contextmanager

import pytest
from opentelemetry import context, trace
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from requests_of_browsers import OTHER_SESSION, SESSION, USER, cookie

from otel_rum_exporter import DropReason, RumSessionPropagator, RumSessionSpanProcessor
from otel_rum_exporter.callers.joining import join_log, join_span
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.sessions.identity import PROCESS_SESSION

SERVER = SpanKind.SERVER
REQUEST = {"http.request.method": "GET", "url.path": "/api", "http.response.status_code": 200}
HOST = {"server.address": "s.example"}
NOT_RECORDED = {"cookie": cookie(record=False)}
REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Application:
    """A tracer and a logger, and what the pipeline would admit of what they wrote."""

    def __init__(self, *, sampler=None, resource=None, process_takes_all=False):
        resource = resource or Resource({})
        spans = TracerProvider(sampler, resource, shutdown_on_exit=False)
        spans.add_span_processor(RumSessionSpanProcessor())
        logs = LoggerProvider(resource, shutdown_on_exit=False)
        self._exported = InMemoryLogRecordExporter()
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._exported))
        self.tracer, self._logger = spans.get_tracer("app"), logs.get_logger("app")
        self._converter = Converter(RumConfig(app_monitor_id="11111111-2222-3333-4444-555555555555"))
        self._mode = {"process_takes_all": process_takes_all}

    @contextmanager
    def serve(self, headers, received=None, attributes=None):
        """Serve a request as the instrumentations of web frameworks do."""
        token = context.attach(RumSessionPropagator().extract(headers, received))
        try:
            attributes = {**REQUEST, **(attributes or {})}
            with self.tracer.start_as_current_span("GET /api", kind=SERVER, attributes=attributes) as entry:
                yield entry
        finally:
            context.detach(token)

    def span(self, span):
        return join_span(self._converter.span(span), span, **self._mode)

    def log(self, attributes=None):
        self._logger.emit(LogRecord(event_name="bought", attributes=attributes))
        (log,) = self._exported.get_finished_logs()
        self._exported.clear()
        return join_log(self._converter.log(log, LogEventIds()), log, **self._mode)


@pytest.fixture
def app():
    return Application()


def whose(converted):
    return converted if isinstance(converted, DropReason) else (converted.session, converted.user)


def pages(converted):
    return [(draft.page.pageId, draft.page.interaction, draft.domain) for draft in converted.events]


def test_log_of_a_request(app):
    """A log record joins the session of the span that it was written in."""
    with app.serve({"cookie": cookie()}):
        assert whose(app.log()) == (SESSION, USER)
        with app.tracer.start_as_current_span("inner"):
            assert whose(app.log()) == (SESSION, USER)


def test_log_names_its_session_itself(app):
    """Its own attributes win."""
    with app.serve({"cookie": cookie()}):
        assert whose(app.log({"session.id": "own"})) == ("own", None)


def test_session_set_within_the_request(app):
    """A log follows the session that its span has at last."""
    with app.serve({}) as entry:
        entry.set_attribute("session.id", "late")
        assert whose(app.log()) == ("late", None)


def test_log_of_an_unsampled_request():
    """Where the trace is not sampled its logs belong to nobody, and not to the process."""
    app = Application(sampler=ALWAYS_OFF)
    with app.serve({"cookie": cookie()}):
        assert app.log() is DropReason.NO_SESSION


def test_request_without_a_session(app):
    """Nothing of it is exported, not even before the entry span has ended."""
    with app.serve({}) as entry:
        child = app.tracer.start_span("child")
        assert [app.span(child), app.log()] == [DropReason.NO_SESSION] * 2
    assert app.span(entry) is DropReason.NO_SESSION


def test_mode_process():
    """Where the process's session takes all, requests without a session are left to it."""
    app = Application(process_takes_all=True)
    with app.serve({}) as entry:
        assert whose(app.log()) == (None, None)
    entry.end()
    assert whose(app.span(entry)) == (None, None)


@pytest.mark.parametrize("process_takes_all", [False, True])
def test_not_recorded(process_takes_all):
    """Of a session that aws-rum-web does not record nothing is exported, whatever the mode."""
    app = Application(process_takes_all=process_takes_all)
    with app.serve(NOT_RECORDED) as entry:
        child = app.tracer.start_span("child")
        child.end()
        assert [app.span(child), app.log()] == [DropReason.SAMPLED_OUT] * 2
        assert app.log({"session.id": SESSION}) is DropReason.SAMPLED_OUT
    entry.end()
    assert app.span(entry) is DropReason.SAMPLED_OUT


def test_own_traces(app):
    """What the process does itself is in its session, logs included."""
    with app.tracer.start_as_current_span("job", Context()) as job:
        assert whose(app.log()) == (PROCESS_SESSION.current, None)
    assert whose(app.span(job)) == (PROCESS_SESSION.current, None)


def test_log_outside_of_everything(app):
    """It is left to the session mode, until the process has served a request."""
    assert whose(app.log()) == (None, None)
    with app.serve({"cookie": cookie()}):
        pass
    assert app.log() is DropReason.NO_SESSION


def test_resource_with_a_session():
    """The resource's session is that of everything the process does itself."""
    app = Application(resource=Resource({"session.id": "desktop"}))
    with app.tracer.start_as_current_span("job", Context()) as job:
        assert whose(app.log()) == ("desktop", None)
    assert whose(app.span(job)) == ("desktop", None)


def test_page_of_the_cookie(app):
    """Entry span, child and log are on the page that the browser was on, at the host that was asked for."""
    with app.serve({"cookie": cookie()}, attributes=HOST) as entry:
        child = app.tracer.start_span("child")
        child.end()
        assert pages(app.log()) == pages(app.span(child)) == [("/cart", 2, "s.example")]
    assert pages(app.span(entry)) == [("/cart", 2, "s.example")]


def test_page_that_was_asked_for(app):
    """Without a page in the cookie they are on the page that the server was asked for."""
    headers = {"cookie": cookie(page_id="", interaction=None)}
    with app.serve(headers, attributes=HOST) as entry:
        converted = app.log()
    assert [draft.page.pageId for draft in converted.events + app.span(entry).events] == ["/api", "/api"]


def test_other_sessions_are_not_on_that_page(app):
    """An application that names another session does not get the cookie's page."""
    with app.serve({"cookie": cookie()}, attributes={"session.id": "own"}) as entry:
        pass
    assert [draft.page.pageId for draft in app.span(entry).events] == ["/api"]


def test_one_trace_of_two_callers(app):
    """Cached pages may give many users the same trace id: no log or span gets into another's session."""
    parent = trace.set_span_in_context(NonRecordingSpan(REMOTE), Context())
    found = []
    for headers in ({"cookie": cookie()}, {"cookie": cookie(OTHER_SESSION, user="")}, {}, NOT_RECORDED):
        with app.serve(headers, parent) as entry:
            found.append(whose(app.log()))
        found.append(whose(app.span(entry)))
    own, other, none = (SESSION, USER), (OTHER_SESSION, None), DropReason.NO_SESSION
    assert found == [own] * 2 + [other] * 2 + [none] * 2 + [DropReason.SAMPLED_OUT] * 2


def test_without_a_processor(app, callers):
    """Where no processor is installed nothing changes."""
    with app.serve({"cookie": cookie()}):
        callers.has_processor = False
        assert whose(app.log()) == (None, None)
