"""``python -m otel_rum_exporter.local``: the embedded endpoint as a process."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

from otel_rum_exporter.local.server import run
from otel_rum_exporter.local.settings import MAX_EVENTS, Credentials, Settings

DEFAULT_PORT = 8790


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and serve until a signal; prints the URL as soon as it is ready."""
    options = _parser().parse_args(arguments)
    settings = _settings_from_stdin() if options.settings_from_stdin else _settings(options)
    run(settings, on_ready=lambda url: print(url, flush=True))  # noqa: T201 - this line is the command's output


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        host=options.host,
        port=options.port,
        db=options.db,
        credentials=tuple(options.credentials),
        region=options.region,
        monitors=tuple(options.monitor),
        strict=not options.lenient,
        allow_unsigned=options.allow_unsigned,
        max_events=options.max_events,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m otel_rum_exporter.local", description="A local CloudWatch RUM endpoint."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind (default = %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="port to bind, 0 for any (default = %(default)s)")
    add("--db", default="", help="SQLite file (default = a temporary one)")
    add(
        "--credentials",
        type=Credentials.parse,
        action="append",
        default=[],
        metavar="ACCESS:SECRET[:TOKEN]",
        help="verify signatures against this key; repeatable (default = accept everything)",
    )
    add("--region", help="region that signatures must name (default = any)")
    add(
        "--monitor",
        action="append",
        default=[],
        metavar="UUID",
        help="app monitor that exists; repeatable (default = any)",
    )
    add("--lenient", action="store_true", help="answer 200 and record invalid events, as the service drops them")
    add(
        "--allow-unsigned",
        action="store_true",
        help="accept requests without a signature although there are credentials",
    )
    add("--max-events", type=int, default=MAX_EVENTS, help="events per request (default = %(default)s)")
    # for parents that may be killed, and must not show secrets in the process list
    add("--settings-from-stdin", action="store_true", help=argparse.SUPPRESS)
    return parser


def _settings_from_stdin() -> Settings:
    """Read the settings as one line of JSON, and end the process when the pipe closes."""
    settings = Settings.from_json(json.loads(sys.stdin.readline()))
    threading.Thread(target=_stop_with_stdin, daemon=True).start()
    return settings


def _stop_with_stdin() -> None:
    # not through sys.stdin: its lock would be held when the interpreter exits
    while os.read(0, 1024):
        pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
