"""One attempt: the real boto3 client on a real socket, and what becomes of its answers."""

import socket
import struct
import threading

import msgspec
import pytest
from botocore.httpsession import URLLib3Session
from opentelemetry import context
from rum_batches import ANY, PATH, SESSION_METADATA, attempt, batch, client, settled, urls_sent_to
from rum_items import MONITOR_ID

from otel_rum_exporter import DropReason, ParkReason, RumConfig
from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.client.verdicts import Delivered, Parked, Refused, Rejected, Retry
from otel_rum_exporter.testing import CREDENTIALS, LocalRum


def test_delivered(rum):
    """200 without a body is success, and the request is signed and whole."""
    assert attempt(rum.endpoint) == Delivered()
    (request,) = rum.requests()
    assert (request["access_key"], request["path"]) == (CREDENTIALS[0], f"/appmonitors/{MONITOR_ID}/")
    assert "otel-rum-exporter/" in request["headers"]["user-agent"]


def test_204_is_success(rum):
    """Any 2xx is."""
    rum.set_faults(status=204)
    assert attempt(rum.endpoint) == Delivered()


@pytest.mark.parametrize(
    ("status", "retry_after", "cause", "after_s"),
    [
        (429, "7", "throttled", 7),
        (429, "0.5", "throttled", 1),
        (429, "abc", "throttled", None),
        (429, "-3", "throttled", None),
        (429, "9" * 5000, "throttled", None),
        (429, "", "throttled", None),
        (429, "Fri, 21 Oct 2395 07:28:00 GMT", "throttled", "days"),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", "throttled", None),
        (500, None, "server", None),
        (502, None, "server", None),
        (503, "3", "server", 3),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", "server", None),
        (408, None, "server", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_answers_that_are_tried_again(rum, status, retry_after, cause, after_s):
    """Throttling and server errors, whatever Retry-After says; one call is one request."""
    rum.set_faults(status=status, retry_after=retry_after)
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Retry)
    assert verdict.cause == cause
    assert verdict.after_s == after_s if after_s != "days" else verdict.after_s > 1e9
    assert rum.stats()["requests"] == 1


def test_a_load_balancers_page_is_tried_again(rum):
    """Not every 503 is JSON."""
    rum.set_faults(status=503, body="<html>Service Unavailable</html>", headers={"content-type": "text/html"})
    assert isinstance(attempt(rum.endpoint), Retry)


def test_a_throttling_error_with_another_status_is_tried_again(rum):
    """Some of AWS's services throttle with 400."""
    rum.set_faults(status=400, headers={"x-amzn-errortype": "ThrottlingException"}, body='{"message": "Rate exceeded"}')
    assert attempt(rum.endpoint) == Retry("throttled", "400 ThrottlingException: Rate exceeded")


def test_a_web_page_is_no_success(rum):
    """A captive portal answers 200 to everything; the service never writes HTML."""
    rum.set_faults(status=200, body="<html>Please log in</html>", headers={"content-type": "text/html; charset=utf-8"})
    assert attempt(rum.endpoint) == Retry("server", "200 with a web page, which CloudWatch RUM did not write")


@pytest.mark.parametrize("status", [401, 403])
def test_answers_that_refuse_the_credentials(rum, status):
    """Other credentials are looked for once; then nothing of the app monitor is taken."""
    rum.set_faults(status=status)
    verdict = settled(client(rum.endpoint))
    assert isinstance(verdict, Parked)
    assert (verdict.reason, f"Fault on request: {status}" in verdict.message) == (ParkReason.UNAUTHORIZED, True)
    assert rum.stats()["requests"] == 2


def test_an_unknown_app_monitor(rum):
    """404 parks at once: no credentials would help."""
    rum.set_faults(status=404)
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Parked)
    assert (verdict.reason, "Fault on request: 404" in verdict.message) == (ParkReason.NOT_FOUND, True)
    assert verdict.message.endswith("; check app_monitor_id and region")
    assert rum.stats()["requests"] == 1


@pytest.mark.parametrize("status", [400, 413])
def test_answers_that_reject(rum, status):
    """The batch is at fault; one call is one request."""
    rum.set_faults(status=status)
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Rejected)
    assert f"Fault on request: {status}" in verdict.message
    assert rum.stats()["requests"] == 1


@pytest.mark.parametrize("status", [402, 405, 409, 418, 451])
def test_unknown_answers(rum, status):
    """What the service is not known to say may be some proxy's, and is worth another try."""
    rum.set_faults(status=status)
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Retry)
    assert verdict.cause == "unknown"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(rum, status):
    """A redirect would carry the signature somewhere else; and it is no success."""
    rum.set_faults(status=status, headers={"location": rum.endpoint + "/appmonitors/elsewhere"})
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Retry)
    assert verdict.cause == "server"
    assert rum.stats()["requests"] == 1


def test_the_services_own_validation(rum):
    """What the service says of a request stands in the verdict."""
    lacking = [msgspec.structs.replace(event, metadata="{}") for event in batch().events]
    verdict = client(rum.endpoint).attempt(msgspec.structs.replace(ANY, events=lacking))
    assert isinstance(verdict, Rejected)
    assert verdict.message.startswith("400 ValidationException: ")


def test_hang(rum):
    """A service that never answers is left after the timeout."""
    rum.set_faults(hang=True)
    verdict = attempt(rum.endpoint, timeout=200)
    assert verdict == Retry("network", "The request was given up: no end after 0.2 s")


@pytest.mark.usefixtures("_credentials")
def test_a_deadline_shortens_the_timeout():
    """At the end of a deadline an attempt may take less than the configured time; no other client is made for it."""
    with LocalRum(separate_process=False) as rum:  # of its own: the request that is left behind hangs on
        rum.set_faults(hang=True)
        sender = client(rum.endpoint, timeout=600_000)
        made = sender._access.client()
        verdict = sender.attempt(ANY, timeout_s=0.2)
    assert verdict == Retry("network", "The request was given up: no end after 0.2 s")
    assert sender._access.client() is made


def test_no_thread_for_an_attempt(rum, monkeypatch):
    """At the interpreter's exit the caller sends itself, and the deadline holds for each wait on the socket."""
    sender = client(rum.endpoint, timeout=600_000)
    monkeypatch.setattr(threading.Thread, "start", _refuse_to_start)
    assert sender.attempt(ANY, timeout_s=20) == Delivered()
    rum.set_faults(hang=True)
    verdict = sender.attempt(ANY, timeout_s=0.2)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, "Read timeout" in verdict.message) == ("network", True)


def test_no_thread_that_watches(rum, monkeypatch):
    """Nor is there one for threads that may be left behind; they send with the client of all, whose time is theirs."""
    sender = client(rum.endpoint)
    monkeypatch.setattr(threading.Thread, "start", _refuse_to_start)
    made = sender._access.client()
    assert sender.attempt_or_be_left(ANY, pytest.fail) == Delivered()
    assert sender._access.client() is made


def _refuse_to_start(_):
    raise RuntimeError("can't create new thread at interpreter shutdown")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_reset(rum, moment):
    """A lost connection is tried again, whether or not the events arrived."""
    rum.set_faults(reset=moment)
    verdict = attempt(rum.endpoint)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, verdict.may_have_arrived) == ("network", True)


@pytest.mark.usefixtures("_credentials")
def test_refused(refused):
    """A port without a listener is tried again: the service may be restarting."""
    verdict = attempt(refused)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, verdict.may_have_arrived) == ("network", False)


@pytest.mark.usefixtures("_credentials")
def test_dns_failure():
    """A name that does not resolve is tried again: the network may come back."""
    verdict = attempt("https://rum.invalid")
    assert isinstance(verdict, Retry)
    assert (verdict.cause, verdict.may_have_arrived) == ("network", False)


@pytest.mark.usefixtures("_credentials")
def test_garbage():
    """A server that does not speak HTTP is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer_garbage, args=(server,))
        answering.start()
        verdict = attempt(f"http://127.0.0.1:{server.getsockname()[1]}")
        answering.join()
    assert isinstance(verdict, Retry)


def _answer_garbage(server):
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_no_credentials(local_rum):
    """The one clear line says what to set."""
    verdict = attempt(local_rum.endpoint)
    assert verdict == Parked(
        ParkReason.UNAUTHORIZED,
        "Unable to locate credentials; set AWS credentials, or OTEL_EXPORTER_RUM_AUTH=none if it takes unsigned requests",
    )


def test_a_wrong_secret(rum, monkeypatch):
    """403 says what the service said."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    verdict = settled(client(rum.endpoint))
    assert isinstance(verdict, Parked)
    assert (verdict.reason, "403" in verdict.message) == (ParkReason.UNAUTHORIZED, True)


def test_no_region(rum):
    """The one clear line says what to set."""
    verdict = attempt(rum.endpoint, region=None)
    assert verdict == Refused(
        DropReason.NOT_CONFIGURED, "You must specify a region. Set OTEL_EXPORTER_RUM_REGION or AWS_REGION"
    )


def test_an_unknown_profile(rum, monkeypatch):
    """The profile is named, and no advice is given that would not help."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    verdict = attempt(rum.endpoint)
    assert verdict == Refused(DropReason.NOT_CONFIGURED, "The config profile (nobody) could not be found")


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION", "OTEL_EXPORTER_RUM_REGION"])
def test_the_region_of_the_environment(rum, variable):
    """boto3 by itself ignores AWS_REGION; the endpoint checks the region that the signature is for."""
    config = RumConfig.load({"endpoint": rum.endpoint, "app_monitor_id": MONITOR_ID}, {variable: "us-east-1"})
    assert RumClient(config).attempt(ANY) == Delivered()


@pytest.mark.parametrize(("size", "encoding"), [(100, ""), (2500, "gzip")], ids=["small", "large"])
def test_large_bodies_are_compressed(rum, size, encoding):
    """From 2 KiB on, and the signature is over the compressed bytes."""
    assert attempt(rum.endpoint, size=size) == Delivered()
    (request,) = rum.requests()
    assert request["encoding"] == encoding
    assert (request["wire_bytes"] < request["body_bytes"]) is bool(encoding)


def test_compression_can_be_off(rum):
    """A proxy may want to read along."""
    assert attempt(rum.endpoint, size=2500, compression="none") == Delivered()
    assert rum.requests()[0]["encoding"] == ""


def test_unsigned():
    """With auth none no credentials are looked for and nothing is signed."""
    with LocalRum(credentials=None, separate_process=False) as rum:
        assert attempt(rum.endpoint, auth="none") == Delivered()
        assert rum.requests()[0]["access_key"] is None


def test_unsigned_although_there_are_credentials(rum):
    """With auth none a signing endpoint refuses: nothing falls back to signing, nor the other way."""
    verdict = settled(client(rum.endpoint, auth="none"))
    assert isinstance(verdict, Parked)
    assert verdict.reason is ParkReason.UNAUTHORIZED


def _recorded_target(serve):
    """Return the request line and the Host header that a client sends to a listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        heads = []

        def answer():
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                heads.extend(iter(lambda: stream.readline().strip().decode(), ""))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        serve(port)
        answering.join(20)
    host = next(head for head in heads if head.lower().startswith("host:"))
    return heads[0].rsplit(" ", 1)[0], host.split(" ", 1)[1].replace(str(port), "PORT")


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize("prefix", ["", "/", "/rum/v1"])
def test_a_custom_endpoint_is_used_as_given(prefix):
    """No `dataplane.` in front of it, and its path stays."""
    target = _recorded_target(lambda port: attempt(f"http://localhost:{port}{prefix}"))
    assert target == (f"POST {prefix.rstrip('/')}{PATH}", "localhost:PORT")


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_RUM", "AWS_ENDPOINT_URL"])
def test_the_endpoint_of_the_environment(variable):
    """AWS's own variables are used as given, too."""

    def send(port):
        environ = {variable: f"http://localhost:{port}/proxy"}
        config = RumConfig.load({"app_monitor_id": MONITOR_ID, "region": "us-east-1"}, environ)
        RumClient(config).attempt(ANY)

    assert _recorded_target(send) == (f"POST /proxy{PATH}", "localhost:PORT")


@pytest.mark.usefixtures("_credentials")
def test_the_endpoint_of_a_profile(monkeypatch, tmp_path):
    """An endpoint in AWS's configuration file counts, and is used as given."""

    def send(port):
        (tmp_path / "config").write_text(
            f"[profile local]\nregion = us-east-1\nservices = here\n\n"
            f"[services here]\nrum =\n  endpoint_url = http://localhost:{port}\n"
        )
        monkeypatch.setenv("AWS_PROFILE", "local")
        attempt(None, region=None)

    assert _recorded_target(send) == (f"POST {PATH}", "localhost:PORT")


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-central-1", "https://dataplane.rum.eu-central-1.amazonaws.com"),
        ("cn-north-1", "https://dataplane.rum.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_awss_own_endpoint(region, url):
    """Without an endpoint AWS's rules decide, with the host prefix of the data plane."""
    assert urls_sent_to(client(None, region=region)) == [url + PATH]


def test_instrumentations_are_suppressed_by_the_pipeline_only(rum, monkeypatch):
    """The client itself leaves the context alone; see the pipeline's tests for the other half."""
    sender = client(rum.endpoint)
    seen, send = [], URLLib3Session.send

    def look_and_send(session, request):
        seen.append(context.get_value("suppress_instrumentation"))
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", look_and_send)
    assert sender.attempt(ANY) == Delivered()
    assert seen == [None]


def test_session_metadata(rum):
    """What a session's events share is sent once, by a botocore that knows it."""
    sender = client(rum.endpoint)
    if not sender.knows_session_metadata():
        pytest.skip("the installed botocore does not know SessionMetadata")
    assert sender.attempt(batch(3)) == Delivered()
    assert rum.requests()[0]["session_metadata"] == SESSION_METADATA


def test_session_metadata_without_a_client(rum, monkeypatch):
    """The question has an answer where no client can be made, and where nothing can be read."""
    assert client(None, region=None).knows_session_metadata() is client(rum.endpoint).knows_session_metadata()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert client(rum.endpoint).knows_session_metadata() is True


def test_an_unknown_parameter_is_refused(rum):
    """What botocore refuses to build does not raise."""
    sender = client(rum.endpoint)
    assert isinstance(sender.attempt(msgspec.structs.replace(batch(), batch_id="short")), Rejected)
