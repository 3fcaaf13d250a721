"""Who may send, from where, and to which app monitor: tokens, origins, and the order in which a request is looked at."""

import json
import signal
import urllib.parse

import pytest
from gateway_requests import JSON, json_logs, spans
from gateway_tables import MONITOR, NO_RATES, OTHER_MONITOR

SERVER = "server-token-0123456789"
NEW_SERVER = "server-token-9876543210"
BOUND = "bound-token-0123456789"
BROWSER = "browser-token-0123456789"
OTHER_BROWSER = "other-browser-token-01234"
SHOP, ADMIN = "https://shop.example", "https://www.admin.example"

MONITORS = f"""
[[app_monitors]]
id = "{MONITOR}"
name = "shop"
version = "7.0"

[[app_monitors]]
id = "{OTHER_MONITOR}"
"""

TOKENS = f"""
[[tokens]]
name = "collector"
token = "{SERVER}"

[[tokens]]
name = "backend"
token = "{BOUND}"
app_monitor = "{OTHER_MONITOR}"

[[tokens]]
name = "shop"
kind = "browser"
token = "{BROWSER}"
app_monitor = "{MONITOR}"
origins = ["{SHOP}"]

[[tokens]]
name = "admin"
kind = "browser"
token = "{OTHER_BROWSER}"
app_monitor = "{OTHER_MONITOR}"
origins = ["https://*.admin.example"]
"""


@pytest.fixture
def guarded(gateways, rum):
    """A gateway with tokens for two app monitors."""
    return gateways(rum, NO_RATES + MONITORS + TOKENS, monitor=None)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def monitors(gateway, rum):
    """Return which app monitors the events went to."""
    assert gateway.server.pipeline.flush(60)
    return [event["monitor_id"] for event in rum.events()]


# tokens


@pytest.mark.parametrize(
    "headers",
    [
        bearer(SERVER),
        {"authorization": f"bearer   {SERVER}"},
        {"x_api_key": SERVER},
        bearer(BROWSER) | {"origin": SHOP},
        {"x_api_key": OTHER_BROWSER, "origin": ADMIN},
        bearer(SERVER) | {"origin": SHOP},
    ],
)
def test_tokens_that_are_taken(guarded, headers):
    """A token counts in either header; a browser's with its origin."""
    assert guarded.client().post(spans(), **headers).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 401, "a token is needed"),
        (bearer("wrong-token-0123456789"), 401, "not known"),
        (bearer(SERVER[:-1]), 401, "not known"),
        (bearer(SERVER + "x"), 401, "not known"),
        (bearer(""), 401, "not known"),
        ({"x_api_key": "x" * 10_000}, 401, "not known"),
        ({"authorization": f"Basic {SERVER}"}, 401, "a token is needed"),
        (bearer(BROWSER), 403, "other origins"),
        (bearer(BROWSER) | {"origin": ADMIN}, 403, "other origins"),
        (bearer(OTHER_BROWSER) | {"origin": SHOP}, 403, "other origins"),
        (bearer(BROWSER) | {"origin": "null"}, 403, "this origin"),
        (bearer(BROWSER) | {"origin": "https://evil.example"}, 403, "this origin"),
        (bearer(BROWSER) | {"origin": "http://shop.example"}, 403, "this origin"),
        (bearer(BROWSER) | {"origin": SHOP + ".evil.example"}, 403, "this origin"),
        (bearer(SERVER) | {"origin": "https://evil.example"}, 403, "this origin"),
    ],
)
def test_tokens_that_are_not_taken(guarded, headers, status, said):
    """Whoever may not send is told why, and none of it is counted as received."""
    answer = guarded.client().post(spans(), **headers)
    assert answer.status == status
    assert said in answer.status_message
    assert (answer.headers["www-authenticate"] == 'Bearer realm="otlp"') == (status == 401)
    assert guarded.stats().received == 0


@pytest.mark.parametrize(
    ("token", "origin", "status"),
    [(BROWSER, SHOP, 200), (BROWSER, ADMIN, 403), (BROWSER, None, 403), (SERVER, None, 401), ("unknown", SHOP, 401)],
)
def test_tokens_in_the_url_are_browsers_only(guarded, token, origin, status):
    """navigator.sendBeacon sets no headers; a server's token, which is a secret, does not belong into a URL."""
    path = "/v1/logs?" + urllib.parse.urlencode({"token": token})
    headers = {"origin": origin} if origin else {}
    assert guarded.client().post(json_logs(), path, JSON, **headers).status == status


def test_a_token_is_checked_before_the_body_is_read(guarded):
    """Without a token the answer comes while the body has not even been sent."""
    with guarded.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert guarded.metric("rum_gateway_received_bytes_total") == 0


def test_a_body_is_asked_for_when_its_sender_may_send(guarded):
    """With a token a sender that waits for it is told to go on."""
    with guarded.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(f"x-api-key: {SERVER}\r\ncontent-length: 0\r\nexpect: 100-continue\r\n\r\n".encode())
        assert raw.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"


# app monitors


@pytest.mark.parametrize(
    ("headers", "said", "monitor"),
    [
        pytest.param(bearer(SERVER), MONITOR, MONITOR, id="a server chooses"),
        pytest.param(bearer(SERVER), OTHER_MONITOR.upper(), OTHER_MONITOR, id="in any case of letters"),
        pytest.param(bearer(BOUND), MONITOR, OTHER_MONITOR, id="a server that is bound does not choose"),
        pytest.param(bearer(BROWSER) | {"origin": SHOP}, OTHER_MONITOR, MONITOR, id="a browser does not choose"),
        pytest.param(bearer(BROWSER) | {"origin": SHOP}, None, MONITOR, id="a browser need not say"),
    ],
)
def test_the_app_monitor(guarded, rum, headers, said, monitor):
    """The token decides, and the resource where that leaves it open."""
    resource = {"aws.rum.appmonitor.id": said} if said else {}
    assert guarded.client().post(spans(resource=resource), **headers).status == 200
    assert monitors(guarded, rum) == [monitor]


@pytest.mark.parametrize("said", [None, "33333333-3333-3333-3333-333333333333", "no UUID"])
def test_an_app_monitor_that_is_not_listed(guarded, said):
    """What may choose and names no listed app monitor is rejected where there is no default."""
    resource = {"aws.rum.appmonitor.id": said} if said else {}
    answer = guarded.client().post(spans(2, resource=resource), **bearer(SERVER))
    assert answer.partial_success == (2, "2 not_configured")


def test_the_default_takes_what_names_no_listed_app_monitor(gateways, rum):
    """With an app monitor of its own the gateway sends there what names none that is listed."""
    gateway = gateways(rum, NO_RATES + MONITORS + TOKENS, monitor=OTHER_MONITOR)
    strange = spans(resource={"aws.rum.appmonitor.id": "33333333-3333-3333-3333-333333333333"})
    assert gateway.client().post(strange, **bearer(SERVER)).status == 200
    assert monitors(gateway, rum) == [OTHER_MONITOR]


def test_the_only_app_monitor_takes_what_names_none(gateways, rum):
    """Where one app monitor is listed it need not be named; what names another one is not its, and is rejected."""
    gateway = gateways(rum, f'{NO_RATES}[[app_monitors]]\nid = "{MONITOR}"\n', monitor=None)
    client = gateway.client()
    for said in (None, "", MONITOR.upper()):
        resource = {} if said is None else {"aws.rum.appmonitor.id": said}
        assert client.post(spans(resource=resource)).partial_success == (0, ""), said
    answer = client.post(spans(resource={"aws.rum.appmonitor.id": OTHER_MONITOR}))
    assert answer.partial_success == (1, "1 not_configured")
    assert monitors(gateway, rum) == [MONITOR] * 3


def test_a_page_cannot_choose_what_a_request_says_of_the_application(guarded, rum):
    """Name and version are those of the configuration, whatever the page's resource says."""
    resource = {"service.name": "evil", "service.version": "666", "aws.rum.appmonitor.alias": "other"}
    guarded.client().post(spans(resource=resource), **bearer(BROWSER), origin=SHOP)
    assert monitors(guarded, rum) == [MONITOR]
    (request,) = rum.requests()
    details = {name: request["app_monitor_details"].get(name) for name in ("name", "version")}
    assert (details, request["alias"]) == ({"name": "shop", "version": "7.0"}, None)


def test_what_a_browser_says_of_itself(guarded, rum):
    """OpenTelemetry's SDK for browsers names neither browser nor language; each request of a page does."""
    page = {"origin": SHOP, "user_agent": "Mozilla/5.0 (X11) Firefox/140.0", "accept_language": "de-AT,de;q=0.7"}
    guarded.client().post(spans(), **bearer(BROWSER), **page)
    assert guarded.server.pipeline.flush(60)
    (metadata,) = {json.dumps(event["metadata"]) for event in rum.events()}
    assert '"browserLanguage": "de-AT"' in metadata
    assert '"aws:userAgent": "Mozilla/5.0 (X11) Firefox/140.0"' in metadata


def test_what_a_page_says_of_its_browser_goes_first(guarded, rum):
    """The request's head fills what the resource leaves open, and nothing else."""
    resource = {"browser.language": "fr", "user_agent.name": "Ladybird"}
    guarded.client().post(spans(resource=resource), **bearer(BROWSER), origin=SHOP, accept_language="de")
    assert guarded.server.pipeline.flush(60)
    (metadata,) = {json.dumps(event["metadata"]) for event in rum.events()}
    assert ('"fr"' in metadata, '"Ladybird"' in metadata, "userAgent" in metadata) == (True, True, False)


def test_a_server_is_no_browser(guarded, rum):
    """What a backend or a Collector says of itself is not what its users have."""
    guarded.client().post(spans(), **bearer(BOUND), user_agent="OTel-OTLP-Exporter-Python/1", accept_language="de")
    assert guarded.server.pipeline.flush(60)
    assert not [event for event in rum.events() if "browserLanguage" in json.dumps(event["metadata"])]


def test_a_batch_of_several_app_monitors(guarded, rum):
    """A Collector's request with several resources goes to each one's app monitor."""
    parts = [spans(2, resource={"aws.rum.appmonitor.id": each}) for each in (MONITOR, OTHER_MONITOR)]
    assert guarded.client().post(b"".join(parts), **bearer(SERVER)).status == 200
    assert sorted(monitors(guarded, rum)) == [MONITOR] * 2 + [OTHER_MONITOR] * 2


# origins


@pytest.mark.parametrize("origin", [SHOP, ADMIN, "https://a.b.admin.example"])
def test_a_preflight_of_a_known_origin(guarded, origin):
    """A browser is told what it may send for two hours; the origin is named, never all."""
    answer = guarded.client().request(
        "OPTIONS",
        "/v1/logs",
        origin=origin,
        access_control_request_method="POST",
        access_control_request_headers="authorization,content-type",
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert {"authorization", "content-type", "x-api-key"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    assert (answer.headers["access-control-max-age"], answer.headers["vary"]) == ("7200", "origin")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://admin.example", "http://shop.example", "https://shop.example:81"],
)
def test_a_preflight_of_an_unknown_origin(guarded, origin):
    """Any other page gets 403, and nothing that would let its browser go on."""
    answer = guarded.client().request("OPTIONS", "/v1/logs", origin=origin, access_control_request_method="POST")
    assert (answer.status, answer.headers["vary"]) == (403, "origin")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(("headers", "status"), [(bearer(BROWSER), 200), ({}, 401)])
def test_answers_can_be_read_by_their_page(guarded, headers, status):
    """Refusals, too, name the origin: a page's exporter is to see the status, and when to come back."""
    answer = guarded.client().post(json_logs(), "/v1/logs", JSON, origin=SHOP, **headers)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, SHOP)
    assert answer.headers["access-control-expose-headers"] == "retry-after"


@pytest.mark.parametrize("path", ["/v1/metrics", "/"])
def test_a_page_that_sends_to_a_wrong_path(guarded, path):
    """It can read that there is nothing, and gives up: a network error, as without CORS, exporters try again."""
    client = guarded.client(origin=SHOP)
    assert client.request("OPTIONS", path, access_control_request_method="POST").status == 204
    answer = client.post(json_logs(), path, JSON)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, SHOP)
    evil = guarded.client(origin="https://evil.example")
    assert evil.request("OPTIONS", path, access_control_request_method="POST").status == 403
    assert "access-control-allow-origin" not in evil.post(json_logs(), path, JSON).headers


def test_without_configuration_no_page_may_send(gateway):
    """A page that a developer visits cannot write to the gateway on the developer's machine."""
    answer = gateway.client().post(json_logs(), "/v1/logs", JSON, origin="http://localhost:3000")
    assert answer.status == 403
    assert gateway.stats().received == 0


def test_a_page_may_send_without_a_token_where_that_is_allowed(gateways, rum):
    """On one's own machine an allowed origin is enough."""
    gateway = gateways(rum, '[gateway]\nallowed_origins = ["http://localhost:3000"]\n' + NO_RATES)
    client = gateway.client()
    assert client.post(json_logs(), "/v1/logs", JSON, origin="http://localhost:3000").status == 200
    assert client.post(json_logs(), "/v1/logs", JSON, origin="http://localhost:3001").status == 403


# the order


def test_the_order_of_the_checks(gateways, rum):
    """Of several faults the answer names the first one in order: mending one after the other leads through all."""
    limits = "[limits]\nclient_requests_per_second = 0.001\nclient_burst = 6\ntoken_requests_per_second = 0\n"
    gateway = gateways(rum, limits + MONITORS + TOKENS.replace('name = "shop"', _ONE_REQUEST), monitor=None)
    client = gateway.client()
    length = {"content_length": "9999999"}
    bad = {"content_type": "text/plain", "content_encoding": "br", "origin": "https://evil.example"} | length
    mended = [
        (404, {"method": "PUT", "path": "/v1/nothing"}),
        (405, {"path": "/v1/traces"}),
        (403, {"method": "POST"}),
        (401, {"origin": ADMIN, "authorization": "Bearer wrong"}),
        (403, {"authorization": f"Bearer {BROWSER}"}),
        (415, {"origin": SHOP}),
        (429, {}),
        (415, {"authorization": f"Bearer {SERVER}", "content_type": "application/x-protobuf"}),
        (413, {"content_encoding": "gzip"}),
        (429, {"content_length": "0"}),
    ]
    for status, change in mended:
        bad |= change
        headers = {name: value for name, value in bad.items() if name not in ("method", "path")}
        with client.raw() as raw:
            lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
            raw.sendall(f"{bad['method']} {bad['path']} HTTP/1.1\r\nhost: g\r\n{''.join(lines)}\r\n".encode())
            assert int(raw.recv(65536)[9:12]) == status, change


_ONE_REQUEST = 'name = "shop"\nrequests_per_second = 0.001\nburst = 1'


# rotation


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_tokens_are_replaced_while_the_gateway_runs(guarded):
    """A token that is added counts beside the old one, and the old one no more when it is gone."""
    client, text = guarded.client(), guarded.path.read_text()
    assert client.post(spans(), **bearer(NEW_SERVER)).status == 401
    both = text + f'\n[[tokens]]\nname = "collector"\ntoken = "{NEW_SERVER}"\n'
    _reread(guarded, both)
    assert [client.post(spans(), **bearer(each)).status for each in (SERVER, NEW_SERVER)] == [200, 200]
    _reread(guarded, both.replace(SERVER, "another-token-0123456789"))
    assert [client.post(spans(), **bearer(each)).status for each in (SERVER, NEW_SERVER)] == [401, 200]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: "[[", id="no TOML"),
        pytest.param(lambda text: text.replace(SHOP, "*"), id="an origin that is none"),
        pytest.param(lambda text: text.split("[[app_monitors]]")[0], id="no app monitors"),
    ],
)
def test_a_file_that_is_of_no_use_changes_nothing(guarded, caplog, change):
    """With a bad file the old tokens go on, and the log says so."""
    _reread(guarded, change(guarded.path.read_text()))
    assert guarded.client().post(spans(), **bearer(SERVER)).status == 200
    assert "the old one stays" in caplog.text
    assert SERVER not in caplog.text


@pytest.mark.parametrize("change", ["", 'host = "127.0.0.1"\n', "allow_anonymous = true\n"])
def test_a_gateway_that_others_reach_stays_closed(gateways, rum, caplog, change):
    """Without the tokens it was started with nobody may send: what the file says of its address by now does not count."""
    started = f'[gateway]\nhost = "0.0.0.0"\n{NO_RATES}[[tokens]]\ntoken = "{SERVER}"\n'
    gateway = gateways(rum, started)
    text = gateway.path.read_text().replace('host = "0.0.0.0"\n', change)
    _reread(gateway, text.replace(f'[[tokens]]\ntoken = "{SERVER}"\n', ""))
    client = gateway.client()
    assert [client.post(spans(), **headers).status for headers in ({}, bearer(SERVER))] == [401, 200]
    assert "not read anew, the old one stays: gateway.host: '0.0.0.0' given, accepted: without tokens" in caplog.text


def test_what_takes_a_restart_stays_as_it_was(gateways, rum, caplog):
    """Of a file that changes everything the tokens are taken, and the other options named, without their values."""
    rates = NO_RATES + "token_burst = 5\n"
    gateway = gateways(rum, f'[gateway]\naccess_log = false\n{rates}[[tokens]]\ntoken = "{SERVER}"\n')
    text = gateway.path.read_text().replace(SERVER, NEW_SERVER)
    for old, new in (
        ("access_log = false", "access_log = true\nallow_anonymous = true"),
        ("token_requests_per_second = 0", "token_requests_per_second = 0.001"),
        ("token_burst = 5", "token_burst = 1"),
        (f'app_monitor_id = "{MONITOR}"', f'app_monitor_id = "{OTHER_MONITOR}"'),
    ):
        assert old in text
        text = text.replace(old, new)
    _reread(gateway, text)
    client = gateway.client()
    assert [client.post(spans(), **headers).status for headers in ({}, bearer(SERVER))] == [401, 401]
    assert [client.post(spans(), **bearer(NEW_SERVER)).status for _ in range(3)] == [200] * 3
    assert monitors(gateway, rum) == [MONITOR] * 3
    names = "gateway.allow_anonymous, gateway.access_log, limits.token_requests_per_second, limits.token_burst"
    assert f"which takes a restart: {names}, exporter.app_monitor_id" in caplog.text


def test_a_token_is_for_an_app_monitor_that_the_gateway_sends_to(gateways, rum, caplog):
    """A default that takes a restart is none that a token may be bound to before."""
    gateway = gateways(rum, f'{NO_RATES}[[tokens]]\ntoken = "{SERVER}"\n')
    text = gateway.path.read_text().replace(MONITOR, OTHER_MONITOR)
    _reread(gateway, text.replace("[[tokens]]\n", f'[[tokens]]\napp_monitor = "{OTHER_MONITOR}"\n'))
    assert "not read anew, the old one stays: tokens[1].app_monitor: no such app monitor" in caplog.text
    assert gateway.client().post(spans(), **bearer(SERVER)).status == 200
    assert monitors(gateway, rum) == [MONITOR]


def test_a_fault_while_reading_anew_changes_nothing(guarded, caplog):
    """Also what the parser of TOML fails at in ways of its own, such as this depth, is one line; the old tokens go on."""
    _reread(guarded, f"a = {'[' * 100_000}")
    assert "The configuration was not read anew, the old one stays: " in caplog.text
    assert guarded.client().post(spans(), **bearer(SERVER)).status == 200


def _reread(gateway, text):
    gateway.path.write_text(text)
    gateway.server.read_anew()


def test_no_token_is_kept_or_shown(guarded):
    """Neither the policy nor its tokens show what a token is, or its digest."""
    shown = json.dumps([repr(each) for each in guarded.settings().policy.tokens.known])
    assert not [each for each in (SERVER, BROWSER, "digest") if each in shown]
