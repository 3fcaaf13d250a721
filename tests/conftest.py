"""What all tests share: where they find what is not part of this project, and how hypothesis runs."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from otel_rum_exporter.testing import CREDENTIALS

# how long one example takes says more about the machine's other work than about the code; new examples are for the nights
settings.register_profile(
    "unhurried",
    deadline=None,
    derandomize="RUM_NEW_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture
def clean_environment(monkeypatch, tmp_path):
    """No configuration of this machine: neither AWS's nor OpenTelemetry's."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "OTEL_", "BOTO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def options(rum, clean_environment, monkeypatch):  # noqa: ARG001 - what comes first
    """Options for exporters of this process that send to the endpoint `rum`; its credentials are in the environment."""
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


@pytest.fixture(scope="session")
def rum_schemas():
    """The folder of the JSON schemas that aws-rum-web publishes."""
    return _folder("RUM_SCHEMAS", BESIDE / "rum-schemas", required="RUM_SCHEMAS_REQUIRED" in os.environ)


@pytest.fixture(scope="session")
def captures():
    """The folder of what real clients sent."""
    return _folder("RUM_CAPTURES", BESIDE / "captures", required=False)


def _folder(variable, default, *, required):
    folder = Path(os.environ.get(variable) or default)
    if folder.is_dir():
        return folder
    reason = f"{folder} is not there; {variable} says where else to look"
    return pytest.fail(reason) if required else pytest.skip(reason)
