"""What several reports of one thing become, and what an item's source lets it be."""

import builtins
import json
import logging
import sys
from queue import Empty
from types import SimpleNamespace

import pytest
from msgspec import UNSET
from opentelemetry.trace import SpanKind
from straight_line import StraightLine
from test_any_attributes import SESSION, T, configured, log, span, span_event

from otel_rum_exporter import DropReason
from otel_rum_exporter.convert import Converter, LogEventIds

SERVER = {"telemetry.sdk.language": "python"}
JAVA = {"telemetry.sdk.language": "java", "host.name": "backend-1", "os.name": "Linux", "os.version": "5.15"}
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1"


def details(draft):
    return json.loads(draft.details)


def raised(error):
    """An exception's attributes as spans have them, and as the SDK's logging handler does."""
    try:
        raise error  # noqa: TRY301 - to give it a traceback
    except Exception as caught:  # noqa: BLE001 - whatever it is
        stack = logging.Formatter().formatException((type(caught), caught, caught.__traceback__))
    name, module = type(error).__name__, type(error).__module__
    qualified = name if module == "builtins" else f"{module}.{name}"
    first = str(error.args[0]) if error.args else ""
    in_span = {"exception.type": qualified, "exception.message": str(error), "exception.stacktrace": stack}
    return in_span, {"exception.type": name, "exception.message": first, "exception.stacktrace": stack}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(2, "No such file", "/etc/x"), "[Errno 2] No such file: '/etc/x'"),
        (KeyError("k"), "'k'"),
        (ValueError("of two\nlines"), "of two\nlines"),
        (ValueError("a: b"), "a: b"),
        (TimeoutError(), "TimeoutError"),
        (Empty(), "Empty"),
    ],
    ids=repr,
)
def test_an_exception_of_a_span_and_of_a_log(error, message):
    """One event, whose message is the exception's and not its first argument alone."""
    assert only_report(*raised(error))["message"] == message


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 has exception groups")
@pytest.mark.parametrize("members", [1, 2])
def test_an_exception_group_of_a_span_and_of_a_log(members):
    """As of the tasks of a TaskGroup: the message counts them, which the first argument does not."""
    group = builtins.ExceptionGroup("of tasks", [ValueError("a: b"), TimeoutError()][:members])
    in_span, in_log = raised(group)
    assert only_report(in_span, in_log)["message"] == in_span["exception.message"] != in_log["exception.message"]


def only_report(in_span, in_log):
    """The details of the one event that an exception becomes that a span and a log record hold."""
    context = {"trace_id": 0x8C32, "span_id": 0xB9A2}
    line = StraightLine(configured(session="process"))
    events = [span_event("exception", in_span)]
    line.put([span({"session.id": SESSION}, events=events, resource=SimpleNamespace(attributes=SERVER))])
    line.put([SimpleNamespace(**{**vars(log({"session.id": SESSION, **in_log}, "x", **context)),
                                 "resource": SimpleNamespace(attributes=SERVER)})])  # fmt: skip
    (request,) = line.requests()
    (event,) = [each for each in request["RumEvents"] if each["type"].endswith("js_error_event")]
    assert line.events_dropped + line.items_dropped == {"duplicate": 1}
    return json.loads(event["details"])


def paint(value, reported_s=0):
    attributes = {"session.id": SESSION}
    return log(attributes, "browser.web_vital", {"name": "lcp", "value": value, "id": "v1"},
               observed_timestamp=T + reported_s * 10**9)  # fmt: skip


def test_a_paint_that_is_reported_again():
    """Of reports that wait the last counts; once one was sent, it is all."""
    line = StraightLine()
    line.put([paint(1000), paint(2500, 1)])
    (request,) = line.requests()
    values = [json.loads(each["details"])["value"] for each in request["RumEvents"] if "paint" in each["type"]]
    assert values == [2500]
    line.put([paint(3000, 2)])
    assert line.requests() == []
    assert line.events_dropped == {"duplicate": 2}


@pytest.mark.parametrize("length", [0, 50, 1000])
def test_stacks_of_failed_calls(length):
    """They are cut as those of exceptions are, and shorter; without stacks there are none."""
    stack = "Traceback (most recent call last):\n" + '  File "a.py", line 1, in f\n    g()\n' * 20 + "OSError: no"
    events = [span_event("exception", {"exception.type": "OSError", "exception.stacktrace": stack})]
    call = span({"http.request.method": "GET", "url.full": "https://a.example/"}, kind=SpanKind.CLIENT, events=events)
    error = details(Converter(configured(stack_trace_length=length)).span(call).events[0])["error"]
    assert len(error.get("stack", "")) <= min(length, 200) + len("...")
    assert ("stack" in error) == (length > 0)


@pytest.mark.parametrize("service", ["RUM", "CloudWatch RUM"])
def test_own_calls_as_botocore_traces_them(service):
    """With a status and without a method: never telemetry of their own."""
    attributes = {
        "rpc.system": "aws-api",
        "rpc.service": service,
        "rpc.method": "PutRumEvents",
        "http.status_code": 200,
    }
    call = span(attributes, name=f"{service}.PutRumEvents", kind=SpanKind.CLIENT)
    assert Converter(configured(custom_events="all")).span(call) is DropReason.SELF_TRAFFIC


@pytest.mark.parametrize("names", [("http.request.method", "url.full", "http.response.status_code"),
                                   ("http.method", "http.url", "http.status_code")])  # fmt: skip
@pytest.mark.parametrize("language", ["python", "webjs"])
@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.SERVER, SpanKind.INTERNAL])
def test_an_api_at_a_path_of_otlp(names, language, kind):
    """Telemetry is POSTed: an application whose own API is asked for /v1/metrics sees its calls."""
    resource = SimpleNamespace(attributes={"telemetry.sdk.language": language})
    converter = Converter(configured())
    for method, is_kept in [("GET", True), ("POST", False)]:
        attributes = dict(zip(names, (method, "https://api.shop.example/v1/metrics", 200), strict=True))
        converted = converter.span(span(attributes, kind=kind, resource=resource))
        assert (converted is not DropReason.SELF_TRAFFIC) is is_kept


@pytest.mark.parametrize("name", ["device.hang", "device.crash", "app.crash", "device.anr"])
def test_faults_of_an_app_keep_their_exception(name):
    attributes = {"exception.type": "Hang", "exception.message": "stood still", "session.id": SESSION}
    (event,) = Converter(configured()).log(log(attributes, name), LogEventIds()).events
    assert event.type.endswith("js_error_event")
    assert details(event)["message"] == "stood still"


@pytest.mark.parametrize("name", ["user.id", "enduser.pseudo.id", "enduser.id", "app.installation.id"])
def test_a_resource_may_name_the_user(name):
    """By the same names as items, which is where OpenTelemetry has the installation of an app."""
    resource = SimpleNamespace(attributes={"telemetry.sdk.language": "swift", name: "u-1", "session.id": SESSION})
    converted = Converter(configured()).span(span({}, name="AppStart", resource=resource))
    assert (converted.origin.user, converted.origin.session) == ("u-1", SESSION)


@pytest.mark.parametrize(("alias", "known"), [("a" * 255, "a" * 255), ("a" * 256, None), ("", None)])
def test_an_alias_that_is_too_long(alias, known):
    """The API refuses it with all events of the request; half of it is nobody's."""
    resource = SimpleNamespace(attributes={**SERVER, "aws.rum.appmonitor.alias": alias})
    assert Converter(configured()).span(span({}, resource=resource)).origin.monitor.alias == known


def okhttp(attributes):
    scope = SimpleNamespace(name="io.opentelemetry.okhttp-3.0", version=None, attributes={})
    call = {"http.request.method": "GET", "url.full": "https://a.example/", "http.response.status_code": 500}
    item = span(
        call, kind=SpanKind.CLIENT, resource=SimpleNamespace(attributes=attributes), instrumentation_scope=scope
    )
    return Converter(configured()).span(item).origin


def test_a_server_that_calls_as_apps_do():
    """Java's agent has instrumentations that Android has: a server's machine is nobody's device."""
    assert not okhttp(JAVA).is_client
    assert okhttp({"telemetry.sdk.language": "java", "os.name": "Android", "device.model.name": "Pixel 9"}).is_client
    assert okhttp({**JAVA, "rum.sdk.version": "1.0.0"}).is_client


@pytest.mark.parametrize(
    ("attributes", "device"),
    [
        ({"user_agent.original": PHONE}, "mobile"),
        ({"user_agent.original": PHONE.replace("iPhone", "iPad")}, "tablet"),
        ({"user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"}, "desktop"),
        ({"browser.mobile": False, "user_agent.original": PHONE}, "desktop"),
        ({}, "desktop"),
        ({"browser.mobile": True, "browser.platform": "Android"}, "mobile"),
        ({"browser.mobile": False, "browser.platform": "Android"}, "tablet"),
        ({"browser.platform": "Android"}, "mobile"),
        ({"browser.mobile": False, "browser.platform": "Chrome OS"}, "desktop"),
    ],
)
def test_the_device_of_a_browser(attributes, device):
    """Client hints say what it is, Android's that are not mobile are tablets; else the user agent, else it is a desktop."""
    resource = SimpleNamespace(attributes={"telemetry.sdk.language": "webjs", **attributes})
    origin = Converter(configured()).span(span({}, name="x", resource=resource)).origin
    assert origin.client.deviceType == device


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (PHONE, "mobile"),
        (PHONE.replace("iPhone", "iPad"), "tablet"),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox/150.0", "desktop"),
        ("okhttp/5.1.0", UNSET),
    ],
)
def test_the_device_of_a_browser_that_only_its_spans_name(user_agent, device):
    """As with a resource of a service's name alone, which is what browsers' set-ups often have."""
    scope = SimpleNamespace(name="@opentelemetry/instrumentation-document-load", version=None, attributes={})
    resource = SimpleNamespace(attributes={"service.name": "shop"})
    item = span({"http.user_agent": user_agent}, resource=resource, instrumentation_scope=scope)
    client = Converter(configured()).span(item).origin.client
    assert (client.user_agent, client.deviceType) == (user_agent, device)


def test_a_status_that_nobody_else_has():
    call = span({"http.request.method": "GET", "http.response.status_code": 999}, kind=SpanKind.CLIENT)
    assert details(Converter(configured()).span(call).events[0])["response"] == {"status": 999}


def test_a_server_has_no_xml_http_request():
    events = [span_event("timeout", {})]
    resource = SimpleNamespace(attributes=SERVER)
    attributes = {"http.request.method": "GET", "error.type": "ReadTimeout"}
    call = span(attributes, kind=SpanKind.CLIENT, events=events, resource=resource)
    assert details(Converter(configured()).span(call).events[0])["error"]["type"] == "ReadTimeout"
