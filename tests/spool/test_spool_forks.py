"""Forks and SQLite: what it would leave in a child, its own locks and its knowledge of files, harms nobody."""

import os
import signal
import threading

import pytest
from spool_tools import everything, in_child, rows

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.forks import ForkGate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

PATIENCE_S = 60


def test_a_fork_waits_until_nobody_is_inside():
    """And whoever wants to go inside meanwhile waits for the fork."""
    gate, is_closed, is_inside = ForkGate(PATIENCE_S), threading.Event(), threading.Event()

    def fork():
        gate.close()
        is_closed.set()

    def go_inside():
        with gate:
            is_inside.set()

    forking, going = threading.Thread(target=fork), threading.Thread(target=go_inside)
    with gate:
        forking.start()
        assert not is_closed.wait(0.1)
    assert is_closed.wait(PATIENCE_S)
    going.start()
    assert not is_inside.wait(0.1)
    gate.open()
    assert is_inside.wait(PATIENCE_S)
    forking.join()
    going.join()


def test_a_fork_does_not_wait_for_ever():
    """A disk that hangs holds up a thread, and not those that fork."""
    gate = ForkGate(0.0)
    with gate:
        gate.close()
        gate.open()
    with gate:
        pass


def test_a_child_knows_of_nobody_inside():
    """Whoever was inside at the fork is not in the child, also where Python was not told of the fork."""
    gate = ForkGate(PATIENCE_S)
    with gate:
        gate._changed.acquire()
        gate._pid = -1
        with gate:
            pass
        gate.close()


def test_children_of_a_busy_process_use_sqlite(directory):
    """However many threads commit at the fork, none of their locks is left to the child."""
    spool, is_over = directory.open_own(), threading.Event()

    def commit():
        while not is_over.is_set():
            spool.append(rows(*range(50)))

    def use():
        signal.alarm(PATIENCE_S)
        of_child = SpoolDirectory(directory.path).open_own()
        of_child.append(rows(1))
        of_child.clear()
        of_child.close()

    threads = [threading.Thread(target=commit) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(use) for _ in range(20)] == [0] * 20
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    spool.clear()
    spool.close()


def test_a_child_that_takes_over_its_parents_file_keeps_its_log(directory):
    """Somebody who looks at the file meanwhile does not take it for the last one's that has it open, and tidy up."""
    path = directory.path
    adopted, looked, kept = os.pipe(), os.pipe(), os.pipe()

    def parent():
        spool = directory.open_own()
        spool.append(rows(1))
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(adopted[0])
        spool.abandon()
        signal.alarm(PATIENCE_S)
        while not (found := SpoolDirectory(path).adopt()):
            pass  # until the parent has ended
        (heir,) = found
        heir.append(rows(2))
        os.write(adopted[1], b"x")
        os.read(looked[0], 1)
        heir.append(rows(3))
        os.write(kept[1], b"x")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(parent) == signal.SIGKILL
    os.read(adopted[0], 1)
    (file,) = directory.files()
    directory.open_beside(file).close()
    os.write(looked[1], b"x")
    os.read(kept[0], 1)
    last = take_over(directory)
    assert [each.event for each in everything(last)] == [b"1", b"2", b"3"]
    last.clear()
    last.close()
    for end in (*adopted, *looked, *kept):
        os.close(end)


def take_over(directory):
    """The file of a process that is about to end."""
    while not (found := directory.adopt()):
        pass
    return found[0]
