"""What the tests of this folder share: the process's memory of callers, new for each test."""

import pytest

from otel_rum_exporter.callers import joining, processors, propagation
from otel_rum_exporter.callers.callers import Callers


@pytest.fixture(autouse=True)
def callers(monkeypatch):
    """A memory of callers that nothing has been written to."""
    fresh = Callers()
    for module in (joining, processors, propagation):
        monkeypatch.setattr(module, "CALLERS", fresh)
    return fresh
