"""Batches as the pipeline hands them to the client, and clients that send them."""

import json

import pytest
from botocore.httpsession import URLLib3Session
from rum_items import MONITOR_ID, START_NS, session

from otel_rum_exporter import RumConfig
from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.client.verdicts import Retry
from otel_rum_exporter.events import AppMonitor, Batch, RumEvent

SESSION_METADATA = '{"version":"1.0.0","domain":"shop.example","platformType":"web"}'
PATH = f"/appmonitors/{MONITOR_ID}/"


def batch(number=1, size=10, session_metadata=SESSION_METADATA):
    details = json.dumps({"version": "1.0.0", "text": "ab" * (size // 2)})
    events = [
        RumEvent(
            id=session(1000 + index),
            timestamp=START_NS / 1e9,
            type="test",
            details=details,
            metadata='{"version":"1.0.0"}' if session_metadata else SESSION_METADATA,
        )
        for index in range(number)
    ]
    return Batch(
        batch_id=session(1),
        monitor=AppMonitor(MONITOR_ID, "shop", "1.0.0", None),
        session_id=session(2),
        user_id=session(3),
        session_metadata=session_metadata,
        events=tuple(events),
    )


ANY = batch(session_metadata=None)
"""One that every botocore can send."""


def client(endpoint, *, clock=None, now=None, **options):
    arguments = {"app_monitor_id": MONITOR_ID, "region": "us-east-1", "endpoint": endpoint} | options
    config = RumConfig.load({name: value for name, value in arguments.items() if value is not None}, {})
    clocks = {name: value for name, value in (("clock", clock), ("now", now)) if value is not None}
    return RumClient(config, **clocks)


def attempt(endpoint, number=1, size=10, **options):
    sender = client(endpoint, **options)
    return sender.attempt(batch(number, size, SESSION_METADATA if sender.knows_session_metadata() else None))


def settled(sender):
    """The verdict once other credentials were looked for, as the delivery goes again at once."""
    verdict = sender.attempt(ANY)
    assert (type(verdict), verdict.cause) == (Retry, "credentials"), verdict
    return sender.attempt(ANY)


def urls_sent_to(sender):
    """Where a client would send a request; it does not leave."""
    sent = []

    def keep(_, request):
        sent.append(request.url)
        raise ConnectionAbortedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", keep)
        with pytest.raises(ConnectionAbortedError):
            sender.attempt(ANY)
    return sent
