"""What is kept in memory: of a queued event, of a session, of everything over many spans.

python memory.py events|sessions|flat URL NUMBER

Each is a process of its own, and prints JSON. The first two count what Python allocated (tracemalloc), the third what
the system says is resident, which only Linux tells.
"""

import gc
import json
import logging
import re
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import floor
from candidates import DOMAIN, EXPORT_SIZE, clean_environment, rum_exporter
from rows import Row
from spans import APP_MONITOR_ID, browser_spans, generate_spans, make_spans

_STATUS = Path("/proc/self/status")
_NEVER_MS = 3_600_000
_PER_SESSION = 50  # half a batch, so that none is due
_WARM_SPANS, _WARM_PER_SESSION = 100_000, 10
"""The spans until memory is to be flat: of as many sessions as are remembered, so that the later ones displace them."""
_FLUSH_EVERY = 8192  # spans: most of the queue's 10,000 events, so that it fills and nothing is dropped
_SAMPLES = 60
_NOISE_MIB = 4.0  # what is in flight at one moment and not at another
_KIB = 1024
_MIB = 1024 * _KIB


def is_measurable() -> bool:
    """Tell whether the system says how much memory a process has."""
    return _STATUS.exists()


def resident_bytes() -> int:
    """Return how much of this process's memory is resident."""
    return 1024 * int(re.search(r"^VmRSS:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)[1])


def events(url: str, number: int) -> dict[str, float]:
    """Return what a queued event takes, and how long its JSON is: its details, and all that a request holds of it."""
    exporter = rum_exporter(url, flush_interval=_NEVER_MS, queue_events=2 * number + EXPORT_SIZE)
    exporter.export(make_spans(EXPORT_SIZE, _PER_SESSION, seed=1))
    of_details, of_events = map(sum, zip(*floor.sizes(generate_spans(number, _PER_SESSION)), strict=True))
    taken = _allocated(lambda: _export(exporter, generate_spans(number, _PER_SESSION)))
    queued = exporter.stats().queued - EXPORT_SIZE
    if queued != number:
        raise RuntimeError(f"{queued} events wait instead of {number}")
    exporter.shutdown(0)
    return {"bytes": taken / number, "details_bytes": of_details / number, "event_bytes": of_events / number}


def sessions(_url: str, number: int) -> dict[str, float]:
    """Return what a session takes: one that called a server, and one whose browser told of pages and of its user."""
    return {
        "bytes": _of_sessions(number, generate_spans(number, 1)),
        "browser_bytes": _of_sessions(number, browser_spans(number)),
    }


def flat(url: str, number: int) -> dict[str, list[float]]:
    """Return how much is resident over the course of many spans. Shape: after how many, and how many bytes."""
    exporter = rum_exporter(url)
    warm = _warm_spans(number)
    spans = (
        span
        for part, per_session in ((warm, _WARM_PER_SESSION), (number - warm, 100))
        for span in generate_spans(part, per_session, seed=per_session)
    )
    after: list[float] = []
    resident: list[float] = []
    done, every = 0, number // _SAMPLES
    while chunk := list(islice(spans, EXPORT_SIZE)):
        exporter.export(chunk)
        done += len(chunk)
        if done // _FLUSH_EVERY != (done - len(chunk)) // _FLUSH_EVERY and not exporter.force_flush(_NEVER_MS):
            raise RuntimeError(f"not everything was delivered: {exporter.stats()}")
        if done // every != (done - len(chunk)) // every:
            after.append(done)
            resident.append(resident_bytes())
    exporter.shutdown()
    return {"spans": after, "bytes": resident}


def _warm_spans(number: int) -> int:
    """Return after how many spans memory is to be flat, of a number that may be small."""
    return min(_WARM_SPANS, number // 3)


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of what each of these returned."""
    queued = found["events"]
    beyond, beyond_all = (queued["bytes"] - queued[name] for name in ("details_bytes", "event_bytes"))
    note = f"{queued['bytes']:.0f} in all; {beyond:.0f} beyond its details' JSON alone, without id, time and type"
    yield Row("a queued event beyond its JSON", "at most 300 bytes", [beyond_all], 300.0, 0, "bytes", note)
    context = found["sessions"]
    for name, what in (("bytes", "called by a server"), ("browser_bytes", "with pages, user and vitals of a browser")):
        yield Row(f"a session's context, {what}", "at most 1.5 KiB", [context[name] / _KIB], 1.5, 2, "KiB")
    if "flat" not in found:
        return
    spans, resident = found["flat"]["spans"], found["flat"]["bytes"]
    number = round(spans[-1])
    warm = _warm_spans(number)
    late = [size / _MIB for after, size in zip(spans, resident, strict=True) if after >= warm]
    growth = max(late) - late[0]
    target = f"flat: at most + {_NOISE_MIB} MiB"
    note = f"{late[0]:.1f} MiB then, {late[-1]:.1f} MiB at the end"
    yield Row(f"RSS over {number:,} spans, after the first {warm:,}", target, [growth], _NOISE_MIB, 1, "MiB", note)


def _export(exporter: Any, spans: Iterable[Any]) -> None:
    spans = iter(spans)
    while chunk := list(islice(spans, EXPORT_SIZE)):
        exporter.export(chunk)


def _allocated(work: Any) -> int:
    """Return how many bytes a piece of work leaves allocated."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def _of_sessions(number: int, spans: Iterable[Any]) -> float:
    """Return what a session takes that is remembered, with nothing of it queued."""
    from otel_rum_exporter.config import RumConfig  # noqa: PLC0415 - not before the environment is clean
    from otel_rum_exporter.convert import Converter  # noqa: PLC0415
    from otel_rum_exporter.sending.ledger import Ledger  # noqa: PLC0415

    config = RumConfig(app_monitor_id=APP_MONITOR_ID, domain=DOMAIN, context_sessions=2 * number, context_bytes=2**40)
    converter, ledger = Converter(config), Ledger(config)

    def remember() -> None:
        for chunk in iter(lambda: list(islice(source, EXPORT_SIZE)), []):
            ledger.join([converter.span(span) for span in chunk], 0.0)

    source = iter(spans)
    taken = _allocated(remember)
    if len(ledger.sessions) != number:
        raise RuntimeError(f"{len(ledger.sessions)} sessions are remembered instead of {number}")
    return taken / number


MEASURES = {"events": events, "sessions": sessions, "flat": flat}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clean_environment()
    sys.stdout.write(json.dumps(MEASURES[sys.argv[1]](sys.argv[2], int(sys.argv[3]))))
