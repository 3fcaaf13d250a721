"""What spool files are yet to lose is not forgotten, not tried all the time, and bounded."""

import sqlite3
import threading
import time

import pytest
from spool_tools import all_letters, everything, row, rows

from otel_rum_exporter.spool import owed as module
from otel_rum_exporter.spool.owed import Owed
from otel_rum_exporter.spool.queue import Burial, Spool, SpoolBusyError


class Failures(list):
    """What an owner is told, its monotonic clock, and the file that it set aside."""

    now = 0.0
    aside = None

    def has(self, spool):
        return spool is not self.aside

    def __call__(self, spool, error, trouble):
        self.append((spool, type(error), trouble))

    def clock(self):
        return self.now


@pytest.fixture
def failures():
    return Failures()


@pytest.fixture
def owed(failures):
    return Owed(failures, failures.has, failures.clock)


@pytest.fixture
def hold(spool):
    """Somebody else's connection, to hold the file with."""
    holder = sqlite3.connect(spool.path, isolation_level=None)
    yield holder
    holder.close()


def burials(numbers):
    return [Burial(number, b"{}", "rejected", "no") for number in numbers]


def test_what_is_owed_is_done_at_once(spool, owed, failures):
    """Where nothing stands in the way."""
    numbers = spool.append(rows(1, 2, 3))
    owed.add(spool, rows=numbers[:1], burials=burials(numbers[1:2]))
    assert owed.of(spool) == 2
    owed.settle()
    assert ([each.id for each in everything(spool)], spool.dead_letters, owed.of(spool)) == (numbers[2:], 1, 0)
    assert failures == []


def test_what_fails_is_tried_again(spool, owed, failures, hold):
    """After a rest, with what came meanwhile."""
    numbers = spool.append(rows(1, 2, 3))
    hold.execute("BEGIN IMMEDIATE")
    owed.add(spool, rows=numbers[:1])
    owed.settle()
    hold.execute("ROLLBACK")
    assert [(each, error) for each, error, _ in failures] == [(spool, SpoolBusyError)]
    owed.add(spool, rows=numbers[1:2], burials=burials(numbers[2:]))
    owed.settle()
    assert (spool.events, owed.of(spool)) == (3, 3)
    failures.now += 5
    owed.settle()
    assert (spool.events, spool.dead_letters, owed.of(spool), len(failures)) == (0, 1, 0, 1)


def test_the_last_time_does_not_wait(spool, owed, hold):
    """There is no later."""
    numbers = spool.append(rows(1))
    hold.execute("BEGIN IMMEDIATE")
    owed.add(spool, rows=numbers)
    owed.settle()
    hold.execute("ROLLBACK")
    owed.settle(is_last=True)
    assert spool.events == 0


def test_the_last_time_is_behind_those_who_are_at_it(spool, owed, monkeypatch):
    """Nothing is under way when it is over, and the file may be closed."""
    owed.add(spool, rows=spool.append(rows(1)))
    is_at_it, others_come, forget = threading.Event(), threading.Event(), Spool.forget

    def slow_forget(*arguments):
        is_at_it.set()
        assert others_come.wait(60)
        time.sleep(0.1)
        forget(*arguments)

    monkeypatch.setattr(Spool, "forget", slow_forget)
    other = threading.Thread(target=owed.settle)
    other.start()
    assert is_at_it.wait(60)
    others_come.set()
    owed.settle(is_last=True)
    assert spool.events == 0
    other.join()


def test_who_owes_nothing_does_not_wait_for_those_who_are_at_it(spool, owed, monkeypatch):
    """An export asks, too; a flush waits, since the process may end after it."""
    owed.add(spool, rows=spool.append(rows(1)))
    is_at_it, may_go_on, forget = threading.Event(), threading.Event(), Spool.forget

    def slow_forget(*arguments):
        is_at_it.set()
        assert may_go_on.wait(60)
        forget(*arguments)

    monkeypatch.setattr(Spool, "forget", slow_forget)
    other = threading.Thread(target=owed.settle)
    other.start()
    assert is_at_it.wait(60)
    owed.settle()
    assert spool.events == 1
    may_go_on.set()
    owed.await_others()
    assert spool.events == 0
    other.join()


def test_another_file_is_not_held_up(directory, spool, owed, hold):
    other = directory.open_own()
    hold.execute("BEGIN IMMEDIATE")
    owed.add(spool, rows=[1])
    owed.add(other, rows=other.append(rows(1)))
    owed.settle()
    assert (owed.of(spool), owed.of(other), other.events) == (1, 0, 0)
    hold.execute("ROLLBACK")
    other.close()


def test_what_was_done_is_not_done_again(spool, owed, monkeypatch):
    """Much is done in several transactions; those before the one that failed are over."""
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    numbers = spool.append(rows(*range(5)))
    with spool._database.reading() as connection:  # the fourth row cannot be removed
        connection.execute(
            f"CREATE TRIGGER t BEFORE DELETE ON events WHEN OLD.id = {numbers[3]} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    owed.add(spool, rows=numbers)
    owed.settle()
    assert ([each.id for each in everything(spool)], owed.of(spool)) == (numbers[2:], 3)
    with spool._database.reading() as connection:
        connection.execute("DROP TRIGGER t")
    owed.settle(is_last=True)
    assert spool.events == 0


def test_what_is_owed_is_bounded(spool, owed, monkeypatch):
    """The oldest stay on disk: sent again at a next start rather than held in memory for ever."""
    monkeypatch.setattr(module, "_MAX_ROWS", 3)
    monkeypatch.setattr(module, "_MAX_BURIALS", 2)
    numbers = spool.append([row(b"%d" % number) for number in range(10)])
    owed.add(spool, rows=numbers[:2], burials=burials(numbers[5:7]))
    owed.add(spool, rows=numbers[2:5], burials=burials(numbers[7:]))
    assert owed.of(spool) == 5
    owed.settle()
    assert [each.id for each in everything(spool)] == [*numbers[:2], *numbers[5:8]]
    assert [letter.row.id for letter in all_letters(spool)] == numbers[8:]
    spool.clear()
    spool.purge(None)


def test_a_file_that_is_set_aside_is_owed_nothing(spool, owed, failures):
    numbers = spool.append(rows(1))
    owed.add(spool, rows=numbers)
    owed.drop(spool)
    owed.drop(spool)
    owed.settle()
    failures.aside = spool
    owed.add(spool, rows=numbers)  # by a thread that did not know yet
    owed.settle()
    assert (spool.events, owed.of(spool), failures) == (1, 0, [])
    spool.clear()
