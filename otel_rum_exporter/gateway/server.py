"""Runs a gateway: two listeners, one pipeline, signals, and an end in order.

SIGTERM, SIGINT    take nothing more, answer what was received, deliver or leave to the spool, stop
SIGHUP             read tokens, app monitors and origins anew
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.config import ConfigError
from otel_rum_exporter.gateway.app import build_app
from otel_rum_exporter.gateway.bodies import Bodies
from otel_rum_exporter.gateway.clients import Clients
from otel_rum_exporter.gateway.connection import Connection, protocol_with
from otel_rum_exporter.gateway.counts import Counts
from otel_rum_exporter.gateway.gate import Gate
from otel_rum_exporter.gateway.intake import Intake
from otel_rum_exporter.gateway.limits import Held
from otel_rum_exporter.gateway.log_lines import fields, place_of
from otel_rum_exporter.gateway.open_files import allow_open_files
from otel_rum_exporter.gateway.operations import Operations
from otel_rum_exporter.gateway.receiver import Desk
from otel_rum_exporter.gateway.settings import GatewayOptions, Settings
from otel_rum_exporter.gateway.watch import EVERY_S, Watch
from otel_rum_exporter.pipeline import Pipeline
from otel_rum_exporter.sockets import listen, url_of
from otel_rum_exporter.stats import Statistics

_DELIVERY_SHARE = 0.3  # of the time to drain, for the last deliveries; with a spool they may as well wait
_OPERATIONS_CONNECTIONS = 100
_LAST_ANSWERS_S = 0.5  # of the time to answer: for telling those who have taken all of it
_PATIENCE_S = 3.0  # with a disk that stalls: senders wait for an answer for ten, and to send again costs them more

_logger = logging.getLogger(__name__)


class Addresses(NamedTuple):
    """Where a gateway listens."""

    url: str
    operations_url: str


OnReady = Callable[[Addresses], None]
Reload = Callable[[Settings], Settings]


class GatewayServer:
    """A gateway that can be stopped from another thread.

    Attributes:
        addresses: Where it listens, from its construction on.
        pipeline: Where what it receives goes.
    """

    def __init__(self, settings: Settings, on_ready: OnReady, reload: Reload) -> None:
        """Bind the sockets.

        Args:
            settings: The configuration.
            on_ready: Called in the serving thread as soon as connections are accepted.
            reload: Returns the configuration as of now, for a gateway that was started with another; raises ConfigError.

        Raises:
            OSError: An address cannot be bound.
        """
        options = settings.gateway
        self._settings = settings
        self._reload = reload
        self._on_ready = on_ready
        self._log = CauseLog(_logger, time.monotonic)
        self._listeners = _listen(options)
        scheme = "https" if options.tls_certificate else "http"
        self.addresses = Addresses(
            url_of(self._listeners[0], options.host, scheme), url_of(self._listeners[1], options.operations_host)
        )
        self.pipeline = Pipeline(settings.pipeline, patience_s=_PATIENCE_S, takes_whole=True)
        self._watch = Watch(self.pipeline, settings.pipeline, time.monotonic)
        self._gate = Gate(settings.policy, settings.limits, Clients(options.trusted_proxies), time.monotonic)
        self._counts = Counts()
        self._held = Held(options.max_in_flight, options.max_in_flight_bytes)
        self._executor = ThreadPoolExecutor(options.threads, thread_name_prefix="rum-gateway")
        self._stopping: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = False

    def serve_until_stopped(self) -> None:
        """Serve; returns after `stop` or a signal, with everything delivered, on disk, or counted as lost."""
        allow_open_files(self._settings.gateway.max_connections)
        try:
            with _runner() as run:
                run(self._serve())
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)
            for each in self._listeners:
                each.close()

    def stop(self) -> None:
        """Ask the gateway to stop; returns at once."""
        self._is_stopped = True
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            with contextlib.suppress(RuntimeError):  # it has stopped meanwhile
                loop.call_soon_threadsafe(stopping.set)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if self._is_stopped:  # before it began
            return
        receiver = _Server(self._receiver_config())
        operations = _Server(self._operations_config(lambda: len(receiver.server_state.connections)))
        self._handle_signals(self._loop)
        serving = [
            asyncio.ensure_future(each.serve([listener]))
            for each, listener in zip((receiver, operations), self._listeners, strict=True)
        ]
        await _started([receiver, operations], serving)
        watching = asyncio.ensure_future(self._watch_on())
        # what an earlier gateway left in the spool leaves from now on
        await asyncio.to_thread(self.pipeline.admit_spans, [])
        try:
            _logger.info("Listening", extra=fields(**self.addresses._asdict()))
            self._on_ready(self.addresses)
            await self._stopping.wait()
        finally:
            deadline = time.monotonic() + self._settings.gateway.drain_timeout / 1000
            self._watch.is_draining = receiver.should_exit = True
            _logger.info("About to stop")
            await serving[0]
            await asyncio.to_thread(self._shut_pipeline, deadline)
            watching.cancel()
            operations.should_exit = True  # until now it has said that the gateway is about to stop
            await serving[1]

    def _shut_pipeline(self, deadline: float) -> None:
        left = max(0.0, deadline - time.monotonic())
        self.pipeline.shutdown(min(left, max(left * _DELIVERY_SHARE, self._settings.exporter.shutdown_timeout_s)))
        _logger.info("Stopped", extra=fields(**_balance(self.pipeline.stats())))

    async def _watch_on(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await asyncio.to_thread(self._watch.look)
            except Exception as error:  # noqa: BLE001 - the next look may do better
                line = f"The pipeline could not be looked at: {type(error).__name__}: {printable(error)}"
                self._log.say(logging.ERROR, "watch", line)

    # what serves

    def _receiver_config(self) -> uvicorn.Config:
        settings, options = self._settings, self._settings.gateway
        desk = Desk(
            gate=self._gate,
            bodies=Bodies(self._held, settings.limits.wire_bytes, options.body_timeout / 1000),
            held=self._held,
            intake=Intake(
                self.pipeline,
                settings.limits.of_bodies,
                settings.limits.session_records,
                settings.limits.sessions,
                time.monotonic,
            ),
            watch=self._watch,
            counts=self._counts,
            executor=self._executor,
            log=self._log,
            access_log=options.access_log,
        )
        answering_s = options.drain_timeout / 1000 * (1 - _DELIVERY_SHARE)
        protocol = protocol_with(options.header_timeout / 1000, options.max_connections, desk.note_ending)
        return _config(build_app(desk), options, protocol, answering_s, with_tls=True)

    def _operations_config(self, connections: Callable[[], int]) -> uvicorn.Config:
        options, has_spool = self._settings.gateway, self._settings.exporter.spool_dir is not None
        operations = Operations(self._watch, self._counts, self._held, connections, has_spool=has_spool)
        protocol = protocol_with(options.header_timeout / 1000, _OPERATIONS_CONNECTIONS)
        return _config(operations.app(), options, protocol, 1.0, with_tls=False)

    # signals

    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle signals, where they can be."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name, handler in {"SIGTERM": self.stop, "SIGINT": self.stop, "SIGHUP": self.read_anew}.items():
            number = getattr(signal, name, None)
            if number is None:
                continue
            try:
                loop.add_signal_handler(number, handler)
            except NotImplementedError:  # on Windows
                signal.signal(number, lambda *_: self.stop())
        if hasattr(signal, "SIGHUP"):  # what came until now was kept back
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def read_anew(self) -> None:
        """Read tokens, app monitors and origins anew; those that were, stay where the new ones are of no use."""
        line = "The configuration was not read anew, the old one stays: %s"
        try:
            anew = self._reload(self._settings)
        except ConfigError as error:
            problems = "; ".join(map(str, error.problems))
            _logger.error(line, printable(problems))  # noqa: TRY400 - where that was found says nothing
            return
        except Exception as error:  # noqa: BLE001 - a gateway that runs goes on
            what = f"{type(error).__name__} at {place_of(error)}"  # not its message, in which may be a token
            _logger.error(line, what)  # noqa: TRY400 - likewise
            return
        policy = self._gate.policy = anew.policy
        number, monitors = len(policy.tokens.known), len(policy.monitors.entries)
        _logger.info("Read anew: %d tokens, %d app monitors", number, monitors)
        if anew.waiting:
            _logger.warning("These options have changed, which takes a restart: %s", ", ".join(anew.waiting))


class _Server(uvicorn.Server):
    """uvicorn's server, beside another one in the same loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_started = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self.is_started.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. Requests that do not come to their end are cancelled before uvicorn does so, which takes it for an error."""
        grace_s = self.config.timeout_graceful_shutdown or 0
        asyncio.get_running_loop().call_later(max(0.0, grace_s - _LAST_ANSWERS_S), self._end_requests)
        await super().shutdown(sockets)

    def _end_requests(self) -> None:
        for each in list(self.server_state.tasks):
            each.cancel()


async def _started(servers: Sequence[_Server], serving: Sequence[asyncio.Future[None]]) -> None:
    """Return when all servers accept connections. Errors: what keeps one of them from it."""
    accepting = asyncio.gather(*(each.is_started.wait() for each in servers))
    either: list[asyncio.Future[Any]] = [accepting, *serving]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for each in serving:
        if each.done():
            accepting.cancel()
            each.result()


def _balance(statistics: Statistics) -> dict[str, int]:
    """Return what became of the events, as the equation that promises it has them."""
    return {
        "accepted": statistics.accepted,
        "delivered": statistics.delivered,
        "dead_lettered": sum(statistics.dead_lettered.values()),
        "dropped": sum(statistics.events_dropped.values()),
        "queued": statistics.queued,
    }


def _listen(options: GatewayOptions) -> tuple[socket.socket, socket.socket]:
    first = listen(options.host, options.port)
    try:
        return first, listen(options.operations_host, options.operations_port)
    except OSError:
        first.close()
        raise


def _config(
    app: ASGIApp, options: GatewayOptions, protocol: type[Connection], stop_s: float, *, with_tls: bool
) -> uvicorn.Config:
    certificate, key = (options.tls_certificate, options.tls_key) if with_tls else (None, None)
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.idle_timeout // 1000,
        timeout_graceful_shutdown=max(1, int(stop_s)),
        ssl_certfile=certificate and str(certificate),
        ssl_keyfile=key and str(key),
    )


@contextlib.contextmanager
def _runner() -> Iterator[Callable[..., None]]:
    """Yield what runs a coroutine in uvloop's loop, or asyncio's where that is not installed."""
    try:
        import uvloop  # noqa: PLC0415 - not for each platform
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        yield loop.run_until_complete
    finally:
        asyncio.set_event_loop(None)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
