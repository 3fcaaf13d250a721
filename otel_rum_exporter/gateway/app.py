"""The receiver's routes."""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from otel_rum_exporter.gateway.receiver import NOT_OTLP, Desk, Receiver, head_of, reply
from otel_rum_exporter.gateway.signals import Signal

_METRICS = "metrics are not supported: CloudWatch RUM has traces and logs only"


def build_app(desk: Desk) -> Starlette:
    """Return the ASGI application."""
    routes = [
        *(Route(signal.path, Receiver(signal, desk)) for signal in Signal),
        # OTLP: a server without a signal answers 404, so that clients leave it at that
        Route("/v1/metrics", _NotFound("metrics", _METRICS, desk)),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    app.router.default = _NotFound(NOT_OTLP, "there is nothing here; see /v1/traces and /v1/logs", desk)
    return app


class _NotFound:
    def __init__(self, name: str, message: str, desk: Desk) -> None:
        self._name = name
        self._message = message
        self._desk = desk

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        head, desk = head_of(scope), self._desk
        answer = desk.preflight(scope["method"], head) or desk.failure(head, 404, self._message)
        desk.note_answer(self._name, scope, head, answer, begun)
        await reply(send, answer)
