"""What is sent next, and what becomes of it by its answers, on a simulated clock: hours pass in seconds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rum_items import MONITOR_ID
from rum_service import Sending, drafts, event, poisoned

from otel_rum_exporter import DropReason, ParkReason
from otel_rum_exporter.client.verdicts import Delivered, Parked, Refused, Rejected, Retry
from otel_rum_exporter.sending.batching import Stored

OTHER_MONITOR = "99999999-9999-4999-8999-999999999999"
ALL_BAD = Rejected("400 ValidationException: AppMonitorDetails")


def statistics(sending):
    return sending.ledger.statistics()


# poison


@pytest.mark.parametrize(("poison", "most"), [(1, 15), (2, 27), (3, 37)])
def test_poison_is_found(poison, most):
    """Of a hundred events, wherever the bad ones are: the others arrive, and it takes no more requests than this."""
    random_ = random.Random(poison)
    for _ in range(60):
        bad = [f"e{number}" for number in random_.sample(range(100), poison)]
        sending = Sending(poisoned(*bad))
        sending.put(*(event(f"e{number}") for number in range(100)))
        sending.flush()
        sending.run_until_sent()
        assert sending.delivered_at.keys() == {f"e{number}" for number in range(100)} - set(bad)
        assert statistics(sending).events_dropped == {DropReason.REJECTED: poison}
        assert len(sending.requests) <= most


@pytest.mark.parametrize(
    ("most", "requests"),
    [pytest.param(50, 3, id="half"), pytest.param(30, 7, id="a quarter"), pytest.param(1, 199, id="one")],
)
def test_a_batch_that_is_too_large_is_split(most, requests):
    """A 413 is about the size of a request, such as a proxy bounds: its parts arrive, and no event is at fault."""

    def answer(batch, _now):
        return Rejected("413 RequestEntityTooLarge") if len(batch.events) > most else Delivered()

    sending = Sending(answer)
    sending.put(*(event(f"e{number}") for number in range(100)))
    sending.flush()
    sending.run_until_sent()
    assert (statistics(sending).delivered, len(sending.requests)) == (100, requests)
    assert statistics(sending).events_dropped == {}


def test_an_event_that_is_too_large_alone_is_rejected_alone():
    """A 413 of a single event ends that event; those beside it arrive."""

    def answer(batch, _now):
        return Rejected("413") if any(each.id == "e7" for each in batch.events) else Delivered()

    sending = Sending(answer)
    sending.put(*(event(f"e{number}") for number in range(100)))
    sending.flush()
    sending.run_until_sent()
    assert (statistics(sending).delivered, len(sending.requests)) == (99, 15)
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 1}


def test_a_part_of_a_batch_is_a_batch_of_its_own():
    """With an id of its own, and the same one on each of its tries."""
    failures = iter([True, False] * 50)

    def answer(batch, now):
        verdict = poisoned("e7")(batch, now)
        return Retry("server", "503") if verdict == Delivered() and next(failures) else verdict

    sending = Sending(answer)
    sending.put(*(event(f"e{number}") for number in range(20)))
    sending.flush()
    sending.run_until_sent()
    events_of = {}
    for _, batch, _ in sending.requests:
        ids = [each.id for each in batch.events]
        assert events_of.setdefault(batch.batch_id, ids) == ids
    assert len(sending.delivered_at) == 19


def test_a_request_that_is_at_fault_is_not_shredded():
    """An app monitor that refuses everything with the same words: the batch waits as it was, and goes in the end."""
    answers = [ALL_BAD]
    sending = Sending(lambda _batch, _now: answers[-1])
    sending.put(*(event(f"e{number}") for number in range(100)))
    sending.flush()
    sending.run(25.0)
    assert len(sending.requests) <= 12
    assert (statistics(sending).queued, statistics(sending).parked) == (100, {MONITOR_ID: ParkReason.REJECTED})
    answers.append(Delivered())
    sending.run_until_sent()
    assert sending.requests[-1][1] == sending.requests[0][1]
    assert (statistics(sending).delivered, statistics(sending).parked) == (100, {})


def test_single_events_that_are_all_refused():
    """After four in a row with the same words it is the app monitor, not the events."""
    sending = Sending(lambda _batch, _now: ALL_BAD)
    for number in range(20):
        sending.put(event(f"e{number}", number))
    sending.flush()
    sending.run(25.0)
    assert statistics(sending).parked == {MONITOR_ID: ParkReason.REJECTED}
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 3}
    assert statistics(sending).queued == 17


def test_what_was_rejected_is_not_sent_again():
    """A batch of which some events were rejected, and of which the rest is refused when that says nothing, is the rest."""

    refused = iter([Rejected("400 ValidationException: no")] * 5)  # eight, four, two, one and one

    def answer(_batch, now):
        if now < 10 or now > 400:
            return Delivered()
        if now < 330:  # long enough for nothing to be known of the app monitor any more
            return next(refused, Retry("server", "503"))
        return Rejected("400 ValidationException: no")

    sending = Sending(answer, max_requests_per_second=1000, latency_s=0.01)
    sending.put(event("good", 5))
    sending.flush()
    sending.run(10.0)
    sending.put(*drafts(8, session=1))
    sending.flush()
    sending.run(300.0)
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 2}
    sending.run_until_sent()
    assert (statistics(sending).delivered, statistics(sending).events_dropped) == (7, {DropReason.REJECTED: 2})
    assert [each.id for each in sending.requests[-1][1].events] == [f"1.{number}" for number in range(2, 8)]


def test_a_session_of_poison_does_not_park_a_good_app_monitor():
    """Others of its sessions are taken, so it is its own events that are at fault."""
    bad = [f"1.{i}" for i in range(100)]
    sending = Sending(poisoned(*bad))
    sending.put(*drafts(5, session=2))
    sending.flush()
    sending.run_until_sent()
    sending.put(*drafts(100, session=1), *drafts(5, session=3))
    sending.flush()
    sending.run_until_sent()
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 100}
    assert statistics(sending).delivered == 10


def test_a_stream_of_poison_leaves_most_requests_to_the_others():
    """With a bad event in one batch of a hundred and more to send than may be, at least 85 % of the goodput is left."""
    taken = []
    for share in (0.0, 0.01):
        random_ = random.Random(3)
        bad = frozenset(f"{i}.{random_.randrange(20)}" for i in range(9000) if random_.random() < share)
        sending = Sending(poisoned(*bad), queue_events=10**6, queue_bytes=10**9)
        for number in range(9000):
            sending.put(*drafts(20, session=number))
        sending.flush()
        sending.run(30.0)
        before = len(sending.delivered_at)
        sending.run(60.0)
        taken.append(len(sending.delivered_at) - before)
    assert taken[1] >= 0.85 * taken[0]


def test_a_flood_of_poison_takes_more_requests_and_no_more_memory():
    """With a bad event in every batch the good ones arrive all the same, if later; few batches are open at a time."""
    bad = frozenset(f"{i}.{i % 10}" for i in range(600))
    sending = Sending(poisoned(*bad))
    for number in range(600):
        sending.put(*drafts(10, session=number))
    sending.flush()
    most = 0
    while statistics(sending).queued:
        sending.run(1.0)
        most = max(most, len(sending.ledger.dispatch.waiting))
    assert most <= 64 + 9
    assert (statistics(sending).delivered, statistics(sending).events_dropped) == (5400, {DropReason.REJECTED: 600})


def test_strange_answers_are_not_tried_for_ever():
    """A 4xx that the service is not known to give: three tries."""
    sending = Sending(lambda _batch, _now: Retry("unknown", "418 I am a teapot"))
    sending.put(event("e"))
    sending.flush()
    sending.run_until_sent()
    assert len(sending.requests) == 3
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 1}


# app monitors that take nothing


def test_an_app_monitor_that_takes_nothing_waits_alone():
    """Nothing of it is lost, others go on, and it is asked after 30 s, then less and less often, every 5 min at last."""

    def answer(batch, now):
        is_other = batch.monitor.id == OTHER_MONITOR
        return Parked(ParkReason.UNAUTHORIZED, "403") if is_other and now < 3600 else Delivered()

    sending = Sending(answer)
    for number in range(50):
        sending.put(event(f"good {number}", number), event(f"bad {number}", number, OTHER_MONITOR))
    sending.flush()
    sending.run(20.0)
    assert len(sending.delivered_at) == 50
    assert statistics(sending).parked == {OTHER_MONITOR: ParkReason.UNAUTHORIZED}
    sending.run(3580.0)
    asked_at = [round(at) for at, batch, verdict in sending.requests if verdict != Delivered()]
    first = [at for at in asked_at if at < 20]
    assert len(first) <= 8
    gaps = [later - earlier for earlier, later in zip(asked_at[len(first) - 1 :], asked_at[len(first) :], strict=False)]
    assert [round(gap, -1) for gap in gaps] == [30, 60, 120, 240, *[300] * 10][: len(gaps)]
    sending.run_until_sent()
    assert len(sending.delivered_at) == 100
    assert sending.now < 3600 + 300 + 30


def test_an_app_monitor_that_takes_nothing_holds_no_session_of_another():
    """A session may report to two app monitors: what one does not take does not hold up the other's."""
    sending = Sending(not_found)
    sending.put(event("bad", 1, OTHER_MONITOR))
    sending.flush()
    sending.run(10.0)
    sending.put(event("good", 1))
    sending.run(10.0)
    assert list(sending.delivered_at) == ["good"]
    assert statistics(sending).queued == 1


def test_a_flush_asks_at_once():
    """Somebody who waits does not wait for the next probe; but flushes do not ask more than once a second."""
    answers = [Parked(ParkReason.NOT_FOUND, "404")]
    sending = Sending(lambda _batch, _now: answers[-1])
    sending.put(event("e"))
    sending.flush()
    sending.run(3.0)
    for _ in range(20):
        sending.flush()
        sending.run(0.1)
    assert len(sending.requests) <= 4
    answers.append(Delivered())
    sending.flush()
    sending.run(1.5)
    assert statistics(sending).delivered == 1


def test_a_batch_that_is_refused_does_not_hide_that_others_are_taken():
    """An app monitor that seems to refuse everything is asked with other batches, too."""
    sending = Sending(poisoned(*(f"1.{i}" for i in range(30)), message="same"))
    sending.put(*drafts(30, session=1))
    sending.flush()
    sending.run(10.0)
    assert statistics(sending).parked == {MONITOR_ID: ParkReason.REJECTED}
    sending.put(*drafts(5, session=2))
    sending.run_until_sent()
    assert statistics(sending).delivered == 5
    assert statistics(sending).events_dropped == {DropReason.REJECTED: 30}


def test_what_waits_for_an_app_monitor_becomes_too_old():
    """In memory after five minutes, as everything else."""
    sending = Sending(lambda _batch, _now: Parked(ParkReason.NOT_FOUND, "404"), max_age=300_000)
    for number in range(20):
        sending.put(event(f"e{number}", number))
    sending.flush()
    sending.run(299.0)
    assert statistics(sending).queued == 20
    sending.run(310.0)
    assert statistics(sending).events_dropped == {DropReason.EXPIRED: 20}


@pytest.mark.parametrize(
    ("flush_interval", "max_age"),
    [pytest.param(600_000, 300_000, id="a long interval"), pytest.param(5000, 5000, id="a short age")],
)
def test_nothing_gathers_until_it_is_too_old(flush_interval, max_age):
    """Whatever the interval is, all of it leaves before, so that it does not depend on a flush."""
    sending = Sending(flush_interval=flush_interval, max_age=max_age)
    sending.put(event("e"))
    sending.run(0.9 * max_age / 1000)
    assert list(sending.delivered_at) == ["e"]


@pytest.mark.parametrize(
    "verdict", [Retry("network", "refused"), Retry("server", "503"), Parked(ParkReason.UNAUTHORIZED, "403")]
)
def test_no_event_is_given_up_with_an_older_one(verdict):
    """In an outage a batch that finds out takes what is there, of all ages: each event has its own `max_age`."""
    sending = Sending(lambda _batch, now: verdict if now < 700 else Delivered(), max_age=300_000)
    sending.run(900.0, every=(5.0, lambda now: sending.put(event(f"{now}"))))
    sending.run_until_sent()
    back_at = min(at for at, _, verdict in sending.requests if verdict == Delivered())
    assert 700 <= back_at < 1000
    young_enough = {f"{5.0 * each}" for each in range(1, 181) if 5.0 * each > back_at - 299}
    assert young_enough <= sending.delivered_at.keys()
    assert len(sending.delivered_at) <= len(young_enough) + 1
    assert statistics(sending).events_dropped == {DropReason.EXPIRED: 180 - len(sending.delivered_at)}


def not_found(batch, _now):
    """A service that knows one app monitor, and not the other."""
    return Parked(ParkReason.NOT_FOUND, "404") if batch.monitor.id == OTHER_MONITOR else Delivered()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
def test_what_is_parked_is_within_the_bound(overflow):
    """However often somebody asks for another batch to find out, no more waits than memory may hold."""
    sending = Sending(not_found, queue_events=500, overflow=overflow)
    for number in range(200):
        sending.put(*(event(f"{number}.{each}", number, OTHER_MONITOR) for each in range(20)))
        sending.flush()
        sending.run(1.1)
        assert statistics(sending).queued <= 500
    assert statistics(sending).queued > 400
    assert statistics(sending).events_dropped == {DropReason.QUEUE_FULL: 4000 - statistics(sending).queued}


def test_the_oldest_gives_way_though_it_is_parked():
    """When the app monitor is well again what arrives is the newest: batches that were refused before are gone."""
    answers = [Parked(ParkReason.NOT_FOUND, "404")]
    sending = Sending(lambda _batch, _now: answers[-1], queue_events=500)
    for number in range(200):
        sending.put(*(event(f"{number}.{each}", number) for each in range(20)))
        sending.flush()
        sending.run(1.1)
    answers.append(Delivered())
    sending.run_until_sent()
    first = min(int(name.split(".")[0]) for name in sending.delivered_at)
    assert {f"{number}.{each}" for number in range(first + 1, 200) for each in range(20)} <= sending.delivered_at.keys()
    assert first >= 175


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
def test_a_parked_app_monitor_leaves_memory_to_the_others(overflow):
    """It fills the memory, and goes on: all that is of another app monitor arrives."""
    sending = Sending(not_found, queue_events=500, overflow=overflow)
    put = set()

    def produce(now):
        live = [event(f"live {now}.{each}", 100 + each) for each in range(5)]
        put.update(each.draft.id for each in live)
        sending.put(*live, *(event(f"parked {now}.{each}", each, OTHER_MONITOR) for each in range(40)))

    sending.run(120.0, every=(1.0, produce))
    sending.run(10.0)
    assert put == sending.delivered_at.keys()
    assert statistics(sending).queued <= 500


@pytest.mark.parametrize("overflow", ["drop_newest", "block"])
def test_of_what_came_together_the_parked_gives_way(overflow):
    """Events of one export are equally old; those of an app monitor that is well stay."""
    sending = Sending(not_found, queue_events=4, overflow=overflow)
    sending.put(event("asks", 1, OTHER_MONITOR))
    sending.flush()
    sending.run(1.0)
    sending.put(event("parked", 1, OTHER_MONITOR), event("good 1"), event("good 2"))
    sending.put(event("good 3"))
    sending.put(event("good 4"))
    sending.run(10.0)
    assert sending.delivered_at.keys() == {"good 1", "good 2", "good 3", "good 4"}
    assert statistics(sending).events_dropped == {DropReason.QUEUE_FULL: 2}


@pytest.mark.parametrize("refusal", [Parked(ParkReason.NOT_FOUND, "404"), ALL_BAD])
def test_batches_that_find_out_leave_memory_to_the_others(refusal):
    """Each may be another one, which waits in memory until it is taken: with a spool nothing else ends that."""

    def answer(batch, _now):
        return refusal if batch.monitor.id == OTHER_MONITOR else Delivered()

    sending = Sending(answer, queue_events=100, max_events=5)
    ids = iter(range(10**6))

    def put(*events):
        return sending.ledger.queue(events, [Stored(None, next(ids)) for _ in events], sending.now)

    for number in range(300):
        put(*(event(f"{number}.{each}", number % 50, OTHER_MONITOR) for each in range(5)))
        sending.flush()
        sending.run(1.1)
    assert 25 <= sending.ledger.dispatch.waiting.count <= 35
    left = put(*(event(f"good {number}", 100 + number) for number in range(60)))
    assert min(each.id for each in left) < 1500
    sending.run(60.0)
    assert len(sending.delivered_at) == 60
    assert statistics(sending).is_balanced


def test_other_credentials_are_tried_at_once():
    """A client that was just made anew sends the same batch again, without waiting."""
    verdicts = iter([Retry("credentials", "403"), Delivered()])
    sending = Sending(lambda _batch, _now: next(verdicts))
    sending.put(event("e"))
    sending.flush()
    sending.run(1.0)
    assert len({batch.batch_id for _, batch, _ in sending.requests}) == 1
    assert statistics(sending).delivered == 1


def test_what_can_never_be_sent_is_dropped():
    """A configuration that lacks its region does not heal."""
    sending = Sending(lambda _batch, _now: Refused(DropReason.NOT_CONFIGURED, "no region"))
    sending.put(event("e"))
    sending.flush()
    sending.run(1.0)
    assert statistics(sending).events_dropped == {DropReason.NOT_CONFIGURED: 1}


# outages


@pytest.mark.parametrize("verdict", [Retry("network", "refused"), Retry("server", "503"), Retry("server", "503", 20.0)])
def test_an_outage_of_ten_minutes(verdict):
    """A few requests until the circuit opens, then one every 30 s; in the end everything arrives, at the usual pace."""
    sending = Sending(lambda _batch, now: verdict if now < 600 else Delivered(), queue_events=10**6, queue_bytes=10**9)
    for number in range(2000):
        sending.put(event(f"e{number}", number))
    sending.run(600.0)
    assert len(sending.requests) <= 35
    sending.run_until_sent()
    assert len(sending.delivered_at) == 2000
    assert sending.now < 600 + 36 + 2000 / 45 + 25
    busiest = max(sum(second <= at < second + 1 for at, _, _ in sending.requests) for second in range(600, 700))
    assert busiest <= 50


def test_retry_after_holds_back_everything():
    """Nothing leaves before the service wants it to, of no session, whoever flushes."""
    verdicts = iter([Retry("throttled", "429", 60.0)])
    sending = Sending(lambda _batch, _now: next(verdicts, Delivered()))
    sending.put(event("first", 1))
    sending.flush()
    sending.run(1.0)
    for number in range(2, 20):
        sending.put(event(f"e{number}", number))
        sending.flush()
        sending.run(1.0)
    assert len(sending.requests) == 1
    sending.run_until_sent()
    assert sending.requests[1][0] >= 60.0


IN_MEMORY_MS, ON_DISK_MS = 300_000, 172_800_000  # the defaults of max_age


@pytest.mark.parametrize(
    ("after_s", "max_age", "ends_at", "is_delivered"),
    [
        pytest.param(60, IN_MEMORY_MS, 60, True, id="1 min in memory"),
        pytest.param(299, IN_MEMORY_MS, 299, True, id="299 s in memory"),
        pytest.param(300, IN_MEMORY_MS, 300, False, id="5 min in memory"),
        pytest.param(10_000, IN_MEMORY_MS, 300, False, id="10,000 s in memory"),
        pytest.param(60, ON_DISK_MS, 60, True, id="1 min on disk"),
        pytest.param(299, ON_DISK_MS, 299, True, id="299 s on disk"),
        pytest.param(300, ON_DISK_MS, 300, True, id="5 min on disk"),
        pytest.param(10_000, ON_DISK_MS, 300, True, id="10,000 s on disk"),
    ],
)
def test_a_pause_that_lasts_as_long_as_events_may(after_s, max_age, ends_at, is_delivered):
    """They go when it ends, five minutes at most, or are given up when they are too old by then: never before."""
    verdicts = iter([Retry("throttled", "429", after_s)])
    sending = Sending(lambda _batch, _now: next(verdicts, Delivered()), max_age=max_age)
    sending.put(event("e"))
    sending.flush()
    sending.run(ends_at - 0.5)
    assert statistics(sending).queued == 1
    sending.run(1.0)
    sending.ledger.take(sending.now)
    dropped = {} if is_delivered else {DropReason.EXPIRED: 1}
    assert (statistics(sending).delivered, statistics(sending).events_dropped) == (int(is_delivered), dropped)


def test_it_is_known_when_a_batch_becomes_too_old():
    """Whoever waits for something to be due wakes up for that, too."""
    sending = Sending(lambda _batch, _now: Retry("throttled", "429", 300.0), max_age=60_000)
    sending.put(event("e"))
    sending.flush()
    sending.run(10.0)
    assert sending.ledger.dispatch.expires_in(sending.now) == pytest.approx(50.0)


def test_a_flush_knows_that_it_waits_in_vain():
    """Where nothing may leave before its deadline, it need not wait for that."""
    sending = Sending(lambda _batch, _now: Retry("throttled", "429", 60.0))
    sending.put(event("e"))
    sending.flush()
    sending.run(1.0)
    dispatch = sending.ledger.dispatch
    assert dispatch.is_stuck(sending.now, sending.now + 10)
    assert not dispatch.is_stuck(sending.now, sending.now + 61)


def test_at_the_end_a_refused_connection_is_tried_twice():
    """Then the rest is given up: an endpoint that refuses connections does not come back in a moment."""
    sending = Sending(lambda _batch, _now: Retry("network", "refused"), latency_s=0.001)
    for number in range(100):
        sending.put(*drafts(20, session=number))
    sending.ledger.dispatch.begin_close()
    sending.flush()
    while not sending.ledger.dispatch.is_stuck(sending.now, 5.0):
        sending.run(0.05)
    assert sending.now < 2.0


# order


def run_sessions(number, rate_each, seconds, **options):
    """Sessions that produce events by chance. Returns the sending and the longest time that an event waited."""
    random_ = random.Random(number)
    sending = Sending(queue_events=10**6, queue_bytes=10**9, **options)
    put_at, count = {}, 0
    due = [random_.expovariate(rate_each) for _ in range(number)]

    def produce(now):
        nonlocal count
        for session in range(number):
            while due[session] <= now:
                due[session] += random_.expovariate(rate_each)
                name = f"e{count}"
                count += 1
                put_at[name] = now
                sending.put(event(name, session))

    sending.run(seconds, every=(0.25, produce))
    waits = [sending.delivered_at[name] - at for name, at in put_at.items() if name in sending.delivered_at]
    late = [sending.now - at for name, at in put_at.items() if name not in sending.delivered_at]
    return sending, sorted(waits), max(late, default=0.0)


@pytest.mark.parametrize(
    ("number", "rate_each", "seconds"),
    [
        pytest.param(100, 0.5, 60, id="100"),
        pytest.param(1000, 0.05, 120, id="1000"),
        pytest.param(5000, 0.01, 300, id="5000", marks=pytest.mark.nightly),
    ],
)
def test_no_session_waits_for_longer_than_its_turn(number, rate_each, seconds):
    """However many there are, an event waits for S / 45 s and 5 s more at most, 5 s of which are the linger."""
    sending, waits, late = run_sessions(number, rate_each, seconds)
    most = max(5.0, number / 45) + 5.0
    assert waits[int(0.99 * len(waits))] <= most
    assert late <= most
    assert len(sending.delivered_at) > 0.5 * number * rate_each * seconds


def test_a_crowd_goes_the_fullest_first():
    """When the memory is half full, requests make as much room as they can."""
    sending = Sending(queue_events=400, flush_interval=60_000)
    sending.put(*drafts(100, session=1))
    for number in range(2, 150):
        sending.put(event(f"e{number}", number))
    sending.run(0.5)
    assert len(sending.requests[0][1].events) == 100


def test_nothing_is_dropped_while_the_endpoint_is_well():
    """More sessions than requests: batches wait, and grow, instead of being dropped."""
    sending = Sending(queue_events=1500, max_requests_per_second=20)

    def produce(now):
        for number in range(10):
            sending.put(event(f"{now:.3f}.{number}", (round(now * 100) + number) % 300))

    sending.run(60.0, every=(0.1, produce))
    assert statistics(sending).events_dropped == {}
    sending.flush()
    sending.run_until_sent()
    assert statistics(sending).delivered == statistics(sending).accepted


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_answers(data):
    """Whatever the service answers, every event ends in one counter, batches keep their ids, and the end is reached."""
    verdicts = st.sampled_from(
        [
            Delivered(),
            Rejected("400"),
            Rejected("400 again"),
            Parked(ParkReason.UNAUTHORIZED, "403"),
            Retry("network", "reset"),
            Retry("throttled", "429", 3.0),
            Retry("credentials", "403"),
            Retry("unknown", "418"),
            Refused(DropReason.INTERNAL, "fault"),
        ]
    )
    strange = data.draw(st.lists(verdicts, max_size=40))
    scripted = iter(strange)
    bound = data.draw(st.sampled_from([5, 20, 10_000]))
    overflow = data.draw(st.sampled_from(["drop_oldest", "drop_newest", "block"]))
    options = {"queue_events": bound, "overflow": overflow, "max_age": data.draw(st.sampled_from([2_000, 86_400_000]))}
    sending = Sending(lambda _batch, _now: next(scripted, Delivered()), max_events=8, **options)
    for number in data.draw(st.lists(st.integers(1, 4), max_size=60)):
        monitor = data.draw(st.sampled_from([MONITOR_ID, OTHER_MONITOR]))
        sending.put(event(f"e{len(sending.delivered_at)}.{number}.{sending.now}", number, monitor))
        dispatch = sending.ledger.dispatch
        assert dispatch.batches.count + dispatch.waiting.count <= bound
        if data.draw(st.booleans()):
            sending.flush()
            sending.run(0.2)
    sending.run_until_sent()
    events_of = {}
    for _, batch, _ in sending.requests:
        assert events_of.setdefault(batch.batch_id, batch.events) == batch.events
