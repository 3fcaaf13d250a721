"""What both encodings of OTLP have in common once a body is parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from otel_rum_exporter.otlp import Log, Resource, Scope, Span

Reader = Callable[[Any, Resource, Scope | None, int], Span | Log]
"""Makes an item of a record, its resource, its scope and the depth that its values may have. Raises Malformed."""


class Group(Struct, frozen=True, gc=False):
    """Records that share a resource and a scope, one at least; `attributes` are the resource's."""

    attributes: dict[str, Any]
    scope: Scope | None
    records: Sequence[Any]


class Parsed(Struct, frozen=True):
    """A parsed body whose records are not items yet.

    Attributes:
        groups: The records, as the encoding has them.
        read: Makes an item of one of them.
        is_empty: There are no resources either.
    """

    groups: Iterable[Group]
    read: Reader
    is_empty: bool
