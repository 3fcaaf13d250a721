"""Queued events become a batch: pages, metadata, order, size."""

import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Draft
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import MAX_EVENT_BYTES, NO_CLIENT, NO_PAGE, AppMonitor, Client, Page, PageViewEvent
from otel_rum_exporter.sending.assembly import assemble
from otel_rum_exporter.sending.batching import Queued, size_of
from otel_rum_exporter.sessions.context import Session, SessionView
from otel_rum_exporter.sessions.session import START, BatchKey
from otel_rum_exporter.sessions.timeline import Timeline, Visit

MONITOR = AppMonitor("11111111-2222-4333-8444-555555555555")
SESSION = "0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"
CHROME = Client(browserName="Chrome", osName="Linux")
KEY = BatchKey(MONITOR, SESSION, is_client=True, client=CHROME)
MS = 10**6
T = 1_790_000_000_000 * MS


def queued(time_ms=0, details='{"version":"1.0.0"}', kind="t", key=KEY, **members):
    draft = Draft(id=f"{kind}-{time_ms}", time_ns=T + time_ms * MS, type=kind, details=details, **members)
    return Queued(key, draft, 0.0, 0, size_of(draft))


def view_of(time_ms, page_id, **members):
    return queued(time_ms, PageViewEvent(pageId=page_id), PageViewEvent.type_, **members)


def session(*pages, **members):
    timeline = Timeline()
    for time_ms, page_id in pages:
        timeline = timeline.with_visit(Visit(T + time_ms * MS, page_id))
    return SessionView(timeline.places, **members)


def notes_of(counted):
    session = Session(0.0)
    for kind in counted.elements():
        session.count_sent(kind)
    return session.notes


NOTHING_KNOWN = SessionView()


def put_together(events, known=NOTHING_KNOWN, *, session_metadata=True, **options):
    return assemble(list(events), known, RumConfig(**options), session_metadata=session_metadata)


def shown(assembled):
    return [
        (each.type, each.timestamp, json.loads(each.details), json.loads(each.metadata)) for each in _events(assembled)
    ]


def _events(assembled):
    return assembled.batch.events if assembled.batch else ()


def test_order():
    """By time; the session's start first, at the earliest moment, then a page before what happened on it."""
    events = [queued(5), view_of(5, "/b"), queued(9, kind=START), queued(1), view_of(0, "/a")]
    assembled = put_together(events, session((0, "/a"), (5, "/b")))
    types = [START, PageViewEvent.type_, "t", PageViewEvent.type_, "t"]
    assert [each.type for each in assembled.batch.events] == types
    assert [round(each.timestamp - T / 1000 / MS, 3) for each in assembled.batch.events] == [0, 0, 0.001, 0.005, 0.005]
    # the start is on the page of its moment
    assert json.loads(assembled.batch.events[0].metadata)["pageId"] == "/a"


def test_timestamps_are_seconds_with_milliseconds():
    """Nothing finer than what the service is known to keep."""
    event = replace(queued().draft, time_ns=1_795_403_988_883_400_097)
    assembled = put_together([Queued(KEY, event, 0.0, 0, size_of(event))])
    assert assembled.batch.events[0].timestamp == 1795403988.883


def test_metadata_once_or_merged():
    """What is the same for all stands in SessionMetadata, or in each event where the service's model has none."""
    page = {"pageId": "/a", "interaction": 0, "version": "1.0.0"}
    shared = {
        "version": "1.0.0",
        "domain": "shop.example",
        "platformType": "web",
        "browserName": "Chrome",
        "osName": "Linux",
        "aws:releaseId": "r-7",
    }
    events = [queued(attributes={"app_tenant": "t"})]
    known = session((0, "/a"), domain="shop.example")
    once = put_together(events, known, release_id="r-7")
    assert json.loads(once.batch.session_metadata) == shared
    assert json.loads(once.batch.events[0].metadata) == {"app_tenant": "t", **page}
    merged = put_together(events, known, session_metadata=False, release_id="r-7")
    assert merged.batch.session_metadata is None
    assert json.loads(merged.batch.events[0].metadata) == {"app_tenant": "t", **shared, **page}


@pytest.mark.parametrize(
    ("events", "known", "options", "domain", "in_event"),
    [
        pytest.param([queued()], SessionView(), {}, "localhost", None, id="none"),
        pytest.param([queued(domain="a.example")], SessionView(), {}, "a.example", None, id="an item's"),
        pytest.param([queued()], SessionView(domain="s.example"), {}, "s.example", None, id="the session's"),
        pytest.param(
            [queued(domain="a.example")], SessionView(domain="s.example"), {}, "s.example", "a.example", id="another"
        ),
        pytest.param(
            [queued(domain="a.example")], SessionView(domain="s.example"), {"domain": "pin"}, "pin", None, id="pinned"
        ),
    ],
)
def test_domain(events, known, options, domain, in_event):
    """Pinned by the option, else the session's, else an item's; an event of another domain carries its own."""
    assembled = put_together(events, known, **options)
    assert json.loads(assembled.batch.session_metadata)["domain"] == domain
    assert json.loads(assembled.batch.events[0].metadata).get("domain") == in_event
    assert assembled.lacks_domain is (domain == "localhost")


@pytest.mark.parametrize(
    ("key", "known", "expected"),
    [
        pytest.param(KEY, Client(browserName="Firefox"), "Firefox", id="known better by now"),
        pytest.param(KEY, NO_CLIENT, "Chrome", id="the session is forgotten"),
        pytest.param(replace(KEY, client=NO_CLIENT), CHROME, "Chrome", id="the session's"),
        pytest.param(replace(KEY, client=NO_CLIENT, is_client=False), CHROME, None, id="a server's"),
        pytest.param(replace(KEY, client=NO_CLIENT), NO_CLIENT, None, id="unknown"),
    ],
)
def test_browser(key, known, expected):
    """A user's item has its session's browser as it is known when the batch is built; a server's never."""
    assembled = put_together([queued(key=key)], SessionView(client=known))
    assert json.loads(assembled.batch.session_metadata).get("browserName") == expected


def test_pages_at_their_time():
    """Each event is on the page of its moment; before the first page's record, on that page."""
    known = session((10, "/a"), (20, "/b"))
    assembled = put_together([queued(0), queued(15), queued(20), queued(99)], known)
    pages = [metadata for *_, metadata in shown(assembled)]
    assert [each["pageId"] for each in pages] == ["/a", "/a", "/b", "/b"]
    assert [each["interaction"] for each in pages] == [0, 0, 1, 1]
    assert [each.get("parentPageId") for each in pages] == [None, None, "/a", "/a"]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param(NO_PAGE, {"pageId": "/a", "interaction": 0}, id="none"),
        pytest.param(Page(pageId="/a"), {"pageId": "/a", "interaction": 0}, id="the session's"),
        pytest.param(Page(pageId="/else"), {"pageId": "/else"}, id="another"),
    ],
)
def test_an_items_own_page(own, expected):
    """An item that names another page than the session's is on that, at no known place."""
    assembled = put_together([queued(page=own)], session((0, "/a")))
    assert json.loads(assembled.batch.events[0].metadata) == {"version": "1.0.0", **expected}


def test_page_views():
    """A view says its place among the session's pages; a view of the page that the user is on is a repeat."""
    events = [view_of(0, "/a"), view_of(5, "/a"), view_of(1700, "/b"), view_of(1700, "/c")]
    assembled = put_together(events, session((0, "/a"), (5, "/a"), (1700, "/b"), (1700, "/c")))
    assert [details for _, _, details, _ in shown(assembled)] == [
        {"version": "1.0.0", "pageId": "/a", "interaction": 0, "pageInteractionId": "/a-0"},
        {
            "version": "1.0.0",
            "pageId": "/b",
            "interaction": 1,
            "pageInteractionId": "/b-1",
            "parentPageInteractionId": "/a-0",
            "timeOnParentPage": 1700,
        },
        {
            "version": "1.0.0",
            "pageId": "/c",
            "interaction": 2,
            "pageInteractionId": "/c-2",
            "parentPageInteractionId": "/b-1",
            "timeOnParentPage": 0,
        },
    ]
    assert assembled.dropped == [(events[1], DropReason.DUPLICATE)]


def test_a_callers_user_agent():
    """A server's item has its caller's, if only by another item of the session; not that of another caller."""
    caller, other = Client(user_agent="curl"), Client(user_agent="wget")
    key = replace(KEY, is_client=False)
    for own, expected in ((NO_CLIENT, "curl"), (other, "wget")):
        assembled = put_together([queued(key=replace(key, client=own))], SessionView(client=CHROME, caller=caller))
        assert json.loads(assembled.batch.session_metadata).get("aws:userAgent") == expected


def test_when_a_session_began():
    """Its start is as early as the earliest of the user's own items, in whichever batch that is."""
    known = session((0, "/a"), begun_ns=T - 7000 * MS)
    assembled = put_together([queued(5), queued(9, kind=START)], known)
    assert shown(assembled)[0][1] == pytest.approx(T / 1e9 - 7)


def test_a_views_page_is_the_one_it_is_of():
    """A click that leads on names the page that it was made on; the view is of the next, also where it has no place."""
    view = view_of(5, "/next", page=Page(pageId="/before", title="t"))
    for known in (session((0, "/before"), (5, "/next")), SessionView()):
        ((_, _, details, metadata),) = shown(put_together([view], known))
        assert (details["pageId"], metadata["pageId"]) == ("/next", "/next")


def test_a_view_is_sent_once():
    """A second source of the same page may arrive after the first is sent."""
    views = [view_of(0, "/a"), view_of(5, "/b")]
    known = session((0, "/a"), (5, "/b"))
    counted = put_together(views, known).counted
    again = put_together(views, known._replace(notes=notes_of(counted)))
    assert again.dropped == [(each, DropReason.DUPLICATE) for each in views]


def test_a_view_older_than_the_timeline():
    """Where it belongs is forgotten, so that it claims no place; it is no repeat."""
    known = session(*((time_ms, f"/{time_ms}") for time_ms in range(100)))
    assembled = put_together([view_of(3, "/3")], known)
    assert shown(assembled)[0][2:] == ({"version": "1.0.0", "pageId": "/3"}, {"version": "1.0.0", "pageId": "/3"})


def test_images_of_a_page():
    """So many are sent of each page, whatever the number of batches; what waits for the next batch is not counted."""
    known = session((0, "/a"), (50, "/b"))
    text = json.dumps({"text": "x" * 3000})
    images = [queued(time_ms, text, "image", is_limited=True) for time_ms in (1, 2, 3, 4, 51)]
    options = {"resource_image_limit": 3, "max_bytes": 8192}
    sent, left, dropped, counted = [], images, [], Counter()
    while left:
        assembled = put_together(left, known._replace(notes=notes_of(counted)), **options)
        counted += assembled.counted
        sent += _events(assembled)
        dropped += assembled.dropped
        left = assembled.left
    assert [each.id for each in sent] == ["image-1", "image-2", "image-3", "image-51"]
    assert dropped == [(images[3], DropReason.LIMITED)]


def test_a_view_in_a_forgotten_session():
    """Its place is not known, so none is claimed."""
    assembled = put_together([view_of(0, "/a")])
    assert json.loads(assembled.batch.events[0].details) == {"version": "1.0.0", "pageId": "/a"}


def test_nothing_is_left():
    """Where every event is a repeat there is no batch."""
    assembled = put_together([view_of(5, "/a")], session((0, "/a")))
    assert assembled.batch is None
    assert [reason for _, reason in assembled.dropped] == [DropReason.DUPLICATE]


def test_large_events_are_cut_and_larger_ones_dropped():
    """Details and metadata together have at most 6,144 bytes; what cannot be cut to that is dropped."""
    long = queued(1, json.dumps({"text": "ż" * 6000, "id": "b9a27564d4d261fd"}, ensure_ascii=False))
    many = queued(2, json.dumps({"numbers": list(range(2000))}))
    fits = queued(3, json.dumps({"text": "x" * 100}))
    assembled = put_together([long, many, fits], attributes=("*",))
    first, second = assembled.batch.events
    assert 6000 < len(first.details.encode() + first.metadata.encode()) <= MAX_EVENT_BYTES
    assert json.loads(first.details)["id"] == "b9a27564d4d261fd"
    assert second.details == fits.draft.details
    assert assembled.written == [long, fits]
    ((rejected, event, _, reason),) = assembled.rejected
    assert (rejected, event.details, reason) == (many, many.draft.details, DropReason.TOO_LARGE)


def body_bytes(assembled):
    """What is sent."""
    return len(msgspec.json.encode(assembled.batch.request()))


def test_a_full_request_leaves_the_rest():
    """Events beyond max_bytes wait for the next batch, in their order; one alone always goes."""
    events = [queued(i, json.dumps({"text": "x" * 3000})) for i in range(10)]
    assembled = put_together(events, max_bytes=16_384)
    assert 1 < len(assembled.batch.events) < 10
    assert assembled.left == events[len(assembled.batch.events) :]
    assert body_bytes(assembled) <= 16_384
    alone = put_together([queued(0, json.dumps({"text": "\\" * 2500}))], max_bytes=8192)
    assert len(alone.batch.events) == 1


texts = st.text(st.characters(codec="utf-8") | st.sampled_from('"\\ż🛒\x00'), max_size=3000)


@given(
    st.lists(st.tuples(st.integers(0, 50), texts, st.sampled_from(["/a", "/b", None])), min_size=1, max_size=12),
    st.integers(8192, 40_000),
    st.booleans(),
)
def test_each_event_is_somewhere(given_events, max_bytes, session_metadata):
    """In the batch, dropped or left, once; the request within its limit, each event within its own."""
    events = [
        view_of(time_ms, page_id) if page_id else queued(time_ms, json.dumps({"text": text}, ensure_ascii=False))
        for time_ms, text, page_id in given_events
    ]
    known = session(*((time_ms, page_id) for time_ms, _, page_id in given_events if page_id))
    assembled = put_together(events, known, max_bytes=max_bytes, session_metadata=session_metadata)
    dropped = [each for each, _ in assembled.dropped]
    assert len(_events(assembled)) + len(dropped) + len(assembled.left) == len(events)
    assert not any(each in assembled.left for each in dropped)
    times = [each.timestamp for each in _events(assembled)]
    assert times == sorted(times)
    if assembled.batch:
        assert body_bytes(assembled) <= max_bytes or len(assembled.batch.events) == 1
    for event in _events(assembled):
        assert len(event.details.encode() + event.metadata.encode()) <= MAX_EVENT_BYTES


def test_unset_is_never_sent():
    """A page field that is not known is left out."""
    assembled = put_together([queued(page=Page(title="t", pageId=UNSET))])
    assert json.loads(assembled.batch.events[0].metadata) == {"version": "1.0.0", "title": "t"}
