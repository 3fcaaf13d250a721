"""The pages of a session, in the order of their time, however they arrive."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.sessions.context import SessionView
from otel_rum_exporter.sessions.timeline import Timeline, Visit

S = 10**9


def told(timeline):
    return [(place.visit, place.interaction, place.parent) for place in timeline.places]


def timeline_of(visits):
    timeline = Timeline()
    for visit in visits:
        timeline = timeline.with_visit(visit)
    return timeline


visit_lists = st.lists(
    st.builds(Visit, st.integers(0, 30), st.sampled_from(["/a", "/b", "/c"]), st.just(value=True)), max_size=40
)


@given(visit_lists, st.randoms())
def test_timeline_does_not_depend_on_the_order_of_arrival(visits, random_):
    """The same visits in any order are the same pages."""
    shuffled = list(visits)
    random_.shuffle(shuffled)
    assert told(timeline_of(shuffled)) == told(timeline_of(visits))


@given(visit_lists)
def test_timeline_counts_changes(visits):
    """Numbers go up by one, each page has the one before it as parent, and no page follows itself."""
    places = timeline_of(visits).places
    assert [place.interaction for place in places] == list(range(len(places)))
    assert [place.parent for place in places] == [None, *(place.visit for place in places)][: len(places)]
    assert all(place.parent is None or place.parent.page_id != place.visit.page_id for place in places)
    assert [place.visit.order for place in places] == sorted(place.visit.order for place in places)


def test_timeline_forgets_but_goes_on_counting():
    """Of a long session the latest pages are kept, and their numbers stay what they were."""
    timeline = timeline_of(Visit(i, f"/{i}") for i in range(200))
    assert len(timeline.places) == 64
    assert [place.interaction for place in timeline.places] == list(range(136, 200))
    timeline = timeline.with_visit(Visit(200, "/199"))
    assert timeline.places[-1].interaction == 199


def test_timeline_forgets_repeats_without_counting_them():
    """Visits of the same page are no pages."""
    timeline = timeline_of([Visit(i, "/same") for i in range(200)] + [Visit(200, "/next")])
    assert [place.interaction for place in timeline.places] == [0, 1]


PLACES = timeline_of([Visit(10, "/a"), Visit(20, "/b"), Visit(20, "/c")]).places


@pytest.mark.parametrize(("time_ns", "page"), [(0, "/a"), (10, "/a"), (19, "/a"), (20, "/c"), (99, "/c")], ids=str)
def test_place_at(time_ns, page):
    """The page that was current; before the first page's record, that page."""
    assert SessionView(PLACES).place_at(time_ns).visit.page_id == page


def test_places_of_nothing():
    """A session without a page has no place."""
    assert SessionView().place_at(5) is None
    assert SessionView().place_of(10, "/a") is None
    assert SessionView(PLACES).place_of(20, "/b").interaction == 1
    assert SessionView(PLACES).place_of(11, "/a") is None


def test_a_view_does_not_change():
    """What a batch reads without a lock stays as it was."""
    timeline = timeline_of([Visit(1, "/a")])
    before = timeline.places
    timeline = timeline.with_visit(Visit(2, "/b"))
    assert (len(before), len(timeline.places)) == (1, 2)


# pages that the user was seen on without a view


def seen(time_ns, page_id):
    return Visit(time_ns, page_id, is_view=False)


def pages_at(timeline, *times):
    view = SessionView(timeline.places)
    places = [view.place_at(time_ns) for time_ns in times]
    return [place and (place.visit.page_id, place.interaction) for place in places]


@pytest.mark.parametrize(
    ("visits", "expected"),
    [
        pytest.param([seen(10, "/a")], [None, ("/a", None), ("/a", None)], id="alone"),
        pytest.param([Visit(5, "/a"), seen(20, "/b")], [("/a", 0), ("/a", 0), ("/b", None)], id="after a view"),
        pytest.param([seen(10, "/a"), Visit(20, "/a")], [("/a", 0), ("/a", 0), ("/a", 0)], id="before its view"),
        pytest.param([seen(10, "/a"), Visit(20, "/b")], [None, ("/a", None), ("/b", 0)], id="before another's view"),
        pytest.param(
            [Visit(5, "/a"), seen(9, "/a"), seen(19, "/b")], [("/a", 0), ("/a", 0), ("/b", None)], id="moved on"
        ),
        pytest.param([Visit(5, "/a"), seen(8, "/b"), Visit(9, "/a")], [("/a", 0), ("/a", 1), ("/a", 1)], id="and back"),
    ],
)
def test_seen_without_a_view(visits, expected):
    """It is the page of its time, at no known place unless its view is told of."""
    for each in (visits, visits[::-1]):
        assert pages_at(timeline_of(each), 5, 15, 25) == expected


def test_being_seen_on_a_page_does_not_fill_the_timeline():
    """Only the first and the last sight of a page are kept."""
    timeline = timeline_of([Visit(0, "/a"), *(seen(i, "/a") for i in range(1, 1000)), Visit(2000, "/b")])
    assert len(timeline.visits) == 3
    assert [place.interaction for place in timeline.places] == [0, 1]
    # a page that the user was on in between makes two stays of it
    timeline = timeline.with_visit(Visit(500, "/c"))
    assert pages_at(timeline, 400, 600, 999, 2000) == [("/a", 0), ("/c", 1), ("/a", None), ("/b", 2)]


def test_a_visit_that_is_told_of_twice():
    """A resent record is no other visit."""
    assert told(timeline_of([Visit(0, "/a"), Visit(1, "/b")] * 100)) == told(
        timeline_of([Visit(0, "/a"), Visit(1, "/b")])
    )


def test_what_is_older_than_the_timeline_is_not_taken():
    """The numbers of the pages that are known stay what they were sent as."""
    timeline = timeline_of(Visit(i * S, f"/{i}") for i in range(100))
    before = told(timeline)
    timeline = timeline.with_visit(Visit(0, "/late"))
    timeline = timeline.with_visit(seen(35 * S, "/late"))
    assert told(timeline) == before


@given(
    st.lists(
        st.builds(Visit, st.integers(0, 300), st.sampled_from(["/a", "/b", "/c"]), st.booleans()),
        min_size=65,
        max_size=200,
    )
)
def test_forgetting_keeps_the_numbers(visits):
    """In the order of their time, pages have the number that they have in a timeline that forgets nothing."""
    visits = sorted(set(visits), key=lambda visit: visit.order)
    timeline, numbers, number, current, is_numbered = Timeline(), {}, 0, None, False
    for visit in visits:
        timeline = timeline.with_visit(visit)
        is_numbered = is_numbered and visit.page_id == current
        if visit.is_view and not is_numbered:
            numbers[visit.time_ns, visit.page_id], number, is_numbered = number, number + 1, True
        current = visit.page_id
    assert len(timeline.visits) <= 64
    for place in timeline.places[1:]:
        if place.visit.is_view and (place.visit.time_ns, place.visit.page_id) in numbers:
            assert place.interaction == numbers[place.visit.time_ns, place.visit.page_id]


@given(st.lists(st.builds(Visit, st.integers(-(10**30), 10**30), st.text(max_size=3), st.booleans()), max_size=100))
def test_any_clock(visits):
    """Times decades apart, before the epoch or out of order: the places are in the order of time."""
    places = timeline_of(visits).places
    assert [place.visit.time_ns for place in places] == sorted(place.visit.time_ns for place in places)


def test_cost_is_bounded():
    """However many pages a session has, a visit costs what 64 do."""
    timeline = Timeline()
    random_ = random.Random(1)
    for i in range(10_000):
        timeline = timeline.with_visit(Visit(i * S + random_.randrange(2 * S), f"/{i}", random_.random() < 0.8))
        assert len(timeline.visits) <= 64
        assert len(timeline.places) <= 64


# what was told


def test_a_view_that_comes_late_takes_no_number_from_others():
    """Events were sent from the pages around it: these keep their numbers, it gets none, and the next goes on."""
    timeline = timeline_of([Visit(0, "/a"), Visit(20, "/b")])
    timeline = timeline.told(20)
    timeline = timeline.with_visit(Visit(10, "/late"))
    assert pages_at(timeline, 5, 15, 25) == [("/a", 0), ("/late", None), ("/b", 1)]
    timeline = timeline.with_visit(Visit(30, "/c"))
    assert told(timeline)[-1] == (Visit(30, "/c"), 2, timeline.visits[2])
    # its own view is known, without a number
    assert SessionView(timeline.places).place_of(10, "/late").interaction is None


def test_a_view_that_comes_late_of_the_page_that_was_told():
    """It says nothing new."""
    timeline = timeline_of([Visit(0, "/a"), Visit(20, "/b")])
    timeline = timeline.told(20)
    before = told(timeline)
    timeline = timeline.with_visit(Visit(10, "/a"))
    assert told(timeline) == before
    assert SessionView(timeline.places).place_of(10, "/a") is None


def test_a_view_after_what_was_told_counts():
    """Only what lies before a page that was told comes too late."""
    timeline = timeline_of([Visit(0, "/a"), Visit(20, "/b")])
    timeline = timeline.told(0)
    timeline = timeline.with_visit(Visit(10, "/in time"))
    assert pages_at(timeline, 5, 15, 25) == [("/a", 0), ("/in time", 1), ("/b", 2)]


def test_a_page_that_was_told_goes_on_after_a_late_one():
    """The user was on it before and after, as its second record says."""
    timeline = timeline_of([Visit(0, "/a"), Visit(20, "/a"), Visit(30, "/b")])
    timeline = timeline.told(30)
    timeline = timeline.with_visit(Visit(10, "/late"))
    assert pages_at(timeline, 5, 15, 25, 35) == [("/a", 0), ("/late", None), ("/a", 0), ("/b", 1)]
    assert timeline.places[-1].parent.page_id == "/a"


@given(
    st.lists(st.tuples(st.builds(Visit, st.integers(0, 30), st.sampled_from("abcde"), st.booleans()), st.booleans()))
)
def test_what_was_told_stays(steps):
    """Whatever comes later, no number goes to two pages, and what was said of a visit is said again."""
    timeline, said = Timeline(), {}
    for visit, is_sent in steps:
        timeline = timeline.with_visit(visit)
        if is_sent:
            timeline = timeline.told(visit.time_ns)
            said |= {place.visit.order: place for place in timeline.places if place.visit.time_ns <= visit.time_ns}
    numbered = [place for place in timeline.places if place.interaction is not None]
    pages = {}
    for place in numbered:
        assert pages.setdefault(place.interaction, place.visit.page_id) == place.visit.page_id
    now = {place.visit.order: place for place in timeline.places}
    for order, place in said.items():
        assert order not in now or now[order].interaction == place.interaction


def test_numbers_of_a_long_session_that_is_told():
    """What is forgotten of it does not change what follows."""
    timeline = Timeline()
    for i in range(300):
        timeline = timeline.with_visit(Visit(i, f"/{i}"))
        timeline = timeline.told(i)
    assert [place.interaction for place in timeline.places] == list(range(236, 300))
    assert timeline.places[1].parent.page_id == "/236"
