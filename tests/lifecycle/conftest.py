"""An endpoint in a process of its own, applications that send to it, and the check that nothing got lost."""

import pytest
from lifecycle_conservation import Conservation
from lifecycle_processes import Applications, environment_for

from otel_rum_exporter.testing import LocalRum


@pytest.fixture(scope="session")
def rum_process():
    with LocalRum() as rum:
        yield rum


@pytest.fixture
def rum(rum_process):
    """An endpoint that verifies signatures, empty and without faults."""
    rum_process.clear_faults()
    rum_process.reset()
    return rum_process


@pytest.fixture
def reports(tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def conserved(rum, reports):
    """What every test here ends with: both equations hold, and what was delivered arrived once."""
    conservation = Conservation(rum, reports)
    yield conservation
    conservation.check()


@pytest.fixture
def applications(rum, reports):
    """Starts applications that send to the endpoint."""
    return Applications(environment_for(rum, reports))
