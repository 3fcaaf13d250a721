"""What the endpoint saw, as proofs ask for it."""

import json
import threading
import time


def names(rum):
    """The names of the spans that arrived as custom events."""
    return {event["details"]["name"] for event in rum.events("otel.span")}


def await_names(rum, wanted, timeout_s):
    """Wait until spans of all these names have arrived, for so long at most."""
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not wanted <= names(rum) and time.monotonic() < deadline:
        pause.wait(0.2)


def arrivals(rum):
    """When each event arrived, by the name of its span, in seconds since the epoch."""
    at = {request["batch_id"]: request["received_at"] for request in rum.requests() if request["status"] == "200"}
    return {event["details"]["name"]: at[event["batch_id"]] for event in rum.events("otel.span")}


def check(rum, reports, *, answers_get_lost=False, others=0):
    """Conservation: both equations of each process, and the distinct ids at the endpoint are what they delivered.

    Args:
        rum: The endpoint.
        reports: What each process counted, see `document`.
        answers_get_lost: Whether more may have arrived than the processes know of.
        others: Distinct events that came from elsewhere.
    """
    assert all(report["is_balanced"] for report in reports), reports
    delivered = sum(report["delivered"] for report in reports)
    arrived = rum.stats()
    assert arrived["events_changed"] == 0, arrived
    distinct = arrived["events_distinct"] - others
    assert distinct >= delivered if answers_get_lost else distinct == delivered, (arrived, reports)
    return delivered


def document(stats):
    """Statistics as JSON-ready values."""
    return {
        "is_balanced": stats.is_balanced,
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "queued": stats.queued,
        "requests": stats.requests,
        "dropped": {str(reason): number for reason, number in stats.events_dropped.items()},
        "retried": dict(stats.retried),
    }


def last_report(output):
    """The statistics that a process printed last."""
    return json.loads(output.strip().splitlines()[-1])
