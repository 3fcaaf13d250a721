"""Answers the requests of one signal: in by the gate, read, taken in by a thread, answered as OTLP asks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.gateway.access_log import log_ending, log_request
from otel_rum_exporter.gateway.bodies import Bodies, Disconnected
from otel_rum_exporter.gateway.counts import Counts
from otel_rum_exporter.gateway.denials import Denied, overloaded
from otel_rum_exporter.gateway.endings import Ending
from otel_rum_exporter.gateway.gate import Caller, Gate, Head, encoding_of
from otel_rum_exporter.gateway.intake import Intake, Taken
from otel_rum_exporter.gateway.limits import Held, retry_after
from otel_rum_exporter.gateway.log_lines import place_of
from otel_rum_exporter.gateway.origins import Header, preflight_headers, shared_headers
from otel_rum_exporter.gateway.otlp_answers import failure, success
from otel_rum_exporter.gateway.refusals import Refused
from otel_rum_exporter.gateway.signals import Encoding, Signal
from otel_rum_exporter.gateway.watch import Watch

NOT_OTLP = "none"
"""The signal of requests that are of none."""

_METHODS = "POST, OPTIONS"

_logger = logging.getLogger(__name__)


class Answer(Struct, frozen=True):
    """What is answered. `said` is what the body says in words, for the access log."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Sequence[Header] = ()
    said: str = ""


class Desk(Struct, frozen=True):
    """What the receivers of all signals share."""

    gate: Gate
    bodies: Bodies
    held: Held
    intake: Intake
    watch: Watch
    counts: Counts
    executor: Executor
    log: CauseLog
    access_log: bool = False
    chance: Callable[[], float] = random.random

    def preflight(self, method: str, head: Head) -> Answer | None:
        """Return the answer to a page's preflight; None for any other request."""
        if method != "OPTIONS" or "origin" not in head.headers:
            return None
        try:
            origin = self.gate.allowed_origin(head.headers)
        except Denied as denied:
            return self.failure(head, denied.status, denied.message)
        return Answer(204, headers=(*shared_headers(origin), *preflight_headers()))

    def failure(self, head: Head, status: int, message: str, headers: Sequence[Header] = ()) -> Answer:
        """Return the answer to a request that is not taken; pages of an allowed origin can read it."""
        try:
            origin = self.gate.allowed_origin(head.headers)
        except Denied:
            origin = None
        encoding = encoding_of(head.headers) or Encoding.JSON
        body = failure(encoding, status, message)
        return Answer(status, body, encoding.content_type, (*shared_headers(origin), *headers), message)

    def note_answer(self, name: str, scope: Scope, head: Head, answer: Answer, begun: float) -> None:
        """Take note of what a request is answered; `begun` is of `time.perf_counter`."""
        self.counts.requests[name, answer.status] += 1
        if self.access_log:
            log_request(scope, self.gate.client_of(head), answer.status, answer.said, begun)

    def note_disconnect(self, scope: Scope, head: Head, begun: float) -> None:
        """Take note of a request whose sender went away before its end."""
        self.counts.disconnected += 1
        if self.access_log:
            log_request(scope, self.gate.client_of(head), None, "the sender went away", begun)

    def note_ending(self, peer: str | None, ending: Ending) -> None:
        """Take note of why a connection is ended that came from this address."""
        self.counts.ended[ending.reason] += 1
        if ending.status is not None:
            self.counts.requests[NOT_OTLP, ending.status] += 1
        if self.access_log:
            log_ending(self.gate.client_of(Head(peer, Headers(), b"")), ending)


class Receiver:
    """The requests of one signal.

    Errors: none are raised; a fault of the gateway is logged, counted, and answered with 503.
    """

    def __init__(self, signal: Signal, desk: Desk) -> None:
        self._signal = signal
        self._name = signal.path.rpartition("/")[2]
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        begun = time.perf_counter()
        head = head_of(scope)
        desk = self._desk
        try:
            answer = await self._answer(scope["method"], head, receive)
        except Disconnected:
            desk.note_disconnect(scope, head, begun)
            return
        except Refused as refused:
            answer = desk.failure(head, refused.http_status, str(refused))
        except Denied as denied:
            answer = self._denial(head, denied)
        except asyncio.CancelledError:
            if not desk.watch.is_draining:
                raise
            answer = self._denial(head, _stopping(closes=True))  # whose sender tries again, as it would not after 500
        except Exception as error:  # noqa: BLE001 - its sender tries again; the others go on
            desk.counts.faults += 1
            # not its message, in which may be what was sent
            line = f"A request could not be answered: {type(error).__name__} at {place_of(error)}"
            desk.log.say(logging.ERROR, type(error).__name__, line)
            answer = self._denial(head, Denied(503, "an error of the gateway", wait_s=1.0))
        desk.note_answer(self._name, scope, head, answer, begun)
        await reply(send, answer)

    async def _answer(self, method: str, head: Head, receive: Receive) -> Answer:
        desk = self._desk
        if preflight := desk.preflight(method, head):
            return preflight
        if method != "POST":
            raise Denied(405, f"the method is to be {_METHODS}", ("allow", _METHODS))
        origin = desk.gate.allowed_origin(head.headers)
        client = desk.gate.client_of(head)
        caller = desk.gate.enter(head, client, origin)
        if desk.watch.is_draining:  # what is being read already is still taken
            raise _stopping()
        self._check_room(caller)
        body = await desk.bodies.read(receive, client)
        desk.counts.received_bytes += len(body)
        try:
            taken = await self._take(body, caller)
        finally:
            desk.bodies.release(client, len(body))
        return self._taken(taken, caller, origin)

    def _check_room(self, caller: Caller) -> None:
        desk = self._desk
        if shortage := desk.watch.shortage():
            raise overloaded("room", shortage, 4.0)
        self._check_held(caller)

    def _check_held(self, caller: Caller) -> None:
        if not self._desk.held.has_room(*caller.senders):
            raise overloaded("in_flight", "too many requests are in flight", 1.0)

    async def _take(self, body: bytes, caller: Caller) -> Taken:
        desk = self._desk
        self._check_held(caller)  # others may have come in meanwhile
        monitors = desk.gate.policy.monitors
        with desk.held.working(*caller.senders):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(desk.executor, desk.intake.take, self._signal, body, caller, monitors)

    def _taken(self, taken: Taken, caller: Caller, origin: str | None) -> Answer:
        counts = self._desk.counts
        self._desk.gate.charge(caller, taken.weight)
        if not taken.admission.is_taken:
            raise _stopping()
        self._desk.watch.note(is_kept=taken.admission.is_kept)
        if not taken.admission.is_kept:
            raise Denied(503, "the events could not be kept; the same request may be sent again", wait_s=2.0)
        counts.records[self._name] += taken.records
        for reason, number in taken.rejected.items():
            counts.rejected[self._name, reason] += number
        body = success(self._signal, caller.encoding, sum(taken.rejected.values()), taken.message)
        return Answer(200, body, caller.encoding.content_type, shared_headers(origin), taken.message)

    def _denial(self, head: Head, denied: Denied) -> Answer:
        if denied.limit:
            self._desk.counts.limited[denied.limit] += 1
        headers = denied.headers
        if denied.wait_s is not None:
            headers += (("retry-after", str(retry_after(denied.wait_s, self._desk.chance()))),)
        if denied.closes:
            headers += (("connection", "close"),)
        return self._desk.failure(head, denied.status, denied.message, headers)


def head_of(scope: Scope) -> Head:
    """Return the head of a request (ASGI)."""
    return Head((scope.get("client") or (None,))[0], Headers(scope=scope), scope.get("query_string", b""))


def _stopping(*, closes: bool = False) -> Denied:
    return Denied(503, "the gateway is about to stop", wait_s=1.0, closes=closes)


async def reply(send: Send, answer: Answer) -> None:
    """Send an answer."""
    headers = [("x-content-type-options", "nosniff"), *answer.headers]
    if answer.status != 204:  # noqa: PLR2004 - No Content
        headers += [("content-type", answer.content_type), ("content-length", str(len(answer.body)))]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})
