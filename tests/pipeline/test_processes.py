"""What only a process of its own can show: imports, forks, ends."""

import json
import os
import sys

import pytest
from rum_processes import run

IMPORT = """
    import sys, threading
    import boto3, opentelemetry.sdk.trace.export, opentelemetry.sdk._logs.export  # urllib3 tries a socket, for IPv6
    seen = []
    sys.addaudithook(lambda event, _: event.startswith("socket.") and event != "socket.__new__" and seen.append(event))
    starts = []
    start = threading.Thread.start
    threading.Thread.start = lambda thread: (starts.append(thread.name), start(thread))
    import otel_rum_exporter
    print(seen, starts, threading.active_count())
"""


def test_an_import_does_nothing():
    """It opens no connection, starts no thread and reads no option."""
    done = run(IMPORT, OTEL_EXPORTER_RUM_APP_MONITOR_ID="malformed")
    assert (done.stdout, done.stderr) == ("[] [] 1\n", "")


def test_a_constructor_does_nothing():
    """Neither does an exporter before its first event."""
    script = IMPORT.replace("print(", "otel_rum_exporter.RumSpanExporter(); print(")
    done = run(script, OTEL_EXPORTER_RUM_APP_MONITOR_ID="11111111-2222-3333-4444-555555555555")
    assert (done.stdout, done.stderr) == ("[] [] 1\n", "")


PRELUDE = """
    import json, os, sys, threading
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from otel_rum_exporter import RumSpanExporter

    exporter = RumSpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def work(name):
        provider.get_tracer("shop").start_span(name).end()
"""

FORK = """
    work("of the parent, sent")
    assert exporter.force_flush(30_000)  # the connections are used now
    work("of the parent, queued")
    child = os.fork()
    if not child:
        before = exporter.stats()
        work("of the child")
        is_flushed = exporter.force_flush(30_000)
        after = exporter.stats()
        print(json.dumps([is_flushed, before.received, after.received, after.delivered, after.is_balanced]), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert exporter.force_flush(30_000)
    stats = exporter.stats()
    assert stats.is_balanced and stats.received == 2
    exporter.shutdown()
"""


def names(rum):
    return sorted(event["details"]["name"] for event in rum.events("otel.span"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork(rum):
    """A child with a used pipeline delivers its own, in the parent's session, and leaves the parent's to the parent."""
    done = run(PRELUDE + FORK, **rum.environment())
    assert json.loads(done.stdout) == [True, 0, 1, 1, True]
    assert names(rum) == ["of the child", "of the parent, queued", "of the parent, sent"]
    stats = rum.stats()
    assert (stats["events_duplicate"], stats["sessions"]) == (0, 1)
    assert len(rum.events("session_start_event")) == 1


FORK_WHILE_LOCKED = """
    pipeline = exporter.pipeline
    import otel_rum_exporter.exporters as module
    client = pipeline._client
    locks = [pipeline._changed, client._access._lock, client._watchdog._wake, client._watchdog._left._lock]
    locks += [pipeline._log._lock, module._log._lock, module._shared._lock]
    held, go_on = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.__enter__()
        held.set()
        go_on.wait()
        for lock in reversed(locks):
            lock.__exit__(None, None, None)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        RumSpanExporter(max_events=50, chain_sigterm=True).shutdown()
        work("of the child")
        os._exit(0 if exporter.force_flush(30_000) else 1)
    go_on.set()
    holder.join()
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_another_thread_holds_every_lock(rum):
    """That thread is not in the child, so its locks must not be, either."""
    run(PRELUDE + FORK_WHILE_LOCKED, **rum.environment())
    assert names(rum) == ["of the child"]


FORK_WHILE_A_REQUEST_HANGS = """
    from botocore.httpsession import URLLib3Session
    send, parent, hangs = URLLib3Session.send, os.getpid(), threading.Event()

    def hang(session, request):
        if os.getpid() == parent and not hangs.is_set():
            hangs.set()
            threading.Event().wait()
        return send(session, request)

    URLLib3Session.send = hang
    work("of the parent")
    exporter.force_flush(0)
    assert hangs.wait(30)
    child = os.fork()
    if not child:
        work("of the child")
        assert exporter.force_flush(30_000)
        names = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("Rum"))
        print(json.dumps([names, exporter.stats().delivered, exporter.stats().requests]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert exporter.force_flush(30_000)
    print(json.dumps([exporter.stats().delivered, exporter.stats().requests]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_a_request_hangs(rum):
    """The child has threads of its own, and none that is left behind; the parent gives up the request and goes on."""
    done = run(PRELUDE + FORK_WHILE_A_REQUEST_HANGS, **rum.environment(), OTEL_EXPORTER_RUM_TIMEOUT="2000")
    child, parent = map(json.loads, done.stdout.splitlines())
    assert (set(child[0]), child[1:]) == ({"RumExporter", "RumWatchdog"}, [1, 1])
    assert parent[1] == 2
    assert names(rum) == ["of the child", "of the parent"]


UNNOTICED_FORK = (
    """
    os.register_at_fork = lambda **_: None  # as where C code forks: nobody tells Python
"""
    + PRELUDE.replace("SimpleSpanProcessor(exporter)", "SimpleSpanProcessor(exporter)")
    + FORK
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_that_python_is_not_told_of(rum):
    """The process id tells."""
    run("    import os\n" + UNNOTICED_FORK, **rum.environment())
    assert names(rum) == ["of the child", "of the parent, queued", "of the parent, sent"]


ENDS = {
    "falls off the end": "",
    "sys.exit": "sys.exit(3)",
    "uncaught exception": "raise KeyError('shop')",
    "with a thread that goes on": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_end_of_the_process(rum, end):
    """However the process ends, what was exported is delivered."""
    script = PRELUDE.replace("shutdown_on_exit=False", "") + f"    work('last')\n    {end}\n"
    run(script, check=False, **rum.environment())
    assert names(rum) == ["last"]


AT_EXIT_ONLY = (
    PRELUDE.replace("SimpleSpanProcessor(exporter)", "BatchSpanProcessor(exporter)")
    + """
    import atexit
    for number in range(250):
        work(str(number))
    started = [thread.name for thread in threading.enumerate()]
    assert "RumExporter" not in started
    atexit.register(lambda: (provider.shutdown(), print(exporter.stats().delivered)))
"""
)


def test_delivery_when_no_thread_can_start_any_more(rum):
    """From Python 3.12 on no thread starts at interpreter exit; the flush delivers itself then."""
    done = run(AT_EXIT_ONLY, **rum.environment())
    assert (done.stdout.strip(), rum.stats()["events_distinct"]) == ("251", 251)


NO_THREADS = """
    def refuse(thread):
        raise RuntimeError("can't start new thread")
    work("before")
    threading.Thread.start = refuse
    work("without a thread")
    assert exporter.force_flush(30_000)
    exporter.shutdown()
    print(exporter.stats().delivered)
"""


def test_delivery_where_threads_are_refused(rum):
    """A system without threads to spare still delivers, on the flushing thread."""
    script = PRELUDE + NO_THREADS.replace('work("before")\n', "")
    done = run(script, **rum.environment())
    assert (done.stdout.strip(), names(rum)) == ("2", ["without a thread"])


@pytest.mark.skipif(sys.platform == "win32", reason="another shell")
def test_a_flush_without_threads_keeps_its_deadline(rum):
    """On the flushing thread, too, an endpoint that hangs holds nobody up for long."""
    rum.set_faults(hang=True)
    script = (
        PRELUDE
        + """
    import time
    def refuse(thread):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = refuse
    work("without a thread")
    started = time.monotonic()
    assert not exporter.force_flush(300)
    exporter.shutdown(300)
    assert time.monotonic() - started < 20
    print({str(reason): number for reason, number in exporter.stats().events_dropped.items()})
    """
    )
    done = run(script, **rum.environment())
    assert done.stdout == "{'shutdown': 2}\n"
