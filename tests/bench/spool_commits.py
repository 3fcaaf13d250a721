"""How many events a second the spool keeps and hands out: `python tests/bench/spool_commits.py [directory]`."""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import NewRow, SpoolOptions

ROWS = [NewRow("6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11", bytes(200), os.urandom(800), 0) for _ in range(50)]
COMMITS = 1000


def append(spool, size, commits):
    for _ in range(commits):
        spool.append(ROWS[:size])


def together(spool, threads):
    """Single events from several threads, which share commits."""
    workers = [threading.Thread(target=append, args=(spool, 1, COMMITS)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def drain(spool):
    while found := spool.load(0, 100):
        numbers = [each.id for each in found]
        spool.lease("batch", bytes(50_000), numbers)
        spool.forget(numbers)


def timed(title, events, action, *arguments):
    begun = time.perf_counter()
    action(*arguments)
    print(f"{title:<42} {events / (time.perf_counter() - begun):>9,.0f} events/s")  # noqa: T201 - a report


def main(parent):
    for fsync in (True, False):
        with tempfile.TemporaryDirectory(dir=parent) as path:
            mode = "FULL" if fsync else "NORMAL"
            spool = SpoolDirectory(Path(path) / "spool", SpoolOptions(fsync=fsync)).open_own()
            timed(f"{mode}: commits of 50", 50 * COMMITS, append, spool, 50, COMMITS)
            timed(f"{mode}: commits of 1", COMMITS, append, spool, 1, COMMITS)
            timed(f"{mode}: singles of 8 threads, shared", 8 * COMMITS, together, spool, 8)
            timed(f"{mode}: leased and delivered by hundreds", spool.events, drain, spool)
            spool.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
