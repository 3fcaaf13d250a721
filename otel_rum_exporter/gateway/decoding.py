"""A request body becomes items, of the same kind as the SDK's: one conversion serves both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from otel_rum_exporter.gateway import json_requests, protobuf_requests
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.parsed import Group, Parsed
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal
from otel_rum_exporter.otlp import Log, Resource, Span

_MAX_REASONS = 8  # that are told apart
_OWN_NAMES = ("service.name", "service.version")  # and all of aws.rum.: what AppMonitorDetails is made of

NO_DEVICE: Mapping[str, str] = MappingProxyType({})

_PARSERS = {Encoding.JSON: json_requests.parse, Encoding.PROTOBUF: protobuf_requests.parse}


class Decoded(Struct, frozen=True):
    """What a request holds.

    Attributes:
        items: Its valid records, in their order: spans of a request of traces, logs of one of logs.
        rejected: How many of its records are not valid.
        reasons: Why, each reason once; where nothing is rejected, what the sender should know.
    """

    items: list[Span] | list[Log]
    rejected: int = 0
    reasons: tuple[str, ...] = ()


def decode(  # noqa: PLR0913 - what the request's head says, and what the configuration allows
    signal: Signal,
    encoding: Encoding,
    body: bytes,
    limits: BodyLimits,
    *,
    identity: Mapping[str, str] | None = None,
    device: Mapping[str, str] = NO_DEVICE,
) -> Decoded:
    """Read one request body.

    Shape:  n records -> the valid ones as items; each other is counted. `identity` replaces what resources say of their
            app monitor and service, which a sender may then not choose. `device` stands where resources do not have it.
    Errors: Malformed for what is no such request, TooLarge for one over a limit.
    """
    parsed = _PARSERS[encoding](signal, body, limits)
    groups = list(parsed.groups)
    if sum(len(group.records) for group in groups) > limits.records:
        raise TooLarge(f"the request has more than {limits.records} {signal.records}")
    decoded = _items(parsed, groups, limits.depth, lambda said: _resource(said, identity, device))
    if parsed.is_empty or decoded.items or decoded.rejected:
        return decoded
    return Decoded([], 0, (f"no {signal.records} where OTLP has them",))


def _items(
    parsed: Parsed, groups: list[Group], depth: int, resource_of: Callable[[dict[str, Any]], Resource]
) -> Decoded:
    items: list[Any] = []
    reasons: dict[str, None] = {}  # in their order
    rejected, read, add = 0, parsed.read, items.append
    attributes, resource = None, Resource({})
    for group in groups:
        if (
            group.attributes is not attributes
        ):  # scopes share the resource, which may have as many attributes as they are
            attributes, resource = group.attributes, resource_of(group.attributes)
        scope = group.scope
        for record in group.records:
            try:
                add(read(record, resource, scope, depth))
            except Malformed as error:  # noqa: PERF203 - a bad record does not take the others with it
                rejected += 1
                if len(reasons) < _MAX_REASONS:
                    reasons[str(error)] = None
    return Decoded(items, rejected, tuple(reasons))


def _resource(said: dict[str, Any], identity: Mapping[str, str] | None, device: Mapping[str, str]) -> Resource:
    if identity is None:
        return Resource({**device, **said} if device else said)
    others = {name: value for name, value in said.items() if not _is_own(name)}
    return Resource({**device, **others, **identity})


def _is_own(name: str) -> bool:
    return name.startswith("aws.rum.") or name in _OWN_NAMES
