"""Forks by every road: children deliver their own events, and leave their parent's to it."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

PRELUDE = """
    import os, signal, sys, threading
    from lifecycle_apps import Shop
    import lifecycle_apps

    shop = Shop(flush_interval=600_000)
    shop.sell("of the parent, sent")
    assert shop.flush()  # the connections are used now
    shop.sell("of the parent")
"""

MULTIPROCESSING = """
    import multiprocessing
    import lifecycle_apps

    if __name__ == "__main__":
        shop = lifecycle_apps.shop = lifecycle_apps.Shop(flush_interval=600_000)
        shop.sell("of the parent, sent")
        assert shop.flush()
        shop.sell("of the parent")
        context = multiprocessing.get_context("{method}")
        children = [context.Process(target=lifecycle_apps.sell_in_child, args=(number,)) for number in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0, child.exitcode
        assert shop.flush()
        shop.report()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.nightly)])
def test_multiprocessing(applications, conserved, method, runs):
    """Four children at once, whose parent has a connection: each event arrives once."""
    expected = sorted([f"of child {child}, {number}" for child in range(4) for number in range(50)])
    for run in range(runs):
        applications.run(MULTIPROCESSING.format(method=method))
        assert conserved.names() == [*expected, "of the parent", "of the parent, sent"], run
        conserved.check()
        conserved.begin_anew()


FORKS_WHILE_LOCKED = """
    from lifecycle_locks import locks_of_package

    locks = locks_of_package()
    print(*sorted(locks))

    def hold(lock, held, go_on):
        with lock:
            held.set()
            go_on.wait()

    for number in range(int(sys.argv[1])):
        name, lock = sorted(locks.items())[number % len(locks)]
        held, go_on = threading.Event(), threading.Event()
        holder = threading.Thread(target=hold, args=(lock, held, go_on))
        holder.start()
        held.wait()
        child = os.fork()
        if not child:
            signal.alarm(30)  # a child that waits for a lock ends by this
            shop.sell(f"{number:03}")
            is_flushed = shop.flush()
            shop.exporter.shutdown()
            shop.report()
            os._exit(0 if is_flushed else 1)
        go_on.set()
        holder.join()
        status = os.waitpid(child, 0)[1]
        assert status == 0, f"{name}: {status}"
    assert shop.flush()
    shop.report()
"""


@pytest.mark.parametrize("forks", [20, pytest.param(100, marks=pytest.mark.nightly)])
def test_forks_while_another_thread_holds_each_of_the_locks(applications, conserved, forks):
    """That thread is not in the child, so its lock must not be, either: the child exports, flushes and shuts down."""
    _, output, _ = applications.run(PRELUDE + FORKS_WHILE_LOCKED, str(forks))
    locks = output.split()
    assert {"Pipeline._changed", "ProcessSession._lock", "CauseLog._lock", "_Shared._lock"} <= set(locks)
    assert len(locks) <= forks, "each of them has its turn"
    assert conserved.names() == [*(f"{number:03}" for number in range(forks)), "of the parent", "of the parent, sent"]


FORK_AT_THE_FIRST_REQUEST = """
    import os, signal, threading
    from lifecycle_apps import Shop
    from otel_rum_exporter.client import access

    shop, parent, get_session = Shop(flush_interval=600_000), os.getpid(), access.get_session
    looks, goes_on = threading.Event(), threading.Event()

    def slow_session():
        if os.getpid() == parent:
            looks.set()
            goes_on.wait()
        return get_session()

    access.get_session = slow_session
    shop.sell("of the parent")
    flushing = threading.Thread(target=shop.flush)
    flushing.start()
    looks.wait()
    child = os.fork()
    if not child:
        shop.sell("of the child")
        is_flushed = shop.flush()
        shop.report()
        os._exit(0 if is_flushed else 1)
    assert os.waitpid(child, 0)[1] == 0
    goes_on.set()
    flushing.join()
    shop.report()
"""


def test_a_fork_while_another_thread_reads_what_botocore_knows(applications, conserved):
    """Which takes a moment, before the first request; the child finds out for itself."""
    applications.run(FORK_AT_THE_FIRST_REQUEST)
    assert conserved.names() == ["of the child", "of the parent"]


IMPORTS = """
    import sys
    from lifecycle_apps import Shop

    shop = Shop(flush_interval=600_000)
    shop.sell("imported by no thread")
    before = set(sys.modules)
    assert shop.flush()
    print(*(name for name in set(sys.modules) - before if name.startswith("encodings.")))
    shop.report()
"""


def test_requests_import_no_codecs(applications):
    """A fork while a thread does so leaves the module's lock held in the child, where every request then waits for it."""
    _, output, _ = applications.run(IMPORTS)
    assert output.split() == []


WITHOUT_A_FLUSH = """
    child = os.fork()
    if not child:
        shop.sell("of the child")
        shop.report()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert shop.flush()
    shop.report()
"""


def test_a_child_that_ends_by_os_exit_loses_what_it_had_queued(applications, conserved):
    """Nothing of Python's runs then, as README says; its parent loses nothing."""
    applications.run(PRELUDE + WITHOUT_A_FLUSH)
    assert conserved.names() == ["of the parent", "of the parent, sent"]
    assert sorted(report["queued"] for report in conserved.reports()) == [0, 1]


OWN_EXPORTER = """
    child = os.fork()
    if not child:
        own = Shop(flush_interval=600_000, is_global=False)
        own.sell("of the child")
        own.provider.shutdown()
        assert own.exporter.stats().delivered == 1
        own.report()
        shop.sell("of the child, by its parent's exporter")
        assert shop.flush()
        shop.report(suffix="-inherited")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert shop.flush()
    shop.report()
"""


def test_a_childs_own_exporter_delivers_when_it_is_shut_down(applications, conserved):
    """Though its parent had one of the same configuration, which nobody may ever shut down there."""
    applications.run(PRELUDE + OWN_EXPORTER)
    of_child = ["of the child", "of the child, by its parent's exporter"]
    assert conserved.names() == [*of_child, "of the parent", "of the parent, sent"]


GRANDCHILDREN = """
    def fork(depth):
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            return
        shop.sell(f"of generation {depth}")
        if depth < 3:
            fork(depth + 1)
        assert shop.flush()
        shop.report()
        os._exit(0)

    fork(1)
    assert shop.flush()
    shop.report()
"""


def test_children_of_children(applications, conserved):
    """Each generation forks with its own events queued, and keeps them."""
    applications.run(PRELUDE + GRANDCHILDREN)
    generations = [f"of generation {depth}" for depth in (1, 2, 3)]
    assert conserved.names() == [*generations, "of the parent", "of the parent, sent"]
    assert [report["delivered"] for report in conserved.reports()].count(1) == 3
