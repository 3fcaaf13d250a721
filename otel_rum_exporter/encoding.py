"""Models to JSON text: never `null`, NaN or infinity, never a lone surrogate, never larger than the service takes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

CUT = "…"
"""What stands where text was cut off."""

Model = TypeVar("Model", bound=msgspec.Struct)

_SHORTEST = 32
"""Strings of this many characters are never cut: ids, types and names would lose their meaning."""

_MAX_DEPTH = 64


_PLAIN = (str, int, float, bool)


def plain(value: Any) -> Any:
    """Return a str, int or float as itself, not as Django's SafeString, numpy.float64 and their like.

    Msgspec takes only the types themselves, and what a subclass does when asked for its text is its own affair.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float.__float__(value)
    return int.__int__(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain_or_refused(value: Any) -> Any:
    known = plain(value)
    if known is value:
        raise TypeError(f"{type(value).__name__} is not for JSON")
    return known


_encoder = msgspec.json.Encoder(enc_hook=_plain_or_refused)


def prepared(model: type[Model]) -> type[Model]:
    """Have msgspec look at what a model's members may be now. A decorator of models that many threads read into.

    Otherwise msgspec, 0.22 at least, does it when a model is first read into, and shows other threads what is not complete
    yet: the process crashes.
    """
    msgspec.json.Decoder(model)
    return model


def encode(value: Any) -> str:
    """Return the JSON text of a model, a mapping or a string.

    Errors: members that JSON or the RUM schemas cannot hold (None, NaN, infinity) are left out, lone surrogates
            become U+FFFD. Raises TypeError for objects that are neither.
    """
    try:
        encoded = _encoder.encode(value).decode()
    except UnicodeEncodeError:
        return _encode_cleaned(value)
    # msgspec writes None, NaN and infinity as null; the word is rare enough to look closer only then
    return _encode_cleaned(value) if "null" in encoded else encoded


def _encode_cleaned(value: Any) -> str:
    return _encoder.encode(clean(msgspec.to_builtins(value, enc_hook=_plain_or_refused))).decode()


def clean(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return builtins without what JSON text must not hold. Shape: members that cannot be kept are left out."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {clean(k): clean(v, depth - 1) for k, v in value.items() if _keeps(v, depth)}
    if isinstance(value, list | tuple):
        return [clean(v, depth - 1) for v in value if _keeps(v, depth)]
    return value


def _keeps(value: Any, depth: int) -> bool:
    return depth > 0 and value is not None and not (isinstance(value, float) and not math.isfinite(value))


def well_formed(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if type(text) is str and text.isascii():
        return text
    text = str.__str__(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clip(text: str, length: int) -> str:
    """Return the text's head of at most `length` characters; the last one marks a cut."""
    return text if len(text) <= length else text[: max(0, length - len(CUT))] + CUT


def utf8_bytes(text: str) -> int:
    """Return the size of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def wire_bytes(text: str) -> int:
    """Return the size of JSON text as a string in a request body: quotes and backslashes have one before them."""
    return len(_encoder.encode(text))


def shrink(details: str, max_bytes: int) -> str | None:
    """Cut the longest strings of a JSON object until it fits.

    Shape:  the same members; cut strings end in a mark, on a character's boundary.
    Units:  max_bytes counts UTF-8 bytes.
    Errors: None if it does not fit even with every longer string cut to 32 characters.
    """
    value = json.loads(details)
    limit = max_bytes
    while limit >= _SHORTEST:
        shorter = encode(_clipped(value, limit))
        excess = utf8_bytes(shorter) - max_bytes
        if excess <= 0:
            return shorter
        limit = min(limit, max(map(len, _strings(value)), default=0))
        # a proportional step ends within a few rounds; -1 makes sure that it moves
        limit = min(limit - 1, limit * max_bytes // (max_bytes + excess))
    shorter = encode(_clipped(value, _SHORTEST))
    return shorter if utf8_bytes(shorter) <= max_bytes else None


def _clipped(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return clip(value, length)
    if isinstance(value, dict):
        return {k: _clipped(v, length) for k, v in value.items()}
    if isinstance(value, list):
        return [_clipped(v, length) for v in value]
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _strings(member)
