"""What OTLP/HTTP carries, and how: the signals that the gateway takes and the encodings of their requests."""

from __future__ import annotations

from enum import Enum


class Signal(Enum):
    """A kind of telemetry.

    Attributes:
        path: Where requests of this signal are posted to.
        records: What its records are called.
        rejected: The member of partial success that counts what was refused, as JSON names it.

    Source: OTLP 1.x, "OTLP/HTTP Request".
    """

    TRACES = ("/v1/traces", "spans", "rejectedSpans")
    LOGS = ("/v1/logs", "log records", "rejectedLogRecords")

    def __init__(self, path: str, records: str, rejected: str) -> None:
        self.path = path
        self.records = records
        self.rejected = rejected


class Encoding(Enum):
    """How a request is written; its answer is written the same way.

    Attributes:
        content_type: The media type.
    """

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
