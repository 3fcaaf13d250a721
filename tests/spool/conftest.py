"""Spools in directories of their own, on a clock that stands still until it is told otherwise."""

import pytest
from spool_tools import Clock

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import SpoolOptions


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(tmp_path, clock):
    return SpoolDirectory(tmp_path / "spool", SpoolOptions(reserve_bytes=0, wall=clock))


@pytest.fixture
def spool(directory):
    with_its_end = directory.open_own()
    yield with_its_end
    with_its_end.close()
