"""The queue in one file: what each call does, what it refuses, and its numbers."""

import threading

import pytest
from spool_tools import SESSION, everything, row, rows

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Burial, Lease, NewRow, Row, Spool, SpoolError, SpoolFull, SpoolOptions

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
    assert second.leases() == [Lease(lease, "batch", b"\0body", tuple(numbers[:3]), 10)]
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
