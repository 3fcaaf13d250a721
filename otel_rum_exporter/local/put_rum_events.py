"""PutRumEvents: from the bytes of a request to its answer and its place in the store."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from otel_rum_exporter.local import sigv4
from otel_rum_exporter.local.answers import Answer, RefusedError, refuse
from otel_rum_exporter.local.connection import Connection
from otel_rum_exporter.local.event_checks import Event, Finding
from otel_rum_exporter.local.faults import FaultInjector, Faults
from otel_rum_exporter.local.request_checks import (
    UUID,
    RejectedEventsError,
    RequestChecker,
    decode_body,
    parse_body,
    too_large,
)
from otel_rum_exporter.local.settings import Credentials, Settings
from otel_rum_exporter.local.store import Receipt, Store
from otel_rum_exporter.local.traffic import Traffic, Visit

_KEPT_HEADERS = (
    "host",
    "content-type",
    "content-encoding",
    "content-length",
    "user-agent",
    "origin",
    "x-amz-date",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "traceparent",
    "x-amzn-trace-id",
)
"""Headers that are kept: none that authenticates."""


@dataclass(frozen=True, slots=True)
class _Body:
    """A decoded body, or why it could not be decoded: found before, answered after the signature."""

    size_bytes: int = 0
    document: Mapping[str, Any] = field(default_factory=dict)
    refusal: RefusedError | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: Answer
    accepted: tuple[Event, ...] = ()
    findings: tuple[Finding, ...] = ()


class PutRumEvents:
    """The ASGI application behind ``POST /appmonitors/{id}``.

    Attributes:
        faults: Faults to inject.
        traffic: Requests under way.
        credentials: Known credentials by access key id; empty when signatures are not verified.
        changed: Notified when something was stored.
        closing: Set when the server stops.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._checker = RequestChecker(settings)
        self.faults = FaultInjector(time.monotonic)
        self.traffic = Traffic(time.monotonic)
        self.credentials: dict[str, Credentials] = {each.access_key: each for each in settings.credentials}
        self.changed = asyncio.Condition()
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = Connection(scope, receive, send, self.closing)
        if scope["method"] != "POST":
            await connection.answer(refuse(405, "Method Not Allowed", "").answer)
            return
        visit = self.traffic.enter()
        try:
            # lets requests that came together be seen together
            await asyncio.sleep(0)
            with contextlib.suppress(ClientDisconnect):  # what does not come whole is no request
                await self._serve(connection, visit, scope["path_params"]["id"])
        finally:
            self.traffic.leave(visit)

    async def _serve(self, connection: Connection, visit: Visit, monitor_id: str) -> None:
        request, is_whole = await connection.read_request(self._settings.max_wire_bytes)
        body = self._decode(request)
        faults, canned = self.faults.next()
        if not is_whole:
            canned = too_large(self._settings.max_wire_bytes).answer
        receipt = _Receipts(time.time(), monitor_id, request, body)
        visit.session = receipt.session
        await connection.pause(faults.latency_ms / 1000)
        if lost := faults.lost("before"):
            await self._keep(receipt.lost(lost))
            await connection.lose(lost)
            return
        outcome = _Outcome(canned) if canned else self._put(request, monitor_id, body, faults)
        lost = faults.lost("after")
        await self._keep(receipt.made(outcome, lost))
        if lost:
            await connection.lose(lost)
        else:
            await connection.answer(outcome.answer, faults.drip_ms / 1000)

    def _decode(self, request: sigv4.HttpRequest) -> _Body:
        try:
            encoding = request.headers.get("content-encoding", "").lower()
            body = decode_body(request.body, encoding, self._settings.max_body_bytes)
        except RefusedError as error:
            return _Body(refusal=error)
        try:
            return _Body(len(body), parse_body(body))
        except RefusedError as error:
            return _Body(len(body), refusal=error)

    def _put(self, request: sigv4.HttpRequest, monitor_id: str, body: _Body, faults: Faults) -> _Outcome:
        try:
            self._verify(request)
            self._check_monitor(monitor_id)
            if body.refusal:
                raise body.refusal
            checked = self._checker.check(body.document)
            _check_poison(checked.events, faults.poison)
        except RejectedEventsError as error:
            return _Outcome(error.answer, findings=error.findings)
        except RefusedError as error:
            return _Outcome(error.answer)
        return _Outcome(Answer(), checked.events, checked.findings)

    def _verify(self, request: sigv4.HttpRequest) -> None:
        is_signed = "authorization" in request.headers or "X-Amz-Signature" in request.query
        if self.credentials and (is_signed or not self._settings.allow_unsigned):
            sigv4.verify(request, self.credentials, self._settings.region, datetime.now(timezone.utc))

    def _check_monitor(self, monitor_id: str) -> None:
        problem = UUID(monitor_id, "Id")
        if problem:
            raise refuse(400, problem)
        if self._settings.monitors and monitor_id not in self._settings.monitors:
            raise refuse(404, f"App monitor {monitor_id} not found", resourceName=monitor_id, resourceType="AppMonitor")

    async def _keep(self, receipt: Receipt) -> None:
        self._store.add(receipt)
        async with self.changed:
            self.changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Receipts:
    """Makes the receipt of one request for each way it can end."""

    received_at: float
    monitor_id: str
    request: sigv4.HttpRequest
    body: _Body

    @property
    def session(self) -> str:
        return self._receipt("").user_detail("sessionId") or ""

    def lost(self, how: str) -> Receipt:
        return self._receipt(how)

    def made(self, outcome: _Outcome, lost: str) -> Receipt:
        answer = outcome.answer
        return self._receipt(
            lost or str(answer.status),
            error=answer.error,
            message=answer.body.decode("utf-8", "replace"),
            accepted=outcome.accepted,
            findings=outcome.findings,
        )

    def _receipt(self, status: str, error: str = "", message: str = "", **events: Any) -> Receipt:
        headers = self.request.headers
        return Receipt(
            received_at=self.received_at,
            monitor_id=self.monitor_id,
            path=self.request.path,
            headers={name: headers[name] for name in _KEPT_HEADERS if name in headers},
            access_key=sigv4.access_key_of(self.request),
            encoding=headers.get("content-encoding", ""),
            wire_bytes=len(self.request.body),
            body_bytes=self.body.size_bytes,
            status=status,
            error=error,
            message=message,
            document=self.body.document,
            **events,
        )


def _check_poison(events: tuple[Event, ...], poison: tuple[str, ...]) -> None:
    for event in events:
        if event.id in poison or any(marker in event.details_text for marker in poison):
            # as the service would: without a word about which event it was
            raise refuse(400, "1 validation error detected: the request holds an event that cannot be processed")
