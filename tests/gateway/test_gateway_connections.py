"""What a connection may do besides sending one request after the other: little, and nothing that costs others."""

import contextlib
import json
import logging
import socket
import sys
import threading

import pytest
from gateway_requests import WAIT_S, spans
from gateway_tables import NO_RATES
from test_gateway_slow import HEAD, closed, statuses

from otel_rum_exporter.gateway.log_lines import LineFormatter

SMALL = HEAD + b"content-length: 0\r\n\r\n"


def whole(body):
    return HEAD + f"content-length: {len(body)}\r\n\r\n".encode() + body


def test_requests_at_once_are_answered_in_order(gateway):
    """What is sent before the answer of what is ahead of it waits for its turn."""
    with gateway.client().raw() as raw:
        last = HEAD + b"content-length: 0\r\nconnection: close\r\n\r\n"
        requests = [
            whole(spans(2)),
            b"GET /v1/traces HTTP/1.1\r\nhost: g\r\n\r\n",
            whole(b"\xff"),
            whole(spans(3)),
            last,
        ]
        raw.sendall(b"".join(requests))
        assert statuses(closed(raw)) == [200, 405, 400, 200, 200]
    assert gateway.stats().received == 5


def test_too_many_requests_at_once(gateway):
    """Those that were begun are answered; then the connection ends with the reason."""
    with gateway.client().raw() as raw:
        raw.sendall(whole(spans()) * 100)
        assert statuses(closed(raw)) == [200] * 32 + [429]
    assert gateway.stats().received == 32


def test_what_is_no_request_ends_a_connection(gateway):
    """The answers to the requests before it come first."""
    with gateway.client().raw() as raw:
        raw.sendall(whole(spans()) + b"no request\r\n\r\n")
        assert statuses(closed(raw)) == [200, 400]
    with gateway.client().raw() as raw:
        raw.sendall(whole(spans()) + HEAD + b"transfer-encoding: chunked\r\n\r\nno chunk\r\n")
        assert statuses(closed(raw)) == [200, 400]


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"later: " + b"a" * 1_000_000,
        HEAD + b"later: " + b"a" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
        HEAD + b"".join(b"h%d: a\r\n" % each for each in range(10_000)) + b"content-length: 0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"trailer: aaaa\r\n" * 10_000,
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\ntrailer: " + b"a" * 200_000,
        HEAD + b"transfer-encoding: chunked\r\n\r\n1;" + b"a" * 200_000,
        b"POST /" + b"a" * 200_000,
        b"\r\n" * 100_000,
    ],
    ids=["begun", "one", "many", "trailers", "a trailer", "a chunk's extension", "a URL", "empty lines"],
)
def test_headers_have_a_limit(gateway, sent):
    """All that is no body is bounded, wherever it stands and however it arrives."""
    with gateway.client().raw() as raw:
        with contextlib.suppress(OSError):  # the answer may come first
            raw.sendall(sent)
        assert statuses(closed(raw)) == [431]
    assert gateway.client().post(spans()).status == 200


@pytest.mark.parametrize(
    ("sent", "status", "reason", "message"),
    [
        (b"no request\r\n\r\n", 400, "malformed", "this is not HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http2", "this is HTTP/2, as gRPC speaks it"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "tls", "this is TLS"),
        (HEAD, 408, "header_timeout", "the headers took too long"),
        (b"", None, "header_timeout", ""),
        (SMALL * 50, 429, "requests_waiting", "too many requests wait for others on this connection"),
        (
            HEAD + b"later: " + b"a" * 100_000 + b"\r\n\r\n",
            431,
            "header_bytes",
            "more than 65536 bytes besides the body",
        ),
    ],
    ids=["no HTTP", "gRPC", "https", "slow", "silent", "pipelined", "headers"],
)
def test_what_no_request_has_a_say_in_is_not_silent(gateways, rum, caplog, sent, status, reason, message):  # noqa: PLR0913, PLR0917 - a table
    """The sender is told by a Status; whoever runs the gateway finds it among the metrics, and in the access log."""
    caplog.set_level(logging.INFO, "otel_rum_exporter.gateway.access")
    timeout_ms = 300 if reason == "header_timeout" else 60_000
    gateway = gateways(rum, f"[gateway]\nheader_timeout = {timeout_ms}\naccess_log = true\n{NO_RATES}")
    with gateway.client().raw() as raw:
        with contextlib.suppress(OSError):  # the answer may come first
            raw.sendall(sent)
        *_, answer = closed(raw).split(b"HTTP/1.1 ")
    if status is not None:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert (int(head[:3]), b"content-type: application/json" in head, b"\r\ndate: " in head) == (status, True, True)
        assert json.loads(body)["message"].startswith(message)
        assert gateway.metric(f'rum_gateway_requests_total{{signal="none",status="{status}"}}') == 1
    assert gateway.metric(f'rum_gateway_connections_ended_total{{reason="{reason}"}}') == 1
    line = LineFormatter(as_json=False).format(caplog.records[-1])
    answered = "" if status is None else f"status={status} "
    assert line.endswith(f' message="connection ended" {answered}client=127.0.0.1 reason={reason}')


def ask_on(raw):
    while True:
        raw.sendall(SMALL * 10)


def test_answers_that_nobody_reads(gateways, rum):
    """Whoever asks and never reads is cut off, and leaves nothing behind."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 200\n")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        raw.settimeout(WAIT_S)
        raw.connect(gateway.client().address)
        with pytest.raises(ConnectionError):
            ask_on(raw)
    assert gateway.client().post(spans()).status in {200, 429}
    for _ in range(10_000):
        if gateway.metric("rum_gateway_connections") <= 1:
            break
    assert gateway.metric("rum_gateway_connections") == 1
    assert gateway.metric("rum_gateway_faults_total") == 0


def test_answers_that_nobody_reads_are_counted(gateways, rum):
    """Whoever asks no faster than it is answered, and never reads, is cut off for that."""
    gateway = gateways(rum, "[gateway]\nheader_timeout = 200\n" + NO_RATES)
    counts, pause = gateway.server._counts, threading.Event()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        raw.settimeout(WAIT_S)
        raw.connect(gateway.client().address)
        with contextlib.suppress(ConnectionError):
            for sent in range(20, 1_000_000, 20):
                raw.sendall(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n" * 20)
                while counts.requests["none", 404] < sent and not counts.ended:
                    pause.wait(0.001)
    assert counts.ended == {"answers_unread": 1}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.2 is an address of Linux's own")
def test_a_newcomer_finds_a_place(gateways, rum):
    """While one address has all connections, another one is let in all the same."""
    gateway = gateways(rum, "[gateway]\nmax_connections = 20\n")
    client = gateway.client()
    with contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(client.raw()) for _ in range(21)]
        assert statuses(closed(greedy[-1])) == [503]
        with socket.create_connection(client.address, source_address=("127.0.0.2", 0)) as newcomer:
            newcomer.sendall(whole(spans()))
            assert newcomer.recv(12) == b"HTTP/1.1 200"
        assert closed(greedy[0]) == b""
    assert gateway.metric('rum_gateway_connections_ended_total{reason="max_connections"}') == 2


def test_a_query_of_many_members(gateways, rum):
    """A token is looked for in the URL, where beacons have it, however much else there is."""
    gateway = gateways(rum, '[[tokens]]\ntoken = "a-token-0123456789"\n')
    assert gateway.client().post(b"", f"/v1/traces?{'token=a&' * 1000}").status == 401
