"""Requests for the endpoint: valid ones, and the means to send them as they are."""

import http.client
import json
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

MONITOR = "11111111-2222-3333-4444-555555555555"
SESSION = "aaaaaaaa-0000-4000-8000-000000000001"
USER = "bbbbbbbb-0000-4000-8000-000000000001"
PATH = f"/appmonitors/{MONITOR}"
NOW = 1_790_000_000
METADATA = {"version": "1.0.0", "domain": "shop.example"}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def error(self):
        return self.headers.get("x-amzn-errortype")

    @property
    def message(self):
        return json.loads(self.body)["message"]


def event(details=None, metadata=METADATA, type="custom", **members):  # noqa: A002 - the API's word
    texts = {"details": details or {}, "metadata": metadata}
    encoded = {name: value if isinstance(value, str) else json.dumps(value) for name, value in texts.items()}
    return {"id": str(uuid.uuid4()), "timestamp": NOW, "type": type, **encoded, **members}


def request(*events, session=SESSION, **members):
    return {
        "BatchId": str(uuid.uuid4()),
        "AppMonitorDetails": {"id": MONITOR, "version": "1.0.0"},
        "UserDetails": {"userId": USER, "sessionId": session},
        "RumEvents": list(events or [event()]),
        **members,
    }


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def post(endpoint, body, path=PATH, headers=None, **options):
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=options.pop("timeout_s", 5))
    try:
        return send(connection, body, path, headers, **options)
    finally:
        connection.close()


def send(connection, body, path=PATH, headers=None, method="POST"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content, headers or {})
    response = connection.getresponse()
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
