"""`otel-rum-exporter local`: runs the embedded endpoint and says how to send to it."""

from __future__ import annotations

import errno
import sqlite3

import click

from otel_rum_exporter.local.server import run
from otel_rum_exporter.local.settings import Settings
from otel_rum_exporter.sockets import url_here
from otel_rum_exporter.testing import APP_MONITOR_ID, REGION

_GREETING = """\
CloudWatch RUM endpoint at {url}   (Ctrl-C stops it)

Send an application's telemetry to it{where}:

{variables}
  opentelemetry-instrument python app.py

See what arrived:

  curl {here}/api/sessions
  curl {here}/api/events
  curl {here}/api/stats
"""

_NOT_SHOWN = "...   # as given with --credentials"


def serve(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM. Errors: click's one-line error when address or database cannot be used."""
    try:
        run(settings, on_ready=lambda url: click.echo(greeting(settings, url)))
    except OSError as error:
        if error.filename is None:  # of standard output, not of an address
            raise
        # asyncio and socket add the address to the reason
        reason = (error.strerror or str(error)).partition(" (while")[0]
        hint = "; --port 0 takes a free one" if error.errno == errno.EADDRINUSE else ""
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {reason}{hint}") from None
    except sqlite3.Error as error:
        raise click.ClickException(f"cannot use {settings.db} as database: {error}") from None


def greeting(settings: Settings, url: str) -> str:
    """Return what is printed as soon as the endpoint accepts connections. Secrets are not repeated."""
    here = url_here(url, settings.host)
    where = "" if here == url else " (elsewhere by the name of this machine)"
    variables = "\n".join(f"  export {name}={value}" for name, value in variables_for(settings, here).items())
    return _GREETING.format(url=url, here=here, where=where, variables=variables)


def variables_for(settings: Settings, url: str) -> dict[str, str]:
    """Return the variables that make an application send to the endpoint, in the order to be shown."""
    variables = {
        "OTEL_TRACES_EXPORTER": "rum",
        "OTEL_LOGS_EXPORTER": "rum",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_RUM_ENDPOINT": url,
        "OTEL_EXPORTER_RUM_APP_MONITOR_ID": settings.monitors[0] if settings.monitors else APP_MONITOR_ID,
        "OTEL_EXPORTER_RUM_REGION": settings.region or REGION,
    }
    if not settings.credentials or settings.allow_unsigned:
        return {**variables, "OTEL_EXPORTER_RUM_AUTH": "none"}
    known = settings.credentials[0]
    variables["AWS_ACCESS_KEY_ID"] = known.access_key
    variables["AWS_SECRET_ACCESS_KEY"] = _NOT_SHOWN
    if known.session_token:
        variables["AWS_SESSION_TOKEN"] = _NOT_SHOWN
    return variables
