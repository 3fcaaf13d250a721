"""OTLP's JSON as some senders write it: what no parser takes becomes what it stands for, before it is parsed once more."""

from __future__ import annotations

import re
from decimal import Decimal

# half of a character of two, without its other half before or after it
_HALF = re.compile(rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F]..)", re.DOTALL)
_MAX_REPLACED = 10_000  # each costs some time and memory

# members of 64 bits whose number has a fraction or an exponent; of few digits, since what fits has no more
_NUMBER = re.compile(
    rb'(?<!\\)("(?:startTimeUnixNano|endTimeUnixNano|timeUnixNano|observedTimeUnixNano|intValue)"\s*:\s*"?)'
    rb"(-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30}(?:[eE][+-]?[0-9]{1,3})?|[eE][+-]?[0-9]{1,3}))(?![0-9.eE])"
)
_MAX_NUMBERS = 25_000  # likewise; as many spans as a request may have have two each
_END = 2**64


def whole_characters(text: bytes) -> bytes:
    """Return JSON with U+FFFD for halves of characters: browsers write them where a script has cut text."""
    if b"\\u" not in text or text.count(rb"\\") > _MAX_REPLACED:
        return text
    # without escaped backslashes each \u is an escape
    return _HALF.sub(rb"\\ufffd", text.replace(rb"\\", rb"\u005c"), _MAX_REPLACED)


def whole_numbers(text: bytes) -> bytes:
    """Return JSON with the digits of integers that are written as 1.7e18, as protobuf's own parsers take them.

    Shape:  what is no integer of 64 bits stays as it is, for the parser to refuse.
    """
    return _NUMBER.sub(_in_digits, text, _MAX_NUMBERS)


def _in_digits(found: re.Match[bytes]) -> bytes:
    number = Decimal(found[2].decode())
    if abs(number) >= _END or number != number.to_integral_value():
        return found[0]
    return b"%s%d" % (found[1], int(number))
