"""What metadata may hold: the known fields, page tags and the application's own attributes."""

import re
from collections.abc import Mapping
from typing import Any

from otel_rum_exporter.local.rules import Rule, array, boolean, each, either, number, one_of, text

MAX_ATTRIBUTES = 10
"""Custom attributes per event, session and page together; the service removes the excess."""

_KEY = re.compile(r"(?!pageTags).{1,128}")
_SHORT_TEXT = text(max_length=256)
_TAGS = array(text())
_ATTRIBUTE = either(_SHORT_TEXT, boolean, number)

KNOWN: dict[str, Rule] = {
    "version": one_of("1.0.0"),
    "interaction": number,
    "pageTags": _TAGS,
    **each(_SHORT_TEXT, "browserLanguage browserName browserVersion osName osVersion deviceType platformType domain"),
    **each(_SHORT_TEXT, "pageUrl url pageId parentPageId referrerUrl pageTitle title countryCode subdivisionCode"),
    **each(_SHORT_TEXT, "aws:client aws:clientVersion aws:releaseId aws:userAgent"),
}
REQUIRED = ("version", "domain")


def problem_in(metadata: Mapping[str, Any]) -> str | None:
    """Return what is wrong with an event's merged metadata, or None."""
    for key in REQUIRED:
        if key not in metadata:
            return f"metadata.{key} is required, in the event's metadata or in SessionMetadata"
    return next(filter(None, (_problem_of(key, value) for key, value in metadata.items())), None)


def count_attributes(metadata: Mapping[str, Any]) -> int:
    """Return the number of the application's own attributes."""
    return len(metadata.keys() - KNOWN.keys())


def _problem_of(key: str, value: Any) -> str | None:
    path = f"metadata.{key}"
    if key in KNOWN:
        return KNOWN[key](value, path)
    if key.startswith("pageTags"):
        return _TAGS(value, path)
    # every other key with pageTags inside would have to be an array and a scalar at once
    if "pageTags" in key or not _KEY.fullmatch(key):
        return f"{path} is no legal key"
    return _ATTRIBUTE(value, path)
