"""How much a request body may hold: what a few bytes can become is bounded before any of it is built."""

from __future__ import annotations

from msgspec import Struct


class BodyLimits(Struct, frozen=True):
    """The limits of one request body.

    Attributes:
        wire_bytes: Bytes as received.
        decoded_bytes: Bytes after gzip.
        records: Spans or log records.
        elements: Messages or JSON objects of any kind: records, attributes, their values, span events, links.
        depth: Arrays and maps within an attribute's value.
    """

    wire_bytes: int = 1024 * 1024
    decoded_bytes: int = 4 * 1024 * 1024
    records: int = 10_000
    elements: int = 200_000
    depth: int = 32
