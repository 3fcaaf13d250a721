"""The ways of sending spans that are compared. Each is warm once constructed: its client is made and connected.

Imports stand in the constructors, since a candidate's memory is measured from before its imports.
"""
# ruff: noqa: PLC0415 - see above

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import uuid4

import floor
import msgspec
from spans import APP_MONITOR_ID, make_spans

EXPORT_SIZE = 512
"""Spans of one export; BatchSpanProcessor's default."""

DOMAIN = "shop.example.com"
_FLUSH_MS = 120_000


def chunks(spans: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield a list's parts of at most `size` members."""
    for start in range(0, len(spans), size):
        yield spans[start : start + size]


def clean_environment() -> None:
    """Take the user's own settings out of the environment, so that defaults are defaults."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    for name in list(os.environ):
        if name.startswith(("OTEL_", "AWS_")) or name.upper() in proxies:
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="AKIABENCHMARK",
        AWS_SECRET_ACCESS_KEY="benchmark",  # noqa: S106 - the sink verifies no signatures
        AWS_REGION="us-east-1",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )


class _Candidate:
    def send(self, spans: list[Any], per_request: int) -> None:
        """Export spans and wait until they are delivered."""
        for chunk in chunks(spans, self.export_size(per_request)):
            self.export(chunk)
        self.flush()

    def export_size(self, per_request: int) -> int:
        """Return how many spans to export at once, so that requests carry `per_request`."""
        return per_request

    def flush(self) -> None:
        """Wait until everything is delivered; those that send in `export` have nothing to wait for."""


def rum_exporter(url: str, **options: Any) -> Any:
    """Return this package's exporter with its defaults, except for the options given and for the pace."""
    from otel_rum_exporter.exporters import RumSpanExporter

    # the exporter's own cost is what is measured: the quota's pace would only make it take longer
    options = {"max_requests_per_second": 10_000, "domain": DOMAIN, **options}
    return RumSpanExporter(app_monitor_id=APP_MONITOR_ID, endpoint=url, **options)


def otlp_exporter(url: str, **options: Any) -> Any:
    """Return OpenTelemetry's OTLP/HTTP exporter with its defaults, except for the options given."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=url + "/v1/traces", **options)


class Rum(_Candidate):
    """This package's exporter."""

    def __init__(self, url: str, **options: Any) -> None:
        self.exporter = rum_exporter(url, **options)
        self.send(make_spans(8, 1), 1)

    def export_size(self, _per_request: int) -> int:
        return EXPORT_SIZE

    def export(self, spans: list[Any]) -> None:
        self.exporter.export(spans)

    def flush(self) -> None:
        if not self.exporter.force_flush(_FLUSH_MS):
            raise RuntimeError(f"not everything was delivered: {self.exporter.stats()}")

    def close(self) -> None:
        self.exporter.shutdown()


class RumUncompressed(Rum):
    """The same without gzip."""

    def __init__(self, url: str) -> None:
        super().__init__(url, compression="none")


class Otlp(_Candidate):
    """OpenTelemetry's OTLP/HTTP exporter with its defaults; a request for each export."""

    def __init__(self, url: str) -> None:
        self._exporter = otlp_exporter(url)
        self.send(make_spans(8, 1), 1)

    def export(self, spans: list[Any]) -> None:
        if self._exporter.export(spans).name != "SUCCESS":
            raise RuntimeError("an OTLP export failed")

    def close(self) -> None:
        self._exporter.shutdown()


class Boto3Loop(_Candidate):
    """What one writes in ten lines: group by session, json.dumps, put_rum_events."""

    def __init__(self, url: str) -> None:
        import boto3
        from botocore.config import Config

        self._client = boto3.client("rum", endpoint_url=url, config=Config(inject_host_prefix=False))
        self.send(make_spans(8, 1), 1)

    def export(self, spans: list[Any]) -> None:
        for session_id, events in naive_events(spans).items():
            self._client.put_rum_events(**naive_request(session_id, events))

    def close(self) -> None:
        self._client.close()


CANDIDATES = {"rum": Rum, "rum_uncompressed": RumUncompressed, "otlp": Otlp, "boto3_loop": Boto3Loop}


def naive_events(spans: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Return a session's events as one would write them by hand."""
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        read = span.attributes
        details = {
            "version": "1.0.0",
            "request": {"method": read["http.request.method"], "url": read["url.full"]},
            "response": {"status": read["http.response.status_code"]},
            "trace_id": f"{span.context.trace_id:032x}",
            "segment_id": f"{span.context.span_id:016x}",
        }
        sessions[read["session.id"]].append(
            {
                "id": str(uuid4()),
                "timestamp": span.end_time / 1e9,
                "type": "com.amazon.rum.http_event",
                "details": json.dumps(details),
                "metadata": json.dumps({"version": "1.0.0", "domain": DOMAIN, "platformType": "web"}),
            }
        )
    return sessions


def naive_request(session_id: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of PutRumEvents as one would write them by hand."""
    return {
        "Id": APP_MONITOR_ID,
        "BatchId": str(uuid4()),
        "AppMonitorDetails": {"id": APP_MONITOR_ID, "name": "shop", "version": "2.4.1"},
        "UserDetails": {"sessionId": session_id, "userId": "00000000-0000-0000-0000-000000000000"},
        "RumEvents": events,
    }


# spans to request bodies, without admission, client, signature, compression and socket


def rum_bodies(spans: list[Any], _per_request: int) -> list[bytes]:
    """Return this package's request bodies: conversion, batch assembly, JSON."""
    from otel_rum_exporter.config import RumConfig
    from otel_rum_exporter.convert import Converter
    from otel_rum_exporter.sending.assembly import assemble
    from otel_rum_exporter.sending.batching import Queued, size_of
    from otel_rum_exporter.sessions.context import SessionView
    from otel_rum_exporter.sessions.session import BatchKey

    config = RumConfig(app_monitor_id=APP_MONITOR_ID, domain=DOMAIN)
    conversions = map(Converter(config).span, spans)
    bodies = []
    for session_id, of_session in groupby(conversions, key=lambda conversion: conversion.session):
        queued = []
        for each in of_session:
            key = BatchKey(each.origin.monitor, session_id, each.origin.is_client, each.origin.client)
            queued.extend(Queued(key, draft, 0.0, 0, size_of(draft)) for draft in each.events)
        assembled = assemble(queued, SessionView(), config, session_metadata=True)
        bodies.append(msgspec.json.encode(assembled.batch.request()))
    return bodies


def floor_bodies(spans: list[Any], _per_request: int) -> list[bytes]:
    """Return the same bodies, written by what knows everything beforehand."""
    return floor.bodies(spans, APP_MONITOR_ID, DOMAIN)


def otlp_bodies(spans: list[Any], per_request: int) -> list[bytes]:
    """Return the OTLP exporter's request bodies."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    return [encode_spans(chunk).SerializePartialToString() for chunk in chunks(spans, per_request)]


def naive_bodies(spans: list[Any], _per_request: int) -> list[bytes]:
    """Return the hand-written request bodies."""
    requests = (naive_request(session_id, events) for session_id, events in naive_events(spans).items())
    return [json.dumps(request).encode() for request in requests]


ENCODERS = {"rum": rum_bodies, "floor": floor_bodies, "otlp": otlp_bodies, "boto3_loop": naive_bodies}


def check_floor(spans: list[Any]) -> None:
    """Make sure that the floor yields what the exporter does, byte for byte but for the batch's random id.

    Raises:
        RuntimeError: When it does not: then the floor is the cost of something else.
    """
    for ours, theirs in zip(rum_bodies(spans, 0), floor_bodies(spans, 0), strict=True):
        batch_id, other_id = (msgspec.json.decode(body)["BatchId"].encode() for body in (ours, theirs))
        if ours.replace(batch_id, other_id) != theirs:
            raise RuntimeError(f"the floor's bytes are not the exporter's:\n{theirs[:2000]}\n{ours[:2000]}")
