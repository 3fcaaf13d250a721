"""An HTTP call that is converted in one step becomes exactly what it becomes on the general way."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode
from test_any_attributes import NAMES, SESSION, T, Text, configured, options, span, span_event, values

from otel_rum_exporter.convert import Converter, usual_call

CALL = {
    "http.request.method": "GET",
    "url.full": "https://api.shop.example/products/5?page=2&token=abc",
    "http.response.status_code": 200,
    "server.address": "api.shop.example",
    "session.id": SESSION,
}
PYTHON = SimpleNamespace(attributes={"telemetry.sdk.language": "python", "user.id": "u-1"})
NAMELESS = SimpleNamespace(attributes={})
BROWSER = SimpleNamespace(attributes={"telemetry.sdk.language": "webjs"})


def call(attributes=None, **members):
    members = {"kind": SpanKind.CLIENT, "name": "GET", "resource": PYTHON, **members}
    return span({**CALL, **(attributes or {})}, **members)


def both_ways(item, config):
    """What an item becomes, once with the step and once without, and whether the step did it."""
    known = []
    converter, general = Converter(config), Converter(config)
    general._asks_for_usual_calls = False
    with pytest.MonkeyPatch.context() as patch:
        convert = usual_call.convert
        patch.setattr(usual_call, "convert", lambda *told: known.append(convert(*told)) or known[-1])
        converted = outcome(converter, item)
    return converted, outcome(general, item), any(each is not None for each in known)


def outcome(converter, item):
    try:
        return converter.span(item)
    except Exception as error:  # noqa: BLE001 - the pipeline counts the item as unconvertible
        return type(error)


@pytest.mark.parametrize(
    "item",
    [
        call(),
        call({"http.response.status_code": 503, "user.id": "me", "session.previous_id": "before"}),
        call({"http.request.method": "POST", "url.full": "http://[broken", "http.response.status_code": 404}),
        call({"url.full": "https://jo:pw@shop.example/jo@shop.example?code=1#eyJhbGciOiJIUzI1NiJ9.e30.x"}),
        call({"http.method": "PUT", "http.url": "https://old.example/", "http.status_code": 500}),
        call({"url.full": Text("https://shop.example/as-a-subclass")}),
        call(status=SimpleNamespace(status_code=StatusCode.ERROR, description="no")),
    ],
    ids=range(7),
)
def test_usual_calls(item):
    """Whatever their URLs hold."""
    converted, general, is_usual = both_ways(item, configured())
    assert is_usual
    assert converted == general


@pytest.mark.parametrize(
    "item",
    [
        call(kind=SpanKind.SERVER),
        call(resource=BROWSER),
        call(resource=NAMELESS),
        call(events=(span_event("exception", {"exception.type": "E"}),)),
        call({"http.request.method": "_OTHER"}),
        call({"http.request.method": "get"}),
        call({"http.response.status_code": 0}),
        call({"http.response.status_code": 299}),
        call({"http.response.status_code": "200"}),
        call({"http.response.status_code": True}),
        call({"http.status_text": "Fine"}),
        call({"rpc.service": "RUM"}),
        call({"browser.document.url.full": "https://shop.example/cart"}),
        call({"app.screen.title": "Cart"}),
        call({"url.full": "https://dataplane.rum.us-east-1.amazonaws.com/appmonitors/" + SESSION}),
        call({"url.full": "https://shop.example/" + "\xe4"}),
        call({"url.full": "https://shop.example/" + "x" * 10_000}),
        call({"url.full": ""}),
        call({"url.full": 5}),
        call(end_time=None),
        call(end_time=5),
        call(context=None),
        call(context=SimpleNamespace(trace_id=0, span_id=0xB9A2, is_remote=False)),
        call(context=SimpleNamespace(trace_id=0x8C32, span_id=0, is_remote=False)),
    ],
    ids=range(24),
)
def test_unusual_calls(item):
    """Each takes the general way, and becomes something else than a usual call, or nothing."""
    converted, general, is_usual = both_ways(item, configured())
    assert not is_usual
    assert converted == general


@pytest.mark.parametrize(
    "chosen",
    [
        {"attributes": ("app.*",)},
        {"http_events": "failures"},
        {"xray_events": True},
        {"convert": lambda _, events: events},
    ],
    ids=["attributes", "http_events", "xray_events", "convert"],
)
def test_options_that_ask_for_more(chosen):
    """With these a call becomes more than one event, or none, or has attributes."""
    assert not usual_call.is_asked_for(configured(**chosen))


@given(
    st.builds(
        call,
        st.dictionaries(st.sampled_from(NAMES), values, max_size=3),
        resource=st.sampled_from([PYTHON, NAMELESS, BROWSER]),
        name=st.sampled_from(["GET", "documentFetch", "CORS Preflight", "x\ud800"]),
        end_time=st.sampled_from([None, 0, T + 1, T + 1_234_567, 10**25]),
        context=st.builds(
            lambda trace_id, span_id: SimpleNamespace(trace_id=trace_id, span_id=span_id, is_remote=False),
            st.integers(-1, 2**128),
            st.integers(-1, 2**64),
        ),
    ),
    options,
)
@settings(max_examples=int(os.environ.get("RUM_EXAMPLES", "300")))
def test_both_ways_come_to_the_same(item, chosen):
    """For any call, under any options."""
    converted, general, _ = both_ways(item, configured(**chosen))
    assert converted == general
