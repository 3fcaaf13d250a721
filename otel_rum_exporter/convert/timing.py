"""The marks of a performance entry, and the fields that navigation and resource events make of them.

Units:  marks are milliseconds from the page's time origin, sizes bytes. A mark of 0 means that the step did not happen,
        or that another origin hides it.
Source: aws-rum-web 3.2 for the formulas; W3C Resource Timing for the marks.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_rum_exporter.convert.attributes import Attributes, number

Marks = Mapping[str, float]

ROUNDED = 6  # decimals; a nanosecond

# field -> its end mark, its start mark
_DURATIONS = {
    "redirectTime": ("redirectEnd", "redirectStart"),
    "dns": ("domainLookupEnd", "domainLookupStart"),
    "connect": ("connectEnd", "connectStart"),
    "timeToFirstByte": ("responseStart", "requestStart"),
}
# field -> its end mark, its start mark; 0 where the step did not happen
_OPTIONAL_STEPS = {
    "workerTime": ("fetchStart", "workerStart"),
    "tlsTime": ("connectEnd", "secureConnectionStart"),
    "responseTime": ("responseEnd", "responseStart"),
}
_MARKS = (
    "redirectStart",
    "workerStart",
    "fetchStart",
    "domainLookupStart",
    "connectStart",
    "secureConnectionStart",
    "requestStart",
    "responseStart",
)


SHARED_NAMES = {
    "fetchStart": "fetch_start",
    "domainLookupStart": "domain_lookup_start",
    "domainLookupEnd": "domain_lookup_end",
    "connectStart": "connect_start",
    "connectEnd": "connect_end",
    "secureConnectionStart": "secure_connection_start",
    "requestStart": "request_start",
    "responseStart": "response_start",
    "responseEnd": "response_end",
    "transferSize": "transfer_size",
    "encodedBodySize": "encoded_body_size",
    "decodedBodySize": "decoded_body_size",
}
"""The marks and sizes that both kinds of entry have, and what OpenTelemetry's attributes call them."""


def read_marks(attributes: Attributes, names: Mapping[str, str], *prefixes: str) -> dict[str, float]:
    """Return the marks and sizes among a record's attributes; the first prefix that has one counts."""
    found = {name: number(attributes, *(prefix + snake for prefix in prefixes)) for name, snake in names.items()}
    return {name: value for name, value in found.items() if value is not None and value >= 0}


def between(marks: Marks, end: str, start: str) -> float | None:
    """Return the time from one mark to another; None if one is missing, or they cannot both be right."""
    if end not in marks or start not in marks or (marks[end] == 0) != (marks[start] == 0 or marks[end] == 0):
        return None
    duration = round(marks[end] - marks[start], ROUNDED)
    return duration if duration >= 0 else None


def shared_fields(marks: Marks) -> dict[str, float]:
    """Return the fields that both kinds of event have, as far as the marks give them."""
    fields = {name: marks[name] for name in _MARKS if name in marks}
    durations = {name: between(marks, *ends) for name, ends in _DURATIONS.items()}
    for name, (end, start) in _OPTIONAL_STEPS.items():
        durations[name] = between(marks, end, start) if marks.get(start) else marks.get(start)
    fields.update({name: duration for name, duration in durations.items() if duration is not None})
    return fields | _sizes(marks)


def _sizes(marks: Marks) -> dict[str, float]:
    transferred, encoded, decoded = (marks.get(name) for name in ("transferSize", "encodedBodySize", "decodedBodySize"))
    fields: dict[str, float] = {}
    if transferred is not None:
        fields["transferSize"] = transferred
    if transferred is not None and encoded is not None:
        fields["headerSize"] = max(0, transferred - encoded) if transferred else 0
    if encoded is not None and decoded is not None:
        fields["compressionRatio"] = decoded / encoded if encoded else 0
    return fields
