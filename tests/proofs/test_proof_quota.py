"""The account's 50 requests a second: one process alone, and four that share them with another tenant."""

import http.client
import json
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
from proof_endpoint import check, last_report

from otel_rum_exporter.testing import LocalRum

QUOTA = {"rate_limit": 50, "burst": 50}
TENANT = "99999999-8888-4777-8666-555555555555"


@pytest.fixture
def rum():
    """An endpoint that looks at no signature: the other tenant signs nothing."""
    with LocalRum(credentials=None) as rum:
        yield rum


def work(number, seconds, **options):
    """An endless backlog: more requests than the quota admits in that time, one event each."""
    backlog = {"session_start": "off", "max_events": 1, "flush_interval": 0, "shutdown_timeout": 0}
    events = min(9_000, int(60 * seconds))
    return {"name": f"p{number}", "number": events, "sessions": 300, "seconds": seconds, "options": backlog | options}


def share_throttled(requests, since):
    late = [each["status"] for each in requests if each["received_at"] >= since]
    return 100 * late.count("429") / len(late)


def goodput(requests, since):
    """Requests a second that were taken."""
    taken = [each["received_at"] for each in requests if each["status"] == "200" and each["received_at"] >= since]
    return (len(taken) - 1) / (taken[-1] - taken[0])


@pytest.mark.parametrize(("seconds", "ramp_s"), [(20, 10), pytest.param(120, 30, marks=pytest.mark.nightly)])
def test_one_process(run, rum, proof, seconds, ramp_s):
    """It takes what it is configured to, and is hardly ever throttled."""
    rum.set_faults(**QUOTA)
    output, _ = run(work(0, seconds), patience_s=seconds + 120)
    check(rum, [last_report(output)], answers_get_lost=True)
    requests = rum.requests()
    since = requests[0]["received_at"] + ramp_s
    throttled, rate = share_throttled(requests, since), goodput(requests, since)
    proof(
        "B1",
        f"one process, 50 requests/s admitted, {seconds} s",
        target=f"< 0.5 % throttled after {ramp_s} s, >= 44 requests/s",
        measured=f"{throttled:.2f} % throttled, {rate:.1f} requests/s",
        is_met=throttled < 0.5 and rate >= 44,
    )
    assert throttled < 5
    assert rate > 20


@pytest.mark.parametrize(("seconds", "ramp_s"), [(20, 8), pytest.param(120, 30, marks=pytest.mark.nightly)])
def test_four_processes_beside_another_tenant(start, rum, proof, seconds, ramp_s):
    """They find out what the other leaves them, without knowing of each other."""
    rum.set_faults(**QUOTA)
    with tenant(rum, 25), ExitStack() as stack:
        processes = [stack.enter_context(start(work(number, seconds, senders=4))) for number in range(4)]
        outputs = [process.communicate(timeout=seconds + 120)[0] for process in processes]
    check(rum, [last_report(output) for output in outputs], answers_get_lost=True)
    requests = [each for each in rum.requests() if each["monitor_id"] != TENANT]
    since = requests[0]["received_at"] + ramp_s
    throttled, rate = share_throttled(requests, since), goodput(requests, since)
    proof(
        "B2",
        f"4 processes with senders=4, another tenant takes 25 of 50 requests/s, {seconds} s",
        target="< 2 % throttled, >= 24 requests/s",
        measured=f"{throttled:.2f} % throttled after {ramp_s} s, {rate:.1f} requests/s",
        is_met=throttled < 2 and rate >= 24,
    )
    assert throttled < 15
    assert rate > 10


@contextmanager
def tenant(rum, rate):
    """Someone else who sends so many requests a second, whatever the answers."""
    over = threading.Event()
    thread = threading.Thread(target=_send, args=(rum.endpoint, rate, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _send(endpoint, rate, over):
    address, started, sent = urlsplit(endpoint), time.monotonic(), 0
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    while not over.wait(max(0.0, started + sent / rate - time.monotonic())):
        connection.request("POST", f"/appmonitors/{TENANT}", _body(), {"content-type": "application/json"})
        connection.getresponse().read()
        sent += 1
    connection.close()


def _body():
    session = {"userId": TENANT, "sessionId": TENANT}
    event = {"id": str(uuid.uuid4()), "timestamp": int(time.time()), "type": "tenant", "details": "{}"}
    document = {"BatchId": event["id"], "UserDetails": session, "RumEvents": [event]}
    return json.dumps({**document, "AppMonitorDetails": {"id": TENANT, "name": "tenant", "version": "1.0.0"}})
