"""Kinds of options: how text becomes a value, what is accepted, and how a bad value is shown.

Each parser takes text and values of its own type, and raises ValueError for anything else.
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path, PurePath
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct
from msgspec.structs import replace

LONGEST_SHOWN = 100  # characters of a bad value in an error
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")

T_co = TypeVar("T_co", covariant=True)


def shortened(value: Any) -> str:
    """Show a value in an error."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


class Kind(Struct, Generic[T_co], frozen=True):
    """What an option accepts.

    Attributes:
        accepts: The same in words, for errors and the option table.
        parse: Turns text, or a value of the right type, into the option's value; ValueError if it cannot.
        show: Shows a bad value in an error.
        secret: The value is never shown.
    """

    accepts: str
    parse: Callable[[Any], T_co]
    show: Callable[[Any], str] = shortened
    secret: bool = False


def text(longest: int) -> Kind[str]:
    """Text of bounded length."""
    return matching(f"text of 1 to {longest} characters", re.compile(rf"(?s).{{1,{longest}}}"))


def matching(accepts: str, pattern: re.Pattern[str]) -> Kind[str]:
    """Text of a certain shape."""

    def parse(value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise ValueError(accepts)

    return Kind(accepts, parse)


def secret() -> Kind[str]:
    """Text that is never shown."""
    return replace(text(1024), show=lambda _: "(a value not shown)", secret=True)


def choice(values: tuple[Any, ...]) -> Kind[Any]:
    """One of several words, in upper or lower case; `values` are the arguments of a Literal."""
    accepts = f"{', '.join(values[:-1])} or {values[-1]}"

    def parse(value: Any) -> Any:
        if isinstance(value, str) and value.lower() in values:
            return value.lower()
        raise ValueError(accepts)

    return Kind(accepts, parse)


def flag() -> Kind[bool]:
    """True or false."""
    accepts = "true or false"

    def parse(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise ValueError(accepts)

    return Kind(accepts, parse)


def whole(least: int, most: int | None = None) -> Kind[int]:
    """An integer within bounds."""
    accepts = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"

    def parse(value: Any) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if type(value) is int and least <= value and (most is None or value <= most):
            return value
        raise ValueError(accepts)  # of a bool, too, although Python counts it as an int

    return Kind(accepts, parse)


def number(least: float, most: float) -> Kind[float]:
    """A finite number within bounds."""
    accepts = f"a number from {least:g} to {most:g}"

    def parse(value: Any) -> float:
        if isinstance(value, str):
            value = float(value)
        if type(value) in (int, float) and least <= value <= most:  # never true of NaN
            return float(value)
        raise ValueError(accepts)

    return Kind(accepts, parse)


def texts(of: str) -> Kind[tuple[str, ...]]:
    """A list, or text with commas in it."""
    accepts = f"{of}, as a list or separated by commas"

    def parse(value: Any) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise ValueError(accepts)
        return tuple(stripped for part in parts if (stripped := part.strip()))

    return Kind(accepts, parse)


def function() -> Kind[Callable[..., Any]]:
    """A function; no text can name one."""
    accepts = "a function"

    def parse(value: Any) -> Callable[..., Any]:
        if callable(value):
            return value  # type: ignore[no-any-return] # callable() does not say what it returns
        raise ValueError(accepts)

    return Kind(accepts, parse)


def directory() -> Kind[Path]:
    """A path; whether it can be used is found out by whoever opens it."""
    accepts = "a path"

    def parse(value: Any) -> Path:
        if isinstance(value, str | PurePath) and "\0" not in str(value):
            return Path(value)
        raise ValueError(accepts)

    return Kind(accepts, parse)


def url() -> Kind[str]:
    """An endpoint. Userinfo and query are refused, and hidden in the error, since they may be secret."""
    accepts = "an http or https URL with a host, without userinfo, query and fragment"

    def parse(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) and not re.search(r"[?#\\]", value):
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and "@" not in parts.netloc and _is_address(parts):
                return value
        raise ValueError(accepts)

    return Kind(accepts, parse, show=_url_shown)


def _is_address(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if ":" in host:
        IPv6Address(host)  # raises ValueError
    elif not HOST.fullmatch(host):
        return False
    return parts.port != 0  # and raises ValueError over 65535


def _url_shown(value: Any) -> str:
    # of a URL that has userinfo or a query, or looks so, no more than its scheme
    return shortened(re.sub(r"(?s)^(https?://)?.*[@?#].*", r"\1***", value) if isinstance(value, str) else value)
