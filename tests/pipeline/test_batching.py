"""Which events go out together, and when. Pure: time is a number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rum_items import key, keyed

from otel_rum_exporter.convert.conversion import Draft, Once
from otel_rum_exporter.events import Client
from otel_rum_exporter.sending.batching import Batches, size_of
from otel_rum_exporter.sessions.session import Keyed

ONE = size_of(keyed(key()).draft)


def batches(max_events=3, max_bytes=1_000_000, linger_s=5.0):
    return Batches(max_events, max_bytes, linger_s)


def add(batches, *names, at=0.0, number=1, epoch=0):
    return [batches.add(keyed(key(number), name), at, epoch) for name in names]


def names(queued):
    return None if queued is None else [each.draft.id for each in queued]


def test_nothing_is_due_while_a_batch_gathers():
    """Until its linger is over, a batch that is not full stays."""
    waiting = batches()
    add(waiting, "a", "b", at=10.0)
    assert waiting.due_in(12.0) == 3.0
    assert waiting.take(14.9) is None


def test_full_by_count():
    """A batch of max_events is due at once, and the rest stays."""
    waiting = batches()
    add(waiting, "a", "b", "c", "d", at=10.0)
    assert waiting.due_in(10.0) == 0.0
    assert names(waiting.take(10.0)) == ["a", "b", "c"]
    waiting.release(key())
    assert waiting.due_in(10.0) == 5.0


def test_full_by_bytes():
    """A batch of max_bytes is due at once; what would not fit any more stays."""
    waiting = batches(max_events=100, max_bytes=2 * ONE + 10)
    add(waiting, "a", "b", at=1.0)
    assert waiting.take(1.0) is None
    add(waiting, "c", at=1.0)
    assert names(waiting.take(1.0)) == ["a", "b"]


def test_an_event_above_the_limit_goes_alone():
    """max_bytes never keeps an event for ever."""
    waiting = batches(max_bytes=ONE)
    waiting.add(keyed(key(), "large", size=5000), 0.0, 0)
    add(waiting, "small")
    assert names(waiting.take(0.0)) == ["large"]


def test_due_by_age():
    """A batch is due when its first event has waited for the linger."""
    waiting = batches()
    add(waiting, "a", at=10.0)
    add(waiting, "b", at=14.0)
    assert waiting.due_in(14.0) == 1.0
    assert names(waiting.take(15.0)) == ["a", "b"]
    assert waiting.due_in(15.0) is None


def test_due_by_flush():
    """A flush makes due what was there, in all sessions, and nothing that comes later."""
    waiting = batches()
    add(waiting, "a", number=1, epoch=0)
    add(waiting, "b", number=2, epoch=0)
    waiting.flush(0)
    add(waiting, "c", number=3, epoch=1)
    assert [names(waiting.take(0.0)) for _ in range(3)] == [["a"], ["b"], None]


def test_a_flush_reaches_what_is_behind_a_batch_on_its_way():
    """What was admitted before a flush stays due while its session's batch is out."""
    waiting = batches(max_events=1)
    add(waiting, "a", "b")
    assert names(waiting.take(0.0)) == ["a"]
    waiting.flush(0)
    assert waiting.take(0.0) is None
    waiting.release(key())
    assert names(waiting.take(0.0)) == ["b"]


def test_all_that_waits():
    """It can be looked at, and waits on."""
    waiting = batches()
    add(waiting, "a", number=1)
    add(waiting, "b", number=2)
    assert sorted(names(waiting.queued())) == ["a", "b"]
    assert waiting.count == 2


def test_one_batch_of_a_session_is_out():
    """Other keys of the session wait for its batch, other sessions do not."""
    waiting = batches(max_events=1)
    other_side = key(1, is_client=True)
    add(waiting, "a", number=1)
    waiting.add(keyed(other_side, "b"), 0.0, 0)
    add(waiting, "c", number=2)
    assert [names(waiting.take(0.0)) for _ in range(3)] == [["a"], ["c"], None]
    waiting.release(key(1))
    assert names(waiting.take(0.0)) == ["b"]


def test_a_session_of_two_app_monitors_is_two():
    """A batch of one, which may be out for long, holds nothing of the other."""
    waiting = batches(max_events=1)
    for monitor in ("one", "two"):
        for name in "ab":
            waiting.add(keyed(key(monitor=monitor), f"{monitor} {name}"), 0.0, 0)
    assert [names(waiting.take(0.0)) for _ in range(3)] == [["one a"], ["two a"], None]
    assert (waiting.hold_session(key(monitor="two")), waiting.hold_session(key(monitor="three"))) == (False, True)
    waiting.release(key(monitor="two"))
    assert [names(waiting.take(0.0, is_crowded=True)) for _ in range(2)] == [["two b"], None]
    waiting.hold("one")
    waiting.release(key(monitor="one"))
    assert waiting.take(0.0) is None
    assert names(waiting.take_held("one", 0.0)) == ["one b"]


def test_a_full_batch_settles():
    """Its last event waits for what may still come of its page; what comes after that waits for the next."""
    waiting = Batches(3, 10**6, linger_s=5.0, settle_s=2.0)
    add(waiting, "a", at=0.0)
    add(waiting, "b", "c", "d", at=1.0)
    assert waiting.due_in(1.0) == 2.0
    assert waiting.take(2.9) is None
    assert names(waiting.take(3.0)) == ["a", "b", "c"]


def test_older_events_behind_younger_ones():
    """Events that come from disk may be older than live ones before them: they go first, in their order."""
    waiting = Batches(3, 10**6, linger_s=5.0, settle_s=2.0)
    add(waiting, "live", at=10.0)
    add(waiting, "a", "b", "c", at=5.0)
    assert waiting.due_in(11.0) == 0.0
    assert names(waiting.take(11.0)) == ["a", "b", "c"]
    waiting.release(key())
    assert waiting.due_in(11.0) == 6.0
    assert names(waiting.take(17.0)) == ["live"]


def test_the_oldest_is_found_behind_younger_ones():
    """Whatever it came behind, or came back before: a batch is due by it, it makes room first, and is too old first."""
    waiting = batches(max_events=100)
    add(waiting, "live", "alive", at=10.0)
    waiting.flush(0)
    out = waiting.take(10.0)
    add(waiting, "younger", at=11.0, epoch=1)
    assert waiting.due_in(11.0) == 5.0
    add(waiting, "old", at=7.0, epoch=1)
    assert waiting.due_in(11.0) == 1.0
    waiting.give_back(out)
    waiting.release(key())
    assert [each.admitted_at for each in waiting.queued()] == [7.0, 10.0, 10.0, 11.0]
    assert names(waiting.older_than(8.0)) == ["old"]
    add(waiting, "older", at=6.0, epoch=1)
    assert waiting.drop_oldest().draft.id == "older"
    assert names(waiting.take(11.0)) == ["live", "alive", "younger"]


def test_what_has_not_settled_stays():
    """A batch holds what came within the linger, when all of that has settled; what is younger begins the next one."""
    waiting = Batches(100, 10**6, linger_s=5.0, settle_s=2.0)
    add(waiting, "a", at=0.0)
    add(waiting, "b", at=5.0)
    add(waiting, "c", at=6.0)
    assert waiting.take(6.9) is None
    assert names(waiting.take(7.0)) == ["a", "b"]
    waiting.release(key())
    assert waiting.due_in(7.0) == 6.0
    add(waiting, "d", at=7.0)
    waiting.flush(0)
    assert names(waiting.take(7.0)) == ["c", "d"]


def test_of_one_report_the_earlier_takes_the_place_of_the_later():
    """As long as that waits; afterwards it is a repeat."""
    waiting = batches()
    once = Once("oops")
    first, second = (Keyed(key(), Draft(id=f"{i}", time_ns=i, type="t", details="{}", once=once)) for i in (1, 2))
    assert waiting.add(second, 0.0, 0) is None
    assert waiting.add(replace(first, is_earlier=True), 0.0, 0).draft is second.draft
    waiting.flush(0)
    assert names(waiting.take(0.0)) == ["1"]
    earlier = Keyed(key(), Draft(id="0", time_ns=0, type="t", details="{}", once=once), is_earlier=True)
    assert waiting.add(earlier, 0.0, 0).draft is earlier.draft
    assert (waiting.count, waiting.size) == (0, 0)


@pytest.mark.parametrize(
    "other",
    [
        key(2),
        key(1, monitor="99999999-9999-4999-8999-999999999999"),
        key(1, is_client=True),
        key(1, client=Client(browserName="Firefox")),
    ],
    ids=["session", "monitor", "side", "client"],
)
def test_what_a_request_says_once_separates_batches(other):
    """Events share a batch only when everything the request says once is the same."""
    waiting = batches()
    waiting.add(keyed(key(1), "a"), 0.0, 0)
    waiting.add(keyed(other, "b"), 0.0, 0)
    waiting.add(keyed(key(1), "c"), 0.0, 0)
    waiting.flush(0)
    first = waiting.take(0.0)
    waiting.release(first[0].key)
    assert [names(first), names(waiting.take(0.0))] == [["a", "c"], ["b"]]


def test_leftovers_come_first():
    """Events that did not fit go back to the front, in order, and are due again."""
    waiting = batches()
    add(waiting, "a", "b", "c", at=0.0)
    taken = waiting.take(0.0)
    add(waiting, "d", at=1.0)
    waiting.give_back(taken[1:])
    waiting.release(key())
    assert names(waiting.take(1.0)) == ["b", "c", "d"]
    assert (waiting.count, waiting.size) == (0, 0)


def test_leftovers_of_an_emptied_buffer():
    """Events also return to a buffer that is gone."""
    waiting = batches()
    add(waiting, "a", "b", "c")
    taken = waiting.take(0.0)
    waiting.give_back(taken[2:])
    waiting.release(key())
    assert names(waiting.take(5.0)) == ["c"]


def test_a_growing_metric_replaces_what_came_back():
    """Also when its earlier value did not fit into a batch."""
    waiting = batches()
    waiting.add(keyed(key(), "cls 1", metric="cls"), 0.0, 0)
    waiting.give_back(waiting.take(5.0))
    waiting.release(key())
    assert waiting.add(keyed(key(), "cls 2", metric="cls"), 6.0, 0).draft.id == "cls 1"
    assert names(waiting.take(11.0)) == ["cls 2"]


def test_the_oldest_makes_room_across_sessions():
    """Room is made by age, whatever the session; inside of one the order stays."""
    waiting = batches(max_events=100)
    add(waiting, "a", at=1.0, number=1)
    add(waiting, "b", at=2.0, number=2)
    add(waiting, "c", at=3.0, number=1)
    add(waiting, "d", at=4.0, number=2)
    assert [waiting.drop_oldest().draft.id for _ in range(4)] == ["a", "b", "c", "d"]
    assert waiting.drop_oldest() is None
    assert (waiting.count, waiting.size) == (0, 0)


def test_the_oldest_makes_room_also_behind_a_batch_on_its_way():
    """A session that retries cannot hold the memory."""
    waiting = batches(max_events=1)
    add(waiting, "a", "b", "c")
    assert names(waiting.take(0.0)) == ["a"]
    assert waiting.take(0.0) is None
    assert waiting.drop_oldest().draft.id == "b"
    waiting.release(key())
    assert names(waiting.take(0.0)) == ["c"]


def test_a_growing_metric_replaces_what_still_waits():
    """Of one metric's values only the last is sent, at its place in time."""
    waiting = batches()
    waiting.add(keyed(key(), "cls 1", metric="cls"), 0.0, 0)
    add(waiting, "a", at=1.0)
    replaced = waiting.add(keyed(key(), "cls 2", metric="cls"), 2.0, 0)
    assert replaced.draft.id == "cls 1"
    assert waiting.count == 2
    assert names(waiting.take(9.0)) == ["a", "cls 2"]


def test_a_metric_alone_in_its_buffer_is_replaced():
    """The replaced value may be all that waited."""
    waiting = batches()
    waiting.add(keyed(key(), "cls 1", metric="cls"), 0.0, 0)
    waiting.add(keyed(key(), "cls 2", metric="cls"), 2.0, 0)
    assert (waiting.count, waiting.due_in(2.0)) == (1, 5.0)
    assert names(waiting.take(7.0)) == ["cls 2"]


def test_a_metric_that_was_sent_is_not_replaced():
    """What is on its way stays; the new value goes as well."""
    waiting = batches(max_events=1)
    waiting.add(keyed(key(), "cls 1", metric="cls"), 0.0, 0)
    assert names(waiting.take(0.0)) == ["cls 1"]
    assert waiting.add(keyed(key(), "cls 2", metric="cls"), 0.0, 0) is None
    waiting.release(key())
    assert names(waiting.take(0.0)) == ["cls 2"]


def test_metrics_of_different_sessions_or_sides_do_not_replace_each_other():
    """The same metric name in another request is another metric."""
    waiting = batches()
    for each in (key(1), key(2), key(1, is_client=True)):
        assert waiting.add(keyed(each, "cls", metric="cls"), 0.0, 0) is None
    assert waiting.count == 3


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 1), st.integers(0, 400)),
        st.tuples(st.sampled_from(["take", "release", "flush", "give_back", "drop_oldest", "hold", "release_held"])),
        st.tuples(st.just("wait"), st.floats(0, 4)),
    ),
    max_size=60,
)


class Run:
    """Batches, and what went in and came out of them."""

    def __init__(self):
        self.batches = batches(max_events=3, max_bytes=4 * ONE)
        self.now, self.epoch, self.admitted = 0.0, 0, 0
        self.out, self.done, self.dropped = [], [], []

    def add(self, number, user, size):
        self.batches.add(keyed(key(number, is_client=bool(user)), str(self.admitted), size=size), self.now, self.epoch)
        self.admitted += 1

    def wait(self, seconds):
        self.now += seconds

    def flush(self):
        self.batches.flush(self.epoch)
        self.epoch += 1

    def drop_oldest(self):
        self.dropped += filter(None, [self.batches.drop_oldest()])

    def take(self):
        taken = self.batches.take(self.now)
        if taken:
            assert taken[0].key.session_id not in {each[0].key.session_id for each in self.out}
            assert len({each.key for each in taken}) == 1
            assert len(taken) <= 3
            self.out.append(taken)
        return taken

    def give_back(self):
        if self.out and len(self.out[-1]) > 1:
            self.batches.give_back([self.out[-1].pop()])

    def release(self):
        if self.out:
            done = self.out.pop(0)
            self.done += done
            self.batches.release(done[0].key)

    def hold(self):
        self.batches.hold(key().monitor.id)

    def release_held(self):
        self.batches.release_held(key().monitor.id)

    def finish(self):
        self.release_held()
        while self.out:
            self.release()
        self.flush()
        while self.take():
            self.release()


@given(STEPS)
def test_each_event_comes_out_exactly_once_and_in_order(steps):
    """Whatever happens between, all events that went in come out once, those of a key in their order."""
    run = Run()
    for name, *arguments in steps:
        getattr(run, name)(*arguments)
        held = list(run.batches.queued()) if run.batches.is_held(key().monitor.id) else []
        assert (run.batches.held_count, run.batches.held_size) == (len(held), sum(each.size for each in held))
    run.finish()
    assert (run.batches.count, run.batches.size, run.batches.due_in(run.now)) == (0, 0, None)
    assert sorted(int(each.draft.id) for each in run.done + run.dropped) == list(range(run.admitted))
    by_key = {}
    for each in run.done:
        by_key.setdefault(each.key, []).append(int(each.draft.id))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


@pytest.mark.parametrize("end", ["take", "drop_oldest"])
def test_the_schedule_does_not_leak(end):
    """After 100,000 events behind one that stays, the schedule is as small as what waits."""
    waiting = batches(max_events=10, linger_s=1e9)
    add(waiting, "stays", number=0, at=-1.0 if end == "take" else 1e12)
    largest = 0
    for number in range(100_000):
        add(waiting, "goes", number=1 + number % 7, at=float(number))
        taken = waiting.take(float(number)) if end == "take" else waiting.drop_oldest()
        if end == "take" and taken:
            waiting.release(taken[0].key)
        largest = max(largest, len(waiting._schedule) + len(waiting._ages or ()))
    assert largest < 300


def test_a_busy_session_does_not_leak():
    """Events that pile up behind a batch on its way are each kept once, and nothing else is."""
    waiting = batches(max_events=1)
    add(waiting, "out")
    waiting.take(0.0)
    for _ in range(2000):
        add(waiting, "waits")
        assert waiting.take(0.0) is None
    waiting.release(key())
    assert len(waiting._schedule) + len(waiting._ages or ()) < 300


def test_a_crowd_that_may_not_leave_is_not_due():
    """While all of a crowd is held, by its app monitor or its session, nobody is told to take it, who would ask on and on."""
    waiting = batches()
    add(waiting, "a", "b", "c", "d")
    waiting.hold(key().monitor.id)
    assert waiting.take(9.0, is_crowded=True) is None
    assert waiting.due_in(9.0, is_crowded=True) is None
    waiting.release_held(key().monitor.id)
    assert waiting.due_in(9.0, is_crowded=True) == 0.0
    assert names(waiting.take(9.0, is_crowded=True)) == ["a", "b", "c"]
    assert waiting.due_in(9.0, is_crowded=True) is None
    waiting.release(key())
    assert names(waiting.take(9.0, is_crowded=True)) == ["d"]
