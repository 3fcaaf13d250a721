"""An endpoint in a process of its own, applications that send to it, and the check that nothing got lost."""

import os
import socket

import pytest
from lifecycle_conservation import Conservation
from lifecycle_processes import Applications, environment_for

from otel_rum_exporter.testing import CREDENTIALS, LocalRum


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


@pytest.fixture
def options(rum, monkeypatch, tmp_path):
    """Options for exporters of this process; nothing of this machine configures them."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "OTEL_", "BOTO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS[1])
    return {
        "app_monitor_id": "11111111-2222-3333-4444-555555555555",
        "region": "us-east-1",
        "endpoint": rum.endpoint,
        "domain": "shop.example",
        "session_start": "off",
    }


@pytest.fixture
def refused():
    """The URL of a port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
