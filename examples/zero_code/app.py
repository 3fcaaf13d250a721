"""An application without a line of OpenTelemetry: it asks a weather service for three towns, and knows only two."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

logging.basicConfig()
logger = logging.getLogger("weather")
DEGREES = {"/lisbon": 21, "/oslo": 4}


class Weather(BaseHTTPRequestHandler):
    """The weather service; it runs on this machine so that the example needs no network."""

    def do_GET(self) -> None:
        """Answer with the temperature, or 404."""
        body = json.dumps(DEGREES.get(self.path)).encode()
        self.send_response(200 if self.path in DEGREES else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def report(town: str, url: str) -> None:
    """Print a town's temperature, or log why there is none."""
    try:
        answer = requests.get(f"{url}/{town}", timeout=5)
        answer.raise_for_status()
        print(f"{town}: {answer.json()} degrees")
    except requests.HTTPError:
        logger.exception("no weather for %s", town)


with ThreadingHTTPServer(("127.0.0.1", 0), Weather) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("lisbon", "oslo", "atlantis"):
        report(name, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
