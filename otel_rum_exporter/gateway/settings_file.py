"""Reads a gateway's configuration: flag, else environment variable, else configuration file, else default.

The file is TOML. [gateway] and [limits] hold the options of `settings.py`, [exporter] those of `RumConfig`, each
[[app_monitors]] an app monitor and each [[tokens]] a token. All problems are reported together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from otel_rum_exporter.config import ConfigError, Problem, RumConfig
from otel_rum_exporter.gateway.monitors import Monitors
from otel_rum_exporter.gateway.origins import Origins
from otel_rum_exporter.gateway.senders import read_monitors, read_tokens
from otel_rum_exporter.gateway.settings import GatewayOptions, LimitOptions, Policy, Settings
from otel_rum_exporter.options import Option, options_of, read, refused, variable_of

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same parser, before it became part of Python
    import tomli as tomllib

Environ = Mapping[str, str]
Flags = Mapping[str, Mapping[str, Any]]

_TABLES = ("gateway", "limits", "exporter")
_ARRAYS = ("app_monitors", "tokens")
_SPOOL_VARIABLE = "OTEL_EXPORTER_RUM_SPOOL_DIR"
_DEFAULT, _OWN_DEFAULT = "default", "default of the gateway"

OptionsT = TypeVar("OptionsT", GatewayOptions, LimitOptions, RumConfig)


def load(flags: Flags, environ: Environ, path: Path | None, running: Settings | None = None) -> Settings:
    """Read a whole configuration.

    Shape:  for a gateway that runs already only tokens, app monitors and origins are read anew. They are checked against
            the other options as they are in force, not as they may stand in the file by now.

    Args:
        flags: What the command line says, by table and name; None is not given.
        environ: Environment variables, usually `os.environ`.
        path: The configuration file, if there is one.
        running: What a gateway was started with, if it runs already.

    Raises:
        ConfigError: With all problems.
    """
    return _Loading(flags, environ, {} if path is None else _parsed(path)).settings(running)


def default_spool_dir(environ: Environ) -> Path:
    """Return where the spool is when nothing says so: systemd's state directory, the system's for root, else the user's.

    Source: systemd.exec(5), STATE_DIRECTORY; XDG Base Directory Specification, XDG_STATE_HOME.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given) / "spool"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/otel-rum-exporter/spool")
    state = environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local/state") / "otel-rum-exporter/spool"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows begins files with a mark
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = f"{path} is not TOML: {error}"
    raise ConfigError([Problem("config", None, reason)])


def _in_table(table: str, problem: Problem) -> Problem:
    return msgspec.structs.replace(problem, option=f"{table}.{problem.option}")


def _changed(table: str, now: OptionsT, read_anew: OptionsT) -> Iterator[str]:
    for name in options_of(type(now)):
        if getattr(now, name) != getattr(read_anew, name):
            yield f"{table}.{name}"


class _Loading:
    """What was read so far, and what is wrong with it."""

    def __init__(self, flags: Flags, environ: Environ, document: dict[str, Any]) -> None:
        self._flags = flags
        self._environ = environ
        self._document = document
        self._problems: list[Problem] = []
        self._sources: dict[tuple[str, str], str] = {}

    def settings(self, running: Settings | None) -> Settings:
        self._check_tables()
        gateway = self._section("gateway", GatewayOptions)
        limits = self._section("limits", LimitOptions)
        exporter = self._exporter(gateway)
        waiting: tuple[str, ...] = ()
        if running is not None:
            gateway_now = replace(running.gateway, allowed_origins=gateway.allowed_origins)
            waiting = (
                *_changed("gateway", gateway_now, gateway),
                *_changed("limits", running.limits, limits),
                *_changed("exporter", running.exporter, exporter),
            )
            gateway, limits, exporter = gateway_now, running.limits, running.exporter
        monitors = self._monitors(exporter, running)
        policy = self._policy(gateway, limits, exporter, monitors)
        self._check_gateway(gateway, policy)
        if self._problems:
            raise ConfigError(self._problems)
        return Settings(gateway, limits, exporter, policy, self._sources, waiting)

    def _problem(self, option: str, reason: str) -> None:
        self._problems.append(Problem(option, None, reason))

    def _check_tables(self) -> None:
        for name, value in self._document.items():
            if name not in (*_TABLES, *_ARRAYS):
                self._problem(name, f"no such table; there are {', '.join((*_TABLES, *_ARRAYS))}")
            elif name in _TABLES and not isinstance(value, dict):
                self._problem(name, f"a table, written [{name}]")
            elif name in _ARRAYS and not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
                self._problem(name, f"an array of tables, each written [[{name}]]")

    def _table(self, name: str) -> dict[str, Any]:
        table = self._document.get(name)
        return table if isinstance(table, dict) else {}

    def _array(self, name: str) -> list[dict[str, Any]]:
        array = self._document.get(name)
        return [each for each in array if isinstance(each, dict)] if isinstance(array, list) else []

    def _given(self, table: str, name: str, variable: str | None) -> tuple[str, Any]:
        """Return where an option comes from, and its value if that is no variable."""
        flag, in_file = self._flags.get(table, {}).get(name), self._table(table).get(name)
        if flag is not None:
            return "command line", flag
        if variable and self._environ.get(variable, "").strip():
            return variable, None
        return (_DEFAULT, None) if in_file is None else ("configuration file", in_file)

    def _section(self, table: str, kind: type[OptionsT]) -> OptionsT:
        options: dict[str, Option] = options_of(kind)
        arguments: dict[str, Any] = {}
        for name in dict.fromkeys((*options, *self._table(table))):
            self._sources[table, name], arguments[name] = self._given(table, name, None)
        found = read(options, arguments, {})
        self._problems += (_in_table(table, each) for each in found.problems)
        return kind(**found.values)

    def _exporter(self, gateway: GatewayOptions) -> RumConfig:
        options = options_of(RumConfig)
        environ = dict(self._environ)
        if not gateway.spool:
            environ.pop(_SPOOL_VARIABLE, None)
        arguments = {}
        for name in dict.fromkeys((*options, *self._table("exporter"))):
            variable = variable_of(name, options[name]) if name in options else None
            self._sources["exporter", name], arguments[name] = self._given("exporter", name, variable)
        for name, value in self._own_defaults(gateway):
            if self._sources["exporter", name] == _DEFAULT:
                self._sources["exporter", name], arguments[name] = _OWN_DEFAULT, value
        if not gateway.spool:
            arguments["spool_dir"] = None
        try:
            config = self._with_sources_elsewhere(RumConfig.load(arguments, environ), environ)
        except ConfigError as error:
            self._problems += (
                each if each.option in options else _in_table("exporter", each) for each in error.problems
            )
            return RumConfig(**read(options, arguments, environ).values)  # for what else is to be checked
        return self._with_region(config)

    def _own_defaults(self, gateway: GatewayOptions) -> Iterator[tuple[str, Any]]:
        """Yield what differs from an exporter in a process: others' sessions, and nothing accepted may be lost."""
        yield from {"session": "require", "spool_fsync": True, "overflow": "drop_newest"}.items()
        if gateway.spool and self._sources["exporter", "spool_dir"] == _DEFAULT:
            try:
                yield "spool_dir", default_spool_dir(self._environ)
            except RuntimeError:  # of Path.home
                variable = variable_of("spool_dir", options_of(RumConfig)["spool_dir"])
                self._problems.append(Problem("spool_dir", variable, "needed where the user has no home directory"))

    def _with_sources_elsewhere(self, config: RumConfig, environ: Environ) -> RumConfig:
        """Take note of what AWS's own variables say."""
        for name, facts in options_of(RumConfig).items():
            if facts.elsewhere and self._sources["exporter", name] == _DEFAULT:
                said = (variable for variable, value in facts.elsewhere(environ) if value and value.strip())
                self._sources["exporter", name] = next(said, None) or _DEFAULT
        return config

    def _with_region(self, config: RumConfig) -> RumConfig:
        """Return the configuration with the AWS profile's region, if it has none: requests to any endpoint are of one."""
        is_named_badly = any(each.option in {"region", "endpoint"} for each in self._problems)
        if config.region or is_named_badly:
            return config
        try:
            region = get_session().get_config_variable("region")
            reason = "an AWS region is needed: here, as AWS_REGION, or in the AWS profile"
        except BotoCoreError as error:
            region, reason = None, f"not in the AWS profile: {error}"
        if region is None:
            variable = variable_of("region", options_of(RumConfig)["region"])
            self._problems.append(Problem("region", variable, reason))
            return config
        self._sources["exporter", "region"] = "AWS profile"
        return replace(config, region=region)

    def _monitors(self, exporter: RumConfig, running: Settings | None) -> Monitors:
        entries = read_monitors(self._array("app_monitors"), self._problem)
        if running is not None and bool(self._array("app_monitors")) != bool(running.policy.monitors):
            self._problem("app_monitors", "the first ones, or none any more, take a restart")
            return running.policy.monitors
        is_named_badly = any(each.option.removeprefix("exporter.").startswith("app_monitor") for each in self._problems)
        if not entries and exporter.app_monitor_id is None and not is_named_badly:
            variable = variable_of("app_monitor_id", options_of(RumConfig)["app_monitor_id"])
            accepts = "an app monitor is needed: here, or as [[app_monitors]] in the configuration file"
            self._problems.append(Problem("app_monitor_id", variable, accepts))
        return Monitors.of(entries, exporter)

    def _policy(self, gateway: GatewayOptions, limits: LimitOptions, exporter: RumConfig, monitors: Monitors) -> Policy:
        known = set(monitors.entries) | ({exporter.app_monitor_id.lower()} if exporter.app_monitor_id else set())
        tokens = read_tokens(self._array("tokens"), known, limits, self._environ, self._problem)
        needs_token = bool(tokens) and not gateway.allow_anonymous
        origins = Origins(gateway.allowed_origins)
        return Policy(tokens, origins, monitors, needs_token=needs_token)

    def _check_gateway(self, gateway: GatewayOptions, policy: Policy) -> None:
        is_open = not (policy.tokens or self._array("tokens") or gateway.allow_anonymous)
        if is_open and is_loopback(gateway.host) and gateway.trusted_proxies:
            reason = "others than this machine send by way of them: add [[tokens]], or --allow-anonymous"
            self._problem("gateway.trusted_proxies", reason)
        elif is_open and not is_loopback(gateway.host):
            facts = options_of(GatewayOptions)["host"]
            accepts = "without tokens an address that only this machine reaches; add [[tokens]], or --allow-anonymous"
            self._problems.append(refused("gateway.host", facts, None, gateway.host, accepts))
        if (gateway.tls_certificate is None) != (gateway.tls_key is None):
            self._problem("gateway.tls_certificate", "together with gateway.tls_key, or neither")
