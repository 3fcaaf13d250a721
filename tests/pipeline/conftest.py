"""Endpoints on real sockets, exporters that send to them, and the check that nothing got lost without a count."""

import time

import pytest
from rum_threads import join_own_threads

from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter
from otel_rum_exporter.testing import CREDENTIALS, LocalRum


@pytest.fixture(autouse=True)
def _clean_environment(clean_environment):
    """For all tests here."""


@pytest.fixture
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS[1])


@pytest.fixture(scope="session")
def local_rum():
    with LocalRum(separate_process=False) as rum:
        yield rum


@pytest.fixture
def rum(local_rum, _credentials):
    """An endpoint that verifies signatures, idle, empty, without faults; the environment holds its credentials."""
    deadline = time.monotonic() + 30
    while local_rum.stats()["in_flight"]["now"] and time.monotonic() < deadline:
        time.sleep(0.05)  # a request of the test before hangs until its client gives up
    yield local_rum
    local_rum.clear_faults()
    local_rum.reset()


class Exporters:
    """A span and a log exporter of one configuration, and all that they lost or delivered."""

    def __init__(self, rum, **options):
        self.rum = rum
        self.answers_get_lost = False
        self.delivered_by_others = 0
        self.spans = RumSpanExporter(**options)
        self.logs = RumLogRecordExporter(**options)

    def stats(self):
        return self.spans.stats()

    def shutdown(self, timeout_millis=None):
        self.spans.shutdown(timeout_millis)
        self.logs.shutdown(timeout_millis)

    def check(self):
        """Conservation: both equations hold, and what counts as delivered is what arrived, with what others delivered."""
        stats = self.stats()
        assert stats.is_balanced, stats
        arrived, delivered = self.rum.stats()["events_distinct"], stats.delivered + self.delivered_by_others
        assert arrived >= delivered if self.answers_get_lost else arrived == delivered, stats


@pytest.fixture
def exporters(rum):
    """Makes exporters that send to the endpoint; afterwards they are shut down and conservation is checked."""
    made = []

    def make(**options):
        defaults = {
            "app_monitor_id": "11111111-2222-3333-4444-555555555555",
            "region": "us-east-1",
            "endpoint": rum.endpoint,
            "flush_interval": 60_000,
            "shutdown_timeout": 30_000,  # for slow machines
            "domain": "shop.example",
            "session_start": "off",
        }
        made.append(Exporters(rum, **(defaults | options)))
        return made[-1]

    yield make
    for each in made:
        each.shutdown(timeout_millis=0)
    join_own_threads()
    for each in made:
        each.check()
