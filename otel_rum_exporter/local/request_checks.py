"""One request against PutRumEvents' model, then its events against the schemas."""

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_rum_exporter.local import strict_json
from otel_rum_exporter.local.answers import RefusedError, refuse
from otel_rum_exporter.local.event_checks import (
    Event,
    Finding,
    InvalidEventError,
    check_event,
    read_event,
    warnings_about,
)
from otel_rum_exporter.local.rules import Record, array, number, text
from otel_rum_exporter.local.settings import Settings

UUID = text(pattern="[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}")
"""Source: the pattern of each id in botocore data/rum/2018-05-10."""

_STRING = text()


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that passed: its accepted events, and what was found on the way."""

    events: tuple[Event, ...]
    findings: tuple[Finding, ...]


class RejectedEventsError(RefusedError):
    """A strict endpoint refuses the request for the sake of its invalid events."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first, more = findings[0], len(findings) - 1
        others = f" (and {more} more invalid events)" if more else ""
        message = f"RumEvents[{first.index}] ({first.type}): {first.message}{others}"
        super().__init__(refuse(400, message).answer)
        self.findings = findings


def decode_body(wire: bytes, encoding: str, limit: int) -> bytes:
    """Undo Content-Encoding without ever inflating more than the limit.

    Errors: RefusedError with 400 for a broken or unknown encoding, 413 beyond the limit.
    """
    if encoding in ("", "identity"):
        return wire
    if encoding != "gzip":
        raise refuse(400, f"Content-Encoding {encoding} is not supported")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(wire)) as file:
            body = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise refuse(400, f"Content-Encoding is gzip but the body is not: {error}") from None
    if len(body) > limit:
        raise too_large(limit)
    return body


def too_large(limit: int) -> RefusedError:
    """Return the refusal of a body beyond the limit."""
    return refuse(413, f"The body is larger than {limit} bytes", "RequestEntityTooLargeException")


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse the request's JSON object.

    Errors: RefusedError with 400.
    """
    try:
        document = strict_json.parse(body)
    except ValueError as error:
        raise refuse(400, f"The request body {error}") from None
    if not isinstance(document, dict):
        raise refuse(400, "The request body must be a JSON object")
    return document


class RequestChecker:
    """Checks requests by one endpoint's settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._envelope = _envelope(is_open=not settings.strict)

    def check(self, document: Mapping[str, Any]) -> Checked:
        """Check a whole request.

        Errors: RefusedError with 400 for what the service's model refuses, and RejectedEventsError
        for invalid events when strict.
        """
        _raise_if(self._envelope(document, ""))
        raw_events = document["RumEvents"]
        if len(raw_events) > self._settings.max_events:
            raise refuse(400, f"RumEvents has {len(raw_events)} events of {self._settings.max_events}")
        session_metadata = _session_metadata(document)
        events: list[Event] = []
        findings: list[Finding] = []
        for index, raw in enumerate(raw_events):
            event, found = self._check_event(index, raw, session_metadata)
            events += [event] if event else []
            findings += found
        rejected = tuple(finding for finding in findings if not finding.is_warning)
        if rejected and self._settings.strict:
            raise RejectedEventsError(rejected)
        return Checked(tuple(events), tuple(findings))

    def _check_event(
        self, index: int, raw: Mapping[str, Any], session_metadata: Mapping[str, Any]
    ) -> tuple[Event | None, list[Finding]]:
        identity = (index, raw["id"], raw["type"])
        try:
            event = read_event(index, raw, session_metadata)
            check_event(event)
        except InvalidEventError as error:
            return None, [Finding(*identity, error.reason, error.message)]
        warnings = warnings_about(event)
        # the service removes the attributes and keeps the event; a strict endpoint says what would be lost
        if self._settings.strict and warnings and warnings[0][0] == "attributes":
            return None, [Finding(*identity, *warnings[0])]
        return event, [Finding(*identity, *warning, is_warning=True) for warning in warnings]


def _envelope(*, is_open: bool) -> Record:
    """PutRumEventsRequest; the service ignores unknown members, which a strict endpoint takes for mistakes."""
    event = Record(
        {"id": UUID, "timestamp": number, "type": _STRING, "details": _STRING}, {"metadata": _STRING}, is_open
    )
    return Record(
        {
            "BatchId": UUID,
            "AppMonitorDetails": Record({}, {"id": _STRING, "name": _STRING, "version": _STRING}, is_open),
            "UserDetails": Record({}, {"userId": UUID, "sessionId": UUID}, is_open),
            "RumEvents": array(event),
        },
        {"Alias": text(1, 255), "SessionMetadata": _STRING},
        is_open,
    )


def _session_metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return strict_json.parse_object(document["SessionMetadata"]) if "SessionMetadata" in document else {}
    except ValueError as error:
        raise refuse(400, f"SessionMetadata {error}") from None


def _raise_if(problem: str | None) -> None:
    if problem is not None:
        raise refuse(400, problem)
