"""A real page in a real browser, by the gateway, to an endpoint with AWS's checks: examples/browser, as it is.

What arrives is what aws-rum-web reports for the same actions, but for what the tables name.
"""

import http.client
import json
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import closing, contextmanager
from typing import NamedTuple

import pytest
from aws_rum_web import (
    COMPARED,
    ERROR,
    HTTP,
    INPUT,
    KNOWN_DIFFERENCES,
    LOAD,
    PAINT,
    RESOURCE,
    differences,
    events_of,
    outcome,
)
from bare_environment import bare_environment
from gateway_tables import MONITOR
from node_programs import EXAMPLE, chromium, module_of_the_example, npm, packages, running

from otel_rum_exporter.testing import LocalRum

TOKEN = "a-token-that-anybody-can-read"  # noqa: S105 - of this test
LIMITED = """
[limits]
client_requests_per_second = 0.5
client_burst = 1

[[tokens]]
kind = "browser"
token = "{token}"
app_monitor = "{monitor}"
origins = ["{origin}"]
"""
CALLS = 6
EVENTS = 31
OF_THIS_TEST = {
    **{(kind, "metadata.aws:client"): "aws-rum-web's own name" for kind in COMPARED},
    **{(kind, "metadata.aws:clientVersion"): "and version" for kind in COMPARED},
    **{(kind, "metadata.browserName"): "aws-rum-web takes the placeholder among the brands" for kind in COMPARED},
    **{(kind, "metadata.browserVersion"): "and its version" for kind in COMPARED},
    (ERROR, "stack"): "the lines of this page's script",
    (PAINT, "attribution.element"): "this page's image is elsewhere",
    (PAINT, "attribution.url"): "this page's image has another name",
}
MEASURED = {(LOAD, "dns"), (LOAD, "connect")}  # of a connection that the browser had already, or not
ICON = "/favicon.ico"  # this page's stands in the page itself


@contextmanager
def the_example(folder):
    """Run the example as its README says; gives the page's origin, and the endpoint that its process runs."""
    command = [sys.executable, str(EXAMPLE / "run.py"), "--port", "0"]
    environment = bare_environment(XDG_CACHE_HOME=str(packages(EXAMPLE).parents[2]))
    with (
        (folder / "errors").open("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process,
    ):
        urls = []
        for line in process.stdout:
            urls += re.findall(r"http://[^\s/]+", line)
            if "Ctrl-C" in line:
                break
        errors.seek(0)
        assert len(urls) >= 3, errors.read()
        rum = LocalRum()
        rum.endpoint = urls[2]
        try:
            yield urls[0], rum
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0, "Ctrl-C is how it ends"


def _script_of(origin):
    with closing(http.client.HTTPConnection(origin.removeprefix("http://"))) as connection:
        connection.request("GET", "/otel.js")
        return connection.getresponse().read()


class Visit(NamedTuple):
    """What arrived of the page, and what its posts were answered, there and on another origin."""

    events: list
    stats: dict
    answered: list
    refused: list

    def requests(self):
        """What arrived, as a body of PutRumEvents, with what SessionMetadata says in each event's metadata."""
        return [{"RumEvents": [{**each, **_as_json(each)} for each in self.events]}]


def _as_json(event):
    return {name: json.dumps(event[name]) for name in ("details", "metadata")}


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """First the page on an origin that its token is not for, then where it belongs."""
    browser, folder = chromium(), tmp_path_factory.mktemp("visit")
    with the_example(folder) as (origin, rum):
        script = folder / "otel.js"
        script.write_bytes(_script_of(origin))
        elsewhere = module_of_the_example("shop").Shop(0)
        with (
            elsewhere,
            elsewhere.serving(script),
            running("visit.mjs", folder, browser, elsewhere.origin, CALLS) as refused,
        ):
            pass
        with running("visit.mjs", folder, browser, origin, CALLS) as answered:
            events = rum.wait_for_events(EVENTS)
        return Visit(events, rum.stats(), answered["statuses"], refused["statuses"])


@pytest.fixture(scope="module")
def golden(captures):
    """What aws-rum-web sent, likewise, without what this page does not have: an icon's file."""
    events = []
    for path in sorted((captures / "aws-rum-web-golden").glob("*.json")):
        request = json.loads(path.read_text())
        common = json.loads(request["SessionMetadata"])
        events += [
            {**each, "metadata": json.dumps({**common, **json.loads(each["metadata"])})}
            for each in request["RumEvents"]
            if ICON not in each["details"]
        ]
    return [{"RumEvents": events}]


@pytest.fixture(scope="module")
def pairs(golden, visit):
    """The events of each compared type, aws-rum-web's beside those of the page."""
    ours = visit.requests()
    return {kind: list(zip(events_of(golden, kind), events_of(ours, kind), strict=True)) for kind in COMPARED}


def test_counts(golden, visit):
    """As many events of each type; first input delay is gone from web-vitals 5."""
    theirs = Counter(event["type"] for event in golden[0]["RumEvents"])
    assert theirs.pop(INPUT) == 1
    assert Counter(event["type"] for event in visit.events) == theirs
    assert theirs.total() == EVENTS


def test_nothing_differs_but_what_is_known(pairs):
    """Each member is the same, but for the known differences of the clients, and those that two pages have."""
    assert differences(pairs) - KNOWN_DIFFERENCES.keys() - MEASURED == OF_THIS_TEST.keys()


def test_calls(pairs):
    """The six calls have the same method, path, status and kind of failure."""
    assert [outcome(ours) for _, ours in pairs[HTTP]] == [outcome(theirs) for theirs, _ in pairs[HTTP]]
    assert len(pairs[HTTP]) == CALLS


def test_each_event_is_as_aws_takes_it(visit):
    """The endpoint has rejected nothing and warned of nothing, and no event came twice."""
    stats = visit.stats
    assert stats["requests_by_status"].keys() == {"200"}
    assert (stats["rejected_by_reason"], stats["warnings_by_reason"], stats["events_duplicate"]) == ({}, {}, 0)


def test_the_gateway_has_taken_what_the_page_sent(visit):
    """Each post of the page was answered 200, across origins, to a token in a header."""
    assert set(visit.answered) == {200}


def test_a_page_of_another_origin_sends_nothing(visit):
    """The same page with the same token elsewhere: the browser is not even allowed to post, and nothing arrives of it."""
    assert set(visit.refused) == {"net::ERR_FAILED"}
    assert len({event["session_id"] for event in visit.events}) == 1


def test_the_session_is_the_pages_own(visit):
    """A UUID that the page has made is the session's id as it is."""
    (session,) = {event["session_id"] for event in visit.events}
    assert uuid.UUID(session).version == 4


def test_the_browser(visit):
    """Name, version and language are the browser's, of its brands the one that is no placeholder."""
    metadata = visit.events[0]["metadata"]
    assert metadata["browserName"] in {"Chromium", "Google Chrome", "HeadlessChrome"}
    assert int(metadata["browserVersion"]) > 100
    assert (metadata["browserLanguage"], metadata["deviceType"]) == ("en-US", "desktop")


def test_no_secret_of_a_url_arrives(visit):
    """The token in a URL that the page calls is redacted before anything leaves the gateway."""
    urls = [event["details"]["request"]["url"] for event in visit.events if event["type"] == HTTP]
    assert sum(url.endswith("/api/items?token=REDACTED") for url in urls) == 1
    assert "secret123" not in json.dumps(visit.events)


def test_the_files_of_the_page(visit):
    """Its stylesheet, two scripts and image are there, and neither its calls nor its telemetry."""
    paths = [event["details"]["targetUrl"].rpartition("/")[2] for event in visit.events if event["type"] == RESOURCE]
    assert sorted(paths) == ["app.js", "lamp.svg", "otel.js", "style.css"]


def test_the_page_says_what_its_buttons_become(visit):
    """The events that stand beside the buttons are those that arrived: besides a page view for the load, and the purchase."""
    html = (EXAMPLE / "page/shop.html").read_text()
    said = Counter(re.findall(r"<li><button.*?<code>(\w+)</code>", html))
    arrived = Counter(event["type"].removeprefix("com.amazon.rum.") for event in visit.events)
    besides = {"http_event": 1, "page_view_event": 1}
    assert {name: arrived[name] - besides.get(name, 0) for name in said} == said


def test_a_page_over_its_limit_sends_again(gateways, rum, tmp_path):
    """A page that is told 429 sees when to come again, across origins, and its calls arrive, each once."""
    browser, script = chromium(), tmp_path / "otel.js"
    with module_of_the_example("shop").Shop(0) as shop:
        gateway = gateways(rum, LIMITED.format(token=TOKEN, monitor=MONITOR, origin=shop.origin))
        constants = {"GATEWAY_URL": gateway.addresses.url, "BROWSER_TOKEN": TOKEN}
        npm.bundle(EXAMPLE / "page/telemetry.js", packages(EXAMPLE), constants, script)
        with shop.serving(script), running("visit.mjs", tmp_path, browser, shop.origin, CALLS) as printed:
            pass
    gateway.stop()
    assert set(printed["statuses"]) == {200, 429}
    assert [event["times_received"] for event in rum.events(type=HTTP)] == [1] * CALLS


def test_the_example_says_that_npm_is_missing(tmp_path):
    """Without Node there is one line that says what to install, and nothing is left running."""
    command = [sys.executable, str(EXAMPLE / "run.py"), "--port", "0"]
    environment = bare_environment(PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: npm is not installed; this example needs Node 20 or later and npm\n"
