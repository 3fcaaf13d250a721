"""URLs: the page they name, the host they name, and secrets taken out of them."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from otel_rum_exporter.config import PageIdFormat, UrlQuery

_SECRET = re.compile(
    r"token|secret|passw|pwd|passphrase|auth|api[-_.]?key|access[-_.]?key|signature|credential|session|jwt|otp"
    r"|private|bearer",
    re.IGNORECASE,
)
_SECRET_NAMES = frozenset({"sig", "key", "sid", "code", "pin", "hmac", "x-amz-credential"})
_PAIR = re.compile(r"[^&;]+")
_JWT = re.compile(r"^eyJ[\w-]+\.[\w-]*\.[\w-]*$")
_USERINFO = re.compile(r"//[^/]*@")
_REDACTED = "REDACTED"
_IN_TEXT = re.compile(
    r"(?<![a-z0-9+.-])(?:[a-z][a-z0-9+.-]{1,31}://|data:[\w.+-]{1,64}/)"
    r"[^\s()]+?(?=(?::\d+){0,2}(?:[\s()]|$))"  # without line and column
    r"|(?<=\?)[^\s()?]+",  # the query of a URL without a host
    re.IGNORECASE,
)
_MAX_HOST = 253
_ENDPOINTS = re.compile(
    r"/appmonitors/[0-9a-fA-F-]{36}/?$|/v1/(?:traces|logs|metrics)/?$"  # PutRumEvents, OTLP/HTTP
)
_AUTH_HOST = re.compile(r"^(?:cognito-identity|sts)\.(?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?$")

# of these the URL is the content, a script, or the name of something that ends with the page
_CONTENT = frozenset({"data", "blob", "javascript"})
_NO_PAGES = re.compile(r"(?:file|view-source|chrome|edge|devtools|resource|.*-extension)$")
_ATTRIBUTES = frozenset({"url.full", "http.url", "http.target", "url.query", "browser.document.url.full"})

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
    fragment = "#" + _without_secrets(parts.fragment) if parts.fragment else ""
    match page_id_format:
        case "path":
            return path
        case "hash":
            return fragment or path
        case "path_and_hash":
            return path + fragment


def redact(url: str, url_query: UrlQuery) -> str:
    """Return the URL without userinfo, and its query as the option says. URLs that do not parse lose their query.

    Of `data:` URLs and others that are their own content only the scheme is left.
    """
    parts = split(url)
    if parts is None:
        return _USERINFO.sub("//", re.split(r"[?#]", url, maxsplit=1)[0])
    if parts.scheme in _CONTENT:
        return parts.scheme + ":"
    authority = parts.netloc.rpartition("@")[2]
    query = "" if url_query == "drop" else parts.query
    fragment = "" if url_query == "drop" else parts.fragment
    if url_query == "redact":
        query, fragment = _without_secrets(query), _without_secrets(fragment)
    if (authority, query, fragment) == (parts.netloc, parts.query, parts.fragment):
        return url
    return parts._replace(netloc=authority, query=query, fragment=fragment).geturl()


def redact_text(text: str, url_query: UrlQuery) -> str:
    """Return a text with its URLs redacted, the queries of URLs without a host among them."""
    if ":" not in text and "?" not in text:
        return text
    return _IN_TEXT.sub(lambda url: _redacted_in_text(url[0], url_query), text)


def redact_attribute(name: str, value: str, url_query: UrlQuery) -> str:
    """Return the value of an attribute with its URLs redacted: it is one, by its name, or may hold some."""
    if name == "url.query":
        return redact("?" + value, url_query)[1:]
    return redact(value, url_query) if name in _ATTRIBUTES else redact_text(value, url_query)


def _redacted_in_text(url: str, url_query: UrlQuery) -> str:
    if "://" in url or url[:5].lower() == "data:":
        return redact(url, url_query)
    if "=" not in url:
        return url  # a question in prose
    return redact("?" + url, url_query)[1:]


def _without_secrets(query: str) -> str:
    if "=" not in query:
        return query
    return _PAIR.sub(_redacted_pair, query)


def _redacted_pair(match: re.Match[str]) -> str:
    pair = match[0]
    name, equals, value = pair.partition("=")
    # a fragment may hold a path and a query of its own: #/route?token=...
    word = re.split(r"[?/]", name)[-1].lower()
    if value and (_SECRET.search(word) or word in _SECRET_NAMES or _JWT.match(value)):
        return name + equals + _REDACTED
    return pair


def is_self_traffic(url: str | None) -> bool:
    """Tell whether a URL is that of telemetry on its way, or of the credentials for it."""
    parts = split(url) if url else None
    if parts is None:
        return False
    return bool(_ENDPOINTS.search(parts.path) or _AUTH_HOST.match(parts.hostname or ""))
