"""The commands, their options and their help; what they do stands in the modules that they import."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from otel_rum_exporter.commands.spool import spool
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.local.settings import MAX_EVENTS, Credentials, Settings
from otel_rum_exporter.options import options_of
from otel_rum_exporter.testing import APP_MONITOR_ID

_DEFAULT_PORT = 8790


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="otel-rum-exporter")
def commands() -> None:
    """OpenTelemetry exporter for Amazon CloudWatch RUM.

    \b
    New here? See it work, without an AWS account:
      otel-rum-exporter demo
    Then send your own application's telemetry to an endpoint on this machine:
      otel-rum-exporter local
    """  # noqa: D301 - click takes a backspace for: keep these lines


@commands.command()
@click.option(
    "--users", type=click.IntRange(1, 50), default=4, show_default=True, help="How many users visit the shop."
)
def demo(users: int) -> None:
    """See everything work on this machine, in less than half a minute.

    Starts an endpoint that checks signatures and events as CloudWatch RUM does, and a small web shop under
    opentelemetry-instrument. A few users click through the shop; what real browsers reported is replayed in their
    sessions. Then prints what CloudWatch RUM would show, and whether anything was lost.

    Needs no network and no AWS account. Exits with 0 only if everything was delivered and valid.
    """
    from otel_rum_exporter.demo.run import run  # noqa: PLC0415 - the other commands need none of it

    sys.exit(0 if run(users) else 1)


def _accepted_by(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return what refuses a value that an option of the exporter would: it is printed for an exporter to be set to."""
    facts = options_of(RumConfig)[name]

    def check(_context: click.Context, _option: click.Parameter, given: str | tuple[str, ...] | None) -> Any:
        for each in (given,) if isinstance(given, str) else given or ():
            try:
                facts.kind.parse(each)
            except ValueError:  # noqa: PERF203 - the first bad one ends it
                raise click.BadParameter(f"{facts.kind.show(each)} given, accepted: {facts.accepts}") from None
        return given

    return check


def _parse_credentials(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Any:
    try:
        return tuple(map(Credentials.parse, given))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True, help="0 for any.")
@click.option("--db", default="", metavar="FILE", help="SQLite file to keep events in.  [default: a temporary one]")
@click.option(
    "--credentials",
    callback=_parse_credentials,
    metavar="ACCESS:SECRET[:TOKEN]",
    multiple=True,
    help="Verify SigV4 signatures with this key; repeatable.  [default: accept everything]",
)
@click.option(
    "--region",
    callback=_accepted_by("region"),
    metavar="REGION",
    help="Region that signatures must name.  [default: any]",
)
@click.option(
    "--monitor",
    callback=_accepted_by("app_monitor_id"),
    multiple=True,
    metavar="UUID",
    help="App monitor that exists; repeatable.  [default: any]",
)
@click.option("--lenient", is_flag=True, help="Answer 200 to invalid events and list them, as the service drops them.")
@click.option("--allow-unsigned", is_flag=True, help="Accept unsigned requests although there are credentials.")
@click.option("--max-events", type=click.IntRange(1), default=MAX_EVENTS, show_default=True, help="Events per request.")
def local(  # noqa: PLR0913 - one argument per option
    *,
    host: str,
    port: int,
    db: str,
    credentials: tuple[Credentials, ...],
    region: str | None,
    monitor: tuple[str, ...],
    lenient: bool,
    allow_unsigned: bool,
    max_events: int,
) -> None:
    """Run a CloudWatch RUM endpoint on this machine.

    It takes PutRumEvents requests, from this exporter, from boto3 or from aws-rum-web in a browser, checks them as
    AWS does, keeps the events, and shows them as JSON. Prints which variables send an application's telemetry to it.
    """
    from otel_rum_exporter.commands.serve_local import serve  # noqa: PLC0415 - the other commands need no server

    settings = Settings(
        host=host,
        port=port,
        db=db,
        credentials=credentials,
        region=region,
        monitors=monitor,
        strict=not lenient,
        allow_unsigned=allow_unsigned,
        max_events=max_events,
    )
    serve(settings)


@commands.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option(
    "--app-monitor-id",
    metavar="UUID",
    help="Session and user ids that are no UUIDs are hashed with it.  [default: OTEL_EXPORTER_RUM_APP_MONITOR_ID, "
    f"what the items' resource says, or {APP_MONITOR_ID}]",
)
def convert(files: tuple[str, ...], app_monitor_id: str | None) -> None:
    """Print the RUM events that OTLP JSON turns into, one per line.

    A FILE holds one OTLP/HTTP request, or one request per line as the Collector's file exporter writes them; - is
    standard input. Events are printed when all files are read, since their pages are known only then. The exporter's
    variables OTEL_EXPORTER_RUM_* count; nothing is sent. What is dropped, and lines that cannot be read, are
    reported on standard error; the latter make the exit code 1.

    \b
    Example:
      otel-rum-exporter convert traces.jsonl | jq 'select(.type | endswith("js_error_event"))'
    """  # noqa: D301 - as above
    from otel_rum_exporter.commands.convert_files import convert_files  # noqa: PLC0415 - as above

    sys.exit(convert_files(files, app_monitor_id))


@commands.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file: TOML with app monitors, tokens, limits and all other options.",
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="0 for any.  [default: 4318]")
@click.option("--operations-port", type=int, help="Of /healthz, /readyz, /metrics; 0 for any.  [default: 13133]")
@click.option("--endpoint", metavar="URL", help="Where PutRumEvents requests go.  [default: AWS's]")
@click.option("--region", metavar="REGION", help="AWS region of the app monitor.")
@click.option("--app-monitor-id", metavar="UUID", help="The app monitor.  [default: OTEL_EXPORTER_RUM_APP_MONITOR_ID]")
@click.option("--auth", metavar="MODE", help="sigv4, or none to send unsigned.  [default: sigv4]")
@click.option("--spool-dir", metavar="DIRECTORY", help="Where events are kept until they are delivered.")
@click.option("--no-spool", is_flag=True, help="Keep events in memory only.")
@click.option("--allow-origin", multiple=True, metavar="ORIGIN", help="Let pages of this origin send; repeatable.")
@click.option("--allow-anonymous", is_flag=True, help="Take requests without a token from everywhere.")
@click.option("--log-format", metavar="FORMAT", help="logfmt or json.  [default: logfmt]")
@click.option("--access-log", is_flag=True, help="Log a line for each request.")
@click.option("--check", is_flag=True, help="Show the configuration that would be used, and stop.")
def gateway(path: Path | None, *, check: bool, **flags: Any) -> None:
    """Receive OTLP/HTTP and send it to CloudWatch RUM.

    Browsers, apps and Collectors send traces and logs to /v1/traces and /v1/logs. A request is answered with 200 once
    its events are on disk; from there they are delivered as the service's quota allows.

    \b
    Example, with an endpoint on this machine instead of AWS:
      otel-rum-exporter local
      otel-rum-exporter gateway --endpoint http://127.0.0.1:8790 \\
        --region us-east-1 --auth none \\
        --app-monitor-id 11111111-2222-3333-4444-555555555555 \\
        --spool-dir trial
    """  # noqa: D301 - as above
    from otel_rum_exporter.commands.serve_gateway import serve, tables_of  # noqa: PLC0415 - as above

    serve(tables_of(flags), path, check=check)


commands.add_command(spool)
