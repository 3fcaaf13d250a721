"""What all tests share: where they find what is not part of this project, and how hypothesis runs."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# how long one example takes says more about the machine's other work than about the code
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

BESIDE = Path(__file__).resolve().parent.parent.parent / "shared"


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
