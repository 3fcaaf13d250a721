"""The browsers' process: replays what a real browser reported of a visit, once for each user and in their session.

The files in `browser/` are OTLP requests of a Chromium with OpenTelemetry's browser SDK, as they were posted. Only what
ties them to one visit is changed: session and user, ids of traces and spans, the moment, the shop's address.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter
from otel_rum_exporter.demo.users import User
from otel_rum_exporter.otlp import Log, Span, items

FOLDER = Path(__file__).with_name("browser")
CAPTURED_AT = "http://127.0.0.1:8899"
"""Where the shop stood when the visit was captured."""

_ID_DIGITS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


class Order(msgspec.Struct, frozen=True):
    """What to replay: the line of JSON that this process reads from its standard input."""

    shop_url: str
    users: list[User]


def main() -> None:
    """Read the order, export everything, and print the counters."""
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    spans, logs = RumSpanExporter(), RumLogRecordExporter()
    for user in order.users:
        for request in requests_of(user, order.shop_url, time.time_ns()):
            read = items(json.dumps(request))
            # items have the members of the SDK's objects that the exporters read
            spans.export([item for item in read if isinstance(item, Span)])  # type: ignore[misc]
            logs.export([item for item in read if isinstance(item, Log)])  # type: ignore[misc]
    spans.force_flush()
    sys.stdout.write(msgspec.json.encode(spans.stats()).decode() + "\n")


def requests_of(user: User, shop_url: str, now_ns: int) -> Iterator[Any]:
    """Yield the captured requests as if this user's visit had ended just now."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.json"))]
    captured = [json.loads(text.replace(CAPTURED_AT, shop_url)) for text in texts]
    shift_ns = now_ns - max(time_ns for request in captured for time_ns in _times(request))
    ids: dict[str, str] = {}
    for request in captured:
        yield _rewritten(request, lambda key, value: _value(key, value, shift_ns, ids), user)


def _rewritten(value: Any, change: Callable[[str, Any], Any], user: User) -> Any:
    if isinstance(value, list):
        return [_rewritten(member, change, user) for member in _with_user(value, user)]
    if isinstance(value, dict):
        return {key: _rewritten(change(key, member), change, user) for key, member in value.items()}
    return value


def _with_user(attributes: list[Any], user: User) -> list[Any]:
    """Return attributes that name a session with this user's session and name; any others as they are."""
    others = [each for each in attributes if not (isinstance(each, dict) and each.get("key") == "session.id")]
    if len(others) == len(attributes):
        return attributes
    return [*others, _attribute("session.id", user.session_id), _attribute("user.id", user.name)]


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _value(key: str, value: Any, shift_ns: int, ids: dict[str, str]) -> Any:
    if key.endswith("UnixNano"):
        return str(int(value) + shift_ns)
    if key in _ID_DIGITS and value:
        return ids.setdefault(value, secrets.token_hex(_ID_DIGITS[key] // 2))
    return value


def _times(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for member in value:
            yield from _times(member)
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from (int(member),) if key.endswith("UnixNano") else _times(member)


if __name__ == "__main__":
    main()
