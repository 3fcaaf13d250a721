"""URLs: the page they name, the host they name, and secrets taken out of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from otel_rum_exporter.config import PageIdFormat, UrlQuery
from otel_rum_exporter.convert.secrets import HIDDEN

_SECRET = re.compile(
    r"token|secret|passw|pwd|passphrase|auth|api[-_.]?key|access[-_.]?key|signature|credential|session|jwt|otp"
    r"|private|bearer",
    re.IGNORECASE,
)
_SECRET_NAMES = frozenset({"sig", "key", "sid", "code", "pin", "hmac", "x-amz-credential"})
# of signed URLs, which are as good as a password; Source: OpenTelemetry's semantic conventions, url.full
_SIGNATURE_NAMES = frozenset({
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "awsaccesskeyid", "signature", "sig",
    "x-goog-signature",
})  # fmt: skip
_PAIR = re.compile(r"[^&;]+")
_JWT = re.compile(r"^eyJ[\w-]+\.[\w-]*\.[\w-]*$")
_USERINFO = re.compile(r"//[^/]*@")
_IN_TEXT = re.compile(
    r"(?<![a-z0-9+.-])(?:[a-z][a-z0-9+.-]{1,31}://|data:[\w.+-]{1,64}/)"
    r"[^\s()]+?(?=(?::\d+){0,2}(?:[\s()]|$))"  # without line and column
    r"|(?<=\?)[^\s()?]+",  # the query of a URL without a host
    re.IGNORECASE,
)
# what need not be parsed, which takes ten times as long
_SIMPLE = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,4})?(?:[/?]|$)")
_MAX_HOST = 253
_ENDPOINTS = re.compile(
    r"/appmonitors/[0-9a-fA-F-]{36}/?$|/v1/(?:traces|logs|metrics)/?$"  # PutRumEvents, OTLP/HTTP
)
_AUTH_HOST = re.compile(
    r"(?:.*@)?(?:cognito-identity|sts)\.(?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?(?::[0-9]*)?$", re.IGNORECASE
)

# of these the URL is the content, a script, or the name of something that ends with the page
_CONTENT = frozenset({"data", "blob", "javascript"})
_NO_PAGES = re.compile(r"(?:file|view-source|chrome|edge|devtools|resource|.*-extension)$")
ATTRIBUTES = frozenset({"url.full", "http.url", "http.target", "browser.document.url.full"})
"""Attributes that are URLs."""

_UNSPECIFIED = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - recognised in telemetry, not bound to


@lru_cache(maxsize=1024)
def split(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None if it does not parse."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def host(url: str | None) -> str | None:
    """Return the bare host name of an absolute URL: no port, no brackets."""
    parts = split(url) if url else None
    name = parts.hostname if parts and parts.scheme in ("http", "https") else None
    return name if name and _is_host(name) else None


def bare_host(authority: str | None) -> str | None:
    """Return the host of `host:port`, None for addresses that servers bind to."""
    parts = authority_parts(authority) if authority else None
    name = parts.hostname if parts else None
    return name if name and name not in _UNSPECIFIED and _is_host(name) else None


def _is_host(name: str) -> bool:
    return len(name) <= _MAX_HOST and name.isprintable()


def authority_parts(authority: str) -> SplitResult | None:
    """Return the parts of `host:port`, where IPv6 addresses may lack their brackets; None if it does not parse."""
    is_bare_ipv6 = authority.count(":") > 1 and "[" not in authority
    return split(f"//[{authority}]" if is_bare_ipv6 else f"//{authority}")


def is_unspecified(authority: str) -> bool:
    """Tell whether `host:port` is one of the addresses that servers bind to, which are nobody's domain."""
    parts = authority_parts(authority)
    return parts is not None and (parts.hostname or "") in _UNSPECIFIED


def page_id(url: str | None, page_id_format: PageIdFormat) -> str | None:
    """Return the page that a URL names, as aws-rum-web does: never its query, percent-encoding kept.

    Shape:  pages are on hosts: of the web, or of an app as in `capacitor://localhost/cart`; a path alone is one, too.
            Files, browser extensions, `about:`, `data:` and their like are none. A fragment's secrets are taken out.
    """
    parts = split(url) if url else None
    if parts is None or (parts.scheme and (not parts.netloc or _NO_PAGES.match(parts.scheme))):
        return None
    path = parts.path or "/"
    fragment = "#" + _without_secrets(parts.fragment, _redacted_pair) if parts.fragment else ""
    match page_id_format:
        case "path":
            return path
        case "hash":
            return fragment or path
        case "path_and_hash":
            return path + fragment


def redact(url: str, url_query: UrlQuery) -> str:
    """Return the URL without userinfo, and its query as the option says. URLs that do not parse lose their query.

    A signature is taken out whatever the option says. Of `data:` URLs and others that are their own content only the scheme is left.
    """
    if _SIMPLE.match(url) and "#" not in url and url.isprintable():
        target, _, query = url.partition("?")
        shown = _shown_query(query, url_query)
        return url if shown == query else f"{target}?{shown}" if shown else target
    parts = split(url)
    if parts is None:
        return _USERINFO.sub("//", re.split(r"[?#]", url, maxsplit=1)[0])
    if parts.scheme in _CONTENT:
        return parts.scheme + ":"
    authority = parts.netloc.rpartition("@")[2]
    query, fragment = _shown_query(parts.query, url_query), _shown_query(parts.fragment, url_query)
    if (authority, query, fragment) == (parts.netloc, parts.query, parts.fragment):
        return url
    return parts._replace(netloc=authority, query=query, fragment=fragment).geturl()


def _shown_query(query: str, url_query: UrlQuery) -> str:
    """Return a query, or a fragment, as the option says."""
    if not query or url_query == "drop":
        return ""
    return _without_secrets(query, _redacted_pair if url_query == "redact" else _unsigned_pair)


def redact_text(text: str, url_query: UrlQuery) -> str:
    """Return a text with its URLs redacted, the queries of URLs without a host among them."""
    if ":" not in text and "?" not in text:
        return text
    return _IN_TEXT.sub(lambda url: _redacted_in_text(url[0], url_query), text)


def _redacted_in_text(url: str, url_query: UrlQuery) -> str:
    if "://" in url or url[:5].lower() == "data:":
        return redact(url, url_query)
    if "=" not in url:
        return url  # a question in prose
    return redact("?" + url, url_query)[1:]


def _without_secrets(query: str, redacted: Callable[[re.Match[str]], str]) -> str:
    return _PAIR.sub(redacted, query) if "=" in query else query


def _redacted_pair(match: re.Match[str]) -> str:
    name, _, value = match[0].partition("=")
    is_hidden = value and (_is_secret(name) or _JWT.match(value))
    return f"{name}={HIDDEN}" if is_hidden else match[0]


@lru_cache(maxsize=1024)  # an application's names are few
def _is_secret(name: str) -> bool:
    word = _word(name)
    return word in _SECRET_NAMES or _SECRET.search(word) is not None


def _unsigned_pair(match: re.Match[str]) -> str:
    name, _, value = match[0].partition("=")
    return f"{name}={HIDDEN}" if value and _word(name) in _SIGNATURE_NAMES else match[0]


def _word(name: str) -> str:
    # a fragment may hold a path and a query of its own: #/route?token=...
    return name[max(name.rfind("?"), name.rfind("/")) + 1 :].lower()


def is_self_traffic(url: str | None) -> bool:
    """Tell whether a URL is that of telemetry on its way, or of the credentials for it."""
    if not url:
        return False
    lowered = url.lower()
    if "/appmonitors/" not in lowered and "/v1/" not in lowered and "amazonaws.com" not in lowered:
        return False  # known for a twentieth of what parsing takes
    parts = split(url)
    if parts is None:
        return False
    return bool(_ENDPOINTS.search(parts.path) or _AUTH_HOST.match(parts.netloc))
