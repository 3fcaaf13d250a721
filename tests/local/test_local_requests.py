"""PutRumEvents requests: what the endpoint accepts, and how it refuses the rest."""

import gzip
import http.client
import json
import random
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from rum_samples import METADATA, MONITOR, NOW, PATH, SESSION, event, post, request, send, without

from otel_rum_exporter.testing import LocalRum


def boto3_client(endpoint, **config):
    return boto3.client(
        "rum",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(
            inject_host_prefix=False, signature_version=UNSIGNED, retries={"total_max_attempts": 1}, **config
        ),
    )


def test_real_browser_requests_are_accepted(rum, captures):
    """What aws-rum-web sent to AWS passes unchanged, with all 33 events."""
    for path in sorted(captures.glob("aws-rum-web-golden/*.json")):
        reply = post(rum.endpoint, path.read_bytes())
        assert (reply.status, reply.body) == (200, b""), reply.body
    assert rum.stats()["events_distinct"] == 33


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_boto3_is_accepted(rum, compress):
    """The real client's request is accepted, also when a hook compresses it."""
    client = boto3_client(rum.endpoint)
    if compress:
        client.meta.events.register("before-call.rum.PutRumEvents", compress_body)
    client.put_rum_events(Id=MONITOR, **request())
    (stored,) = rum.requests()
    assert (stored["path"], stored["encoding"]) == (PATH + "/", "gzip" if compress else "")
    assert len(rum.events()) == 1


def compress_body(params, **_):
    params["body"] = gzip.compress(params["body"])
    params["headers"]["Content-Encoding"] = "gzip"


def test_boto3_understands_the_errors(rum):
    """Botocore turns the answers into the model's exceptions, Retry-After included."""
    client = boto3_client(rum.endpoint)
    for status, name in [
        (429, "ThrottlingException"),
        (404, "ResourceNotFoundException"),
        (500, "InternalServerException"),
    ]:
        rum.set_faults(status=status)
        with pytest.raises(getattr(client.exceptions, name)) as error:
            client.put_rum_events(Id=MONITOR, **request())
        assert error.value.response["ResponseMetadata"]["RequestId"]
    rum.clear_faults()
    with pytest.raises(client.exceptions.ValidationException, match="RumEvents\\[0\\]"):
        client.put_rum_events(Id=MONITOR, **request(event("[]")))


NOT_UUID = SESSION.replace("-", "")
BAD_ENVELOPES = {
    "no BatchId": (without(request(), "BatchId"), "BatchId is required"),
    "BatchId without dashes": (request(BatchId=NOT_UUID), "BatchId must match"),
    "BatchId with a newline": (request(BatchId=SESSION + "\n"), "BatchId must match"),
    "no AppMonitorDetails": (without(request(), "AppMonitorDetails"), "AppMonitorDetails is required"),
    "AppMonitorDetails.version a number": (request(AppMonitorDetails={"version": 1}), "version must be a string"),
    "no UserDetails": (without(request(), "UserDetails"), "UserDetails is required"),
    "userId": (request(UserDetails={"userId": "me"}), "UserDetails.userId must match"),
    "sessionId": (request(UserDetails={"sessionId": None}), "UserDetails.sessionId must be a string"),
    "no RumEvents": (without(request(), "RumEvents"), "RumEvents is required"),
    "RumEvents an object": (request(RumEvents={}), "RumEvents must be an array"),
    "101 events": (request(*[event()] * 101), "101 events of 100"),
    "empty Alias": (request(Alias=""), "Alias has 0 characters"),
    "unknown member": (request(batchId="x"), "batchId is unknown"),
    "SessionMetadata an object": (request(SessionMetadata={}), "SessionMetadata must be a string"),
    "SessionMetadata no JSON": (request(SessionMetadata="{"), "SessionMetadata is not JSON"),
    "SessionMetadata encoded twice": (request(SessionMetadata=json.dumps("{}")), "encoded twice"),
    "no event id": (request(without(event(), "id")), "RumEvents[0].id is required"),
    "event id": (request(event(), event(id="7")), "RumEvents[1].id must match"),
    "no timestamp": (request(without(event(), "timestamp")), "RumEvents[0].timestamp is required"),
    "timestamp a string": (request(event(timestamp=str(NOW))), "timestamp must be a number"),
    "timestamp true": (request(event(timestamp=True)), "timestamp must be a number"),
    "no type": (request(without(event(), "type")), "RumEvents[0].type is required"),
    "no details": (request(without(event(), "details")), "RumEvents[0].details is required"),
    "details an object": (request({**event(), "details": {}}), "details must be a string"),
    "metadata an object": (request({**event(), "metadata": {}}), "metadata must be a string"),
    "metadata null": (request({**event(), "metadata": None}), "metadata must be a string"),
    "body an array": ([], "must be a JSON object"),
    "body no JSON": (b"{", "is not JSON"),
    "body with NaN": (b'{"BatchId": NaN}', "NaN"),
    "body no UTF-8": (b'{"BatchId": "\xff"}', "not valid Unicode"),
    "body with a lone surrogate": (b'{"BatchId": "\\ud800"}', "not valid Unicode"),
    "body nested deeply": (b"[" * 50_000, "nested too deeply"),
    "number beyond a double": (b'{"BatchId": 1e999}', "no double"),
    "number of 5,000 digits": (b'{"BatchId": ' + b"1" * 5000 + b"}", "no double"),
}


@pytest.mark.parametrize(("body", "reason"), BAD_ENVELOPES.values(), ids=BAD_ENVELOPES)
def test_each_broken_envelope_is_refused(rum, body, reason):
    """One fault in the envelope makes a 400 that names it, and nothing is kept but the request."""
    reply = post(rum.endpoint, body)
    assert (reply.status, reply.error) == (400, "ValidationException")
    assert reason in reply.message
    stats = rum.stats()
    assert (stats["events_received"], stats["requests_by_status"]) == (0, {"400": 1})


def event_of(size_bytes):
    """Return an event with so many UTF-8 bytes of details and metadata, mostly of two-byte characters."""
    rest = size_bytes - len('{"a":""}' + json.dumps(METADATA))
    return event('{"a":"' + "é" * (rest // 2) + "x" * (rest % 2) + '"}')


BAD_EVENTS = {
    "milliseconds": (event(timestamp=NOW * 1000), "timestamp"),
    "nanoseconds": (event(timestamp=NOW * 10**9), "timestamp"),
    "zero": (event(timestamp=0), "timestamp"),
    "type with a space": (event(type="my event"), "type"),
    "type with a newline": (event(type="custom\n"), "type"),
    "empty type": (event(type=""), "type"),
    "type of 257 characters": (event(type="t" * 257), "type"),
    "type that AWS has not": (event(type="com.amazon.rum.http"), "unknown_type"),
    "details no JSON": (event("{'a': 1}"), "json"),
    "details with NaN": (event('{"a": NaN}'), "json"),
    "details with Infinity": (event('{"a": -Infinity}'), "json"),
    "details encoded twice": (event(json.dumps("{}")), "json"),
    "details an array": (event("[]"), "json"),
    "details null": (event("null"), "json"),
    "details with a lone surrogate": (event('{"a": "\\udc00"}'), "json"),
    "details nested deeply": (event('{"a":' + "[" * 3000 + "]" * 3000 + "}"), "json"),
    "metadata no JSON": (event(metadata="version"), "json"),
    "6,145 bytes": (event_of(6145), "size"),
    "open schema broken": (event({"version": "1.0.0"}, type="com.amazon.rum.page_view_event"), "schema"),
    "no metadata at all": (without(event(), "metadata"), "metadata"),
    "no domain": (event(metadata={"version": "1.0.0"}), "metadata"),
    "metadata of another version": (event(metadata={**METADATA, "version": "2"}), "metadata"),
    "metadata null inside": (event(metadata={**METADATA, "title": None}), "metadata"),
    "long text": (event(metadata={**METADATA, "title": "t" * 257}), "metadata"),
    "interaction a text": (event(metadata={**METADATA, "interaction": "1"}), "metadata"),
    "interaction true": (event(metadata={**METADATA, "interaction": True}), "metadata"),
    "attribute an array": (event(metadata={**METADATA, "mine": [1]}), "metadata"),
    "attribute with a long key": (event(metadata={**METADATA, "k" * 129: 1}), "metadata"),
    "attribute with an empty key": (event(metadata={**METADATA, "": 1}), "metadata"),
    "pageTags a text": (event(metadata={**METADATA, "pageTags": "a"}), "metadata"),
    "pageTags with a number": (event(metadata={**METADATA, "pageTags": ["a", 1]}), "metadata"),
    "attribute that starts with pageTags": (event(metadata={**METADATA, "pageTagsX": "a"}), "metadata"),
    "attribute with pageTags inside": (event(metadata={**METADATA, "mypageTags": "a"}), "metadata"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_each_invalid_event_refuses_the_request_or_is_dropped(rum, lenient, bad, reason):
    """Strict answers 400 and names the event; lenient keeps the others and says why it dropped this one."""
    body = request(event(), bad)
    reply = post(rum.endpoint, body)
    assert (reply.status, reply.error) == (400, "ValidationException")
    assert "RumEvents[1]" in reply.message
    assert rum.stats()["rejected_by_reason"] == {reason: 1}
    assert post(lenient.endpoint, body).status == 200
    stats = lenient.stats()
    assert (stats["events_distinct"], stats["rejected_by_reason"]) == (1, {reason: 1})
    (stored,) = lenient.requests()
    (finding,) = stored["findings"]
    assert (finding["event_index"], finding["event_id"], finding["reason"]) == (1, bad["id"], reason)


GOOD_EVENTS = {
    "upper-case id": event(id=SESSION.upper()),
    "fraction of a second": event(timestamp=NOW + 0.125),
    "custom details": event({"nested": {"list": [1, None, {"a": True}]}}),
    "type of 256 characters": event(type="t" * 256),
    "6,144 bytes": event_of(6144),
    "attributes of each type": event(metadata={**METADATA, "a": "x" * 256, "b": True, "c": 1.5, "k" * 128: 0}),
    "ten attributes": event(metadata={**METADATA, **{f"a{index}": index for index in range(10)}}),
    "page tags": event(metadata={**METADATA, "pageTags": ["a", "b" * 300]}),
}


@pytest.mark.parametrize("good", GOOD_EVENTS.values(), ids=GOOD_EVENTS)
def test_valid_events_are_accepted(rum, good):
    """What the rules allow at their limits gets 200."""
    reply = post(rum.endpoint, request(good))
    assert reply.status == 200, reply.body
    assert rum.events()[0]["id"] == good["id"]


def test_session_metadata_completes_an_event(rum):
    """Fields of the request count for each event, and the event's own values win."""
    session = {**METADATA, "osName": "Linux", "title": "session"}
    body = request(
        event(metadata={"title": "event"}), without(event(), "metadata"), SessionMetadata=json.dumps(session)
    )
    assert post(rum.endpoint, body).status == 200
    assert [each["metadata"] for each in rum.events()] == [{**session, "title": "event"}, session]


def test_eleven_attributes_are_refused_or_noted(rum, lenient):
    """The service removes attributes beyond ten, session and event together, and keeps the event."""
    body = request(event(metadata={f"a{index}": index for index in range(6)}))
    body["SessionMetadata"] = json.dumps({**METADATA, **{f"s{index}": index for index in range(5)}})
    assert "11 custom attributes of 10" in post(rum.endpoint, body).message
    assert post(lenient.endpoint, body).status == 200
    assert lenient.stats()["warnings_by_reason"] == {"attributes": 1}


def test_w3c_trace_ids_are_accepted_with_a_warning(rum):
    """aws-rum-web's own W3C trace ids break its schema; they pass and are noted."""
    details = {"version": "1.0.0", "request": {"method": "GET"}, "trace_id": "0af7651916cd43dd8448eb211c80319c"}
    assert post(rum.endpoint, request(event(details, type="com.amazon.rum.http_event"))).status == 200
    assert rum.stats()["warnings_by_reason"] == {"w3c_trace_id": 1}
    broken = event({**details, "trace_id": "0af7"}, type="com.amazon.rum.http_event")
    assert "trace_id" in post(rum.endpoint, request(broken)).message


BODIES = {
    "truncated gzip": (gzip.compress(b"{}")[:-4], "gzip", 400, "ValidationException"),
    "no gzip": (b"{}", "gzip", 400, "ValidationException"),
    "broken deflate": (gzip.compress(b"{}" * 50)[:12] + b"\xff" * 20, "gzip", 400, "ValidationException"),
    "brotli": (b"{}", "br", 400, "ValidationException"),
    "bomb": (gzip.compress(b" " * 5_000_000), "gzip", 413, "RequestEntityTooLargeException"),
    "too long as received": (b" " * 100_001, "", 413, "RequestEntityTooLargeException"),
}


@pytest.mark.parametrize(("body", "encoding", "status", "error"), BODIES.values(), ids=BODIES)
def test_bodies_that_cannot_be_read(rum, body, encoding, status, error):
    """Compression is undone within bounds, and each failure is a clean answer."""
    reply = post(rum.endpoint, body, headers={"content-encoding": encoding} if encoding else {})
    assert (reply.status, reply.error) == (status, error)
    assert rum.stats()["requests_by_status"] == {str(status): 1}


@pytest.mark.parametrize(
    ("path", "status"),
    [(PATH, 200), (PATH + "/", 200), ("/appmonitors/x", 400), (PATH + "//", 404), ("/appmonitors/", 404), ("/", 404)],
)
def test_paths(rum, path, status):
    """With and without the slash is the same resource; an id that is no UUID is invalid."""
    assert post(rum.endpoint, request(), path).status == status


def test_only_listed_monitors_exist():
    """An app monitor that is not on the list gets 404 in the model's form."""
    with LocalRum(None, separate_process=False, monitors=(MONITOR,), max_events=1) as rum:
        assert post(rum.endpoint, request()).status == 200
        assert post(rum.endpoint, request(event(), event())).status == 400
        reply = post(rum.endpoint, request(), f"/appmonitors/{SESSION}")
    assert (reply.status, reply.error) == (404, "ResourceNotFoundException")
    assert json.loads(reply.body)["resourceName"] == SESSION


def test_unknown_members_are_ignored_by_the_service(lenient):
    """A lenient endpoint overlooks unknown members, as the service does."""
    assert post(lenient.endpoint, request({**event(), "extra": 1}, Extra=True)).status == 200


def test_a_page_may_send_but_not_read(rum):
    """Preflights for PutRumEvents are granted with aws-rum-web's headers; the API stays closed to pages."""
    asks = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-encoding,content-type,x-amz-content-sha256,x-amz-date",
    }
    preflight = post(rum.endpoint, b"", headers=asks, method="OPTIONS")
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert set(asks["access-control-request-headers"].split(",")) <= set(
        preflight.headers["access-control-allow-headers"].replace(" ", "").split(",")
    )
    answer = post(rum.endpoint, request(), headers={"origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert post(rum.endpoint, b"", "/api/faults", asks, method="OPTIONS").status == 405
    simple = post(rum.endpoint, {"status": 500}, "/api/faults", {"content-type": "text/plain"})
    assert (simple.status, simple.message) == (400, "content-type must be application/json")


def test_a_connection_is_kept(rum):
    """Several requests, good and bad, share one connection."""
    address = urlsplit(rum.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)
    statuses = [send(connection, body).status for body in (request(), b"{", request(), b" " * 100_001, request())]
    connection.close()
    assert statuses == [200, 400, 200, 413, 200]


def test_other_methods_are_refused(rum):
    """Only POST is PutRumEvents."""
    assert post(rum.endpoint, b"", method="GET").status == 405


ODD_VALUES = [None, True, 0, -1, 10**400, 1.5, "", "x", "\x00", "{}", "[]", "null", '"{}"', [], [[]], {}, {"": {}}]


def spoiled(value, random_numbers):
    """Replace one random part of a JSON value by an odd one."""
    if not value or not isinstance(value, (dict, list)) or random_numbers.random() < 0.1:
        return random_numbers.choice(ODD_VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = random_numbers.choice(keys)
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[key] = spoiled(value[key], random_numbers)
    return copied


def test_no_request_breaks_the_endpoint(rum, lenient):
    """Whatever is odd about a request, the answer is 200 or 400."""
    random_numbers = random.Random(1)
    details = {"version": "1.0.0", "request": {"method": "GET"}}
    full = request(event(details, type="com.amazon.rum.http_event"), Alias="a", SessionMetadata=json.dumps(METADATA))
    for endpoint in (rum.endpoint, lenient.endpoint):
        bodies = [spoiled(full, random_numbers) for _ in range(150)]
        bodies += [json.dumps(full).encode()[:size] for size in range(0, 600, 40)]
        statuses = {post(endpoint, body).status for body in bodies}
        assert statuses == {200, 400}
