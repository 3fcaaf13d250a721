"""Whatever happens, in whatever order: what the counters say is where the events are, and none is lost, doubled or stuck."""

import math
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rum_items import MONITOR_ID, key
from rum_unthreaded import Unthreaded

from otel_rum_exporter import DropReason, ParkReason
from otel_rum_exporter.client.verdicts import Delivered, Parked, Refused, Rejected, Retry
from otel_rum_exporter.convert.conversion import Draft, Once
from otel_rum_exporter.convert.drafts import decode_draft
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sessions.session import Keyed
from otel_rum_exporter.spool.queue import SpoolFull

OTHER = "99999999-9999-4999-8999-999999999999"
MONITORS = (MONITOR_ID, OTHER)

ANSWERS = {
    "well": Delivered(),
    "lost": Retry("network", "the answer got lost, but the events did not"),
    "down": Retry("network", "refused"),
    "fault": Retry("server", "500"),
    "busy": Retry("server", "503", 20.0),
    "throttled": Retry("throttled", "429"),
    "paused": Retry("throttled", "429", 45.0),
    "renewed": Retry("credentials", "403"),
    "strange": Retry("unknown", "418"),
    "forbidden": Parked(ParkReason.UNAUTHORIZED, "403"),
    "gone": Parked(ParkReason.NOT_FOUND, "404"),
    "rejects": Rejected("400 all of it"),
    "broken": Refused(DropReason.INTERNAL, "fault"),
    "unset": Refused(DropReason.NOT_CONFIGURED, "no region"),
}
TAKES = ("well", "lost")  # what is not at fault
MONITOR, MOOD = st.sampled_from(MONITORS), st.sampled_from(sorted(ANSWERS))
ITEM = st.tuples(
    st.integers(0, 2),
    MONITOR,
    st.sampled_from([10, 10, 10, 2000, 5500, 9000]),
    st.sampled_from(["plain", "plain", "plain", "plain", "poison", "metric", "earlier", "uncut"]),
    st.sampled_from(["u1", "u1", "u2"]),
)
SELDOM = st.sampled_from([False] * 7 + [True])


class Watched(Ledger):
    """A ledger that knows which events it was ever given."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.known = set()

    def queue(self, events, *arguments):
        self.known.update(each.draft.id for each in events)
        return super().queue(events, *arguments)

    def load(self, loaded, now):
        self.known.update(each.keyed.draft.id for each in loaded.events)
        return super().load(loaded, now)

    def resume(self, resumed, now):
        is_taken = super().resume(resumed, now)
        if is_taken:
            self.known.update(each.draft.id for each in resumed.delivery.queued)
        return is_taken


class World(RuleBasedStateMachine):
    """One process after the other, the requests that are on their way, and two app monitors that answer as they please.

    An event is alive where somebody has it, in memory or on disk; else it is gone, and never comes back. It strayed if it
    was on disk alone: then it comes behind what came after it.
    """

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.made = {}  # all events, by name
        self.alive, self.gone, self.strayed = set(), set(), set()
        self.orphans = {}  # what is in the files of processes that ended
        self.received = Counter()  # what the service took
        self.doubtful = 0  # how many of those may have been taken twice, as former processes said
        self.has_crashed = False
        self.moods = dict.fromkeys(MONITORS, "well")
        self.process = self.directory = None

    @initialize(
        has_spool=st.booleans(),
        sickness=st.sampled_from(["well", "gone", "forbidden", "rejects"]),
        overflow=st.sampled_from(["drop_oldest", "drop_newest", "block"]),
        queue_events=st.sampled_from([4, 12, 60]),
        queue_bytes=st.sampled_from([16_384, 1 << 25]),
        max_events=st.sampled_from([1, 3, 8]),
        max_bytes=st.sampled_from([16_384, 1 << 19]),
        max_in_flight=st.sampled_from([1, 2, 4]),
        max_age=st.sampled_from([20_000, 300_000, 172_800_000]),
        flush_interval=st.sampled_from([0, 5000]),
        max_requests_per_second=st.sampled_from([45.0, 1000.0]),
    )
    def begin(self, *, has_spool, sickness, **options):
        if (
            has_spool and sickness != "well"
        ):  # what waits on disk for the one leaves memory to the other, if there is enough
            most = 8 * options["max_in_flight"] * options["max_events"]
            options |= {"queue_events": max(most, options["queue_events"]), "queue_bytes": 1 << 25}
        self.options, self.sickness = options, sickness
        self.directory = Path(tempfile.mkdtemp()) if has_spool else None
        self.start()

    def start(self):
        self.process = Unthreaded(lambda: self.now, self.directory, ledger=Watched, **self.options)
        self.dispatch._random = lambda: 0.5
        self.held = []  # jobs, and batches whose requests are on their way
        self.flushes = {}  # what was alive, by their numbers
        self.silent_until = -math.inf  # as the service asked for
        self.delivered = 0

    @property
    def ledger(self):
        return self.process.ledger

    @property
    def dispatch(self):
        return self.process.dispatch

    # the application

    @rule(
        items=st.lists(ITEM, min_size=1, max_size=10), is_disk_full=SELDOM, meanwhile=st.sampled_from([0, 0, 0, 1, 4])
    )
    def put(self, items, is_disk_full, meanwhile):
        """Export events, while others work."""
        events = [self.event(*each) for each in items]
        before, fullness = list(self.dispatch.batches.queued()), self.dispatch.fullness
        with self.full_disk(is_full=is_disk_full), self.others_work("keep", meanwhile):
            self.process.put_events(events)
        if self.process.store is None or not meanwhile:
            assert self.dispatch.fullness <= max(1.0, fullness), "more than memory may hold, but for what senders held"
            self.check_nothing_gave_way(before)

    def event(self, session, monitor, size, kind, user):
        number = len(self.made)
        of = key(session, monitor=monitor, is_client=session == 2 and number % 2 == 0)
        once = {"metric": Once(("m", session), counts="latest"), "earlier": Once(("e", session))}.get(kind)
        details = "[" + "0," * (size // 2) + "0]" if kind == "uncut" else '"' + "x" * size + '"'
        draft = Draft(id=f"{kind} {number}", time_ns=number, type="test", details=details, once=once)
        self.made[draft.id] = Keyed(of, draft, user, kind == "earlier" and number % 2 == 0)
        self.alive.add(draft.id)
        return self.made[draft.id]

    def check_nothing_gave_way(self, before):
        """Unless that is the policy, nothing in memory gives way but what is parked, or reported anew."""
        if self.options["overflow"] != "drop_oldest":
            left = set(self.dispatch.batches.queued())
            gone = [each for each in before if each not in left and not each.draft.once]
            assert {each.key.monitor.id for each in gone} <= set(self.dispatch.parked)

    @rule()
    def flush(self):
        epoch = self.ledger.begin_flush(self.now)
        self.flushes[epoch] = {each.draft.id for each in self.dispatch.on_their_way()}

    @rule()
    def end_flush(self):
        """What was flushed is delivered or on disk, where that is what it says."""
        if self.flushes:
            epoch = min(self.flushes)
            names = self.flushes.pop(epoch)
            waiting = [each for each in self.dispatch.on_their_way() if each.epoch <= epoch]
            assert self.ledger.is_flushed(epoch) == (not waiting)
            if self.ledger.end_flush(epoch):
                assert all(each.stored for each in waiting)
                unknown = {
                    name for name in names & self.gone if not self.received[name] and not self.made[name].draft.once
                }
                assert not unknown

    # the threads

    @rule(
        times=st.integers(1, 6),
        meanwhile=st.integers(0, 3),
        method=st.sampled_from(["load", "leave", "lease", "settle"]),
    )
    def work(self, times, meanwhile, method):
        """Look for something to do, and get the answer to the oldest request, while others do so, too."""
        with self.others_work(method, meanwhile):
            self.step(times)

    def step(self, times):
        for _ in range(times):
            self.look()
            self.answer(0)

    @rule(times=st.integers(1, 4))
    def take(self, times):
        """Take what is due; the answers take their time."""
        for _ in range(times):
            self.look()

    def look(self):
        """Take what is due. Returns whether there was something."""
        if len(self.held) >= self.options["max_in_flight"]:
            return False
        # the first look may find that what is due may not leave, so that what is on disk may come
        job = self.process.look() or self.process.look()
        if job is None:
            assert self.process.looks_in_s > 0, "it would look on and on"
        elif job is not True:
            self.check_job(job)
            self.held.append(job)
        return job is not None

    def check_job(self, job):
        queued = job if isinstance(job, list) else job.queued
        assert self.now >= self.silent_until, "before the service wanted it"
        of_session = [each for each in (*self.held, *self.dispatch.waiting) if context_of(each) == context_of(job)]
        assert not of_session, "two batches of a session"
        oldest_at = self.now - self.process.config.max_age_s - 1e-6
        waiting = (*queued, *self.dispatch.batches.queued(), *self.dispatch.waiting.queued())
        assert all(each.admitted_at >= oldest_at for each in waiting), "too old"
        if isinstance(job, list):
            destination = self.dispatch._destinations.get(queued[0].key.monitor.id)
            assert destination is None or destination.parked is None or destination.is_probing, "it takes nothing"
            assert len({each.key for each in queued}) == 1
            assert len(queued) <= self.options["max_events"]
            assert len(queued) == 1 or sum(each.size for each in queued) <= self.options["max_bytes"]

    @rule(which=st.integers(0, 3), does_fail=SELDOM)
    def assemble(self, which, does_fail):
        if which < len(self.held) and isinstance(self.held[which], list):
            job = self.held.pop(which)
            if does_fail:
                self.ledger.fail(job, self.now)
            elif (delivery := self.process.workers._assembled(job)) is not None:
                self.held.insert(which, delivery)

    @rule(which=st.integers(0, 3))
    def answer(self, which):
        """Let the service answer, or leave a request behind."""
        self.assemble(which, does_fail=False)
        if which < len(self.held) and not isinstance(self.held[which], list):
            delivery = self.held.pop(which)
            delivery.attempts += 1
            verdict = self.verdict(delivery.part)
            if isinstance(verdict, Delivered):
                self.check_order(delivery)
                self.delivered += len(delivery.part.queued)
            self.process.workers._settle(delivery, verdict, self.now)
            pause_s = getattr(verdict, "after_s", None) or 0.0
            self.silent_until = max(self.silent_until, self.now + pause_s - 1e-6)

    def verdict(self, part):
        names = [each.id for each in part.batch.events]
        assert names == [each.draft.id for each in part.queued]
        assert len({self.made[name].user_id for name in names}) == 1
        monitor = part.batch.monitor.id
        mood = self.moods[monitor]
        poison = [name for name in names if is_poison(name)]
        if mood in TAKES and poison:
            return Rejected(f"400 {poison[0][-1]}")
        if mood in TAKES:
            self.received.update(names)
        if mood == "renewed":
            self.moods[monitor] = "well"
        return ANSWERS[mood]

    def check_order(self, delivery):
        """Nothing older of a session and a user still waits, but for what is behind it in its batch."""
        others = set(self.dispatch.on_their_way()).difference(delivery.queued)
        for sent in delivery.part.queued:
            if sent.draft.id not in self.strayed:
                alike = [each for each in others if (each.key, each.user_id) == (sent.key, sent.user_id)]
                ahead = [each for each in alike if each.draft.time_ns < sent.draft.time_ns]
                assert {each.draft.id for each in ahead} <= self.strayed, "out of order"

    @precondition(lambda self: self.directory)
    @rule(meanwhile=st.integers(0, 4), method=st.sampled_from(["save", "expire", "tend"]))
    def tend(self, meanwhile, method):
        """Look after the files, while others work."""
        with self.others_work(method, meanwhile):
            self.process.tend()

    @contextmanager
    def others_work(self, method, times):
        """Let other threads work once, after the store did something, and before whoever asked for it goes on."""
        with pytest.MonkeyPatch.context() as patch:
            if self.process.store and times:
                original = getattr(self.process.store, method)

                def slow(*arguments):
                    result = original(*arguments)
                    patch.undo()
                    self.step(times)
                    return result

                patch.setattr(self.process.store, method, slow)
            yield

    @contextmanager
    def full_disk(self, *, is_full):
        def fail(*_):
            raise SpoolFull("no room")

        with pytest.MonkeyPatch.context() as patch:
            if self.process.store and is_full:
                patch.setattr(self.process.store, "_append", fail)
            yield

    # the world

    @rule(monitor=MONITOR, mood=MOOD)
    def change_mood(self, monitor, mood):
        self.moods[monitor] = mood

    @rule(seconds=st.sampled_from([0.1, 0.7, 2.0, 8.0, 31.0, 290.0]))
    def wait(self, seconds):
        """Let time pass, though all threads are stuck."""
        self.now += seconds + 1e-3

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 400.0]), monitor=MONITOR, mood=MOOD)
    def run(self, seconds, monitor, mood):
        """Let time pass in some mood, as the threads do."""
        self.moods[monitor] = mood
        self.work_for(seconds)

    def work_for(self, seconds):
        until, looks = self.now + seconds + 1e-3, 0
        while self.now < until:
            looks += 1
            assert looks < 20_000, "never at rest"
            if self.look():
                continue
            if self.held:
                self.answer(0)
            else:
                self.now = min(until, self.now + self.process.looks_in_s + 1e-6)

    @precondition(lambda self: self.directory)
    @rule(times=st.integers(0, 10), late=st.sampled_from([0, 0, 3]))
    def restart(self, times, late):
        self.shut_down(times, late)
        self.start()

    @precondition(lambda self: self.directory)
    @rule()
    def crash(self):
        self.leave_files()
        self.has_crashed = True
        self.process.crash()
        self.start()

    def shut_down(self, times, late=0):
        """As a pipeline does, with requests that end later, and perhaps an export that began before."""
        process, workers = self.process, self.process.workers
        self.dispatch.begin_close()
        epoch = self.ledger.begin_flush(self.now)
        while times and not (self.ledger.is_flushed(epoch) or self.dispatch.is_stuck(self.now, self.now + 2)):
            self.step(1)
            times -= 1
        self.ledger.end_flush(epoch)
        workers.is_closed = True
        if process.store:
            workers.save_all(process.store, wait_s=0.0)
        self.ledger.close()
        workers.tell()
        if late:
            process.put_events([self.event(0, MONITOR_ID, 10, "plain", "u1") for _ in range(late)])
        for _ in range(len(self.held) // 2):
            self.answer(0)
        assert process.stats.is_balanced
        assert all(number >= 0 for number in process.stats.events_dropped.values())
        self.leave_files()
        assert process.stats.queued == len(self.alive & self.ledger.known)
        if process.store:
            assert process.store.close() == 0

    def leave_files(self):
        """Take note of what a process that ends leaves behind."""
        self.orphans |= {path: set(names) for path, names in self.on_disk().items() if names}
        alive = set().union(*self.orphans.values())
        self.gone |= self.alive - alive
        self.alive &= alive
        self.doubtful += self.process.stats.duplicates_possible

    # what holds

    def on_disk(self):
        files = self.process.store._files if self.process.store else ()
        return {spool.path: names_in(spool) for spool in files}

    @invariant()
    def each_event_is_where_the_counters_say(self):
        if self.process is None:
            return
        self.process.workers.tell()
        in_memory = list(self.dispatch.on_their_way())
        names = {each.draft.id for each in in_memory}
        assert len(names) == len(in_memory), "twice in memory"
        on_disk = self.on_disk()
        rows = {name for each in on_disk.values() for name in each}
        assert {each.draft.id for each in in_memory if each.stored} <= rows, "no more on disk"
        self.orphans = {path: each for path, each in self.orphans.items() if path not in on_disk}
        alive = names.union(rows, *self.orphans.values())
        assert alive <= self.alive, "gone, and back again"
        self.gone |= self.alive - alive
        self.strayed |= alive - names
        self.alive = alive
        stats = self.process.stats
        assert stats.is_balanced
        assert (stats.delivered, stats.queued) == (self.delivered, len(alive & self.ledger.known))
        again = self.received.total() - len(self.received)
        assert again <= stats.duplicates_possible + self.doubtful or self.has_crashed

    @invariant()
    def the_numbers_are_those_of_the_events(self):
        if self.process is None:
            return
        batches, waiting, parked = self.dispatch.batches, self.dispatch.waiting, self.dispatch.parked
        queued = list(batches.queued())
        assert (batches.count, batches.size) == numbers(queued)
        assert (batches.held_count, batches.held_size) == numbers(
            each for each in queued if batches.is_held(each.key.monitor.id)
        )
        assert (waiting.count, waiting.size) == numbers(waiting.queued())
        assert all(monitor in parked for monitor in MONITORS if batches.is_held(monitor)), "held for nothing"
        out = self.options["max_in_flight"] * self.options["max_events"]
        assert batches.count + waiting.count <= self.options["queue_events"] + out

    # the end

    def teardown(self):
        try:
            if self.process is not None and sys.exc_info()[0] is None:  # else a step failed
                self.finish()
        finally:
            if self.process is not None and self.process.store:
                self.process.crash()  # closes what was not finished
            if self.directory:
                shutil.rmtree(self.directory)

    def finish(self):
        """What is of an app monitor that is well leaves, whatever came before, and whatever the other one does."""
        self.moods = {MONITOR_ID: "well", OTHER: self.sickness}
        self.deliver_all(MONITOR_ID)
        self.moods = dict.fromkeys(MONITORS, "well")
        self.deliver_all(*MONITORS)
        self.shut_down(times=3)

    def deliver_all(self, *monitors):
        for _ in range(12):
            self.work_for(700.0)
            self.each_event_is_where_the_counters_say()
            if not self.left_of(*monitors):
                return
        for monitor in monitors:
            if self.left_of(monitor):
                self.check_refused(monitor)

    def left_of(self, *monitors):
        return {name for name in self.alive if self.made[name].key.monitor.id in monitors}

    def check_refused(self, monitor):
        """All that is left was refused, each batch for an event that is at fault, or waits behind that in its session.

        Where several were refused, others need not be asked with.
        """
        assert self.dispatch.parked.get(monitor) is ParkReason.REJECTED, "left, though its app monitor is well"
        refused = list(self.dispatch.waiting._parked[monitor])
        assert all(any(is_poison(each.draft.id) for each in batch.queued) for batch in refused)
        sessions = {self.made[name].key.context for name in self.left_of(monitor)}
        assert len(refused) > 1 or sessions == {context_of(refused[0])}


def is_poison(name):
    return name.startswith("poison")


def context_of(job):
    return (job if isinstance(job, list) else job.whole.queued)[0].key.context


def names_in(spool):
    with spool._database.reading() as connection:
        return [decode_draft(event).id for (event,) in connection.execute("SELECT event FROM events")]


def numbers(queued):
    sizes = [each.size for each in queued]
    return len(sizes), sum(sizes)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [pytest.param(40, 30, id="few"), pytest.param(1000, 50, id="many", marks=pytest.mark.nightly)],
)
def test_any_life(examples, steps):
    """Exports, answers, flushes, full disks, other threads' work, restarts and crashes in any order."""
    run_state_machine_as_test(World, settings=settings(max_examples=examples, stateful_step_count=steps))
