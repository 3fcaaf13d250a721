"""`browser.web_vital` log events become the six web vital events.

Source: web-vitals 5 for the names in the attribution, which differ from those of RUM in LCP's `target` and
        `resourceLoadDuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from otel_rum_exporter.convert.attributes import Attributes, is_number, number, text
from otel_rum_exporter.convert.conversion import Once
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, plain
from otel_rum_exporter.events import (
    CumulativeLayoutShiftAttribution,
    CumulativeLayoutShiftEvent,
    Details,
    FirstContentfulPaintAttribution,
    FirstContentfulPaintEvent,
    FirstInputDelayAttribution,
    FirstInputDelayEvent,
    InteractionToNextPaintAttribution,
    InteractionToNextPaintEvent,
    LargestContentfulPaintAttribution,
    LargestContentfulPaintEvent,
    TimeToFirstByteAttribution,
    TimeToFirstByteEvent,
)

_VITALS: dict[str, tuple[type[Details], type[msgspec.Struct]]] = {
    "cls": (CumulativeLayoutShiftEvent, CumulativeLayoutShiftAttribution),
    "fcp": (FirstContentfulPaintEvent, FirstContentfulPaintAttribution),
    "fid": (FirstInputDelayEvent, FirstInputDelayAttribution),
    "inp": (InteractionToNextPaintEvent, InteractionToNextPaintAttribution),
    "lcp": (LargestContentfulPaintEvent, LargestContentfulPaintAttribution),
    "ttfb": (TimeToFirstByteEvent, TimeToFirstByteAttribution),
}
_RENAMED = {"target": "element", "resourceLoadDuration": "resourceLoadTime"}
# web-vitals gives whole performance entries under these names, RUM wants ids of its events
_NOT_COPIED = frozenset({"navigationEntry", "lcpResourceEntry"})
_GROWING = frozenset({"cls", "inp"})  # reported again as they grow; the last report counts
_MAX_BODY = 262_144  # characters; the body repeats performance entries
_MAX_TEXT = 1024  # characters of a selector or URL


def web_vital(attributes: Attributes, body: Any) -> Details | DropReason:
    """Return the event of a web vital. Errors: UNMAPPED for a name RUM has no type for, INCOMPLETE without a value."""
    fields = _fields(attributes, body)
    types = _VITALS.get(text(fields, "name") or "")
    if types is None:
        return DropReason.UNMAPPED
    value = number(fields, "value")
    if value is None:
        return DropReason.INCOMPLETE
    event_type, attribution_type = types
    return event_type(value=value, attribution=_attribution(attribution_type, body))  # type: ignore[call-arg]


def once(attributes: Attributes, body: Any) -> Once | None:
    """Return what makes two reports the same metric of a page: its id."""
    fields = _fields(attributes, body)
    name, metric_id = text(fields, "name"), text(fields, "id")
    return Once(("vital", name, metric_id), latest=name in _GROWING) if metric_id else None


def _fields(attributes: Attributes, body: Any) -> Mapping[str, Any]:
    """Return name, value and id: attributes since semantic conventions 1.44, members of the body before."""
    prefix = "browser.web_vital."
    if prefix + "name" in attributes or not isinstance(body, Mapping):
        return {name: attributes.get(prefix + name) for name in ("name", "value", "id")}
    return body


def _attribution(attribution_type: type[msgspec.Struct], body: Any) -> Any:
    """Return the attribution in the body, or nothing where a required member is missing: RUM refuses partial ones."""
    if isinstance(body, str) and len(body) <= _MAX_BODY:
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return msgspec.UNSET
    elif not isinstance(body, Mapping):
        return msgspec.UNSET
    if not isinstance(body, Mapping):
        return msgspec.UNSET
    return _checked(attribution_type, body)


def _checked(attribution_type: type[msgspec.Struct], body: Mapping[Any, Any]) -> Any:
    members = {_RENAMED.get(name, name): value for name, value in body.items()}
    attribution = {}
    for field in msgspec.structs.fields(attribution_type):
        value = plain(members.get(field.name))
        if field.name in _NOT_COPIED or not (is_number(value) or isinstance(value, str)):
            continue
        try:
            value = clip(value, _MAX_TEXT) if isinstance(value, str) else value
            attribution[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            continue
    if any(field.required and field.name not in attribution for field in msgspec.structs.fields(attribution_type)):
        return msgspec.UNSET
    return attribution_type(**attribution)
