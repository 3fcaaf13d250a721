"""Secrets and personal data in text: e-mail addresses, tokens, keys, passwords, card numbers, each hidden by a marker.

Every pattern takes time in proportion to the text: what repeats is bounded, or cannot begin again where it failed.
Before the dearer ones a look for a word that all their matches hold says whether there is anything to do.

Source: RFC 7519 for tokens, ISO/IEC 7812 for card numbers, IAM's user guide for the prefixes of access keys.
"""

from __future__ import annotations

import re

HIDDEN = "REDACTED"
"""What stands where something was taken out; the word that OpenTelemetry's conventions have for it in URLs."""

REACH = 4096
"""Characters that a secret may have on either side of where a text is cut, and still be known as one."""

# --- what looks like a secret by itself

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]+(?:@|%(?:25)?40)"
    # code and files have an @, too: react@18.2.0.tgz, icon@2x.png, render@app.min.js
    r"(?!v?\d+\.\d|[\w.-]*\.(?:[cm]?[jt]sx?|s?css|json|x?html?|map|vue|wasm|png|jpe?g|gif|svg|webp|avif|ico)(?![\w-]))"
    r"(?:[\w-]+\.)+(?:[^\W\d_]{2,}|xn--[\w-]+)(?!\w)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz)[\w+/=%-]{16,}"  # session tokens of AWS
    r"|eyJ[\w-]{10,}(?:\.[\w-]*)*"  # an object of JSON in base64: JWTs, session cookies
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|npm_[A-Za-z0-9]{30,}"
    r"|[rs]k_(?:live|test)_\w{16,}|sk-(?:proj-)?\w{32,}|xox[abeoprs]-[\w-]{10,}|AIza[\w-]{35})"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*(?:-{1,4}[^-]+)*(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?"
)
_CARD = re.compile(
    r"(?<![A-Za-z0-9])(?<![0-9]\.)(?=3[04-8]|4|5[1-5]|2[2-7]|6[0245])"
    r"(?:[0-9]{14,19}|[0-9]{4}([ +\xa0-]|%20)(?:[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{6}\1[0-9]{4,5}))"
    r"(?![A-Za-z0-9]|\.[0-9])"
)
_NO_DIGITS = re.compile(r"%20|[^0-9]")
# American Express; Diners; JCB; Visa; Mastercard; Discover; UnionPay
_ISSUED = re.compile(
    r"3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}|4[0-9]{15}"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}|62[0-9]{14,17}"
)

# --- what is one by the name before it

# of these a colon will do; of the weak ones an error may speak: "Unexpected token: x"
_STRONG = (
    r"passw(?:or)?d|passphrase|pwd|(?:access|auth|refresh|id|session|security|csrf|xsrf|bearer|api)[-_]?token(?!s)"
    r"|api[-_]?key|access[-_]?key(?:[-_]?id)?|secret[-_]?(?:access[-_]?)?key|client[-_]?secret|private[-_]?key"
    r"|(?:account|storage|master|encryption|signing|subscription)[-_]?key"  # in connection strings of Azure
)
_CODE = (
    "device[-_]?code|verification[-_]?code|confirmation[-_]?code|reset[-_]?code|recovery[-_]?code|security[-_]?code"
    "|one[-_]?time[-_]?code|oobcode|code[-_]?verifier"
)
_WEAK = (
    r"token(?!s)|secret|credentials?|authorization|jwt|session_?id|sessid|connect\.sid|saml(?:request|response|art)"
    rf"|cv[vc]2?|{_CODE}"
    r"|(?<![a-z])(?:pass|otp|ssn|iban)(?![a-z_-])"
    r"|(?<![\w-])ticket(?==(?:ST|PT|PGT|TGT)-)"  # of CAS: a log may speak of a help desk's
)
_PAIR = re.compile(
    rf"""(?P<name>
        (?P<strong>{_STRONG})[\w-]{{0,32}}(?:\\{{0,4}}["'])?\s{{0,4}}(?:=(?![=>])|:(?!:))\s{{0,4}}
        | (?P<weak>{_WEAK})[\w-]{{0,32}}(?:=(?![=>\s])|\\{{0,4}}["']\s{{0,4}}[:=]\s{{0,4}})
    )(?!{HIDDEN})(?:
        (?P<quote>\\{{0,4}}["'])[^"'\\\n]+
        |
        (?!(?:None|null|true|false|undefined)\b)
        (?![A-Za-z_][\w.]{{0,64}}[(\[{{])  # code that a traceback quotes: password=read(path)
        (?!(?:\w{{1,64}}\.){{0,4}}\w{{0,32}}?(?:(?P=strong)|(?P=weak))\b)  # and password=self.password
        (?![A-Za-z']{{1,64}},?[ ][A-Za-z])  # a sentence: password: must not be empty
        [^\s"'\\&;,(){{}}\[\]<>]+
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = re.compile(
    r"""\b(authorization|cookie)(\\{0,4}["']?\s{0,4}:\s{0,4}\\{0,4}["']?)(?=[^\r\n"']{0,256}[0-9=])[^\r\n"'\\]+""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)( {1,4})(?=[A-Za-z._~+/-]{0,256}[0-9=])[\w.~+/=-]{8,}", re.IGNORECASE)
# each begins with a letter of its own, which makes a search for all of them twice as fast
_WORD = re.compile(
    rf"pass|pwd|token|secret|key|cred|authori|cookie|jwt|sess|\.sid|saml|cv|otp=|ssn|iban|ticket=|bearer|basic|{_CODE}"
)
_NAME = re.compile(f"{_STRONG}|{_WEAK}", re.IGNORECASE)
_LONG = re.compile(r"[A-Za-z0-9_+% \xa0-]{13}")


def hide(text: str) -> str:
    """Return a text with its secrets and personal data hidden: what looks so by itself, and what a name says is so.

    Shape:  a name stays, its value is hidden: `password=REDACTED`.
    """
    return hide_values(hide_named(text))


def hide_named(text: str) -> str:
    """Return a text without the values of which a name says that they are secrets."""
    if (" " in text or "=" in text or ":" in text) and _WORD.search(text.lower()):
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
        text = _PAIR.sub(_hidden_pair, text)
    return text


def is_name(word: str) -> bool:
    """Tell whether a value after this name is hidden in texts."""
    return _NAME.search(word) is not None


def hide_values(text: str) -> str:
    """Return a text without what looks like a secret or like personal data by itself."""
    if "@" in text or ("%" in text and ("%40" in text or "%2540" in text)):
        text = _EMAIL.sub(HIDDEN, text)
    return hide_keys(text)


def hide_keys(text: str) -> str:
    """Return a text without what looks like a token, a key or the number of a payment card by itself."""
    if not _LONG.search(text):
        return text
    return _CARD.sub(_hidden_card, _KEY.sub(HIDDEN, _PRIVATE_KEY.sub(HIDDEN, text)))


def _hidden_pair(pair: re.Match[str]) -> str:
    return f"{pair['name']}{pair['quote'] or ''}{HIDDEN}"


def _hidden_card(number: re.Match[str]) -> str:
    digits = _NO_DIGITS.sub("", number[0])
    return HIDDEN if _ISSUED.fullmatch(digits) and _has_check_digit(digits) else number[0]


def _has_check_digit(digits: str) -> bool:
    """Tell whether a number ends in Luhn's check digit."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0
