"""The highest rate that the endpoint takes, for minutes: memory, threads and the rate of each second, as a plot.

The application's thread exports as fast as there is room in the queue, so that the rate is the one at which events are
delivered, and none is lost. The spans are made beforehand, and exported again and again.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import chart
from candidates import EXPORT_SIZE, chunks, rum_exporter
from memory import is_measurable, resident_bytes
from sink import Sink
from spans import make_spans

_POOL = 40 * EXPORT_SIZE  # spans
_PER_SESSION = 100
_MOST_QUEUED = 9000  # of the 10,000 that there is room for by default
_PAUSE_S = 0.001
_FLUSH_MS = 120_000
_MINUTE_S = 60
_MIB = 2**20


class Sample(NamedTuple):
    """What was seen at one second."""

    second: float
    rss_mib: float
    threads: int
    events_per_s: float


def soak(seconds: int, svg: Path) -> None:
    """Export for so many seconds, print what was seen, and draw it."""
    if not is_measurable():
        sys.exit("only Linux tells how much memory a process has")
    with Sink() as sink:
        samples, statistics, requests = _run(sink, seconds)
    delivered, took_s = statistics.delivered, samples[-1].second
    rates = f"{delivered / took_s:,.0f} events/s in {requests / took_s:,.0f} requests/s"
    lost = sum(statistics.events_dropped.values())
    first, last = samples[min(len(samples) - 1, len(samples) // 10)], samples[-1]
    sys.stdout.write(
        f"{took_s:.0f} s, {delivered:,} events delivered, {lost} lost: {rates}\n"
        f"RSS {first.rss_mib:.1f} MiB after {first.second:.0f} s, {last.rss_mib:.1f} MiB at the end; "
        f"{max(each.threads for each in samples)} threads at most\n"
    )
    panels = [
        chart.Panel("Events delivered, per second", [each.events_per_s for each in samples]),
        chart.Panel("Resident memory, MiB", [each.rss_mib for each in samples]),
        chart.Panel("Threads", [float(each.threads) for each in samples]),
    ]
    title = f"{took_s / 60:.0f} minutes at the highest rate" if took_s >= _MINUTE_S else "At the highest rate"
    svg.write_text(chart.draw(title, rates, [each.second for each in samples], panels), encoding="utf-8")
    sys.stdout.write(f"Drawn: {svg}\n")


def _run(sink: Sink, seconds: int) -> tuple[list[Sample], Any, int]:
    exporter = rum_exporter(sink.url)
    exports = list(chunks(make_spans(_POOL, _PER_SESSION), EXPORT_SIZE))
    samples: list[Sample] = []
    until = time.monotonic() + seconds
    with _sampled(samples, lambda: exporter.stats().delivered):
        for spans in cycle(exports):
            while exporter.stats().queued > _MOST_QUEUED:
                time.sleep(_PAUSE_S)
            exporter.export(spans)
            if time.monotonic() >= until:
                break
        exporter.force_flush(_FLUSH_MS)
    statistics = exporter.stats()
    exporter.shutdown()
    return samples, statistics, sink.counts().requests


@contextmanager
def _sampled(samples: list[Sample], delivered: Callable[[], int]) -> Iterator[None]:
    """Take a sample each second, on a thread that is not counted, and one at the end."""
    is_over = threading.Event()
    began = time.monotonic()

    def sample(last: tuple[float, int]) -> tuple[float, int]:
        second, number = time.monotonic() - began, delivered()
        rate = (number - last[1]) / max(second - last[0], 1e-9)
        samples.append(Sample(second, resident_bytes() / _MIB, threading.active_count() - 1, rate))
        return second, number

    def run() -> None:
        last = (0.0, 0)
        while not is_over.wait(1.0):
            last = sample(last)
        if not samples:
            sample(last)

    sampler = threading.Thread(target=run, name="Sampler")
    sampler.start()
    try:
        yield
    finally:
        is_over.set()
        sampler.join()
