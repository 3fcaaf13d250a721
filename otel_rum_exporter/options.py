"""What an option is: where it may be set, how the environment is read, how the documents show it.

`config.py` states each option once, as a dataclass field made by `option`; everything else about options is derived
from those fields here.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any, TypeVar

from msgspec import Struct

from otel_rum_exporter.option_kinds import Kind

PREFIX = "OTEL_EXPORTER_RUM_"

_KEY = "option"

T = TypeVar("T")

Environ = Mapping[str, str]
Elsewhere = Callable[[Environ], Iterator[tuple[str, str | None]]]


class Problem(Struct, frozen=True):
    """One thing that is wrong with a configuration.

    Attributes:
        option: Name of the option, as the keyword argument.
        variable: The environment variable that the value came from, or that could set the option, if there is one.
        reason: The value, without secrets, and what is accepted.
    """

    option: str
    variable: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.option} ({self.variable}): {self.reason}" if self.variable else f"{self.option}: {self.reason}"


class ConfigError(ValueError):
    """A configuration that cannot be used; it names all its problems at once.

    Attributes:
        problems: Each problem once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n  ".join(("The RUM exporter's configuration is not usable:", *map(str, self.problems)))


class Option(Struct, frozen=True):
    """One option; `option` makes it, and says what each member is."""

    default: Any
    kind: Kind[Any]
    doc: str
    unit: str
    variable: bool
    with_spool: Any
    elsewhere: Elsewhere | None
    default_doc: str

    @property
    def accepts(self) -> str:
        """What is accepted, with its unit."""
        return f"{self.kind.accepts} ({self.unit})" if self.unit else self.kind.accepts


def option(  # noqa: PLR0913 - one argument for each thing that is said of an option
    default: T,
    kind: Kind[T],
    doc: str,
    *,
    unit: str = "",
    variable: bool = True,
    with_spool: T | None = None,
    elsewhere: Elsewhere | None = None,
    default_doc: str = "",
) -> T:
    """Make the dataclass field of an option.

    Args:
        default: Value when the option is set nowhere.
        kind: What is accepted.
        doc: One sentence on what the option does.
        unit: Unit of the value.
        variable: Whether `OTEL_EXPORTER_RUM_<NAME>` sets it, too.
        with_spool: Default when there is a spool, if that differs.
        elsewhere: Further places in the environment, in order; yields the variable and what it holds.
        default_doc: What the table says instead of the default.
    """
    facts = Option(default, kind, doc, unit, variable, with_spool, elsewhere, default_doc)
    return field(default=default, repr=not kind.secret, metadata={_KEY: facts})


def options_of(config: type[Any]) -> dict[str, Option]:
    """Return the options of a dataclass whose fields were made by `option`, by name."""
    return {each.name: each.metadata[_KEY] for each in dataclasses.fields(config)}


def variable_of(name: str, facts: Option) -> str | None:
    """Return the environment variable that sets an option, if one does."""
    return PREFIX + name.upper() if facts.variable else None


# --- reading


class Reading(Struct, frozen=True):
    """What was found.

    Attributes:
        values: The options that are set somewhere and can be used.
        variables: For each option the variable that it came from, or that could set it.
        problems: What is wrong with the others.
    """

    values: dict[str, Any]
    variables: dict[str, str | None]
    problems: list[Problem]


def read(options: Mapping[str, Option], arguments: Mapping[str, Any], environ: Environ) -> Reading:
    """Read every option that is set somewhere: argument before environment."""
    found = Reading({}, {}, [_unknown(name, options) for name in arguments if name not in options])
    for name, facts in options.items():
        found.variables[name], given = _given(name, facts, arguments, environ)
        if given is None:
            continue
        try:
            found.values[name] = facts.kind.parse(given)
        except ValueError:
            found.problems.append(refused(name, facts, found.variables[name], given))
    return found


def refused(name: str, facts: Option, variable: str | None, value: Any, accepts: str = "") -> Problem:
    """Return the problem of a value that is not accepted, by itself or beside other options."""
    return Problem(name, variable, f"{facts.kind.show(value)} given, accepted: {accepts or facts.accepts}")


def ignored(options: Mapping[str, Option], environ: Environ) -> Iterator[str]:
    """Yield a line for each variable that is named as if it set an option, and sets none."""
    names = {variable: name for name, facts in options.items() if (variable := variable_of(name, facts))}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in names:
            continue
        name = variable.removeprefix(PREFIX).lower()
        is_option = name in options
        reason = f"{name} has no variable, only an argument" if is_option else _no_such_option(name, names.values())
        yield f"The variable {variable} is ignored: {reason}"


def _unknown(name: str, options: Iterable[str]) -> Problem:
    # the value stays out: under a misspelt name it may be a secret
    return Problem(name, None, _no_such_option(name, options))


def _no_such_option(name: str, options: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - for those who misspell

    close = difflib.get_close_matches(name, options, n=1)
    return f"no such option, did you mean {close[0]}?" if close else "no such option"


def _given(name: str, facts: Option, arguments: Mapping[str, Any], environ: Environ) -> tuple[str | None, Any]:
    own = variable_of(name, facts)
    sources: list[tuple[str | None, Any]] = [(own, arguments.get(name))]
    if own:
        sources.append((own, environ.get(own)))
    if facts.elsewhere:
        sources.extend(facts.elsewhere(environ))
    for variable, value in sources:
        stripped = value.strip() if isinstance(value, str) else value
        if stripped is not None and stripped != "":
            return variable, stripped
    return own, None


def first_of(*variables: str) -> Elsewhere:
    """Return a further place to look: these variables, in order."""

    def elsewhere(environ: Environ) -> Iterator[tuple[str, str | None]]:
        for variable in variables:
            yield variable, environ.get(variable)

    return elsewhere


# --- the option table of the README


def table(options: Mapping[str, Option]) -> str:
    """Render options as a Markdown table, one row each."""
    rows = ["| Option | Variable | Default | Meaning |", "|---|---|---|---|"]
    for name, facts in options.items():
        variable = variable_of(name, facts)
        cells = (f"`{name}`", f"`{variable}`" if variable else "-", _default(facts), _meaning(facts))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def _default(facts: Option) -> str:
    if facts.default_doc:
        return facts.default_doc
    if facts.with_spool is None:
        return _value(facts.default)
    return f"{_value(facts.default)}, with a spool {_value(facts.with_spool)}"


def _value(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(facts: Option) -> str:
    return f"{facts.doc} Accepted: {facts.accepts}."
