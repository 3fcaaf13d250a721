"""The span processor: whose session a span is stamped with."""

import gc
import threading
import weakref

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from requests_of_browsers import OTHER_SESSION, SESSION, USER, cookie, cwr_s

from otel_rum_exporter import RumSessionPropagator, RumSessionSpanProcessor
from otel_rum_exporter.callers.callers import CallerSession, Ignored
from otel_rum_exporter.sessions.identity import PROCESS_SESSION

SERVER = SpanKind.SERVER
WITH_SESSION = {"session.id": SESSION, "user.id": USER}
WITHOUT = {}
OF_PROCESS = {"session.id": PROCESS_SESSION.current}
REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
BY_COOKIE = {"cookie": cookie()}


@pytest.fixture
def tracer():
    return tracer_of()


def tracer_of(**provider):
    made = TracerProvider(shutdown_on_exit=False, **provider)
    made.add_span_processor(RumSessionSpanProcessor())
    return made.get_tracer("app")


def request(headers, context=None):
    return RumSessionPropagator().extract(headers, context)


def stamps(span):
    return {name: value for name, value in span.attributes.items() if name in ("session.id", "user.id")}


def caller_of(callers, span):
    return callers.get(span.context.span_id).caller


@pytest.mark.parametrize("kind", [SERVER, SpanKind.CONSUMER])
def test_request_with_a_session(tracer, kind):
    """An entry span and all that runs below it belong to the caller's session."""
    start = tracer.start_as_current_span
    with start("entry", request(BY_COOKIE), kind) as entry, start("child") as child:
        grandchild = tracer.start_span("grandchild", kind=SpanKind.CLIENT)
    assert [stamps(span) for span in (entry, child, grandchild)] == [WITH_SESSION] * 3


@pytest.mark.parametrize("kind", [SERVER, SpanKind.CONSUMER])
def test_request_without_a_session(tracer, kind):
    """A request that names no session gets none, and least of all the process's."""
    with tracer.start_as_current_span("entry", request({}), kind) as entry:
        child = tracer.start_span("child")
    assert [stamps(span) for span in (entry, child)] == [WITHOUT] * 2


@pytest.mark.parametrize("kind", [SERVER, SpanKind.INTERNAL])
def test_remote_parent(tracer, kind):
    """A trace that another process started belongs to the caller, whatever kind of span goes on with it."""
    parent = trace.set_span_in_context(NonRecordingSpan(REMOTE), Context())
    assert stamps(tracer.start_span("entry", request(BY_COOKIE, parent), kind)) == WITH_SESSION
    assert stamps(tracer.start_span("entry", request({}, parent), kind)) == WITHOUT
    assert stamps(tracer.start_span("entry", parent, kind)) == WITHOUT


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.PRODUCER])
def test_trace_of_the_process(tracer, kind):
    """A trace that starts in the process itself belongs to the process's session, with all its spans."""
    with tracer.start_as_current_span("job", Context(), kind) as job:
        child = tracer.start_span("child")
    assert [stamps(span) for span in (job, child)] == [OF_PROCESS] * 2


def test_server_within_a_span_of_the_process(tracer):
    """What runs below a span around the whole server is still the caller's, or nobody's."""
    with tracer.start_as_current_span("main", Context()) as main:
        current = trace.set_span_in_context(main, Context())
        assert stamps(tracer.start_span("entry", request(BY_COOKIE, current), SERVER)) == WITH_SESSION
        assert stamps(tracer.start_span("entry", request({}, current), SERVER)) == WITHOUT


def test_resource_with_a_session():
    """A process whose resource names its session keeps it for what it does itself."""
    tracer = tracer_of(resource=Resource({"session.id": "desktop"}))
    assert stamps(tracer.start_span("job", Context())) == WITHOUT


def test_the_application_wins(tracer):
    """What the application set itself is not overwritten, and the cookie's user is not put into another session."""
    own = {"session.id": "own"}
    assert stamps(tracer.start_span("entry", request(BY_COOKIE), SERVER, own)) == own
    own_user = {"user.id": "me"}
    assert stamps(tracer.start_span("entry", request(BY_COOKIE), SERVER, own_user)) == {
        "session.id": SESSION,
        **own_user,
    }


def test_later_attributes_reach_later_children(tracer):
    """An application that learns of the session within the request sets it on the span that is current."""
    with tracer.start_as_current_span("entry", request({}), SERVER) as entry:
        before = tracer.start_span("before")
        entry.set_attributes({"session.id": "late", "user.id": "me"})
        after = tracer.start_span("after")
    assert stamps(before) == WITHOUT
    assert stamps(after) == {"session.id": "late", "user.id": "me"}


@pytest.mark.parametrize("value", [7, "", ["x"]])
def test_attributes_that_name_nobody(tracer, value):
    """Attributes that are no text, or empty, name no session."""
    with tracer.start_as_current_span("job", Context(), attributes={"session.id": value}):
        assert stamps(tracer.start_span("child")) == WITHOUT


def test_not_recorded(tracer, callers):
    """A session that aws-rum-web does not record is stamped nowhere, and its spans are known."""
    with tracer.start_as_current_span("entry", request({"cookie": cookie(record=False)}), SERVER) as entry:
        child = tracer.start_span("child")
    assert [stamps(span) for span in (entry, child)] == [WITHOUT] * 2
    assert [caller_of(callers, span).record for span in (entry, child)] == [False] * 2


def test_unsampled_traces_cost_nothing(callers):
    """Spans that nobody records are not remembered."""
    tracer = tracer_of(sampler=ALWAYS_OFF)
    tracer.start_span("entry", request(BY_COOKIE), SERVER)
    assert len(callers) == 0


@pytest.mark.parametrize(
    ("attributes", "page_id", "domain"),
    [
        pytest.param({"http.request.method": "GET", "url.path": "/a", "server.address": "s.example"}, "/a", "s.example", id="new names"),
        pytest.param({"http.method": "GET", "http.target": "/a?b=1", "http.host": "s.example:80"}, "/a", "s.example", id="old names"),
        pytest.param({"messaging.system": "kafka"}, None, None, id="no page"),
    ],
)  # fmt: skip
def test_place(tracer, callers, attributes, page_id, domain):
    """The page is the cookie's, or what was asked for; the host is the request's."""
    entry = tracer.start_span("entry", request({"cookie": f"cwr_s={cwr_s()}"}), SERVER, attributes)
    known = CallerSession(session=SESSION, page_id="/cart", interaction=2, domain=domain)
    assert caller_of(callers, entry) == known
    entry = tracer.start_span("entry", request({"baggage": ""}, _in_baggage()), SERVER, attributes)
    assert caller_of(callers, entry) == CallerSession(session=SESSION, page_id=page_id, domain=domain)


def test_the_host_that_was_asked_for(tracer, callers):
    """Python's instrumentation of ASGI names the address that the server is bound to, the request its host."""
    attributes = {"http.request.method": "GET", "url.path": "/a", "server.address": "10.0.0.3:8000"}
    headers = {"cookie": f"cwr_s={cwr_s()}", "host": "s.example:443"}
    assert caller_of(callers, tracer.start_span("entry", request(headers), SERVER, attributes)).domain == "s.example"


def _in_baggage():
    return baggage.set_baggage("session.id", SESSION, Context())


def test_one_trace_of_two_callers(tracer):
    """Cached pages may give many users the same trace id: each span has the session of its own request."""
    parent = trace.set_span_in_context(NonRecordingSpan(REMOTE), Context())
    spans = []
    for headers in (BY_COOKIE, {"cookie": cookie(OTHER_SESSION)}, {}):
        with tracer.start_as_current_span("entry", request(headers, parent), SERVER):
            spans.append(tracer.start_span("child"))
    assert [stamps(span).get("session.id") for span in spans] == [SESSION, OTHER_SESSION, None]


def test_memory_is_bounded(tracer, callers):
    """Of more spans than are remembered, those that were idle longest are forgotten; the others go on."""
    callers._most = 3
    with tracer.start_as_current_span("entry", request(BY_COOKIE), SERVER) as entry:
        spans = [tracer.start_span("child") for _ in range(4)]
    assert len(callers) == 3
    assert [callers.get(span.context.span_id) is None for span in (entry, *spans)] == [False, True, True, False, False]
    assert [stamps(span) for span in spans] == [WITH_SESSION] * 4


def test_whose_a_span_is_at_last(tracer, callers):
    """While a span runs its session may still change; no span is kept, not even one that never ends."""
    with tracer.start_as_current_span("entry", request(BY_COOKIE), SERVER) as entry:
        entry.set_attribute("user.id", "me")
        assert callers.get(entry.context.span_id).identity == (SESSION, "me")
        entry.set_attribute("user.id", "you")
    assert callers.get(entry.context.span_id).identity == (SESSION, "you")
    never_ended = tracer.start_span("entry", request(BY_COOKIE), SERVER)
    known, gone = callers.get(never_ended.context.span_id), weakref.ref(never_ended)
    del never_ended
    gc.collect()
    assert gone() is None
    assert known.identity == (SESSION, USER)


def test_many_threads(tracer, callers):
    """Requests on many threads at once have each their own session, and counting loses nothing."""

    def serve(number):
        session = f"00000000-0000-4000-8000-{number:012d}"
        for _ in range(20):
            with tracer.start_as_current_span("entry", request({"cookie": f"cwr_s={cwr_s(session)}"}), SERVER):
                wrong.extend(session for span in [tracer.start_span("x")] if stamps(span) != {"session.id": session})
            request({"cookie": "cwr_s=!"})

    wrong = []
    threads = [threading.Thread(target=serve, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(callers) == 800
    assert callers.ignored() == {Ignored.NOT_BASE64: 400}


class Hostile:
    """A span that raises at every touch."""

    def __getattr__(self, _name):
        raise RuntimeError("do not touch")


def test_never_raises(callers):
    """Starting a span does not fail because of this processor."""
    RumSessionSpanProcessor().on_start(Hostile(), Context())
    assert callers.ignored() == {Ignored.UNREADABLE: 1}
