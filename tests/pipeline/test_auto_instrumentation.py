"""`opentelemetry-instrument`, as its users run it: real processes, no code that knows of the exporter."""

import json
import os

import pytest
from rum_processes import INSTRUMENT, run

pytest.importorskip("opentelemetry.distro", reason="opentelemetry-instrument configures nothing without the distro")

MONITOR_ID = "11111111-2222-3333-4444-555555555555"

PLAIN = {
    "OTEL_TRACES_EXPORTER": "rum",
    "OTEL_LOGS_EXPORTER": "rum",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "false",
}

APP = """
    from opentelemetry import trace
    with trace.get_tracer("shop").start_as_current_span("work"):
        pass
    print("done")
"""


def instrumented(script, *, check=True, **environment):
    return run(script, by=[str(INSTRUMENT)], check=check, **{**PLAIN, **environment})


def lines(done):
    return done.stderr.splitlines()


def names(rum):
    return sorted(event["details"]["name"] for event in rum.events("otel.span"))


# nothing to send with


def test_no_app_monitor():
    """The whole stderr: one line that says what to set. The application is unharmed."""
    done = instrumented(APP)
    assert done.stdout == "done\n"
    assert lines(done) == [
        (
            "RUM exporter: No app monitor id: set OTEL_EXPORTER_RUM_APP_MONITOR_ID, or the resource attribute aws.rum.appmonitor.id. "
            "Until then everything is dropped and counted."
        )
    ]


def test_a_malformed_app_monitor():
    """The whole stderr: one line, although both exporters found the problem."""
    done = instrumented(APP, OTEL_EXPORTER_RUM_APP_MONITOR_ID="shop")
    assert done.stdout == "done\n"
    assert lines(done) == [
        (
            "RUM exporter: not configured, everything is dropped and counted: "
            "app_monitor_id (OTEL_EXPORTER_RUM_APP_MONITOR_ID): 'shop' given, "
            "accepted: a UUID such as 12345678-1234-1234-1234-123456789012"
        )
    ]


def test_no_app_monitor_where_opentelemetry_takes_the_log_records():
    """The same line, though the root logger's only handler is then OpenTelemetry's, which shows nothing."""
    by_sdk = {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true", "PYTHONWARNINGS": "ignore"}
    (line,) = lines(instrumented(APP, **by_sdk))
    assert line.startswith("RUM exporter: No app monitor id: ")
    configured = instrumented(f"    import logging\n    logging.basicConfig()\n{APP}", **by_sdk)
    (line,) = lines(configured)
    assert line.startswith("ERROR:otel_rum_exporter.pipeline:RUM exporter: No app monitor id: ")


LOST = "RUM exporter: 2 of 2 events were not delivered before the exporter was shut down: 2 {}"


@pytest.mark.parametrize(
    ("environment", "line", "end"),
    [
        (
            {"OTEL_EXPORTER_RUM_REGION": "us-east-1"},
            (
                "RUM exporter: The app monitor takes nothing at present (unauthorized): Unable to locate credentials; "
                "set AWS credentials, or OTEL_EXPORTER_RUM_AUTH=none if it takes unsigned requests. Its events wait"
            ),
            "still waited",
        ),
        (
            {},
            (
                "RUM exporter: 2 events were dropped (not_configured): You must specify a region. "
                "Set OTEL_EXPORTER_RUM_REGION or AWS_REGION"
            ),
            "not_configured",
        ),
    ],
    ids=["credentials", "region"],
)
def test_something_of_awss_is_missing(environment, line, end):
    """The whole stderr: a line that says what to set, one for the loss; the process ends at once."""
    named = {"OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR_ID, "OTEL_EXPORTER_RUM_DOMAIN": "shop.example"}
    done = instrumented(APP, **named, **environment)
    assert (done.stdout, lines(done)) == ("done\n", [line, LOST.format(end)])


# short lives


ENDS = {
    "at once": "",
    "after a second": "import threading; threading.Event().wait(1)",
    "sys.exit": "import sys; sys.exit(3)",
    "uncaught exception": "raise KeyError('shop')",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_short_life(rum, end):
    """A script delivers its spans however it ends."""
    environment = {**rum.environment(), "OTEL_EXPORTER_RUM_DOMAIN": "shop.example"}
    done = instrumented(f"{APP}    {end}\n", check=False, **environment)
    assert names(rum) == ["work"]
    assert done.stdout == "done\n"
    assert lines(done) == [] or "KeyError" in lines(done)[-1]


STOPPED = """
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""

STOPPED_UVICORN = """
    import os, signal, uvicorn

    async def app(scope, receive, send):
        pass

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            os.kill(os.getpid(), signal.SIGTERM)

    Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off")).run()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("stopped", [STOPPED, STOPPED_UVICORN], ids=["script", "uvicorn"])
def test_sigterm(rum, stopped):
    """A container that is stopped delivers its spans, if a variable asks for that; uvicorn ends by the signal, too."""
    environment = {**rum.environment(), "OTEL_EXPORTER_RUM_DOMAIN": "shop.example"}
    instrumented(APP + stopped, check=False, **environment, OTEL_EXPORTER_RUM_CHAIN_SIGTERM="true")
    assert names(rum) == ["work"]


def test_the_resource_names_the_app_monitor(rum):
    """In OTEL_RESOURCE_ATTRIBUTES, with the service's name and version."""
    environment = rum.environment()
    del environment["OTEL_EXPORTER_RUM_APP_MONITOR_ID"]
    resource = f"aws.rum.appmonitor.id={MONITOR_ID},service.name=shop,service.version=7"
    instrumented(APP, **environment, OTEL_RESOURCE_ATTRIBUTES=resource)
    (request,) = rum.requests()
    assert request["app_monitor_details"] == {"id": MONITOR_ID, "name": "shop", "version": "7"}


# an endpoint that does not answer


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"status": 302}, "RUM exporter: A request failed and will be tried again: 302 "),
        ({"status": 404}, "RUM exporter: The app monitor takes nothing at present (not_found): 404 "),
    ],
    ids=["redirect", "unknown monitor"],
)
def test_an_endpoint_that_is_wrong(rum, fault, line):
    """The process ends at once, all is counted; a line says what went wrong, one how much was lost."""
    rum.set_faults(**fault)
    first, *_, last = lines(instrumented(APP, **rum.environment(), OTEL_EXPORTER_RUM_DOMAIN="shop.example"))
    assert first.startswith(line)
    assert last.startswith(LOST.format(""))


@pytest.mark.parametrize("fault", [{"hang": "before"}, {"status": 503}], ids=["hanging", "down"])
def test_an_endpoint_that_is_down(rum, fault):
    """The process ends within its timeout, all is counted; a line for the cause, if that is known, one for the loss."""
    rum.set_faults(**fault)
    environment = {"OTEL_EXPORTER_RUM_DOMAIN": "shop.example", "OTEL_EXPORTER_RUM_SHUTDOWN_TIMEOUT": "2000"}
    *causes, loss = lines(instrumented(APP, **rum.environment(), **environment))
    assert loss == LOST.format("still waited")
    assert [line[:56] for line in causes] in ([], ["RUM exporter: A request failed and will be tried again: "])


def test_nobody_listens(refused):
    """The process ends within its timeout; the log says why and how much was lost."""
    environment = {
        "OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR_ID,
        "OTEL_EXPORTER_RUM_ENDPOINT": refused,
        "OTEL_EXPORTER_RUM_REGION": "us-east-1",
        "OTEL_EXPORTER_RUM_AUTH": "none",
        "OTEL_EXPORTER_RUM_DOMAIN": "shop.example",
        "OTEL_EXPORTER_RUM_SHUTDOWN_TIMEOUT": "2000",
    }
    done = instrumented(APP, **environment)
    first, second = lines(done)
    assert first.startswith("RUM exporter: A request failed and will be tried again: Could not connect to the endpoint")
    assert first.endswith("Are the region, the endpoint and the network right?")
    assert second == LOST.format("still waited")


# logs of the exporter itself


LOGGING = """
    import json, logging, threading, warnings
    warnings.simplefilter("ignore")
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
    from otel_rum_exporter import RumLogRecordExporter

    seen = []
    class Count(logging.Handler):
        def emit(self, record):
            seen.append(record.name)

    exporter = RumLogRecordExporter(flush_interval=1, max_age=2000)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor({processor})
    root = logging.getLogger()
    root.setLevel({level})
    root.addHandler(Count())
    root.addHandler(LoggingHandler(logging.NOTSET, provider))
    try:
        raise KeyError("shop")
    except KeyError:
        logging.getLogger("shop").exception("failed")
    provider.force_flush()
    flushed = exporter.force_flush(30_000)
    provider.force_flush()
    exporter.force_flush(1000)
    provider.shutdown()
    stats = exporter.stats()
    assert stats.is_balanced
    print(json.dumps([len(seen), stats.accepted, stats.requests, flushed]))
"""


@pytest.mark.parametrize("level", ["logging.WARNING", "logging.DEBUG"])
@pytest.mark.parametrize(
    "processor",
    ["BatchLogRecordProcessor(exporter, schedule_delay_millis=5)", "SimpleLogRecordProcessor(exporter)"],
    ids=["batch", "simple"],
)
def test_no_feedback_loop(refused, level, processor):
    """With a handler on the root logger, what the exporter and its libraries log does not become telemetry."""
    environment = {
        "OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR_ID,
        "OTEL_EXPORTER_RUM_ENDPOINT": refused,
        "OTEL_EXPORTER_RUM_REGION": "us-east-1",
        "OTEL_EXPORTER_RUM_AUTH": "none",
    }
    done = run(LOGGING.replace("{processor}", processor).replace("{level}", level), **environment)
    records, accepted, requests, flushed = json.loads(done.stdout)
    assert (accepted, flushed) == (2, False)  # the session's start, and the application's own exception
    assert (requests < 20, records < 2000) == (True, True)
