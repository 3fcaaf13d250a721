"""What conversion returns: events that still lack their session and page, and whose they are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from otel_rum_exporter.events import NO_PAGE, AppMonitor, Client, Page, PageViewEvent

CustomAttributes = Mapping[str, str | float | int | bool]


class Once(NamedTuple):
    """Events with the same key are one event: the first, or with `latest` the last before it is sent.

    Units:  within_ns is how far apart two of them may be; None is any distance.
    """

    key: Hashable
    within_ns: int | None = None
    latest: bool = False


class Origin(Struct, frozen=True, gc=False):
    """What a resource and a scope say of an item: its app monitor, and whether a user's device produced it.

    `monitor` is None where neither the configuration nor the resource names one; `attributes` are the resource's.
    """

    monitor: AppMonitor | None
    is_client: bool
    client: Client
    session: str | None = None
    user: str | None = None
    attributes: Mapping[str, Any] = {}


class Draft(Struct, frozen=True, kw_only=True, gc=False):
    """An event without its session.

    `details` is JSON text; a page view stays a struct, since its place among the session's pages is known only
    when its batch is built. `page` is set where the item itself says it, as entry spans of servers do; `visit` names
    the page that the user is on from this moment.
    """

    id: str
    time_ns: int
    type: str
    details: str | PageViewEvent
    page: Page = NO_PAGE
    domain: str | None = None
    attributes: CustomAttributes = {}
    once: Once | None = None


class Conversion(Struct, frozen=True, kw_only=True, gc=False):
    """The events of one item. Shape: at least one; `session` and `user` as the item names them, or None."""

    session: str | None
    user: str | None
    origin: Origin
    events: list[Draft]
