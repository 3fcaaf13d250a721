"""The same actions in the same browser, by aws-rum-web and by OpenTelemetry: what CloudWatch RUM gets is the same.

Whatever differs stands in KNOWN_DIFFERENCES with the row of the mapping that says so, and why.
"""

import json
from collections import Counter
from urllib.parse import urlsplit

import pytest
from straight_line import StraightLine, configured

from otel_rum_exporter import otlp

RUM = "com.amazon.rum."
PAGE, HTTP, ERROR = RUM + "page_view_event", RUM + "http_event", RUM + "js_error_event"
LOAD, RESOURCE, CLICK = RUM + "performance_navigation_event", RUM + "performance_resource_event", RUM + "dom_event"
PAINT, XRAY, INPUT = RUM + "largest_contentful_paint_event", RUM + "xray_trace_event", RUM + "first_input_delay_event"
COMPARED = (PAGE, HTTP, ERROR, LOAD, RESOURCE, CLICK, PAINT, XRAY)
SAME_MS = 50

KNOWN_DIFFERENCES = {
    (PAGE, "referrer"): "E-2.3: OpenTelemetry's browser instrumentation does not deliver document.referrer",
    (PAGE, "referrerDomain"): "E-2.3: nor its host",
    (PAGE, "timeOnParentPage"): f"two runs of the same actions; within {SAME_MS} ms",
    (HTTP, "request.url"): "E-9.3: instrumentations resolve the URL that the application passed; 0.0: secrets redacted",
    (HTTP, "trace_id"): "two runs; both are in X-Ray's form, the ids are random",
    (HTTP, "segment_id"): "two runs; the ids are random",
    (HTTP, "error.stack"): "E-9.3: the fetch instrumentation leaves no exception, only status 0",
    (ERROR, "filename"): "E-8.3: aws-rum-web gives a rejection no position, its stack does; a thrown string has none "
    "in OpenTelemetry, the ErrorEvent's is not recorded",
    (ERROR, "lineno"): "E-8.3: as filename",
    (ERROR, "colno"): "E-8.3: as filename",
    **{
        (LOAD, name): "E-4.2: the browser instrumentation does not deliver it"
        for name in ("redirectStart", "redirectTime", "workerStart", "workerTime", "nextHopProtocol")
    },
    **{
        (LOAD, name): "two runs: the same member, another measurement"
        for name in (
            "fetchStart",
            "domainLookupStart",
            "connectStart",
            "requestStart",
            "timeToFirstByte",
            "responseStart",
            "responseTime",
            "domInteractive",
            "domContentLoadedEventStart",
            "domContentLoaded",
            "domComplete",
            "domProcessingTime",
            "loadEventStart",
            "loadEventTime",
            "duration",
            "transferSize",
        )
    },
    **{
        (RESOURCE, name): "two runs; the clients' own scripts differ"
        for name in ("startTime", "duration", "transferSize")
    },
    (RESOURCE, "targetUrl"): "the clients' own scripts differ in name",
    **{
        (PAINT, name): "two runs: the same member, another measurement"
        for name in (
            "value",
            "attribution.timeToFirstByte",
            "attribution.resourceLoadDelay",
            "attribution.resourceLoadTime",
            "attribution.elementRenderDelay",
        )
    },
    **{
        (PAINT, name): "two runs; both are ids of events of their own run"
        for name in ("attribution.navigationEntry", "attribution.lcpResourceEntry")
    },
    **{
        (PAINT, name): "E-6: aws-rum-web gives the page of the moment of reporting, OpenTelemetry that of the paint"
        for name in ("metadata.pageId", "metadata.interaction", "metadata.parentPageId")
    },
    **{(XRAY, name): "two runs" for name in ("id", "trace_id", "start_time", "end_time", "subsegments")},
    **{(kind, "metadata.title"): "M3, title: no source in OpenTelemetry's instrumentation" for kind in COMPARED},
    **{(kind, "metadata.version"): "M2: legal, and needed without SessionMetadata" for kind in COMPARED},
}


@pytest.fixture(scope="module")
def requests(captures):
    """What aws-rum-web sent, and what OpenTelemetry's telemetry becomes."""
    theirs = [json.loads(path.read_text()) for path in sorted((captures / "aws-rum-web-golden").glob("*.json"))]
    line = StraightLine(configured(xray_events=True))
    for path in sorted((captures / "browser-events").glob("*.json")):
        line.put(otlp.items(path.read_bytes()))
    return theirs, line.requests()


@pytest.fixture(scope="module")
def pairs(requests):
    """The events of each compared type, aws-rum-web's beside ours, in the order of what the user did."""
    theirs, ours = requests
    return {kind: list(zip(_of(theirs, kind), _of(ours, kind), strict=True)) for kind in COMPARED}


def _of(requests, kind):
    events = [event for request in requests for event in request["RumEvents"] if event["type"] == kind]
    members = [{**json.loads(event["details"]), "metadata": json.loads(event["metadata"])} for event in events]
    # the calls of one moment end in another order in each run, and so do resources
    return sorted(members, key=ORDER[kind]) if kind in ORDER else members


def _call(event):
    url = urlsplit(event["request"]["url"])
    return event["request"]["method"], url.path, url.query


def _resource(event):
    path = urlsplit(event["targetUrl"]).path
    return "/client.js" if path in ("/rum.js", "/otel.js") else path


def _segment(event):
    (subsegment,) = event["subsegments"]
    return _call(subsegment["http"])


ORDER = {HTTP: _call, RESOURCE: _resource, XRAY: _segment}


@pytest.mark.parametrize("xray_events", [False, True], ids=["", "xray"])
def test_counts(xray_events, captures, requests):
    """As many events of each type; first input delay is gone from web-vitals 5, and X-Ray is asked for or not."""
    theirs = Counter(event["type"] for request in requests[0] for event in request["RumEvents"])
    assert theirs.pop(INPUT) == 1
    if not xray_events:
        assert theirs.pop(XRAY) == 6
    line = StraightLine(configured(xray_events=xray_events))
    for path in sorted((captures / "browser-events").glob("*.json")):
        line.put(otlp.items(path.read_bytes()))
    assert Counter(event["type"] for request in line.requests() for event in request["RumEvents"]) == theirs


def test_page_views(pairs):
    """The three pages have the same ids, numbers and parents; the time on them is about the same."""
    for theirs, ours in pairs[PAGE]:
        for name in ("pageId", "interaction", "pageInteractionId", "parentPageInteractionId"):
            assert ours.get(name) == theirs.get(name)
        assert ours.get("timeOnParentPage", 0) == pytest.approx(theirs.get("timeOnParentPage", 0), abs=SAME_MS)
    assert len(pairs[PAGE]) == 3


def test_http_calls(pairs):
    """The six calls have the same method, path, status and kind of failure."""
    for theirs, ours in pairs[HTTP]:
        assert _outcome(ours) == _outcome(theirs)
    assert len(pairs[HTTP]) == 6


def _outcome(event):
    error = event.get("error", {})
    request = event["request"]
    path = urlsplit(request["url"]).path
    return request["method"], path, event.get("response"), error.get("type"), error.get("message")


def test_errors(pairs):
    """The three errors have the same type and message, and the same place where both know one."""
    for theirs, ours in pairs[ERROR]:
        assert (ours["type"], ours["message"]) == (theirs["type"], theirs["message"])
        place = [name for name in ("filename", "lineno", "colno") if name in theirs and name in ours]
        assert [ours[name] for name in place] == [theirs[name] for name in place]
    assert len(pairs[ERROR]) == 3
    assert sum("filename" in ours and "filename" in theirs for theirs, ours in pairs[ERROR]) == 1


def test_every_difference_is_known_and_every_known_one_occurs(pairs):
    """Nothing else differs; and a difference that is gone leaves the table."""
    different = {
        (kind, name)
        for kind, both in pairs.items()
        for theirs, ours in both
        for name in _flat(theirs).keys() | _flat(ours).keys()
        if _flat(theirs).get(name) != _flat(ours).get(name)
    }
    assert different == KNOWN_DIFFERENCES.keys()


def test_page_load(pairs):
    """The same members but for those that are not delivered, all of the same page."""
    ((theirs, ours),) = pairs[LOAD]
    missing = {name for kind, name in KNOWN_DIFFERENCES if kind == LOAD and KNOWN_DIFFERENCES[kind, name][:1] == "E"}
    assert theirs.keys() - ours.keys() == missing
    assert ours.keys() <= theirs.keys()
    assert (ours["metadata"]["pageId"], ours["metadata"]["interaction"]) == ("/shop", 0)


def test_resources(pairs):
    """The five resources have the same file, type, initiator and members."""
    for theirs, ours in pairs[RESOURCE]:
        assert _resource(ours) == _resource(theirs)
        for name in ("fileType", "initiatorType"):
            assert ours[name] == theirs[name]
        assert ours.keys() == theirs.keys()
    assert len(pairs[RESOURCE]) == 5


def test_clicks(pairs):
    """The two clicks are the same in every member."""
    for theirs, ours in pairs[CLICK]:
        for name in ("event", "element", "elementId", "cssLocator"):
            assert ours[name] == theirs[name]
    assert len(pairs[CLICK]) == 2


def test_largest_paint(pairs, requests):
    """Its attribution names the events of the load and of the image, in each run its own."""
    for run, events in enumerate(zip(*pairs[PAINT], strict=True)):
        kinds = {event["id"]: event["type"] for request in requests[run] for event in request["RumEvents"]}
        (attribution,) = (event["attribution"] for event in events)
        assert kinds[attribution["navigationEntry"]] == LOAD
        assert kinds[attribution["lcpResourceEntry"]] == RESOURCE
    ((theirs, ours),) = pairs[PAINT]
    assert ours["attribution"].keys() == theirs["attribution"].keys()


def test_segments(pairs):
    """The six segments have the same name, flags and cause; each has the subsegment that its http_event names."""
    for theirs, ours in pairs[XRAY]:
        for name in ("name", "origin", "in_progress", "error", "throttle", "fault"):
            assert ours.get(name) == theirs.get(name)
        (their_part,), (our_part,) = theirs["subsegments"], ours["subsegments"]
        for name in ("name", "namespace", "in_progress", "error", "throttle", "fault", "cause"):
            assert our_part.get(name) == their_part.get(name)
        assert our_part["http"]["request"]["traced"] is their_part["http"]["request"]["traced"]
        assert our_part["http"].get("response", {}).get("status") == their_part["http"].get("response", {}).get(
            "status"
        )
    assert len(pairs[XRAY]) == 6
    for run in (0, 1):
        calls = {(call[run]["trace_id"], call[run]["segment_id"]) for call in pairs[HTTP]}
        assert calls == {(each[run]["trace_id"], each[run]["subsegments"][0]["id"]) for each in pairs[XRAY]}


def _flat(event, prefix=""):
    flat = {}
    for name, value in event.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
