"""An endpoint that throttles, hangs or redirects, events it refuses, and credentials that change."""

import threading
import time
from contextlib import contextmanager

import pytest
from proof_app import Spans
from proof_endpoint import check, document
from proof_record import percentile

from otel_rum_exporter import RumSpanExporter
from otel_rum_exporter.testing import CREDENTIALS, LocalRum


@contextmanager
def exporting(rum, **options):
    """An exporter that is shut down at the end; conservation is checked then."""
    exporter = RumSpanExporter(**options)
    try:
        yield exporter
    finally:
        exporter.shutdown(0)
    check(rum, [document(exporter.stats())], answers_get_lost=True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_retry_after(options, rum, proof, status):
    """The whole sender keeps still for as long as it was told."""
    rum.set_faults(status=status, retry_after="2", times=1)
    with exporting(rum, **options, flush_interval=0, max_in_flight=1) as exporter:
        exporter.export(Spans(20).make("event", range(20)))
        rum.wait_for_events(20)
    sent_at = [each["received_at"] for each in rum.requests()]
    proof(
        "B4",
        f"{status} with Retry-After: 2, 20 sessions wait",
        target="no request before 2 s",
        measured=f"next request after {sent_at[1] - sent_at[0]:.2f} s",
        is_met=sent_at[1] - sent_at[0] >= 2,
    )
    assert sent_at[1] - sent_at[0] >= 1.99  # two clocks: the endpoint's, and ours since the answer


def test_one_call_is_one_request(options, rum, proof):
    """boto3 sends nothing again by itself."""
    rum.set_faults(status=500, retry_after="", times=3)
    with exporting(rum, **options, flush_interval=0) as exporter:
        exporter.export(Spans().make("event", range(10)))
        rum.wait_for_events(10)
        assert exporter.force_flush(30_000)
        stats = exporter.stats()
    arrived = rum.stats()["requests"]
    proof(
        "B5",
        "three answers 500, then 200",
        target="requests at the endpoint = calls of PutRumEvents",
        measured=f"{arrived} requests, {stats.requests} calls",
        is_met=arrived == stats.requests,
    )
    assert arrived == stats.requests == 4


def test_an_endpoint_that_hangs(options, rum, proof):
    """Whoever exports does not wait for it; a few requests do, and end in time."""
    rum.set_faults(hang=True)
    took, spans, pause, stuck = [], Spans(100), threading.Event(), 0
    with exporting(rum, **options, flush_interval=0, timeout=1000, max_in_flight=8) as exporter:
        began = time.monotonic()
        for number in range(1000):
            chunk = spans.make("event", [number])
            at = time.perf_counter()
            exporter.export(chunk)
            took.append(time.perf_counter() - at)
        in_flight = rum.stats()["in_flight"]["now"]
        while not exporter.stats().retried and time.monotonic() < began + 60:
            stuck = max(stuck, in_flight)  # the endpoint hears of one that was given up after the next has come
            pause.wait(0.02)
            in_flight = rum.stats()["in_flight"]["now"]
        ended_s = time.monotonic() - began
    p99_ms = 1000 * percentile(took, 0.99)
    proof(
        "B7",
        "the endpoint hangs, 1,000 exports, timeout 1 s",
        target="export() p99 < 5 ms, a request ends at its timeout, <= 8 are stuck",
        measured=f"export() p99 {p99_ms:.2f} ms, first request ended by {ended_s:.2f} s, {stuck} stuck",
        is_met=p99_ms < 5 and ended_s <= 1.5 and stuck <= 8,
    )
    assert stuck <= 8
    assert ended_s < 30
    assert p99_ms < 250


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect(options, rum, proof, status):
    """It is not followed, and nothing counts as delivered."""
    with LocalRum(separate_process=False) as elsewhere:
        rum.set_faults(status=status, headers={"location": f"{elsewhere.endpoint}/appmonitors/x"})
        with exporting(rum, **options) as exporter:
            exporter.export(Spans().make("event", range(10)))
            exporter.force_flush(5_000)
            delivered = exporter.stats().delivered
        followed = elsewhere.stats()["requests"]
    proof(
        "B9",
        f"{status} to another endpoint",
        target="never followed, not delivered",
        measured=f"{followed} requests there, {delivered} of 10 counted as delivered",
        is_met=(followed, delivered) == (0, 0),
    )
    assert rum.stats()["requests"] > 0
    assert (followed, delivered) == (0, 0)


@pytest.mark.parametrize(("poison", "most"), [(1, 15), (2, 27), (3, 37)])
def test_poison(options, rum, proof, poison, most):
    """Bisection finds what the service refuses, and everything else arrives."""
    bad = [f"event.{number}" for number in (37, 71, 99)[:poison]]
    rum.set_faults(poison=[f'"{name}"' for name in bad])
    with exporting(rum, **options) as exporter:
        exporter.export(Spans().make("event", range(100)))
        exporter.force_flush(60_000)
        stats = document(exporter.stats())
    requests = rum.stats()["requests"]
    proof(
        "C1",
        f"{poison} of 100 events refused",
        target=f"the others arrive, <= {most} requests",
        measured=f"{stats['delivered']} arrived, {requests} requests",
        is_met=stats["delivered"] == 100 - poison and requests <= most,
    )
    assert stats["dropped"] == {"rejected": poison}
    assert stats["delivered"] == 100 - poison
    assert requests <= most


def test_an_app_monitor_that_refuses_everything_is_not_shredded(options, rum, proof):
    """A fault of the request shows after a few single events; the batch waits."""
    rum.set_faults(
        status=400, body='{"message": "bad app monitor"}', headers={"x-amzn-errortype": "ValidationException"}
    )
    with exporting(rum, **options) as exporter:
        exporter.export(Spans().make("event", range(100)))
        exporter.force_flush(20_000)
        stats = exporter.stats()
    requests, dropped = rum.stats()["requests"], sum(stats.events_dropped.values())
    proof(
        "C2",
        "every request refused with 400",
        target="parked, not shredded (199 requests)",
        measured=f"{requests} requests, {dropped} of 100 dropped, parked: {next(iter(stats.parked.values()), 'no')}",
        is_met=bool(stats.parked) and requests < 50,
    )
    assert stats.parked
    assert requests < 50


NEW = {"access_key": "AKIAROTATED", "secret_key": "rotated-secret"}


def credentials_file(access_key, secret_key):
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


@pytest.mark.parametrize("is_asked", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["flush", "by itself"])
def test_credentials_that_are_rotated(options, rum, proof, monkeypatch, tmp_path, is_asked):
    """The file changes after the service has refused the old ones: nothing is dropped, no restart is needed."""
    file = tmp_path / "credentials"
    file.write_text(credentials_file(*CREDENTIALS))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    spans = Spans()
    with exporting(rum, **options, flush_interval=100) as exporter:
        exporter.export(spans.make("before", range(10)))
        assert exporter.force_flush(30_000)
        rum.set_credentials(NEW)
        exporter.export(spans.make("after", range(10)))
        assert not exporter.force_flush(5_000)
        parked = exporter.stats().parked
        file.write_text(credentials_file(*NEW.values()))
        changed_at = time.monotonic()
        while is_asked and not exporter.force_flush(5_000) and time.monotonic() < changed_at + 60:
            time.sleep(0.5)  # credentials are looked for every few seconds at most, whoever asks
        rum.wait_for_events(20, timeout_s=400)
        recovered_s = time.monotonic() - changed_at
        dropped = exporter.stats().events_dropped
    proof(
        "C5",
        f"credentials file rotated after 403, {'flush' if is_asked else 'waits for its probe'}",
        target="0 dropped, recovers without restart (probes at 30 s)",
        measured=f"{sum(dropped.values())} dropped, recovered {recovered_s:.1f} s after the change",
        is_met=not dropped and recovered_s <= 60,
    )
    assert parked
    assert not dropped
