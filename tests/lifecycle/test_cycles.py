"""Exporters come and go, and threads come at once: nothing is left behind, and nothing gets lost between them."""

import json
import sys

import pytest

PRELUDE = """
    import gc, json, os, sys, threading
    from lifecycle_apps import Shop, SESSION
    from otel_rum_exporter import RumLogRecordExporter

    def cycle(number):
        # one in so many sends: making a client of boto3 takes a tenth of a second
        shop = Shop(is_global=False, flush_interval=600_000)
        logs = RumLogRecordExporter(session_start="off", flush_interval=600_000)
        if number % one_in == 0:
            shop.sell(number)
        shop.provider.shutdown()
        logs.shutdown()
        return shop

    def joined():
        for thread in threading.enumerate():
            if thread.name.startswith("Rum"):
                thread.join(30)
        gc.collect()

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def held():
        joined()
        return [threading.active_count(), len(os.listdir("/proc/self/fd")), resident()]

    def run(numbers):
        for number in numbers:
            cycle(number).report(f"-{number}")

    cycles, one_in = int(sys.argv[1]), int(sys.argv[2])
    warm = cycles // 10
    run(range(warm))
    before = held()
    run(range(warm, cycles))
    print(json.dumps([before, held()]))
"""

MIB = 1024 * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells")
@pytest.mark.parametrize(("cycles", "one_in"), [(100, 5), pytest.param(1000, 1, marks=pytest.mark.nightly)])
def test_exporters_that_come_and_go(applications, conserved, cycles, one_in):
    """Threads and file descriptors are back where they were; in the long run so is memory, but for what `os` keeps.

    Source: os.register_at_fork cannot be undone; what it keeps of a pipeline is a weak reference.
    """
    _, output, _ = applications.run(PRELUDE, str(cycles), str(one_in), patience_s=20 * 60)
    (threads, files, size), (threads_after, files_after, size_after) = json.loads(output)
    assert threads_after <= threads
    assert files_after <= files
    if cycles >= 1000:
        assert size_after - size < 5 * MIB
    assert conserved.rum.stats()["events_distinct"] == cycles // one_in


THREADS = """
    import sys, threading
    from lifecycle_apps import Shop

    sys.setswitchinterval(1e-6)
    threads, each = 32, int(sys.argv[1])
    shop = Shop(queue_events=10_000_000, queue_bytes=8_000_000_000, flush_interval=100, max_age=3_600_000)
    start = threading.Barrier(threads)

    def work(number):
        start.wait()
        for event in range(each):
            shop.sell("work", session=f"00000000-0000-4000-8000-{number:012}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert shop.exporter.force_flush(1_200_000)
    shop.report()
"""


@pytest.mark.parametrize("each", [1000, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_threads_that_export_at_once(applications, conserved, each):
    """32 threads that take turns every microsecond: both equations hold, and each event arrives once."""
    applications.run(THREADS, str(each), patience_s=20 * 60)
    (report,) = conserved.reports()
    assert (report["received"], report["delivered"], report["dropped"]) == (32 * each, 32 * each, {})
    assert conserved.rum.stats()["events_distinct"] == 32 * each
