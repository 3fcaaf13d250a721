"""The models against AWS's schemas: names, what is required, versions, and what they encode to."""

import json

import msgspec
import pytest
from aws_schemas import METADATA, Schemas
from msgspec import UNSET, Struct

from otel_rum_exporter import events
from otel_rum_exporter.encoding import encode
from otel_rum_exporter.events import (
    AppMonitor,
    Batch,
    Client,
    CumulativeLayoutShiftAttribution,
    CumulativeLayoutShiftEvent,
    Details,
    DomEvent,
    FirstContentfulPaintAttribution,
    FirstContentfulPaintEvent,
    FirstInputDelayAttribution,
    FirstInputDelayEvent,
    HttpEvent,
    HttpRequest,
    HttpResponse,
    InteractionToNextPaintAttribution,
    InteractionToNextPaintEvent,
    JsErrorEvent,
    LargestContentfulPaintAttribution,
    LargestContentfulPaintEvent,
    NavigationEvent,
    Page,
    PageViewEvent,
    ResourceEvent,
    RumEvent,
    SessionStartEvent,
    TimeToFirstByteAttribution,
    TimeToFirstByteEvent,
    XRayCause,
    XRayException,
    XRayHttp,
    XRayRequest,
    XRayResponse,
    XRaySubsegment,
    XRayTraceEvent,
)

TRACE = "1-6b03b0cd-914cd69919493d7d7094006c"
SPAN = "b9a27564d4d261fd"

_MARKS = (
    "startTime redirectStart redirectTime workerStart workerTime fetchStart domainLookupStart dns connectStart connect "
    "secureConnectionStart tlsTime requestStart timeToFirstByte responseStart responseTime headerSize transferSize "
    "compressionRatio"
)
_TIMING = dict.fromkeys(_MARKS.split(), 1.5) | {"nextHopProtocol": "h2"}
_DOM_MARKS = (
    "unloadEventStart promptForUnload domInteractive domContentLoadedEventStart domContentLoaded domComplete "
    "domProcessingTime loadEventStart loadEventTime"
)
_HTTP = XRayHttp(
    request=XRayRequest(method="GET", url="/x", client_ip="192.0.2.1", x_forwarded_for=False, traced=True),
    response=XRayResponse(status=500, content_length=11),
)
_ERROR = JsErrorEvent(type="E", message="m", filename="a.js", lineno=1, colno=2, stack="E: m")
_FLAGS = {"in_progress": False, "error": False, "throttle": False, "fault": True}
_SUBSEGMENT = XRaySubsegment(
    id=SPAN,
    name="shop.example",
    start_time=1.5,
    end_time=2.5,
    namespace="remote",
    http=_HTTP,
    cause=XRayCause(exceptions=[XRayException(id="1", message="m", type="T", remote=False)]),
    **_FLAGS,
)

MINIMAL = [
    SessionStartEvent(),
    PageViewEvent(pageId="/"),
    NavigationEvent(initiatorType="navigation", startTime=0, duration=270.5),
    ResourceEvent(initiatorType="img", duration=1, fileType="image"),
    LargestContentfulPaintEvent(value=292.5),
    FirstInputDelayEvent(value=2),
    CumulativeLayoutShiftEvent(value=0),
    InteractionToNextPaintEvent(value=16),
    FirstContentfulPaintEvent(value=292),
    TimeToFirstByteEvent(value=18.4),
    JsErrorEvent(),
    HttpEvent(request=HttpRequest(method="GET")),
    DomEvent(event="click"),
    XRayTraceEvent(name="n", id=SPAN, trace_id=TRACE, start_time=1.5),
]
FULL = [
    SessionStartEvent(),
    PageViewEvent(
        pageId="/b",
        pageInteractionId="/b-1",
        interaction=1,
        parentPageInteractionId="/a-0",
        timeOnParentPage=1600,
        referrer="https://shop.example/",
        referrerDomain="shop.example",
    ),
    NavigationEvent(
        initiatorType="navigation",
        duration=270.5,
        navigationType="back_forward",
        redirectCount=0,
        navigationTimingLevel=2,
        **_TIMING,
        **dict.fromkeys(_DOM_MARKS.split(), 2.5),
    ),
    ResourceEvent(initiatorType="img", duration=1, fileType="image", targetUrl="https://shop.example/a.png", **_TIMING),
    LargestContentfulPaintEvent(
        value=292.5,
        attribution=LargestContentfulPaintAttribution(
            timeToFirstByte=1,
            resourceLoadDelay=2,
            resourceLoadTime=3,
            elementRenderDelay=4.5,
            element="img",
            url="/a.png",
            navigationEntry=SPAN,
            lcpResourceEntry=SPAN,
        ),
    ),
    FirstInputDelayEvent(
        value=2,
        attribution=FirstInputDelayAttribution(
            eventTarget="#buy", eventType="pointerdown", eventTime=2.5, loadState="complete"
        ),
    ),
    CumulativeLayoutShiftEvent(
        value=0.5,
        attribution=CumulativeLayoutShiftAttribution(
            largestShiftTarget="#a", largestShiftValue=0.5, largestShiftTime=9, loadState="loading"
        ),
    ),
    InteractionToNextPaintEvent(
        value=16,
        attribution=InteractionToNextPaintAttribution(
            interactionTarget="#buy",
            interactionTime=1,
            nextPaintTime=2,
            interactionType="keyboard",
            inputDelay=3,
            processingDuration=4,
            presentationDelay=5,
            loadState="dom-interactive",
        ),
    ),
    FirstContentfulPaintEvent(
        value=292,
        attribution=FirstContentfulPaintAttribution(
            timeToFirstByte=1, firstByteToFCP=2, loadState="dom-content-loaded"
        ),
    ),
    TimeToFirstByteEvent(
        value=18.4,
        attribution=TimeToFirstByteAttribution(
            waitingDuration=1, cacheDuration=2, dnsDuration=3, connectionDuration=4, requestDuration=5
        ),
    ),
    _ERROR,
    HttpEvent(
        request=HttpRequest(method="GET", url="/x"),
        response=HttpResponse(status=404, statusText="Not Found"),
        error=_ERROR,
        trace_id=TRACE,
        segment_id=SPAN,
    ),
    DomEvent(event="click", element="BUTTON", elementId="buy", cssLocator="#buy", interactionId="b"),
    XRayTraceEvent(
        name="n",
        id=SPAN,
        trace_id=TRACE,
        start_time=1.5,
        end_time=2.5,
        origin="AWS::RUM::AppMonitor",
        parent_id=SPAN,
        subsegments=[_SUBSEGMENT],
        **_FLAGS,
    ),
]

NO_SOURCE = "nothing in OpenTelemetry says it"
OPEN = "open objects for users' own use, which the exporter leaves to the trace's own route to X-Ray"
KNOWINGLY_MISSING = {
    ("XRayTraceEvent", "user"): NO_SOURCE,
    ("XRayTraceEvent", "http"): "aws-rum-web tells the call in the subsegment alone",
    ("XRayTraceEvent", "cause"): "aws-rum-web tells the cause in the subsegment alone",
    ("XRayTraceEvent", "annotations"): OPEN,
    ("XRayTraceEvent", "metadata"): OPEN,
    ("XRaySubsegment", "origin"): "the segment has it",
    ("XRaySubsegment", "trace_id"): "the segment has it",
    ("XRaySubsegment", "parent_id"): "the segment is its parent",
    ("XRaySubsegment", "type"): "of subsegments that are sent without their segment",
    ("XRaySubsegment", "annotations"): OPEN,
    ("XRaySubsegment", "metadata"): OPEN,
    ("XRaySubsegment", "subsegments"): "a call is one subsegment",
    ("XRayException", "truncated"): "stacks go into js_error_event",
    ("XRayException", "cause"): NO_SOURCE,
    ("XRayException", "stack"): "stacks go into js_error_event",
}
STRICTER = {
    ("PageViewEvent", "version"): "the schema does not ask for it; aws-rum-web sends it always",
    ("XRayTraceEvent", "version"): "the schema does not ask for it; aws-rum-web sends it always",
    ("XRayCause", "exceptions"): "a cause without an exception says nothing",
}
NOT_SENT = {
    "platformType": "the same for all, added when a batch is built",
    "version": "likewise",
    "domain": "likewise, out of the session",
    "aws:releaseId": "likewise, out of the configuration",
    "aws:client": "its values name aws-rum-web's builds; what the console makes of another is not known",
    "aws:clientVersion": "likewise",
    "url": "pageUrl is the same",
    "pageTitle": "title is the same",
    "referrerUrl": NO_SOURCE,
}


@pytest.fixture(scope="module")
def schemas(rum_schemas):
    return Schemas(rum_schemas)


def _id(event):
    return type(event).__name__


def _models(struct):
    """The struct itself and those within it, each with the path to it in the schema."""
    yield struct, ()
    for field in msgspec.structs.fields(struct):
        for each in _structs_in(field.type):
            yield from ((inner, (field.encode_name, *path)) for inner, path in _models(each))


def _structs_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return [annotation]
    return [struct for part in getattr(annotation, "__args__", ()) for struct in _structs_in(part)]


MODELS = [
    pytest.param(model, type(event).type_, path, id=".".join((_id(event), *path)))
    for event in MINIMAL
    for model, path in _models(type(event))
]


def _schema_of(schemas, kind, path):
    document = schemas.documents[kind]
    schema = document
    for name in path:
        schema = _resolved(document, schema["properties"][name])
        schema = _resolved(document, schema["items"]) if schema["type"] == "array" else schema
    return schema


def _resolved(document, schema):
    for name in schema["$ref"].split("/")[1:] if "$ref" in schema else ():
        schema = (document if name == "definitions" else schema)[name]
    return schema


@pytest.mark.parametrize("event", MINIMAL, ids=_id)
def test_minimal_events_are_valid(event, schemas):
    """What must be given is enough."""
    assert schemas.problems(event.type_, json.loads(encode(event))) == []


@pytest.mark.parametrize("event", FULL, ids=_id)
def test_full_events_are_valid(event, schemas):
    """All that can be given is allowed, too, and these instances give all of it."""
    assert schemas.problems(event.type_, json.loads(encode(event))) == []
    assert [name for name, value in _members(event) if value is UNSET] == []


def _members(struct):
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        yield name, value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Struct):
                yield from _members(inner)


@pytest.mark.parametrize("event", MINIMAL, ids=_id)
def test_what_is_not_set_is_not_encoded(event):
    """No null and no key without a value; constants and what was given only."""
    encoded = json.loads(encode(event))
    assert encoded.keys() == {name for name, value in _members_flat(event) if value is not UNSET}
    assert None not in encoded.values()


def _members_flat(event):
    return [(name, getattr(event, name)) for name in event.__struct_fields__]


@pytest.mark.parametrize(("model", "kind", "path"), MODELS)
def test_names_agree(model, kind, path, schemas):
    """Each field is in the schema, and each property of the schema is a field, or knowingly missing."""
    names = {field.encode_name for field in msgspec.structs.fields(model)}
    properties = _schema_of(schemas, kind, path)["properties"].keys()
    assert names - properties == set()
    assert properties - names == {name for owner, name in KNOWINGLY_MISSING if owner == model.__name__}


@pytest.mark.parametrize(("model", "kind", "path"), MODELS)
def test_required_agrees(model, kind, path, schemas):
    """What the schema requires the model always has; what the model requires beyond that stands in a table."""
    always = {field.encode_name for field in msgspec.structs.fields(model) if field.default is not UNSET}
    required = set(_schema_of(schemas, kind, path).get("required", ()))
    known = {name for owner, name in STRICTER if owner == model.__name__}
    # the error of an HTTP call is a js_error_event, whose version is required only on its own
    known |= {"version"} if path == ("error",) else set()
    assert required <= always
    assert always - required == known


@pytest.mark.parametrize("event", MINIMAL, ids=_id)
def test_version_agrees(event, schemas):
    """The version is the constant of the schema."""
    assert event.version == schemas.documents[event.type_]["properties"]["version"]["const"]


def test_every_event_is_tested():
    """A struct that is added to events.py needs its instances here."""
    structs = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Details)}
    named = {each for each in structs if hasattr(each, "type_")}
    assert {type(event) for event in MINIMAL} == {type(event) for event in FULL} == named


def test_metadata_names_agree(schemas):
    """Client and Page together are the schema's known fields, less what is added elsewhere or has no source."""
    names = {field.encode_name for model in (Client, Page) for field in msgspec.structs.fields(model)}
    properties = schemas.documents[METADATA]["properties"].keys()
    assert names - properties == set()
    assert properties - names == NOT_SENT.keys()


def test_full_metadata_is_valid(schemas):
    """Client and Page, all set, are valid metadata."""
    texts = dict.fromkeys(Client.__struct_fields__, "x")
    page = Page(pageId="/", interaction=0, parentPageId="/a", title="t", pageTags=["a"], pageUrl="https://x.example/")
    metadata = {"version": "1.0.0", "domain": "x.example"}
    metadata |= json.loads(encode(Client(**texts))) | json.loads(encode(page))
    assert schemas.problems(METADATA, metadata) == []


EVENT = RumEvent(id="e", timestamp=1.5, type="t", details="{}", metadata="{}")


@pytest.mark.parametrize(
    ("monitor", "session_metadata", "expected"),
    [
        (AppMonitor("m"), None, {"AppMonitorDetails": {"id": "m", "version": "1.0.0"}}),
        (
            AppMonitor("m", name="shop", version="2", alias="a"),
            "{}",
            {
                "AppMonitorDetails": {"id": "m", "name": "shop", "version": "2"},
                "SessionMetadata": "{}",
                "Alias": "a",
            },
        ),
    ],
    ids=["least", "all"],
)
def test_request(monitor, session_metadata, expected):
    """A batch becomes the parameters of PutRumEvents; what there is not is left out."""
    batch = Batch(
        batch_id="b",
        monitor=monitor,
        session_id="s",
        user_id="u",
        session_metadata=session_metadata,
        events=(EVENT,),
    )
    assert batch.request() == {
        "Id": "m",
        "BatchId": "b",
        "UserDetails": {"sessionId": "s", "userId": "u"},
        "RumEvents": (EVENT,),
        **expected,
    }
