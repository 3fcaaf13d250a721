"""For whoever runs the gateway: /healthz, /readyz and /metrics, on a listener of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otel_rum_exporter.gateway.counts import Counts
from otel_rum_exporter.gateway.exposition import CONTENT_TYPE, of_gateway, of_pipeline, text_of
from otel_rum_exporter.gateway.limits import Held
from otel_rum_exporter.gateway.watch import Watch

_HEADERS = {"x-content-type-options": "nosniff"}


class Operations:
    """What is said of a gateway."""

    def __init__(
        self, watch: Watch, counts: Counts, held: Held, connections: Callable[[], int], *, has_spool: bool
    ) -> None:
        """Tell of these.

        Args:
            watch: What is known of the pipeline.
            counts: The gateway's counters.
            held: Its bodies in flight.
            connections: Returns how many connections are open.
            has_spool: Whether there is a spool.
        """
        self._watch = watch
        self._counts = counts
        self._held = held
        self._connections = connections
        self._has_spool = has_spool

    def app(self) -> Starlette:
        """Return the ASGI application."""
        app = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/readyz", self._readiness),
                Route("/metrics", self._metrics),
            ]
        )
        app.router.redirect_slashes = False  # it would send to whatever host a request names
        return app

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def _readiness(self, _request: Request) -> Response:
        troubles = self._watch.troubles()
        if troubles:
            return PlainTextResponse("".join(f"{each}\n" for each in troubles), 503, headers=_HEADERS)
        return PlainTextResponse("ready\n", headers=_HEADERS)

    async def _metrics(self, _request: Request) -> Response:
        statistics = await asyncio.to_thread(self._watch.look)
        is_ready = not self._watch.troubles()
        own = of_gateway(self._counts, self._held, self._connections(), is_ready=is_ready)
        text = text_of([*own, *of_pipeline(statistics, has_spool=self._has_spool)])
        return Response(text, media_type=CONTENT_TYPE, headers=_HEADERS)
