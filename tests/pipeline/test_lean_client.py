"""What users configure for boto3 holds for requests that its client rehearsed once and never sends itself."""

import gzip
import json
import socket
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import msgspec
import pytest
from botocore.config import Config
from rum_batches import ANY, PATH, batch, client
from rum_items import MONITOR_ID

from otel_rum_exporter.client.verdicts import Delivered
from otel_rum_exporter.events import AppMonitor
from otel_rum_exporter.testing import LocalRum

OF_ONE_REQUEST = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
OTHER_MONITOR = "99999999-8888-4777-8666-555555555555"

pytestmark = pytest.mark.usefixtures("_credentials")


class Recorder:
    """An endpoint that keeps connections open, takes everything, and remembers it."""

    def __init__(self):
        self.connections = 0
        self.requests = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                recorder.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                recorder.requests.append((self.path, headers, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def recorder():
    with Recorder() as recording:
        yield recording


def sent_by(sender, *batches):
    assert [sender.attempt(each) for each in batches] == [Delivered()] * len(batches)
    sender.close()


def test_the_request_is_the_one_that_boto3_sends(recorder):
    """Path, user agent, every other header and what the body says; boto3 numbers its tries besides."""
    sent_by(client(recorder.url), ANY)
    settings = Config(
        user_agent_extra="otel-rum-exporter/VERSION",
        retries={"mode": "standard", "total_max_attempts": 1},
        inject_host_prefix=False,
    )
    other = boto3.session.Session().client("rum", region_name="us-east-1", endpoint_url=recorder.url, config=settings)
    other.put_rum_events(**msgspec.to_builtins(ANY.request()))
    other.close()
    (path, headers, body), (path_of_boto3, headers_of_boto3, body_of_boto3) = recorder.requests
    agent, agent_of_boto3 = headers.pop("user-agent"), headers_of_boto3.pop("user-agent")
    assert path == path_of_boto3 == PATH
    assert agent.rpartition("/")[0] == agent_of_boto3.rpartition("/")[0]
    assert without(OF_ONE_REQUEST, headers) == without(OF_ONE_REQUEST, headers_of_boto3)
    assert signed(headers) == signed(headers_of_boto3) - {"amz-sdk-invocation-id", "amz-sdk-request"}
    assert with_times(body) == with_times(body_of_boto3)


def without(names, headers):
    return {name: value for name, value in headers.items() if name not in {*names, "content-length"}}


def signed(headers):
    return set(headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))


def with_times(body):
    """A body, with whole seconds: older botocore cuts them."""
    document = json.loads(body)
    for event in document["RumEvents"]:
        event["timestamp"] = int(event["timestamp"])
    return document


def test_an_alias(recorder):
    """The alias that a resource policy asks for is sent, also where the installed botocore does not know it."""
    sent_by(client(recorder.url), msgspec.structs.replace(ANY, monitor=AppMonitor(MONITOR_ID, alias="shop")))
    assert json.loads(recorder.requests[0][2])["Alias"] == "shop"


def test_one_connection(recorder):
    """A hundred requests of one sender share it."""
    sent_by(client(recorder.url), *[ANY] * 100)
    assert (len(recorder.requests), recorder.connections) == (100, 1)


def test_many_app_monitors(recorder):
    """Each is a path of its own; what is no id cannot lead to another path."""
    monitors = [MONITOR_ID, OTHER_MONITOR, "../elsewhere?x=\r\n"]
    sent_by(client(recorder.url), *[msgspec.structs.replace(ANY, monitor=AppMonitor(each)) for each in monitors])
    assert [path for path, _, _ in recorder.requests] == [
        PATH,
        f"/appmonitors/{OTHER_MONITOR}/",
        "/appmonitors/..%2Felsewhere%3Fx%3D%0D%0A/",
    ]


def test_what_is_compressed(recorder):
    """gzip's format, with the same text in it."""
    sent = batch(3, size=2500, session_metadata=None)
    sent_by(client(recorder.url), sent)
    sent_by(client(recorder.url, compression="none"), sent)
    (_, headers, body), (_, _, plain) = recorder.requests
    assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", plain)


def test_a_header_of_one_invocation(recorder, monkeypatch):
    """In AWS Lambda boto3 sends the trace id of the invocation; the one of the rehearsal would be wrong soon."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "function")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-00000000-000000000000000000000000")
    sent_by(client(recorder.url), ANY)
    assert "x-amzn-trace-id" not in recorder.requests[0][1]


GIVE_ANOTHER = """
import json, os, sys
with open(sys.argv[1], "a+") as counted:
    counted.write("x")
    counted.flush()
    number = os.path.getsize(sys.argv[1])
print(json.dumps({"Version": 1, "AccessKeyId": f"AKIA{number}", "SecretAccessKey": "s", "Expiration": sys.argv[2]}))
"""


def test_credentials_that_end(monkeypatch, tmp_path):
    """Those that a program gives are refreshed when they are about to end, and sign the next request."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    ending = (datetime.now(timezone.utc) + timedelta(minutes=14)).isoformat()  # botocore refreshes from 15 min on
    (tmp_path / "process.py").write_text(GIVE_ANOTHER)
    (tmp_path / "config").write_text(
        f'[default]\ncredential_process = "{sys.executable}" "{tmp_path / "process.py"}" "{tmp_path / "count"}" {ending}\n'
    )
    with LocalRum(credentials=None, separate_process=False) as rum:
        sent_by(client(rum.endpoint), ANY, ANY)
        assert [request["access_key"] for request in rum.requests()] == ["AKIA2", "AKIA3"]


@pytest.mark.parametrize(("setting", "is_kept"), [("true", True), ("false", False)])
def test_connections_that_are_kept_alive(recorder, monkeypatch, tmp_path, setting, is_kept):
    """`tcp_keepalive` of a profile reaches the sockets."""
    (tmp_path / "config").write_text(f"[default]\ntcp_keepalive = {setting}\n")
    options = []

    class Watched(socket.socket):
        def setsockopt(self, *option):
            options.append(option)
            super().setsockopt(*option)

    monkeypatch.setattr(socket, "socket", Watched)
    sent_by(client(recorder.url), ANY)
    assert ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options) is is_kept
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in options
