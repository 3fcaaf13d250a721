"""What the mobile distributions send: screens, app starts, crashes, hangs.

Source: AWS Distro for OpenTelemetry on Android and Swift, 2025-11. Its own way to CloudWatch RUM is OTLP; this is for
        telemetry that is forwarded to a web app monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy
from otel_rum_exporter.convert.attributes import Attributes, text
from otel_rum_exporter.convert.custom import allowed, event_type
from otel_rum_exporter.convert.pages import MAX_PAGE_ID
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.events import CustomEvent, PageViewEvent
from otel_rum_exporter.items import SpanItem

LIFECYCLE_SCOPE = "io.opentelemetry.lifecycle"
SHOWN = ("Created", "Restarted", "Resumed")
"""Lifecycle spans after which the user sees the screen."""

IOS_LIFECYCLE = ("UIApplicationDid", "UIApplicationWill")
"""How the names of spans and log events begin that tell of iOS's life cycle, which RUM knows nothing like."""

STARTS = {"AppStart": "app.start"}
"""Spans that become custom events of another name."""

DURATIONS = ("app.screen.time_to_first_appear", "app.screen.time_to_first_draw")
"""Spans that become custom events of their own name."""

FAULTS = {"device.crash": "crash", "app.crash": "crash", "device.anr": "ANR", "device.hang": "hang"}
"""Log events and spans of an app that ended or stood still, and the type of their errors for want of a better one."""

_MESSAGES = {"ANR": "Application not responding"}


def screen_name(attributes: Attributes, config: RumConfig) -> str | None:
    """Return the screen that an item names, which is an app's page, as it is shown."""
    name = text(attributes, "app.screen.name", "screen.name")
    return name and privacy.page(name, config)


def screen(attributes: Attributes, config: RumConfig) -> PageViewEvent | DropReason:
    """Return the view of a screen. Errors: INCOMPLETE without its name."""
    name = screen_name(attributes, config)
    return PageViewEvent(pageId=clip(well_formed(name), MAX_PAGE_ID)) if name else DropReason.INCOMPLETE


def timing(span: SpanItem, attributes: Attributes, config: RumConfig) -> CustomEvent:
    """Return the custom event of a span that times the app or a screen. Units: durationMs is in milliseconds."""
    details: dict[str, Any] = {"version": "1.0.0"}
    if span.start_time and span.end_time:
        details["durationMs"] = max(0, span.end_time - span.start_time) / 1e6
    kind = text(attributes, "start.type")
    if kind:
        details["startType"] = kind
    details["attributes"] = allowed(attributes, config)
    return CustomEvent(event_type(STARTS.get(span.name, span.name)), details)


def fault(name: str, attributes: Attributes) -> Mapping[str, Any]:
    """Return a fault's attributes as those of an exception."""
    kind = text(attributes, "exception.type") or FAULTS[name]
    message = text(attributes, "exception.message") or _MESSAGES.get(kind) or kind
    return {**attributes, "exception.type": kind, "exception.message": message}
