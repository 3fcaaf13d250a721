"""Where the user is: `browser.navigation` becomes a page view.

Whether it *is* a new page, and the page's place in the session, is decided by the session's context when the batch
is built: records arrive out of order.
"""

from __future__ import annotations

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import http, privacy, urls
from otel_rum_exporter.convert.attributes import Attributes, text
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.encoding import clip, well_formed
from otel_rum_exporter.events import PageViewEvent

_ROUTE = "Navigation: "

MAX_PAGE_ID = 256
"""Characters; the metadata schema's limit of a string."""


def page_id(url: str | None, config: RumConfig) -> str | None:
    """Return the page that a URL names as it is shown, None for URLs that name none."""
    page = urls.page_id(url, config.page_id_format)
    return page and privacy.page(page, config)


def page_view(attributes: Attributes, config: RumConfig) -> PageViewEvent | DropReason:
    """Return the view of the page that `url.full` names: on navigation records it is the destination.

    Errors: INCOMPLETE without a URL that parses, UNMAPPED for one that names no page, such as a file's.
    """
    url = text(attributes, "url.full")
    page = page_id(url, config)
    if page is None:
        return DropReason.UNMAPPED if url and urls.split(url) else DropReason.INCOMPLETE
    return PageViewEvent(pageId=clip(well_formed(page), MAX_PAGE_ID))


def route_view(span_name: str, config: RumConfig) -> PageViewEvent | None:
    """Return the view of the page that a user-interaction span went to; its name then is `Navigation: ` and the route."""
    if not span_name.startswith(_ROUTE):
        return None
    view = page_view({"url.full": span_name[len(_ROUTE) :]}, config)
    return None if isinstance(view, DropReason) else view


def server_page_id(attributes: Attributes, config: RumConfig) -> str | None:
    """Return the page that a server's caller asked for, None of calls that are not HTTP."""
    if not http.is_http(attributes):
        return None
    target = text(attributes, "url.path", "http.target")
    # a path may begin with two slashes, after which no host is named
    url = f"//-{target}" if target and target.startswith("/") else target or text(attributes, "http.url", "url.full")
    page = page_id(url and urls.encoded(url), config)
    return clip(well_formed(page), MAX_PAGE_ID) if page else None
