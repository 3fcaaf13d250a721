"""What arrived at the endpoint, in the terms of CloudWatch RUM's console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from otel_rum_exporter.events import PREFIX

Event = dict[str, Any]
Rating = Literal["good", "needs improvement", "poor"]

_FIRST_ERROR = 400


class VitalKind(NamedTuple):
    """A web vital: up to `good` is good, beyond `poor` is poor. Units: as `unit` says; "" is a score."""

    type: str
    name: str
    good: float
    poor: float
    unit: str


VITALS = (  # https://web.dev/articles/vitals, and the page of each metric there
    VitalKind("largest_contentful_paint_event", "LCP  largest contentful paint", 2500, 4000, "ms"),
    VitalKind("interaction_to_next_paint_event", "INP  interaction to next paint", 200, 500, "ms"),
    VitalKind("cumulative_layout_shift_event", "CLS  cumulative layout shift", 0.1, 0.25, ""),
    VitalKind("first_contentful_paint_event", "FCP  first contentful paint", 1800, 3000, "ms"),
    VitalKind("time_to_first_byte_event", "TTFB time to first byte", 800, 1800, "ms"),
)


class Session(NamedTuple):
    """A session; its pages are in the order of the visit."""

    session_id: str
    user_id: str
    pages: list[str]
    events: int


class Vital(NamedTuple):
    """A web vital over all page loads, by its 75th percentile."""

    kind: VitalKind
    samples: int
    value: float
    rating: Rating


class Call(NamedTuple):
    """An HTTP call as somebody saw it; `outcome` is the status, or the error that it ended with."""

    seen_by: Literal["browser", "shop"]
    method: str
    url: str
    outcome: str
    failed: bool


class Error(NamedTuple):
    """An exception; `where` is file and line."""

    seen_by: Literal["browser", "shop"]
    type: str
    message: str
    where: str


class Summary(NamedTuple):
    """Everything that the screen shows of the events."""

    sessions: list[Session]
    views: Counter[str]
    vitals: list[Vital]
    calls: Counter[Call]
    errors: Counter[Error]
    custom: Counter[str]
    other: Counter[str]


def summarise(events: Sequence[Event], shop_url: str) -> Summary:
    """Return the numbers of events as `LocalRum.events` gives them. URLs of the shop lose their host."""
    by_type: dict[str, list[Event]] = {}
    for event in events:
        by_type.setdefault(event["type"].removeprefix(PREFIX), []).append(event)
    views = by_type.pop("page_view_event", [])
    return Summary(
        sessions=_sessions(events, views),
        views=Counter(view["metadata"]["pageId"] for view in views),
        vitals=[_vital(kind, by_type.pop(kind.type)) for kind in VITALS if kind.type in by_type],
        calls=Counter(_call(event, shop_url) for event in by_type.pop("http_event", [])),
        errors=Counter(_error(event, shop_url) for event in by_type.pop("js_error_event", [])),
        custom=Counter({kind: len(found) for kind, found in by_type.items() if _is_custom(found[0])}),
        other=Counter({kind: len(found) for kind, found in by_type.items() if not _is_custom(found[0])}),
    )


def rating(kind: VitalKind, value: float) -> Rating:
    """Return how good a value is."""
    if value <= kind.good:
        return "good"
    return "poor" if value > kind.poor else "needs improvement"


def percentile_75(values: Iterable[float]) -> float:
    """Return the smallest value that at least three quarters of the values do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * 3 // 4) - 1]


def _is_custom(event: Event) -> bool:
    return not event["type"].startswith(PREFIX)


def _sessions(events: Sequence[Event], views: Sequence[Event]) -> list[Session]:
    counts = Counter((event["session_id"], event["user_id"]) for event in events)
    visits = sorted(views, key=lambda view: view["timestamp"])
    return [
        Session(
            session_id, user_id, [view["metadata"]["pageId"] for view in visits if view["session_id"] == session_id], n
        )
        for (session_id, user_id), n in counts.items()
    ]


def _vital(kind: VitalKind, events: Sequence[Event]) -> Vital:
    value = percentile_75(event["details"]["value"] for event in events)
    return Vital(kind, len(events), value, rating(kind, value))


def _call(event: Event, shop_url: str) -> Call:
    details = event["details"]
    request, status = details["request"], details.get("response", {}).get("status")
    outcome = str(status) if status else details.get("error", {}).get("message", "no answer")
    failed = status is None or status >= _FIRST_ERROR
    return Call(_seen_by(event), request["method"], _short(request.get("url", ""), shop_url), outcome, failed)


def _error(event: Event, shop_url: str) -> Error:
    details = event["details"]
    where = _short(details.get("filename", ""), shop_url)
    if "lineno" in details:
        # a path of Python is long, and its end says most
        where = f"{where.rpartition('/')[2]}:{details['lineno']}"
    return Error(_seen_by(event), details.get("type", ""), details.get("message", ""), where)


def _seen_by(event: Event) -> Literal["browser", "shop"]:
    # only a browser says what device it runs on
    return "browser" if "deviceType" in event["metadata"] else "shop"


def _short(url: str, shop_url: str) -> str:
    return url.removeprefix(shop_url) if url.startswith(shop_url) else url.removeprefix(f"{urlsplit(url).scheme}://")
