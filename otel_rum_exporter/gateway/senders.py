"""Reads the app monitors and the tokens of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from otel_rum_exporter.config import UUID_SHAPE
from otel_rum_exporter.gateway.limits import Rate, records_rate
from otel_rum_exporter.gateway.monitors import MonitorEntry
from otel_rum_exporter.gateway.origins import ACCEPTED, Origins
from otel_rum_exporter.gateway.settings import LimitOptions
from otel_rum_exporter.gateway.tokens import LONGEST, SHORTEST, Kind, Token, Tokens, digest_of
from otel_rum_exporter.option_kinds import Kind as OptionKind
from otel_rum_exporter.option_kinds import choice, matching, number, shortened, text, texts

Report = Callable[[str, str], None]
"""Takes what is wrong with what."""

_UUID = matching("a UUID", UUID_SHAPE)
_TEXT = text(255)
_NAME = matching("1 to 64 of the characters A-Z a-z 0-9 . _ -", re.compile(r"[A-Za-z0-9._-]{1,64}"))
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")
_WRITTEN = re.compile(rf"[!-~]{{{SHORTEST},{LONGEST}}}")
_SOURCES = ("token", "token_file", "token_env")
_RATE = number(0, 1e9)

_OF_MONITORS: dict[str, OptionKind[Any]] = {
    "id": _UUID,
    "name": _TEXT,
    "version": _TEXT,
    "alias": _TEXT,
    "records_per_second": _RATE,
}
_OF_TOKENS: dict[str, OptionKind[Any]] = {
    "name": _NAME,
    "kind": choice(get_args(Kind)),
    "token": text(1024),
    "token_file": text(4096),
    "token_env": text(255),
    "app_monitor": _UUID,
    "origins": texts("origins"),
    "requests_per_second": _RATE,
    "burst": number(1, 1e9),
    "records_per_second": _RATE,
}


def read_monitors(tables: Iterable[Mapping[str, Any]], report: Report) -> list[MonitorEntry]:
    """Read [[app_monitors]]. Errors: problems are reported, and the table left out."""
    entries: dict[str, MonitorEntry] = {}
    for number_, table in enumerate(tables, 1):
        where = f"app_monitors[{number_}]"
        values = _values(table, _OF_MONITORS, where, report)
        if "id" not in values:
            if "id" not in table:
                report(f"{where}.id", "missing, accepted: a UUID")
            continue
        if values["id"].lower() in entries:
            report(f"{where}.id", "listed twice")
        entries[values["id"].lower()] = MonitorEntry(**values)
    return list(entries.values())


def read_tokens(
    tables: Iterable[Mapping[str, Any]],
    monitors: Collection[str],
    limits: LimitOptions,
    environ: Mapping[str, str],
    report: Report,
) -> Tokens:
    """Read [[tokens]].

    Args:
        tables: The tables.
        monitors: Ids of the app monitors that there are, in lower case.
        limits: What holds for tokens without limits of their own.
        environ: Environment variables, which `token_env` names.
        report: Takes problems; no token is in them.
    """
    known: dict[bytes, Token] = {}
    for number_, table in enumerate(tables, 1):
        where = f"tokens[{number_}]"
        values = _values(table, _OF_TOKENS, where, report)
        digest = _digest(values, where, environ, report)
        token = None if digest is None else _token(values, digest, number_, limits, where, report)
        if token is None:
            continue
        if token.monitor is not None and token.monitor.lower() not in monitors:
            report(f"{where}.app_monitor", "no such app monitor; those that there are stand in [[app_monitors]]")
        if token.digest in known:
            report(where, "the same token as another one's")
        known[token.digest] = token
    return Tokens(list(known.values()))


def _values(
    table: Mapping[str, Any], kinds: Mapping[str, OptionKind[Any]], where: str, report: Report
) -> dict[str, Any]:
    values = {}
    for name, given in table.items():
        kind = kinds.get(name)
        if kind is None:
            report(f"{where}.{name}", f"no such member; there are {', '.join(kinds)}")
            continue
        try:
            values[name] = kind.parse(given)
        except ValueError:
            shown = "a value" if name in _SOURCES else shortened(given)
            report(f"{where}.{name}", f"{shown} given, accepted: {kind.accepts}")
    return values


def _token(  # noqa: PLR0913, PLR0917 - all that a token is made of
    values: Mapping[str, Any], digest: bytes, number_: int, limits: LimitOptions, where: str, report: Report
) -> Token | None:
    kind: Kind = values.get("kind", "server")
    try:
        origins = Origins(values.get("origins", ()))
    except ValueError:
        report(f"{where}.origins", f"{shortened(list(values['origins']))} given, accepted: {ACCEPTED}")
        return None
    if kind == "browser" and not ("app_monitor" in values and origins.patterns):
        report(where, "a browser's token needs app_monitor and origins: anybody can read it in the page")
    if kind == "server" and origins.patterns:
        report(f"{where}.origins", "only of a browser's token")
    per_second = values.get("records_per_second", limits.token_records_per_second)
    return Token(
        name=values.get("name", f"{kind}-{number_}"),
        digest=digest,
        kind=kind,
        monitor=values.get("app_monitor"),
        origins=origins,
        requests=Rate(
            values.get("requests_per_second", limits.token_requests_per_second),
            values.get("burst", limits.token_burst),
        ),
        records=records_rate(per_second),
    )


def _digest(values: Mapping[str, Any], where: str, environ: Mapping[str, str], report: Report) -> bytes | None:
    given = [name for name in _SOURCES if name in values]
    if len(given) != 1:
        report(where, f"one of {', '.join(_SOURCES)}")
        return None
    name = given[0]
    if name == "token_env" and not environ.get(values[name], "").strip():
        # unnamed, since what stands here by mistake may be the token itself
        report(f"{where}.{name}", "the environment variable of this name is not set, or empty")
        return None
    try:
        written = _written(name, values[name], environ).strip()
    except (OSError, ValueError) as error:
        report(f"{where}.{name}", f"cannot be read: {_why_not(error)}")
        return None
    if hashed := _SHA256.fullmatch(written):
        return bytes.fromhex(hashed[1])
    if not _WRITTEN.fullmatch(written):
        accepts = f"{SHORTEST} to {LONGEST} printable characters without spaces, or sha256: and 64 hex digits"
        report(f"{where}.{name}", f"a value not shown, accepted: {accepts}")
        return None
    return digest_of(written)


def _why_not(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "not text" if isinstance(error, UnicodeError) else "no file has this name"  # with a NUL in it


def _written(name: str, value: str, environ: Mapping[str, str]) -> str:
    if name == "token_file":
        return Path(value).read_text(encoding="utf-8-sig")
    return environ[value] if name == "token_env" else value
