"""How a request to PutRumEvents comes to be, through the events that boto3's clients emit.

boto3 builds the request from everything but the RUM events; they are written here, compressed, and signed by boto3.
"""

from __future__ import annotations

import gzip
import re
from typing import Any

import msgspec

from otel_rum_exporter.client.answers import OPERATION, normalise_retry_after
from otel_rum_exporter.config import Compression

_EVENTS = "otel_rum_exporter.events"  # where a request's context holds them
_SENT = "otel_rum_exporter.secrets"  # where it holds what the service has been shown
_CREDENTIAL = re.compile(r"Credential=([^/]+)")
_MIN_COMPRESSED = 2048  # bytes; below, the saving is not worth the CPU
_MIN_SAVING = 0.8  # of the size; aws-rum-web's threshold
_GZIP_LEVEL = 1


def shape_requests(client: Any, compression: Compression) -> None:
    """Let a client of boto3 send what we write, and take what the service answers."""
    events = client.meta.events
    events.register(f"provide-client-params.rum.{OPERATION}", _hold_events)
    events.register(f"before-call.rum.{OPERATION}", _write_events)
    if compression == "gzip":
        events.register(f"before-call.rum.{OPERATION}", _compress)
    events.register_last("request-created.rum", _note_secrets)  # where boto3 signs, and after that
    events.register(f"before-parse.rum.{OPERATION}", normalise_retry_after)
    events.register(f"after-call.rum.{OPERATION}", _hide_secrets)


def _hold_events(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Keep the events from botocore's validation and serialisation.

    These take three quarters of a request's CPU, and older ones cut timestamps to whole seconds.
    """
    context[_EVENTS] = params["RumEvents"]
    return {**params, "RumEvents": []}


def _write_events(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Write the events into the body that botocore made of the rest, before it is signed."""
    body = msgspec.json.decode(params["body"])
    body["RumEvents"] = context.pop(_EVENTS)
    params["body"] = msgspec.json.encode(body)


def _compress(params: dict[str, Any], **_: Any) -> None:
    """Compress a request's body before it is signed, when that saves enough."""
    body = params["body"]
    if len(body) < _MIN_COMPRESSED:
        return
    compressed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    if len(compressed) <= _MIN_SAVING * len(body):
        params["body"] = compressed
        params["headers"]["Content-Encoding"] = "gzip"


def _note_secrets(request: Any, **_: Any) -> None:
    """Remember what a request shows of the credentials: a service that refuses it may quote it."""
    credential = _CREDENTIAL.search(_text(request.headers.get("Authorization")))
    token = _text(request.headers.get("X-Amz-Security-Token"))
    request.context[_SENT] = (credential[1] if credential else "", token)


def _hide_secrets(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Take out of an error's message what the request showed of the credentials."""
    for place, name in ((parsed.get("Error", {}), "Message"), (parsed, "message")):
        for secret in filter(None, context.get(_SENT, ())):
            if name in place:
                place[name] = str(place[name]).replace(secret, "***")


def _text(header: str | bytes | None) -> str:
    return header.decode("latin-1") if isinstance(header, bytes) else header or ""
