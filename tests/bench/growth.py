"""How the cost of a span grows with the number of sessions; run as a process of its own, prints JSON.

python growth.py SPANS SESSIONS

Sessions take turns, span by span, at 1,000 spans a second of a simulated clock: what is due leaves each half second, and
is not delivered. So a span's share of its batch grows, too: of 100 sessions 50 events go together, of 10,000 each event
goes alone. The sessions' number is reached before anything is measured, as far as sessions are remembered.
"""

import gc
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from candidates import DOMAIN, EXPORT_SIZE, clean_environment
from rows import Row, ratios
from spans import APP_MONITOR_ID, generate_spans

SESSIONS = (1, 100, 10_000, 100_000)
STAGES = ("convert", "context", "batching")

_SPANS_PER_S = 1000
_REMEMBERED = 10_000  # sessions, by default


def measure(number: int, sessions: int) -> dict[str, float]:
    """Return the CPU time of a span by stage. Units: microseconds."""
    from otel_rum_exporter.config import RumConfig  # noqa: PLC0415 - not before the environment is clean
    from otel_rum_exporter.convert import Converter  # noqa: PLC0415
    from otel_rum_exporter.sending.ledger import Ledger  # noqa: PLC0415

    config = RumConfig(app_monitor_id=APP_MONITOR_ID, domain=DOMAIN)
    converter, ledger = Converter(config), Ledger(config)
    # what is due must have begun to leave, too: 5 s of spans
    before = max(6 * _SPANS_PER_S, min(sessions, _REMEMBERED))
    spans = generate_spans(before + EXPORT_SIZE + number, 1, in_rotation=sessions)
    took, now, measured = dict.fromkeys(STAGES, 0.0), 0.0, 0
    for done, chunk in enumerate(_exports(spans)):
        now += len(chunk) / _SPANS_PER_S
        times = _admit(converter, ledger, chunk, now)
        if done * EXPORT_SIZE >= before:
            measured += len(chunk)
            for stage, start, end in zip(STAGES, times, times[1:], strict=False):
                took[stage] += end - start
    return {stage: 1e6 * seconds / measured for stage, seconds in took.items()}


def _exports(spans: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield the spans as exports, with what is there already left out of the garbage collector's rounds."""
    gc.freeze()
    chunk: list[Any] = []
    for span in spans:
        chunk.append(span)
        if len(chunk) == EXPORT_SIZE:
            yield chunk
            chunk = []


def _admit(converter: Any, ledger: Any, spans: list[Any], now: float) -> list[float]:
    """Let spans become queued events, and what is due leave. Returns the moments between the stages."""
    times = [time.thread_time()]
    converted = [converter.span(span) for span in spans]
    times.append(time.thread_time())
    keyed, _ = ledger.join(converted, now)
    times.append(time.thread_time())
    ledger.queue(keyed, [None] * len(keyed), now)
    batches = ledger.dispatch.batches
    while (queued := batches.take(now)) is not None:
        batches.release(queued[0].key)
    times.append(time.thread_time())
    return times


def rows(found: dict[str, list[dict[str, float]]]) -> Iterator[Row]:
    """Yield the rows of what `measure` returned by the number of sessions: one of each round."""
    totals = {int(sessions): [sum(each.values()) for each in rounds] for sessions, rounds in found.items()}
    for sessions, target, most in ((10_000, "shown only", None), (100_000, "at most 1.25", 1.25)):
        figure = f"CPU per span without delivery, {sessions:,} sessions in rotation, of 100"
        stages = {stage: found[str(sessions)][0][stage] - found["100"][0][stage] for stage in STAGES}
        note = ", ".join(f"{stage} {more:+.1f}" for stage, more in stages.items()) + " us"
        yield Row(figure, target, ratios(totals[sessions], totals[100]), most, note=note)


if __name__ == "__main__":
    clean_environment()
    sys.stdout.write(json.dumps(measure(*map(int, sys.argv[1:]))))
