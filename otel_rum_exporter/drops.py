"""Why an item or an event ends without being delivered, or waits. Every loss has one of these reasons, and is counted."""

from __future__ import annotations

from enum import Enum


class DropReason(str, Enum):
    """Why something was dropped; the value is the name in statistics and log lines."""

    # items: spans and log records that become no event
    NOT_CONFIGURED = "not_configured"
    """The exporter has no valid configuration, or no app monitor id."""
    NO_SESSION = "no_session"
    """No `session.id`, and the session mode puts the item into no other session."""
    SAMPLED_OUT = "sampled_out"
    """The session is not in the sample."""
    UNMAPPED = "unmapped"
    """CloudWatch RUM has nothing that this item could become."""
    FILTERED = "filtered"
    """The options `http_events` or `custom_events` leave it out."""
    SELF_TRAFFIC = "self_traffic"
    """Telemetry about sending telemetry."""
    INCOMPLETE = "incomplete"
    """It lacks what its event needs: a value, an end, an outcome."""
    LIMITED = "limited"
    """More than `session_event_limit` or `resource_image_limit` allows. Also a reason for events."""
    DUPLICATE = "duplicate"
    """The same exception, page or web vital was reported before. Also a reason for events."""
    HOOK = "hook"
    """The function that the option `convert` names returned nothing for it."""
    UNCONVERTIBLE = "unconvertible"
    """Its conversion failed; the log names the error."""
    SHUTDOWN = "shutdown"
    """The exporter was shut down. Also a reason for events: still queued at the shutdown deadline."""

    # events: accepted, then given up
    QUEUE_FULL = "queue_full"
    """The memory bound was reached; the option `overflow` says which event gave way."""
    TOO_LARGE = "too_large"
    """More than 6,144 bytes even with its strings cut."""
    EXPIRED = "expired"
    """Not delivered within `max_age`."""
    REJECTED = "rejected"
    """The service found fault with the event (400, another 4xx). With a spool it is kept as a dead letter instead."""
    DAMAGED = "spool_damaged"
    """Its file in the spool was damaged, and what could be read of that counts anew; or removed, and could not be put back."""

    INTERNAL = "internal_error"
    """A fault of this exporter; the log names it."""

    def __str__(self) -> str:
        """Return the name in statistics and log lines."""
        return self.value


class ParkReason(str, Enum):
    """Why an app monitor takes nothing at present, so that its events wait; the value is the name in log lines."""

    UNAUTHORIZED = "unauthorized"
    """No credentials, or the service refused them (401, 403)."""
    NOT_FOUND = "not_found"
    """The service knows no such app monitor (404)."""
    NOT_CONFIGURED = "not_configured"
    """There is no region, or a profile that does not exist; what is on disk waits for that, what is not is dropped."""
    REJECTED = "rejected"
    """Every event was refused with the same words (400): the request is at fault, not the events."""

    def __str__(self) -> str:
        """Return the name in log lines."""
        return self.value
