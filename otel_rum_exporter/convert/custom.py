"""What RUM has no type for: custom events of named log events and span events, and `otel.span`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy
from otel_rum_exporter.convert.attributes import MAX_NAME, MAX_TEXT, Attributes, jsonable
from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.events import CustomEvent
from otel_rum_exporter.items import SpanItem

SPAN_TYPE = "otel.span"

_MAX_TYPE = 256  # characters; ^[a-zA-Z0-9_.-]{1,256}$
_MAX_ATTRIBUTES = 128
_MAX_DESCRIPTION = 1024  # characters
_VERSION = "1.0.0"

_NOT_IN_TYPE = re.compile(r"[^a-zA-Z0-9_.-]")

# marks that instrumentations write as span events; http, navigation and resource events consume them
MARKS = frozenset({
    "fetchStart", "unloadEventStart", "unloadEventEnd", "redirectStart", "redirectEnd", "domainLookupStart",
    "domainLookupEnd", "connectStart", "secureConnectionStart", "connectEnd", "requestStart", "responseStart",
    "responseEnd", "domLoading", "domInteractive", "domContentLoadedEventStart", "domContentLoadedEventEnd",
    "domComplete", "loadEventStart", "loadEventEnd", "firstPaint", "firstContentfulPaint",
    "open", "send", "loaded", "error", "abort", "timeout", "message",
})  # fmt: skip


def event_type(name: str) -> str:
    """Return an event's name as a RUM type: 1 to 256 of letters, digits, `_`, `.` and `-`; AWS's own prefix is not."""
    sanitised = _NOT_IN_TYPE.sub("_", name[:_MAX_TYPE])
    return ("custom." + sanitised)[:_MAX_TYPE] if sanitised.lower().startswith("com.amazon.") else sanitised


def named_event(name: str, attributes: Attributes, config: RumConfig, body: Any = None) -> CustomEvent:
    """Return the custom event of a named log event or span event."""
    shown = _shown(name, config)
    details: dict[str, Any] = {"version": _VERSION, "name": shown, "attributes": allowed(attributes, config)}
    value = _redacted("", jsonable(body), config)
    if value not in (None, {}, "", []):
        details["body"] = value
    return CustomEvent(event_type(shown), details)


def span_event(span: SpanItem, attributes: Attributes, config: RumConfig) -> CustomEvent:
    """Return the custom event `otel.span` of a span without a built-in type. Units: durationMs is in milliseconds."""
    details: dict[str, Any] = {"version": _VERSION, "name": _shown(span.name, config)}
    details["kind"] = span.kind.name if isinstance(span.kind, SpanKind) else "INTERNAL"
    details["status"] = span.status.status_code.name if isinstance(span.status.status_code, StatusCode) else "UNSET"
    if span.status.description:
        details["statusDescription"] = privacy.head(well_formed(span.status.description), _MAX_DESCRIPTION, config)
    if span.start_time and span.end_time:
        details["durationMs"] = max(0, span.end_time - span.start_time) / 1e6
    if span.context is not None and span.context.span_id:
        details["traceId"] = f"{span.context.trace_id:032x}"
        details["spanId"] = f"{span.context.span_id:016x}"
    scope = span.instrumentation_scope
    if scope is not None and scope.name:
        details["scope"] = scope.name
    details["attributes"] = allowed(attributes, config)
    return CustomEvent(SPAN_TYPE, details)


def allowed(attributes: Mapping[Any, Any], config: RumConfig) -> dict[str, Any]:
    """Return the attributes that may leave the process, as JSON can hold them.

    Shape:  at most 128, and no more than fit into an event; secrets taken out of them and of their names; without those whose names say that they
            are secret.
    """
    kept: dict[str, Any] = {}
    room = MAX_TEXT
    for name in attributes:
        if room <= 0 or len(kept) >= _MAX_ATTRIBUTES:
            break
        if not isinstance(name, str) or privacy.is_left_out(name):
            continue
        value = _redacted(name, jsonable(attributes[name]), config)
        if value is not None:
            kept[_shown(name, config, MAX_NAME)] = value
            room -= len(name) + len(value if isinstance(value, str) else str(value))
    return kept


def _redacted(name: str, value: Any, config: RumConfig) -> Any:
    """Return what `jsonable` returned with secrets taken out, and without members that their names leave out."""
    if isinstance(value, str):
        return privacy.attribute(name, value, config)
    if isinstance(value, int | float):
        return privacy.number(value, config)
    if isinstance(value, list):
        return [_redacted(name, member, config) for member in value]
    if isinstance(value, dict):
        members = ((key, f"{name}.{key}" if name else key, member) for key, member in value.items())
        return {
            _shown(key, config, MAX_NAME): _redacted(path, member, config)
            for key, path, member in members
            if not privacy.is_member_left_out(path)
        }
    return value


def _shown(name: str, config: RumConfig, length: int = MAX_TEXT) -> str:
    """Return a name as it is shown: some instrumentations give spans the URL for a name."""
    return privacy.text(clip(well_formed(name), length), config)
