"""Senders that take their time, or take too much: they cost others nothing."""

import contextlib
import threading

import pytest
from gateway_requests import spans
from gateway_tables import NO_RATES

HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n"


@contextlib.contextmanager
def connections(client, number, first):
    """Hold connections that each have sent something."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(client.raw()) for _ in range(number)]
        for each in opened:
            if first:
                each.sendall(first)
        yield opened


def closed(raw):
    """Return what a connection still gets until it is closed."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := raw.recv(65536):
            parts.append(part)
    return b"".join(parts)


def statuses(answers):
    """Return the statuses of the answers that a connection got."""
    return [int(each.split()[0]) for each in answers.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("first", "answer"),
    [(b"", b""), (b"POST /v1/traces HT", b"HTTP/1.1 408 "), (HEAD, b"HTTP/1.1 408 "), (b"\r\n\r\n", b"")],
    ids=["nothing", "a line", "headers", "empty lines"],
)
def test_headers_that_never_end(gateways, rum, first, answer):
    """A connection whose headers do not come is closed after a while; who has begun a request is told why."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 200\n" + NO_RATES)
    with gateway.client().raw() as raw:
        raw.sendall(first)
        assert closed(raw)[:13] == answer
    assert gateway.client().post(spans()).status == 200


def test_a_second_request_that_never_ends(gateways, rum):
    """Likewise after a first request on the same connection."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 200\n" + NO_RATES)
    with gateway.client().raw() as raw:
        raw.sendall(HEAD + b"content-length: 0\r\n\r\n" + b"POST /v1")
        assert statuses(closed(raw)) == [200, 408]


def test_a_kept_connection_may_rest(gateways, rum):
    """The time for headers does not run while a connection rests between requests."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 50\n" + NO_RATES)
    client, other = gateway.client(), gateway.client()
    assert client.post(spans()).status == 200
    with other.raw() as raw:
        closed(raw)  # as long as the other one rests
    assert client.post(spans()).status == 200


def test_a_connection_may_rest_after_a_refusal(gateways, rum):
    """Likewise after a request that was answered before its body had come, as soon as that has."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 100\n" + NO_RATES)
    client = gateway.client()
    with client.raw() as raw, client.raw() as other:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-length: 10\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 415 ")
        raw.sendall(b"0123456789")
        closed(other)  # as long as the first one rests
        with client.raw() as another:
            closed(another)
        raw.sendall(HEAD + b"content-length: 0\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_hundreds_of_slow_senders_delay_nobody(gateways, rum):
    """While 500 connections rest, or have sent the beginning of a head or a body, others are answered."""
    slowly = "header_timeout = 120_000\nbody_timeout = 120_000\n"
    gateway = gateways(rum, "[gateway]\nmax_connections = 700\n" + slowly + NO_RATES)
    client = gateway.client()
    with (
        connections(client, 200, b""),
        connections(client, 150, HEAD + b"content-le"),
        connections(client, 150, HEAD + b"content-length: 1000\r\n\r\nx") as slow,
    ):
        for each in slow[:20]:
            each.sendall(b"x")
            assert client.post(spans()).status == 200
        assert gateway.metric("rum_gateway_connections") == 501
    assert gateway.stats().received == 20


def test_more_connections_than_allowed(gateways, rum):
    """One connection too many is told to come back; those that there are go on."""
    gateway = gateways(rum, "[gateway]\nmax_connections = 3\n" + NO_RATES)
    client = gateway.client()
    assert client.post(spans()).status == 200
    with connections(client, 2, b"P"), client.raw() as third:
        answer = closed(third)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 2\r\n" in answer
        assert client.post(spans()).status == 200


def test_bodies_in_flight_are_bounded_by_client(gateways, rum):
    """A client with bodies that do not end gets 429 for what is over its share; another one is answered."""
    mib = 1024 * 1024
    gateway = gateways(
        rum,
        f"[gateway]\nmax_in_flight_bytes = {mib}\ntrusted_proxies = '127.0.0.1'\nallow_anonymous = true\n" + NO_RATES,
    )
    greedy = gateway.client(x_forwarded_for="192.0.2.1")
    begin = HEAD + b"x-forwarded-for: 192.0.2.1\r\ncontent-length: 300000\r\n\r\n"
    with connections(greedy, 1, begin + b"x" * 200_000):
        for _ in range(10_000):
            if gateway.metric("rum_gateway_in_flight_bytes") >= 200_000:
                break
        answer = greedy.post(b"x" * 100_000)
        assert (answer.status, "in flight" in answer.status_message) == (429, True)
        assert gateway.client(x_forwarded_for="192.0.2.2").post(spans()).status == 200
    for _ in range(10_000):
        if not gateway.metric("rum_gateway_in_flight_bytes"):
            break
    assert gateway.metric("rum_gateway_in_flight_bytes") == 0


def test_bodies_in_flight_are_bounded_in_all(gateways, rum):
    """Where others have all the room there is, a request is answered with 503: whoever sent it is to send it again."""
    mib = 1024 * 1024
    gateway = gateways(
        rum,
        f"[gateway]\nmax_in_flight_bytes = {mib}\ntrusted_proxies = '127.0.0.1'\nallow_anonymous = true\n" + NO_RATES,
    )
    with contextlib.ExitStack() as stack:
        for number in range(5):
            head = HEAD + b"x-forwarded-for: 192.0.2.%d\r\ncontent-length: 300000\r\n\r\n" % number
            stack.enter_context(connections(gateway.client(), 1, head + b"x" * 200_000))
        for _ in range(10_000):
            if gateway.metric("rum_gateway_in_flight_bytes") >= 1_000_000:
                break
        answer = gateway.client(x_forwarded_for="192.0.2.9").post(b"x" * 100_000)
        assert (answer.status, "in flight" in answer.status_message) == (503, True)


def test_one_abusive_client_takes_nothing_from_others(gateways, rum):
    """While one client sends as fast as it can, all that others send is taken."""
    limits = "[limits]\nclient_requests_per_second = 1\nclient_burst = 50\n"
    proxied = "[gateway]\ntrusted_proxies = '127.0.0.1'\nallow_anonymous = true\n"
    gateway = gateways(rum, proxied + limits)
    is_over, statuses = threading.Event(), []

    def abuse():
        client = gateway.client(x_forwarded_for="192.0.2.1")
        while not is_over.is_set():
            statuses.append(client.post(spans()).status)

    abusers = [threading.Thread(target=abuse) for _ in range(3)]
    for each in abusers:
        each.start()
    try:
        others = [gateway.client(x_forwarded_for=f"198.51.100.{each}") for each in range(20)]
        answers = [other.post(spans(session=f"s-{number}")).status for number, other in enumerate(others * 5)]
        while len(statuses) < 200:  # which is more than its burst, whatever the machine's speed
            others[0].get("/")
    finally:
        is_over.set()
        for each in abusers:
            each.join()
    assert answers == [200] * 100
    assert statuses.count(429) > 0
    assert set(statuses) == {200, 429}
