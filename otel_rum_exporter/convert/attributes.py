"""Reading attributes: the first of several names whose value is of the kind asked for.

Applications set attributes, so no value is taken on trust.
Old and new names of the semantic conventions are given together, the new one first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Annotated, Any, TypeGuard, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from otel_rum_exporter.encoding import clip, plain, well_formed
from otel_rum_exporter.events import MAX_EVENT_BYTES

MAX_TEXT = MAX_EVENT_BYTES
"""Characters of an attribute that are read at most: longer text fits into no event."""

MAX_NAME = 256
"""Characters of an attribute's name; names are not cut any more when an event turns out too large."""

_MAX_MEMBERS = 128
"""Members of a map or a sequence that are read at most; the SDK's default for a span's attributes."""

_MAX_DEPTH = 6
_MAX_VALUES = 512
MAX_INTEGER = 2**53  # JavaScript, which reads these events, has no larger integers
_MAX_BITS = 4096

Attributes = Mapping[str, Any]

_PLAIN = frozenset({str, bool, int, float, tuple, list, dict, bytes})  # values that `plain` leaves as they are

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)] | None
"""A member of what `read` returns: a text."""

Integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None
"""A member of what `read` returns: an integer."""

Model = TypeVar("Model", bound=Struct)


def taken(attributes: Attributes | None) -> dict[str, Any]:
    """Return a dict of an item's attributes, whose values are plain.

    The SDK's bounded attributes copy themselves in a sixth of the time that `dict` takes, which asks for each by name.
    """
    if attributes is None:
        return {}
    try:
        copied: Any = attributes.copy()  # type: ignore[attr-defined]  # not every Mapping has it
    except AttributeError:
        copied = attributes
    own = copied if type(copied) is dict else dict(copied)
    return own if _PLAIN.issuperset(map(type, own.values())) else {name: plain(value) for name, value in own.items()}


def read(attributes: dict[str, Any], model: type[Model]) -> Model:
    """Return the attributes that a model names, each by `text` or `integer`: in one step, where they are as they should be.

    Shape:  `model` has members of the types `Text` and `Integer`, which are None unless given, under the attributes' names.
    """
    try:
        return msgspec.convert(attributes, model)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for keys of lone surrogates
        return model(**{name: read_as(attributes, said_as) for name, said_as, read_as in _members(model)})


@cache
def _members(model: type[Struct]) -> tuple[tuple[str, str, Callable[[Attributes, str], str | int | None]], ...]:
    """Return a model's members: its name, the attribute's, and how that is read. To find out takes longer than to read."""
    fields = msgspec.structs.fields(model)
    return tuple((field.name, field.encode_name, text if field.type == Text else integer) for field in fields)


def text(attributes: Attributes, *names: str) -> str | None:
    """Return the first non-empty string under these names, cut to what an event can hold."""
    for name in names:
        value = attributes.get(name)
        if value is None:
            continue
        if type(value) is not str:
            value = plain(value)
        if value and isinstance(value, str):
            return value if len(value) <= MAX_TEXT else clip(value, MAX_TEXT)
    return None


def number(attributes: Attributes, *names: str) -> float | int | None:
    """Return the first number under these names that JavaScript could hold. A bool is not one, nor is a numeral."""
    for name in names:
        value = plain(attributes.get(name))
        if is_number(value):
            return value
    return None


def is_number(value: Any) -> TypeGuard[float | int]:
    """Tell whether a value is a finite number; integers only as large as JavaScript has them."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def integer(attributes: Attributes, *names: str) -> int | None:
    """Return the first integer under these names; older Swift instrumentation sends numerals as strings."""
    for name in names:
        value = plain(attributes.get(name))
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:18])
        if is_number(value) and abs(value) <= MAX_INTEGER:
            return int(value)
    return None


def flag(attributes: Attributes, *names: str) -> bool | None:
    """Return the first bool under these names."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, bool):
            return value
    return None


def or_unset(value: Any) -> Any | UnsetType:
    """Return the value as a model takes it: a member that is None is left out."""
    return UNSET if value is None else value


def jsonable(value: Any) -> Any:
    """Return an attribute value as JSON can hold it, or None where it cannot.

    Shape:  strings, bools, numbers, lists and string-keyed dicts; at most 512 values and 6 levels, the rest and what
            is of other types is left out.
    """
    return _jsonable(value, _MAX_DEPTH, Counter({"left": _MAX_VALUES}))


def _jsonable(value: Any, depth: int, budget: Counter[str]) -> Any:
    value = plain(value)
    budget["left"] -= 1
    if budget["left"] < 0:
        return None
    if isinstance(value, str):
        return well_formed(clip(value, MAX_TEXT))
    if isinstance(value, bool | int | float):
        return _number(value)
    if depth > 0 and isinstance(value, Mapping):
        return _object(value, depth - 1, budget)
    if depth > 0 and isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        members = (_jsonable(member, depth - 1, budget) for member in islice(value, _MAX_MEMBERS))
        return [member for member in members if member is not None]
    return None


def _number(value: int | float) -> int | float | str | None:  # noqa: PYI041 - mypy takes isinstance literally
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if abs(value) <= MAX_INTEGER:
        return value
    return str(value) if value.bit_length() <= _MAX_BITS else None


def _object(value: Mapping[Any, Any], depth: int, budget: Counter[str]) -> dict[str, Any]:
    members = {}
    for key in islice(value, _MAX_MEMBERS):
        member = _jsonable(value[key], depth, budget) if isinstance(key, str) else None
        if member is not None:
            members[well_formed(clip(key, MAX_NAME))] = member
    return members
