"""The page's server: three pages that are one, their files, and an API that has items, one failure and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PAGE = Path(__file__).parent / "page"
SCRIPT = "/otel.js"

_PAGES = ("/", "/shop", "/products/42", "/cart")
_FILES = {"/style.css": "text/css", "/app.js": "text/javascript", "/lamp.svg": "image/svg+xml"}
_ITEMS = {"42": {"name": "Lamp 42", "price": 39.99, "left": 7}}

Answer = tuple[HTTPStatus, str, bytes]


class Shop(ThreadingHTTPServer):
    """The server, listening; `serving` makes it answer.

    Args:
        port: Where to listen on this machine; 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.script = b""

    @contextmanager
    def serving(self, script: Path) -> Iterator[None]:
        """Serve the page with this telemetry until the block ends."""
        self.script = script.read_bytes()
        thread = threading.Thread(target=self.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()


class _Request(BaseHTTPRequestHandler):
    server: Shop
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a header and a body would wait for each other

    def do_GET(self) -> None:
        self._answer(*self._found(urlsplit(self.path).path))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(*_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "the till is out of order"}))

    def log_message(self, *_: object) -> None:
        """Keep quiet: what happens is told by the page's telemetry."""

    def _found(self, path: str) -> Answer:
        if path in _PAGES:
            return HTTPStatus.OK, "text/html; charset=utf-8", (PAGE / "shop.html").read_bytes()
        if path == SCRIPT:
            return HTTPStatus.OK, "text/javascript", self.server.script
        if path in _FILES:
            return HTTPStatus.OK, _FILES[path], (PAGE / path[1:]).read_bytes()
        if path == "/api/items":
            return _json(HTTPStatus.OK, _ITEMS)
        return _json(HTTPStatus.NOT_FOUND, {"message": "there is no such thing"})

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")  # each load is a first one
        self.end_headers()
        self.wfile.write(body)


def _json(status: HTTPStatus, document: object) -> Answer:
    return status, "application/json", json.dumps(document).encode()
