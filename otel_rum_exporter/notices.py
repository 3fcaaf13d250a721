"""What the log says about the pipeline: one line a minute for each cause, and once what to set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.client.verdicts import Parked, Refused, Rejected, Retry, Verdict
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.sending.delivery import Rejection
from otel_rum_exporter.sending.dispatch import Outcome
from otel_rum_exporter.stats import Statistics

_ONCE_S = 3600.0 * 24 * 365

_NO_MONITOR = (
    "No app monitor id: set OTEL_EXPORTER_RUM_APP_MONITOR_ID, or the resource attribute aws.rum.appmonitor.id. "
    "Until then everything is dropped and counted."
)
_NO_SESSION = (
    "Spans and logs without the attribute session.id are dropped, since this process serves the sessions of others. "
    "join_browser_sessions and opentelemetry-instrument set it where a request brings its session: by baggage, by "
    "aws-rum-web's cookie, or by a header that OTEL_EXPORTER_RUM_SESSION_HEADERS names. OTEL_EXPORTER_RUM_SESSION=process "
    "would put all users into one session of this process."
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
    DropReason.QUEUE_FULL: "more waited than queue_events or queue_bytes allow",
    DropReason.EXPIRED: "they waited for longer than max_age",
    DropReason.DAMAGED: "the spool file in which they waited was damaged",
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

    def ended(self, statistics: Statistics) -> None:
        """Say at the end what was lost in all."""
        dropped = {reason: n for reason, n in statistics.events_dropped.items() if reason is not DropReason.DUPLICATE}
        lost = sum(dropped.values()) + sum(statistics.dead_lettered.values())
        if not lost:
            return
        parts = [f"{n} {'still waited' if reason is DropReason.SHUTDOWN else reason}" for reason, n in dropped.items()]
        parts += [f"{n} {reason}, kept as dead letters" for reason, n in statistics.dead_lettered.items()]
        line = f"{lost} of {statistics.accepted} events were not delivered before the exporter was shut down"
        self.say(logging.WARNING, "end", f"{line}: {', '.join(parts)}")

    def lost(self, reasons: Mapping[DropReason, int]) -> None:
        """Say what was lost on its way to a request."""
        for reason, events in reasons.items():
            self.say(logging.WARNING, str(reason), f"{_events(events)} dropped ({reason}): {_LOSSES[reason]}")

    def outcome(self, verdict: Verdict, outcome: Outcome) -> None:
        """Say how an attempt went wrong, and what that means for its events."""
        message = printable(getattr(verdict, "message", "")).removesuffix(".")
        if outcome.rejected:
            self._refused(outcome.rejected)
        if outcome.dropped:
            self._dropped(outcome.reason, message, len(outcome.dropped))
        match verdict:
            case Parked(reason=reason):
                line = f"The app monitor takes nothing at present ({reason}): {message}. Its events wait"
                self.say(logging.ERROR, str(reason), line)
            case Refused(reason=reason) if outcome.is_parked:
                line = f"The app monitor takes nothing at present ({reason}): {message}. Its events wait"
                self.say(logging.ERROR, str(reason), line)
            case Rejected() if outcome.is_parked:
                line = f"The app monitor refuses whatever it is sent: {message}. Its events wait"
                self.say(logging.ERROR, "request", line)
            case Retry(cause=cause) if cause != "credentials" and not outcome.is_over:
                self.say(logging.WARNING, cause, f"A request failed and will be tried again: {message}")

    def fault(self, error: Exception, events: int) -> None:
        """Say that this package failed, and how many events that cost."""
        message = printable(f"{type(error).__name__}: {error}")
        if events:
            self._dropped(DropReason.INTERNAL, message, events)
        else:
            self.say(logging.ERROR, "thread", f"A delivering thread failed, another takes its place: {message}")

    def _refused(self, rejected: Sequence[Rejection]) -> None:
        letters = "kept as a dead letter" if len(rejected) == 1 else "kept as dead letters"
        kept = letters if rejected[0].queued.stored else "dropped"
        line = f"{_events(len(rejected))} refused and {kept}: {printable(rejected[0].message)}"
        self.say(logging.ERROR, "rejected", line)

    def _dropped(self, reason: DropReason, message: str, events: int) -> None:
        self.say(logging.ERROR, str(reason), f"{_events(events)} dropped ({reason}): {message}")
