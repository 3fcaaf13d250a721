"""Log lines for machines: logfmt, or JSON. One line each, whatever is in it."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Any

from otel_rum_exporter.cause_log import printable

_FIELDS = "rum_gateway_fields"
_BARE = re.compile(r"[!#-<>-~]+")  # nothing that would end a value or begin another one


def fields(**values: Any) -> dict[str, Any]:
    """Return a log call's `extra` for these fields."""
    return {_FIELDS: values}


class LineFormatter(logging.Formatter):
    """Writes records as `key=value` pairs, or as JSON objects. Control characters are escaped in both."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; of an exception what it was and where, without the values around it."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1]:
            line |= _of_error(record.exc_info[1])
        return (
            json.dumps(line) if self._as_json else " ".join(f"{name}={_value(value)}" for name, value in line.items())
        )


def _of_error(error: BaseException) -> dict[str, str]:
    return {"error": f"{type(error).__name__}: {printable(error)}", "at": place_of(error)}


def place_of(error: BaseException) -> str:
    """Return where an exception was raised: file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"


def _value(value: Any) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def write_logs(log_format: str, *, access: bool) -> None:
    """Let this process's log go to standard error, in one of the formats."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(as_json=log_format == "json"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("otel_rum_exporter").setLevel(logging.INFO)
    # anybody can make it warn, as often as they like
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("otel_rum_exporter.gateway.access").setLevel(logging.INFO if access else logging.WARNING)
