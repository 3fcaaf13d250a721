"""The user's own say in conversion: the option `convert`, a function that sees each item and what it would become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from otel_rum_exporter.convert.conversion import Deferred, Found, Part
from otel_rum_exporter.convert.custom import event_type
from otel_rum_exporter.convert.pages import MAX_PAGE_ID
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, encode, prepared
from otel_rum_exporter.events import CustomEvent, Details, PageViewEvent
from otel_rum_exporter.items import LogItem, SpanItem

Event = Details | CustomEvent | Deferred
"""What the function is given and may return; a Deferred waits for other items and can only be kept or left out."""

ConvertHook = Callable[[SpanItem | LogItem, Sequence[Event]], Iterable[Event] | None]


def prepare() -> None:
    """Prepare the models of all events, which what a function returns is read into."""
    kinds: list[type[Details]] = [Details]
    while kinds:
        kind = prepared(kinds.pop())
        kinds += kind.__subclasses__()


def apply(hook: ConvertHook, item: SpanItem | LogItem, found: Found | DropReason, time_ns: int) -> Found | DropReason:
    """Return what the user's function makes of an item.

    Args:
        hook: The function.
        item: The item.
        found: What it would become without the function.
        time_ns: When events that the function adds happened: the item's time, in epoch nanoseconds.

    Errors: SELF_TRAFFIC for items that are not the user's, which the function never sees. HOOK if the function returned nothing for an item that would have become something. Raises what the
            function raises, TypeError for what is no event, ValueError for a custom event without a type and a view
            without a page, and msgspec.ValidationError for an event that its schema does not allow.
    """
    if found is DropReason.SELF_TRAFFIC:
        return found
    parts = [] if isinstance(found, DropReason) else list(found.parts)
    returned = list(hook(item, [part.details for part in parts]) or ())
    if not returned:
        if isinstance(found, DropReason) or not found.parts:
            return found
        # leaving out an item's own events does not change what it says of others
        return Found([], found.facts) if found.facts else DropReason.HOOK
    facts = {} if isinstance(found, DropReason) else found.facts
    return Found([_part(event, parts, time_ns, index) for index, event in enumerate(returned)], facts)


def _part(event: Event, parts: list[Part], time_ns: int, index: int) -> Part:
    """Return the part that an event stands for: its own, that of the event it was made of, or a new one."""
    same = next((part for part in parts if part.details is event), None)
    if same is not None:
        parts.remove(same)
        return same
    checked = _checked(event)
    replaced = next((part for part in parts if part.details.type_ == checked.type_), None)
    if replaced is None:
        return Part(f"hook:{index}", time_ns, checked)
    parts.remove(replaced)
    return msgspec.structs.replace(replaced, details=checked)


def _checked(event: Event) -> Details | CustomEvent:
    if isinstance(event, CustomEvent):
        if not event.type_:
            raise ValueError("The convert function returned a custom event without a type")
        return CustomEvent(event_type(event.type_), event.details)
    if not isinstance(event, Details):
        raise TypeError(f"The convert function returned {type(event).__name__}, which is no RUM event")
    # structs do not check their members when they are made
    checked: Details = msgspec.json.decode(encode(event), type=type(event))
    return _fitting(checked) if isinstance(checked, PageViewEvent) else checked


def _fitting(view: PageViewEvent) -> PageViewEvent:
    """Return the view with a page as the metadata of all that happens on it may have it."""
    if not view.pageId:
        raise ValueError("The convert function returned a page view without a page")
    return msgspec.structs.replace(view, pageId=clip(view.pageId, MAX_PAGE_ID))
