"""The demo's processes: they say a line when they are ready, end when their input ends, and then say their counters."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import msgspec

from otel_rum_exporter.stats import Statistics

_NEEDED = (
    "flask",
    "requests",
    "opentelemetry.distro",
    "opentelemetry.instrumentation.flask",
    "opentelemetry.instrumentation.requests",
)
_PATIENCE_S = 30.0
_STOP_S = 5.0
_SHOWN_LINES = 15


class Child:
    """A process that ends with this one, however this one ends: when its standard input does.

    Args:
        name: What the screen calls it.
        command: Program and arguments.
        environment: Its whole environment.
    """

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - as long as self
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is this process's business
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Child:  # noqa: PYI034 - typing.Self came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_input()
        if kind is not None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()

    def line(self) -> str:
        """Return the next line of its output. Errors: RuntimeError with what it wrote to standard error."""
        try:
            line = self._lines.get(timeout=_PATIENCE_S)
        except queue.Empty:
            raise RuntimeError(f"the {self._name} said nothing for {_PATIENCE_S:.0f} s{self._last_words()}") from None
        if not line:
            raise RuntimeError(f"the {self._name} ended early{self._last_words()}")
        return line

    def finish(self) -> Statistics:
        """End its input and return its counters."""
        self._end_input()
        return msgspec.json.decode(self.line(), type=Statistics)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.strip())
        self._lines.put("")

    def _end_input(self) -> None:
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().splitlines()[-_SHOWN_LINES:]
        return ":\n  " + "\n  ".join(lines) if lines else ""


def shop(environment: Mapping[str, str]) -> Child:
    """Start the shop as anybody would: under `opentelemetry-instrument`, with environment variables only."""
    instrument = str(Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument")
    return Child("shop", [instrument, sys.executable, "-m", "otel_rum_exporter.demo.serve"], environment)


def browsers(environment: Mapping[str, str]) -> Child:
    """Start the process that replays the browsers."""
    return Child("browsers", [sys.executable, "-m", "otel_rum_exporter.demo.replay"], environment)


def environment(rum: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with the endpoint's variables instead of any that configure telemetry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AWS_"))}
    # everything is on this machine, wherever its proxy may be
    return {**kept, **rum, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"}


def check_installed() -> None:
    """Errors: ModuleNotFoundError for the first package of the extra `demo` that is missing."""
    for name in _NEEDED:
        if not _is_there(name):
            raise ModuleNotFoundError(name=name)


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
