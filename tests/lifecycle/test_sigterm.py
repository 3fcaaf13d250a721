"""SIGTERM with `chain_sigterm`: what was exported is delivered, and then what would have happened without it happens."""

import os
import signal
import threading

import pytest

from otel_rum_exporter import RumSpanExporter

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")

PRELUDE = """
    import os, signal, sys, threading
    from lifecycle_apps import Shop
"""

WAITING = (
    PRELUDE
    + """
    {before}
    shop = Shop(batch={batch}, chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000)
    for number in range(250):
        shop.sell(number)
    print("sold", flush=True)
    {wait}
"""
)

FOREVER = "threading.Event().wait()"
OWN_HANDLER = """
    def own(number, frame):
        assert number == signal.SIGTERM and threading.current_thread() is threading.main_thread()
        print("own handler", shop.exporter.stats().queued, flush=True)
        shop.report()
        os._exit(7)
    signal.signal(signal.SIGTERM, own)
"""


@pytest.mark.parametrize("batch", [False, True], ids=["exported", "still with the SDK"])
def test_the_default_action_comes_after_the_delivery(applications, conserved, batch):
    """Without a handler of its own the process still dies by the signal, with everything delivered."""
    conserved.is_unreported = True
    with applications.start(WAITING.format(before="", batch=batch, wait=FOREVER)) as shop:
        assert shop.read() == "sold"
        shop.signal(signal.SIGTERM)
        code, _, errors = shop.end()
    assert (code, errors) == (-signal.SIGTERM, "")
    assert len(conserved.names()) == 250


def test_the_handler_that_was_there_is_called_after_the_delivery(applications, conserved):
    """It is called on the main thread with its arguments, once nothing is queued any more."""
    with applications.start(WAITING.format(before=OWN_HANDLER, batch=False, wait=FOREVER)) as shop:
        assert shop.read() == "sold"
        shop.signal(signal.SIGTERM)
        code, output, errors = shop.end()
    assert (code, output, errors) == (7, "own handler 0\n", "")
    assert len(conserved.names()) == 250


ENDING = """
    import time
    from otel_rum_exporter import exporters
    flush = exporters.flush_providers
    exporters.flush_providers = lambda timeout_s: (time.sleep(0.5), flush(timeout_s))[1]
    shop = Shop(batch=True, shutdown_on_exit=True, chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000)
    shop.sell("last")
    signal.raise_signal(signal.SIGTERM)
"""


def test_a_program_that_ends_by_itself_meanwhile(applications, conserved):
    """The interpreter waits with its end, by which the SDK would be shut down, and the process dies by the signal."""
    conserved.is_unreported = True
    with applications.start(PRELUDE + ENDING) as shop:
        code, _, errors = shop.end()
    assert (code, errors) == (-signal.SIGTERM, "")
    assert conserved.names() == ["last"]


IGNORING = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
UNTIL_TOLD = """
    sys.stdin.readline()
    shop.sell("after")
    print(shop.flush())
    shop.report()
"""


def test_where_the_signal_was_ignored_the_process_goes_on(applications, conserved):
    """It delivers at SIGTERM, goes on, and delivers at the next one, too."""
    with applications.start(WAITING.format(before=IGNORING, batch=False, wait=UNTIL_TOLD)) as shop:
        assert shop.read() == "sold"
        shop.signal(signal.SIGTERM)
        conserved.rum.wait_for_events(250)
        shop.signal(signal.SIGTERM)
        shop.write("go on")
        assert shop.end() == (0, "True\n", "")
    assert len(conserved.names()) == 251


AGAIN = """
    calls = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(shop.exporter.stats().queued))
    shop = Shop(chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000)
    Shop(chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000, max_events=99).report("-other")
    for number in (1, 2, 3):
        shop.sell(number)
        os.kill(os.getpid(), signal.SIGTERM)
        while len(calls) < number:
            pass
    print(calls)
    shop.report()
"""


def test_a_handler_that_ends_nothing_is_called_once_for_each_signal(applications, conserved):
    """As with a server that reloads; a second exporter does not chain a second time."""
    assert applications.run(PRELUDE + AGAIN)[1] == "[0, 0, 0]\n"
    assert conserved.names() == ["1", "2", "3"]


TIGHT_LOOP = (
    PRELUDE
    + """
    shop = Shop(chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000, queue_events=1_000_000)
    sold = 0
    while True:
        shop.sell(f"{sold:09}")
        sold += 1
        if sold == 200:
            print("selling", flush=True)
"""
)


@pytest.mark.parametrize("run", range(20))
def test_a_signal_inside_export(applications, conserved, run):
    """Whichever of its locks the main thread holds: it ends by the signal, and what was exported before it is there."""
    conserved.is_unreported = True
    with applications.start(TIGHT_LOOP) as shop:
        assert shop.read() == "selling"
        shop.signal(signal.SIGTERM)
        code, _, errors = shop.end()
    assert (code, errors) == (-signal.SIGTERM, ""), run
    names = conserved.names()
    assert len(names) >= 200
    assert names == [f"{number:09}" for number in range(len(names))], "in order and without holes"


HANGING = WAITING.replace("30_000", "500")


def test_an_endpoint_that_hangs_holds_the_end_up_no_longer_than_the_timeout(applications, conserved, rum):
    """The process dies by the signal when the time is up."""
    conserved.is_unreported = True
    conserved.faults = ("hang",)
    rum.set_faults(hang="before")
    with applications.start(HANGING.format(before="", batch=False, wait=FOREVER)) as shop:
        assert shop.read() == "sold"
        shop.signal(signal.SIGTERM)
        code, _, _ = shop.end()
    assert code == -signal.SIGTERM


FORKED = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    shop = Shop(chain_sigterm=True, shutdown_timeout=30_000, flush_interval=600_000)
    shop.sell("of the parent, sent")
    assert shop.flush()
    shop.sell("of the parent")
    children = []
    for number in range(2):
        ready, tell = os.pipe()
        child = os.fork()
        if not child:
            shop.sell(f"of child {number}")
            os.write(tell, b"!")
            try:
                threading.Event().wait()
            finally:
                shop.report()
                os._exit(0)
        os.read(ready, 1)
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == 0
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    finally:
        shop.report()
"""


def test_a_forked_child_inherits_the_handler(applications, conserved):
    """It delivers its own, also when its parent had delivered before, and the parent still its own."""
    applications.run(PRELUDE + FORKED)
    assert conserved.names() == ["of child 0", "of child 1", "of the parent", "of the parent, sent"]
    assert sorted(report["delivered"] for report in conserved.reports()) == [1, 1, 2]


FORKED_WHILE_DELIVERING = """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    shop = Shop(chain_sigterm=True, shutdown_timeout=60_000, flush_interval=600_000)
    shop.sell("of the parent")
    os.kill(os.getpid(), signal.SIGTERM)
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    threading.Event().wait()
"""


def test_a_child_of_a_parent_that_is_delivering_is_not_taken_for_it(applications, conserved, rum):
    """Its own SIGTERM ends it, although the thread that delivers is the parent's."""
    conserved.is_unreported = True
    conserved.faults = ("hang",)
    rum.set_faults(hang="before")
    with applications.start(PRELUDE + FORKED_WHILE_DELIVERING) as shop:
        assert shop.read() == "3"


def test_beside_the_main_thread_one_line_says_that_it_has_no_effect(options, conserved, caplog):
    """Python sets handlers on the main thread only."""
    before = signal.getsignal(signal.SIGTERM)

    def make():
        for _ in range(2):
            conserved.watch(RumSpanExporter(**options, chain_sigterm=True)).shutdown()

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert caplog.messages == [
        "RUM exporter: chain_sigterm has no effect: only the main thread can set a signal's handler, and not on Windows."
    ]
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_the_option_no_handler_is_set(options, conserved):
    """Signals are the application's business."""
    before = signal.getsignal(signal.SIGTERM)
    conserved.watch(RumSpanExporter(**options)).shutdown()
    assert signal.getsignal(signal.SIGTERM) is before
