"""What one attempt can come to. The delivery decides by it what becomes of the batch."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from otel_rum_exporter.drops import DropReason, ParkReason

Cause = Literal["throttled", "server", "network", "credentials", "unknown"]


class Delivered(Struct, frozen=True):
    """The service took the batch."""


class Retry(Struct, frozen=True):
    """The batch may be taken later, or at once where the cause is "credentials": the client was just made anew.

    "unknown" is a 4xx that the service is not known to give, which is worth few tries.

    Shape: `may_have_arrived` is False where no connection came about.
    Units: `after_s` is the service's Retry-After in seconds, if it gave one.
    """

    cause: Cause
    message: str
    after_s: float | None = None
    may_have_arrived: bool = True


class Parked(Struct, frozen=True):
    """Nothing of this app monitor is taken until somebody mends its name, its policy or the credentials."""

    reason: ParkReason
    message: str


class Rejected(Struct, frozen=True):
    """This batch is not taken, whenever it comes: an event of it or the request itself is at fault."""

    message: str


class Refused(Struct, frozen=True):
    """No batch will ever be taken: the configuration is incomplete, or this exporter has a fault."""

    reason: DropReason
    message: str


Verdict = Delivered | Retry | Parked | Rejected | Refused
