"""Shows a configuration: each option, its value, where it came from; secrets are not shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.gateway.limits import Rate
from otel_rum_exporter.gateway.settings import GatewayOptions, LimitOptions, Policy, Settings
from otel_rum_exporter.options import options_of

_SECRET = "***"  # noqa: S105 - what stands for one
_OF_MONITORS = ("id", "name", "version", "alias")
_OWN = ("app_monitor_id", "app_monitor_name", "app_version", "alias")


def shown(settings: Settings) -> Iterator[str]:
    """Yield the lines of a configuration."""
    for table, kind, values in (
        ("gateway", GatewayOptions, settings.gateway),
        ("limits", LimitOptions, settings.limits),
        ("exporter", RumConfig, settings.exporter),
    ):
        yield f"[{table}]"
        for name, facts in options_of(kind).items():
            if table == "exporter" and name in _OWN and settings.policy.monitors:
                continue  # each app monitor has its own
            value = getattr(values, name)
            text = _SECRET if facts.kind.secret and value is not None else _value(value)
            yield f"{name} = {text}  # {settings.sources.get((table, name), 'default')}"
        yield ""
    yield from _policy(settings.policy)


def _policy(policy: Policy) -> Iterator[str]:
    for entry in policy.monitors.entries.values():
        yield "[[app_monitors]]"
        yield from (f"{name} = {_value(getattr(entry, name))}" for name in _OF_MONITORS)
        yield f"records_per_second = {_rate(entry.records)}"
        yield ""
    for token in policy.tokens.known:
        yield "[[tokens]]"
        yield f"name = {_value(token.name)}"
        yield f"kind = {_value(token.kind)}"
        yield f"token = {_SECRET}"
        yield f"app_monitor = {_value(token.monitor)}"
        yield f"origins = {_value(token.origins.patterns)}"
        yield f"requests_per_second = {_rate(token.requests)}"
        yield f"records_per_second = {_rate(token.records)}"
        yield ""
    yield "requests without a token: " + ("refused" if policy.needs_token else "taken")


def _rate(rate: Rate) -> str:
    return f"{rate.per_second:g}, {rate.burst:g} at once" if rate.is_limit else "no limit"


def _value(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
