"""Any sequence of calls: each row is in one place, and every number is right."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from spool_tools import Clock, all_letters, everything, row

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Burial, SpoolOptions
from otel_rum_exporter.spool.rows import size_of

LEASE_BYTES = 64 + len(b"body")
SUBSET = st.lists(st.integers(0, 30), max_size=6)


class Places(RuleBasedStateMachine):
    """The spool beside a model of it: where each row is."""

    leases = Bundle("leases")  # of a file that was empty and gone, ids come again: the second use is of nothing

    def __init__(self):
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.directory = SpoolDirectory(self.path / "spool", SpoolOptions(reserve_bytes=0, wall=self.clock))
        self.spool = self.directory.open_own()
        self.waiting, self.leased, self.letters = {}, {}, {}  # row id: event; lease: row ids; letter id: event
        self.events, self.admitted = {}, {}
        self.appended = self.requeued = self.forgotten = self.buried = self.expired = self.purged = 0

    def some(self, choice, pool):
        """A few of what there is, and now and then something that there is not."""
        pool = sorted(pool)
        return list(dict.fromkeys(pool[index] if index < len(pool) else 10_000 + index for index in choice))

    def gone(self, ids):
        for number in ids:
            self.waiting.pop(number, None)
        for lease in [lease for lease, members in self.leased.items() if members]:
            self.leased[lease] = [number for number in self.leased[lease] if number not in ids]

    def all_rows(self):
        return {*self.waiting, *(number for members in self.leased.values() for number in members)}

    @rule(sizes=st.lists(st.integers(0, 9000), max_size=8))
    def append(self, sizes):
        self.clock.now += 1
        events = [b"%d." % (self.appended + index) + bytes(size) for index, size in enumerate(sizes)]
        numbers = self.spool.append([row(event, self.clock.ms) for event in events])
        for number, event in zip(numbers, events, strict=True):
            self.waiting[number] = self.events[number] = event
            self.admitted[number] = self.clock.ms
        self.appended += len(sizes)

    @rule(choice=SUBSET, target=leases)
    def lease(self, choice):
        numbers = self.some(choice, self.waiting)
        lease = self.spool.lease("batch", b"body", numbers)
        self.leased[lease] = [number for number in numbers if self.waiting.pop(number, None) is not None]
        return lease

    @rule(lease=consumes(leases))
    def deliver(self, lease):
        members = self.leased.get(lease, [])
        self.spool.forget(members)
        self.forgotten += len(members)
        self.leased[lease] = []

    @rule(lease=consumes(leases))
    def release(self, lease):
        self.spool.release(lease)
        self.waiting.update({number: self.events[number] for number in self.leased.pop(lease, [])})

    @rule(choice=SUBSET)
    def forget(self, choice):
        numbers = self.some(choice, self.all_rows())
        self.forgotten += len(self.all_rows().intersection(numbers))
        self.spool.forget(numbers)
        self.gone(numbers)

    @rule(choice=SUBSET)
    def bury(self, choice):
        numbers = self.some(choice, self.all_rows())
        there = [number for number in numbers if number in self.all_rows()]
        self.spool.bury([Burial(number, b"{}", "rejected", "no") for number in numbers])
        new = [letter for letter in all_letters(self.spool) if letter.id not in self.letters]
        assert [letter.row.id for letter in new] == there
        self.letters.update({letter.id: letter.row.event for letter in new})
        self.buried += len(there)
        self.gone(numbers)

    @rule(age_s=st.integers(0, 5))
    def expire(self, age_s):
        before = self.clock.ms - age_s * 1000
        old = [number for number in self.waiting if self.admitted[number] < before]
        assert self.spool.expire(before) == len(old)
        self.expired += len(old)
        self.gone(old)

    @rule(choice=st.none() | SUBSET)
    def requeue(self, choice):
        letters = None if choice is None else self.some(choice, self.letters)
        events = [self.letters.pop(number) for number in sorted(self.letters) if letters is None or number in letters]
        last = self.spool.last_id()
        assert self.spool.requeue(letters) == len(events)
        for number, event in enumerate(events, last + 1):
            self.waiting[number] = self.events[number] = event
            self.admitted[number] = self.clock.ms
        self.requeued += len(events)

    @rule(choice=st.none() | SUBSET)
    def purge(self, choice):
        letters = None if choice is None else self.some(choice, self.letters)
        gone = [number for number in self.letters if letters is None or number in letters]
        assert self.spool.purge(letters) == len(gone)
        self.purged += len(gone)
        for number in gone:
            del self.letters[number]

    @rule()
    def reopen(self):
        """The leases stay, with what they hold."""
        self.spool.close()
        self.spool = self.directory.open_own()
        left = {lease.id: list(lease.rows) for lease in self.spool.leases()}
        assert left == {lease: sorted(members) for lease, members in self.leased.items() if members}

    @invariant()
    def each_row_is_in_one_place(self):
        assert {each.id: each.event for each in everything(self.spool)} == self.waiting
        assert {letter.id: letter.row.event for letter in all_letters(self.spool)} == self.letters
        rows = self.all_rows()
        gone = self.forgotten + self.buried + self.expired
        assert self.appended + self.requeued == gone + len(rows)
        assert self.buried == self.requeued + self.purged + len(self.letters)

    @invariant()
    def numbers_are_right(self):
        rows = self.all_rows()
        assert (self.spool.events, self.spool.dead_letters) == (len(rows), len(self.letters))
        assert self.spool.oldest_ms == min((self.admitted[number] for number in rows), default=None)
        # a lease whose last row is taken out ends; one that never had any stays until its owner ends
        leases = [len(members) > 0 for members in self.leased.values()]
        size = self.spool.size_bytes - sum(size_of(row(self.events[number])) for number in rows)
        assert LEASE_BYTES * sum(leases) <= size <= LEASE_BYTES * len(leases)

    def teardown(self):
        self.spool.close()
        shutil.rmtree(self.path)


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
