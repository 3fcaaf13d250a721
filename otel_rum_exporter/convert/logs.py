"""Log records: which family an event name belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import custom, errors, interaction, mobile, navigation, pages, resources, vitals
from otel_rum_exporter.convert.attributes import Attributes, text
from otel_rum_exporter.convert.conversion import Found, Origin, Part
from otel_rum_exporter.convert.ids import low_bits
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import CustomEvent, Details, SessionStartEvent
from otel_rum_exporter.items import LogRecordItem

END = "session.end"


class Log(Struct, frozen=True, gc=False):
    """A log record, as far as conversion needs it."""

    record: LogRecordItem
    name: str
    attributes: Attributes
    origin: Origin
    time_ns: int


def read(log: Log, config: RumConfig) -> Found | DropReason:
    """Return what a log record holds.

    Errors: UNMAPPED for plain records and for what RUM knows nothing like, FILTERED by the option `custom_events`.
    """
    family = FAMILIES.get(log.name)
    if family is not _fault and errors.is_exception(log.attributes):
        return Found([_exception(log, log.attributes, config)])
    if family is not None:
        return family(log, config)
    if not log.name or log.name in UNMAPPED or log.name.startswith(mobile.IOS_LIFECYCLE):
        return DropReason.UNMAPPED
    wanted = ("all",) if log.name == "browser.console" else ("events", "spans", "all")
    if config.custom_events not in wanted:
        return DropReason.FILTERED
    return _found(log, custom.named_event(log.name, log.attributes, config, log.record.body))


def _exception(log: Log, attributes: Attributes, config: RumConfig) -> Part:
    trace = low_bits(log.record.trace_id)
    details, once = errors.exception(attributes, config, log.origin, trace=trace, time_ns=log.time_ns)
    return Part("exception", log.time_ns, details, once)


def _found(log: Log, details: Details | CustomEvent | DropReason) -> Found | DropReason:
    return details if isinstance(details, DropReason) else Found([Part("log", log.time_ns, details)])


def _navigation(log: Log, config: RumConfig) -> Found | DropReason:
    return _found(log, pages.page_view(log.attributes, config))


def _navigation_timing(log: Log, _config: RumConfig) -> Found | DropReason:
    event = navigation.from_log(log.attributes)
    if isinstance(event, DropReason):
        return event
    known_as = navigation.known_as(navigation.page_key(text(log.attributes, "url.full", "navigation.url")))
    return Found([Part("navigation", log.time_ns, event, known_as=known_as)])


def _resource_timing(log: Log, config: RumConfig) -> Found | DropReason:
    event = resources.from_log(log.attributes, config)
    if isinstance(event, DropReason):
        return event
    known_as, is_limited = None, event.fileType in resources.LIMITED
    # a paint is of an image, whose extension need not be known
    if isinstance(event.startTime, int | float) and is_limited:
        known_as = resources.known_as(text(log.attributes, "url.full"), event.startTime, event.duration)
    return Found([Part("resource", log.time_ns, event, known_as=known_as, is_limited=is_limited)])


def _web_vital(log: Log, config: RumConfig) -> Found | DropReason:
    reported_ns = known_ns(log.record.observed_timestamp, log.time_ns)
    return vitals.from_log(log.attributes, log.record.body, log.time_ns, reported_ns, config)


def _browser_click(log: Log, config: RumConfig) -> Found | DropReason:
    return _found(log, interaction.browser_click(log.attributes, config))


def _mobile_click(log: Log, config: RumConfig) -> Found | DropReason:
    return _found(log, interaction.mobile_click(log.attributes, config))


def _screen(log: Log, config: RumConfig) -> Found | DropReason:
    return _found(log, mobile.screen(log.attributes, config))


def _fault(log: Log, config: RumConfig) -> Found | DropReason:
    return Found([_exception(log, mobile.fault(log.name, log.attributes), config)])


def _session_start(log: Log, _config: RumConfig) -> Found | DropReason:
    return _found(log, SessionStartEvent())


FAMILIES: Mapping[str, Callable[[Log, RumConfig], Found | DropReason]] = {
    "session.start": _session_start,
    "browser.navigation": _navigation,
    "browser.navigation_timing": _navigation_timing,
    "browser.resource_timing": _resource_timing,
    "browser.web_vital": _web_vital,
    "browser.user_action.click": _browser_click,
    "app.screen.click": _mobile_click,
    "app.widget.click": _mobile_click,
    "app.screen.view_did_appear": _screen,
    **dict.fromkeys((name for name in mobile.FAULTS if name != "device.hang"), _fault),
}
"""Log events with a type of their own."""

UNMAPPED = frozenset({END, "app.jank", "network.change", "device.app.lifecycle", "device.battery"})
"""Log events that RUM knows nothing like."""


def with_body(name: str, attributes: dict[str, Any], body: Any) -> dict[str, Any]:
    """Return the attributes with what old semantic conventions put into the body of session events."""
    if name in ("session.start", END) and isinstance(body, Mapping):
        return {**body, **attributes}
    return attributes
