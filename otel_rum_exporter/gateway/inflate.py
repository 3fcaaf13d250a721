"""Bounded gunzip: a bomb ends at the limit, not in memory."""

from __future__ import annotations

import zlib

from otel_rum_exporter.gateway.refusals import Malformed, TooLarge

_GZIP = 16 + zlib.MAX_WBITS
_STEP_BYTES = 256 * 1024  # that are inflated at once: what a bomb takes besides the limit
_MAX_MEMBERS = 64  # of one body: each costs a copy of what follows it


class Inflating:
    """Inflates one gzip body as it arrives.

    Units:  max_bytes counts bytes after gzip.
    Errors: TooLarge as soon as there are more; Malformed for what is not gzip, or ends early.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._inflated = bytearray()
        self._member = zlib.decompressobj(_GZIP)
        self._members = 1
        self._has_begun = False

    def feed(self, chunk: bytes) -> None:
        """Inflate the next part of the body."""
        while chunk:
            if self._member.eof:
                self._begin_member()
            self._has_begun = True
            try:
                self._inflated += self._member.decompress(chunk, _STEP_BYTES)
            except zlib.error:
                raise Malformed("the body is not gzip, as Content-Encoding says it is") from None
            if len(self._inflated) > self._max_bytes:
                raise TooLarge(f"the body has more than {self._max_bytes} bytes after gzip")
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> bytes:
        """Return the whole body. Errors: Malformed if the last gzip member is not complete."""
        if self._has_begun and not self._member.eof:
            raise Malformed("the gzip body ends early")
        return bytes(self._inflated)

    def _begin_member(self) -> None:
        """Go on with a new member: gzip files may be joined."""
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise Malformed(f"the body has more than {_MAX_MEMBERS} gzip members")
        self._member = zlib.decompressobj(_GZIP)
