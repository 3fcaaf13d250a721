"""Event ids: derived from the item, so that every try, restart and resend of an item carries the same ids."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

from otel_rum_exporter.convert.conversion import Part
from otel_rum_exporter.items import LogRecordItem, SpanContextItem

_KEY_BITS = 2**63 - 1  # what SQLite's integers hold
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # RFC 9562's two bits before two of a digit's own
_ANYTHING = ("utf-8", "surrogatepass")


def digest(text: str) -> int:
    """Return what stands for a text that must not be kept, such as a URL with its secrets: the same in every process.

    Units:  63 bits.
    """
    return int.from_bytes(blake2b(text.encode(*_ANYTHING), digest_size=8).digest(), "big") & _KEY_BITS


def low_bits(id_: int | None) -> int:
    """Return what stands for a trace or a span in keys, 0 for none. Units: the id's low 63 bits, which are random."""
    return (id_ or 0) & _KEY_BITS


def uuid_of(digest: bytes) -> str:
    """Return 16 bytes as a UUID of version 8: a UUID whose content is the application's own (RFC 9562)."""
    h = digest.hex()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{_VARIANTS[h[17]]}{h[17:20]}-{h[20:]}"


def span_event_id(context: SpanContextItem | None, part: Part, content: str) -> str:
    """Return the id of one event of a span. Its part's name tells the span's events apart; without ids the content does."""
    if context is not None and (span_id := context.span_id):
        return id_of_part(part.name.encode(), context.trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big"))
    return uuid_of(blake2b((part.name + content).encode(), digest_size=16).digest())


def id_of_part(name: bytes, trace_id: bytes, span_id: bytes) -> str:
    """Return the id of the event that a part of a span becomes."""
    return uuid_of(blake2b(name + trace_id + span_id, digest_size=16).digest())


class LogEventIds:
    """Ids of the events of one export's log records, which have no id of their own.

    Equal records of one export are told apart by an occurrence number; a resend of the same export numbers them alike.
    """

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def next(self, record: LogRecordItem, session: str | None, part: Part, content: str) -> str:
        """Return the id of a record's event with this content."""
        ids = f"{record.trace_id or 0:x}/{record.span_id or 0:x}/{part.time_ns}/{record.observed_timestamp}/{session}/"
        digest = blake2b((ids + content).encode("utf-8", "replace"), digest_size=16).digest()
        occurrence = self._seen[digest]
        self._seen[digest] += 1
        if occurrence:
            digest = blake2b(digest + occurrence.to_bytes(4, "big"), digest_size=16).digest()
        return uuid_of(digest)
