"""Bodies of a few megabytes that would become hundreds are refused before they do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import bombs
import pytest

from otel_rum_exporter.gateway.signals import Encoding

TAKEN = {  # they stay as small as they are
    Encoding.PROTOBUF: {"unknown members among others", "numbers"},
    Encoding.JSON: {"digits", "spaces"},
}
FREES_AT_ONCE = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("encoding", Encoding, ids=lambda encoding: encoding.name.lower())
def test_bombs(encoding):
    """Each takes less than 20 MB and less than 5 seconds, which is for slow machines: it is a tenth of one."""
    command = [sys.executable, bombs.__file__, encoding.name]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env={**os.environ, **FREES_AT_ONCE}
    )
    assert done.returncode == 0, done.stderr
    results = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert set(results) == set(bombs.BOMBS[encoding])
    assert {name for name, (outcome, *_) in results.items() if outcome not in ("TooLarge", "Malformed")} == TAKEN[
        encoding
    ]
    assert {name: grown for name, (_, _, grown) in results.items() if grown > 20} == {}
    assert {name: seconds for name, (_, seconds, _) in results.items() if seconds > 5} == {}
