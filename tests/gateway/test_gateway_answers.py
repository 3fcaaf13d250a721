"""What the gateway answers over HTTP: each status, in the request's encoding, and what becomes of what it took."""

import gzip
import json
import re
import socket
import threading

import pytest
from gateway_requests import JSON, PROTOBUF, WAIT_S, json_logs, logs, spans
from gateway_tables import MONITOR, NO_RATES

TRACES, LOGS = "/v1/traces", "/v1/logs"


def arrived(gateway, rum):
    """Everything that arrives of what the gateway took."""
    assert gateway.server.pipeline.flush(60)
    return rum.events()


# what is taken


def test_spans_arrive_at_the_app_monitor(gateway, rum):
    """Protobuf spans are answered with an empty success, and arrive."""
    answer = gateway.client().post(spans(3))
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    assert [event["monitor_id"] for event in arrived(gateway, rum)] == [MONITOR] * 3


def test_logs_arrive_in_both_encodings(gateway, rum):
    """Named log events arrive from JSON and from protobuf, over one connection."""
    client = gateway.client()
    answer = client.post(json_logs(2), LOGS, JSON)
    assert (answer.status, json.loads(answer.body), answer.headers["content-type"]) == (200, {}, JSON)
    assert client.post(logs(3), LOGS).status == 200
    assert {event["type"] for event in arrived(gateway, rum)} == {"checkout"}
    assert gateway.stats().delivered == 5


def test_gzip(gateway, rum):
    """A compressed body is the same as a plain one."""
    assert gateway.client().post_gzip(spans(4)).status == 200
    assert len(arrived(gateway, rum)) == 4


@pytest.mark.parametrize(
    ("path", "content_type", "body"), [(TRACES, PROTOBUF, b""), (LOGS, PROTOBUF, b""), (LOGS, JSON, b"{}")]
)
def test_an_empty_request_is_a_success(gateway, path, content_type, body):
    """OTLP: a request without data is answered with success."""
    assert gateway.client().post(body, path, content_type).status == 200


def test_what_cannot_be_taken_is_counted_beside_what_is(gateway, rum):
    """Spans without a session are rejected by partial success with their number and the reason; the others arrive."""
    client = gateway.client()
    answer = client.post(spans(2) + spans(3, session=None))  # protobuf messages may be joined
    assert answer.status == 200
    assert answer.partial_success == (3, "3 no_session")
    assert len(arrived(gateway, rum)) == 2
    assert gateway.metric('rum_gateway_records_rejected_total{signal="traces",reason="no_session"}') == 3
    assert gateway.metric('rum_gateway_records_total{signal="traces"}') == 5


def test_records_that_are_no_records_are_rejected_one_by_one(gateway, rum):
    """A record with an id of the wrong length does not take the others with it, and the reason says what is wrong."""
    bad = json.loads(json_logs(2))
    bad["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["traceId"] = "abc"
    answer = gateway.client().post(json.dumps(bad).encode(), LOGS, JSON)
    rejected, message = answer.partial_success
    assert (answer.status, rejected) == (200, 1)
    assert message.startswith("1 malformed: ")
    assert len(arrived(gateway, rum)) == 1


def test_what_is_left_out_on_purpose_is_not_rejected(gateway):
    """Telemetry that CloudWatch RUM has nothing for is no fault of its sender: nothing is rejected, though dropped."""
    request = json.loads(json_logs(1))
    del request["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["eventName"]
    answer = gateway.client().post(json.dumps(request).encode(), LOGS, JSON)
    assert (answer.status, json.loads(answer.body)) == (200, {})
    assert gateway.stats().items_dropped


def test_a_resend_is_no_second_event(gateway, rum):
    """The same request again leads to events of the same ids, so that duplicates can be told."""
    client, request = gateway.client(), spans(2)
    assert client.post(request).status == client.post(request).status == 200
    assert len(arrived(gateway, rum)) == 2


# what is turned away


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize(
    ("path", "said"),
    [("/v1/metrics", "metrics are not supported"), ("/v1/trace", "/v1/traces and /v1/logs"), ("/", "")],
)
def test_404(gateway, content_type, path, said):
    """Other paths, and the signal that is not supported, are a Status in the request's encoding that says so."""
    answer = gateway.client().post(b"", path, content_type)
    assert (answer.status, answer.headers["content-type"]) == (404, content_type)
    assert said in answer.status_message


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_405(gateway, method):
    """Other methods are told which there are; OPTIONS without an origin is no preflight."""
    answer = gateway.client().request(method, TRACES)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert "POST" in answer.status_message


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/grpc", "application/json-patch"])
def test_415_for_content_types(gateway, content_type):
    """An unknown type is named those that are known, in JSON."""
    answer = gateway.client().post(b"{}", TRACES, content_type)
    assert (answer.status, answer.headers["content-type"]) == (415, JSON)
    assert PROTOBUF in answer.status_message


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_content_types_as_they_may_be_written(gateway, content_type):
    """Case and parameters of a content type do not matter."""
    assert gateway.client().post(json_logs(), LOGS, content_type).status == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate"])
def test_415_for_content_encodings(gateway, encoding):
    """An unknown encoding is told which one is known."""
    answer = gateway.client().post(b"", TRACES, content_encoding=encoding)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize(
    ("body", "content_type", "headers"),
    [
        pytest.param(b"\xff\xff\xff", PROTOBUF, {}, id="no protobuf"),
        pytest.param(b"{", JSON, {}, id="no JSON"),
        pytest.param(b"[]", JSON, {}, id="no object"),
        pytest.param(b"plain", PROTOBUF, {"content_encoding": "gzip"}, id="no gzip"),
        pytest.param(gzip.compress(b"x" * 100)[:-9], PROTOBUF, {"content_encoding": "gzip"}, id="gzip that ends early"),
    ],
)
def test_400(gateway, body, content_type, headers):
    """A body that is not what it should be is a Status in its own encoding, which repeats nothing of it."""
    answer = gateway.client().post(body, TRACES, content_type, **headers)
    assert (answer.status, answer.headers["content-type"]) == (400, content_type)
    assert 0 < len(answer.status_message) <= 256
    assert gateway.stats().received == 0


def test_413_by_the_declared_length(gateway):
    """A body that says it is too large is answered before it is sent."""
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 1048577\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_413_by_the_bytes_that_arrive(gateway):
    """A chunked body is answered as soon as it is too large, whatever else comes."""
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(17):
            raw.sendall(chunk)
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(bytes(4 * 1024 * 1024 + 1)), id="gzip bomb"),
        pytest.param(gzip.compress(b"\x0a\x00" * 1_000_000), id="records bomb"),
    ],
)
def test_413_for_what_a_few_bytes_become(gateway, body):
    """Bombs are found out before they are built."""
    answer = gateway.client().post(body, TRACES, content_encoding="gzip")
    assert answer.status == 413
    assert gateway.stats().received == 0


def test_413_for_too_many_records(gateways, rum):
    """More records than allowed are refused as a whole, since their sender is to send smaller requests."""
    gateway = gateways(rum, NO_RATES + "records = 10\n")
    client = gateway.client()
    assert client.post(spans(11)).status == 413
    assert client.post(spans(10)).status == 200


def test_every_answer_is_plain_to_browsers(gateway):
    """No answer may be taken for anything but what it says it is, and none names the server's software."""
    client = gateway.client()
    for answer in (client.post(spans()), client.get("/"), client.get(TRACES), client.post(b"", content_type="a/b")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_the_connection_outlives_what_was_turned_away(gateway):
    """After a refusal whose body was still on its way, the next request on the same connection is answered."""
    client = gateway.client()
    refused = client.post(b"x" * 500_000, content_type="text/plain")
    assert refused.status == 415
    assert client.post(spans()).status == 200
    assert gateway.metric("rum_gateway_connections") == 1


def test_a_body_that_never_ends_is_given_up(gateways, rum):
    """A body that is shorter than it says is answered with 408 after a while, and the connection is closed."""
    gateway = gateways(rum, "[gateway]\nbody_timeout = 200\n" + NO_RATES)
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 100\r\n\r\nabc")
        answer = _all(raw)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert gateway.metric("rum_gateway_in_flight_bytes") == 0


def test_no_http_is_answered_with_400(gateway):
    """What is no HTTP ends its connection."""
    with gateway.client().raw() as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert _all(raw).startswith(b"HTTP/1.1 400 ")


def test_headers_without_end_are_cut_off(gateway):
    """A request whose headers are too long is not read any further."""
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\n")
        try:
            for _ in range(200):
                raw.sendall(b"a: " + b"x" * 1000 + b"\r\n")
            answer = _all(raw)
        except (BrokenPipeError, ConnectionResetError):
            return
    assert answer[:12] in (b"HTTP/1.1 431", b"")


def _all(raw):
    parts = []
    while part := raw.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_client_that_goes_away_is_counted(gateway):
    """A request whose sender is gone before its end leads to nothing but a count."""
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 100\r\n\r\nabc")
        raw.shutdown(socket.SHUT_RDWR)
    client = gateway.client()
    for _ in range(1000):
        assert client.post(spans()).status == 200
        if gateway.metric("rum_gateway_disconnected_total"):
            break
    assert gateway.metric("rum_gateway_disconnected_total") == 1
    assert gateway.metric("rum_gateway_in_flight_bytes") == 0


# what happens inside


@pytest.fixture
def busy(gateways, rum):
    """A gateway whose only thread is busy until the event is set, and which works on two requests of a client at a time."""
    tables = "[gateway]\nthreads = 1\nmax_in_flight = 3\ntrusted_proxies = '127.0.0.1'\nallow_anonymous = true\n"
    gateway = gateways(rum, tables + NO_RATES)
    is_over = threading.Event()
    gateway.server._executor.submit(is_over.wait, WAIT_S)
    yield gateway, is_over
    is_over.set()


def _in_flight(gateway, number):
    while gateway.metric("rum_gateway_in_flight_requests") != number:
        pass


def test_slow_work_holds_up_no_answer_that_needs_none(busy):
    """While requests wait for a thread, others are turned away at once; too many that wait are told to come back.

    Those of one client are too many while there is room for another's.
    """
    gateway, is_over = busy
    answers = []

    def post(client):
        waiting.append(threading.Thread(target=lambda: answers.append(client.post(spans()))))
        waiting[-1].start()
        _in_flight(gateway, len(waiting))

    def check_refused(client):
        refused = client.post(spans())
        assert (refused.status, refused.status_message) == (503, "too many requests are in flight")
        assert 1 <= int(refused.headers["retry-after"]) <= 5

    waiting = []
    post(gateway.client())
    post(gateway.client())
    client, other = gateway.client(), gateway.client(x_forwarded_for="192.0.2.1")
    assert client.get("/v1/traces").status == 405
    check_refused(client)
    post(other)
    check_refused(gateway.client(x_forwarded_for="192.0.2.2"))
    assert gateway.metric('rum_gateway_limited_total{limit="in_flight"}') == 2
    is_over.set()
    for each in waiting:
        each.join()
    assert [answer.status for answer in answers] == [200, 200, 200]


def test_a_sender_that_does_not_wait_for_its_answer(busy, rum):
    """What was received counts, although nobody hears of it; a resend has the same event ids."""
    gateway, is_over = busy
    body = spans(3)
    with gateway.client().raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(f"content-length: {len(body)}\r\n\r\n".encode() + body)
        _in_flight(gateway, 1)
    is_over.set()
    _in_flight(gateway, 0)
    assert gateway.client().post(body).status == 200
    assert gateway.stats().accepted == 6
    assert len(arrived(gateway, rum)) == 3


def test_a_fault_of_the_gateway(gateway, caplog):
    """An error inside is 503 for its sender, who tries again; it is counted, and logged without what was sent."""
    gateway.server._executor.shutdown()
    client = gateway.client()
    answers = [client.post(spans(session="canary-session")) for _ in range(3)]
    assert [answer.status for answer in answers] == [503] * 3
    assert answers[0].status_message == "an error of the gateway"
    assert 1 <= int(answers[0].headers["retry-after"]) <= 5
    assert gateway.metric("rum_gateway_faults_total") == 3
    lines = [record.getMessage() for record in caplog.records if "could not be answered" in record.getMessage()]
    assert len(lines) == 1
    assert re.search(r": RuntimeError at \S+\.py:\d+$", lines[0])
    assert "canary" not in caplog.text


def test_a_gateway_that_is_about_to_stop(gateway):
    """What comes while a gateway stops is told to go elsewhere."""
    client = gateway.client()
    gateway.server.pipeline.shutdown(0)
    answer = client.post(spans())
    assert (answer.status, answer.status_message) == (503, "the gateway is about to stop")
    assert 1 <= int(answer.headers["retry-after"]) <= 5
