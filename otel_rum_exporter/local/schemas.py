"""What the details of each built-in event type may hold.

Source: the behaviour of the event schemas that aws-rum-web publishes, restated as rules and
compared with them verdict by verdict in the tests.
"""

from otel_rum_exporter.local.rules import (
    Record,
    Rule,
    anything,
    array,
    boolean,
    each,
    either,
    integer,
    later,
    number,
    one_of,
    text,
)

PREFIX = "com.amazon.rum."

_STRING = text()
_V1 = one_of("1.0.0")
_LOAD_STATE = one_of("loading", "dom-interactive", "dom-content-loaded", "complete")
_OPEN = Record(is_open=True)

W3C_TRACE_ID = text(pattern="[0-9a-f]{32}")
"""aws-rum-web puts such ids into http events although its schema wants X-Ray's 35 characters."""


def _vital(attribution: Record | None = None) -> Record:
    optional: dict[str, Rule] = {"attribution": attribution} if attribution else {}
    return Record({"version": _V1, "value": number}, optional)


_TIMINGS = """
    redirectStart redirectTime workerStart workerTime fetchStart domainLookupStart dns connectStart connect
    secureConnectionStart tlsTime requestStart timeToFirstByte responseStart responseTime headerSize transferSize
    compressionRatio"""

_ERROR = {**each(_STRING, "type message filename stack"), **each(number, "lineno colno")}

_XRAY_HTTP = Record(
    optional={
        "request": Record(
            optional={**each(_STRING, "method url client_ip"), **each(boolean, "x_forwarded_for traced")}
        ),
        "response": Record(optional=each(number, "status content_length")),
    }
)
_XRAY_FRAME = Record(optional={**each(_STRING, "class_name file_name method_name"), "line": integer})
_XRAY_EXCEPTION = Record(
    optional={
        **each(_STRING, "id message type cause"),
        "remote": boolean,
        "truncated": integer,
        "stack": array(_XRAY_FRAME),
    }
)
_XRAY_COMMON: dict[str, Rule] = {
    **each(_STRING, "origin parent_id"),
    **each(boolean, "in_progress error throttle fault"),
    **each(_OPEN, "annotations metadata"),
    "end_time": number,
    "http": _XRAY_HTTP,
    "cause": Record(optional={"exceptions": array(_XRAY_EXCEPTION)}),
    "subsegments": array(later(lambda: _XRAY_SUBSEGMENT)),
}
_XRAY_SUBSEGMENT: Record = Record(
    {**each(_STRING, "id name"), "start_time": number},
    {**_XRAY_COMMON, **each(_STRING, "trace_id type namespace")},
)

DETAILS: dict[str, Record] = {
    "session_start_event": Record({"version": _V1}),
    "page_view_event": Record(
        {"pageId": _STRING},
        {
            "version": _V1,
            **each(_STRING, "pageInteractionId parentPageInteractionId referrer referrerDomain"),
            **each(number, "interaction timeOnParentPage"),
        },
    ),
    "page_close_event": Record(
        {**each(_STRING, "pageId pageInteractionId"), "interaction": number}, {"version": _V1, "duration": number}
    ),
    "performance_navigation_event": Record(
        {"version": _V1, "initiatorType": one_of("navigation", "route_change"), **each(number, "startTime duration")},
        {
            "navigationType": one_of("navigate", "reload", "back_forward", "reserved"),
            "redirectCount": integer,
            "nextHopProtocol": _STRING,
            **each(number, _TIMINGS),
            **each(number, "unloadEventStart promptForUnload domInteractive domContentLoadedEventStart"),
            **each(number, "domContentLoaded domComplete domProcessingTime loadEventStart loadEventTime"),
            "navigationTimingLevel": number,
        },
    ),
    "performance_resource_event": Record(
        {"version": _V1, **each(_STRING, "initiatorType fileType"), "duration": number},
        {**each(_STRING, "targetUrl nextHopProtocol"), "startTime": number, **each(number, _TIMINGS)},
    ),
    "largest_contentful_paint_event": _vital(
        Record(
            each(number, "timeToFirstByte resourceLoadDelay resourceLoadTime elementRenderDelay"),
            each(_STRING, "element url navigationEntry lcpResourceEntry"),
        )
    ),
    "first_input_delay_event": _vital(
        Record({**each(_STRING, "eventTarget eventType"), "eventTime": number, "loadState": _LOAD_STATE})
    ),
    "cumulative_layout_shift_event": _vital(
        Record(
            optional={
                "largestShiftTarget": _STRING,
                **each(number, "largestShiftValue largestShiftTime"),
                "loadState": _LOAD_STATE,
            }
        )
    ),
    "interaction_to_next_paint_event": _vital(
        Record(
            optional={
                "interactionTarget": _STRING,
                "interactionType": one_of("pointer", "keyboard"),
                **each(number, "interactionTime nextPaintTime inputDelay processingDuration presentationDelay"),
                "loadState": _LOAD_STATE,
            }
        )
    ),
    "first_contentful_paint_event": _vital(
        Record({**each(number, "timeToFirstByte firstByteToFCP"), "loadState": _LOAD_STATE})
    ),
    "time_to_first_byte_event": _vital(
        Record(each(number, "waitingDuration cacheDuration dnsDuration connectionDuration requestDuration"))
    ),
    "time_to_interactive_event": _vital(),
    "js_error_event": Record({"version": _V1}, _ERROR),
    "http_event": Record(
        {"version": _V1, "request": Record({"method": _STRING}, {"url": _STRING})},
        {
            "trace_id": either(text(35, 35), W3C_TRACE_ID),
            "segment_id": text(16, 16),
            "response": Record({"status": number}, {"statusText": _STRING}),
            "error": Record(optional={"version": _STRING, **_ERROR}),
        },
    ),
    "dom_event": Record(
        {"version": one_of("1.1.0"), "event": _STRING}, each(_STRING, "element elementId cssLocator interactionId")
    ),
    "xray_trace_event": Record(
        {**each(_STRING, "id name trace_id"), "start_time": number}, {**_XRAY_COMMON, "version": _V1, "user": _STRING}
    ),
    "rrweb_event": Record(
        {
            "version": _V1,
            "eventCount": number,
            "events": array(Record({**each(number, "type timestamp"), "data": anything}, is_open=True)),
        }
    ),
}
"""Rules by type, without the prefix ``com.amazon.rum.``."""
