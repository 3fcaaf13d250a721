"""A relay in front of a gateway, which turns the first requests away as an overloaded proxy does."""

import contextlib
import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_OF_THE_HOP = {"connection", "content-length", "host", "transfer-encoding"}


class Relay(ThreadingHTTPServer):
    """Answers the first requests itself and passes all others on.

    Attributes:
        url: Where it listens.
        answers: Status and monotonic time of each answer.
    """

    daemon_threads = True

    def __init__(self, gateway_url, *, first, retry_after):
        super().__init__(("127.0.0.1", 0), _Request)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.gateway = gateway_url.removeprefix("http://")
        self.own = list(first)
        self.retry_after = retry_after
        self.answers = []

    @contextlib.contextmanager
    def serving(self):
        thread = threading.Thread(target=self.serve_forever, name="relay")
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Request(BaseHTTPRequestHandler):
    server: Relay
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self._body()
        status, headers, answer = self._refusal() if self.server.own else self._passed_on(body)
        self.server.answers.append((status, time.monotonic()))
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OF_THE_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Keep quiet."""

    def _refusal(self):
        return self.server.own.pop(0), [("retry-after", str(self.server.retry_after))], b""

    def _passed_on(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_HOP}
        with contextlib.closing(http.client.HTTPConnection(self.server.gateway)) as connection:
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers["content-length"]))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)
