"""What may leave the process: URLs and texts as they are shown, and attributes that stay because of their names.

All that conversion takes over from items passes through here, before it waits, in memory or on a disk.

Source: the deny-lists of logfire's scrubbing and of sentry-sdk's EventScrubber, for names.
"""

from __future__ import annotations

import re

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import secrets, urls

# headers and cookies, statements and query texts, message bodies, people, the session itself, arguments of code
_LEFT_OUT = re.compile(
    r"db\.(?:statement(?:\..*)?|query\.(?:text|parameter.*)|operation\.parameter.*|user|connection_string)"
    r"|db\.\w+\.(?:values|args|parameters)(?!_length$).*|graphql\.(?:document|source|operation\.body|variables?).*|(?:faas\.)?(?:cypher|sql|query)"
    r"|(?:http|rpc|messaging)\..*(?:header|metadata|cookie|(?:body|payload)(?![._]size(?:_bytes)?$)).*|.*\.(?:header|cookies?)\..*"
    r"|gen_ai\..*(?:messages|prompt|completion|instructions|arguments|result).*|gen_ai\.(?:prompt|completion)"
    r"|(?:user|enduser)\..*|session\.previous_id|code\.(?:args|arguments|locals).*"
    r"|process\.(?:command.*|env.*|owner)",
    re.DOTALL,
)
_ELSEWHERE = re.compile(r"exception\..*|event\.name|otel\.event\.name", re.DOTALL)  # in an event, by names of its own
_SECRET = re.compile(
    r"token(?!s)|secret|passw|passphrase|pwd|authorization|api[-_.]?key|access[-_.]?key|private[-_.]?key|credential"
    r"|cookie|csrf|xsrf|bearer|session[-_.]?(?:id|key)|sessid|connect\.sid|social[-_.]?security"
    r"|(?:credit|debit|payment)[-_.]?card|card[-_.]?(?:number|pan)|auth[-_.]?(?:header|code)"
    r"|(?:^|[-_.])(?:auth|jwt|otp|pin|pan|ssn|iban|cv[vc]2?|sid|e?-?mail|phone)(?:$|[-_.]?(?:address|number)$)",
    re.IGNORECASE,
)
_CLIENT_ADDRESS = re.compile(
    r"client\.(?:port|socket\..*)|(?:net\.(?:sock\.)?peer|network\.peer)\..*|(?:.*[-_.])?client[-_.]?(?:ip|address)"
    r"|peer\.(?:address|ipv[46]|hostname|port)|source\.(?:address|port)"
    r"|(?:.*[-_.])?(?:x[-_.]forwarded[-_.]for|forwarded[-_.]for|x[-_.]real[-_.]ip|connecting[-_.]ip"
    r"|remote[-_.]?(?:addr(?:ess)?|ip))",
    re.IGNORECASE | re.DOTALL,
)

_LONG_NUMBER, _LONGER_NUMBER = 10**13, 10**19  # between them are the numbers of payment cards

# URLs that have no query, fragment, userinfo, parameters, and nothing long enough for a secret: most, known for a third of the time
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9_-]{0,12}(?:[!$&'()*,./:=~][A-Za-z0-9_-]{0,12})*")


def url(value: str, config: RumConfig) -> str:
    """Return a URL as it is shown: without userinfo, its query as `url_query` says, secrets in its path hidden."""
    if _PLAIN_URL.fullmatch(value):
        return value
    shown = urls.redact(value, config.url_query)
    if not config.redact_text:
        return shown
    if config.url_query != "keep":
        return secrets.hide_values(shown)
    path, mark, query = shown.partition("?")
    return secrets.hide_values(path) + mark + query


def text(value: str, config: RumConfig) -> str:
    """Return a text as it is shown: its URLs redacted, and secrets and personal data hidden wherever they are."""
    shown = urls.redact_text(value, config.url_query)
    return secrets.hide(shown) if config.redact_text else shown


def page(name: str, config: RumConfig) -> str:
    """Return the name of a page or a screen as it is shown."""
    return secrets.hide_values(name) if config.redact_text else name


def head(value: str, length: int, config: RumConfig) -> str:
    """Return the first characters of a text as it is shown, without the half of a secret at their end."""
    return text(value[: length + secrets.REACH], config)[:length]


def tail(value: str, length: int, config: RumConfig) -> str:
    """Return the last characters of a text as it is shown, without the half of a secret at their beginning."""
    return text(value[-length - secrets.REACH :], config)[-length:]


def attribute(name: str, value: str, config: RumConfig) -> str:
    """Return the value of an attribute as it is shown: it is a URL, by its name, or a text."""
    if name.endswith(("url.query", "url.fragment")):
        return url("?" + value, config)[1:]
    return url(value, config) if name in urls.ATTRIBUTES else text(value, config)


def number(value: float, config: RumConfig) -> float | str:
    """Return a number as it is shown: one of a payment card is hidden."""
    if not _LONG_NUMBER <= abs(value) < _LONGER_NUMBER or value != int(value):
        return value
    digits = str(int(value))
    shown = text(digits, config)
    return value if shown == digits else shown


def is_left_out(name: str) -> bool:
    """Tell whether an attribute's name says that its value is secret, personal, or not an attribute of an event."""
    return _is_private(name) or _ELSEWHERE.fullmatch(name) is not None


def _is_private(name: str) -> bool:
    return bool(_SECRET.search(name) or _LEFT_OUT.fullmatch(name) or is_client_address(name))


def is_member_left_out(path: str) -> bool:
    """Tell whether a member of a map is secret or personal, by its own name or with those around it: `http.request.body`."""
    while not _is_private(path):
        _, dot, path = path.partition(".")
        if not dot:
            return False
    return True


def is_client_address(name: str) -> bool:
    """Tell whether an attribute is the network address of a client, which is never sent."""
    return _CLIENT_ADDRESS.fullmatch(name) is not None
