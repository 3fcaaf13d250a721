"""Secrets and personal data: none is sent, whatever an application puts it into, and little else is taken for one."""

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from test_secrets import log, strings

from otel_rum_exporter import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds, errors, privacy, secrets
from otel_rum_exporter.otlp import items

MONITOR_ID = "11111111-2222-3333-4444-555555555555"
START_NS = 1_790_000_000_000_000_000
FALSE_POSITIVES = 0.02

_CORPUS = json.loads((Path(__file__).parent / "privacy.json").read_text(encoding="utf-8").replace("·", ""))
HIDDEN = [(text, found) for text, *found in _CORPUS["hidden"]]
KEPT = _CORPUS["kept"]


def configured(**options):
    return RumConfig.load({"app_monitor_id": MONITOR_ID, **options}, {})


CONFIG = configured()


def value(text):
    return {"stringValue": text}


def converted_log(name, body=None, options=None, **attributes):
    config = configured(**(options or {}))
    attributes = {key: value(each) for key, each in attributes.items()}
    return Converter(config).log(log(name, body, **attributes), LogEventIds())


def converted_span(  # noqa: PLR0913 - what a span has
    name="GET", kind=SpanKind.INTERNAL, attributes=None, events=(), description=None, *, config=CONFIG
):
    status = Status(StatusCode.ERROR, description) if description else Status()
    context = SpanContext(
        0xFEDCBA9876543210FEDCBA9876543210, 0xFEDCBA9876543210, is_remote=False, trace_flags=TraceFlags(1)
    )
    resource = Resource({"telemetry.sdk.language": "python"})
    span = ReadableSpan(
        name,
        context,
        resource=resource,
        attributes={"session.id": "s-1", **(attributes or {})},
        events=events,
        kind=kind,
        status=status,
        start_time=START_NS,
        end_time=START_NS + 1,
    )
    return Converter(config).span(span)


def call(**attributes):
    return {"http.request.method": "GET", "url.full": "https://shop.example/", **attributes}


# where an application may put a text: what it is converted to
PLACES = {
    "message": lambda text: converted_log("exception", **{"exception.type": "Error", "exception.message": text}),
    "type": lambda text: converted_log("exception", **{"exception.type": text}),
    "JavaScript stack": lambda text: converted_log(
        "exception", **{"exception.type": "Error", "exception.stacktrace": f"Error: {text}\n    at f (/app.js:1:2)"}
    ),
    "Python stack": lambda text: converted_log(
        "exception",
        **{
            "exception.type": "E",
            "exception.stacktrace": f'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    {text}\nE: {text}',
        },
    ),
    "span's exception": lambda text: converted_span(
        events=[Event("exception", {"exception.type": "E", "exception.message": text}, START_NS)]
    ),
    "call's exception": lambda text: converted_span(
        kind=SpanKind.CLIENT,
        attributes=call(),
        events=[Event("exception", {"exception.type": "E", "exception.message": text}, START_NS)],
    ),
    "status of a span": lambda text: converted_span(description=text),
    "status of a call": lambda text: converted_span(kind=SpanKind.CLIENT, attributes=call(), description=text),
    "error type of a call": lambda text: converted_span(kind=SpanKind.CLIENT, attributes=call(**{"error.type": text})),
    "status text": lambda text: converted_span(
        kind=SpanKind.CLIENT, attributes=call(**{"http.response.status_code": 400, "http.status_text": text})
    ),
    "span's name": converted_span,
    "span event's name": lambda text: converted_span(events=[Event(text, {}, START_NS)]),
    "event's name": converted_log,
    "attribute": lambda text: converted_log("order", detail=text),
    "attribute's name": lambda text: converted_log("order", **{text: "x"}),
    "list": lambda text: converted_span(attributes={"details": ["x", text]}),
    "body": lambda text: converted_log("order", text),
    "metadata": lambda text: converted_log("order", options={"attributes": ["*"]}, detail=text),
    "metadata's key": lambda text: converted_log("order", options={"attributes": ["*"]}, **{text: "x"}),
    "element": lambda text: converted_log("browser.user_action.click", **{"browser.css_selector": text}),
    "widget": lambda text: converted_log("app.widget.click", **{"app.widget.name": text, "app.widget.id": text}),
    "title": lambda text: converted_log("order", **{"app.screen.title": text}),
}


def sent(conversion):
    """All that is sent of an item, JSON in it taken apart."""
    for draft in conversion.events:
        details = json.loads(draft.details) if isinstance(draft.details, str) else draft.details
        yield from strings([details, draft.type, draft.page, draft.domain, draft.attributes])


def leaks(place, text, found):
    """What of it is sent; that names may not have all letters does not hide it."""
    texts = list(sent(PLACES[place](text)))
    return [each for each in found if any(each in text or re.sub(r"[^\w.-]", "_", each) in text for text in texts)]


def test_the_corpus():
    """It has hundreds of texts, each once, and each holds what is to be hidden."""
    assert len(HIDDEN) >= 150
    assert len(KEPT) >= 150
    assert len({text for text, _ in HIDDEN}) == len(HIDDEN)
    assert len(set(KEPT)) == len(KEPT)
    assert [text for text, found in HIDDEN for each in found if each not in text] == []


@pytest.mark.parametrize("place", PLACES)
def test_nothing_leaks(place):
    """No secret of the corpus is sent, wherever it stands."""
    found = [(text, leaked) for text, found in HIDDEN if (leaked := leaks(place, text, found))]
    assert found == []


@pytest.mark.parametrize("place", PLACES)
def test_the_places_are_sent(place):
    """The test above could fail: a harmless text arrives from each place."""
    assert any("harmless" in each for each in sent(PLACES[place]("#harmless")))


def test_false_positives():
    """At most one text in fifty is taken for a secret that is none."""
    changed = [text for text in KEPT if privacy.text(text, CONFIG) != text]
    assert len(changed) <= FALSE_POSITIVES * len(KEPT), changed


def test_attributes_that_stay():
    """Texts that are kept are sent as they are, up to the last character."""
    changed = [text for text in KEPT if text not in set(sent(PLACES["attribute"](text)))]
    assert len(changed) <= FALSE_POSITIVES * len(KEPT), changed


@pytest.mark.parametrize("place", PLACES)
def test_switched_off(place):
    """With redact_text off the texts are sent as they are, but for the queries of URLs."""
    text, found = "ask jane@example.com", ["jane@example.com"]
    shown = privacy.text(text, configured(redact_text="false"))
    assert (shown, leaks(place, text, found)) == (text, [])


# --- properties

SECRETS = st.sampled_from(
    [
        "jane.doe@example.com",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "AKIAIOSFODNN7EXAMPLE",
        "4111111111111111",
        "4111 1111 1111 1111",
        "3782-822463-10005",
    ]
)
AROUND = st.text(st.sampled_from(" \t\n.,;:!?()[]{}<>\"'`|/\\=&#*abc01é-_@"), max_size=40)
EDGE = st.sampled_from(["", " ", "\n", "(", '"', "'", "=", ":", ",", ";", "<", "[", "/", "|"])


@given(AROUND, EDGE, SECRETS, EDGE, AROUND)
def test_wherever_it_stands(before, opening, secret, closing, after):
    """A secret between two edges of words is found, whatever stands around it."""
    before, after = before + (opening or " "), (closing or " ") + after
    assert secret not in privacy.text(before + secret + after, CONFIG)


@given(st.one_of(st.text(max_size=200), st.sampled_from([text for text, _ in HIDDEN] + KEPT)))
def test_hiding_twice(text):
    """What is hidden stays as it is when it is hidden again, as stacks repeat messages."""
    once = secrets.hide(text)
    assert secrets.hide(once) == once


@given(st.uuids(), st.integers(1, 2**128 - 1), st.datetimes(), st.floats(allow_nan=False), st.integers(-(2**31), 2**31))
def test_ids_and_numbers_survive(uuid, trace_id, moment, ratio, number):
    """UUIDs, trace ids, times and measurements are never taken for secrets."""
    texts = [str(uuid), f"{trace_id:032x}", f"1-{f'{trace_id:032x}'[:8]}-{f'{trace_id:032x}'[8:]}", moment.isoformat()]
    texts += [repr(ratio), str(number), f"session.id={uuid}", str(1_700_000_000_000_000_000 + number)]
    assert [privacy.text(text, CONFIG) for text in texts] == texts


FRAME = '  File "/srv/app.py", line 1, in f\n'


@pytest.mark.parametrize("at", range(1, 20))
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("jane.doe@example.com", "jane.doe@example.com"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("4111 1111 1111 1111 ", "4111 1111 1111 1111"),
        ("password=hunter2secr", "hunter2secr"),
    ],
)
def test_nothing_leaks_where_texts_are_cut(text, secret, at):
    """The half of a secret is none that patterns know, so secrets are looked for before a text is cut."""
    python = f"Traceback (most recent call last):\n{FRAME * 50}    {text}\n"
    python += "E: " + "x" * (500 - (len(text) - at) - len("\nE: "))
    script = f"Error: {'y' * (500 - at - len('Error:  '))} {text}\n    at f (/app.js:1:2)"
    message = f"{'z' * (1024 - at - 1)} {text}"
    exceptions = [
        {"exception.type": "E", "exception.stacktrace": python},
        {"exception.type": "E", "exception.stacktrace": script},
        {"exception.type": "E", "exception.message": message},
    ]
    pieces = {secret[start : start + 5] for start in range(len(secret) - 4)}
    for exception in exceptions:
        texts = list(sent(converted_log("x", options={"stack_trace_length": 500}, **exception)))
        assert [piece for piece in pieces if any(piece in each for each in texts)] == []


# --- time

SHAPES = [
    "a", "@", "a@", "a@b.", "a.b.", "a%40", "a@.js", "a@xn--", "x@1.2.", "eyJ", "eyJ.", "password", "password=",
    'password="', "password='\\", "passwordpasswordpassword:", "token=token.", "token=(", "pwd=a.a.a.a.a.",
    "authorization: ", "authorization:", "cookie: ", "Bearer ", "Bearer a", "basic ", "4", "4111 ",
    "4111 1111 1111 1111 ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-", "AKIA", "sk-", "\\", '"', "=", "é@",
    "://", "a://b?c=", "?token=",
]  # fmt: skip


def seconds(work, *arguments):
    started = time.process_time()
    work(*arguments)
    return time.process_time() - started


@pytest.mark.parametrize("shape", SHAPES)
def test_time_is_linear(shape):
    """Ten times the text takes about ten times as long: with backtracking it would be a hundred times."""
    short, long = (shape * (size // len(shape)) for size in (30_000, 300_000))
    of_short = min(seconds(privacy.text, short, CONFIG) for _ in range(3))
    assert seconds(privacy.text, long, CONFIG) < 40 * max(of_short, 0.0005)


@pytest.mark.parametrize("shape", SHAPES)
def test_ten_megabytes(shape):
    """What no event can hold is not read: such a message and stack take about as long as short ones."""
    short, long = (shape * (size // len(shape)) for size in (10_000, 10_000_000))
    stacks = [{"exception.message": text, "exception.stacktrace": text} for text in (short, long)]
    of_short, of_long = (seconds(errors.js_error, each, CONFIG) for each in stacks)
    assert of_long < 40 * max(of_short, 0.005)


@pytest.mark.nightly
@pytest.mark.parametrize("shape", SHAPES)
def test_ten_megabytes_at_once(shape):
    """All of such a text takes no more than a hundred times what reading prose of that size takes."""
    prose, hostile = ("The quick brown fox jumps. " * 400_000)[:10_000_000], shape * (10_000_000 // len(shape))
    assert seconds(privacy.text, hostile, CONFIG) < 100 * seconds(privacy.text, prose, CONFIG)


# --- pages


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://shop.example/users/jane@example.com/orders", "/users/REDACTED/orders"),
        ("https://shop.example/unsubscribe/jane%40example.com", "/unsubscribe/REDACTED"),
        ("https://shop.example/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "/reset/REDACTED"),
        ("https://shop.example/cards/4111111111111111", "/cards/REDACTED"),
        ("https://shop.example/orders/550e8400-e29b-41d4-a716-446655440000", None),
        ("https://shop.example/products/48213", None),
    ],
)
def test_pages(url, page):
    """What people are called is no part of a page's name, in page views, in metadata and on the session's timeline."""
    page = page or url.removeprefix("https://shop.example")
    conversion = converted_log("browser.navigation", **{"url.full": url})
    (draft,) = conversion.events
    assert (draft.details.pageId, draft.page.pageId) == (page, page)
    screen = converted_log(
        "app.screen.view_did_appear", **{"app.screen.name": url.removeprefix("https://shop.example")}
    )
    assert screen.events[0].details.pageId == page
    server = converted_span(
        kind=SpanKind.SERVER, attributes=call(**{"url.full": url, "http.response.status_code": 200})
    )
    assert server.events[0].page.pageId == page
    assert json.loads(server.events[0].details)["request"]["url"] == "https://shop.example" + page


SIGNED = (
    "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "AWSAccessKeyId", "Signature", "sig",
    "X-Goog-Signature",
)  # fmt: skip


@pytest.mark.parametrize("url_query", ["redact", "keep", "drop"])
@pytest.mark.parametrize("name", SIGNED)
def test_signed_urls(name, url_query):
    """A URL's signature is never sent, even where queries are kept."""
    config = configured(url_query=url_query, redact_text=False)
    for spelt in (name, name.lower()):
        url = f"https://bucket.example/file?page=2&{spelt}=a1b2c3d4e5"
        for shown in (privacy.url(url, config), privacy.text(f"GET {url} failed", config)):
            assert "a1b2c3d4e5" not in shown
            assert ("page=2" in shown) is (url_query != "drop")


def test_queries_that_are_kept():
    """Whoever keeps queries keeps what people have written into them."""
    url = "https://shop.example/jane@example.com?q=jane@example.com"
    assert privacy.url(url, configured(url_query="keep")) == "https://shop.example/REDACTED?q=jane@example.com"
    assert privacy.url(url, CONFIG) == "https://shop.example/REDACTED?q=REDACTED"


# --- attributes by their names

ADDRESSES = ("client.address", "http.client_ip", "net.peer.ip", "network.peer.address", "net.sock.peer.addr",
             "x-forwarded-for", "http.request.header.x_forwarded_for", "remote_addr", "x-real-ip",
             "client_ip", "clientAddress", "http.client.address", "peer.address", "peer.ipv4", "peer.ipv6",
             "peer.hostname", "source.address", "remote_ip", "cf-connecting-ip")  # fmt: skip
SECRET_NAMES = (
    "password", "app.password", "db.passwd", "PASSWORD", "mysql_pwd", "passphrase", "secret", "client_secret",
    "app.secret.value", "token", "accessToken", "csrf_token", "csrftoken", "x-xsrf", "auth", "app.auth", "authorization",
    "Proxy-Authorization", "auth.header", "api_key", "apikey", "api.key", "x-api-key", "aws.access_key", "private_key",
    "privatekey", "credentials", "cookie", "set_cookie", "http.request.header.cookie", "session.id", "session_id",
    "sessionId", "app.session.key", "PHPSESSID", "connect.sid", "jwt", "app.jwt", "bearer", "otp", "pin", "ssn",
    "social_security_number", "credit_card", "creditcard", "card.number", "card_number", "cvv", "cvc", "iban",
    "user.email", "user.full_name", "enduser.id", "app.email", "email", "email_address", "phone", "phone_number",
    "phoneNumber", "db.statement", "db.statement.parameters", "db.postgresql.values", "db.redis.args",
    "graphql.variables", "graphql.variables.id", "http.request.body", "http.response.body.text",
    "messaging.message.body", "messaging.message.body.size.of", "http.request.header.x_body_size",
)  # fmt: skip
HARMLESS_NAMES = (
    "author", "authority", "authentication.method", "app.tokens", "usage.input_tokens", "cart.items", "keyboard",
    "primary_key", "cache.key", "app.pinned", "passenger", "compass", "secondary", "cardinality", "card.brand",
    "email.sent", "phone.model", "sessions.count", "ip.version", "app.tenant", "order.id", "service.name", "url.path",
    "http.route", "server.address", "shipping", "opt", "description", "companion",
    "http.request.body.size", "http.response.body.size", "messaging.message.body.size",
    "messaging.message.payload_size_bytes", "db.redis.args_length",
    "db.redis.database_index", "db.statement_count", "peer.service", "source.line", "remote.service",
)  # fmt: skip


def metadata_of(globs, name):
    (draft,) = converted_log("order", options={"attributes": globs}, **{name: "x"}).events
    return list(draft.attributes.values())


@pytest.mark.parametrize("name", [*SECRET_NAMES, *ADDRESSES])
def test_names_that_say_secret(name):
    """Neither custom events nor metadata that globs choose have such attributes, nor maps such members."""
    conversion = converted_log("order", options={"attributes": ["*", name[:3] + "*"]}, **{name: "a1b2c3"})
    assert not any("a1b2c3" in text for text in sent(conversion))


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_names_that_do_not(name):
    """Attributes with names that only sound like it are sent."""
    assert metadata_of(["*"], name) == ["x"]
    assert "x" in list(sent(converted_log("order", **{name: "x"})))


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_whole_names_are_meant(name):
    """Whoever allows an attribute by its whole name wants it in the metadata, though what looks secret is still hidden."""
    assert metadata_of(["*", name], name) == ["x"]
    (draft,) = converted_log("order", options={"attributes": [name]}, **{name: "AKIAIOSFODNN7EXAMPLE"}).events
    assert list(draft.attributes.values()) == ["REDACTED"]


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_of_clients(name):
    """They are never sent, by whatever name they are allowed."""
    assert metadata_of(["*", name], name) == []


def test_members_of_maps():
    """A map's members are left out by their names, however deep they are, and their names are looked at, too."""
    body = {"kvlistValue": {"values": [
        {"key": "password", "value": value("hunter2")},
        {"key": "jane@example.com", "value": value("x")},
        {"key": "inner", "value": {"kvlistValue": {"values": [{"key": "api_key", "value": value("hunter2")}]}}},
        {"key": "note", "value": value("of jane@example.com")},
        {"key": "number", "value": {"intValue": "4111111111111111"}},
        {"key": "at", "value": {"intValue": "1768473000123456"}},
    ]}}  # fmt: skip
    record = {"eventName": "order", "timeUnixNano": str(START_NS), "body": body}
    (item,) = items(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))
    (draft,) = Converter(CONFIG).log(item, LogEventIds()).events
    assert json.loads(draft.details)["body"] == {
        "REDACTED": "x",
        "inner": {},
        "note": "of REDACTED",
        "number": "REDACTED",
        "at": 1768473000123456,
    }


def kvlist(**members):
    values = [{"key": key, "value": each if isinstance(each, dict) else value(each)} for key, each in members.items()]
    return {"kvlistValue": {"values": values}}


def test_members_by_all_names_around_them():
    """The deny-list counts within bodies and attributes, for a member's own name and for it with those around it."""
    inner = kvlist(**{"db.statement": "hunter2", "kept": "x", "user.full_name": "hunter2"})
    request = kvlist(body="hunter2", method="GET", url=kvlist(fragment="state=1&code=hunter2", query="a=1"))
    members = {
        "client.address": "hunter2", "user.name": "hunter2", "db.query.text": "hunter2", "client_ip": "hunter2",
        "http.request.body": "hunter2", "user": kvlist(name="hunter2"), "client": kvlist(address="hunter2", os="x"),
        "nested": inner, "http": kvlist(request=request), "event": kvlist(name="kept"),
    }  # fmt: skip
    kept = {
        "client": {"os": "x"},
        "user": {},
        "event": {"name": "kept"},
        "nested": {"kept": "x"},
        "http": {"request": {"method": "GET", "url": {"fragment": "state=1&code=REDACTED"}}},
    }
    attributes = [{"key": "app", "value": kvlist(**members)}, {"key": "http", "value": kvlist(request=request)}]
    record = {"eventName": "order", "timeUnixNano": str(START_NS), "body": kvlist(**members), "attributes": attributes}
    (item,) = items(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))
    (draft,) = Converter(CONFIG).log(item, LogEventIds()).events
    details = json.loads(draft.details)
    assert details["body"] == kept
    assert details["attributes"] == {"app": kept, "http": kept["http"]}


@pytest.mark.parametrize("name", ["url.query", "url.fragment"])
def test_parts_of_urls(name):
    """A query or a fragment by itself is redacted as it is within a URL."""
    assert privacy.attribute(name, "code=hunter2&state=1", CONFIG) == "code=REDACTED&state=1"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (4111111111111111, "REDACTED"),
        (-4111111111111111, "-REDACTED"),
        (4111111111111111.0, "REDACTED"),
        (6200000000000000000, "REDACTED"),
        (4111111111111112, 4111111111111112),
        (1768473000123456, 1768473000123456),
        (10**30, str(10**30)),
        (41111111111111.5, 41111111111111.5),
        (1e300, 1e300),
        (0.5, 0.5),
        (True, True),
    ],
)
def test_numbers(number, shown):
    """The number of a card is hidden as a number, too, in custom events and in metadata."""
    config = configured(attributes=["app.*"])
    span = converted_span(attributes={"app.number": number}, config=config)
    assert json.loads(span.events[0].details)["attributes"]["app.number"] == shown
    assert span.events[0].attributes == {"app_number": shown}
