"""What aws-rum-web reports beside what OpenTelemetry's telemetry becomes, for the same actions in the same browser.

Whatever differs stands in KNOWN_DIFFERENCES with the row of the mapping that says so, and why.
"""

import json
from urllib.parse import urlsplit

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


def events_of(requests, kind):
    events = [event for request in requests for event in request["RumEvents"] if event["type"] == kind]
    members = [{**json.loads(event["details"]), "metadata": json.loads(event["metadata"])} for event in events]
    # the calls of one moment end in another order in each run, and so do resources
    return sorted(members, key=ORDER[kind]) if kind in ORDER else members


def _call(event):
    url = urlsplit(event["request"]["url"])
    return event["request"]["method"], url.path, url.query


def path_of_resource(event):
    path = urlsplit(event["targetUrl"]).path
    return "/client.js" if path in ("/rum.js", "/otel.js") else path


def _segment(event):
    (subsegment,) = event["subsegments"]
    return _call(subsegment["http"])


ORDER = {HTTP: _call, RESOURCE: path_of_resource, XRAY: _segment}


def outcome(event):
    error = event.get("error", {})
    request = event["request"]
    path = urlsplit(request["url"]).path
    return request["method"], path, event.get("response"), error.get("type"), error.get("message")


def differences(pairs):
    """Return type and name of each member that differs between the events of a pair."""
    return {
        (kind, name)
        for kind, both in pairs.items()
        for theirs, ours in both
        for name in _flat(theirs).keys() | _flat(ours).keys()
        if _flat(theirs).get(name) != _flat(ours).get(name)
    }


def _flat(event, prefix=""):
    flat = {}
    for name, value in event.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
