"""What a span costs on its way through a gateway, stage by stage; a process of its own, prints JSON.

python gateway_stages.py stages|exporter URL FOLDER SPANS

`stages` does on one thread what the gateway does on many: each stage for all of a request, then the next one.
`exporter` is what the gateway is compared with: the exporter in a process, with the same spool, and OTLP's own decoding
of the requests that the gateway gets.
"""

import json
import logging
import sys
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

from candidates import DOMAIN, EXPORT_SIZE, chunks, clean_environment, rum_exporter
from cpu import only_new_garbage
from gateway_bodies import PER_POST, SESSIONS, bodies, posts
from spans import APP_MONITOR_ID, make_spans
from stages import Took, timed

STAGES = ("decode", "convert", "context", "spool: commit", "batching", "spool: lease", "request", "spool: forget")
ASIDE = ("gunzip", "decode of JSON")

_PACE = 10_000  # requests a second: out of the way
_MOST_QUEUED, _FEW_QUEUED = 9000, 6000  # from 5,000 on batches leave before they are due
_PAUSE_S = 0.005
_FLUSH_MS = 120_000
_PER_POST_S = 0.01  # of the pipeline's clock: 5,000 spans a second, so that batches fill as they do at that rate


def stages(url: str, folder: Path, spans: int) -> dict[str, float]:
    """Return the CPU time of a span by stage. Units: microseconds."""
    took: Took = defaultdict(float)
    line = _Line(url, folder)
    requests = posts("calls", "protobuf", is_gzip=False)
    for _, body, _ in islice(requests, 2 * SESSIONS):  # connected, and each session known
        line.take(body, defaultdict(float))
    done = 0
    with only_new_garbage():
        for _, body, number in requests:
            line.take(body, took)
            done += number
            if done >= spans:
                break
    line.close()
    _aside(took, done)
    return {stage: 1e6 * took[stage] / done for stage in (*STAGES, *ASIDE)}


def exporter(url: str, folder: Path, spans: int) -> dict[str, float]:
    """Return the CPU time of a span in a process, with as many in an export as the gateway gets, or the SDK makes.

    Units:  microseconds.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    rum = rum_exporter(url, spool_dir=folder / "spool", spool_fsync=True)
    rum.export(make_spans(PER_POST, PER_POST, seed=1))
    rum.force_flush(_FLUSH_MS)
    found = {f"exports of {size}": _exported_us(rum, spans, size) for size in (PER_POST, EXPORT_SIZE)}
    rum.shutdown()
    made = [each.with_trace(number) for number, each in enumerate(bodies("calls", "protobuf"))]
    begun = time.process_time()
    for body in made:
        ExportTraceServiceRequest().ParseFromString(body)
    return {**found, "ParseFromString": 1e6 * (time.process_time() - begun) / (PER_POST * len(made))}


def _exported_us(rum: Any, spans: int, size: int) -> float:
    parts = list(chunks(make_spans(spans, PER_POST, seed=size), size))
    room = _MOST_QUEUED
    with only_new_garbage():
        begun = time.process_time()
        for part in parts:
            room -= size
            if room < 0:  # a look at the queue now and then, since each costs something
                while (queued := rum.stats().queued) > _FEW_QUEUED:
                    time.sleep(_PAUSE_S)
                room = _MOST_QUEUED - queued
            rum.export(part)
        if not rum.force_flush(_FLUSH_MS):
            raise RuntimeError(f"not everything was delivered: {rum.stats()}")
        return 1e6 * (time.process_time() - begun) / spans


class _Line:
    """All that an event passes, one after the other."""

    def __init__(self, url: str, folder: Path) -> None:
        # not before the environment is clean
        from otel_rum_exporter.client.rum_client import RumClient  # noqa: PLC0415
        from otel_rum_exporter.config import RumConfig  # noqa: PLC0415
        from otel_rum_exporter.convert import Converter  # noqa: PLC0415
        from otel_rum_exporter.sending.ledger import Ledger  # noqa: PLC0415
        from otel_rum_exporter.spool.store import Store  # noqa: PLC0415

        self.config = RumConfig(
            app_monitor_id=APP_MONITOR_ID,
            endpoint=url,
            domain=DOMAIN,
            session="require",
            spool_dir=folder / "spool",
            spool_fsync=True,
            max_requests_per_second=_PACE,
        )
        self.converter, self.ledger, self.store = Converter(self.config), Ledger(self.config), Store(self.config)
        self.client = RumClient(self.config)
        self.now = 0.0

    def take(self, body: bytes, took: Took) -> None:
        """Take a request in, and deliver what is due."""
        from otel_rum_exporter.gateway.body_limits import BodyLimits  # noqa: PLC0415 - see above
        from otel_rum_exporter.gateway.decoding import decode  # noqa: PLC0415
        from otel_rum_exporter.gateway.signals import Encoding, Signal  # noqa: PLC0415

        self.now += _PER_POST_S
        with timed(took, "decode"):
            items = decode(Signal.TRACES, Encoding.PROTOBUF, body, BodyLimits()).items
        with timed(took, "convert"):
            converted = [self.converter.span(item) for item in items]
        with timed(took, "context"):
            keyed, _ = self.ledger.join(converted, self.now)
        with timed(took, "spool: commit"):
            stored = self.store.keep(keyed)
        with timed(took, "batching"):
            self.ledger.queue(keyed, stored, self.now)
            job = self.ledger.take(self.now)
        while job is not None:
            self._deliver(job, took)
            with timed(took, "batching"):
                job = self.ledger.take(self.now)

    def _deliver(self, job: Any, took: Took) -> None:
        from otel_rum_exporter.sending.assembly import assemble  # noqa: PLC0415 - see above

        with timed(took, "batching"):
            session = self.ledger.session_of(job)
            known = self.client.knows_session_metadata()
            assembled = assemble(job, session, self.config, session_metadata=known)
            delivery = self.ledger.keep(job, assembled, self.now)
        with timed(took, "spool: lease"):
            self.store.lease(delivery)
        with timed(took, "request"):
            verdict = self.client.attempt_or_be_left(delivery.part.batch, _given_up)
        with timed(took, "batching"):
            outcome = self.ledger.settle(delivery, verdict, self.now)
            ended = self.ledger.take_ended()
        if len(outcome.delivered) != len(job):
            raise RuntimeError(f"a batch was not delivered: {verdict}")
        with timed(took, "spool: forget"):
            self.store.owe(ended.forgotten, ())
            self.store.settle()

    def close(self) -> None:
        self.store.close()
        self.client.close()


def _aside(took: Took, spans: int) -> None:
    """Measure what only some requests need."""
    from otel_rum_exporter.gateway.body_limits import BodyLimits  # noqa: PLC0415 - see above
    from otel_rum_exporter.gateway.decoding import decode  # noqa: PLC0415
    from otel_rum_exporter.gateway.inflate import Inflating  # noqa: PLC0415
    from otel_rum_exporter.gateway.signals import Encoding, Signal  # noqa: PLC0415

    limits = BodyLimits()
    for _, body, _ in islice(posts("calls", "protobuf", is_gzip=True), spans // PER_POST):
        with timed(took, "gunzip"):
            inflating = Inflating(limits.decoded_bytes)
            inflating.feed(body)
            inflating.finish()
    for _, body, _ in islice(posts("calls", "json", is_gzip=False), spans // PER_POST):
        with timed(took, "decode of JSON"):
            decode(Signal.TRACES, Encoding.JSON, body, limits)


def _given_up(verdict: Any) -> None:
    raise RuntimeError(f"a batch was not delivered: {verdict}")


MEASURES = {"stages": stages, "exporter": exporter}

if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clean_environment()
    sys.stdout.write(json.dumps(MEASURES[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
