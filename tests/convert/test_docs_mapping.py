"""docs/mapping.md says what the code does: the golden pairs' items become what their rows say, and nothing else.

Each item belongs to the first row that fits it. What all items of a row become is compared with all that the row names,
so a row without a golden pair fails, as does an item without a row, and an outcome that only one of the two knows.
"""

import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import golden
import msgspec
import pytest
from opentelemetry.trace import SpanKind

from otel_rum_exporter import DropReason, events, otlp
from otel_rum_exporter.convert import custom, logs, mobile, spans

TEXT = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
LOGS, SPANS, SPAN_EVENTS = "Log events", "Spans", "Events of spans"
OF_THAT_NAME = "of that name"
MORE = {"custom_events": "all", "server_exceptions": "custom", "xray_events": True}
REASONS = {reason.value for reason in DropReason}
# Source: CloudWatch RUM's user guide, metrics that RUM collects; HttpErrorCount is one of the extended metrics
METRICS = {
    "session_start_event": {"SessionCount"},
    "page_view_event": {"PageViewCount"},
    "js_error_event": {"JsErrorCount"},
    "http_event": {"HttpStatusCodeCount", "Http4xxCount", "Http5xxCount", "HttpErrorCount"},
    "performance_resource_event": {"PerformanceResourceDuration"},
    "performance_navigation_event": {
        "PerformanceNavigationDuration", "NavigationSatisfiedTransaction", "NavigationToleratedTransaction",
        "NavigationFrustratedTransaction",
    },
    "largest_contentful_paint_event": {"WebVitalsLargestContentfulPaint"},
    "interaction_to_next_paint_event": {"WebVitalsInteractionToNextPaint"},
    "cumulative_layout_shift_event": {"WebVitalsCumulativeLayoutShift"},
    "first_input_delay_event": {"WebVitalsFirstInputDelay"},
}  # fmt: skip


class Row(NamedTuple):
    """A row, and what it says its items become: types without prefix, OF_THAT_NAME, and reasons."""

    title: str
    first: str
    becomes: str
    dropped: str = ""
    shown: str = ""
    metrics: str = ""

    @property
    def names(self):
        return tokens(self.first)

    @property
    def outcomes(self):
        types = {token for token in tokens(self.becomes) if "=" not in token}
        named = {OF_THAT_NAME} if OF_THAT_NAME in self.becomes else set()
        return types | named | (tokens(self.dropped) & REASONS)

    @property
    def conditions(self):
        """Types that come only with an option."""
        return dict(re.findall(r"`([^`]+)`, only with `([^`]+)`", self.becomes))


class Case(NamedTuple):
    """An item of a golden pair, or an event of its span, and what became of it."""

    item: object
    options: dict
    outcomes: frozenset
    where: str


def tokens(cell):
    return set(re.findall(r"`([^`]+)`", cell))


@cache
def rows(title):
    """The rows of a section's table."""
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    width = 2 if title == SPAN_EVENTS else 5
    return [Row(title, *(cell.strip() for cell in line.strip("|").split("|")[:width])) for line in table]


ROWS = [pytest.param(row, id=f"{title}: {row.first}") for title in (LOGS, SPANS, SPAN_EVENTS) for row in rows(title)]


# what the words in the first cells mean; rows of names alone need none


def is_own(item):
    scope = item.instrumentation_scope
    return scope is not None and scope.name.startswith("otel_rum_exporter")


def is_http(span):
    return any(name in span.attributes for name in ("http.request.method", "http.method"))


def is_called_from_afar(span):
    return span.parent is not None and span.parent.is_remote


def is_of_life_cycle(span):
    return span.instrumentation_scope is not None and span.instrumentation_scope.name == "io.opentelemetry.lifecycle"


def is_of_ios_life_cycle(name):
    return name.startswith(mobile.IOS_LIFECYCLE)


def is_of_loads(span):
    return span.instrumentation_scope is None or "document-load" in span.instrumentation_scope.name


def is_exception(attributes):
    return "exception.type" in attributes or "exception.message" in attributes


def log_name(log):
    attributes = log.log_record.attributes
    return log.log_record.event_name or attributes.get("event.name") or attributes.get("otel.event.name") or ""


MEANINGS = {
    (LOGS, "any of this package's own"): is_own,
    (LOGS, "any without a time"): lambda log: not (log.log_record.timestamp or log.log_record.observed_timestamp),
    (LOGS, "any with `exception.type` or `exception.message`"): lambda log: is_exception(log.log_record.attributes),
    (LOGS, "any of iOS's life cycle, such as UIApplicationDidBecomeActive"): lambda log: is_of_ios_life_cycle(
        log_name(log)
    ),
    (LOGS, "any other name"): log_name,
    (LOGS, "no name, no exception"): lambda log: not log_name(log),
    (SPANS, "any of this package's own"): is_own,
    (SPANS, "any of iOS's life cycle, such as UIApplicationDidBecomeActive"): lambda span: is_of_ios_life_cycle(
        span.name
    ),
    (SPANS, "any without a time"): lambda span: not (span.end_time or span.start_time),
    (SPANS, "HTTP CLIENT span"): lambda span: is_http(span) and span.kind is SpanKind.CLIENT,
    (SPANS, "HTTP SERVER span, no remote parent"): lambda span: (
        is_http(span) and span.kind is SpanKind.SERVER and not is_called_from_afar(span)
    ),
    (SPANS, "HTTP SERVER span, remote parent"): lambda span: (
        is_http(span) and span.kind is SpanKind.SERVER and is_called_from_afar(span)
    ),
    (SPANS, "any with `target_xpath` (user interaction)"): lambda span: "target_xpath" in span.attributes,
    (SPANS, "any other of Android's life cycle"): is_of_life_cycle,
    (SPANS, "any other to an endpoint of telemetry"): lambda span: "/v1/traces" in span.attributes.get("url.full", ""),
    (SPANS, "any other CLIENT or PRODUCER span: databases, RPC, messaging"): lambda span: (
        span.kind in (SpanKind.CLIENT, SpanKind.PRODUCER)
    ),
    (SPANS, "any other: INTERNAL spans, SERVER and CONSUMER spans of other protocols"): lambda _span: True,
    (SPAN_EVENTS, "exception of an HTTP CLIENT span"): lambda pair: (
        is_http(pair[0]) and pair[0].kind is SpanKind.CLIENT and is_exception_event(pair[1])
    ),
    (SPAN_EVENTS, "any other with `exception.type` or `exception.message`, or called `exception`"): lambda pair: (
        is_exception_event(pair[1])
    ),
    (SPAN_EVENTS, "mark of an instrumentation, such as `fetchStart` or `loadEventEnd`"): lambda pair: (
        pair[1].name in custom.MARKS
    ),
    (SPAN_EVENTS, "any other name"): lambda _pair: True,
}
# after its name, whose an item is
OWNERS = {"document-load": is_of_loads, "of the same": is_of_loads, "life cycle": is_of_life_cycle}


def is_exception_event(event):
    return event.name == "exception" or is_exception(event.attributes)


def fits(row, item):
    meaning = MEANINGS.get((row.title, row.first))
    if meaning is not None:
        return meaning(item)
    name = log_name(item) if row.title == LOGS else item.name
    return name in row.names and all(test(item) for words, test in OWNERS.items() if words in row.first)


def row_of(title, item):
    return next((row for row in rows(title) if fits(row, item)), None)


def outcomes(converted, name):
    """What an item or its event became, in the words of the rows."""
    if isinstance(converted, DropReason):
        return Counter({converted.value: 1})
    if converted.ends_session:
        return Counter({DropReason.UNMAPPED.value: 1})
    types = (draft.type.removeprefix(events.PREFIX) for draft in converted.events)
    return Counter(OF_THAT_NAME if type_ == sanitised(name) else type_ for type_ in types)


def sanitised(name):
    """A name as a RUM type; a name that is a row's own type, such as browser.console, is said by the row."""
    known = {token for row in rows(LOGS) + rows(SPANS) for token in tokens(row.becomes)}
    type_ = re.sub(r"[^a-zA-Z0-9_.-]", "_", name)[:256]
    return None if type_ in known else ("custom." + type_)[:256] if type_.startswith("com.amazon.") else type_


def cases_of_span(case, span, where):
    """A span without the events that become something of their own, and each of these."""
    own_rows = {row for row in rows(SPAN_EVENTS) if "none of its own" in row.becomes}
    parts = [(event, row_of(SPAN_EVENTS, (span, event))) for event in span.events]
    kept = [event for event, row in parts if row in own_rows]
    itself = outcomes(convert(case, span, kept), span.name)
    yield SPANS, Case(span, case.get("options", {}), frozenset(itself), where)
    for event, row in parts:
        more = outcomes(convert(case, span, kept if row in own_rows else [*kept, event]), event.name) - itself
        yield SPAN_EVENTS, Case((span, event), case.get("options", {}), frozenset(more), where)


def convert(case, span, span_events):
    return golden.converter(case).span(msgspec.structs.replace(span, events=span_events))


@cache
def golden_cases():
    """All items of the golden pairs by row, None for those that no row fits."""
    found = defaultdict(list)
    for path in golden.files():
        for case in golden.cases(path):
            where = f"{path.stem}: {case['name']}"
            for item, converted in golden.converted(case):
                if isinstance(item, otlp.Log):
                    became = frozenset(outcomes(converted, log_name(item)))
                    each = [(LOGS, Case(item, case.get("options", {}), became, where))]
                else:
                    each = cases_of_span(case, item, where)
                for title, one in each:
                    found[row_of(title, one.item)].append(one)
    return found


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    """The items of the row in the golden pairs become all that it says, and nothing that it does not say."""
    cases = golden_cases()[row]
    assert cases, "no golden pair has such an item"
    shown = set().union(*(case.outcomes for case in cases))
    assert shown == row.outcomes, sorted({case.where for case in cases if case.outcomes - row.outcomes})


@pytest.mark.parametrize("row", ROWS)
def test_names_of_row(row):
    """Each name of a row of names has a golden pair."""
    if (row.title, row.first) not in MEANINGS:
        items = [case.item for case in golden_cases()[row]]
        assert {log_name(item) if row.title == LOGS else item.name for item in items} == row.names


@pytest.mark.parametrize("row", [each for each in ROWS if each.values[0].conditions])
def test_options_of_row(row):
    """What comes only with an option comes with it, and not without it."""
    for type_, condition in row.conditions.items():
        name, _, value = condition.partition("=")
        cases = [case for case in golden_cases()[row] if type_ in case.outcomes]
        assert cases
        assert [case.where for case in cases if str(case.options.get(name)).lower() != value] == []


@pytest.mark.parametrize("row", ROWS)
def test_row_without_options(row):
    """What a row says without a condition needs no option that asks for more."""
    usual = [case.outcomes for case in golden_cases()[row] if not MORE.items() & case.options.items()]
    assert row.outcomes - REASONS - set(row.conditions) <= set().union(*usual)


@pytest.mark.parametrize("row", [each for each in ROWS if each.values[0].title != SPAN_EVENTS])
def test_metrics_of_row(row):
    """A row names the metrics that its types feed, unless it points to an earlier one."""
    fed = set().union(*(METRICS.get(type_, set()) for type_ in row.outcomes))
    if row.metrics in ("as above", "the same"):
        assert fed <= set().union(*(tokens(each.metrics) for each in (*rows(LOGS), *rows(SPANS))))
    else:
        assert tokens(row.metrics) == fed


def test_no_item_is_without_a_row():
    """Whatever the golden pairs convert stands in the document."""
    assert [case.where for case in golden_cases()[None]] == []


def test_words_are_all_used():
    """No meaning is left of a row that is gone."""
    assert set(MEANINGS) <= {(row.title, row.first) for each in ROWS for row in each.values}


def test_names_are_those_of_the_tables():
    """Every name that the code tells items apart by is in the document, and no other."""
    plain = {title: set().union(*(row.names for row in rows(title) if (title, row.first) not in MEANINGS))
             for title in (LOGS, SPANS)}  # fmt: skip
    assert plain[LOGS] == set(logs.FAMILIES) | logs.UNMAPPED | {"browser.console"}
    assert plain[SPANS] == set(spans.FAMILIES) | spans.UNMAPPED | set(mobile.SHOWN)


def test_every_type_is_named():
    """No type of RUM is left out, not even those that nothing becomes."""
    structs = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.Details)]
    types = {each.type_.removeprefix(events.PREFIX) for each in structs if hasattr(each, "type_")}
    assert types | {custom.SPAN_TYPE, *mobile.STARTS.values()} <= tokens(TEXT)
