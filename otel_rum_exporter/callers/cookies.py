"""Cookies of requests: taken apart, and aws-rum-web's read. Pure; browsers are strangers, so nothing here raises.

Source: aws-rum-web 3.2, SessionManager and cookies-utils: `cwr_s` is `btoa(JSON.stringify(session))`, `cwr_u` the
user id as it is; with the option `unique` the first is called `cwr_s_<app monitor id>`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from otel_rum_exporter.callers.callers import CallerSession, Ignored
from otel_rum_exporter.config import UUID_SHAPE
from otel_rum_exporter.convert.pages import MAX_PAGE_ID
from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.sessions.identity import NOBODY

SESSION = "cwr_s"
"""The cookie of aws-rum-web's session."""

USER = "cwr_u"
"""The cookie of aws-rum-web's user."""

MAX_HEADER = 16_384
"""Characters of all of a request's cookies together; web servers take hardly more."""

MAX_VALUE = 4096
"""Characters of one value; RFC 6265 asks browsers for no more."""


class _Page(Struct):
    pageId: str | None = None  # noqa: N815 - the JSON's name
    interaction: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class _Session(Struct):
    sessionId: str  # noqa: N815 - the JSON's name
    record: bool = True
    page: _Page | None = None


_decoder = msgspec.json.Decoder(_Session)


def pairs(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values of `Cookie` headers, of which HTTP/2 allows several."""
    for header in headers:
        for pair in header.split(";"):
            name, separator, value = pair.partition("=")
            if separator:
                yield name.strip(), value.strip().strip('"')


def session(value: str) -> CallerSession | Ignored:
    """Return the session that aws-rum-web's session cookie holds, or why it holds none."""
    try:
        # btoa takes characters up to U+00FF, a byte each; like atob this does without the padding
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return Ignored.NOT_BASE64
    try:
        found = _decoder.decode(decoded)
    except msgspec.ValidationError:
        return Ignored.WRONG_TYPE
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Ignored.NOT_JSON
    if not is_uuid(found.sessionId):
        return Ignored.NO_UUID
    page = found.page or _Page()
    page_id = clip(well_formed(page.pageId), MAX_PAGE_ID) if page.pageId else None
    return CallerSession(session=found.sessionId, page_id=page_id, interaction=page.interaction, record=found.record)


def is_session(name: str) -> bool:
    """Tell whether a cookie of this name is aws-rum-web's session."""
    return name == SESSION or name.startswith(SESSION + "_")


def is_uuid(value: str) -> bool:
    """Tell whether aws-rum-web could have made this id for somebody."""
    return UUID_SHAPE.fullmatch(value) is not None and value != NOBODY
