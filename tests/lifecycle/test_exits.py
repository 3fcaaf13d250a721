"""The end of a process, however it comes: what was exported before it is delivered, what came too late is counted."""

import pytest

PRELUDE = """
    import atexit, os, signal, sys, threading, time
    from lifecycle_apps import Shop

    atexit.register(lambda: shop.report())  # the last of all
    {before}
    shop = Shop(batch={batch}, shutdown_on_exit=True, flush_interval=600_000)
    {after}
    for number in range(250):
        shop.sell(f"{{number:03}}")
"""

LATER = """
    def work():
        threading.main_thread().join()  # that is, until the main thread has nothing left to do
        for number in range(250, 300):
            shop.sell(number)
    threading.Thread(target=work).start()
"""

ENDS = {
    "end of main": ("", 250),
    "sys.exit": ("sys.exit(0)", 250),
    "uncaught exception": ("raise KeyError('shop')", 250),
    "interrupt": ("signal.raise_signal(signal.SIGINT)", 250),
    "a thread that ends after main": (LATER, 300),
    "a daemon thread that goes on": ("threading.Thread(target=threading.Event().wait, daemon=True).start()", 250),
    "after one second": ("time.sleep(1)", 250),
}


@pytest.mark.parametrize(("end", "events"), ENDS.values(), ids=ENDS)
def test_an_end(applications, conserved, end, events):
    """Nothing is lost, although no batch was due and the SDK has not even exported."""
    applications.run(PRELUDE.format(before="", after="", batch=True) + "\n    " + end, check=False)
    assert conserved.names() == [f"{number:03}" for number in range(events)]
    (report,) = conserved.reports()
    assert (report["delivered"], report["queued"], report["dropped"]) == (events, 0, {})


AT_EXIT = """atexit.register(lambda: shop.sell("at exit"))"""


def test_an_exit_handler_that_exports_before_the_provider_shuts_down(applications, conserved):
    """Exit handlers run last first: one that was registered after the provider's is in time."""
    applications.run(PRELUDE.format(before="", after=AT_EXIT, batch=True))
    assert len(conserved.names()) == 251


def test_an_exit_handler_that_exports_after_the_provider_has_shut_down(applications, conserved):
    """It comes too late: its item is refused and counted, and nothing hangs or raises."""
    _, _, errors = applications.run(PRELUDE.format(before=AT_EXIT, after="", batch=False))
    assert "Traceback" not in errors
    assert len(conserved.names()) == 250
    (report,) = conserved.reports()
    assert report["received"] - report["accepted"] in (0, 1)  # the SDK may hand it over, or drop it itself


WITHOUT_PROVIDER = """
    import atexit, sys
    from lifecycle_apps import Shop

    shop = Shop(flush_interval=600_000)
    def end():
        shop.sell("at exit")
        shop.exporter.shutdown()
        shop.report()
    atexit.register(end)
"""


def test_a_first_event_at_interpreter_exit(applications, conserved):
    """No thread has been started by then and from Python 3.12 on none can be; the shutdown delivers itself."""
    applications.run(WITHOUT_PROVIDER)
    assert conserved.names() == ["at exit"]
