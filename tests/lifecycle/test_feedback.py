"""Telemetry about sending telemetry: an outage with every log record exported feeds nothing back."""

import json

import pytest

ROOT_LOGGER = """
    import json, logging, os, sys, threading, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of the SDK's handler; the instrumentations have another now
    from lifecycle_apps import Shop
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, SimpleLogRecordProcessor
    from otel_rum_exporter import RumLogRecordExporter

    options = dict(session_start="off", flush_interval=100, timeout=300, max_age=1_000, shutdown_timeout=500)
    shop = Shop(**options)
    origins = []

    def note(item, events):
        if events:
            origins.append(str(getattr(item.instrumentation_scope, "name", "")))
        return events

    shop.exporter = exporter = RumLogRecordExporter(**options, convert=note)
    provider = LoggerProvider(shutdown_on_exit=False)
    processor = {processor}
    provider.add_log_record_processor(processor)
    logging.basicConfig(level=logging.DEBUG, handlers=[LoggingHandler(logger_provider=provider)])

    until = time.monotonic() + float(sys.argv[1])
    failures = 0
    pause = threading.Event()
    while time.monotonic() < until:
        try:
            raise KeyError(failures)
        except KeyError:
            logging.getLogger("shop").exception("failure %d", failures)
            failures += 1
        pause.wait(0.01)
    provider.force_flush()
    provider.shutdown()
    for thread in threading.enumerate():
        if thread.name.startswith("Rum"):
            thread.join(30)
    stats = exporter.stats()
    print(json.dumps([failures, sorted(set(origins)), len(origins), stats.items_dropped, stats.retried]))
    shop.report()
"""

PROCESSORS = {
    "simple": "SimpleLogRecordProcessor(exporter)",
    "batch": "BatchLogRecordProcessor(exporter, schedule_delay_millis=50)",
}


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS)
@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.nightly)])
def test_a_root_logger_that_exports_everything_while_the_endpoint_is_down(
    applications, conserved, refused, processor, seconds
):
    """Only the application's own records become events: none of this package's, of botocore's or of urllib3's."""
    script = ROOT_LOGGER.format(processor=processor)
    _, output, _ = applications.run(script, str(seconds), patience_s=180, OTEL_EXPORTER_RUM_ENDPOINT=refused)
    failures, origins, events, dropped, retried = json.loads(output)
    assert origins == ["shop"]
    assert events == failures
    assert dropped["self_traffic"] > 0, "botocore has logged, and it was told apart"
    assert retried["network"] > 1
    (report,) = conserved.reports()
    assert (report["delivered"], report["queued"]) == (0, 0)
    assert report["accepted"] == failures
