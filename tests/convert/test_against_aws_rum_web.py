"""The same actions in the same browser, by aws-rum-web and by OpenTelemetry: what CloudWatch RUM gets is the same.

Whatever differs stands in the table of `aws_rum_web`.
"""

import json
from collections import Counter

import pytest
from aws_rum_web import (
    CLICK,
    COMPARED,
    ERROR,
    HTTP,
    INPUT,
    KNOWN_DIFFERENCES,
    LOAD,
    PAGE,
    PAINT,
    RESOURCE,
    SAME_MS,
    XRAY,
    differences,
    events_of,
    outcome,
    path_of_resource,
)
from straight_line import StraightLine, configured

from otel_rum_exporter import otlp


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
    return {kind: list(zip(events_of(theirs, kind), events_of(ours, kind), strict=True)) for kind in COMPARED}


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
        assert outcome(ours) == outcome(theirs)
    assert len(pairs[HTTP]) == 6


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
    assert differences(pairs) == KNOWN_DIFFERENCES.keys()


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
        assert path_of_resource(ours) == path_of_resource(theirs)
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
