"""Clicks become `dom_event`: log events of the browser and of mobile apps, and user-interaction spans."""

from __future__ import annotations

import re

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy
from otel_rum_exporter.convert.attributes import Attributes, or_unset, text
from otel_rum_exporter.convert.conversion import Deferred, Facts, Key
from otel_rum_exporter.convert.ids import low_bits
from otel_rum_exporter.convert.times import known_ns
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.events import DomEvent
from otel_rum_exporter.items import SpanItem

_MAX_TEXT = 256
_ID_SELECTOR = re.compile(r"#((?:[\w-]|[^\x00-\x7f]|\\(?:[0-9a-fA-F]{1,6}[ \t\n]?|.))+)$", re.DOTALL)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})[ \t\n]?|(.))", re.DOTALL)
_ID_XPATH = re.compile(r"""//\*\[@id=(?:"([^"]+)"|'([^']+)')\]$""")
_PATH_XPATH = re.compile(r"(?:/[a-zA-Z][\w-]*(?:\[\d{1,6}\])?)+$")
_XPATH_STEP = re.compile(r"/([a-zA-Z][\w-]*)(?:\[(\d{1,6})\])?")


class SpanInteraction(Deferred, frozen=True, kw_only=True, gc=False, tag="interaction"):
    """The event of a user-interaction span. Listeners that an event bubbles to have spans too, below the first one's."""

    type_: str = DomEvent.type_
    event: DomEvent
    parent: int
    at_ns: int

    def resolve(self, session: Facts) -> DomEvent | DropReason:
        """Return the event, unless the span above tells of the same one."""
        above = session.fact(known_as(self.parent)) if self.parent else None
        if above is not None and above[0] == self.event.event and above[1] <= self.at_ns <= above[2]:
            return DropReason.DUPLICATE
        return self.event


def known_as(span: int) -> Key:
    """Return what a user-interaction span is known as: its DOM event, start and end in epoch nanoseconds."""
    return ("interaction", span)


def browser_click(attributes: Attributes, config: RumConfig) -> DomEvent:
    """Return the event of a `browser.user_action.click` record."""
    selector = text(attributes, "browser.css_selector")
    return DomEvent(
        event="click",
        element=_shown(text(attributes, "browser.tag_name"), config),
        elementId=_shown(_id_of(selector), config),
        cssLocator=_shown(selector, config),
    )


def mobile_click(attributes: Attributes, config: RumConfig) -> DomEvent:
    """Return the event of an `app.screen.click` or `app.widget.click` record."""
    return DomEvent(
        event="click",
        element=_shown(text(attributes, "app.widget.name"), config),
        elementId=_shown(text(attributes, "app.widget.id"), config),
    )


def interaction_span(span: SpanItem, attributes: Attributes, config: RumConfig) -> SpanInteraction | DropReason:
    """Return what a user-interaction span becomes. Errors: INCOMPLETE without the type of the DOM event."""
    kind, xpath = text(attributes, "event_type"), text(attributes, "target_xpath") or ""
    if kind is None:
        return DropReason.INCOMPLETE
    by_id = _ID_XPATH.match(xpath)
    event = DomEvent(
        event=well_formed(clip(kind, _MAX_TEXT)),
        element=_shown(text(attributes, "target_element"), config),
        elementId=_shown(by_id and (by_id[1] or by_id[2]), config),
        cssLocator=_shown(_css_of(xpath), config),
    )
    parent = low_bits(span.parent.span_id if span.parent else 0)
    return SpanInteraction(event=event, parent=parent, at_ns=known_ns(span.start_time))


def _shown(value: str | None, config: RumConfig) -> str:
    return or_unset(well_formed(clip(privacy.text(value, config), _MAX_TEXT)) if value else None)  # type: ignore[return-value]


def _id_of(selector: str | None) -> str | None:
    """Return the id that a selector of the form `#id` names, its escapes undone."""
    match = _ID_SELECTOR.match(selector or "")
    return _CSS_ESCAPE.sub(_unescaped, match[1]) if match else None


def _unescaped(escape: re.Match[str]) -> str:
    if escape[2] is not None:
        return escape[2]
    code = int(escape[1], 16)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"  # noqa: PLR2004 - Unicode


def _css_of(xpath: str) -> str | None:
    """Return an element's XPath as a CSS selector; None for other forms than `/html/body/div[2]`."""
    if not _PATH_XPATH.match(xpath):
        return None
    steps = _XPATH_STEP.findall(xpath)
    return ">".join(f"{tag}:nth-of-type({place})" if place else tag for tag, place in steps)
