"""What is remembered of sessions is bounded, however many there are and however long they last."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Conversion, Draft, Once, Origin
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, PageViewEvent
from otel_rum_exporter.sessions.identity import ProcessSession, session_uuid
from otel_rum_exporter.sessions.session import Sessions

MONITOR = AppMonitor("11111111-2222-4333-8444-555555555555")
PROCESS = "99999999-8888-4777-8666-555555555555"
BROWSER = Origin(MONITOR, is_client=True, client=NO_CLIENT)
T = 1_790_000_000 * 10**9
MB = 10**6

GROWTH = """
import gc, sys
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.sessions.identity import ProcessSession
from otel_rum_exporter.otlp import Log, LogRecord, Resource, Scope, Span, SpanContext, Status
from otel_rum_exporter.sessions.session import Sessions
from opentelemetry.trace import SpanKind

T = 1_790_000_000 * 10**9
config = RumConfig(app_monitor_id="11111111-2222-4333-8444-555555555555", context_sessions=100_000, context_bytes=2**30)
converter = Converter(config)
sessions = Sessions(config, ProcessSession("99999999-8888-4777-8666-555555555555"))
FETCH = Scope("@opentelemetry/instrumentation-fetch")


def admit(converted):
    sessions.admit(converted, converted.origin.monitor, 0.0)


def remember(number):
    # a page, its load, a vital, a call, a browser
    at, session = T + number * 10**6, f"{number:032x}"
    page = f"https://shop.example/products/{number % 1000}"
    resource = Resource({"telemetry.sdk.language": "webjs", "user_agent.original": "Mozilla/5.0 " + str(number % 100)})
    timing = {"browser.navigation_timing.load_event_end": 250.0, "browser.resource_timing.duration": 250.0}
    vital = {"browser.web_vital.name": "fcp", "browser.web_vital.value": 168, "browser.web_vital.id": f"v5-{number}"}
    ids = LogEventIds()
    for name, attributes in (
        ("browser.navigation", {"url.full": page}),
        ("browser.navigation_timing", {"url.full": page, **timing}),
        ("browser.web_vital", vital),
    ):
        record = LogRecord(at, at, 0, 0, None, {**attributes, "session.id": session}, name)
        admit(converter.log(Log(record, resource, None), ids))
    call = {"http.request.method": "GET", "url.full": f"https://shop.example/api/{number}", "session.id": session}
    context = SpanContext(number + 1, number + 1)
    call["http.response.status_code"] = 200
    admit(converter.span(Span("GET", SpanKind.CLIENT, context, None, at, at + 1, Status(), call, [], resource, FETCH)))
    sessions.count_sent(session_of(session), [("view", 0, "/products")])


def session_of(digits):
    return config.app_monitor_id + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def used():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


for number in range(1000):
    remember(number)
before, count = used(), int(sys.argv[1])
for number in range(1000, 1000 + count):
    remember(number)
grown = used() - before
assert len(sessions) == min(100_000, 1000 + count)
assert sessions.view(session_of(f"{number:032x}")).number_sent(("view", 0, "/products")) == 1
print(grown)
"""


def growth(sessions):
    """The bytes by which a process grows that remembers so many sessions, each with what is typical of one."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(sessions)], check=True, capture_output=True, text=True, timeout=300
    )
    return int(done.stdout)


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")


@linux
def test_memory_of_a_session():
    """A session takes some 1.1 kB; few of them also pay for what all share."""
    assert growth(4000) / 4000 <= 1500


@linux
@pytest.mark.nightly
def test_memory_of_100_000_sessions():
    """100,000 sessions take at most 150 MB."""
    assert growth(99_000) <= 150 * MB


def sessions_of(count):
    return Sessions(RumConfig(context_sessions=count, session_start="off"), ProcessSession(PROCESS))


def view(time_ns, page_id):
    return Draft(id="i", time_ns=time_ns, type=PageViewEvent.type_, details=PageViewEvent(pageId=page_id))


def admit(known, session, *drafts):
    conversion = Conversion(session=session, user=None, origin=BROWSER, events=list(drafts))
    assert known.admit(conversion, MONITOR, 0.0)


@pytest.mark.parametrize(
    "number", [pytest.param(30_000, id="thousands"), pytest.param(1_000_000, id="a million", marks=pytest.mark.nightly)]
)
def test_sessions_without_end(number):
    """The bound holds; the contexts that were idle longest go first, and how many went is counted."""
    known = sessions_of(1000)
    for i in range(number):
        admit(known, f"s{i}", view(T, "/a"))
    assert len(known) == 1000
    assert known.forgotten == number - 1000
    kept = [MONITOR.id + session_uuid(f"s{i}", MONITOR.id) for i in range(number - 1001, number)]
    assert [bool(known.view(each).places) for each in kept] == [False] + [True] * 1000


def test_a_session_of_10_000_pages():
    """Its timeline and its notes are bounded, and so is what a page costs."""
    known = sessions_of(10)
    halves = []
    for half in range(2):
        started = time.perf_counter()
        for i in range(5000 * half, 5000 * (half + 1)):
            once = Draft(id="i", time_ns=T, type="t", details="{}", once=Once(i))
            admit(known, "s", view(T + i * 10**9, f"/{i}"), once)
            known.count_sent(MONITOR.id + session_uuid("s", MONITOR.id), [("view", i, f"/{i}")])
        halves.append(time.perf_counter() - started)
    seen = known.view(MONITOR.id + session_uuid("s", MONITOR.id))
    assert [place.interaction for place in seen.places] == list(range(10_000 - 64, 10_000))
    assert len(seen.notes) == 256
    assert halves[1] < 5 * halves[0] + 1


def test_clocks_that_jump():
    """Times decades apart or before the epoch, in any order: the places stand in the order of time."""
    known = sessions_of(10)
    times = [T, T + 30 * 365 * 86_400 * 10**9, 1, -T, T - 1, 2**70, T + 1]
    for i, time_ns in enumerate(times):
        admit(known, "s", view(time_ns, f"/{i}"))
    seen = known.view(MONITOR.id + session_uuid("s", MONITOR.id))
    assert [place.visit.time_ns for place in seen.places] == sorted(times)
    assert seen.place_at(-(2**80)) is None
    assert seen.place_at(2**80).visit.time_ns == 2**70


def test_ends_without_end():
    """Apps that end their sessions over and over, or very many at once, leave nothing behind."""
    known = sessions_of(10)
    for i in range(5000):
        for session in ("s", f"s{i}"):
            ended = Conversion(session=session, user=None, origin=BROWSER, events=[], ends_session=True)
            known.admit(ended, MONITOR, i / 100)
    assert len(known._ended) == 10
    known.admit(ended, MONITOR, 10_000.0)
    assert len(known._ended) == 1
