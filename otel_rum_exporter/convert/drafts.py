"""Events that wait, as bytes: what is written to a disk is resolved after a restart as it would have been before."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from otel_rum_exporter.convert.conversion import NOTHING, CustomAttributes, Draft
from otel_rum_exporter.convert.interaction import SpanInteraction
from otel_rum_exporter.convert.navigation import SpanNavigation
from otel_rum_exporter.convert.resources import SpanResource
from otel_rum_exporter.convert.vitals import LinkedPaint, SpanVital
from otel_rum_exporter.events import NO_PAGE, Page, PageViewEvent

Unresolved = LinkedPaint | SpanInteraction | SpanNavigation | SpanResource | SpanVital
"""All details that other items complete. Their tags are what tells them apart on a disk."""


class _Kept(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A Draft as it is written: views stand apart, since of a union's members each needs a tag, which events lack."""

    id: str
    time_ns: int
    type: str
    details: str | Unresolved | None = None
    view: PageViewEvent | None = None
    page: Page = NO_PAGE
    domain: str | None = None
    attributes: CustomAttributes = {}
    is_limited: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Kept)


def encode_draft(draft: Draft) -> bytes:
    """Return an event that waits as bytes.

    Shape:  MessagePack, whose numbers and texts come back as they were; `once` is not kept, since it is decided before
            an event waits.
    """
    view = draft.details if isinstance(draft.details, PageViewEvent) else None
    kept = _Kept(
        id=draft.id,
        time_ns=draft.time_ns,
        type=draft.type,
        details=None if view else draft.details,  # type: ignore[arg-type]  # the Deferred types are these
        view=view,
        page=draft.page,
        domain=draft.domain,
        attributes=dict(draft.attributes),
        is_limited=draft.is_limited,
    )
    return _encoder.encode(kept)


def decode_draft(data: bytes) -> Draft:
    """Return the event that `encode_draft` wrote. Errors: ValueError for anything else."""
    try:
        kept = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from error
    details = kept.details if kept.view is None else kept.view
    if details is None:
        raise ValueError("not an event: it has no details")
    return Draft(
        id=kept.id,
        time_ns=kept.time_ns,
        type=kept.type,
        details=details,
        page=kept.page,
        domain=kept.domain,
        attributes=kept.attributes or NOTHING,
        is_limited=kept.is_limited,
    )
