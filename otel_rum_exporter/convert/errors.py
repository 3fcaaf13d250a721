"""Exceptions of log records and span events become `js_error_event`, with file, line and column out of their stack.

A stack of JavaScript begins with its innermost frame, a Python traceback ends with it: each is cut at the other end.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import privacy
from otel_rum_exporter.convert.attributes import Attributes, integer, or_unset, text
from otel_rum_exporter.convert.conversion import Once, Origin
from otel_rum_exporter.convert.ids import digest
from otel_rum_exporter.encoding import plain, well_formed
from otel_rum_exporter.events import CustomEvent, JsErrorEvent

_CUT = "..."
_MAX_PARSED = 16_384  # characters of a stack that are searched for its innermost frame
_MAX_MESSAGE = 1024  # characters; the stack repeats the message
_SAME_S = 1_000_000_000  # ns between an exception's reports by spans and logs that share no trace

# exception groups draw a margin before each line
_PYTHON = re.compile(r'^[ |]*File "(?P<file>[^"\n]+)", line (?P<line>\d{1,9})', re.MULTILINE)
# Chrome: `at fn (URL:L:C)`, `at URL:L:C`; Firefox and Safari: `fn@URL:L:C`, `URL:L:C`. Read from the right: URLs hold
# colons, and an @. Chrome's stacks begin with the message, whose lines may look like Firefox's.
# React Native's engine: `at fn (address at FILE:L:C)`. The JVM: `at class.fn(FILE:L)`.
_PLACE = r"(?P<file>[^\s()]+):(?P<line>\d{1,9}):(?P<column>\d{1,9})"
_FRAMES = (
    re.compile(rf"(?:at .*?\((?:address at )?|at (?:async )?){_PLACE}\)?"),
    re.compile(rf"(?:(?=[a-z][a-z0-9+.-]*://)|[^@:]*@){_PLACE}"),
    re.compile(r"at [^\s()]+\((?P<file>[^\s():]+\.[a-z]{1,6}):(?P<line>\d{1,9})(?P<column>)\)(?: .*)?"),
)
_GROUP = re.compile(r"^  \| ((?:\w+\.)*\w+: .*)$", re.MULTILINE)
_TRACEBACK = re.compile(r'\s*(?:[|+] *)?(?:Exception Group )?(?:Traceback \(most recent call last\)|File ")')
_JAVASCRIPT_FRAME = re.compile(r"^[ \t]*at .*:\d{1,9}:\d{1,9}\)?[ \t]*$", re.MULTILINE)


class Frame(NamedTuple):
    """Where an exception was raised. Lines and columns count from 1; None where the stack does not say."""

    filename: str
    lineno: int
    colno: int | None


def is_exception(attributes: Attributes) -> bool:
    """Tell whether a log record is an exception's, whatever its event is called."""
    return "exception.type" in attributes or "exception.message" in attributes


def is_python(stack: str) -> bool:
    """Tell whether a stack is a Python traceback, whose innermost frame stands last."""
    return bool(_python_frames(stack))


def innermost_frame(stack: str) -> Frame | None:
    """Return the frame that raised: the last of a Python traceback, else the first of JavaScript's or the JVM's stack."""
    frames = _python_frames(stack) or _frames_before_message(stack)
    if frames:
        last = frames[-1]
        return Frame(last["file"], int(last["line"]), None)
    lines = [line.strip() for line in stack[:_MAX_PARSED].splitlines()]
    for pattern in _FRAMES:
        for frame in filter(None, map(pattern.fullmatch, lines)):
            if not frame["file"].endswith("<anonymous>") and frame["file"] != "native":
                return Frame(frame["file"], int(frame["line"]), int(frame["column"]) if frame["column"] else None)
    return None


def _python_frames(stack: str) -> list[re.Match[str]]:
    """Return the frames of a Python traceback, none of a JavaScript stack whose message holds somebody's traceback."""
    end = stack[-_MAX_PARSED:]
    frames = list(_PYTHON.finditer(end))
    if frames and not _TRACEBACK.match(stack) and _JAVASCRIPT_FRAME.search(end, frames[-1].end()):
        return []
    return frames


def _frames_before_message(stack: str) -> list[re.Match[str]]:
    """Return the frames of a Python traceback whose message is so long that none is at the end."""
    if len(stack) <= _MAX_PARSED or not _TRACEBACK.match(stack, 0, _MAX_PARSED):
        return []
    return list(_PYTHON.finditer(stack[:_MAX_PARSED].rpartition("\n")[0]))


def cut_stack(stack: str, length: int, config: RumConfig) -> str | None:
    """Return the end of the stack that names its innermost frame, secrets taken out.

    Shape:  a traceback's last characters, unless a long message is all they hold; else the first.
    Units:  characters, without the mark; 0 is none.
    """
    if length == 0:
        return None
    at_end = is_python(stack)
    kept = privacy.tail(stack, length, config) if at_end else privacy.head(stack, length, config)
    if len(stack) <= length:
        return kept
    return _CUT + kept if at_end else kept + _CUT


def js_error(
    attributes: Attributes, config: RumConfig, *, description: str | None = None, stack_length: int | None = None
) -> JsErrorEvent:
    """Return the event of an exception's attributes.

    Args:
        attributes: `exception.*`, and `code.*` where they say where it was raised.
        config: `stack_trace_length` and what may be shown count.
        description: The span's status description, which stands in for a missing message.
        stack_length: Instead of `stack_trace_length`.

    Source: aws-rum-web 3.2 for what stands in for a missing type or message.
    """
    stack = plain(attributes.get("exception.stacktrace"))
    stack = stack if isinstance(stack, str) else ""
    kind = text(attributes, "exception.type")
    kind = privacy.text(kind, config) if kind else None
    message = _of_traceback(stack, kind) or text(attributes, "exception.message") or _without_prefix(description, kind)
    message = privacy.head(message, _MAX_MESSAGE, config) if message else None
    frame = innermost_frame(stack) or _code_frame(attributes)
    length = config.stack_trace_length if stack_length is None else stack_length
    return JsErrorEvent(
        type=kind or message or "Error",
        message=_without_prefix(message, kind) or _stand_in(kind, stack),
        filename=or_unset(frame and privacy.url(frame.filename, config)),
        lineno=or_unset(frame and frame.lineno),
        colno=or_unset(frame and frame.colno),
        stack=or_unset(cut_stack(stack, length, config) or None),
    )


def exception(  # noqa: PLR0913 - what tells one report of an exception from another
    attributes: Attributes,
    config: RumConfig,
    origin: Origin,
    *,
    trace: int,
    time_ns: int,
    description: str | None = None,
) -> tuple[JsErrorEvent | CustomEvent, Once]:
    """Return the event of an exception, and what makes it the same as another report of it.

    A server's is a custom event where `server_exceptions` asks for that, so that errors of the front end stay apart.
    """
    error = js_error(attributes, config, description=description)
    same = once(error, trace, time_ns, is_client=bool(origin.is_client))
    if origin.is_client or config.server_exceptions == "js_error":
        return error, same
    names = ("version", "type", "message", "filename", "lineno", "stack")
    details = {name: value for name in names if isinstance(value := getattr(error, name), str | int)}
    return CustomEvent("otel.exception", details), same


def once(error: JsErrorEvent, trace: int, time_ns: int, *, is_client: bool) -> Once:
    """Return what makes two reports of one exception the same: nested spans and logs carry it again.

    Within a trace that holds at any distance. Without a trace, reports of a server within a second of each other are
    one; a browser reports each exception once, so there only the very same moment counts.
    """
    kind = error.type.rpartition(".")[2] if isinstance(error.type, str) else None
    scope = f"trace {trace}" if trace else f"time {time_ns}" if is_client else ""
    key = ("exception", digest("\n".join(map(str, (scope, kind, error.filename, error.lineno, error.message)))))
    return Once(key, within_ns=None if scope else _SAME_S)


def _stand_in(kind: str | None, stack: str) -> str:
    """Return the message of an exception without one: of Python's its type, since the console lists errors by message."""
    return kind.rpartition(".")[2] if kind and is_python(stack) else "undefined"


def _of_traceback(stack: str, kind: str | None) -> str | None:
    """Return what the last line of a Python traceback says of its exception, None where that is no line of its own.

    An exception group's line stands before those of its members.
    OpenTelemetry's logging handler has the exception's first argument instead: of `OSError(2, "No such file")` the 2.
    """
    line = stack[-_MAX_PARSED:].rstrip().rpartition("\n")[2]
    group = _GROUP.search(stack, 0, _MAX_PARSED) if line.lstrip().startswith("+-") else None
    name, separator, message = (group[1] if group else line).partition(": ")
    is_of_kind = bool(separator and kind) and name.rpartition(".")[2] == (kind or "").rpartition(".")[2]
    return message if is_of_kind and is_python(stack) else None


def _code_frame(attributes: Attributes) -> Frame | None:
    filename = text(attributes, "code.file.path", "code.filepath")
    lineno = integer(attributes, "code.line.number", "code.lineno")
    return Frame(filename, lineno, None) if filename and lineno is not None else None


def _without_prefix(message: str | None, kind: str | None) -> str | None:
    """Return a message without the `Type: ` that Python's status descriptions and Android put before it."""
    if message is None:
        return None
    message = well_formed(message)
    prefix, separator, rest = message.partition(": ")
    if separator and kind and prefix in (kind, kind.rpartition(".")[2]):
        return rest
    return message
