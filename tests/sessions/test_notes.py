"""What is noted of a session: found by name, bounded, and safe to read while it grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from otel_rum_exporter.sessions.notes import NO_NOTES

FACT, SEEN, SENT = "fact", "seen", "sent"


def noted(steps):
    """The notes after some steps, and by how much they grew."""
    notes, size = NO_NOTES, 0
    for kind, key, value in steps:
        if kind == FACT:
            notes, growth = notes.with_fact(key, value)
        elif kind == SEEN:
            notes, growth = notes.with_seen(key, value)
        else:
            notes, growth = notes.with_sent(key)
        size += growth
    return notes, size


def by_the_book(steps):
    """The same with a dictionary, whose order is that of the latest changes."""
    known = {}
    for kind, key, value in steps:
        before = known.pop((kind, key), None)
        known[kind, key] = (before or 0) + 1 if kind == SENT else value
        if len(known) > 256:
            del known[next((name for name in known if name[0] == FACT), next(iter(known)))]
    return known


def read(notes, kind, key):
    if kind == FACT:
        return notes.fact(key)
    return notes.seen_ns(key) if kind == SEEN else notes.number_sent(key) or None


KEYS = 300
KINDS = st.sampled_from([FACT, SEEN, SENT])
STEPS = st.tuples(KINDS, st.integers(0, KEYS - 1), st.integers(1, 2**62))


@given(st.lists(STEPS), st.integers(0, 600), KINDS)
def test_notes_are_what_a_dictionary_would_hold(steps, number, kind):
    """Whatever is noted, more than there is room for too: the same values, and the same are forgotten."""
    steps = [*((kind, index % KEYS, index + 1) for index in range(number)), *steps]
    notes, _ = noted(steps)
    expected = by_the_book(steps)
    assert len(notes) == len(expected)
    for each in (FACT, SEEN, SENT):
        for key in range(KEYS):
            assert read(notes, each, key) == expected.get((each, key))


@given(st.lists(STEPS, max_size=20))
def test_their_size_is_that_of_what_is_left(steps):
    """What takes the place of another counts instead of it: notes with the same values are of the same size."""
    latest = {(kind, key): (kind, key, value) for kind, key, value in steps if kind != SENT}
    assert noted(step for step in steps if step[0] != SENT)[1] == noted(latest.values())[1]


def test_the_size_of_too_many():
    """However many come, the notes that are left are what counts."""
    sizes = [noted((SEEN, key, key) for key in range(number))[1] for number in (256, 257, 2000)]
    assert sizes == [sizes[0]] * 3


class Marks(Struct, frozen=True):
    """A fact with members."""

    times_ns: dict[str, int]
    size: int


FACTS = [
    pytest.param(True, id="a flag"),
    pytest.param("0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e", id="an id"),
    pytest.param(("click", 10**18, 10**18 + 1), id="an interaction"),
    pytest.param({"fetchStart": 10**18}, id="marks"),
    pytest.param(Marks({"fetchStart": 10**18}, 7), id="marks and sizes"),
]


@pytest.mark.parametrize("fact", FACTS)
def test_facts_are_read_as_they_were_said(fact):
    """Whatever they are."""
    notes, growth = NO_NOTES.with_fact(("kind", 1), fact)
    assert notes.fact(("kind", 1)) == fact
    assert type(notes.fact(("kind", 1))) is type(fact)
    assert growth > 0
    assert notes.with_fact(("kind", 1), fact)[1] == 0


def test_calls_of_a_url_add_up():
    """Of one URL the latest eight are known, in the order of their arrival; another URL has its own."""
    calls = [(10**18 + i, 2**63 - 1 - i) for i in range(11)]
    notes, size = noted([(FACT, ("call", 1), call) for call in calls] + [(FACT, ("call", 2), (0, 0))])
    assert notes.fact(("call", 1)) == tuple(time_ns for call in calls[-8:] for time_ns in call)
    assert notes.fact(("call", 2)) == (0, 0)
    assert noted((FACT, ("call", i), (0, 0)) for i in range(10))[1] > size


def test_a_name_across_two_others():
    """What looks like a name where one note's ends and the next begins is none, and does not hide the note itself."""
    first, second = bytes([1, 2, 3, 4, 5, 6, 7]), bytes([8, 9, 10, 2, 11, 12, 13])
    across = first[4:] + bytes([2]) + second[:3]  # 2 is what the names of all that was reported end with
    keys = [int.from_bytes(each, "little") for each in (first, second, across)]
    notes, _ = noted((SEEN, key, index) for index, key in enumerate(keys[:2]))
    assert across + bytes([2]) in notes.names
    assert notes.seen_ns(keys[2]) is None
    notes, _ = notes.with_seen(keys[2], 2)
    assert [notes.seen_ns(key) for key in keys] == [0, 1, 2]


def test_old_notes_stay_what_they_were():
    """What another thread reads does not change under it."""
    old, _ = NO_NOTES.with_seen("vital", 1)
    new, _ = old.with_seen("vital", 2)
    new, _ = new.with_sent("view")
    assert (old.seen_ns("vital"), old.number_sent("view"), len(old)) == (1, 0, 1)
    assert (new.seen_ns("vital"), new.number_sent("view"), len(new)) == (2, 1, 2)
    assert len(NO_NOTES) == 0
