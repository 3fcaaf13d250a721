"""`otel-rum-exporter gateway`: receives OTLP/HTTP and sends to CloudWatch RUM."""

from __future__ import annotations

import errno
import logging
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from otel_rum_exporter.commands.readiness import tell_ready
from otel_rum_exporter.config import ConfigError, ignored_variables
from otel_rum_exporter.gateway.log_lines import write_logs
from otel_rum_exporter.gateway.server import Addresses, GatewayServer
from otel_rum_exporter.gateway.settings import GatewayOptions, Settings
from otel_rum_exporter.gateway.settings_file import is_loopback, load
from otel_rum_exporter.gateway.settings_shown import shown
from otel_rum_exporter.sockets import url_here
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import SpoolError

_GREETING = """\
OTLP gateway for CloudWatch RUM at {url}   (Ctrl-C stops it)

  health, readiness, metrics: {operations_url}/healthz, /readyz, /metrics

Send to it{where}; items need session.id:

{variables}
"""

_SPOOL_UNUSABLE = "The spool is not usable; --spool-dir names another place, --no-spool does without:"

_logger = logging.getLogger(__name__)

Flags = Mapping[str, Mapping[str, Any]]

_OF_EXPORTER = ("endpoint", "region", "app_monitor_id", "auth", "spool_dir")


def tables_of(given: Mapping[str, Any]) -> Flags:
    """Return what the command line says as the configuration file would say it."""
    exporter = {name: given[name] for name in _OF_EXPORTER}
    gateway = {name: given[name] for name in ("host", "port", "operations_port", "log_format")}
    gateway |= {name: given[name] or None for name in ("allow_anonymous", "access_log")}
    gateway |= {
        "spool": False if given["no_spool"] else None,
        "allowed_origins": given["allow_origin"] or None,
    }
    return {"gateway": gateway, "exporter": exporter}


def serve(flags: Flags, path: Path | None, *, check: bool) -> None:
    """Serve until Ctrl-C or SIGTERM; with `check` show the configuration instead.

    Errors: exit code 2 with all problems of the configuration; click's one-line error when it cannot listen.
    """
    settings = _loaded(flags, path)
    if check:
        click.echo("\n".join(shown(settings)))
        for line in ignored_variables(os.environ):
            click.echo(f"Warning: {line}", err=True)
        return
    _check_tls(settings.gateway)
    _make_spool(settings)
    write_logs(settings.gateway.log_format, access=settings.gateway.access_log)
    _warn(settings)

    def reload(running: Settings) -> Settings:
        return load(flags, os.environ, path, running)

    def welcome(addresses: Addresses) -> None:
        if settings.gateway.log_format == "logfmt":  # else what reads the output reads JSON
            click.echo(greeting(settings, addresses))
        tell_ready()

    try:
        server = GatewayServer(settings, welcome, reload)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        hint = "; --port and --operations-port 0 take free ones" if error.errno == errno.EADDRINUSE else ""
        raise click.ClickException(f"cannot listen on {error.filename}: {reason}{hint}") from None
    server.serve_until_stopped()


def greeting(settings: Settings, addresses: Addresses) -> str:
    """Return what is printed as soon as a gateway accepts connections. No token is in it."""
    url = url_here(addresses.url, settings.gateway.host)
    where = "" if url == addresses.url else " (elsewhere by the name of this machine)"
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",  # many SDKs speak gRPC unless told otherwise
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
    }
    if settings.policy.needs_token:
        variables["OTEL_EXPORTER_OTLP_HEADERS"] = "x-api-key=...   # a server's token"
    return _GREETING.format(
        url=addresses.url,
        operations_url=addresses.operations_url,
        where=where,
        variables="\n".join(f"  export {name}={value}" for name, value in variables.items()),
    )


def _loaded(flags: Flags, path: Path | None) -> Settings:
    try:
        return load(flags, os.environ, path)
    except ConfigError as error:
        misspelt = ignored_variables(os.environ)  # which may be all that is wrong
        _exit("The gateway's configuration is not usable:", *map(str, error.problems), *misspelt)


def _check_tls(gateway: GatewayOptions) -> None:
    if gateway.tls_certificate is None or gateway.tls_key is None:
        return
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(gateway.tls_certificate, gateway.tls_key, _no_passphrase)
    except OSError as error:  # SSLError is one
        _exit("The TLS certificate is not usable:", f"{gateway.tls_certificate}, {gateway.tls_key}: {_why_not(error)}")


def _no_passphrase() -> NoReturn:
    """Answer OpenSSL, which would ask on the terminal otherwise."""
    raise PermissionError(errno.EACCES, "the key is encrypted")


def _why_not(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "not a certificate, or not a private key, in PEM"  # OpenSSL's own words are "PEM lib"


def _make_spool(settings: Settings) -> None:
    """Find out now whether events can be kept on disk: what is answered with 200 relies on it."""
    path = settings.exporter.spool_dir
    if path is None:
        return
    try:
        SpoolDirectory(path)
    except SpoolError as error:
        _exit(_SPOOL_UNUSABLE, str(error))
    if not os.access(path, os.W_OK | os.X_OK):
        _exit(_SPOOL_UNUSABLE, f"the spool directory {path} cannot be written to")


def _exit(*lines: str) -> NoReturn:
    click.echo("\n  ".join(lines), err=True)
    sys.exit(2)


def _warn(settings: Settings) -> None:
    """Say what is legal, and wrong in most places."""
    gateway = settings.gateway
    for line in ignored_variables(os.environ):
        _logger.warning("%s", line)
    if not is_loopback(gateway.host):
        if gateway.tls_certificate is None:
            _logger.warning("Tokens and telemetry travel in the clear; put a proxy with TLS in front")
        if not settings.policy.needs_token:
            _logger.warning("Anybody who reaches %s can send telemetry", gateway.host)
    if not is_loopback(gateway.operations_host):
        _logger.warning("Anybody who reaches %s can read /metrics", gateway.operations_host)
