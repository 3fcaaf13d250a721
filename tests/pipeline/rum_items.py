"""Items as the SDK hands them to exporters, and drafts as conversion makes them."""

from itertools import count

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from otel_rum_exporter.convert.conversion import Draft, Once
from otel_rum_exporter.events import NO_CLIENT, AppMonitor
from otel_rum_exporter.sessions.session import BatchKey, Keyed

MONITOR_ID = "11111111-2222-3333-4444-555555555555"
START_NS = 1_700_000_000_000_000_000
RESOURCE = Resource({"service.name": "shop", "telemetry.sdk.language": "python"})
SCOPE = InstrumentationScope("tests")

_numbers = count(1)


def session(number):
    return f"00000000-0000-4000-8000-{number:012d}"


def span(name="work", *, kind=SpanKind.INTERNAL, resource=RESOURCE, size=0, **attributes):
    """A finished span; attributes with `_` for `.`, such as session_id."""
    number = next(_numbers)
    start = START_NS + number * 1_000_000
    attributes = {key.replace("_", "."): value for key, value in attributes.items()}
    return ReadableSpan(
        name=name,
        context=SpanContext(0xABC0000 + number, number, is_remote=False, trace_flags=TraceFlags(1)),
        resource=resource,
        attributes={**attributes, **({"padding": "x" * size} if size else {})},
        kind=kind,
        start_time=start,
        end_time=start + 500_000,
        instrumentation_scope=SCOPE,
    )


def spans(number, **attributes):
    return [span(f"work {index}", **attributes) for index in range(number)]


def log(event_name="checkout", *, resource=RESOURCE, body=None, context=None, **attributes):
    """A named log event; attributes as with `span`."""
    attributes = {key.replace("_", "."): value for key, value in attributes.items()}
    timestamp = START_NS + next(_numbers) * 1_000_000
    record = LogRecord(timestamp=timestamp, event_name=event_name, attributes=attributes, body=body, context=context)
    return ReadableLogRecord(record, resource=resource, instrumentation_scope=SCOPE)


def vital(name="CLS", value=0.1, *, id="v1-1", **attributes):  # noqa: A002 - the attribute's name
    """A browser's web vital, whose later values replace earlier ones."""
    return log("browser.web_vital", body={"name": name.lower(), "value": value, "id": id}, **attributes)


def key(number=1, *, monitor=MONITOR_ID, is_client=False, client=NO_CLIENT):
    return BatchKey(AppMonitor(monitor, "shop", "1.0.0", None), session(number), is_client, client)


def keyed(batch_key, name="event", *, size=0, metric=None):
    """An event before it is queued; those of one `metric` replace each other."""
    once = Once(metric, counts="latest") if metric else None
    return Keyed(batch_key, Draft(id=name, time_ns=1, type="test", details='"' + "x" * size + '"', once=once))
