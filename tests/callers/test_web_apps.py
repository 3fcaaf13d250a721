"""Web applications that know nothing of RUM, under opentelemetry-instrument: they join their browsers' sessions."""

import http.client
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bare_environment import bare_environment
from requests_of_browsers import USER, cookie, cwr_s

from otel_rum_exporter.sessions.identity import session_uuid
from otel_rum_exporter.testing import APP_MONITOR_ID, LocalRum

APPS = Path(__file__).parent / "apps"
FRAMEWORKS = ("flask", "django", "fastapi")
USERS = 100
PATIENCE_S = 20

HTTP, SPAN, ERROR = "com.amazon.rum.http_event", "otel.span", "com.amazon.rum.js_error_event"
START = "com.amazon.rum.session_start_event"


class Application:
    """A web application in a process of its own, and what of it arrives."""

    def __init__(self, port, rum):
        self.port, self.rum = port, rum

    def get(self, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={"Host": "shop.example", **headers})
            response = connection.getresponse()
            assert response.status == 200
            return json.load(response)
        finally:
            connection.close()

    def dropped(self, reason):
        return self.get("/control/status")["dropped"].get(reason, 0)

    def until(self, condition):
        """Flush until a condition holds: a request's span may end only after its answer has arrived."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.get("/control/status")
            assert self.get("/control/flush") == {"delivered": True}

    def events_of(self, session, *, at_least):
        self.until(lambda: self.rum.events(HTTP, session) and len(self.rum.events(session=session)) >= at_least)
        return self.rum.events(session=session)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def app(request, tmp_path_factory):
    """Each framework's application, configured by the environment alone. Only a flush delivers within its lifetime."""
    errors = tmp_path_factory.mktemp("app") / "stderr"
    command = [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, f"{request.param}_app.py"]
    with LocalRum(separate_process=False) as rum, errors.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=APPS, env=environment(rum), stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            port = process.stdout.readline()
            assert port, errors.read_text()
            yield Application(int(port), rum)
        finally:
            process.kill()
            process.communicate()


def environment(rum):
    return bare_environment() | {
        **rum.environment(),
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "OTEL_TRACES_EXPORTER": "rum",
        "OTEL_LOGS_EXPORTER": "rum",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        "OTEL_PYTHON_EXCLUDED_URLS": "control",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "OTEL_BLRP_SCHEDULE_DELAY": "600000",
        "OTEL_EXPORTER_RUM_FLUSH_INTERVAL": "600000",
        "OTEL_EXPORTER_RUM_SESSION_HEADERS": "x-session-id",
    }


@pytest.fixture
def session(request):
    """A session of its own for each test."""
    number = sum(request.node.name.encode())
    return f"0a1b2c3d-0000-4000-8000-{number:012d}"


def of_type(events, kind):
    return [event for event in events if event["type"] == kind]


def test_request_joins_the_session(app, session):
    """The request and its named event are in the browser's session, on its page, for its user; inner spans stay out."""
    app.get("/buy/book", Cookie=cookie(session))
    events = app.events_of(session, at_least=2)
    (request,), (bought,) = of_type(events, HTTP), of_type(events, "bought")
    assert request["details"]["response"]["status"] == 200
    assert bought["details"]["attributes"] == {"item": "book"}
    assert of_type(events, SPAN) == []
    assert {event["user_id"] for event in events} == {USER}
    places = {tuple(event["metadata"][name] for name in ("pageId", "interaction", "domain")) for event in events}
    assert places == {("/cart", 2, "shop.example")}
    assert of_type(events, START) == []


def test_exception_is_one_event(app, session):
    """An exception that an inner span recorded and a log record carries too is one js_error_event of the session."""
    app.get("/fail/book", Cookie=cookie(session))
    events = app.events_of(session, at_least=2)
    (error,) = of_type(events, ERROR)
    assert (error["details"]["type"], error["details"]["message"]) == ("LookupError", "no card for book")
    assert error["details"]["filename"].endswith("shop.py")
    assert error["metadata"]["pageId"] == "/cart"


def test_page_that_was_asked_for(app, session):
    """Without a page in the cookie everything of a request is on the page that it asked for."""
    app.get("/buy/pen", Cookie=f"cwr_s={cwr_s(session, page_id='')}")
    events = app.events_of(session, at_least=2)
    assert {event["metadata"]["pageId"] for event in events} == {"/buy/pen"}


def test_baggage(app, session):
    """OpenTelemetry's own browser instrumentation may name the session in baggage."""
    app.get("/buy/pen", Baggage=f"session.id={session}")
    assert app.events_of(session, at_least=2)


def test_header(app, session):
    """Applications with session ids of their own name the header in a variable; its hash becomes the session."""
    app.get("/buy/pen", **{"X-Session-Id": f"visit-{session}"})
    assert app.events_of(session_uuid(f"visit-{session}", APP_MONITOR_ID), at_least=2)


def test_request_without_a_session(app):
    """What belongs to nobody's session is dropped and counted."""
    sessions, dropped = arrived(app), app.dropped("no_session")
    app.get("/buy/nothing")
    app.get("/fail/nothing", Cookie="theme=dark")
    app.until(lambda: app.dropped("no_session") >= dropped + 6)
    assert arrived(app) == sessions
    assert app.get("/control/status")["balanced"]


def test_session_that_is_not_recorded(app, session):
    """aws-rum-web leaves this session out of its sample, and so does the server."""
    sessions, dropped = arrived(app), app.dropped("sampled_out")
    app.get("/buy/nothing", Cookie=cookie(session, record=False))
    app.get("/fail/nothing", Cookie=cookie(session, record=False))
    app.until(lambda: app.dropped("sampled_out") >= dropped + 5)
    assert arrived(app) == sessions


def arrived(app):
    app.get("/control/flush")
    return {each["session_id"] for each in app.rum.sessions()}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param("cwr_s=%00%ff", "not_base64", id="not base64"),
        pytest.param("cwr_s=aGVsbG8=", "not_json", id="not JSON"),
        pytest.param(f"cwr_s={cwr_s(7)}", "wrong_type", id="wrong type"),
        pytest.param(f"cwr_s={cwr_s('-' * 36)}", "no_uuid", id="no UUID"),
        pytest.param("cwr_s=" + "A" * 5000, "long_value", id="long value"),
        pytest.param(f"a={'A' * 17_000}; cwr_s={cwr_s()}", "long_header", id="long header"),
    ],
)
def test_forged_cookies(app, header, reason):
    """A cookie that aws-rum-web did not write names no session; that is counted."""
    sessions, ignored = arrived(app), app.get("/control/status")["ignored"].get(reason, 0)
    dropped = app.dropped("no_session")
    app.get("/buy/nothing", Cookie=header)
    app.until(lambda: app.dropped("no_session") >= dropped + 3)
    assert app.get("/control/status")["ignored"][reason] == ignored + 1
    assert arrived(app) == sessions


def test_own_work_is_in_the_process_session(app):
    """What a thread of the process does outside of requests is in the process's session, which starts once."""
    app.get("/job/first")
    app.get("/job/second")

    def jobs():
        return [event for event in app.rum.events(SPAN) if event["details"]["name"] in ("first", "second")]

    app.until(lambda: len(jobs()) == 2 and len(app.rum.events("tidied")) == 2)
    (own,) = {event["session_id"] for event in [*jobs(), *app.rum.events("tidied")]}
    assert len(app.rum.events(START, own)) == 1
    assert len(app.rum.events(START)) == 1
    assert app.rum.events(HTTP, own) == []


def test_many_users_at_once(app):
    """Each user's session holds what they did, and nothing of anyone else."""
    sessions = {f"0b1b2c3d-0000-4000-8000-{user:012d}": f"item-{user}" for user in range(USERS)}

    def use(session):
        item = sessions[session]
        app.get(f"/buy/{item}", Cookie=cookie(session))
        app.get(f"/fail/{item}", Cookie=cookie(session))

    with ThreadPoolExecutor(20) as users:
        list(users.map(use, sessions))
    app.until(lambda: sum(event["session_id"] in sessions for event in app.rum.events(HTTP)) == 2 * USERS)
    events = app.rum.events()
    for session, item in sessions.items():
        own = [event for event in events if event["session_id"] == session]
        assert {kind: len(of_type(own, kind)) for kind in (HTTP, ERROR, "bought")} == {HTTP: 2, ERROR: 1, "bought": 1}
        assert sorted(path(event) for event in of_type(own, HTTP)) == [f"/buy/{item}", f"/fail/{item}"]
        assert of_type(own, ERROR)[0]["details"]["message"] == f"no card for {item}"
        assert of_type(own, "bought")[0]["details"]["attributes"] == {"item": item}


def path(event):
    return "/" + event["details"]["request"]["url"].partition("//")[2].partition("/")[2]


def test_cookies_are_in_no_event(app, session):
    """Of the cookies nothing but the ids and the page is sent."""
    app.get("/buy/book", Cookie=cookie(session))
    app.events_of(session, at_least=2)
    sent = json.dumps([app.rum.events(), app.rum.requests()])
    assert session in sent
    for secret in (cwr_s(session), "cwr_s", "cwr_u", "secret-token", "theme=dark", "eventCount"):
        assert secret not in sent
