"""Each event on disk is with one process once, whatever else goes on: beside exports, damage, other processes, long outages."""

import threading
from contextlib import closing

import pytest
from rum_items import key, keyed
from rum_service import event
from rum_unthreaded import Unthreaded

from otel_rum_exporter.client.verdicts import Delivered
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.sending.workers import Chore
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Burial, Spool, SpoolCorruptError, SpoolError


class Disk(Unthreaded):
    """A process with a spool, whose clock is `now`."""

    def __init__(self, spool_dir, **options):
        self.now = 0.0
        self.is_dead = False
        super().__init__(lambda: self.now, spool_dir, **options)

    def put(self, *names):
        self.put_events([event(name) for name in names])

    def deliver(self):
        """Send all that is in memory. Returns how many events that is."""
        number = 0
        self.ledger.begin_flush(self.now)
        while (job := self.ledger.take(self.now)) is not None:
            delivery = self.workers._assembled(job)
            number += len(delivery.queued)
            self.ledger.settle(delivery, Delivered(), self.now)
            self.workers.tell()
            self.now += 1.0
        return number

    def deliver_all(self):
        """Send all that is in memory, and on disk. Returns how many events that is."""
        number = self.deliver()
        while self.load():
            number += self.deliver()
        return number

    def damage(self):
        """Let its file be found damaged; all of it can be read."""
        self.store._failed(self.own, SpoolCorruptError("event 1 is damaged"), "Events cannot be read")

    def crash(self):
        super().crash()
        self.is_dead = True

    def load(self):
        """Read all for which there is room in memory. Returns how many events that is."""
        number, left = 0, []
        while not left and (loaded := self.store.load()) is not None:
            left = self.ledger.load(loaded, self.now)
            number += len(loaded.events) - len(left)
            self.store.leave(left)
        return number


@pytest.fixture
def disks(tmp_path):
    """Makes processes that share a directory."""
    made = []

    def make(**options):
        made.append(Disk(tmp_path / "spool", **options))
        return made[-1]

    yield make
    for each in made:
        if not each.is_dead:
            each.store.close()
        assert each.stats.is_balanced


@pytest.fixture
def disk(disks):
    return disks()


def test_rows_of_an_export_that_is_under_way_are_its_own(disk, monkeypatch):
    """One that began before the look for others' rows, and is over before it ends: its events are there once."""
    disk.put("a")
    disk.load()
    has_begun, is_looked = threading.Event(), threading.Event()
    append, last_id = disk.own.append, disk.own.last_id

    def slow_append(rows):
        has_begun.set()
        assert is_looked.wait(60)
        return append(rows)

    def slow_last_id():
        last = last_id()
        is_looked.set()
        exporting.join(60)
        return last

    with monkeypatch.context() as slow:
        slow.setattr(disk.own, "append", slow_append)
        slow.setattr(disk.own, "last_id", slow_last_id)
        exporting = threading.Thread(target=disk.put, args=("b", "c"))
        exporting.start()
        assert has_begun.wait(60)
        disk.store.tend()
        is_looked.set()
        exporting.join(60)
    disk.store.tend()
    assert (disk.load(), disk.stats.accepted, disk.stats.queued) == (0, 3, 3)


def test_what_is_saved_later_is_as_old_as_it_is(disk, tmp_path):
    """Ages do not begin anew when what waited in memory gets its place on disk: after a restart it would be sent too late."""
    in_the_way = tmp_path / "spool"
    in_the_way.write_text("")
    disk.put("a")
    disk.now = 3000.0
    in_the_way.unlink()
    disk.store.tend()
    disk.workers.save(disk.store)
    assert (disk.own.events, disk.store.numbers().spool_age_s) == (1, 3000.0)


def test_much_is_saved_as_soon_as_there_is_room(disk, tmp_path, monkeypatch):
    """Some at a time, since exports wait for it, but one after the other: a crash would lose it."""
    monkeypatch.setattr("otel_rum_exporter.sending.workers._SAVED_AT_ONCE", 2)
    in_the_way = tmp_path / "spool"
    in_the_way.write_text("")
    disk.put(*"abcde")
    in_the_way.unlink()
    on_disk = []
    with disk.workers.changed:
        job = disk.workers._job_locked(0.0, is_thread=True)
    while job is Chore.TEND:
        disk.workers._do(job)
        on_disk.append(disk.own.events)
        with disk.workers.changed:
            job = disk.workers._job_locked(0.0, is_thread=True)
    assert on_disk == [2, 4, 5]


@pytest.mark.parametrize("together", [500, 3])
def test_as_much_is_saved_as_there_is_room_for(disks, caplog, monkeypatch, together):
    """What finds no room does not keep the others out."""
    monkeypatch.setattr("otel_rum_exporter.spool.store._SAVED_TOGETHER", together)
    disk = disks(spool_max_bytes=1 << 20)
    disk.put_events([keyed(key(), f"{number}", size=100_000) for number in range(12)])
    assert (disk.own.events, disk.stats.queued) == (0, 12)
    caplog.clear()
    disk.workers.save(disk.store)
    assert disk.own.events == 10
    assert len([line for line in caplog.messages if "kept in memory only" in line]) <= 1
    disk.ledger.close()
    assert (disk.stats.queued, disk.stats.events_dropped) == (10, {DropReason.SHUTDOWN: 2})


def test_what_becomes_too_old_on_disk_makes_room(disks):
    """Though nothing can be read while the endpoint is down; what is young, or in memory, stays."""
    disk = disks(queue_events=2, max_age=3_600_000)
    disk.put(*"abcde")
    disk.now = 3000.0
    disk.put(*"fg")
    disk.load()
    disk.now = 4000.0
    disk.tend()
    assert disk.stats.events_dropped == {DropReason.EXPIRED: 3}
    assert (disk.stats.queued, disk.own.events, disk.stats.is_balanced) == (4, 4, True)
    assert disk.ledger.take(disk.now) is None  # what was in memory is too old, too
    assert disk.load() == 2
    assert disk.stats.events_dropped == {DropReason.EXPIRED: 5}


def test_what_others_left_becomes_too_old(disks, monkeypatch):
    """Events and batches alike: they are accepted and given up."""
    monkeypatch.setattr("otel_rum_exporter.spool.queue._AT_ONCE", 2)
    former, disk = disks(), disks(max_age=3_600_000)
    former.put(*"abcdef")
    former.own.lease("batch", b"", [1, 3])
    former.crash()
    disk.now = 4000.0
    disk.put("g")
    disk.tend()
    assert (disk.stats.accepted, disk.stats.queued, disk.stats.events_dropped) == (7, 1, {DropReason.EXPIRED: 6})
    assert (disk.own.events, disk.load(), disk.store.has_backlog) == (1, 0, False)


def test_what_is_too_old_is_counted_when_it_is_gone(disks, monkeypatch):
    """Where the disk does not let it go, it is given up later, and counted once."""
    disk = disks(queue_events=1, max_age=3_600_000)
    disk.put(*"abc")
    disk.now = 4000.0
    with monkeypatch.context() as failing:
        failing.setattr(Spool, "forget", fail)
        disk.tend()
    assert (disk.stats.events_dropped, disk.stats.queued) == ({}, 3)
    disk.tend()
    assert (disk.stats.events_dropped, disk.stats.queued) == ({DropReason.EXPIRED: 2}, 1)


def test_dead_letters_in_a_file_that_was_taken_over(disks):
    """They are looked after like one's own: what is put back is sent, what is too old goes."""
    former, disk = disks(), disks()
    former.put("a", "b")
    former.own.bury([Burial(row, b"{}", "rejected", "no") for row in (1, 2)])
    disk.put("c")
    former.crash()
    disk.tend()
    assert disk.load() == 0
    assert former.own.path != disk.own.path
    taken_over = former.own.path
    with closing(SpoolDirectory(taken_over.parent).open_beside(taken_over)) as beside:
        beside.requeue([1])
    disk.tend()
    assert (disk.load(), disk.load(), disk.stats.accepted, disk.stats.queued) == (1, 0, 2, 2)
    disk.now = 15 * 86_400.0
    assert disk.store.numbers().spool_dead_letters == 1
    disk.tend()
    assert disk.store.numbers().spool_dead_letters == 0


def test_memory_makes_room_for_what_comes_after_damage(disks, monkeypatch):
    """What gives way is of a file that is closed: it is found in the next one, and accepted anew."""
    disk = disks(queue_events=3)
    disk.put(*"abc")
    damaged = disk.own
    disk.damage()
    disk.put("d")  # the next file, with what could be read of the damaged one
    with monkeypatch.context() as full:
        full.setattr(Spool, "append", fail)
        disk.put("e")  # in memory only, from where it displaces the oldest
    assert disk.own is not damaged
    number = disk.deliver_all()
    assert number == disk.stats.delivered
    # a, b, c and e from memory but for what was displaced; a, b, c and d from the next file
    assert (number, disk.stats.events_dropped) == (7, {DropReason.DAMAGED: 1})
    assert (disk.stats.accepted, disk.stats.queued, disk.own.events) == (8, 0, 0)


def test_a_file_that_is_found_damaged_while_it_is_read(disks, monkeypatch):
    """By another thread: its rows are counted as lost, and not loaded as well."""
    disk = disks(queue_events=1)
    disk.put(*"abc")
    disk.load()
    load = Spool.load
    with monkeypatch.context() as late:
        late.setattr(Spool, "load", lambda *each: (load(*each), disk.damage())[0])
        disk.deliver()
        assert disk.load() == 0
    assert disk.load() == 0
    assert (disk.stats.queued, disk.stats.events_dropped) == (0, {DropReason.DAMAGED: 2})


def test_a_batch_whose_file_is_found_damaged(disks, monkeypatch):
    """When its events were to wait again: it does not stand in the way of what is in other files."""
    former, disk = disks(), disks(queue_events=1)
    former.put("a", "b")
    former.own.lease("batch", b"", [1])
    disk.put("c", "d")
    former.crash()
    disk.tend()

    def damaged(*_arguments):
        raise SpoolCorruptError("lease 1 is damaged")

    with monkeypatch.context() as failing:
        failing.setattr(Spool, "release", damaged)
        assert disk.store.resume() is None
    assert disk.store.resume() is None
    assert disk.deliver_all() == 2


def test_what_is_delivered_of_a_damaged_file_is_not_owed_to_it(disk, caplog):
    """It is closed: nothing is tried that fails for ever, and holds up what leaves other files."""
    disk.put("a", "b")
    damaged = disk.own
    disk.damage()
    disk.put("c")
    caplog.clear()
    assert disk.deliver() == 3
    assert (disk.store._owed.of(damaged), disk.own.events) == (0, 2)
    assert caplog.messages == []


def test_what_was_about_to_leave_a_file_as_it_was_found_damaged(disk, monkeypatch):
    """On another thread: that is not tried again either."""
    disk.put("a", "b")
    damaged = disk.own
    with monkeypatch.context() as late:
        late.setattr(Spool, "forget", lambda *each: (disk.damage(), fail(*each)))
        assert disk.deliver() == 2
    assert disk.store._owed.of(damaged) == 0


def test_a_batch_that_cannot_be_given_back_is_given_back_later(disks, monkeypatch):
    """Another one of its session is out, and the disk does not answer for a moment: its events come all the same."""
    former, disk = disks(), disks()
    former.put("a", "b")
    former.ledger.begin_flush(0.0)
    former.workers._assembled(former.ledger.take(0.0))  # it is on its way
    former.crash()
    disk.put("c")
    disk.ledger.begin_flush(0.0)
    out = disk.workers._assembled(disk.ledger.take(0.0))
    with monkeypatch.context() as failing:
        failing.setattr(Spool, "release", fail)
        disk.workers._resume(disk.store)
    disk.ledger.settle(out, Delivered(), 0.0)
    disk.workers.tell()
    disk.workers._resume(disk.store)
    assert (disk.load(), disk.deliver_all(), disk.own.events) == (2, 2, 0)


def test_what_alternates_on_disk_is_read_together(disk):
    """Rows of an app monitor that takes nothing stand between another's: each of them is a range of its own."""
    disk.put(*"abcdefgh")
    rows = [each.stored for each in disk.ledger.dispatch.on_their_way()]
    disk.store.load()  # what a former owner may have left comes first
    disk.store.leave(rows[::2])
    disk.store.leave(rows[5::2])
    loaded = disk.store.load()
    assert [each.keyed.draft.id for each in loaded.events] == [*"acegfh"]
    assert (loaded.expired, loaded.lost, loaded.is_own, disk.store.load()) == (0, 0, True, None)


def test_what_is_read_together_is_bounded(disk, monkeypatch):
    """However it is divided."""
    monkeypatch.setattr("otel_rum_exporter.spool.backlog._AT_ONCE", 3)
    disk.put(*"abcdefgh")
    rows = [each.stored for each in disk.ledger.dispatch.on_their_way()]
    disk.store.load()
    disk.store.leave([rows[0], *rows[2:5], *rows[6:]])
    read = [[each.keyed.draft.id for each in disk.store.load().events] for _ in range(2)]
    assert read == [[*"acd"], [*"egh"]]


def fail(*_arguments):
    raise SpoolError("the disk does not answer")
