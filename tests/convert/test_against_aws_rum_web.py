"""The same actions in the same browser, by aws-rum-web and by OpenTelemetry: what CloudWatch RUM gets is the same.

Whatever differs stands in KNOWN_DIFFERENCES with the row of the mapping that says so, and why.
"""

import json
from urllib.parse import urlsplit

import pytest
from straight_line import StraightLine

from otel_rum_exporter import otlp

RUM = "com.amazon.rum."
PAGE, HTTP, ERROR = RUM + "page_view_event", RUM + "http_event", RUM + "js_error_event"
COMPARED = (PAGE, HTTP, ERROR)
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
    **{(kind, "metadata.title"): "M3, title: no source in OpenTelemetry's instrumentation" for kind in COMPARED},
    **{(kind, "metadata.version"): "M2: legal, and needed without SessionMetadata" for kind in COMPARED},
}


@pytest.fixture(scope="module")
def pairs(captures):
    """The events of each compared type, aws-rum-web's beside ours, in the order of what the user did."""
    theirs = [json.loads(path.read_text()) for path in sorted((captures / "aws-rum-web-golden").glob("*.json"))]
    line = StraightLine()
    for path in sorted((captures / "browser-events").glob("*.json")):
        line.put(otlp.items(path.read_bytes()))
    ours = line.requests()
    return {kind: list(zip(_of(theirs, kind), _of(ours, kind), strict=True)) for kind in COMPARED}


def _of(requests, kind):
    events = [event for request in requests for event in request["RumEvents"] if event["type"] == kind]
    members = [{**json.loads(event["details"]), "metadata": json.loads(event["metadata"])} for event in events]
    # the calls of one moment end in another order in each run
    return sorted(members, key=_call) if kind == HTTP else members


def _call(event):
    url = urlsplit(event["request"]["url"])
    return event["request"]["method"], url.path, url.query


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


def _flat(event, prefix=""):
    flat = {}
    for name, value in event.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat
