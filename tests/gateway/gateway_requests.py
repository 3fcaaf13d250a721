"""OTLP requests as senders make them, and a gateway in this process to send them to."""

import contextlib
import gzip
import http.client
import itertools
import json
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway_tables import MONITOR
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_rum_exporter.gateway.server import GatewayServer
from otel_rum_exporter.gateway.settings_file import load

PROTOBUF, JSON = "application/x-protobuf", "application/json"
WAIT_S = 60  # far more than anything here takes

EXPORTER = """
[exporter]
auth = "none"
region = "us-east-1"
endpoint = "{endpoint}"
domain = "shop.example"
session_start = "off"
spool_dir = "{spool}"
"""

_numbers = itertools.count(1)


def exporter_table(rum, folder, *, monitor=MONITOR):
    """Return the table [exporter] of a configuration file."""
    own = f'app_monitor_id = "{monitor}"\n' if monitor else ""
    return EXPORTER.format(endpoint=rum.endpoint, spool=folder / "spool") + own


def spans(number=1, *, session="s-1", resource=None, name="work", exceptions=0):
    """A request with spans of a session, None for none, each with so many exceptions."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    _add(of_resource.resource, {"service.name": "shop", **(resource or {})})
    scope = of_resource.scope_spans.add()
    for _ in range(number):
        span = scope.spans.add()
        span.trace_id, span.span_id = (next(_numbers) + 2**64).to_bytes(16, "big"), next(_numbers).to_bytes(8, "big")
        span.name = name
        span.start_time_unix_nano, span.end_time_unix_nano = 1_700_000_000_000_000_000, 1_700_000_000_100_000_000
        if session is not None:
            _add(span, {"session.id": session})
        for _ in range(exceptions):
            event = span.events.add(name="exception", time_unix_nano=span.end_time_unix_nano)
            _add(event, {"exception.type": "ValueError", "exception.message": f"number {next(_numbers)}"})
    return request.SerializeToString()


def logs(number=1, *, session="s-1", name="checkout"):
    """A request with named log events of a session."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for _ in range(number):
        record = scope.log_records.add()
        record.time_unix_nano = 1_700_000_000_000_000_000 + next(_numbers)
        record.event_name = name
        _add(record, {"session.id": session})
    return request.SerializeToString()


def json_logs(number=1, *, session="s-1", name="checkout"):
    """The same as JSON."""
    records = [
        {
            "timeUnixNano": str(1_700_000_000_000_000_000 + next(_numbers)),
            "eventName": name,
            "attributes": [{"key": "session.id", "value": {"stringValue": session}}],
        }
        for _ in range(number)
    ]
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).encode()


def _add(to, attributes):
    for key, value in attributes.items():
        added = to.attributes.add()
        added.key, added.value.string_value = key, value


@dataclass(frozen=True)
class Answer:
    """What a gateway answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def status_message(self):
        """The message of the google.rpc.Status that the body is."""
        if self.headers["content-type"] == JSON:
            return json.loads(self.body)["message"]
        return Status.FromString(self.body).message

    @property
    def partial_success(self):
        """How many records were rejected, and why; of a 200 in protobuf for traces, in JSON for logs."""
        if self.headers["content-type"] == JSON:
            partial = json.loads(self.body).get("partialSuccess", {})
            return int(partial.get("rejectedLogRecords", 0)), partial.get("errorMessage", "")
        partial = ExportTraceServiceResponse.FromString(self.body).partial_success
        return partial.rejected_spans, partial.error_message

    @property
    def partial_success_of_logs(self):
        """Likewise, for logs in protobuf."""
        partial = ExportLogsServiceResponse.FromString(self.body).partial_success
        return partial.rejected_log_records, partial.error_message


class Client:
    """A sender with a connection that it keeps."""

    def __init__(self, url, **headers):
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection = http.client.HTTPConnection(*self.address, timeout=WAIT_S)

    def close(self):
        self._connection.close()

    def request(self, method, path, body=None, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, self.headers | given)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def post(self, body, path="/v1/traces", content_type=PROTOBUF, **headers):
        return self.request("POST", path, body, content_type=content_type, **headers)

    def post_gzip(self, body, **headers):
        return self.post(gzip.compress(body), content_encoding="gzip", **headers)

    def raw(self):
        """Return a socket that is connected."""
        return socket.create_connection(self.address, timeout=WAIT_S)


class Gateway:
    """A gateway in a thread of this process."""

    def __init__(self, folder, toml, environ=None):
        """Configure it by a file in a folder; ports are free ones."""
        self.path = folder / "gateway.toml"
        self.path.write_text(toml)
        self._environ = environ or {}
        self._flags = {"gateway": {"port": 0, "operations_port": 0}}
        self._ready = threading.Event()
        self._clients = []
        self.server = GatewayServer(self.settings(), lambda _: self._ready.set(), self.settings)
        self.addresses = self.server.addresses
        self._thread = threading.Thread(target=self.server.serve_until_stopped, name="gateway")

    def settings(self, running=None):
        return load(self._flags, self._environ, self.path, running)

    def start(self):
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def client(self, **headers):
        self._clients.append(Client(self.addresses.url, **headers))
        return self._clients[-1]

    def operations(self, path):
        with contextlib.closing(Client(self.addresses.operations_url)) as client:
            return client.get(path)

    def metric(self, name):
        """Return a metric's value; the name with its labels."""
        lines = self.operations("/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def stats(self):
        return self.server.pipeline.stats()

    def stop(self):
        for each in self._clients:
            each.close()
        self.server.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
