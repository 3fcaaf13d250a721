"""URLs: the page they name, the host they name, and secrets taken out of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit

from otel_rum_exporter.config import PageIdFormat, UrlQuery
from otel_rum_exporter.convert import secrets
from otel_rum_exporter.convert.secrets import HIDDEN

_SECRET = re.compile(
    r"token|secret|passw|pwd|passphrase|auth|api[-_.]?key|access[-_.]?key|signature|credential|session|jwt|otp"
    r"|private|bearer",
    re.IGNORECASE,
)
# of codes only one that is called so: zip_code, country_code and status_code are none; ticket_id is a help desk's
_SECRET_NAMES = frozenset({"sig", "key", "sid", "code", "pin", "hmac", "ticket", "x-amz-credential"})
# of signed URLs, which are as good as a password; Source: OpenTelemetry's semantic conventions, url.full
_SIGNATURE_NAMES = frozenset({
    "x-amz-signature", "x-amz-credential", "x-amz-security-token", "awsaccesskeyid", "signature", "sig",
    "x-goog-signature",
})  # fmt: skip
_PAIR = re.compile(r"[^&;]+")
_PATH_PAIR = re.compile(r"(?<=;)[^;/]+")  # /cart;jsessionid=...
_JWT = re.compile(r"^eyJ[\w-]+\.[\w-]*\.[\w-]*$")
# what a value has that is not just a word: of the others none holds a name, or a URL
_UNUSUAL = re.compile(r"[^\w.,~+!*-]|^eyJ")
_NESTED_NAME = re.compile(
    r"""(?<![\w.\[\]$-])([\w.\[\]$-]+)(?:=(?=[^&;#\s])|["']\s{0,2}:\s{0,2}(?=[^\s,}\]]))"""  # of a query, of JSON
)
_NESTED_PASSWORD = re.compile(r"//(?:[^/?#\s]*@|[^/?#\s@:\[]*:(?!\d*(?:[/?#,\s]|$)))")
# one that holds what separates pairs, and so ends in a later one
_SPLIT_PASSWORD = re.compile(r"//[^/?#\s@:\[&;]*:(?!\d*(?:[/?#,\s&;]|$))[^/?#\s@]*@")
# of a URL within a URL, too; JSON escapes slashes, and browsers take backslashes for slashes
_USERINFO = re.compile(r"(?:(?<=:[/\\]{2})|(?<=:\\/\\/))[^/\\\s?#]+@")
_BLANK = re.compile(r"[\t\r\n]")  # what parsers of URLs leave out
_NAME = r"(?:\[[0-9a-fA-F:.]+\]|[^:,/]*)"
# in texts a port may end at a quotation mark, a comma or a colon
_HOSTS = re.compile(rf"(?:{_NAME}(?::[0-9]*)?,)*{_NAME}(?:(?::[0-9]*)?(?:/|$)|:[0-9]+(?:[^\w:]|:$))")
_IN_TEXT = re.compile(
    # looking back comes after a character that is rare: three times as fast
    r"[a-z](?<![a-z0-9+.-].)(?:[a-z0-9+.-]{1,31}:\\{0,4}/\\{0,4}/"
    r"(?:[^\s/@:()]{0,64}:(?!\d+(?:[^\w@]|$))\S{0,256}@)?"  # a password, whatever it holds
    r"|(?<=d)ata:(?:[\w.+-]{1,64}/|[,;]))"
    r"(?:[^\s()]|\([^\s()]*\)?)+?(?=(?::\d+){0,2}(?:[\s)]|$))"  # without line and column
    r"|//(?<![\w:/\\]//)[^\s/@:\[]{0,64}:[^\s\[]{0,256}@[^\s()]*"
    r"|[?&](?P<query>(?:[^\s()?]|\([^\s()?]*\)?)+)",  # of a URL without a host
    re.IGNORECASE,
)
# what need not be parsed, which takes ten times as long
_SIMPLE = re.compile(r"https?://[A-Za-z0-9.-]+(?:\?|(?::[0-9]{1,4})?(?:/|$))")
_DECODERS = (unquote_plus, unquote, unquote, unquote, unquote)
_WEB = frozenset({"http", "https", "ws", "wss"})
_MAX_HOST = 253
_PUT_RUM_EVENTS = re.compile(r"/appmonitors/[0-9a-fA-F-]{36}/?$")
_OTLP = re.compile(r"/v1/(?:traces|logs|metrics)/?$")
_OTLP_METHODS = frozenset({"POST", "OPTIONS", None})  # browsers ask before they POST; None is not known
_AUTH_HOST = re.compile(
    r"(?:.*@)?(?:cognito-identity|sts)\.(?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?(?::[0-9]*)?$", re.IGNORECASE
)

# of these the URL is the content, a script, or the name of something that ends with the page
_CONTENT = frozenset({"data", "blob", "javascript"})
_NO_PAGES = re.compile(r"(?:file|view-source|chrome|edge|devtools|resource|.*-extension)$")
ATTRIBUTES = frozenset({"url.full", "http.url", "http.target", "browser.document.url.full"})
"""Attributes that are URLs."""

_KEPT = "".join(chr(code) for code in range(ord("!"), ord("~") + 1))
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
    path = _shown_path(parts.path) or "/"
    fragment = "#" + _without_secrets(parts.fragment, _redacted_pair) if parts.fragment else ""
    match page_id_format:
        case "path":
            return path
        case "hash":
            return fragment or path
        case "path_and_hash":
            return path + fragment


def encoded(url: str) -> str:
    """Return a URL, or a path, with spaces and all beyond ASCII percent-encoded, as browsers do.

    Python's servers hand paths on decoded, those of WSGI as if their bytes were Latin-1. What was encoded before stays so.
    """
    if url.isascii() and url.isprintable() and " " not in url:
        return url
    try:
        octets = url.encode("latin-1")
        octets.decode()
    except UnicodeError:
        octets = url.encode("utf-8", "surrogatepass")
    return quote(octets, safe=_KEPT)


def redact(url: str, url_query: UrlQuery) -> str:
    """Return the URL without userinfo, and its query as the option says. URLs that do not parse lose their query.

    A signature is taken out whatever the option says. Of `data:` URLs and others that are their own content only the scheme is left.
    """
    if _SIMPLE.match(url) and "#" not in url and "@" not in url and ";" not in url and url.isprintable():
        target, _, query = url.partition("?")
        shown = _shown_query(query, url_query)
        return url if shown == query else f"{target}?{shown}" if shown else target
    parts = split(url)
    if parts is None or _is_doubtful(parts, url):
        return _unparsed(url)
    if parts.scheme in _CONTENT:
        return parts.scheme + ":"
    authority, path = parts.netloc.rpartition("@")[2], _shown_path(parts.path)
    query, fragment = _shown_query(parts.query, url_query), _shown_query(parts.fragment, url_query)
    if (authority, path, query, fragment) != (parts.netloc, parts.path, parts.query, parts.fragment):
        url = parts._replace(netloc=authority, path=path, query=query, fragment=fragment).geturl()
    return _USERINFO.sub("", url) if "@" in url else url


def _is_doubtful(parts: SplitResult, url: str) -> bool:
    """Tell whether what parses as a port may be how a password begins: `redis://:12/3@cache`."""
    authority = parts.netloc
    if ":" not in authority or "@" in authority or "@" not in url:
        return False
    return parts.scheme not in _WEB or authority.endswith(":") or not (parts.path or "=" in url)


def _unparsed(url: str) -> str:
    """Return what is shown of a URL that does not parse: its password may hold `/`, `?` and `#`, and end at any `@`."""
    scheme, _, rest = _BLANK.sub("", url).partition("//")
    target = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    # what follows a colon and is no port may be the first half of a password
    return f"{scheme}//{target}" if _HOSTS.match(target) else f"{scheme}//"


def _shown_path(path: str) -> str:
    return _PATH_PAIR.sub(lambda pair: _redacted_pair(pair[0]), path) if ";" in path else path


def _shown_query(query: str, url_query: UrlQuery) -> str:
    """Return a query, or a fragment, as the option says."""
    if not query or url_query == "drop":
        return ""
    return _without_secrets(query, _redacted_pair if url_query == "redact" else _unsigned_pair)


def redact_text(text: str, url_query: UrlQuery) -> str:
    """Return a text with its URLs redacted, the queries of URLs without a host among them."""
    if ":" not in text and "?" not in text and "&" not in text:
        return text
    return _IN_TEXT.sub(lambda url: _redacted_in_text(url, url_query), text)


def _redacted_in_text(match: re.Match[str], url_query: UrlQuery) -> str:
    query = match["query"]
    if not query:
        return redact(match[0], url_query)
    if "=" not in query and "%" not in query:
        return match[0]  # a question in prose
    return match[0][0] + redact("?" + query, url_query)[1:]


def _without_secrets(query: str, shown: Callable[[str], str]) -> str:
    if "@" in query:
        query = _SPLIT_PASSWORD.sub(f"//{HIDDEN}@", query)
    if ";" in query:
        return _PAIR.sub(lambda pair: shown(pair[0]), query)
    return "&".join(map(shown, query.split("&")))


def _redacted_pair(pair: str) -> str:
    name, mark, value = pair.partition("=")
    if value and _is_secret(name):
        return f"{name}={HIDDEN}"
    if value.isalnum():
        return pair
    value = value if mark else name
    if not _UNUSUAL.search(value) or not any(map(_shows_secret, _readings(value))):
        return pair
    return f"{name}={HIDDEN}" if mark else HIDDEN


def _unsigned_pair(pair: str) -> str:
    name, mark, value = pair.partition("=")
    if value and _is_signature(name):
        return f"{name}={HIDDEN}"
    value = value if mark else name
    if value.isalnum() or not any(map(_shows_signature, _readings(value))):
        return pair
    return f"{name}={HIDDEN}" if mark else HIDDEN


def _readings(value: str) -> Iterator[str]:
    """Return a value as it is, and as what it is percent-encoded: once, and once more for each login it came through."""
    yield value
    for decoder in _DECODERS:
        decoded = decoder(value) if "%" in value else value
        if decoded == value:
            return
        value = decoded
        yield value


def _shows_secret(value: str) -> bool:
    """Tell whether a value is a token, or a URL, a query or JSON that holds a secret."""
    return bool(
        _JWT.match(value)
        or _NESTED_PASSWORD.search(value)
        or secrets.hide_keys(value) != value
        or any(map(_is_secret, _NESTED_NAME.findall(value)))
        or secrets.hide_named(value) != value
    )


def _shows_signature(value: str) -> bool:
    return any(map(_is_signature, _NESTED_NAME.findall(value)))


@lru_cache(maxsize=1024)  # an application's names are few
def _is_secret(name: str) -> bool:
    word = _word(name)
    return word in _SECRET_NAMES or _SECRET.search(word) is not None or secrets.is_name(word)


@lru_cache(maxsize=1024)
def _is_signature(name: str) -> bool:
    return _word(name) in _SIGNATURE_NAMES


def _word(name: str) -> str:
    *_, name = _readings(name)
    # a fragment may hold a path and a query of its own: #/route?token=...
    return name[max(name.rfind("?"), name.rfind("/")) + 1 :].lower()


def is_self_traffic(url: str | None, method: str | None = None) -> bool:
    """Tell whether a call is telemetry on its way, or asks for the credentials for it.

    OTLP is only ever POSTed: who GETs /v1/metrics asks an application for something of its own.
    """
    if not url:
        return False
    lowered = url.lower()
    if "/appmonitors/" not in lowered and "/v1/" not in lowered and "amazonaws.com" not in lowered:
        return False  # known for a twentieth of what parsing takes
    parts = split(url)
    if parts is None:
        return False
    if _PUT_RUM_EVENTS.search(parts.path) or _AUTH_HOST.match(parts.netloc):
        return True
    return method in _OTLP_METHODS and _OTLP.search(parts.path) is not None
