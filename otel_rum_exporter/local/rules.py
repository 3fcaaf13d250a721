"""Rules that a JSON value keeps or breaks: the vocabulary of the schema tables."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Rule = Callable[[Any, str], str | None]
"""Takes a value and its path; returns what is wrong with it, or None."""


def anything(_value: Any, _path: str) -> None:
    """Accept each value."""


def number(value: Any, path: str) -> str | None:
    """Accept integers and floats; to JSON Schema a boolean is no number."""
    return None if _is_number(value) else f"{path} must be a number"


def integer(value: Any, path: str) -> str | None:
    """Accept numbers without a fraction, 1.0 included."""
    whole = _is_number(value) and (isinstance(value, int) or value.is_integer())
    return None if whole else f"{path} must be an integer"


def boolean(value: Any, path: str) -> str | None:
    """Accept true and false."""
    return None if isinstance(value, bool) else f"{path} must be true or false"


def text(min_length: int = 0, max_length: int | None = None, pattern: str = "") -> Rule:
    """Accept strings of a length in characters, and as a whole of a pattern."""
    compiled = re.compile(pattern)

    def rule(value: Any, path: str) -> str | None:
        if not isinstance(value, str):
            return f"{path} must be a string"
        if len(value) < min_length or (max_length is not None and len(value) > max_length):
            return f"{path} has {len(value)} characters, not {min_length} to {max_length}"
        if pattern and not compiled.fullmatch(value):
            return f"{path} must match {pattern}"
        return None

    return rule


def one_of(*values: str) -> Rule:
    """Accept one of a few strings."""

    def rule(value: Any, path: str) -> str | None:
        return None if isinstance(value, str) and value in values else f"{path} must be one of {', '.join(values)}"

    return rule


def array(item: Rule) -> Rule:
    """Accept lists of which each item keeps a rule."""

    def rule(value: Any, path: str) -> str | None:
        if not isinstance(value, list):
            return f"{path} must be an array"
        problems = (item(entry, f"{path}[{index}]") for index, entry in enumerate(value))
        return next(filter(None, problems), None)

    return rule


def either(*rules: Rule) -> Rule:
    """Accept what one of the rules accepts; the first rule words the problem."""

    def rule(value: Any, path: str) -> str | None:
        problems = [alternative(value, path) for alternative in rules]
        return problems[0] if all(problems) else None

    return rule


def later(get: Callable[[], Rule]) -> Rule:
    """Refer to a rule that is defined further down, as recursive schemas must."""
    return lambda value, path: get()(value, path)  # noqa: PLW0108 - get() finds nothing before the module is read


@dataclass(frozen=True, slots=True)
class Record:
    """Accept objects with the required keys and no unknown ones.

    Attributes:
        required: Rules of the keys that must be there.
        optional: Rules of the keys that may be there.
        is_open: Unknown keys are accepted.
    """

    required: Mapping[str, Rule] = field(default_factory=dict)
    optional: Mapping[str, Rule] = field(default_factory=dict)
    is_open: bool = False

    def __call__(self, value: Any, path: str) -> str | None:
        """Return the first problem of an object, or None."""
        if not isinstance(value, dict):
            return f"{path} must be an object"
        for key in self.required:
            if key not in value:
                return f"{_join(path, key)} is required"
        return next(filter(None, (self._member(path, key, member) for key, member in value.items())), None)

    def _member(self, path: str, key: str, member: Any) -> str | None:
        rule = self.required.get(key) or self.optional.get(key)
        if rule is not None:
            return rule(member, _join(path, key))
        return None if self.is_open else f"{_join(path, key)} is unknown"


def each(rule: Rule, names: str) -> dict[str, Rule]:
    """Give several keys, separated by spaces, the same rule."""
    return dict.fromkeys(names.split(), rule)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
