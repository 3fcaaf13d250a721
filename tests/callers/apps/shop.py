"""What the web applications of the tests do, whatever their framework. None of it knows of RUM, but `status`."""

import logging
import threading

from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger, get_logger_provider

tracer = trace.get_tracer("shop")


def buy(item):
    """Writes a named event within a span."""
    with tracer.start_as_current_span("price", attributes={"item": item}):
        get_logger("shop").emit(LogRecord(event_name="bought", attributes={"item": item}))
    return {"item": item}


def charge(item):
    """Fails."""
    raise LookupError(f"no card for {item}")


def fail(item):
    """Raises in an inner span, whose instrumentation records it, and logs the exception where it is handled."""
    try:
        with tracer.start_as_current_span("charge"):
            charge(item)
    except LookupError:
        logging.getLogger("shop").exception("charging failed")
    return {"item": item}


def job(name):
    """Does something of its own, as a scheduler's thread would."""

    def work():
        with tracer.start_as_current_span(name):
            get_logger("shop").emit(LogRecord(event_name="tidied", attributes={"job": name}))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return {"job": name}


def flush():
    """Delivers, with the SDK's means alone."""
    get_logger_provider().force_flush()
    return {"delivered": trace.get_tracer_provider().force_flush()}


def status():
    """Tells what became of everything so far."""
    from otel_rum_exporter import RumSessionPropagator, statistics  # noqa: PLC0415 - only here it is known

    dropped = {str(reason): number for reason, number in statistics().items_dropped.items()}
    ignored = {reason.value: number for reason, number in RumSessionPropagator().ignored.items()}
    return {"dropped": dropped, "ignored": ignored, "balanced": statistics().is_balanced}


def answer(what, item):
    """Returns what the path `/<what>/<item>` asks for."""
    return {"buy": buy, "fail": fail, "job": job}[what](item)


def control(what):
    """Returns what the tests ask for, of `/control/<what>`."""
    return {"flush": flush, "status": status}[what]()


def serve_forever(server):
    """Tells the port and serves."""
    print(server.server_port, flush=True)  # noqa: T201 - the tests read it
    server.serve_forever()
