"""The endpoint's routes: PutRumEvents for clients, and an API that shows and steers what happens."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from otel_rum_exporter.local import queries, strict_json
from otel_rum_exporter.local.faults import NO_FAULTS, parse_faults
from otel_rum_exporter.local.put_rum_events import PutRumEvents
from otel_rum_exporter.local.rules import Record, array, boolean, text
from otel_rum_exporter.local.settings import Credentials
from otel_rum_exporter.local.store import Store

PAGE_EVENTS = 1000
"""Rows per page when the caller does not say."""

_NON_EMPTY = text(min_length=1)
_CREDENTIALS = Record(
    {
        "credentials": array(
            Record(
                {"access_key": _NON_EMPTY, "secret_key": _NON_EMPTY},
                {"session_token": _NON_EMPTY, "expired": boolean},
            )
        )
    }
)


def build_app(endpoint: PutRumEvents, store: Store) -> Starlette:
    """Return the ASGI application.

    Only PutRumEvents is open to other origins: aws-rum-web sends to it from any page, but no page
    has business reading or steering a developer's endpoint.
    """
    put = CORSMiddleware(
        endpoint,
        allow_origins=["*"],
        allow_methods=["POST"],
        allow_headers=["*"],
        expose_headers=["x-amzn-errortype", "x-amzn-requestid", "retry-after"],
    )
    api = _Api(endpoint, store)
    app = Starlette(
        routes=[
            Route("/appmonitors/{id}", put),
            Route("/appmonitors/{id}/", put),
            Route("/healthz", api.health),
            Route("/api/sessions", api.sessions),
            Route("/api/events", api.events),
            Route("/api/events", api.reset, methods=["DELETE"]),
            Route("/api/requests", api.requests),
            Route("/api/stats", api.stats),
            Route("/api/faults", api.faults),
            Route("/api/faults", api.set_faults, methods=["POST"]),
            Route("/api/faults", api.clear_faults, methods=["DELETE"]),
            Route("/api/credentials", api.set_credentials, methods=["POST"]),
        ],
        exception_handlers={ValueError: _bad_request},
    )
    # the signature covers the path: a redirect would break it
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(self, endpoint: PutRumEvents, store: Store) -> None:
        self._endpoint = endpoint
        self._store = store

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def sessions(self, _request: Request) -> Response:
        return JSONResponse({"sessions": queries.sessions(self._store.database)})

    async def events(self, request: Request) -> Response:
        query = request.query_params
        total, events = queries.events(self._store.database, query.get("session"), query.get("type"), *_page(request))
        return JSONResponse({"total": total, "events": events})

    async def requests(self, request: Request) -> Response:
        total, requests = queries.requests(self._store.database, *_page(request))
        return JSONResponse({"total": total, "requests": requests})

    async def stats(self, request: Request) -> Response:
        """With ``?events=5&timeout_ms=10000``, wait until there are so many distinct events."""
        await self._wait_for_events(_integer(request, "events", 0), _integer(request, "timeout_ms", 0) / 1000)
        return JSONResponse({**queries.counts(self._store.database), "in_flight": self._endpoint.traffic.summary()})

    async def reset(self, _request: Request) -> Response:
        self._store.reset()
        self._endpoint.traffic.reset()
        return JSONResponse({})

    async def faults(self, _request: Request) -> Response:
        faults = self._endpoint.faults
        return JSONResponse({"faults": faults.faults.as_json(), "remaining": faults.remaining})

    async def set_faults(self, request: Request) -> Response:
        self._endpoint.faults.set(parse_faults(await _json_body(request)))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        self._endpoint.faults.set(NO_FAULTS)
        return await self.faults(request)

    async def set_credentials(self, request: Request) -> Response:
        """Replace all credentials; an old key listed as expired answers ExpiredTokenException from now on."""
        document = await _json_body(request)
        problem = _CREDENTIALS(document, "")
        if problem:
            raise ValueError(problem)
        known = [Credentials(**each) for each in document["credentials"]]
        self._endpoint.credentials = {each.access_key: each for each in known}
        return JSONResponse({"access_keys": list(self._endpoint.credentials)})

    async def _wait_for_events(self, count: int, timeout_s: float) -> None:
        endpoint = self._endpoint

        async def arrived() -> None:
            async with endpoint.changed:
                await endpoint.changed.wait_for(lambda: self._store.count_events() >= count)

        await _first_of(arrived, endpoint.closing.wait, timeout_s)


async def _first_of(one: Callable[[], Awaitable[Any]], other: Callable[[], Awaitable[Any]], timeout_s: float) -> None:
    tasks = [asyncio.ensure_future(one()), asyncio.ensure_future(other())]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _json_body(request: Request) -> Any:
    # a page of another origin can post other content types without asking first
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ValueError("content-type must be application/json")
    return strict_json.parse(await request.body())


def _page(request: Request) -> tuple[int, int]:
    return _integer(request, "limit", PAGE_EVENTS), _integer(request, "offset", 0)


def _integer(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdigit()) or len(given) > 9:  # noqa: PLR2004 - digits
        raise ValueError(f"{name} must be a whole number, not {given!r}")
    return int(given)


async def _bad_request(_request: Request, error: Exception) -> Response:
    return JSONResponse({"message": str(error)}, status_code=400)
