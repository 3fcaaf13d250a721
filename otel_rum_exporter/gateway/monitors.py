"""Which app monitor items go to: the token's, else the one that their resource names if it is listed, else the default.

Where one app monitor is all there is, it is the default of items that name none. What names another one is not its.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.gateway.limits import Rate, records_rate
from otel_rum_exporter.otlp import Log, Resource, Span

MONITOR_ID = "aws.rum.appmonitor.id"
_OWN = "aws.rum.appmonitor."  # what a sender may choose only within the list


class MonitorEntry(Struct, frozen=True):
    """An app monitor that the gateway sends to. What is None is left to the items' resource, where that may choose."""

    id: str
    name: str | None = None
    version: str | None = None
    alias: str | None = None
    records_per_second: float = 0.0
    """Spans and log records that it takes, whoever sends them; 0 is no limit."""

    @property
    def records(self) -> Rate:
        """How many records it takes."""
        return records_rate(self.records_per_second)

    @property
    def identity(self) -> dict[str, str]:
        """The resource attributes that say so."""
        said = {
            MONITOR_ID: self.id,
            "aws.rum.appmonitor.alias": self.alias,
            "service.name": self.name,
            "service.version": self.version,
        }
        return {name: value for name, value in said.items() if value is not None}


class Monitors:
    """The app monitors that items may go to.

    Shape:  without entries the pipeline's own configuration decides, for all items alike.
    """

    def __init__(self, entries: Sequence[MonitorEntry] = (), default: str | None = None) -> None:
        """List app monitors; `default` is the id of the one that takes what names none of them."""
        self.entries = {each.id.lower(): each for each in entries}
        self._default = self.entries.get((default or "").lower())
        self._only = next(iter(self.entries.values())) if len(self.entries) == 1 else None

    @classmethod
    def of(cls, entries: Sequence[MonitorEntry], exporter: RumConfig) -> Monitors:
        """List app monitors; the default is that of the exporter's own configuration."""
        own = exporter.app_monitor_id
        if not entries or own is None:
            return cls(entries)
        is_listed = own.lower() in {each.id.lower() for each in entries}
        default = MonitorEntry(own, exporter.app_monitor_name, exporter.app_version, exporter.alias)
        return cls(entries if is_listed else [*entries, default], own)

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def has_limits(self) -> bool:
        """Whether some app monitor takes only so much."""
        return any(each.records.is_limit for each in self.entries.values())

    def get(self, monitor_id: str) -> MonitorEntry | None:
        """Return the entry of an app monitor."""
        return self.entries.get(monitor_id.lower())

    def assigned(self, items: Sequence[Any]) -> list[Any]:
        """Return items with the app monitor that they go to on their resource.

        Shape:  one for one, in order. What names no listed one, where there is no default, names none afterwards.
        """
        known: dict[int, Resource] = {}  # the items hold the resources, so their ids stay theirs
        return [self._assigned(item, known) for item in items]

    def _assigned(self, item: Span | Log, known: dict[int, Resource]) -> Span | Log:
        resource = known.get(id(item.resource))
        if resource is None:
            resource = known[id(item.resource)] = Resource(self._attributes(item.resource.attributes))
        return msgspec.structs.replace(item, resource=resource)

    def _attributes(self, said: Mapping[str, Any]) -> dict[str, Any]:
        chosen = said.get(MONITOR_ID) or None
        entry = self.get(chosen) if isinstance(chosen, str) else None
        entry = entry or self._default or (self._only if chosen is None else None)
        others = {name: value for name, value in said.items() if not name.startswith(_OWN)}
        return others if entry is None else {**others, **entry.identity}
