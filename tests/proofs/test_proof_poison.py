"""Events that the service refuses, in a stream with more to send than may be: what finding them costs the others."""

import threading
import time

import pytest
from proof_app import Spans
from proof_endpoint import check, document, names

from otel_rum_exporter import RumSpanExporter

RATE = 45  # requests a second that the exporter may send
EACH = 20  # events of a batch
RAMP_S = 8  # until it does
POISON = "poison"


def backlog(exporter, batches, one_in):
    """Export so many batches' worth, each of a session of its own; one batch in so many holds an event at fault."""
    spans = Spans(batches)
    for first in range(0, batches * (EACH - 1), 500):
        exporter.export(spans.make("event", range(first, min(first + 500, batches * (EACH - 1)))))
    for number in range(batches * (EACH - 1), batches * EACH):
        is_bad = one_in and number % one_in == 0
        exporter.export(spans.make(POISON if is_bad else "event", [number]))


def stream(rum, options, seconds, one_in):
    """Send for so long. Returns how many events a second were taken, and the share of the requests that bisected."""
    rum.reset()
    exporter = RumSpanExporter(**options, queue_events=10**6, queue_bytes=10**9, flush_interval=600_000)
    backlog(exporter, RATE * (seconds + 4), one_in)
    exporter.force_flush(0)  # all of it is due
    began_at = time.time()
    threading.Event().wait(seconds)
    is_left = exporter.stats().queued > 0
    exporter.shutdown(0)
    check(rum, [document(exporter.stats())], answers_get_lost=True)
    assert is_left, "there was more to send than was sent"
    assert not any(name.startswith(POISON) for name in names(rum))
    requests = [each for each in rum.requests() if began_at + RAMP_S <= each["received_at"] < began_at + seconds]
    taken = sum(each["events"] for each in requests if each["status"] == "200")
    return taken / (seconds - RAMP_S), sum(each["events"] < EACH for each in requests) / len(requests)


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.nightly)])
def test_poison_in_a_stream(options, rum, proof, seconds):
    """With an event at fault in one batch of a hundred the others hardly notice, and no event of theirs is refused."""
    clean, _ = stream(rum, options, seconds, one_in=0)
    rum.set_faults(poison=[POISON])
    taken, bisecting = stream(rum, options, seconds, one_in=100)
    lost = 1 - taken / clean
    proof(
        "C3",
        f"one event at fault in one batch of 100 ({EACH} events each), more to send than {RATE} requests/s, {seconds} s",
        target="goodput - <= 15 %, bisection <= 10 % of the requests",
        measured=f"{clean:.0f} events/s without, {taken:.0f} with ({-100 * lost:+.1f} %), "
        f"bisection {100 * bisecting:.1f} %",
        is_met=lost <= 0.15 and 0 < bisecting <= 0.10,
    )
    assert 0 < bisecting <= 0.2
    assert lost < 0.5
