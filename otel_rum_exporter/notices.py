"""What the log says about the pipeline: one line a minute for each cause, and once what to set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.stats import CauseLog, printable
from otel_rum_exporter.verdicts import Delivered, Parked, Refused, Rejected, Retry, Verdict

_ONCE_S = 3600.0 * 24 * 365

_NO_MONITOR = (
    "No app monitor id: set OTEL_EXPORTER_RUM_APP_MONITOR_ID, or the resource attribute aws.rum.appmonitor.id. "
    "Until then everything is dropped and counted."
)
_NO_SESSION = (
    "Spans and logs without the attribute session.id are dropped, since this process serves the sessions of others. "
    "Set session.id on them, or OTEL_EXPORTER_RUM_SESSION=process to put them into one session of this process."
)
_MERGED = (
    "Requests of others without the attribute session.id are merged into the session of this process, as "
    "OTEL_EXPORTER_RUM_SESSION=process asks for. Set session.id on their spans to tell their users apart."
)
_NO_DOMAIN = (
    "Events are sent with the domain localhost, since no item names its page. Set OTEL_EXPORTER_RUM_DOMAIN to the "
    "domain that the app monitor is registered for."
)


_LOSSES = {
    DropReason.QUEUE_FULL: "more waited than queue_events or queue_bytes allow, and the oldest gave way",
    DropReason.EXPIRED: "they waited for longer than max_age",
    DropReason.TOO_LARGE: "they have more than 6,144 bytes, even with their strings cut",
}


def _events(number: int) -> str:
    return "1 event was" if number == 1 else f"{number} events were"


class Notices(CauseLog):
    """The pipeline's log lines."""

    def explain(self, reasons: Iterable[DropReason]) -> None:
        """Say once what to set where items are dropped for want of it."""
        for reason in reasons:
            if reason is DropReason.NO_SESSION:
                self.say(logging.WARNING, "session", _NO_SESSION, quiet_s=_ONCE_S)
            elif reason is DropReason.NOT_CONFIGURED:
                self.say(logging.ERROR, "monitor", _NO_MONITOR, quiet_s=_ONCE_S)

    def merged(self) -> None:
        """Say once that others' items join the process's session."""
        self.say(logging.WARNING, "merged", _MERGED, quiet_s=_ONCE_S)

    def no_domain(self) -> None:
        """Say once that no item names its page."""
        self.say(logging.WARNING, "domain", _NO_DOMAIN, quiet_s=_ONCE_S)

    def unconvertible(self, error: Exception) -> None:
        """Say that an item could not be converted."""
        line = f"An item could not be converted: {type(error).__name__}: {printable(error)}"
        self.say(logging.WARNING, "convert", line)

    def left_at_shutdown(self, events: int) -> None:
        """Say what the shutdown did not wait for."""
        if events:
            line = f"{_events(events)} not delivered before the shutdown timeout"
            self.say(logging.WARNING, "shutdown", line)

    def lost(self, reasons: Mapping[DropReason, int]) -> None:
        """Say what was lost on its way to a request."""
        for reason, events in reasons.items():
            self.say(logging.WARNING, str(reason), f"{_events(events)} dropped ({reason}): {_LOSSES[reason]}")

    def verdict(self, verdict: Verdict, events: int) -> None:
        """Say how an attempt went wrong."""
        match verdict:
            case Refused(reason=DropReason.SHUTDOWN):
                pass  # the shutdown says so
            case Refused(reason=reason, message=message) | Parked(reason=reason, message=message):
                self._dropped(reason, message, events)
            case Rejected(message=message):
                self._dropped(DropReason.REJECTED, message, events)
            case Retry(cause=cause, message=message):
                line = f"A request failed and will be tried again: {printable(message)}"
                self.say(logging.WARNING, cause, line)
            case Delivered():
                pass

    def _dropped(self, reason: DropReason, message: str, events: int) -> None:
        line = f"{_events(events)} dropped ({reason}): {printable(message)}"
        self.say(logging.ERROR, str(reason), line)
