"""Log lines that do not repeat themselves, and that nothing from outside can forge."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

_QUIET_S = 60.0
_LONGEST = 300  # characters of a message that is not ours
_FORMAT = "RUM exporter: %s%s"
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",  # what ends a line or turns it round in terminals and in viewers of logs
    0x2029: "\\u2029",
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


class CauseLog:
    """Log lines, one a minute for each cause, with the number that was left out since.

    Shape:  each is one line, whatever is in it: control characters are escaped.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        """Write to a logger; the clock is monotonic, in seconds."""
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._said_at: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def begin_in_child(self) -> None:
        """Replace the lock after a fork: a thread that is not in the child may have held it."""
        self._lock = threading.Lock()

    def say(self, level: int, cause: str, message: str, *, quiet_s: float = _QUIET_S) -> None:
        """Log a message, unless one of the same cause was logged less than `quiet_s` ago."""
        now = self._clock()
        with self._lock:
            said_at = self._said_at.get(cause)
            if said_at is not None and now - said_at < quiet_s:
                self._left_out[cause] += 1
                return
            self._said_at[cause] = now
            left_out = self._left_out.pop(cause, 0)
        since = f" (and {left_out} more since the last such line)" if left_out else ""
        line = message.translate(_CONTROLS).encode(errors="backslashreplace").decode()  # no lone surrogates
        self._logger.log(level, _FORMAT, line, since)
        last = logging.lastResort
        if last and level >= last.level and self._logger.isEnabledFor(level) and _is_unseen(self._logger):
            last.handle(self._logger.makeRecord(self._logger.name, level, "", 0, _FORMAT, (line, since), None))


def _is_unseen(logger: logging.Logger) -> bool:
    """Whether a logger has OpenTelemetry's handlers alone: beside them Python's handler of last resort is silent."""
    handlers: list[logging.Handler] = []
    ancestor: logging.Logger | None = logger
    while ancestor is not None:
        handlers += ancestor.handlers
        ancestor = ancestor.parent if ancestor.propagate else None
    return bool(handlers) and all(type(each).__module__.startswith("opentelemetry.") for each in handlers)


def printable(text: object) -> str:
    """Return a text that is not ours as one line of a log can hold it."""
    line = str(text).encode("unicode_escape").decode("ascii")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
