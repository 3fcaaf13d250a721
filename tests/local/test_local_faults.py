"""Faults, as a client on a real socket sees them."""

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from rum_samples import MONITOR, PATH, event, post, request

from otel_rum_exporter.local.faults import FaultInjector, Faults, parse_faults


def outcomes(rum, count):
    return [post(rum.endpoint, request()).status for _ in range(count)]


def test_rate_limit(rum):
    """Beyond the burst the answer is ThrottlingException with Retry-After."""
    rum.set_faults(rate_limit=0.001, burst=2)
    assert outcomes(rum, 3) == [200, 200, 429]
    reply = post(rum.endpoint, request())
    assert (reply.error, reply.headers["retry-after"]) == ("ThrottlingException", "1")
    assert rum.stats()["events_received"] == 2


@pytest.mark.parametrize("value", ["7", "0.5", "Wed, 21 Oct 2026 07:28:00 GMT", "abc", ""])
def test_retry_after_is_sent_as_given(rum, value):
    """Whatever servers put into Retry-After can be tried, and nothing too."""
    rum.set_faults(status=503, retry_after=value)
    reply = post(rum.endpoint, request())
    assert (reply.status, reply.headers.get("retry-after", "")) == (503, value)


def test_the_bucket_refills_with_time():
    """Tokens come back at the given rate, up to the burst."""
    now = [0.0]
    injector = FaultInjector(lambda: now[0])
    injector.set(Faults(rate_limit=2))

    def passed():
        return injector.next()[1] is None

    assert [passed() for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [passed() for _ in range(2)] == [True, False]
    now[0] = 60
    assert [passed() for _ in range(3)] == [True, True, False]


def test_error_rate_repeats_with_its_seed(rum):
    """The same seed fails the same requests, in about the share asked for."""
    rum.set_faults(error_rate=0.3, error_status=500, seed=7)
    first = outcomes(rum, 40)
    rum.set_faults(error_rate=0.3, error_status=500, seed=7)
    assert outcomes(rum, 40) == first
    assert 4 <= first.count(500) <= 20


def test_latency(rum):
    """The answer comes no earlier than asked."""
    rum.set_faults(latency_ms=60)
    started = time.monotonic()
    assert outcomes(rum, 1) == [200]
    assert time.monotonic() - started >= 0.06


@pytest.mark.parametrize(("moment", "stored"), [(True, 0), ("before", 0), ("after", 1)])
def test_hang(rum, moment, stored):
    """The request is taken and never answered, before or after it was stored."""
    rum.set_faults(hang=moment, times=1)
    with pytest.raises(TimeoutError):
        post(rum.endpoint, request(), timeout_s=0.15)
    stats = rum.stats()
    assert (stats["events_received"], stats["requests_by_status"]) == (stored, {"hang": 1})
    assert outcomes(rum, 1) == [200]


@pytest.mark.parametrize(("moment", "stored"), [(True, 0), ("after", 1)])
def test_reset(rum, moment, stored):
    """The connection ends in a TCP reset, not in a clean close."""
    rum.set_faults(reset=moment, times=1)
    with pytest.raises(ConnectionResetError):
        post(rum.endpoint, request())
    stats = rum.stats()
    assert (stats["events_received"], stats["requests_by_status"]) == (stored, {"reset": 1})


def test_drip(rum):
    """The answer comes byte by byte, too slowly to be useful and too steadily for a read timeout."""
    rum.set_faults(drip_ms=1, times=1)
    address = urlsplit(rum.endpoint)
    body = json.dumps(request()).encode()
    chunks = []
    with socket.create_connection((address.hostname, address.port), timeout=5) as client:
        client.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)
        )
        while chunk := client.recv(4096):
            chunks.append(chunk)
    assert b"".join(chunks).startswith(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
    assert len(chunks) > 20
    assert rum.stats()["events_received"] == 1


def test_drip_can_be_read_by_a_client(rum):
    """A patient client gets a whole answer."""
    rum.set_faults(drip_ms=0.1, status=0)
    assert post(rum.endpoint, request(event("[]"))).error == "ValidationException"


def test_a_client_that_goes_away_has_sent_nothing(rum):
    """In the middle of a body, as a process that is killed: nobody counts that as a request, or refuses it."""
    address = urlsplit(rum.endpoint)
    rum.set_faults(status=503, times=1)
    with socket.create_connection((address.hostname, address.port), timeout=5) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n" % PATH.encode())
        client.sendall(b"content-length: 100\r\n\r\n")
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is being read
        assert rum.stats()["in_flight"]["now"] == 1
        client.sendall(b"{")
    while rum.stats()["in_flight"]["now"]:
        time.sleep(0.01)
    assert rum.stats()["requests"] == 0
    assert outcomes(rum, 2) == [503, 200]


def test_poison(rum):
    """One poisoned event, by its id or by a text in it, refuses the request without naming it."""
    poisoned = event()
    rum.set_faults(poison=[poisoned["id"], "MARK"])
    for body in (request(event(), poisoned), request(event({"a": "a MARK b"}))):
        reply = post(rum.endpoint, body)
        assert (reply.status, reply.error) == (400, "ValidationException")
        assert "RumEvents" not in reply.message
        assert all(each["id"] not in reply.message for each in body["RumEvents"])
    assert outcomes(rum, 1) == [200]


OVERRIDES = {
    "redirect": (
        {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}},
        302,
        "location",
        "http://127.0.0.1:1/",
    ),
    "captive portal": (
        {"status": 200, "headers": {"Content-Type": "text/html"}, "body": "<html>"},
        200,
        "content-type",
        "text/html",
    ),
    "forbidden": ({"status": 403}, 403, "x-amzn-errortype", "AccessDeniedException"),
    "unavailable": ({"status": 503, "retry_after": "2"}, 503, "retry-after", "2"),
    "unheard of": ({"status": 599}, 599, "content-type", "application/json"),
}


@pytest.mark.parametrize(("faults", "status", "header", "value"), OVERRIDES.values(), ids=OVERRIDES)
def test_status(rum, faults, status, header, value):
    """Any status with any headers and body, and nothing is stored even with 200."""
    rum.set_faults(**faults)
    reply = post(rum.endpoint, request())
    assert (reply.status, reply.headers[header]) == (status, value)
    assert reply.body == faults.get("body", reply.body.decode()).encode()
    assert rum.stats()["events_received"] == 0


def test_times(rum):
    """A fault with a number ends by itself after so many requests."""
    rum.set_faults(status=500, times=2)
    assert call(rum, "GET") == {"faults": {"status": 500, "times": 2}, "remaining": 2}
    assert outcomes(rum, 3) == [500, 500, 200]
    assert call(rum, "GET")["remaining"] == 0


def test_failed_requests_are_known_by_their_batch(rum):
    """Requests that only met a fault are listed with session and batch, so that retries can be followed."""
    rum.set_faults(status=500, times=1)
    body = request()
    assert [post(rum.endpoint, body).status for _ in range(2)] == [500, 200]
    assert [(each["batch_id"], each["status"]) for each in rum.requests()] == [
        (body["BatchId"], "500"),
        (body["BatchId"], "200"),
    ]


def test_faults_come_and_go(rum):
    """Setting replaces, clearing ends."""
    rum.set_faults(status=500)
    rum.set_faults(latency_ms=1)
    assert outcomes(rum, 1) == [200]
    rum.set_faults(status=500)
    rum.clear_faults()
    assert outcomes(rum, 1) == [200]
    assert call(rum, "GET") == {"faults": {}, "remaining": None}


BAD_FAULTS = [
    ({"latency": 5}, "latency is unknown"),
    ({"latency_ms": -1}, "latency_ms must be"),
    ({"latency_ms": True}, "latency_ms must be"),
    ({"error_rate": 1.5}, "error_rate must be"),
    ({"error_status": 200}, "error_status must be"),
    ({"status": 99}, "status must be"),
    ({"hang": "sometimes"}, "hang must be"),
    ({"poison": "text"}, "poison must be"),
    ({"poison": [""]}, "poison must be"),
    ({"headers": {"a": 1}}, "headers must be"),
    ({"retry_after": 1}, "retry_after must be"),
    ({"times": 0}, "times must be"),
    ([], "must be a JSON object"),
]


@pytest.mark.parametrize(("document", "message"), BAD_FAULTS)
def test_bad_faults_are_refused(rum, document, message):
    """An unknown key or a bad value is a 400 that says so, and changes nothing."""
    with pytest.raises(ValueError, match=message):
        parse_faults(document)
    reply = post(rum.endpoint, document, "/api/faults", {"content-type": "application/json"})
    assert reply.status == 400
    assert message in reply.message
    assert outcomes(rum, 1) == [200]


def call(rum, method):
    address = urlsplit(rum.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    connection.request(method, "/api/faults")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_monitor_of_a_fault_is_recorded(rum):
    """Even a request that was never answered is listed with its app monitor."""
    rum.set_faults(reset=True, times=1)
    with pytest.raises(ConnectionResetError):
        post(rum.endpoint, request())
    assert rum.requests()[0]["monitor_id"] == MONITOR
