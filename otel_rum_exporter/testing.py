"""A CloudWatch RUM endpoint for tests: real sockets, AWS's checks, faults on request.

Example:
    ::

        from otel_rum_exporter.testing import LocalRum

        def test_checkout_is_reported():
            with LocalRum() as rum:
                run_my_application(env={**os.environ, **rum.environment()})
                (event,) = rum.wait_for_events(1)
                assert event["type"] == "com.amazon.rum.http_event"

        def test_survives_an_outage():
            with LocalRum() as rum:
                rum.set_faults(status=503, times=2)
                ...
"""

import contextlib
import http.client
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from opentelemetry import context

if TYPE_CHECKING:
    from otel_rum_exporter.local import LocalServer, Settings

__all__ = ["LocalRum"]

APP_MONITOR_ID = "11111111-2222-3333-4444-555555555555"
CREDENTIALS = ("AKIALOCALRUM", "local-rum-secret")
REGION = "us-east-1"

_START_S = 30
_STOP_S = 10
_PAGE = 1000
_WAIT_SLICE_S = 10


class LocalRum:
    """The embedded RUM endpoint as a context manager.

    Args:
        credentials: Access key, secret key and, if wanted, session token that requests must be
            signed with; None verifies no signatures.
        separate_process: Run the endpoint in a process of its own (default), which the tested
            code cannot disturb, or in a thread of this process, which starts faster.
        settings: Further fields of `otel_rum_exporter.local.Settings`, e.g. ``strict=False``.

    Attributes:
        endpoint: The URL to send to.

    Example:
        ::

            with LocalRum(separate_process=False, strict=False) as rum:
                client = boto3.client("rum", endpoint_url=rum.endpoint, ...)
                client.put_rum_events(...)
                assert rum.stats()["events_distinct"] == 1
    """

    def __init__(
        self,
        credentials: tuple[str, str] | tuple[str, str, str] | None = CREDENTIALS,
        *,
        separate_process: bool = True,
        **settings: Any,
    ) -> None:
        from otel_rum_exporter.local import Credentials, Settings  # noqa: PLC0415 - needs the extra `server`

        known = (Credentials(*credentials),) if credentials else ()
        self._credentials = credentials
        self._settings = Settings(**{"credentials": known, "region": REGION, **settings})
        self._host = (_Process if separate_process else _Thread)(self._settings)
        self.endpoint = ""

    def __enter__(self) -> "LocalRum":  # noqa: PYI034 - typing.Self came with Python 3.11
        self.endpoint = self._host.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._host.stop()

    def environment(self, app_monitor_id: str = APP_MONITOR_ID) -> dict[str, str]:
        """Return environment variables that make an exporter in another process send here."""
        key, secret, token = (*(self._credentials or ("", "")), "", "")[:3]
        return {
            "OTEL_EXPORTER_RUM_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_RUM_APP_MONITOR_ID": app_monitor_id,
            "OTEL_EXPORTER_RUM_REGION": self._settings.region or REGION,
            "OTEL_EXPORTER_RUM_AUTH": "sigv4" if self._credentials else "none",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
        }

    def events(self, type: str | None = None, session: str | None = None) -> list[dict[str, Any]]:  # noqa: A002 - the API's word
        """Return the distinct events in order of arrival.

        Args:
            type: Only of this type, with or without ``com.amazon.rum.``.
            session: Only of this session.

        Returns:
            Each with ``id``, ``timestamp``, ``type``, ``details`` and ``metadata`` (merged with the
            request's SessionMetadata) as dicts, ``batch_id``, ``session_id``, ``user_id``,
            ``monitor_id``, ``times_received`` and ``times_changed``.
        """
        return self._pages("events", type=type, session=session)

    def sessions(self) -> list[dict[str, Any]]:
        """Return each session: user, first and last timestamp, number of events by type, pages."""
        found: list[dict[str, Any]] = self._call("GET", "/api/sessions")["sessions"]
        return found

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests in order of arrival: envelope, headers, sizes, status, findings."""
        return self._pages("requests")

    def stats(self) -> dict[str, Any]:
        """Return the counters: requests by status, events received and distinct, rejections, in flight."""
        return self._call("GET", "/api/stats")

    def set_faults(self, **faults: Any) -> None:
        """Replace the faults, e.g. ``set_faults(status=503, retry_after="2", times=3)``.

        Args:
            faults: Fields of `otel_rum_exporter.local.faults.Faults`.

        Errors: ValueError for an unknown fault or a bad value.
        """
        self._call("POST", "/api/faults", faults)

    def clear_faults(self) -> None:
        """End all faults."""
        self._call("DELETE", "/api/faults")

    def set_credentials(self, *credentials: dict[str, Any]) -> None:
        """Replace the known credentials, each with ``access_key``, ``secret_key``, ``session_token``, ``expired``."""
        self._call("POST", "/api/credentials", {"credentials": list(credentials)})

    def reset(self) -> None:
        """Forget what arrived; faults and credentials stay."""
        self._call("DELETE", "/api/events")

    def wait_for_events(self, count: int, timeout_s: float = 30) -> list[dict[str, Any]]:
        """Return all events as soon as there are at least so many distinct ones.

        Errors: TimeoutError that says what did arrive.
        """
        deadline = time.monotonic() + timeout_s
        while (remaining_s := deadline - time.monotonic()) > 0:
            slice_ms = math.ceil(min(remaining_s, _WAIT_SLICE_S) * 1000)
            stats = self._call("GET", f"/api/stats?events={count}&timeout_ms={slice_ms}")
            if stats["events_distinct"] >= count:
                return self.events()
        raise TimeoutError(f"no {count} events within {timeout_s} s: {self.stats()}")

    def _pages(self, name: str, **query: str | None) -> list[dict[str, Any]]:
        chosen = {key: value for key, value in query.items() if value is not None}
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", f"/api/{name}?{urlencode({**chosen, 'limit': _PAGE, 'offset': len(found)})}")
            found += page[name]
            if not page[name] or len(found) >= page["total"]:
                return found

    def _call(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_WAIT_SLICE_S + 20)
        body = None if document is None else json.dumps(document)
        with _suppressed_instrumentation(), contextlib.closing(connection):
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status == http.HTTPStatus.BAD_REQUEST:
            raise ValueError(answer["message"])
        return answer


class _Thread:
    """Hosts the endpoint in a thread of this process."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._ready = threading.Event()
        self._server: LocalServer | None = None

    def start(self) -> str:
        from otel_rum_exporter.local import LocalServer  # noqa: PLC0415 - needs the extra `server`

        self._server = LocalServer(self._settings, on_ready=lambda _url: self._ready.set())
        self._thread = threading.Thread(target=self._serve, name="local-rum", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise RuntimeError("the embedded RUM endpoint did not start")
        return self._server.url

    def stop(self) -> None:
        if self._server:
            self._server.stop()
            self._thread.join(_STOP_S)

    def _serve(self) -> None:
        if self._server:
            with _suppressed_instrumentation():
                self._server.serve_until_stopped()


class _Process:
    """Hosts the endpoint in a process of its own, which also ends when this one is killed."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings

    def start(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "otel_rum_exporter.local", "--settings-from-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_clean_environment(),
            text=True,
        )
        url = self._greet()
        if not url:
            self.stop()
            raise RuntimeError("the embedded RUM endpoint did not start")
        return url

    def _greet(self) -> str:
        """Send the settings, and return the URL that comes back; empty when the process ended instead."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return ""
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(asdict(self._settings)) + "\n")
            stdin.flush()
        return stdout.readline().strip()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure or instrument the endpoint."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AWS_"))}
    paths = [
        path for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path and "auto_instrumentation" not in path
    ]
    return {**kept, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *paths])}


@contextlib.contextmanager
def _suppressed_instrumentation() -> Iterator[None]:
    """Keep OpenTelemetry's instrumentations from reporting the test's own requests."""
    token = context.attach(context.set_value("suppress_instrumentation", value=True))
    try:
        yield
    finally:
        context.detach(token)
