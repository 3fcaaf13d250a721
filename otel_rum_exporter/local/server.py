"""Runs the endpoint on a socket until it is told to stop."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_rum_exporter.local.app import build_app
from otel_rum_exporter.local.connection import TRANSPORT
from otel_rum_exporter.local.put_rum_events import PutRumEvents
from otel_rum_exporter.local.settings import Settings
from otel_rum_exporter.local.store import Store
from otel_rum_exporter.sockets import listen, send_without_delay, url_of

OnReady = Callable[[str], None]

_KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that no request meets a connection that just closed."""

_STOP_S = 2
"""Grace for requests under way; faults end at once."""


def run(settings: Settings, on_ready: OnReady) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: How the endpoint behaves.
        on_ready: Called with the endpoint's URL as soon as it accepts connections.

    Errors: OSError when the address cannot be bound.
    """
    server = LocalServer(settings, on_ready)
    with _quiet_signals():
        server.serve_until_stopped()


class LocalServer:
    """An endpoint that can be stopped from another thread.

    Args:
        settings: How the endpoint behaves.
        on_ready: Called in the serving thread with the URL as soon as connections are accepted.
    """

    def __init__(self, settings: Settings, on_ready: OnReady) -> None:
        self._socket = listen(settings.host, settings.port)
        self._store = Store(settings.db)
        self.url = url_of(self._socket, settings.host)
        endpoint = PutRumEvents(settings, self._store)
        config = uvicorn.Config(
            build_app(endpoint, self._store),
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        self._server = _Server(config, endpoint.closing, lambda: on_ready(self.url))

    def serve_until_stopped(self) -> None:
        """Serve; returns after `stop` or a signal, with everything closed."""
        try:
            asyncio.run(self._server.serve([self._socket]))
        finally:
            self._socket.close()
            self._store.close()

    def stop(self) -> None:
        """Ask the server to stop; returns at once."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, closing: asyncio.Event, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        send_without_delay(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """Let a signal end the server without ending the process: uvicorn raises it once more when it is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, _stop) for number in handled}
    try:
        yield
    except _StoppedError:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _StoppedError(BaseException):
    """Passes through like KeyboardInterrupt, whose place it takes."""


def _stop(_number: int, _frame: Any) -> None:
    raise _StoppedError
