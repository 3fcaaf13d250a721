"""In a uWSGI that runs no threads, which tests/lifecycle starts for real: here it is what its module says."""

import socket
import sys
import threading
from types import SimpleNamespace

import pytest
from rum_items import session, span, spans
from rum_threads import own_threads

from otel_rum_exporter import pipeline, uwsgi
from otel_rum_exporter.sending.ledger import Ledger

THREADS, HOOKS = "Set enable-threads = true", "Set py-call-uwsgi-fork-hooks = true"
WITHOUT_THREADS = SimpleNamespace(has_threads=0, opt={})


@pytest.mark.parametrize(
    ("module", "begins"),
    [
        pytest.param(None, None, id="no uWSGI"),
        pytest.param(SimpleNamespace(), None, id="something else of that name"),
        pytest.param(WITHOUT_THREADS, THREADS, id="no threads"),
        pytest.param(SimpleNamespace(has_threads=1, opt={"http": b":80"}), None, id="no master"),
        pytest.param(SimpleNamespace(has_threads=1, opt={"master": True}), HOOKS, id="no hooks"),
        pytest.param(SimpleNamespace(has_threads=1, opt={"master": True, "lazy-apps": True}), None, id="lazy"),
        pytest.param(
            SimpleNamespace(has_threads=1, opt={"master": True, "py-call-uwsgi-fork-hooks": True}), None, id="hooks"
        ),
        pytest.param(
            SimpleNamespace(has_threads=1, opt={"master": True, "py-call-osafterfork": True}), None, id="older hooks"
        ),
    ],
)
def test_what_to_set(monkeypatch, module, begins):
    """What uWSGI lacks is named as its configuration names it; nothing is where it lacks nothing, or is not there."""
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    assert begins in uwsgi.advice() if begins else uwsgi.advice() is None


def test_who_exports_delivers_what_is_due(exporters, rum, monkeypatch, caplog):
    """No thread is started, and nothing waits for a flush; the log says once what to set."""
    monkeypatch.setitem(sys.modules, "uwsgi", WITHOUT_THREADS)
    monkeypatch.setattr("otel_rum_exporter.sending.workers._LONGEST_INLINE_S", 30.0)  # for slow machines
    each = exporters(flush_interval=0)
    for number in range(3):
        each.spans.export(spans(5, session_id=session(number)))
    assert len(rum.wait_for_events(15)) == each.stats().delivered == 15
    assert own_threads() == []
    assert caplog.text.count(THREADS) == 1


def test_what_is_not_due_waits_for_a_later_export_or_a_flush(exporters, rum, monkeypatch):
    """Batches gather as they do elsewhere, and a flush delivers itself."""
    monkeypatch.setitem(sys.modules, "uwsgi", WITHOUT_THREADS)
    each = exporters(flush_interval=60_000)
    for _ in range(20):
        each.spans.export([span(session_id=session(1))])
    assert each.stats().queued == 20
    assert each.spans.force_flush(30_000)
    assert [request["events"] for request in rum.requests()] == [20]


def test_an_endpoint_that_hangs_holds_an_export_up_for_seconds(exporters, monkeypatch):
    """Not for the timeout of a request, which is far longer here; the event is kept for another attempt."""
    monkeypatch.setitem(sys.modules, "uwsgi", WITHOUT_THREADS)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        each = exporters(endpoint=f"http://127.0.0.1:{black_hole.getsockname()[1]}", flush_interval=0, timeout=600_000)
        each.spans.export([span(session_id=session(1))])
        assert (each.stats().queued, each.stats().retried) == (1, {"network": 1})


def test_what_waits_on_disk_is_read(exporters, rum, monkeypatch, tmp_path):
    """Where no thread looks after the spool an export does."""
    monkeypatch.setitem(sys.modules, "uwsgi", WITHOUT_THREADS)
    rum.set_faults(status=404)
    options = {"spool_dir": str(tmp_path / "spool"), "flush_interval": 0}
    before = exporters(**options)
    before.spans.export(spans(20, session_id=session(1)))
    before.shutdown()
    rum.clear_faults()
    before.delivered_by_others = 21
    after = exporters(**options, max_age=3_600_000)
    after.spans.export([span(session_id=session(2))])
    assert after.stats().accepted == 21
    assert after.spans.force_flush(30_000)
    assert after.stats().delivered == 21


def test_threads_that_find_themselves_in_a_worker_at_once_begin_anew_once(exporters, monkeypatch):
    """Where uWSGI does not tell Python of its forks, the first to export notices; whoever comes meanwhile waits for it."""
    each = exporters()
    each.spans.pipeline._pid = -1
    has_begun, goes_on = threading.Event(), threading.Event()

    def slow_ledger(*arguments):
        has_begun.set()
        assert goes_on.wait(60)
        return Ledger(*arguments)

    monkeypatch.setattr(pipeline, "Ledger", slow_ledger)
    exporting = [threading.Thread(target=each.spans.export, args=(spans(1, session_id=session(1)),)) for _ in range(2)]
    exporting[0].start()
    assert has_begun.wait(60)
    exporting[1].start()
    exporting[1].join(0.5)
    goes_on.set()
    for thread in exporting:
        thread.join()
    assert each.stats().received == 2
