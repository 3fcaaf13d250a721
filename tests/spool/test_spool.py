"""The queue in one file: what each call does, what it refuses, and its numbers."""

import os
import shutil
import sqlite3
import stat
import threading
import time
from contextlib import closing

import pytest
from spool_tools import SESSION, everything, row, rows

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.lock import FileLock
from otel_rum_exporter.spool.queue import (
    Burial,
    Lease,
    NewRow,
    Row,
    Spool,
    SpoolBusyError,
    SpoolError,
    SpoolFull,
    SpoolMovedError,
    SpoolOptions,
)

READABLE = b'{"id":"x","type":"com.amazon.rum.http_event"}'


def buried(*ids):
    return [Burial(number, READABLE, "rejected", "400 ValidationException") for number in ids]


def ids(spool):
    return [each.id for each in everything(spool)]


# rows


def test_rows_come_back_as_they_were(spool):
    """Every byte, in order of admission."""
    given = [NewRow(SESSION, bytes(range(256)), b"", 5), NewRow("zażółć", b"", b"\0\xff" * 5000, 2**45)]
    numbers = spool.append(given)
    assert spool.load(0, 10) == [Row(number, *each) for number, each in zip(numbers, given, strict=True)]
    assert spool.last_id() == numbers[-1]


def test_rows_are_read_from_an_id_on(spool):
    numbers = spool.append(rows(*range(10)))
    assert [each.id for each in spool.load(numbers[3], 2)] == numbers[4:6]
    assert spool.load(numbers[-1], 10) == []


def test_rows_outlive_their_owner(directory):
    """Whoever comes next finds them, and goes on with the ids."""
    first = directory.open_own()
    numbers = first.append(rows(1, 2))
    first.close()
    second = directory.open_own()
    assert ids(second) == numbers
    assert second.append(rows(3)) > numbers
    second.close()


def test_ids_are_never_used_again(spool):
    numbers = spool.append(rows(1, 2, 3))
    spool.forget(numbers)
    assert spool.append(rows(4))[0] > numbers[-1]


def test_nothing_appended_is_nothing_done(spool):
    assert spool.append([]) == []
    assert spool.events == 0


def test_numbers_are_those_of_the_file(directory):
    """Counted along with each change, they are what counting anew on opening gives."""
    spool = directory.open_own()
    numbers = spool.append(rows(30, 10, 20, 40))
    spool.lease("batch", b"body", numbers[:2])
    spool.bury(buried(numbers[1]))
    assert (spool.events, spool.oldest_ms, spool.dead_letters) == (3, 20, 1)
    size = spool.size_bytes
    spool.close()
    again = directory.open_own()
    assert (again.events, again.oldest_ms, again.dead_letters, again.size_bytes) == (3, 20, 1, size)
    again.forget([numbers[0], *numbers[2:]])
    assert (again.events, again.oldest_ms, again.size_bytes) == (0, None, 0)
    again.purge(None)
    again.close()


def test_expire_takes_what_waits_and_is_older(spool):
    numbers = spool.append(rows(*range(1200)))
    spool.lease("batch", b"body", numbers[:100])
    assert spool.expire(1150) == 1050
    assert ids(spool) == numbers[1150:]
    assert (spool.events, spool.oldest_ms) == (150, 0)


def test_what_is_older_is_told_some_at_a_time(spool):
    """The oldest first, whatever the order of their ids, and not what is leased; whoever asks may remove it meanwhile."""
    ages = [*range(1200, 600, -1), *range(600)]
    numbers = spool.append(rows(*ages))
    spool.lease("batch", b"body", numbers[1100:])
    found = []
    for some in spool.older(1150):
        assert len(some) <= 500
        spool.forget(some[::2])
        found += some
    assert found == [*numbers[600:1100], *numbers[599:50:-1]]


def test_clear_takes_everything(spool):
    numbers = spool.append(rows(*range(1200)))
    spool.lease("batch", b"body", numbers[:100])
    assert spool.clear() == 1200
    assert (spool.events, spool.size_bytes) == (0, 0)


# leases


def test_leased_rows_do_not_wait(spool):
    numbers = spool.append(rows(*range(4)))
    lease = spool.lease("batch", b"body", numbers[1:3])
    assert ids(spool) == [numbers[0], numbers[3]]
    spool.release(lease)
    assert ids(spool) == numbers


def test_a_row_is_leased_once(spool):
    """Else two requests would carry it."""
    numbers = spool.append(rows(1, 2))
    spool.lease("one", b"", numbers[:1])
    with pytest.raises(SpoolError, match="UNIQUE"):
        spool.lease("two", b"", numbers)
    assert ids(spool) == numbers[1:]


def test_leases_end_with_their_last_rows(spool):
    numbers = spool.append(rows(*range(4)))
    for some in (numbers[:2], numbers[2:]):
        spool.lease("batch", b"body", some)
    spool.forget(numbers[:2])
    spool.forget(numbers[:2])  # twice is once
    assert (spool.events, ids(spool)) == (2, [])
    spool.forget([*numbers, 4711])
    assert (spool.events, spool.size_bytes) == (0, 0)


def test_leases_are_found_by_the_next_owner(directory):
    """The same request, with its batch id and its members, as the previous owner may have sent it; not the new one's."""
    first = directory.open_own()
    numbers = first.append(rows(30, 20, 10, 40))
    lease = first.lease("batch", b"\0body", numbers[:3])
    assert first.leases() == []
    first.close()
    second = directory.open_own()
    second.lease("its own", b"", numbers[3:])
    assert second.leases() == [Lease(lease, "batch", b"\0body", tuple(numbers[:3]), (30, 20, 10))]
    assert second.leases(after=lease) == []
    second.forget(numbers[:3])
    assert (second.leases(), second.events) == ([], 1)
    second.close()


@pytest.mark.parametrize(
    "take", [Spool.forget, lambda spool, numbers: spool.bury(buried(*numbers))], ids=["forget", "bury"]
)
def test_a_lease_loses_what_is_taken_out(directory, take):
    """And ends with its last row."""
    first = directory.open_own()
    numbers = first.append(rows(1, 2))
    lease = first.lease("batch", b"body", numbers)
    take(first, numbers[:1])
    first.close()
    second = directory.open_own()
    assert [each.rows for each in second.leases()] == [(numbers[1],)]
    take(second, numbers[1:])
    assert second.leases() == []
    assert (second.events, second.size_bytes) == (0, 0)
    second.release(lease)
    second.purge(None)
    second.close()


def test_a_lease_leaves_out_rows_that_are_gone(directory):
    """One that has none is nobody's business later."""
    first = directory.open_own()
    (kept, gone) = first.append(rows(1, 2))
    first.forget([gone])
    first.lease("batch", b"body", [gone])
    first.close()
    second = directory.open_own()
    assert (second.leases(), ids(second)) == ([], [kept])
    second.close()


# dead letters


def test_dead_letters_are_kept_with_their_reasons(spool, clock):
    number, other = spool.append(rows(7, 8))
    spool.bury(
        [Burial(number, READABLE, "rejected", "no"), Burial(other, b"{}", "too_large", ""), Burial(99, b"", "", "")]
    )
    first, second = spool.letters()
    assert first.row == Row(number, SESSION, b"key", b"7", 7)
    assert (first.readable, first.reason, first.message, first.buried_ms) == (READABLE, "rejected", "no", clock.ms)
    assert spool.letters(after=first.id) == [second]
    assert spool.reasons() == {"rejected": 1, "too_large": 1}
    assert (spool.events, spool.dead_letters, ids(spool)) == (0, 2, [])


def test_requeued_letters_are_new_rows_with_the_same_event(spool, clock):
    """The ids inside stay; waiting begins anew, since they would be too old otherwise."""
    numbers = spool.append(rows(*range(250)))
    spool.bury(buried(*numbers))
    clock.now += 60
    first, *_ = spool.letters()
    assert spool.requeue([first.id, 4711]) == 1
    assert spool.requeue([first.id]) == 0
    assert spool.requeue(None) == 249
    found = everything(spool)
    assert [each.event for each in found] == [b"%d" % number for number in range(250)]
    assert {each.admitted_ms for each in found} == {clock.ms}
    assert found[0].id > numbers[-1]
    assert (spool.events, spool.dead_letters) == (250, 0)


def test_purged_letters_are_gone(spool):
    numbers = spool.append(rows(*range(250)))
    spool.bury(buried(*numbers))
    some = [letter.id for letter in spool.letters(limit=3)]
    assert (spool.purge(some), spool.purge(some), spool.dead_letters) == (3, 0, 247)
    assert (spool.purge(None), spool.dead_letters, spool.letters()) == (247, 0, [])


def test_dead_letters_have_a_bound(directory, monkeypatch):
    """The oldest make room, and are counted."""
    spool = directory.open_own()
    monkeypatch.setattr(spool._letters, "_max_bytes", 10_000)
    for number in range(20):
        spool.bury(buried(*spool.append([row(b"%d" % number * 1000)])))
    assert spool.dead_letters_evicted + spool.dead_letters == 20
    assert 1 <= spool.dead_letters <= 9
    assert spool._database.numbers.dead_letter_bytes <= 10_000
    assert spool.letters()[-1].row.event == b"19" * 1000
    spool.purge(None)
    spool.close()


def test_dead_letters_become_too_old(spool, clock):
    """After 14 days."""
    old, new = spool.append(rows(1, 2))
    spool.bury(buried(old))
    clock.now += 13 * 86_400
    spool.bury(buried(new))
    clock.now += 86_401
    spool.expire(0)
    assert [letter.row.id for letter in spool.letters()] == [new]
    assert spool.dead_letters_evicted == 1


def test_many_letters_that_are_too_old_go_at_once(spool, clock):
    """In several transactions, since exports wait for each."""
    spool.bury(buried(*spool.append(rows(*range(250)))))
    clock.now += 14 * 86_400 + 1
    spool.expire(0)
    assert (spool.dead_letters, spool.dead_letters_evicted) == (0, 250)


# bounds


def test_the_size_bound_holds(tmp_path):
    """What does not fit is refused whole; what is taken out makes room."""
    spool = SpoolDirectory(tmp_path / "spool", SpoolOptions(max_bytes=10_000, reserve_bytes=0)).open_own()
    kept = spool.append([row(bytes(4000)), row(bytes(4000))])
    with pytest.raises(SpoolFull, match="10000 at most"):
        spool.append([row(bytes(100)), row(bytes(4000))])
    assert ids(spool) == kept
    spool.append([row(bytes(100))])
    spool.forget(kept)
    spool.append([row(bytes(4000)), row(bytes(4000))])
    assert spool.size_bytes <= 10_000
    spool.clear()
    spool.close()


def test_the_disk_reserve_holds(tmp_path):
    """Where less is free nothing is admitted, and leases keep no bodies; what is there can be taken out."""
    path = tmp_path / "spool"
    first = SpoolDirectory(path, SpoolOptions(reserve_bytes=0)).open_own()
    numbers = first.append(rows(1, 2, 3))
    first.close()
    second = SpoolDirectory(path, SpoolOptions(reserve_bytes=2**60)).open_own()
    with pytest.raises(SpoolFull, match="bytes free"):
        second.append(rows(4))
    second.lease("batch", b"body", numbers[:1])
    second.lease("batch", b"body", numbers[1:2])
    second.forget(numbers[1:2])
    second.close()
    third = SpoolDirectory(path, SpoolOptions(reserve_bytes=2**60)).open_own()
    assert (third.leases(), ids(third)) == ([], [numbers[0], numbers[2]])
    third.clear()
    third.close()


# several threads, several processes


def test_threads_share_commits(spool):
    """Each gets the ids of its own rows, and nothing is lost or doubled."""
    results = {}

    def work(name):
        results[name] = [
            number for turn in range(25) for number in spool.append([row(b"%d.%d" % (name, turn)), row(b"%d" % name)])
        ]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(number for numbers in results.values() for number in numbers) == ids(spool)
    assert all(numbers == sorted(numbers) for numbers in results.values())
    by_id = {each.id: each.event for each in everything(spool)}
    assert all(by_id[number].split(b".")[0] == b"%d" % name for name, numbers in results.items() for number in numbers)
    assert spool.events == 400


def test_beside_the_owner_letters_can_be_moved(directory):
    """The owner sees what another process put back, and its numbers are right again."""
    owner = directory.open_own()
    numbers = owner.append(rows(1, 2, 3))
    owner.bury(buried(*numbers[:2]))
    beside = directory.open_beside(owner.path)
    assert (beside.events, beside.dead_letters) == (1, 2)
    first, second = beside.letters()
    assert (beside.requeue([first.id]), beside.purge([second.id])) == (1, 1)
    beside.close()
    assert owner.last_id() > numbers[-1]
    assert [each.event for each in owner.load(numbers[-1], 10)] == [b"1"]
    assert (owner.events, owner.dead_letters) == (2, 0)
    owner.clear()
    owner.close()


def test_a_closed_spool_says_so(directory):
    spool = directory.open_own()
    spool.close()
    spool.close()
    for use in (lambda: spool.append(rows(1)), lambda: spool.load(0, 1), spool.last_id, lambda: spool.forget([1])):
        with pytest.raises(SpoolError, match="closed"):
            use()


# what is held by others, or removed


def hold(path):
    """Another process, in the middle of a transaction."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    return holder


def test_an_owner_does_not_wait_for_long(directory):
    """An export waits for it. A wait in vain makes the next ones shorter, until one succeeds."""
    spool = directory.open_own()
    kept = spool.append(rows(1))
    beside = hold(spool.path)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(SpoolBusyError, match="locked"):
            spool.append(rows(2))
    assert time.monotonic() - began < 4
    beside.execute("ROLLBACK")
    beside.close()
    kept += spool.append(rows(3))
    assert ids(spool) == kept
    spool.clear()
    spool.close()


def test_somebody_beside_waits_for_the_owner(directory):
    """A command need not be given twice because the owner was writing."""
    owner = directory.open_own()
    owner.bury(buried(*owner.append(rows(1))))
    beside = directory.open_beside(owner.path)
    moved = []
    with owner._database.writing():
        command = threading.Thread(target=lambda: moved.append(beside.requeue(None)))
        command.start()
        command.join(0.3)
    command.join(60)
    assert (moved, len(ids(owner))) == ([1], 1)
    beside.close()
    owner.clear()
    owner.close()


def test_a_commit_does_not_wait_for_another_thread_for_long(spool):
    """Whatever that does."""
    with spool._database.reading(), pytest.raises(SpoolBusyError, match="other threads"):
        spool.append(rows(1))
    assert spool.append(rows(2)) == [1]
    spool.clear()


def removed(spool):
    shutil.rmtree(spool.path.parent)


def made_anew(spool):
    shutil.rmtree(spool.path.parent)
    spool.path.parent.mkdir(mode=0o700)


def unlinked(spool):
    spool.path.unlink()


def replaced(spool):
    """By an older copy, say."""
    for suffix in ("-wal", "-shm"):
        spool.path.with_name(spool.path.name + suffix).unlink()
    spool.path.unlink()
    sqlite3.connect(spool.path).close()
    spool.path.touch()


@pytest.mark.parametrize("lose", [removed, made_anew, unlinked, replaced])
def test_what_was_removed_in_use_is_put_back(directory, lose):
    """Nothing is written to it any more; what it held is readable, and all of it is in the new file as it was."""
    spool = directory.open_own()
    numbers = spool.append(rows(*range(6)))
    spool.lease("batch", b"body", numbers[:2])
    spool.bury(buried(numbers[5]))
    before = spool.path
    lose(spool)
    assert not spool.has_file
    for write in (lambda: spool.append(rows(7)), lambda: spool.forget(numbers), lambda: spool.purge(None)):
        with pytest.raises(SpoolMovedError, match="removed or replaced"):
            write()
    assert ids(spool) == numbers[2:5]
    directory.restore(spool)
    assert (spool.has_file, spool.has_lock, spool.path == before) == (True, True, False)
    numbers += spool.append(rows(7))
    spool.close()
    again = directory.open_own() if lose is not replaced else directory.open_alone(spool.path)
    assert ids(again) == [*numbers[2:5], numbers[6]]
    assert [(lease.batch_id, lease.body, list(lease.rows)) for lease in again.leases()] == [
        ("batch", b"body", numbers[:2])
    ]
    assert [letter.row.event for letter in again.letters()] == [b"5"]
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
    again.clear()
    again.purge(None)
    again.close()


def test_what_took_the_name_is_left_alone(directory):
    """Another one's file of that name keeps its log when the removed one is closed."""
    spool = directory.open_own()
    numbers = spool.append(rows(1))
    path = spool.path
    made_anew(spool)
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (c); INSERT INTO t VALUES (42);")
    directory.restore(spool)
    assert path.with_name(path.name + "-wal").stat().st_size
    with closing(sqlite3.connect(path)) as again:
        assert again.execute("SELECT c FROM t").fetchall() == [(42,)]
    assert ids(spool) == numbers
    other.close()
    spool.clear()
    spool.close()


def test_what_cannot_be_put_back_can_be_read(directory):
    """No directory can be made where a file is; later it can."""
    spool = directory.open_own()
    numbers = spool.append(rows(1, 2))
    removed(spool)
    directory.path.write_text("not a directory")
    with pytest.raises(SpoolError, match="not a directory"):
        directory.restore(spool)
    assert ids(spool) == numbers
    directory.path.unlink()
    directory.restore(spool)
    spool.forget(numbers)
    spool.close()
    assert list(directory.path.iterdir()) == []


def test_a_lock_that_was_removed_is_taken_again(directory):
    """Before another process could; if that was faster, it is its file."""
    spool = directory.open_own()
    numbers = spool.append(rows(1))
    lock = spool.path.with_suffix(".lock")
    lock.unlink()
    assert (spool.has_file, spool.has_lock) == (True, False)
    directory.restore(spool)
    directory.restore(spool)
    assert (spool.has_lock, ids(spool), directory.owner(spool.path)) == (True, numbers, os.getpid())
    lock.unlink()
    faster = FileLock.take(lock)
    with pytest.raises(SpoolError, match="another process has taken it over"):
        directory.restore(spool)
    faster.release()
    directory.restore(spool)
    spool.clear()
    spool.close()
