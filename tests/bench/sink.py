"""An HTTP endpoint in a process of its own that takes everything and says 200, so that its CPU time is not counted.

It checks nothing; all it does is to count requests and the bytes of their bodies.
"""

import asyncio
import http.client
import json
import subprocess
import sys
from typing import NamedTuple

_STOP_S = 10
_RUM = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
# an empty protobuf message is zero bytes
_OTLP = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Counts(NamedTuple):
    """What has arrived so far."""

    requests: int
    body_bytes: int


class Sink:
    """The endpoint as a context manager. `url` has no path."""

    url: str

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    def __exit__(self, *_):
        try:
            self._process.communicate(timeout=_STOP_S)  # closes its stdin, which ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def counts(self) -> Counts:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_STOP_S)
        try:
            connection.request("GET", "/counts")
            return Counts(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


class _Connection(asyncio.Protocol):
    counts = Counts(0, 0)  # of all connections

    def __init__(self):
        self._received = bytearray()

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:head_end])
            body_bytes = _content_length(head)
            end = head_end + 4 + body_bytes
            if len(self._received) < end:
                return
            del self._received[:end]
            self._transport.write(self._answer(head, body_bytes))

    def _answer(self, head, body_bytes):
        if head.startswith(b"GET /counts "):
            document = json.dumps(_Connection.counts._asdict()).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)
        requests, bytes_before = _Connection.counts
        _Connection.counts = Counts(requests + 1, bytes_before + body_bytes)
        return _OTLP if head.startswith(b"POST /v1/") else _RUM


def _content_length(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # ends with the process that started it, however that one ends
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
