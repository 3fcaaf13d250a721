"""The RUM events as types: one struct per event schema that AWS publishes, metadata, and what a request carries.

Fields have the names of the JSON they become. A field that is not set is left out of the JSON: no RUM schema
accepts `null`, and every schema refuses keys it does not know.

    Units:  durations and marks are milliseconds, sizes bytes, unless a field says otherwise.
    Source: aws-rum-web 3.2, src/event-schemas; PutRumEvents, botocore data/rum/2018-05-10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType

PREFIX = "com.amazon.rum."

MAX_EVENT_BYTES = 6144
"""UTF-8 bytes of an event's details and metadata; the service drops larger ones without an answer."""

LoadState = Literal["loading", "dom-interactive", "dom-content-loaded", "complete"]

Text = str | UnsetType
Number = float | int | UnsetType
Integer = int | UnsetType
Flag = bool | UnsetType


class Details(Struct, frozen=True, kw_only=True, gc=False):
    """What every event schema has: its type, and the version of its schema."""

    type_: ClassVar[str]
    version: str = "1.0.0"


class SessionStartEvent(Details, frozen=True, kw_only=True, gc=False):
    """A session began."""

    type_: ClassVar[str] = PREFIX + "session_start_event"


class PageViewEvent(Details, frozen=True, kw_only=True, gc=False):
    """The user came to a page. `interaction` counts the pages of the session from 0."""

    type_: ClassVar[str] = PREFIX + "page_view_event"
    pageId: str
    pageInteractionId: Text = UNSET
    interaction: Integer = UNSET
    parentPageInteractionId: Text = UNSET
    timeOnParentPage: Number = UNSET
    referrer: Text = UNSET
    referrerDomain: Text = UNSET


class _Timing(Details, frozen=True, kw_only=True, gc=False):
    """The marks that navigation and resource events share. Marks count from the page's time origin."""

    startTime: Number = UNSET
    redirectStart: Number = UNSET
    redirectTime: Number = UNSET
    workerStart: Number = UNSET
    workerTime: Number = UNSET
    fetchStart: Number = UNSET
    domainLookupStart: Number = UNSET
    dns: Number = UNSET
    nextHopProtocol: Text = UNSET
    connectStart: Number = UNSET
    connect: Number = UNSET
    secureConnectionStart: Number = UNSET
    tlsTime: Number = UNSET
    requestStart: Number = UNSET
    timeToFirstByte: Number = UNSET
    responseStart: Number = UNSET
    responseTime: Number = UNSET
    headerSize: Number = UNSET
    transferSize: Number = UNSET
    compressionRatio: Number = UNSET


class NavigationEvent(_Timing, frozen=True, kw_only=True, gc=False):
    """How a page load spent its time. `timeToFirstByte` is not the web vital of that name."""

    type_: ClassVar[str] = PREFIX + "performance_navigation_event"
    initiatorType: Literal["navigation", "route_change"]
    startTime: float | int
    duration: float | int
    navigationType: Literal["navigate", "reload", "back_forward", "reserved"] | UnsetType = UNSET
    unloadEventStart: Number = UNSET
    promptForUnload: Number = UNSET
    redirectCount: Integer = UNSET
    domInteractive: Number = UNSET
    domContentLoadedEventStart: Number = UNSET
    domContentLoaded: Number = UNSET
    domComplete: Number = UNSET
    domProcessingTime: Number = UNSET
    loadEventStart: Number = UNSET
    loadEventTime: Number = UNSET
    navigationTimingLevel: Integer = UNSET


class ResourceEvent(_Timing, frozen=True, kw_only=True, gc=False):
    """How a page's resource was loaded."""

    type_: ClassVar[str] = PREFIX + "performance_resource_event"
    initiatorType: str
    duration: float | int
    fileType: str
    targetUrl: Text = UNSET


class LargestContentfulPaintAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """Where the time to the largest paint went. The two entries are ids of RUM events."""

    timeToFirstByte: float | int
    resourceLoadDelay: float | int
    resourceLoadTime: float | int
    elementRenderDelay: float | int
    element: Text = UNSET
    url: Text = UNSET
    navigationEntry: Text = UNSET
    lcpResourceEntry: Text = UNSET


class LargestContentfulPaintEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital LCP."""

    type_: ClassVar[str] = PREFIX + "largest_contentful_paint_event"
    value: float | int
    attribution: LargestContentfulPaintAttribution | UnsetType = UNSET


class FirstInputDelayAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """What the first input was."""

    eventTarget: str
    eventType: str
    eventTime: float | int
    loadState: LoadState


class FirstInputDelayEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital FID, gone from web-vitals 5."""

    type_: ClassVar[str] = PREFIX + "first_input_delay_event"
    value: float | int
    attribution: FirstInputDelayAttribution | UnsetType = UNSET


class CumulativeLayoutShiftAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """The largest layout shift."""

    largestShiftTarget: Text = UNSET
    largestShiftValue: Number = UNSET
    largestShiftTime: Number = UNSET
    loadState: LoadState | UnsetType = UNSET


class CumulativeLayoutShiftEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital CLS; its value has no unit, and 0 is the best one."""

    type_: ClassVar[str] = PREFIX + "cumulative_layout_shift_event"
    value: float | int
    attribution: CumulativeLayoutShiftAttribution | UnsetType = UNSET


class InteractionToNextPaintAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """The slowest interaction."""

    interactionTarget: Text = UNSET
    interactionTime: Number = UNSET
    nextPaintTime: Number = UNSET
    interactionType: Literal["pointer", "keyboard"] | UnsetType = UNSET
    inputDelay: Number = UNSET
    processingDuration: Number = UNSET
    presentationDelay: Number = UNSET
    loadState: LoadState | UnsetType = UNSET


class InteractionToNextPaintEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital INP."""

    type_: ClassVar[str] = PREFIX + "interaction_to_next_paint_event"
    value: float | int
    attribution: InteractionToNextPaintAttribution | UnsetType = UNSET


class FirstContentfulPaintAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """Where the time to the first paint went."""

    timeToFirstByte: float | int
    firstByteToFCP: float | int
    loadState: LoadState


class FirstContentfulPaintEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital FCP."""

    type_: ClassVar[str] = PREFIX + "first_contentful_paint_event"
    value: float | int
    attribution: FirstContentfulPaintAttribution | UnsetType = UNSET


class TimeToFirstByteAttribution(Struct, frozen=True, kw_only=True, gc=False):
    """Where the time to the first byte went."""

    waitingDuration: float | int
    cacheDuration: float | int
    dnsDuration: float | int
    connectionDuration: float | int
    requestDuration: float | int


class TimeToFirstByteEvent(Details, frozen=True, kw_only=True, gc=False):
    """Web vital TTFB."""

    type_: ClassVar[str] = PREFIX + "time_to_first_byte_event"
    value: float | int
    attribution: TimeToFirstByteAttribution | UnsetType = UNSET


class JsErrorEvent(Details, frozen=True, kw_only=True, gc=False):
    """An error of any language; the type's name is history. `lineno` and `colno` count from 1."""

    type_: ClassVar[str] = PREFIX + "js_error_event"
    type: Text = UNSET
    message: Text = UNSET
    filename: Text = UNSET
    lineno: Integer = UNSET
    colno: Integer = UNSET
    stack: Text = UNSET


class HttpRequest(Struct, frozen=True, kw_only=True, gc=False):
    """The request of an HTTP call."""

    method: str
    url: Text = UNSET


class HttpResponse(Struct, frozen=True, kw_only=True, gc=False):
    """The response of an HTTP call."""

    status: int
    statusText: Text = UNSET


class HttpEvent(Details, frozen=True, kw_only=True, gc=False):
    """An HTTP call: `response` when there was one, `error` when it failed without. The schema has no duration.

    `trace_id` has X-Ray's form (`1-8hex-24hex`), `segment_id` is the id of the call's span.
    """

    type_: ClassVar[str] = PREFIX + "http_event"
    request: HttpRequest
    response: HttpResponse | UnsetType = UNSET
    error: JsErrorEvent | UnsetType = UNSET
    trace_id: Text = UNSET
    segment_id: Text = UNSET


class DomEvent(Details, frozen=True, kw_only=True, gc=False):
    """A DOM event such as a click. The one schema whose version is 1.1.0."""

    type_: ClassVar[str] = PREFIX + "dom_event"
    version: str = "1.1.0"
    event: str
    element: Text = UNSET
    elementId: Text = UNSET
    cssLocator: Text = UNSET
    interactionId: Text = UNSET


class XRayRequest(Struct, frozen=True, kw_only=True, gc=False):
    """The request of a traced call; `traced`: the callee records a segment of its own."""

    method: Text = UNSET
    url: Text = UNSET
    client_ip: Text = UNSET
    x_forwarded_for: Flag = UNSET
    traced: Flag = UNSET


class XRayResponse(Struct, frozen=True, kw_only=True, gc=False):
    """The response of a traced call."""

    status: Integer = UNSET
    content_length: Integer = UNSET


class XRayHttp(Struct, frozen=True, kw_only=True, gc=False):
    """The HTTP part of a segment."""

    request: XRayRequest | UnsetType = UNSET
    response: XRayResponse | UnsetType = UNSET


class XRayException(Struct, frozen=True, kw_only=True, gc=False):
    """An exception that ended a segment."""

    id: Text = UNSET
    message: Text = UNSET
    type: Text = UNSET
    remote: Flag = UNSET


class XRayCause(Struct, frozen=True, kw_only=True, gc=False):
    """Why a segment failed."""

    exceptions: list[XRayException]


class XRaySubsegment(Struct, frozen=True, kw_only=True, gc=False):
    """The call itself. Times are epoch seconds."""

    id: str
    name: str
    start_time: float
    end_time: float | UnsetType = UNSET
    namespace: Text = UNSET
    in_progress: Flag = UNSET
    error: Flag = UNSET
    throttle: Flag = UNSET
    fault: Flag = UNSET
    http: XRayHttp | UnsetType = UNSET
    cause: XRayCause | UnsetType = UNSET


class XRayTraceEvent(Details, frozen=True, kw_only=True, gc=False):
    """A client-side X-Ray segment. Times are epoch seconds."""

    type_: ClassVar[str] = PREFIX + "xray_trace_event"
    name: str
    id: str
    trace_id: str
    start_time: float
    end_time: float | UnsetType = UNSET
    origin: Text = UNSET
    parent_id: Text = UNSET
    in_progress: Flag = UNSET
    error: Flag = UNSET
    throttle: Flag = UNSET
    fault: Flag = UNSET
    subsegments: list[XRaySubsegment] | UnsetType = UNSET


class CustomEvent(Struct, frozen=True, gc=False):
    """An event of the application's own type: any JSON object."""

    type_: str
    details: Mapping[str, Any]


class Client(Struct, frozen=True, kw_only=True, gc=False, rename={"user_agent": "aws:userAgent"}):
    """What is known of the user's browser or device: the part of SessionMetadata that telemetry fills."""

    browserName: Text = UNSET
    browserVersion: Text = UNSET
    browserLanguage: Text = UNSET
    osName: Text = UNSET
    osVersion: Text = UNSET
    deviceType: Text = UNSET
    countryCode: Text = UNSET
    subdivisionCode: Text = UNSET
    user_agent: Text = UNSET


NO_CLIENT = Client()


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """The page fields of an event's metadata. `interaction` counts the pages of the session from 0."""

    pageId: Text = UNSET
    interaction: Integer = UNSET
    parentPageId: Text = UNSET
    title: Text = UNSET
    pageTags: list[str] | UnsetType = UNSET
    pageUrl: Text = UNSET


NO_PAGE = Page()


class AppMonitor(Struct, frozen=True, gc=False):
    """The app monitor that a request is for. `id` is a UUID; `alias` is for resource policies that ask for one."""

    id: str
    name: str | None = None
    version: str = "1.0.0"
    alias: str | None = None


class RumEvent(Struct, frozen=True, kw_only=True, gc=False):
    """One member of PutRumEvents' `RumEvents`.

    Shape:  `details` and `metadata` are JSON objects as text, encoded once.
    Units:  `timestamp` is epoch seconds with millisecond precision.
    """

    id: str
    timestamp: float
    type: str
    details: str
    metadata: str


class Batch(Struct, frozen=True, kw_only=True):
    """One PutRumEvents request: all its tries send the same ids.

    Shape:  events of one session and one user, for one app monitor, oldest first.
    """

    batch_id: str
    monitor: AppMonitor
    session_id: str
    user_id: str
    session_metadata: str | None
    events: tuple[RumEvent, ...]

    def request(self) -> dict[str, Any]:
        """Return the parameters of PutRumEvents. Shape: its events are structs, which msgspec writes as they are."""
        monitor = self.monitor
        details = {"id": monitor.id, "version": monitor.version}
        if monitor.name:
            details["name"] = monitor.name
        parameters: dict[str, Any] = {
            "Id": monitor.id,
            "BatchId": self.batch_id,
            "AppMonitorDetails": details,
            "UserDetails": {"sessionId": self.session_id, "userId": self.user_id},
            "RumEvents": self.events,
        }
        if self.session_metadata is not None:
            parameters["SessionMetadata"] = self.session_metadata
        if monitor.alias:
            parameters["Alias"] = monitor.alias
        return parameters
