"""What a span costs on its way to the service, stage by stage; a process of its own, prints JSON.

python stages.py URL SPANS EVENTS_A_REQUEST

On one thread: each stage for all that an export holds, or a batch, then the next one. Beside the whole process's CPU time
this tells where it goes; what is left are threads that take turns, and waiting for each other.
"""

import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import child
from candidates import DOMAIN, chunks, clean_environment
from cpu import only_new_garbage
from spans import APP_MONITOR_ID, make_spans

PER_REQUEST = (100, 10)

_STAGES = {
    "conversion": "its attributes read, what it is, URL redacted, details as JSON, id",
    "session": "what is remembered of its session",
    "queue": "its buffer, when that is due, what became of it",
    "batch": "pages, users and metadata, order, size",
    "body": "the request's JSON",
    "gzip": "",
    "signature": "SHA-256 of the body, HMAC, headers; botocore's",
    "HTTP": "connection, headers, answer; botocore's, urllib3's and http.client's, and the system's sockets",
}
_REST = "threads"
_EXPORT_SIZE = 500  # a multiple of what a request holds
_PACE = 10_000  # requests a second: out of the way
_STEP_S = 60.0  # of the ledger's clock, by which all that waits is due
_OF_A_REQUEST_S = 0.01

Took = defaultdict[str, float]


def stages(url: str, spans: int, per_request: int) -> dict[str, float]:
    """Return the CPU time of a span by stage. Units: microseconds."""
    line = _Line(url)
    line.take(make_spans(_EXPORT_SIZE, per_request, seed=1), defaultdict(float))  # connected
    given, took = make_spans(spans, per_request, seed=2), defaultdict(float)
    with only_new_garbage():
        for part in chunks(given, _EXPORT_SIZE):
            line.take(part, took)
    line.client.close()
    return {stage: 1e6 * took[stage] / spans for stage in _STAGES}


def measure(url: str, spans: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return the CPU time by stage, of each round, by the number of events in a request."""
    found: dict[str, list[dict[str, float]]] = {str(number): [] for number in PER_REQUEST}
    for _ in range(rounds):
        for number, each in found.items():
            each.append(child.measured(__file__, url, spans, number))
    return found


def table(found: dict[str, Any]) -> Iterator[str]:
    """Yield the stages of a span, for a document: by the number of events in a request, and what OTLP's exporter takes."""
    cpu = found["cpu"]["cpu_us_per_span"]
    columns = {number: _medians(rounds) for number, rounds in found["stages"].items()}
    wholes = {number: median(cpu[number]["rum"]) for number in columns}
    yield "| stage | " + " | ".join(f"us a span, {number} a request" for number in columns) + " | what |"
    yield "| --- |" + " --- |" * (len(columns) + 1)
    for stage, what in _STAGES.items():
        yield _row(stage, [column[stage] for column in columns.values()], what)
    left = [wholes[number] - sum(column.values()) for number, column in columns.items()]
    yield _row(_REST, left, "taking turns, waking each other, caches that another one filled")
    yield _row("all", list(wholes.values()), "measured as one")
    yield _row("OTLP's exporter", [median(cpu[number]["otlp"]) for number in columns], "")
    yield _row("the boto3 loop", [median(cpu[number]["boto3_loop"]) for number in columns], "")


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {stage: median(each[stage] for each in rounds) for stage in _STAGES}


def _row(name: str, values: list[float], what: str) -> str:
    return f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + f" | {what} |"


class _Line:
    """All that an event passes, one after the other."""

    def __init__(self, url: str) -> None:
        # not before the environment is clean
        from otel_rum_exporter.client.access import Access  # noqa: PLC0415
        from otel_rum_exporter.config import RumConfig  # noqa: PLC0415
        from otel_rum_exporter.convert import Converter  # noqa: PLC0415
        from otel_rum_exporter.sending.ledger import Ledger  # noqa: PLC0415

        self.config = RumConfig(
            app_monitor_id=APP_MONITOR_ID, endpoint=url, domain=DOMAIN, max_requests_per_second=_PACE
        )
        self.converter, self.ledger = Converter(self.config), Ledger(self.config)
        self.client = Access(self.config, time.monotonic, _unasked).client()
        self.now = 0.0

    def take(self, spans: list[Any], took: Took) -> None:
        """Take spans in, and deliver them."""
        with timed(took, "conversion"):
            converted = [self.converter.span(each) for each in spans]
        with timed(took, "session"):
            keyed, _ = self.ledger.join(converted, self.now)
        with timed(took, "queue"):
            self.ledger.queue(keyed, [None] * len(keyed), self.now)
        self.now += _STEP_S
        while True:
            self.now += _OF_A_REQUEST_S
            with timed(took, "queue"):
                job = self.ledger.take(self.now)
            if job is None:
                return
            self._deliver(job, took)

    def _deliver(self, job: Any, took: Took) -> None:
        from otel_rum_exporter.client.verdicts import Delivered  # noqa: PLC0415
        from otel_rum_exporter.sending.assembly import assemble  # noqa: PLC0415 - see above

        with timed(took, "batch"):
            session = self.ledger.session_of(job)
            assembled = assemble(job, session, self.config, session_metadata=True)
        with timed(took, "queue"):
            delivery = self.ledger.keep(job, assembled, self.now)
        request = self._request(delivery.part.batch, took)
        with timed(took, "HTTP"):
            answer = self.client.send(request)
        with timed(took, "queue"):
            outcome = self.ledger.settle(delivery, Delivered(), self.now)
        if answer.status_code != 200 or len(outcome.delivered) != len(job):
            raise RuntimeError(f"a batch was not delivered: {answer.status_code}")

    def _request(self, batch: Any, took: Took) -> Any:
        import msgspec  # noqa: PLC0415 - see above

        from otel_rum_exporter.client.put_request import put_request  # noqa: PLC0415

        alone: Took = defaultdict(float)
        with timed(alone, "body"):
            msgspec.json.encode(batch.request())
        with timed(alone, "plain"):
            put_request(batch, self.client, "none")
        with timed(alone, "compressed"):
            request = put_request(batch, self.client, "gzip")
        took["body"] += alone["body"]
        took["signature"] += alone["plain"] - alone["body"]
        took["gzip"] += alone["compressed"] - alone["plain"]
        return request


def _unasked() -> Any:
    raise RuntimeError("only guests' credentials need the time")


@contextmanager
def timed(took: Took, stage: str) -> Iterator[None]:
    """Add this thread's CPU time to a stage's. Units: seconds."""
    begun = time.thread_time()
    yield
    took[stage] += time.thread_time() - begun


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clean_environment()
    sys.stdout.write(json.dumps(stages(sys.argv[1], *map(int, sys.argv[2:]))))
