"""The shop's process: serves until its standard input ends, delivers what is left, and reports its counters."""

from __future__ import annotations

import logging
import os
import sys
import threading

import msgspec
from opentelemetry import trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.serving import make_server

import otel_rum_exporter
from otel_rum_exporter.demo.shop import app


def main() -> None:
    """Print the shop's URL when it is ready, and its counters when it is done."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its line per request
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    _say(f"http://127.0.0.1:{server.server_port}")
    _wait_for_end_of_input()
    server.shutdown()
    serving.join()
    _deliver()
    _say(msgspec.json.encode(otel_rum_exporter.statistics()).decode())


def _deliver() -> None:
    """Empty the SDK's processors into the exporters, and these into the network."""
    for provider in (trace.get_tracer_provider(), get_logger_provider()):
        if isinstance(provider, TracerProvider | LoggerProvider):
            provider.force_flush()
    otel_rum_exporter.flush()


def _wait_for_end_of_input() -> None:
    while os.read(0, 1024):
        pass


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
