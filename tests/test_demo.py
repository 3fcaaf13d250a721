"""The demo: real processes, real sockets, and nothing left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from otel_rum_exporter.demo.checks import OUTAGES, checks
from otel_rum_exporter.demo.processes import Child
from otel_rum_exporter.demo.replay import requests_of
from otel_rum_exporter.demo.summary import VITALS, percentile_75, rating, summarise
from otel_rum_exporter.demo.users import User, users
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.otlp import items
from otel_rum_exporter.stats import Statistics

PROGRAM = str(Path(sys.executable).with_name("otel-rum-exporter"))
LONGEST_S = 30


def start(*arguments, **variables):
    """Start the demo in a terminal of 80 columns, in an environment with settings that must not reach it."""
    misleading = {"OTEL_TRACES_EXPORTER": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "COLUMNS": "80"}
    return subprocess.Popen(
        [PROGRAM, "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **misleading, **variables},
        start_new_session=True,
    )


def is_listening(url):
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((address.hostname, address.port)) == 0


def assert_gone(urls):
    """The processes behind the URLs end; polled, since a killed parent cannot wait for them."""
    deadline = time.monotonic() + LONGEST_S
    while any(map(is_listening, urls)):
        assert time.monotonic() < deadline, f"something still listens on {urls}"


def urls_in(text):
    return re.findall(r"(?:Endpoint|Shop) at (http://127\.0\.0\.1:\d+)", text)


def test_demo_proves_what_it_says():
    """Everything accepted is delivered and valid, in less than half a minute, on a screen of 80 columns."""
    started = time.monotonic()
    process = start()
    output, _ = process.communicate(timeout=2 * LONGEST_S)
    assert process.returncode == 0, output
    assert time.monotonic() - started < LONGEST_S
    assert max(map(len, output.splitlines())) <= 80
    for name in ("ada", "grace", "linus", "alan"):
        assert re.search(rf"^ +{name} .* /shop > /products/42 > /cart +\d+ *$", output, re.MULTILINE)
    for row in (
        r"LCP  largest contentful paint +good +4 +\d+ ms",
        r"browser +GET +127.0.0.1:9/nope +Failed to fetch +4",
        r"shop +POST +/api/boom +500 +1",
        r"shop +GET +/api/missing +404 +1",
        r"shop +KeyError +'44' +shop.py:\d+ +1",
        r"browser +TypeError +Cannot read properties of +app.js:11 +4",
        r"cart.checkout +2",
        r"session_start_event +4",
        r"queued +0 +0",
    ):
        assert re.search(row, output), (row, output)
    assert len(re.findall(r"^✓", output, re.MULTILINE)) == 5 + 7
    assert "nothing was lost" in " ".join(output.split())
    assert_gone(urls_in(output))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_process_outlives_the_demo(number):
    """Ctrl-C, an end asked for, and a sudden end while the shop runs."""
    process = start()
    text = ""
    while len(urls_in(text)) < 2:
        line = process.stdout.readline()
        assert line, text
        text += line
    process.send_signal(number)
    rest, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode != 0
    assert "Traceback" not in rest
    assert_gone(urls_in(text))


def test_screen_without_unicode():
    process = start("--users", "1", PYTHONIOENCODING="ascii", COLUMNS="120")
    output, _ = process.communicate(timeout=2 * LONGEST_S)
    assert process.returncode == 0, output
    assert output.isascii()
    assert output.startswith("ok ")


def test_child_that_fails_is_reported_with_its_last_words():
    command = [sys.executable, "-c", "import sys; sys.exit('no such luck')"]
    with (
        Child("shop", command, dict(os.environ)) as child,
        pytest.raises(RuntimeError, match=r"the shop ended early:\n.*no such luck"),
    ):
        child.line()


# replay


def test_replay_changes_only_what_ties_a_visit_to_its_user():
    """Session, user, ids, moments and the shop's address; distances in time stay."""
    ada, grace = users(2)
    now_ns = 1_800_000_000_000_000_000
    of_ada, of_grace = (
        [item for request in requests_of(user, "http://shop:1", now_ns) for item in items(json.dumps(request))]
        for user in (ada, grace)
    )
    assert {attributes_of(item)["session.id"] for item in of_ada} == {ada.session_id}
    assert {attributes_of(item)["user.id"] for item in of_grace} == {"grace"}
    assert not ids_of(of_ada) & ids_of(of_grace)
    assert max(time_of(item) for item in of_ada) <= now_ns
    assert now_ns - min(time_of(item) for item in of_ada) < 6_000_000_000
    assert [time_of(item) for item in of_ada] == [time_of(item) for item in of_grace]
    assert any(attributes_of(item).get("url.full") == "http://shop:1/api/items?token=secret123" for item in of_ada)


def attributes_of(item):
    return item.log_record.attributes if hasattr(item, "log_record") else item.attributes


def time_of(item):
    return item.log_record.timestamp if hasattr(item, "log_record") else item.end_time


def ids_of(items):
    return {item.context.span_id for item in items if hasattr(item, "context")}


# summary


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5], 5), ([1, 2], 2), ([4, 1, 3, 2], 3), ([1] * 3 + [9], 1), (range(1, 101), 75)],
    ids=str,
)
def test_percentile_is_the_value_that_three_quarters_keep_to(values, expected):
    assert percentile_75(values) == expected


@pytest.mark.parametrize("kind", VITALS, ids=lambda kind: kind.name.split()[0])
def test_rating_at_its_thresholds(kind):
    """Source: web.dev; a value at a threshold is still of the better kind."""
    values = (0, kind.good, kind.good * 1.01, kind.poor, kind.poor * 1.01)
    expected = ["good", "good", "needs improvement", "needs improvement", "poor"]
    assert [rating(kind, value) for value in values] == expected


def event(kind, details=None, session="s", time=1.0, **metadata):
    return {
        "type": kind if "." in kind else "com.amazon.rum." + kind,
        "details": details or {},
        "metadata": metadata,
        "session_id": session,
        "user_id": "u",
        "timestamp": time,
    }


def test_summary_puts_pages_in_the_order_of_the_visit():
    found = summarise(
        [event("page_view_event", time=2, pageId="/b"), event("page_view_event", time=1, pageId="/a")], ""
    )
    assert found.sessions[0].pages == ["/a", "/b"]
    assert found.views == {"/a": 1, "/b": 1}


def test_summary_of_events_without_optional_members():
    """What schemas allow to be absent does not break the screen."""
    found = summarise([event("http_event", {"request": {"method": "GET"}}), event("js_error_event"), event("a.b")], "")
    assert [(call.url, call.outcome, call.failed) for call in found.calls] == [("", "no answer", True)]
    assert [(error.type, error.where) for error in found.errors] == [("", "")]
    assert found.custom == {"a.b": 1}


# checks


GOOD = Statistics(
    received=3, converted=2, items_dropped={DropReason.UNMAPPED: 1}, accepted=2, delivered=2, events_dropped={},
    queued=0, requests=3, retried={"server": OUTAGES},
)  # fmt: skip
ENDPOINT = {"events_distinct": 2, "rejected_by_reason": {}, "requests_by_status": {"200": 1, "503": OUTAGES}}


def failing(counters=GOOD, session="s", **endpoint):
    results = checks({"shop": counters}, {**ENDPOINT, **endpoint}, [event("a.b", session=session)], [User("ada", "s")])
    return [number for number, check in enumerate(results) if not check.is_true]


def changed(**numbers):
    return Statistics(**{**{name: getattr(GOOD, name) for name in GOOD.__struct_fields__}, **numbers})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (failing(), []),
        (failing(changed(received=4)), [0]),
        (failing(changed(accepted=3)), [1, 2]),
        (failing(changed(accepted=3, queued=1)), [2]),
        (failing(changed(accepted=3, events_dropped={DropReason.REJECTED: 1})), [2]),
        (failing(changed(accepted=3, events_dropped={DropReason.DUPLICATE: 1})), []),
        (failing(events_distinct=1), [3]),
        (failing(rejected_by_reason={"schema": 1}), [4]),
        (failing(requests_by_status={"200": 1, "503": OUTAGES, "403": 1}), [4, 5]),
        (failing(changed(retried={})), [5]),
        (failing(session="other"), [6]),
    ],
    ids=[
        "good",
        "items",
        "events",
        "queued",
        "rejected",
        "replaced",
        "missing",
        "invalid",
        "unsigned",
        "again",
        "session",
    ],
)
def test_checks_fail_for_what_they_name(found, expected):
    assert found == expected
