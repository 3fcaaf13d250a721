"""One event against the schemas: what the service would drop after its 200."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_rum_exporter.local import metadata as metadata_rules
from otel_rum_exporter.local import strict_json
from otel_rum_exporter.local.rules import text
from otel_rum_exporter.local.schemas import DETAILS, PREFIX, W3C_TRACE_ID

MAX_EVENT_BYTES = 6144
"""UTF-8 bytes of details and metadata together (CloudWatch RUM user guide, custom events: 6 KB)."""

EARLIEST, LATEST = 1_000_000_000, 10_000_000_000
"""2001 to 2286 in seconds. A present time in milliseconds or nanoseconds lies far beyond."""

_TYPE = text(1, 256, r"[a-zA-Z0-9_.-]+")
_HTTP_EVENT = PREFIX + "http_event"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noted about one event: why it was rejected, or a warning about an accepted one."""

    index: int
    event_id: str
    type: str
    reason: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a request, parsed: details, and metadata merged with the request's SessionMetadata."""

    index: int
    id: str
    timestamp: float
    type: str
    details_text: str
    details: Mapping[str, Any]
    metadata: Mapping[str, Any]
    size_bytes: int


class InvalidEventError(Exception):
    """An event breaks a rule."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def read_event(index: int, raw: Mapping[str, Any], session_metadata: Mapping[str, Any]) -> Event:
    """Parse an event whose members have the right types; the event's own metadata wins.

    Errors: InvalidEventError when details or metadata hold no JSON object.
    """
    details, own = raw["details"], raw.get("metadata", "")
    return Event(
        index=index,
        id=raw["id"],
        timestamp=raw["timestamp"],
        type=raw["type"],
        details_text=details,
        details=_parse(details, "details"),
        metadata={**session_metadata, **(_parse(own, "metadata") if "metadata" in raw else {})},
        size_bytes=len(details.encode()) + len(own.encode()),
    )


def check_event(event: Event) -> None:
    """Check one event against all rules.

    Errors: InvalidEventError with the first rule that is broken.
    """
    if not EARLIEST <= event.timestamp < LATEST:
        raise InvalidEventError("timestamp", f"timestamp {event.timestamp} is no time in seconds since 1970")
    if event.size_bytes > MAX_EVENT_BYTES:
        raise InvalidEventError("size", f"details and metadata have {event.size_bytes} bytes of {MAX_EVENT_BYTES}")
    _check_type(event.type)
    if event.type.startswith(PREFIX):
        _raise_if("schema", DETAILS[event.type.removeprefix(PREFIX)](event.details, "details"))
    _raise_if("metadata", metadata_rules.problem_in(event.metadata))


def warnings_about(event: Event) -> list[tuple[str, str]]:
    """Return (reason, message) of what the service tolerates but a developer should know."""
    found = []
    count = metadata_rules.count_attributes(event.metadata)
    if count > metadata_rules.MAX_ATTRIBUTES:
        found.append(("attributes", f"metadata has {count} custom attributes of {metadata_rules.MAX_ATTRIBUTES}"))
    if event.type == _HTTP_EVENT and W3C_TRACE_ID(event.details.get("trace_id"), "") is None:
        found.append(("w3c_trace_id", "details.trace_id is a W3C trace id, which the published schema refuses"))
    return found


def _parse(source: str, name: str) -> dict[str, Any]:
    try:
        return strict_json.parse_object(source)
    except ValueError as error:
        raise InvalidEventError("json", f"{name} {error}") from None


def _check_type(event_type: str) -> None:
    _raise_if("type", _TYPE(event_type, "type"))
    if event_type.startswith(PREFIX) and event_type.removeprefix(PREFIX) not in DETAILS:
        raise InvalidEventError("unknown_type", f"type {event_type} is none of AWS's")


def _raise_if(reason: str, problem: str | None) -> None:
    if problem is not None:
        raise InvalidEventError(reason, problem)
