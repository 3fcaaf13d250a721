"""`browser.web_vital` log events become the six web vital events.

Source: web-vitals 5 for the names in the attribution, which differ from those of RUM in LCP's `target` and
        `resourceLoadDuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import navigation, privacy, resources
from otel_rum_exporter.convert.attributes import Attributes, is_number, number, text
from otel_rum_exporter.convert.conversion import Deferred, Facts, Found, Key, Once, Part
from otel_rum_exporter.convert.ids import digest
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, plain, well_formed
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
_GROWING = frozenset({"cls", "inp"})  # reported again as they grow, also long after the first report was sent
_MAX_BODY = 262_144  # characters; the body repeats performance entries
_MAX_TEXT = 1024  # characters of a selector or URL


class LinkedPaint(Deferred, frozen=True, kw_only=True, gc=False, tag="paint"):
    """LCP, whose attribution names the events of its page's load and of its image, once these are known."""

    type_: str = LargestContentfulPaintEvent.type_
    event: LargestContentfulPaintEvent
    page: int
    resource: Key | None

    def resolve(self, session: Facts) -> LargestContentfulPaintEvent:
        """Return the event with the ids that are known."""
        load = session.fact(navigation.known_as(self.page)) or session.fact(navigation.span_known_as(self.page))
        image = None if self.resource is None else session.fact(self.resource)
        ids = {"navigationEntry": load, "lcpResourceEntry": image}
        known = {name: event_id for name, event_id in ids.items() if event_id is not None}
        attribution = self.event.attribution
        if attribution is msgspec.UNSET or not known:
            return self.event
        return msgspec.structs.replace(self.event, attribution=msgspec.structs.replace(attribution, **known))


class SpanVital(Deferred, frozen=True, kw_only=True, gc=False, tag="vital"):
    """A paint or first byte that `documentLoad` or `documentFetch` tells of, for want of a web vital.

    Units:  `at_ns` is in epoch nanoseconds.
    """

    name: str
    at_ns: int
    load: Mapping[str, int]
    trace: int

    def resolve(self, session: Facts) -> Details | DropReason:
        """Return the event, unless the session reports this web vital itself."""
        if session.fact(_known_as(self.name)) is not None:
            return DropReason.DUPLICATE
        origin_ns = navigation.time_origin_ns(self.load, session.fact(navigation.fetch_known_as(self.trace)))
        # a mark at the origin itself was 0: it did not happen
        if origin_ns is None or self.at_ns <= origin_ns:
            return DropReason.INCOMPLETE
        return _VITALS[self.name][0](value=(self.at_ns - origin_ns) / 1e6)  # type: ignore[call-arg]


def from_log(
    attributes: Attributes, body: Any, time_ns: int, reported_ns: int, config: RumConfig
) -> Found | DropReason:
    """Return what a `browser.web_vital` record holds, which was reported later than it happened.

    Errors: as `web_vital`.
    """
    event = web_vital(attributes, body, config)
    if isinstance(event, DropReason):
        return event
    name = text(_fields(attributes, body), "name") or ""
    details = _linked(event, body) if isinstance(event, LargestContentfulPaintEvent) else event
    return Found([Part("vital", time_ns, details, once(attributes, body, reported_ns))], {_known_as(name): True})


def from_span(name: str, at_ns: int, load: Mapping[str, int], trace: int) -> SpanVital:
    """Return the vital that a mark of a page's load stands for."""
    return SpanVital(type_=_VITALS[name][0].type_, name=name, at_ns=at_ns, load=load, trace=trace)


def _known_as(name: str) -> Key:
    """Return what it is known as that the session reports a web vital itself."""
    return ("vital", digest(name))


def web_vital(attributes: Attributes, body: Any, config: RumConfig) -> Details | DropReason:
    """Return the event of a web vital. Errors: UNMAPPED for a name RUM has no type for, INCOMPLETE without a value."""
    fields = _fields(attributes, body)
    types = _VITALS.get(text(fields, "name") or "")
    if types is None:
        return DropReason.UNMAPPED
    value = number(fields, "value")
    if value is None or value < 0:
        return DropReason.INCOMPLETE
    event_type, attribution_type = types
    return event_type(value=value, attribution=_attribution(attribution_type, body, config))  # type: ignore[call-arg]


def once(attributes: Attributes, body: Any, reported_ns: int) -> Once | None:
    """Return what makes two reports the same metric of a page: its id."""
    fields = _fields(attributes, body)
    name, metric_id = text(fields, "name"), text(fields, "id")
    if not metric_id:
        return None
    key = ("vital", digest(f"{name} {metric_id}"))
    return Once(key, counts="latest" if name in _GROWING else "last_waiting", reported_ns=reported_ns)


def _fields(attributes: Attributes, body: Any) -> Mapping[str, Any]:
    """Return name, value and id: attributes since semantic conventions 1.44, members of the body before."""
    prefix, old = "browser.web_vital.", body if isinstance(body, Mapping) else {}
    return {name: attributes.get(prefix + name, old.get(name)) for name in ("name", "value", "id")}


def _attribution(attribution_type: type[msgspec.Struct], body: Any, config: RumConfig) -> Any:
    """Return the attribution in the body, or nothing where a required member is missing: RUM refuses partial ones."""
    members = _object(body)
    return msgspec.UNSET if members is None else _checked(attribution_type, members, config)


def _object(body: Any) -> Mapping[str, Any] | None:
    if isinstance(body, str) and len(body) <= _MAX_BODY:
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return None
    return body if isinstance(body, Mapping) else None


def _linked(event: LargestContentfulPaintEvent, body: Any) -> LargestContentfulPaintEvent | LinkedPaint:
    """Return LCP with what its two performance entries are known as."""
    members = _object(body) or {}
    page, image = (members.get(name) for name in ("navigationEntry", "lcpResourceEntry"))
    url = text(page, "name") if isinstance(page, Mapping) else None
    resource = None
    if isinstance(image, Mapping):
        start, duration = number(image, "startTime"), number(image, "duration")
        if start is not None and duration is not None:
            resource = resources.known_as(text(image, "name"), start, duration)
    if not url and resource is None:
        return event
    return LinkedPaint(event=event, page=navigation.page_key(url), resource=resource)


def _checked(attribution_type: type[msgspec.Struct], body: Mapping[Any, Any], config: RumConfig) -> Any:
    members = {_RENAMED.get(name, name): value for name, value in body.items()}
    attribution = {}
    for field in msgspec.structs.fields(attribution_type):
        value = plain(members.get(field.name))
        if field.name in _NOT_COPIED or not (is_number(value) or isinstance(value, str)):
            continue
        try:
            value = _shown(field.name, value, config) if isinstance(value, str) else value
            attribution[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            continue
    if any(field.required and field.name not in attribution for field in msgspec.structs.fields(attribution_type)):
        return msgspec.UNSET
    return attribution_type(**attribution)


def _shown(name: str, value: str, config: RumConfig) -> str:
    value = well_formed(clip(value, _MAX_TEXT))
    return privacy.url(value, config) if name == "url" else privacy.text(value, config)
