"""JSON as its standard has it: no NaN, no infinities, only whole Unicode characters."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

MAX_DEPTH = 500
"""Nesting that every supported Python can read and write again within its recursion limit."""

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str | bytes) -> Any:
    """Parse one JSON text.

    Errors: ValueError for everything that is not JSON, for numbers beyond a double's range, for
    lone surrogates (no UTF-8 can hold them) and for nesting deeper than `MAX_DEPTH`.
    """
    try:
        source = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(source, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole)
        _check_depth(source, value)
        if _ESCAPED_SURROGATE.search(source):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise ValueError("is not valid Unicode") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at position {error.pos}") from None
    return value


def parse_object(text: str) -> dict[str, Any]:
    """Parse a JSON text that must hold an object.

    Errors: ValueError, saying so when the object was encoded twice.
    """
    value = parse(text)
    if isinstance(value, str):
        raise ValueError("must hold a JSON object, not a string: it looks encoded twice")  # noqa: TRY004 - data, not a caller's type
    if not isinstance(value, dict):
        raise ValueError("must hold a JSON object")  # noqa: TRY004 - data, not a caller's type
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"is not JSON: {name} is no JSON number")


def _check_depth(source: str, value: Any) -> None:
    if source.count("[") + source.count("{") <= MAX_DEPTH:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise RecursionError
        level = [child for parent in level for child in _children(parent)]


def _children(value: Any) -> Iterable[Any]:
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (child for child in nested if isinstance(child, (dict, list)))


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds the number {text[:20]}, which no double can hold")
    return value
