"""When the next request may leave. Pure: time and chance are numbers; the quota is simulated."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rum_quota import RAMP_S, RUN_S, SCENARIOS, Outage, Quota, Simulation, senders

from otel_rum_exporter.sending.pacing import Bucket, Pacer

NOW = 1000.0


def pacer(rate=45.0, senders=1, chance=0.0):
    return Pacer(rate, senders, random=lambda: chance)


def taken(bucket, now):
    """Take what may leave now. Returns how many that were."""
    number = 0
    while bucket.wait_s(now) == 0:
        bucket.take(now)
        number += 1
        assert number < 10_000
    return number


def use(pacer, now, seconds):
    """Send whenever it is allowed, each request delivered at once. Returns the number of requests."""
    number, until = 0, now + seconds
    while (now := now + pacer.wait_s(now)) < until:
        pacer.take(now)
        pacer.delivered(now)
        number += 1
    return number


def fail(pacer, now, times=1, after_s=None):
    for _ in range(times):
        pacer.take(now)
        pacer.failed(now, after_s)


def opened(chance=0.0):
    """Return a pacer whose circuit opened at NOW."""
    pacing = pacer(chance=chance)
    fail(pacing, NOW, 5)
    return pacing


# buckets


def test_a_bucket_begins_full_and_fills_up_again():
    """The burst at once, then one every 1/rate seconds, and no more than the burst after any time."""
    bucket = Bucket(rate=4.0, burst=3.0)
    assert taken(bucket, NOW) == 3
    assert bucket.wait_s(NOW) == 0.25
    assert taken(bucket, NOW + 0.5) == 2
    assert taken(bucket, NOW + 86_400) == 3


def test_a_bucket_holds_one_request_at_least():
    """A small burst does not keep requests for ever."""
    assert taken(Bucket(rate=0.1, burst=0.05), NOW) == 1


def test_more_than_there_was_is_made_up_for():
    """What is taken before its time is missing later."""
    bucket = Bucket(rate=1.0, burst=1.0)
    for _ in range(3):
        bucket.take(NOW)
    assert bucket.level(NOW) == -2.0
    assert bucket.wait_s(NOW) == 3.0


def test_a_new_rate_counts_from_now_on():
    """What the old rate brought so far stays."""
    bucket = Bucket(rate=1.0, burst=10.0)
    taken(bucket, NOW)
    bucket.set_rate(NOW + 2.0, 4.0)
    assert bucket.rate == 4.0
    assert bucket.level(NOW + 3.0) == 6.0


def test_a_rest_ends_with_one_request():
    """Nothing leaves during a rest, a shorter rest changes nothing, and tokens do not gather meanwhile."""
    bucket = Bucket(rate=10.0, burst=10.0)
    bucket.rest(NOW, 5.0)
    assert bucket.wait_s(NOW) == 5.0
    bucket.rest(NOW + 1.0, 2.0)
    assert [bucket.wait_s(NOW + after_s) for after_s in (1.0, 2.0, 4.5)] == [4.0, 3.0, 0.5]
    assert taken(bucket, NOW + 5.0) == 1
    assert bucket.wait_s(NOW + 5.0) == pytest.approx(0.1)


@pytest.mark.parametrize("now", [0.0, 0.1, 1e6 + 0.1, 1e9 + 0.7])
def test_who_waits_as_long_as_told_may_leave(now):
    """Rounding does not tell anybody to wait a last time for no time at all."""
    bucket = Bucket(rate=45.0, burst=1.0)
    for _ in range(200):
        bucket.take(now)
        now += bucket.wait_s(now)
        assert bucket.wait_s(now) == 0.0


def test_a_clock_that_stands_still():
    """The burst leaves, and nothing more."""
    bucket = Bucket(rate=1000.0, burst=5.0)
    assert [taken(bucket, NOW) for _ in range(3)] == [5, 0, 0]


def test_a_time_that_was_read_early():
    """A thread that waited for its turn brings a time that others have passed, which earns nothing twice."""
    bucket = Bucket(rate=10.0, burst=10.0)
    taken(bucket, NOW)
    assert [taken(bucket, now) for now in (NOW + 0.5, NOW + 0.2, NOW + 0.5)] == [5, 0, 0]


def test_a_clock_that_is_set_back():
    """Waits are as long as before, and time goes on from there."""
    bucket = Bucket(rate=10.0, burst=10.0)
    taken(bucket, NOW)
    assert bucket.wait_s(NOW - 900.0) == pytest.approx(0.1)
    assert taken(bucket, NOW - 899.5) == 5


# the rate


@pytest.mark.parametrize(
    ("rate", "senders", "start", "burst", "highest"),
    [
        (45.0, 1, 5.0, 22, 45.0),
        (45.0, 4, 1.25, 5, 11.25),
        (45.0, 16, 0.3125, 2, 2.8125),
        (45.0, 100, 0.2, 2, 0.45),
        (45.0, 1000, 0.045, 2, 0.045),
        (0.1, 1, 0.1, 2, 0.1),
        (1000.0, 1, 5.0, 500, 1000.0),
    ],
)
def test_senders_share_the_rate(rate, senders, start, burst, highest):
    """Each starts with its share of 5 requests a second, and gets no further than its share of the rate."""
    pacing = pacer(rate, senders)
    assert pacing.rate == start
    assert taken(pacing, NOW) == burst
    use(pacing, NOW, 60.0)
    assert pacing.rate == pytest.approx(highest)


def test_the_rate_doubles_with_each_second_of_use():
    """Until the first throttled request, and up to the highest rate."""
    pacing = pacer(1000.0)
    use(pacing, NOW, 1.0)
    before = pacing.rate
    use(pacing, NOW + 1.0, 1.0)
    assert pacing.rate / before == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("senders", [1, 4, 16])
def test_idleness_shows_nothing(senders):
    """A sender that hardly uses the rate it has does not get a higher one."""
    pacing = pacer(senders=senders)
    start = pacing.rate
    for each in range(1000):
        now = NOW + 10.0 * each
        assert pacing.wait_s(now) == 0.0
        pacing.take(now)
        pacing.delivered(now + 0.1)
    assert pacing.rate == start


def test_a_throttled_request_costs_a_fifth_once_a_second():
    """Those that left together are one event."""
    pacing = pacer()
    use(pacing, NOW, 60.0)
    rates = []
    for at in (0.0, 0.1, 0.9, 1.0, 1.5, 2.0):
        pacing.take(NOW + 60.0 + at)
        pacing.throttled(NOW + 60.0 + at, None)
        rates.append(pacing.rate)
    assert rates == pytest.approx([36.0, 36.0, 36.0, 28.8, 28.8, 23.04])


@pytest.mark.parametrize(("rate", "lowest"), [(45.0, 0.2), (0.1, 0.1)])
def test_the_rate_never_sinks_to_nothing(rate, lowest):
    """However often the service says no, it is asked every few seconds."""
    pacing = pacer(rate)
    for second in range(100):
        pacing.take(NOW + second)
        pacing.throttled(NOW + second, None)
    assert pacing.rate == pytest.approx(lowest)
    assert pacing.wait_s(NOW + 1000.0) == 0.0


@pytest.mark.parametrize("senders", [1, 4])
def test_after_a_throttled_request_the_rate_grows_slowly(senders):
    """All senders together gain 0.25 requests a second in each second of use."""
    pacing = pacer(senders=senders)
    use(pacing, NOW, 60.0)
    pacing.take(NOW + 60.0)
    pacing.throttled(NOW + 60.0, None)
    before = pacing.rate
    use(pacing, NOW + 61.0, 20.0)
    assert pacing.rate - before == pytest.approx(20.0 * 0.25 / senders, rel=0.05)


# pauses


@pytest.mark.parametrize(
    ("after_s", "pause_s"),
    [
        (None, 1.0),
        (0.0, 1.0),
        (0.25, 1.0),
        (7.0, 7.0),
        (-5.0, 1.0),
        (math.nan, 1.0),
        (86_400.0, 300.0),
        (math.inf, 300.0),
    ],
)
def test_a_throttled_sender_pauses(after_s, pause_s):
    """For the Retry-After, within 1 s and 300 s, and then goes on with one request."""
    pacing = pacer()
    pacing.take(NOW)
    pacing.throttled(NOW, after_s)
    assert pacing.wait_s(NOW) == pause_s
    assert taken(pacing, NOW + pause_s - 0.001) == 0
    assert taken(pacing, NOW + pause_s) == 1


@pytest.mark.parametrize(
    ("after_s", "pause_s"), [(None, 0.0), (0.25, 0.25), (7.0, 7.0), (-5.0, 0.0), (math.nan, 0.0), (86_400.0, 300.0)]
)
def test_a_failure_pauses_the_sender_when_it_says_so(after_s, pause_s):
    """A 503 with Retry-After stops all requests, one without leaves the wait to its batch."""
    pacing = pacer()
    fail(pacing, NOW, after_s=after_s)
    assert pacing.wait_s(NOW) == pause_s
    assert pacing.rate == 5.0


def test_the_longest_pause_counts():
    """Neither a shorter one nor a delivery ends it."""
    pacing = pacer()
    for _ in range(3):
        pacing.take(NOW)
    pacing.throttled(NOW, 10.0)
    pacing.throttled(NOW + 1.0, 2.0)
    pacing.delivered(NOW + 2.0)
    assert pacing.wait_s(NOW + 3.0) == 7.0


def test_a_pause_survives_a_clock_that_is_set_back():
    """It takes as long as it would have."""
    pacing = pacer()
    pacing.take(NOW)
    pacing.throttled(NOW, 10.0)
    assert pacing.wait_s(NOW + 4.0) == 6.0
    assert pacing.wait_s(NOW - 500.0) == 6.0
    assert pacing.wait_s(NOW - 494.0) == 0.0


def test_a_pause_asked_for_at_a_time_that_was_read_early():
    """It begins when it is heard of, not when the thread that brings it began to wait for its turn."""
    pacing = pacer()
    pacing.take(NOW)
    pacing.wait_s(NOW + 0.5)
    pacing.throttled(NOW + 0.1, None)
    assert pacing.wait_s(NOW + 0.5) == 1.0


# the circuit


def test_the_circuit_opens_after_five_failures_in_a_row():
    """Four are not enough."""
    pacing = pacer()
    fail(pacing, NOW, 4)
    assert (pacing.circuit, pacing.wait_s(NOW)) == ("closed", 0.0)
    fail(pacing, NOW)
    assert (pacing.circuit, pacing.wait_s(NOW)) == ("open", 5.0)


@pytest.mark.parametrize("answer", ["delivered", "answered", "throttled"])
def test_any_answer_of_the_service_ends_the_row(answer):
    """A refused or throttled request shows that somebody is there."""
    pacing = pacer()
    fail(pacing, NOW, 4)
    pacing.take(NOW)
    getattr(pacing, answer)(NOW, *([None] if answer == "throttled" else []))
    fail(pacing, NOW + 2.0, 4)
    assert pacing.circuit == "closed"


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 1.0), (0.5, 1.05), (1.0, 1.1)])
def test_probes_become_rare(chance, factor):
    """One after 5 s, 10 s, 20 s and then every 30 s, or a little later."""
    pacing, now, waits = opened(chance), NOW, []
    for _ in range(6):
        waits.append(pacing.wait_s(now))
        now += waits[-1]
        fail(pacing, now)
    assert waits == pytest.approx([each * factor for each in (5, 10, 20, 30, 30, 30)])


def test_one_probe_at_a_time():
    """While it is on its way nothing else leaves."""
    pacing = opened()
    pacing.take(NOW + 5.0)
    assert pacing.circuit == "probing"
    assert pacing.wait_s(NOW + 500.0) == math.inf


@pytest.mark.parametrize(("answer", "wait_s"), [("delivered", 0.0), ("answered", 0.0), ("throttled", 1.0)])
def test_an_answered_probe_closes_the_circuit(answer, wait_s):
    """And the next outage begins with five failures and a first probe after 5 s."""
    pacing = opened()
    fail(pacing, NOW + 5.0)
    pacing.take(NOW + 15.0)
    getattr(pacing, answer)(NOW + 15.0, *([None] if answer == "throttled" else []))
    assert (pacing.circuit, pacing.wait_s(NOW + 15.0)) == ("closed", wait_s)
    fail(pacing, NOW + 20.0, 5)
    assert pacing.wait_s(NOW + 20.0) == 5.0


def test_what_was_on_its_way_is_no_probe():
    """Requests that left before the circuit opened fail without a say in when the next probe leaves."""
    pacing = pacer()
    for _ in range(8):
        pacing.take(NOW)
    for _ in range(6):
        pacing.failed(NOW, None)
    assert pacing.wait_s(NOW) == 5.0
    pacing.take(NOW + 5.0)
    pacing.failed(NOW + 6.0, None)
    pacing.failed(NOW + 7.0, None)
    assert pacing.circuit == "probing"
    pacing.failed(NOW + 8.0, None)
    assert (pacing.circuit, pacing.wait_s(NOW + 8.0)) == ("open", 10.0)


def test_what_was_on_its_way_may_close_the_circuit():
    """A delivery is one, whenever its request left."""
    pacing = pacer()
    pacing.take(NOW)
    fail(pacing, NOW, 5)
    pacing.delivered(NOW + 1.0)
    assert (pacing.circuit, pacing.wait_s(NOW + 1.0)) == ("closed", 0.0)


def test_a_probe_that_did_not_leave_shows_nothing():
    """Without credentials, say: the circuit is as it was, and another request may be the probe."""
    pacing = opened()
    pacing.take(NOW + 5.0)
    pacing.unsent(NOW + 5.0)
    assert (pacing.circuit, pacing.wait_s(NOW + 5.0)) == ("open", 0.0)


def test_a_request_that_did_not_leave_is_no_failure():
    """And does not end a row of them either."""
    pacing = pacer()
    fail(pacing, NOW, 4)
    pacing.take(NOW)
    pacing.unsent(NOW)
    fail(pacing, NOW)
    assert pacing.circuit == "open"


def test_a_failing_probe_may_ask_for_more_time():
    """The later of the schedule's and the service's time counts."""
    pacing = opened()
    fail(pacing, NOW + 5.0, after_s=60.0)
    assert pacing.wait_s(NOW + 5.0) == 60.0
    fail(pacing, NOW + 65.0, after_s=2.0)
    assert pacing.wait_s(NOW + 65.0) == 20.0


# probes on request


def test_a_flush_gets_a_probe_at_once():
    """Somebody waits for the result, so the schedule does not count."""
    pacing = opened()
    pacing.probe_now(NOW + 1.0)
    assert pacing.wait_s(NOW + 1.0) == 0.0
    fail(pacing, NOW + 1.0)
    assert pacing.wait_s(NOW + 1.0) == 10.0


def test_many_flushes_get_a_probe_every_five_seconds():
    """An application that flushes all the time does not hammer an endpoint that is down."""
    pacing = opened()
    for tenth in range(600):
        pacing.probe_now(NOW + tenth / 10)
        if pacing.wait_s(NOW + tenth / 10) == 0:
            fail(pacing, NOW + tenth / 10)
            assert tenth % 50 == 0


def test_a_flush_does_not_shorten_a_pause():
    """What the service asked for holds for everybody."""
    pacing = opened()
    fail(pacing, NOW + 5.0, after_s=60.0)
    pacing.probe_now(NOW + 20.0)
    assert pacing.wait_s(NOW + 20.0) == 45.0


@pytest.mark.parametrize("is_probing", [False, True])
def test_a_flush_changes_nothing_else(is_probing):
    """Neither while the endpoint answers nor while a probe is on its way."""
    pacing = opened() if is_probing else pacer()
    pacing.take(NOW + 5.0)
    circuit, wait_s = pacing.circuit, pacing.wait_s(NOW + 5.0)
    pacing.probe_now(NOW + 5.0)
    assert (pacing.circuit, pacing.wait_s(NOW + 5.0)) == (circuit, wait_s)


# any sequence


class Run:
    """A pacer in use, and what it is held to: the burst, the rate and the pauses in time that really passed."""

    def __init__(self, rate, senders):
        self.pacer = pacer(rate, senders)
        self.rate, self.burst = rate / senders, max(2.0, 0.5 * rate / senders)
        self.clock, self.now = NOW, NOW
        self.passed = 0.0
        self.seen = self.quiet_until = -math.inf  # what the pacer was told of it
        self.left, self.out = [], 0

    def wait(self, seconds, read_early_s=0.0, set_back_s=0.0):
        """Let time pass. The clock may be set back meanwhile, or have been read before the last of it."""
        self.passed += seconds
        self.clock += seconds - set_back_s
        self.now = self.clock - read_early_s
        self.seen = max(self.seen, self.passed - read_early_s)

    def report(self, outcomes):
        for name, *after_s in outcomes[: self.out]:
            self.out -= 1
            getattr(self.pacer, name)(self.now, *after_s)
            asked = [after_s[0] or 0.0] if after_s else []
            least = [1.0] if name == "throttled" else [0.0]
            self.quiet_until = max(self.quiet_until, self.seen + min(300.0, max(asked + least)))

    def send(self):
        while self.pacer.wait_s(self.now) == 0:
            assert self.pacer.circuit != "probing"
            assert self.seen >= self.quiet_until - 1e-6
            self.pacer.take(self.now)
            self.left.append(self.seen)
            self.out += 1
            assert len(self.left) < 10_000

    def most_above(self):
        """Return by how many requests the worst of all windows exceeds burst + rate * t."""
        excess = worst = 0.0
        for before, at in pairwise([*self.left[:1], *self.left]):
            excess = max(0.0, excess - self.rate * (at - before)) + 1.0
            worst = max(worst, excess - self.burst)
        return worst


AFTER_S = st.none() | st.floats(0.0, 20.0) | st.just(1000.0)
OUTCOMES = st.lists(
    st.tuples(st.sampled_from(["delivered", "answered", "unsent"]))
    | st.tuples(st.sampled_from(["failed", "throttled"]), AFTER_S),
    max_size=8,
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.sampled_from([0.0, 0.001, 0.1, 1.0, 30.0, 400.0]) | st.floats(0.0, 5.0),
            "clock": st.sampled_from([(0.0, 0.0), (0.0, 0.0), (0.001, 0.0), (0.5, 0.0), (0.0, 3600.0)]),
            "outcomes": OUTCOMES | st.just([("failed", None)] * 8) | st.just([("delivered",)] * 8),
            "flushes": st.booleans(),
        }
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(st.sampled_from([(45.0, 1), (45.0, 16), (0.3, 1)]), STEPS)
def test_any_sequence(share, steps):
    """At most burst + rate * t leave in any time t, none in a pause or beside a probe, and it never halts for good."""
    run = Run(*share)
    for step in steps:
        run.wait(step["seconds"], *step["clock"])
        run.report(step["outcomes"])
        if step["flushes"]:
            run.pacer.probe_now(run.now)
        run.send()
    assert run.most_above() < 1e-3
    run.report([("answered",)] * run.out)
    run.wait(310.0)
    assert run.pacer.wait_s(run.now) == 0.0


# the quota, simulated: requests take 60 to 150 ms, eight are out at a time


def test_one_sender_uses_what_is_configured():
    """With an endless backlog it is never throttled, and 44 requests a second are taken."""
    requests = SCENARIOS["1 sender"].run().since(RAMP_S)
    assert requests.throttled_percent < 0.5
    assert requests.goodput(RUN_S - RAMP_S) >= 44.0


def test_the_first_seconds_stay_within_the_quota():
    """However the service counts, a fresh sender with an endless backlog does not send more than 50 in a second."""
    assert SCENARIOS["1 sender"].run(until=10.0).most_within(1.0) <= 50


def test_senders_share_the_quota_with_others():
    """Four senders, while somebody else takes half of it: less than 2 % throttled, and nearly all the rest is used."""
    requests = SCENARIOS["4 senders, half the quota taken"].run()
    assert requests.throttled_percent < 2.0
    assert requests.goodput(RUN_S) >= 24.0


@pytest.mark.parametrize("name", ["16 senders", "16 senders, half the quota taken"])
def test_many_senders_share_the_quota(name):
    """Less than 5 % throttled, and nearly all that there is is used."""
    requests = SCENARIOS[name].run()
    assert requests.throttled_percent < 5.0
    assert requests.goodput(RUN_S) >= 24.0


def test_senders_that_do_not_know_of_each_other_all_get_through():
    """How much of it is throttled is no promise; that the quota is used and nobody starves is."""
    requests = SCENARIOS["16 senders that do not know of each other"].run()
    assert requests.goodput(RUN_S) >= 44.0
    taken = [sum(each.answer is True for each in requests if each.sender == number) for number in range(16)]
    assert min(taken) > sum(taken) / 16 / 4


def test_a_short_script_does_not_wait_for_its_rate():
    """Forty sessions leave within a little more than a second."""
    simulation = Simulation(Quota(), senders(1, backlog=40))
    requests = simulation.run(until=60.0)
    assert len(requests) == 40
    assert simulation.now < 1.5


@pytest.mark.parametrize("latency_s", [(0.06, 0.15), (10.0, 10.0)], ids=["fails", "black hole"])
def test_an_endpoint_that_is_down_is_hardly_asked(latency_s):
    """In ten minutes: what was out when the circuit opened, a few probes, then one in 30 s at most."""
    requests = Simulation(Outage(latency_s=latency_s), senders(1)).run(until=600.0)
    probes = sorted(each.left_at for each in requests)[4 + 8 :]
    assert 15 <= len(probes) <= 21
    assert all(after - before >= 30.0 for before, after in pairwise(probes[3:]))


def test_an_endpoint_that_comes_back_is_found():
    """With the next probe, 33 s later at most, and all that waits follows."""
    simulation = Simulation(Outage(until=300.0), senders(1))
    requests = simulation.run(until=360.0).since(300.0)
    assert min(each.left_at for each in requests) < 300.0 + 33.2
    assert requests.goodput(60.0) > 15.0


def test_a_longer_retry_after_holds_for_the_whole_sender():
    """After a throttled answer has come back, nothing leaves before its Retry-After is over."""
    requests = Simulation(Quota(others=25.0), senders(1), after_s=4.0).run(until=RUN_S)
    throttled = [each.back_at for each in requests if each.answer is False]
    assert throttled
    assert not [each for each in requests for at in throttled if at < each.left_at < at + 4.0]
