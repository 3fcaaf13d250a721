"""What conversion returns: events that still lack their session and page, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from otel_rum_exporter.convert.attributes import Text
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import prepared
from otel_rum_exporter.events import NO_CLIENT, NO_PAGE, AppMonitor, Client, CustomEvent, Details, Page, PageViewEvent

CustomAttributes = Mapping[str, str | float | int | bool]

TITLE = "app.screen.title"
"""The attribute of a screen's title; OpenTelemetry has none, so this one is ours."""

NOTHING: Mapping[Any, Any] = MappingProxyType({})
"""What stands for no attributes and no facts: one object, where `{}` as a default would be a new one each time."""

Key = tuple[str, int]
"""What something is known as in its session: its kind, and a digest or an id of at most 64 bits.

The same in every process, and without the URLs and messages that it was made of: it is remembered, and may be written
to a disk.
"""


Counts = Literal["first", "last_waiting", "latest"]
"""Which of several reports of the same is the event: the first by its time, or the last before one is sent.

With `last_waiting` none counts after that; with `latest` the last of those once more.
"""


class Once(Struct, frozen=True, gc=False):
    """Events with the same key are one event: `counts` says which.

    Units:  within_ns is how far apart two of them may be; None is any distance. reported_ns says which is the last, in
            epoch nanoseconds.
    """

    key: Key
    within_ns: int | None = None
    counts: Counts = "first"
    reported_ns: int = 0


@prepared
class Said(Struct, frozen=True, kw_only=True, gc=False):
    """What any item may say of whose it is and where it happened."""

    session: Text = field(name="session.id", default=None)
    previous_session: Text = field(name="session.previous_id", default=None)
    user_id: Text = field(name="user.id", default=None)
    pseudonym: Text = field(name="enduser.pseudo.id", default=None)
    enduser: Text = field(name="enduser.id", default=None)
    installation: Text = field(name="app.installation.id", default=None)
    document_url: Text = field(name="browser.document.url.full", default=None)
    screen_title: Text = field(name=TITLE, default=None)

    @property
    def user(self) -> str | None:
        """The user, by the first name that OpenTelemetry has for one."""
        return self.user_id or self.pseudonym or self.enduser or self.installation


class Facts(Protocol):
    """What items of a session have said that its other items need."""

    def fact(self, key: Key) -> Any:
        """Return what is known under a key, None if nothing is."""


class Deferred(Struct, frozen=True, kw_only=True, gc=False):
    """Details that other items of the session complete, which may arrive later: resolved when the batch is built.

    Shape:  members that msgspec writes and reads, each subclass with a tag: `drafts` keeps what waits.
    """

    type_: str

    def resolve(self, session: Facts) -> Details | DropReason:
        """Return the details, or why there are none after all."""
        raise NotImplementedError


class Part(Struct, frozen=True, gc=False):
    """An event of an item.

    `name` tells the events of an item apart; the session remembers the event's id under `known_as`; `is_limited` says
    that a page may have only so many of its kind.
    """

    name: str
    time_ns: int
    details: Details | CustomEvent | Deferred
    once: Once | None = None
    known_as: Key | None = None
    is_limited: bool = False


class Found(Struct, frozen=True, gc=False):
    """What an item holds: events, and facts for other items of its session. Shape: either may be empty, not both."""

    parts: list[Part]
    facts: Mapping[Key, Any] = NOTHING


class Origin(Struct, frozen=True, gc=False):
    """What a resource and a scope say of an item: its app monitor, and whether a user's device produced it.

    `monitor` is None where neither the configuration nor the resource names one; `is_client` is None where nothing
    tells, and the session's other items decide; `attributes` are the resource's; `is_own` marks what this package itself
    reports.
    """

    monitor: AppMonitor | None
    is_client: bool | None
    client: Client
    session: str | None = None
    user: str | None = None
    attributes: Mapping[str, Any] = NOTHING
    is_own: bool = False


NO_ORIGIN = Origin(None, None, NO_CLIENT)
"""Of items whose resource and scope say nothing."""


class Draft(Struct, frozen=True, gc=False):
    """An event without its session.

    `details` is JSON text, unless it is known only when the batch is built: a page view's place among the session's
    pages, and what other items complete. `page` is set where the item itself names it, as entry spans of servers do.
    """

    id: str
    time_ns: int
    type: str
    details: str | PageViewEvent | Deferred
    page: Page = NO_PAGE
    domain: str | None = None
    attributes: CustomAttributes = NOTHING
    once: Once | None = None
    is_limited: bool = False


class Conversion(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one item.

    Shape:  events or facts, or the end of the session; `session` and `user` as the item names them, or None; `seen` is
            when the user was on which page, where the item itself says so.
    Units:  the time in `seen` is in epoch nanoseconds.
    """

    session: str | None
    user: str | None
    origin: Origin
    events: list[Draft]
    facts: Mapping[Key, Any] = NOTHING
    seen: tuple[int, str] | None = None
    previous_session: str | None = None
    ends_session: bool = False
