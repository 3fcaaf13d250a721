"""Gateways on real sockets before an embedded endpoint."""

import pytest
from gateway_requests import Gateway, exporter_table
from gateway_tables import MONITOR, NO_RATES

from otel_rum_exporter.testing import LocalRum


@pytest.fixture(scope="session")
def _local_rum():
    with LocalRum(None, separate_process=False) as rum:
        yield rum


@pytest.fixture
def rum(_local_rum):
    """An endpoint that verifies no signatures, empty, without faults."""
    _local_rum.reset()
    yield _local_rum
    _local_rum.clear_faults()


@pytest.fixture
def gateways(clean_environment, tmp_path):  # noqa: ARG001 - what comes first
    """Makes gateways that send to an endpoint; afterwards they are stopped, and nothing may be lost without a count."""
    made = []

    def make(rum, toml="", *, monitor=MONITOR, **environ):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Gateway(folder, toml + exporter_table(rum, folder, monitor=monitor), environ))
        return made[-1].start()

    yield make
    for each in made:
        each.stop()
        assert each.stats().is_balanced


@pytest.fixture
def gateway(gateways, rum):
    """A gateway as it is without a configuration file, but for its limits by time, which are off."""
    return gateways(rum, NO_RATES)
