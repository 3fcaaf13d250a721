"""What must hold at the end, so that the demo proves something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from otel_rum_exporter.demo.summary import Event
from otel_rum_exporter.demo.users import User
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.stats import Statistics

OUTAGES = 2
"""To how many requests the endpoint answers 503, on purpose: they have to be sent again."""


class Check(NamedTuple):
    """A statement, and whether it is true."""

    statement: str
    is_true: bool


def checks(
    processes: Mapping[str, Statistics], endpoint: Mapping[str, Any], events: Sequence[Event], users: Sequence[User]
) -> list[Check]:
    """Return all checks.

    Args:
        processes: The counters of each sending process.
        endpoint: The counters of the endpoint, as `LocalRum.stats` gives them.
        events: The events that arrived.
        users: Who visited.
    """
    counters = processes.values()
    delivered = sum(each.delivered for each in counters)
    arrived = endpoint["events_distinct"]
    refused = sum(endpoint["rejected_by_reason"].values())
    answers = {status: number for status, number in endpoint["requests_by_status"].items() if status != "200"}
    again = sum(sum(each.retried.values()) for each in counters)
    seen = {event["session_id"] for event in events}
    return [
        Check("Items:  received = converted + dropped, in each process.", all(map(_items_balance, counters))),
        Check("Events: accepted = delivered + dropped + queued, in each process.", all(map(_events_balance, counters))),
        Check("No accepted event was lost.", not any(map(_lost, counters))),
        Check(f"The endpoint has each of the {delivered} delivered events.", arrived == delivered > 0),
        Check("Every signature was right, every event valid.", refused == 0 and set(answers) <= {"503"}),
        Check(
            f"The {OUTAGES} requests that met an outage were sent again.",
            answers == {"503": OUTAGES} and again >= OUTAGES,
        ),
        Check("Each user has one session, and it arrived.", seen == {user.session_id for user in users}),
    ]


def _items_balance(counters: Statistics) -> bool:
    return counters.received == counters.converted + sum(counters.items_dropped.values())


def _events_balance(counters: Statistics) -> bool:
    return counters.accepted == counters.delivered + sum(counters.events_dropped.values()) + counters.queued


def _lost(counters: Statistics) -> int:
    """Return how many events are not delivered, besides those that another one replaced."""
    return counters.accepted - counters.delivered - counters.events_dropped.get(DropReason.DUPLICATE, 0)
