"""JSON as its standard has it: no NaN, no infinities, only whole Unicode characters."""

import json
import math
import re
from typing import Any, NoReturn

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str | bytes) -> Any:
    """Parse one JSON text.

    Errors: ValueError for everything that is not JSON, for numbers beyond a double's range, for
    lone surrogates (no UTF-8 can hold them) and for nesting deeper than Python can follow.
    """
    try:
        source = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(source, parse_constant=_refuse_constant, parse_float=_finite)
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


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds the number {text}, which no double can hold")
    return value
