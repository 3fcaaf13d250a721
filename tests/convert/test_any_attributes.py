"""Attributes are the application's: no value of any type makes conversion raise, hang, or send what AWS refuses."""

import json
import os
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from aws_schemas import Schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode
from straight_line import StraightLine, configured

from otel_rum_exporter.convert.attributes import read
from otel_rum_exporter.convert.conversion import Said
from otel_rum_exporter.events import MAX_EVENT_BYTES

MIB = 1024 * 1024
SESSION = "0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"
T = 1_790_000_000 * 10**9


ARMED = []


def explode_if_armed(value):
    """Only conversion must not ask: hypothesis shows values, too."""
    if ARMED:
        raise RuntimeError
    return type(value).__name__


@contextmanager
def armed():
    ARMED.append(True)
    try:
        yield
    finally:
        ARMED.clear()


class Explosive:
    """Must not be looked at."""

    __str__ = __repr__ = explode_if_armed


class Text(str):
    """As Django's SafeString."""

    __slots__ = ()
    __str__ = __repr__ = explode_if_armed


class Measure(float):
    """As numpy.float64."""

    __str__ = __repr__ = explode_if_armed


class Count(int):
    """As a member of an IntEnum."""

    __str__ = __repr__ = explode_if_armed


CYCLE = {}
CYCLE["self"] = [CYCLE, {"again": CYCLE}]
EXPLOSIVE = [Explosive(), Text("x" * 300), Measure(1.5), Measure("nan"), Count(7), object(), Explosive, len]

NAMES = [
    "http.request.method", "http.method", "url.full", "http.url", "http.response.status_code", "http.status_code",
    "http.status_text", "server.address", "server.port", "http.host", "url.scheme", "url.path", "url.query",
    "http.target", "net.peer.name", "error.type", "http.request.method_original", "user_agent.original",
    "exception.type", "exception.message", "exception.stacktrace", "exception.escaped", "code.file.path",
    "code.line.number", "session.id", "user.id", "enduser.id", "browser.document.url.full",
    "browser.web_vital.name", "browser.web_vital.value", "browser.web_vital.id", "event.name", "rpc.service",
    "event_type", "target_xpath", "target_element", "browser.css_selector", "browser.tag_name",
    "browser.element.attributes", "browser.resource_timing.duration", "browser.resource_timing.initiator_type",
    "browser.resource_timing.response_end", "browser.resource_timing.fetch_start",
    "browser.resource_timing.transfer_size", "browser.navigation_timing.type",
    "browser.navigation_timing.load_event_end", "browser.navigation_timing.load_event_start",
    "browser.navigation_timing.redirect_count", "screen.name", "app.tenant", "pageTags", "",
]  # fmt: skip
RESOURCE_NAMES = [
    "telemetry.sdk.language", "service.name", "service.version", "aws.rum.appmonitor.alias", "browser.brands",
    "browser.platform", "browser.mobile", "browser.language", "os.name", "os.version", "device.model.name",
    "user_agent.original", "user_agent.name", "geo.country.iso_code", "session.id", "user.id", "app.build",
]  # fmt: skip
LOG_NAMES = [
    None, "", "exception", "browser.navigation", "browser.web_vital", "session.start", "browser.console",
    "browser.navigation_timing", "browser.resource_timing", "browser.user_action.click", "device.crash", "device.anr",
    "app.screen.view_did_appear", "app.screen.click", "order.placed", "com.amazon.rum.js_error_event", "\ud800",
]  # fmt: skip
SPAN_NAMES = ["GET", "", "documentLoad", "documentFetch", "resourceFetch", "click", "longtask", "AppStart", "x\ud800"]
PLAUSIBLE = [
    "GET", "_OTHER", "https://jo:pw@shop.example/a?token=x", "http://[broken", "lcp", "cls", "inp", "0", "500", "404",
    "webjs", "python", "swift", "TypeError: x\n    at f (https://a/b.js:1:2)", 'File "a.py", line 3', "click",
    '//*[@id="x"]', "Not A;Brand 8", "null", SESSION, "fetch", "img", "navigate",
]  # fmt: skip

surrogates = st.text(st.characters(), max_size=30)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**700), max_value=10**700)
    | st.floats()
    | surrogates
    | st.sampled_from(PLAUSIBLE)
    | st.binary(max_size=20)
    | st.sampled_from(EXPLOSIVE)
    | st.just(CYCLE)
    | st.builds(lambda text, times: text * times, surrogates, st.integers(0, 2000))
)
values = st.recursive(
    scalars,
    lambda each: (
        st.lists(each, max_size=6)
        | st.tuples(each, each)
        | st.dictionaries(surrogates | st.integers() | st.just(Text("k")), each, max_size=4)
    ),
    max_leaves=12,
)


def attributes_with(names):
    return st.dictionaries(st.sampled_from(names) | surrogates, values, max_size=14)


def span(attributes, name="span", kind=SpanKind.INTERNAL, **members):
    defaults = {
        "context": SimpleNamespace(trace_id=0x8C32, span_id=0xB9A2, is_remote=False),
        "parent": None,
        "start_time": T,
        "end_time": T + 10**6,
        "status": SimpleNamespace(status_code=StatusCode.UNSET, description=None),
        "events": (),
        "resource": SimpleNamespace(attributes={"telemetry.sdk.language": "webjs"}),
        "instrumentation_scope": None,
    }
    return SimpleNamespace(name=name, kind=kind, attributes=attributes, **{**defaults, **members})


def span_event(name, attributes, timestamp=T):
    return SimpleNamespace(name=name, attributes=attributes, timestamp=timestamp)


def log(attributes, name=None, body=None, **members):
    defaults = {"timestamp": T, "observed_timestamp": T, "trace_id": 0, "span_id": 0, "event_name": name, "body": body}
    return SimpleNamespace(
        log_record=SimpleNamespace(attributes=attributes, **{**defaults, **members}),
        resource=SimpleNamespace(attributes={"telemetry.sdk.language": "webjs"}),
        instrumentation_scope=None,
    )


spans = st.builds(
    span,
    attributes_with(NAMES) | st.none(),
    name=st.sampled_from(SPAN_NAMES) | surrogates,
    kind=st.sampled_from(SpanKind),
    status=st.builds(
        lambda code, text: SimpleNamespace(status_code=code, description=text),
        st.sampled_from(StatusCode),
        st.none() | surrogates,
    ),
    start_time=st.sampled_from([None, 0, 1, T, 10**25]),
    end_time=st.sampled_from([None, 0, T + 1, 10**25]),
    resource=st.builds(lambda attributes: SimpleNamespace(attributes=attributes), attributes_with(RESOURCE_NAMES)),
    events=st.lists(
        st.builds(
            span_event,
            st.sampled_from(["exception", "abort", "fetchStart", "loadEventEnd", "coupon", "", "x\ud800"]),
            attributes_with(NAMES) | st.none(),
            timestamp=st.sampled_from([0, T, 10**25]),
        ),
        max_size=3,
    ),
)
logs = st.builds(
    log,
    attributes_with(NAMES) | st.none(),
    name=st.sampled_from(LOG_NAMES),
    body=values,
    timestamp=st.sampled_from([None, 0, T]),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "attributes": st.sampled_from([("*",), ("app.*", "e*"), ()]),
        "custom_events": st.sampled_from(["none", "events", "spans", "all"]),
        "http_events": st.sampled_from(["all", "failures", "none"]),
        "url_query": st.sampled_from(["redact", "keep", "drop"]),
        "stack_trace_length": st.sampled_from([0, 1, 1000, 6144]),
        "server_exceptions": st.sampled_from(["js_error", "custom"]),
        "page_id_format": st.sampled_from(["path", "hash", "path_and_hash"]),
        "domain": st.just("shop.example"),
        "xray_events": st.booleans(),
        "resource_details": st.sampled_from(["basic", "full"]),
    },
)


@pytest.fixture(scope="module")
def schemas(request):
    """AWS's schemas where they are at hand; the rest of what these tests say holds without them."""
    try:
        return Schemas(request.getfixturevalue("rum_schemas"))
    except pytest.skip.Exception:
        return None


def checked(line, schemas, *exports):
    """The events of what was exported, each within its size and as the schemas have it."""
    with armed():
        for items in exports:
            line.put(items)
        requests = line.requests()
    events = []
    for request in requests:
        json.dumps(request, allow_nan=False).encode()
        for event in request["RumEvents"]:
            assert len(event["details"].encode() + event["metadata"].encode()) <= MAX_EVENT_BYTES
            for text in (event["details"], event["metadata"], request.get("SessionMetadata", "{}")):
                json.loads(text, parse_constant=pytest.fail)
        assert not (schemas and schemas.problems_of_request(request))
        events += request["RumEvents"]
    return events


@given(st.lists(spans | logs, max_size=5), options, st.booleans())
@settings(max_examples=int(os.environ.get("RUM_EXAMPLES", "200")))
def test_no_value_is_too_strange(schemas, items, chosen, session_metadata):
    """Every item ends in events or in one drop reason; every event is valid."""
    line = StraightLine(configured(**chosen), session_metadata=session_metadata)
    checked(line, schemas, items)
    assert line.items_dropped["unconvertible"] == 0


@pytest.mark.parametrize(
    "value",
    [None, b"x", (1, 2), {"a": {1: 2}}, 10**400, -(10**400), float("nan"), CYCLE, "\ud800", *EXPLOSIVE],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", NAMES)
def test_each_attribute_with_each_strange_value(name, value, schemas):
    """Systematically what hypothesis tries at random."""
    http = {"http.request.method": "GET", "url.full": "https://shop.example/", "session.id": SESSION}
    vital = {"browser.web_vital.name": "lcp", "browser.web_vital.value": 1, "session.id": SESSION}
    line = StraightLine(configured(attributes=("*",), custom_events="all"))
    assert checked(
        line,
        schemas,
        [span({**http, name: value}, kind=kind) for kind in SpanKind],
        [span({**http, name: value}, events=[span_event("exception", {"exception.type": "E", name: value})])],
        [log({**vital, name: value}, each, body={name: value}) for each in LOG_NAMES],
    )


DEEP = "bottom"
for _ in range(200):
    DEEP = {"deeper": [DEEP]}
HEAVY = {
    "10 MB string": {
        "a": "ż" * (5 * MIB),
        "exception.message": "x" * (10 * MIB),
        "url.full": "/?" + "a=1&" * (2 * MIB),
    },
    "10 MB stack": {"exception.type": "E", "exception.stacktrace": "E\n" + "    at f (https://a/b.js:x)\n" * 400_000},
    "10 MB of parentheses": {"exception.type": "E", "exception.stacktrace": "at (" * (3 * MIB)},
    "10 MB of quotes": {"exception.type": "E", "exception.stacktrace": 'File "' * (2 * MIB)},
    "10 MB of one line": {"exception.type": "E", "exception.stacktrace": " " * (10 * MIB)},
    "10 MB of addresses": {"exception.type": "E", "exception.stacktrace": "https://a:1:2:" * 750_000},
    "10,000 attributes": {f"attribute.{i}": i for i in range(10_000)},
    "10,000 long names": {f"attribute.{i}." + "x" * 1000: "v" * 100 for i in range(10_000)},
    "200 levels": {"a": DEEP, "browser.element.attributes": DEEP},
    "a million members": {"a": list(range(1_000_000)), "b": dict.fromkeys(range(200_000), "v")},
    "a long host": {"http.request.method": "GET", "url.full": "https://" + "a." * (5 * MIB), "http.host": "[" * MIB},
    "a JSON body": {"browser.web_vital.name": "lcp", "browser.web_vital.value": 1},
}


@pytest.mark.parametrize("attributes", HEAVY.values(), ids=HEAVY)
def test_time_is_bounded(attributes, schemas):
    """No amount of content takes long: 10 MB of text, 10,000 attributes, 200 levels."""
    attributes = {"session.id": SESSION, **attributes}
    body = "[" * (10 * MIB) if "browser.web_vital.name" in attributes else attributes
    started = time.perf_counter()
    line = StraightLine(configured(attributes=("app.*", "*"), custom_events="all"))
    events = checked(
        line,
        schemas,
        [span(attributes, kind=kind, events=[span_event("exception", attributes)]) for kind in SpanKind],
        [log(attributes, name, body=body) for name in LOG_NAMES],
    )
    assert time.perf_counter() - started < 30  # wide, for machines that are busy; alone it takes a fraction of a second
    assert events


def test_unusual_attributes_cost_no_reflection(monkeypatch):
    """Where the typed step does not do, what a model asks for is known from before: else senders choose what it costs."""
    unusual = {"session.id": "", "user.id": "somebody"}
    expected = read(unusual, Said)
    monkeypatch.delattr("msgspec.structs.fields")
    assert read(unusual, Said) == expected
    assert expected.user_id == "somebody"
