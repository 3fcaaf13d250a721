"""Why a request body is not taken: what its sender is told."""

from __future__ import annotations

from typing import ClassVar

from otel_rum_exporter.encoding import clip

MAX_REASON = 256
"""Characters of a reason that a sender is told."""


class Refused(ValueError):  # noqa: N818 - what happened to the request
    """A request body that is not taken. The message says why in at most 256 characters, and repeats nothing of the body."""

    http_status: ClassVar[int] = 400

    def __init__(self, reason: str) -> None:
        super().__init__(clip(reason, MAX_REASON))


class Malformed(Refused):
    """A body that is not what it should be: sending it again is of no use."""


class TooLarge(Refused):
    """A body over one of the limits: its sender should send smaller ones."""

    http_status = 413
