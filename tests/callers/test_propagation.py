"""The propagator: what a request says of its session reaches the context, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.instrumentation.wsgi import wsgi_getter
from opentelemetry.propagators.composite import CompositePropagator
from requests_of_browsers import NOBODY, OTHER_SESSION, SESSION, USER, cookie, cwr_s

from otel_rum_exporter.callers.callers import CallerSession, Ignored, caller_of, was_examined
from otel_rum_exporter.callers.propagation import RumSessionPropagator
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.sessions.identity import session_uuid

MONITOR_ID = "11111111-2222-3333-4444-555555555555"

FROM_COOKIE = CallerSession(session=SESSION, user=USER, page_id="/cart", interaction=2)


def caller(headers, context=None, **options):
    propagator = RumSessionPropagator(RumConfig(app_monitor_id=MONITOR_ID, **options))
    return caller_of(propagator.extract(headers, context))


def wsgi(headers):
    return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}, wsgi_getter


def asgi(headers):
    return {"headers": [(name.lower().encode(), value.encode()) for name, value in headers]}, asgi_getter


@pytest.mark.parametrize("carrier_of", [wsgi, asgi], ids=["WSGI", "ASGI"])
def test_carriers_of_web_frameworks(carrier_of):
    """The session is found in the environ of WSGI and in the scope of ASGI, with the host that the request is for."""
    carrier, getter = carrier_of([("Host", "shop.example"), ("Cookie", cookie())])
    found = caller_of(RumSessionPropagator().extract(carrier, getter=getter))
    assert found == replace(FROM_COOKIE, domain="shop.example")


def test_several_cookie_headers():
    """HTTP/2 may split the cookies over several headers."""
    carrier, getter = asgi([("cookie", "theme=dark"), ("cookie", f"cwr_s={cwr_s()}"), ("cookie", f"cwr_u={USER}")])
    assert caller_of(RumSessionPropagator().extract(carrier, getter=getter)) == FROM_COOKIE


@pytest.mark.parametrize("name", ["cookie", "Cookie", "COOKIE"])
def test_names_in_any_case(name):
    """Plain dicts of headers, such as AWS Lambda's, may have names in upper case."""
    assert caller({name: cookie()}) == FROM_COOKIE


def test_nothing():
    """A request without a session has no caller, but is known to be a request."""
    context = RumSessionPropagator().extract({"cookie": "theme=dark"})
    assert caller_of(context) is None
    assert was_examined(context)
    assert not was_examined(Context())


def test_cookie_of_the_app_monitor():
    """With aws-rum-web's option `unique` the cookie's name ends with the app monitor's id; another's is not ours."""
    other = "99999999-2222-3333-4444-555555555555"
    assert caller({"cookie": f"cwr_s_{MONITOR_ID}={cwr_s()}"}).session == SESSION
    assert caller({"cookie": f"cwr_s={cwr_s(OTHER_SESSION)}; cwr_s_{MONITOR_ID}={cwr_s()}"}).session == SESSION
    assert caller({"cookie": f"cwr_s_{other}={cwr_s()}"}) is None


def test_baggage_comes_first():
    """A session in baggage is the caller's, whatever the cookies say."""
    context = baggage.set_baggage("session.id", "from-baggage", Context())
    context = baggage.set_baggage("user.id", "u-1", context)
    assert caller({"cookie": cookie()}, context) == CallerSession(session="from-baggage", user="u-1")


def test_baggage_in_a_composite():
    """After the baggage propagator, as the global propagators have it, the baggage of the request is known."""
    both = CompositePropagator([W3CBaggagePropagator(), RumSessionPropagator()])
    context = both.extract({"baggage": "session.id=from-baggage,user.id=u-1", "cookie": "theme=dark"})
    assert caller_of(context) == CallerSession(session="from-baggage", user="u-1")


def test_baggage_and_cookie_of_one_session():
    """Where both name the same session the cookie tells the page, and whether it is recorded."""
    context = baggage.set_baggage("session.id", SESSION, Context())
    assert caller({"cookie": cookie(record=False)}, context) == CallerSession(
        session=SESSION, user=USER, page_id="/cart", interaction=2, record=False
    )


def test_user_of_the_cookie_goes_with_baggage():
    """Baggage without a user leaves the user to the cookie."""
    context = baggage.set_baggage("session.id", "from-baggage", Context())
    assert caller({"cookie": cookie()}, context).user == USER


@pytest.mark.parametrize("value", [7, "", ["x"], None, "x" * 4097], ids=["number", "empty", "list", "none", "long"])
def test_unusable_baggage(value):
    """Baggage is put together by applications too, so any object may be in it."""
    context = baggage.set_baggage("session.id", value, Context())
    assert caller({"cookie": cookie()}, context) == FROM_COOKIE


def test_named_headers_and_cookies():
    """An application's own session id comes from where the configuration says, hashed unless it is a UUID."""
    hashed = session_uuid("my-id", MONITOR_ID)
    assert caller({"x-session": " my-id "}, session_headers=("X-Session",)).session == hashed
    assert caller({"cookie": "sid=my-id"}, session_cookies=("sid",)).session == hashed
    assert caller({"x-session": SESSION}, session_headers=("X-Session",)).session == SESSION
    assert caller({"x-session": "my-id"}) is None
    assert caller({"cookie": "sid=my-id"}) is None


def test_order_of_named_sources():
    """Cookies are tried in the order that the configuration has them in, headers after them."""
    headers = {"cookie": f"sid={OTHER_SESSION}; cwr_s={cwr_s()}", "x-session": NOBODY}
    assert caller(headers, session_cookies=("cwr_s", "sid")).session == SESSION
    assert caller(headers, session_cookies=("sid", "cwr_s")).session == OTHER_SESSION
    assert caller(headers, session_cookies=("sid",), session_headers=("x-session",)).session == OTHER_SESSION
    assert caller(headers, session_cookies=(), session_headers=("x-session",)).session == NOBODY


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param("cwr_s=!", Ignored.NOT_BASE64, id="no base64"),
        pytest.param("cwr_s=aGVsbG8=", Ignored.NOT_JSON, id="no JSON"),
        pytest.param("cwr_s=W10=", Ignored.WRONG_TYPE, id="wrong type"),
        pytest.param(f"cwr_s={cwr_s('forged')}", Ignored.NO_UUID, id="no UUID"),
        pytest.param("cwr_u=forged", Ignored.NO_UUID, id="user is no UUID"),
        pytest.param("cwr_s=" + "A" * 4097, Ignored.LONG_VALUE, id="long value"),
        pytest.param(f"cwr_s={cwr_s()}; x=" + "A" * 16_384, Ignored.LONG_HEADER, id="long header"),
    ],
)
def test_unusable_cookies_are_counted(callers, header, reason):
    """What cannot be used is ignored, and counted under its reason."""
    assert caller({"cookie": header}) is None
    assert callers.ignored() == {reason: 1}
    assert RumSessionPropagator().ignored == {reason: 1}


def test_a_broken_cookie_does_not_hide_a_good_one():
    """Of several cookies of one name, as other paths and domains may set them, the first that can be used counts."""
    assert caller({"cookie": f"cwr_s=!; cwr_s={cwr_s()}"}).session == SESSION
    assert caller({"cookie": f"cwr_s_{MONITOR_ID}=!; cwr_s={cwr_s()}"}).session == SESSION


def test_nobodys_user_is_no_user():
    """aws-rum-web writes a nil user where it may keep none; that is not a fault."""
    propagator = RumSessionPropagator()
    assert caller_of(propagator.extract({"cookie": f"cwr_s={cwr_s()}; cwr_u={NOBODY}"})).user is None
    assert propagator.ignored == {}


class Raising:
    """A carrier that cannot be read."""

    def get(self, *_):
        raise RuntimeError("no headers here")

    keys = get


@pytest.mark.parametrize("carrier", [Raising(), None, 7, {"cookie": 7}, {7: "x"}, {"cookie": [b"cwr_s=x", None]}])
def test_any_carrier_is_survived(carrier):
    """A carrier that is not what its getter expects does no harm."""
    assert caller_of(RumSessionPropagator().extract(carrier)) is None


@given(st.dictionaries(st.sampled_from(["cookie", "Cookie", "x-session", "baggage"]), st.text() | st.lists(st.text())))
def test_any_headers_are_survived(headers):
    """Whatever headers hold, extracting does not fail."""
    caller(headers, session_headers=("x-session",), session_cookies=("cwr_s", "a"))


@given(st.binary(max_size=300))
def test_any_bytes_in_cookies_are_survived(raw):
    """Any bytes that a server takes for a cookie header, decoded as WSGI and ASGI servers do."""
    for header in (b"cwr_s=" + raw, raw, b"cwr_u=" + raw + b"; cwr_s=" + raw):
        RumSessionPropagator().extract(*wsgi([("Cookie", header.decode("latin-1"))])[:1], getter=wsgi_getter)
        RumSessionPropagator().extract({"headers": [(b"cookie", header)]}, getter=asgi_getter)


def test_nothing_is_injected():
    """The session goes to no other service."""
    propagator = RumSessionPropagator()
    carrier = {}
    propagator.inject(carrier, propagator.extract({"cookie": cookie()}))
    assert carrier == {}
    assert propagator.fields == set()


def test_environment(monkeypatch):
    """By its name in OTEL_PROPAGATORS it is made without arguments; a bad configuration is the exporter's to report."""
    monkeypatch.setenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID", MONITOR_ID)
    monkeypatch.delenv("OTEL_EXPORTER_RUM_ENDPOINT", raising=False)
    propagator = RumSessionPropagator()
    assert caller_of(propagator.extract({"cookie": f"cwr_s_{MONITOR_ID}={cwr_s()}"})).session == SESSION
    monkeypatch.setenv("OTEL_EXPORTER_RUM_APP_MONITOR_ID", "not an id")
    assert caller_of(RumSessionPropagator().extract({"cookie": cookie()})) == FROM_COOKIE
