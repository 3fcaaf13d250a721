"""The benchmark itself: that it runs, compares what it says, and leaves its numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cost_per_span.py")


@pytest.mark.nightly
def test_the_benchmark_prints_its_tables_and_writes_every_number(tmp_path):
    """Tiny numbers: each candidate is measured in each arrangement, with the requests it is meant to send."""
    numbers = tmp_path / "numbers.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--spans", "100", "--json", str(numbers)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "CPU of RumSpanExporter, as a multiple of" in done.stdout
    found = json.loads(numbers.read_text(encoding="utf-8"))
    for kind, candidates in (("cpu_us_per_span", 4), ("encoding_us_per_span", 3), ("export_ms", 4)):
        assert list(found[kind]) == ["1", "10", "100"]
        for by_name in found[kind].values():
            assert len(by_name) == candidates
            assert all(len(values) == found["settings"]["rounds"] and min(values) > 0 for values in by_name.values())
