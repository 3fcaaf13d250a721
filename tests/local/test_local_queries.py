"""What the endpoint tells about what arrived."""

import json
import threading

import pytest
from rum_samples import METADATA, MONITOR, NOW, SESSION, USER, event, post, request

from otel_rum_exporter.local.traffic import Traffic

OTHER_SESSION = SESSION.replace("1", "2")
VIEW = "com.amazon.rum.page_view_event"


def page_view(page, **members):
    return event({"pageId": page}, {**METADATA, "pageId": page}, VIEW, **members)


def test_sessions(rum):
    """Each session has its user, its time range, its events by type and its pages in order."""
    post(rum.endpoint, request(page_view("/b"), page_view("/a", timestamp=NOW + 5), event(timestamp=NOW - 5)))
    post(rum.endpoint, request(page_view("/c"), session=OTHER_SESSION))
    first, second = rum.sessions()
    assert first == {
        "session_id": SESSION,
        "user_id": USER,
        "first_timestamp": NOW - 5,
        "last_timestamp": NOW + 5,
        "events": 3,
        "events_by_type": {VIEW: 2, "custom": 1},
        "pages": ["/b", "/a"],
    }
    assert (second["session_id"], second["pages"]) == (OTHER_SESSION, ["/c"])


def test_events_can_be_chosen(rum):
    """By session and by type, with or without AWS's prefix."""
    post(rum.endpoint, request(page_view("/"), event()))
    post(rum.endpoint, request(event(), session=OTHER_SESSION))
    assert len(rum.events()) == 3
    assert len(rum.events(session=SESSION)) == 2
    assert rum.events(type="page_view_event") == rum.events(type=VIEW) == [rum.events()[0]]
    assert rum.events(type="custom", session=OTHER_SESSION)[0]["session_id"] == OTHER_SESSION


def test_events_come_in_pages(rum):
    """Limit and offset page through the events in order of arrival; the total is that of all."""
    sent = [event() for _ in range(5)]
    post(rum.endpoint, request(*sent))
    page = json.loads(post(rum.endpoint, b"", "/api/events?limit=2&offset=3", method="GET").body)
    assert page["total"] == 5
    assert [each["id"] for each in page["events"]] == [each["id"] for each in sent[3:]]
    assert post(rum.endpoint, b"", "/api/events?limit=-1", method="GET").status == 400


def test_an_event_carries_its_request(rum):
    """Details and metadata are parsed, and ids of the request stand beside them."""
    body = request(event({"a": [1]}, {"title": "T"}), SessionMetadata=json.dumps(METADATA))
    post(rum.endpoint, body)
    (stored,) = rum.events()
    assert stored == {
        "id": body["RumEvents"][0]["id"],
        "timestamp": NOW,
        "type": "custom",
        "details": {"a": [1]},
        "metadata": {**METADATA, "title": "T"},
        "batch_id": body["BatchId"],
        "monitor_id": MONITOR,
        "session_id": SESSION,
        "user_id": USER,
        "times_received": 1,
        "times_changed": 0,
    }


def test_duplicates_are_counted_not_kept(rum):
    """An event that comes again is one event; coming with other details is noted."""
    body = request(event())
    for _ in range(3):
        post(rum.endpoint, body)
    body["RumEvents"][0]["details"] = '{"changed":true}'
    post(rum.endpoint, body)
    stats = rum.stats()
    assert (stats["events_received"], stats["events_distinct"], stats["events_duplicate"]) == (4, 1, 3)
    assert stats["events_changed"] == 1
    assert rum.events()[0]["times_received"] == 4


def test_requests_tell_what_came_over_the_wire(rum):
    """Envelope, sizes and telling headers are kept; credentials are not."""
    body = request(Alias="web", SessionMetadata=json.dumps(METADATA))
    headers = {"user-agent": "test", "amz-sdk-request": "attempt=1; max=1", "authorization": "secret"}
    post(rum.endpoint, body, headers=headers)
    (stored,) = rum.requests()
    assert (stored["batch_id"], stored["alias"], stored["status"], stored["events"]) == (
        body["BatchId"],
        "web",
        "200",
        1,
    )
    assert stored["app_monitor_details"] == {"id": MONITOR, "version": "1.0.0"}
    assert stored["wire_bytes"] == stored["body_bytes"] == len(json.dumps(body))
    assert stored["headers"]["amz-sdk-request"] == "attempt=1; max=1"
    assert "secret" not in json.dumps(stored)


def test_reset_forgets_everything(rum):
    """After a reset all counters are zero."""
    post(rum.endpoint, request())
    post(rum.endpoint, b"{")
    rum.reset()
    stats = rum.stats()
    assert {**stats, "in_flight": stats["in_flight"]["max_per_session"]} == {
        "requests": 0,
        "requests_by_status": {},
        "events_received": 0,
        "events_distinct": 0,
        "events_duplicate": 0,
        "events_changed": 0,
        "rejected_by_reason": {},
        "warnings_by_reason": {},
        "sessions": 0,
        "in_flight": 0,
    }


def send_at_once(rum, *bodies):
    barrier = threading.Barrier(len(bodies))

    def run(body):
        barrier.wait()
        post(rum.endpoint, body)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ((SESSION, SESSION), {"max": 2, "max_per_session": 2}),
        ((SESSION, OTHER_SESSION), {"max": 2, "max_per_session": 1}),
    ],
)
def test_requests_in_flight_at_once(rum, sessions, expected):
    """Overlapping requests are seen, in all and of one session."""
    rum.set_faults(latency_ms=100)
    send_at_once(rum, *(request(session=each) for each in sessions))
    assert rum.stats()["in_flight"] == {"now": 0, **expected}


def test_one_after_the_other_is_one_in_flight(rum):
    """A session's requests that wait for each other's answers never overlap."""
    for _ in range(5):
        post(rum.endpoint, request())
    assert rum.stats()["in_flight"] == {"now": 0, "max": 1, "max_per_session": 1}


def test_overlap_is_measured_from_arrival_to_answer():
    """A session that is known only after another of its requests was answered still overlaps with it."""
    times = iter([0, 1, 2, 2, 3, 3])
    traffic = Traffic(lambda: next(times))
    first, second = traffic.enter(), traffic.enter()
    first.session = "a"
    traffic.leave(first)
    second.session = "a"
    third = traffic.enter()
    third.session = "a"
    assert traffic.summary() == {"now": 2, "max": 2, "max_per_session": 2}


def test_waiting_for_events_ends_when_they_come(rum):
    """A waiting caller is answered as soon as there are enough distinct events."""
    timer = threading.Timer(0.05, post, (rum.endpoint, request(event(), event())))
    timer.start()
    assert len(rum.wait_for_events(2)) == 2
    timer.join()


def test_waiting_in_vain_says_what_came(rum):
    """The error of a wait that failed shows the counters."""
    post(rum.endpoint, b"{")
    with pytest.raises(TimeoutError, match=r"no 1 events within 0.01 s: .*'400': 1"):
        rum.wait_for_events(1, timeout_s=0.01)


def test_health(rum):
    """A health check answers."""
    assert post(rum.endpoint, b"", "/healthz", method="GET").status == 200
