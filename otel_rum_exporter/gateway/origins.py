"""Which web pages may send: origins, exact or with one wildcard for the hosts below a domain.

Source: Fetch standard, "CORS protocol". An origin that is allowed is named in the answer, never `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_AGE_S = 7200  # for which a browser may keep the answer to a preflight; Chrome's own limit

ALLOWED_HEADERS = "authorization, content-encoding, content-type, traceparent, tracestate, x-api-key"

ACCEPTED = "an origin such as https://shop.example, http://localhost:3000 or https://*.example.com"

_HOST = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_IPV6 = r"\[[0-9a-f:.]{2,45}\]"
_ORIGIN = re.compile(rf"https?://(?:(?:\*\.)?{_HOST}|{_IPV6})(?::[0-9]{{1,5}})?")
_BELOW = rf"{_HOST}\."
_LONGEST = 300  # characters; host names have 253
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

Header = tuple[str, str]


class Origins:
    """The origins that are allowed.

    Shape:  `https://*.example.com` is every host below example.com with https and the default port, not example.com itself.
    Errors: ValueError for what is no origin: a path, `*` alone, `null`, a wildcard that is not the first label or stands
            above a top-level domain.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(dict.fromkeys(map(_canonical, patterns)))
        self._expression = re.compile("|".join(map(_expression, self.patterns)) or r"(?!)")

    def allow(self, origin: str) -> bool:
        """Tell whether a request of this `Origin` is allowed. `null` never is: any sandboxed frame has it."""
        return len(origin) <= _LONGEST and self._expression.fullmatch(origin) is not None


@lru_cache(maxsize=1024)
def shared_headers(origin: str | None) -> tuple[Header, ...]:
    """Return what each answer says about origins; `origin` is None for one that is not allowed, or where there is none."""
    if origin is None:
        return (("vary", "origin"),)
    return (
        ("vary", "origin"),
        ("access-control-allow-origin", origin),
        # navigator.sendBeacon sends cookies along and asks for this; the gateway reads none
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "retry-after"),
    )


def preflight_headers() -> tuple[Header, ...]:
    """Return what the answer to a preflight says besides."""
    return (
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", ALLOWED_HEADERS),
        ("access-control-max-age", str(MAX_AGE_S)),
    )


def _canonical(pattern: str) -> str:
    """Return a pattern as browsers write origins: lower case, without the default port."""
    found = pattern.strip().lower()
    if len(found) > _LONGEST or not _ORIGIN.fullmatch(found):
        raise ValueError(ACCEPTED)
    scheme, _, host = found.partition("://")
    if host.startswith("*.") and "." not in host[2:]:
        raise ValueError(ACCEPTED)
    return found.removesuffix(_DEFAULT_PORTS[scheme])


def _expression(pattern: str) -> str:
    scheme, _, host = pattern.partition("://")
    if not host.startswith("*."):
        return re.escape(pattern)
    return re.escape(f"{scheme}://") + _BELOW + re.escape(host[2:])
