"""The entry point `otel-rum-exporter`: runs the commands, or says which extra is missing."""

from __future__ import annotations

import signal
import sys

_OF_THE_DEMO = ("flask", "requests", "opentelemetry.")


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["gateway"] and hasattr(signal, "SIGHUP"):
        # it has a handler later; until then, and its imports take a while, the signal waits instead of ending it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        from otel_rum_exporter.commands import commands  # noqa: PLC0415 - needs the extra `server`

        commands(prog_name="otel-rum-exporter")
    except ModuleNotFoundError as error:
        sys.exit(_hint(error.name or str(error)))
    except OSError as error:  # of standard output, most of all
        from otel_rum_exporter.commands.output import discard_output  # noqa: PLC0415 - as above

        discard_output()
        sys.exit(f"otel-rum-exporter: {error}")


def _hint(missing: str) -> str:
    extra = "demo" if missing.startswith(_OF_THE_DEMO) else "server"
    return f"otel-rum-exporter: {missing} is not installed; this installs it: pip install 'otel-rum-exporter[{extra}]'"
