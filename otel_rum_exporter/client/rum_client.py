"""One attempt: a batch goes to PutRumEvents, and a verdict comes back."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from datetime import datetime, timezone

from botocore import exceptions, parsers

from otel_rum_exporter.client.access import Access
from otel_rum_exporter.client.answers import verdict_on_answer, verdict_on_exception
from otel_rum_exporter.client.bounded import Bounded
from otel_rum_exporter.client.lean_client import LeanClient
from otel_rum_exporter.client.left_behind import LeftBehind, NoThreadError, TooLateError
from otel_rum_exporter.client.put_request import put_request
from otel_rum_exporter.client.verdicts import Delivered, Parked, Retry, Verdict
from otel_rum_exporter.client.watchdog import Watchdog
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.drops import ParkReason
from otel_rum_exporter.events import Batch

_MIN_TIMEOUT_S = 0.1  # of an attempt at the end of a deadline
_OF_BOTO = (
    exceptions.ClientError,
    exceptions.BotoCoreError,
    parsers.ResponseParserError,
    FileNotFoundError,
    PermissionError,
    ValueError,
    RuntimeError,
)

# what looking up a host's name and writing a log line need is imported now: a child that is forked while a thread does so
# would wait for that thread as soon as it needs it, too
for _codec in ("idna", "unicode_escape"):
    codecs.lookup(_codec)


def _now() -> datetime:
    return datetime.now(timezone.utc)


class RumClient:
    """boto3's client for PutRumEvents, made at the first attempt.

    Units:  time-outs are in seconds and hold for the whole attempt, credentials, names and connection included.
    Errors: an attempt ends with a verdict for everything that boto3 and the service are known to do.
    Source: PutRumEvents, botocore data/rum/2018-05-10.
    """

    def __init__(
        self,
        config: RumConfig,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Remember the configuration; nothing is read or sent.

        Args:
            config: The configuration.
            clock: Monotonic seconds, for how often credentials are looked for.
            now: The time with a time zone, for when guest credentials end.
        """
        self._timeout_s = config.timeout_s
        self._compression = config.compression
        self._access = Access(config, clock, now)
        left = LeftBehind(config.max_in_flight)
        self._bounded = Bounded(left)
        self._watchdog = Watchdog(config.timeout_s, left)

    def knows_session_metadata(self) -> bool:
        """Tell whether the installed botocore can send SessionMetadata."""
        return self._access.knows_session_metadata

    def close(self) -> None:
        """Close idle connections: left to the interpreter's end, urllib3 may fail to, and says so."""
        self._watchdog.close()
        self._access.close()

    def attempt(self, batch: Batch, timeout_s: float | None = None) -> Verdict:
        """Send a batch once: one HTTP request. `timeout_s` shortens the configured timeout.

        A request that takes longer is left behind, on a thread of its own. It may still arrive, as any whose answer is lost.
        """
        limit_s = self._timeout_s if timeout_s is None else max(timeout_s, _MIN_TIMEOUT_S)
        try:
            return self._bounded.call(lambda: self._attempt(batch, self._access.client), limit_s)
        except TooLateError as late:
            return _given_up(late)
        except NoThreadError:
            # the interpreter is about to exit; the time-outs of the sockets have to do
            return self._attempt(batch, lambda: self._access.short_client(limit_s))

    def attempt_or_be_left(self, batch: Batch, give_up: Callable[[Verdict], None]) -> Verdict:
        """Send a batch once, on this thread, which is left behind with its request if that takes too long.

        That costs 70 us of CPU less than `attempt`, for threads that may be left behind.

        Args:
            batch: The batch.
            give_up: Called with the verdict then, on another thread; it must not raise.

        Errors: LeftBehindError: `give_up` was called.
        """
        try:
            return self._watchdog.call(
                lambda: self._attempt(batch, self._access.client), lambda late: give_up(_given_up(late))
            )
        except TooLateError as late:
            return _given_up(late)
        except NoThreadError:  # as above; but the time is that of the client of all
            return self._attempt(batch, self._access.client)

    def _attempt(self, batch: Batch, client_of: Callable[[], LeanClient]) -> Verdict:
        try:
            client = client_of()
        except _OF_BOTO as error:
            return verdict_on_exception(error, is_sending=False)
        try:
            request = put_request(batch, client, self._compression)
            answer = client.send(request)
        except _OF_BOTO as error:
            verdict = verdict_on_exception(error, is_sending=True)
            return self._with_other_credentials(client, verdict, is_refused=False)
        verdict = verdict_on_answer(answer, request.headers)
        if isinstance(verdict, Delivered):
            self._access.succeeded()
        return self._with_other_credentials(client, verdict, is_refused=True)

    def _with_other_credentials(self, client: LeanClient, verdict: Verdict, *, is_refused: bool) -> Verdict:
        """Return the verdict; or that the batch may go again at once, where there are other credentials to try."""
        if not isinstance(verdict, Parked) or verdict.reason is not ParkReason.UNAUTHORIZED:
            return verdict
        try:
            is_changed = self._access.look_again(client, is_refused=is_refused)
        except _OF_BOTO as error:
            return verdict_on_exception(error, is_sending=False)
        return Retry("credentials", verdict.message) if is_changed else verdict


def _given_up(late: TooLateError) -> Verdict:
    return Retry("network", f"The request was given up: {late}")
