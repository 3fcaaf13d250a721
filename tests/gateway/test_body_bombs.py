"""Bodies of a few megabytes that would become hundreds are refused before they do."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import bombs
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import decode
from otel_rum_exporter.gateway.monitors import MonitorEntry, Monitors
from otel_rum_exporter.gateway.signals import Encoding, Signal

TAKEN = {  # they stay as small as they are
    Encoding.PROTOBUF: {"unknown members among others", "numbers"},
    Encoding.JSON: {"exponents", "digits", "spaces"},
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


@pytest.mark.parametrize("identity", [None, {"service.name": "shop"}], ids=["own name", "the token's"])
def test_scopes_share_their_resource(identity):
    """Its attributes are not copied for each of them: that would be the product of two numbers that senders choose."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    for number in range(2000):
        of_resource.resource.attributes.add(key=f"host.{number}").value.int_value = number
    for number in range(2000):
        scope = of_resource.scope_spans.add()
        scope.scope.name = f"scope {number}"
        span = scope.spans.add(name="work", trace_id=bytes(15) + b"\1", span_id=(number + 1).to_bytes(8, "big"))
        span.start_time_unix_nano = span.end_time_unix_nano = 1_700_000_000_000_000_000
    body = request.SerializeToString()
    listed = Monitors([MonitorEntry(id="11111111-2222-3333-4444-555555555555")])
    converter = Converter(RumConfig())
    tracemalloc.start()
    items = decode(Signal.TRACES, Encoding.PROTOBUF, body, BodyLimits(), identity=identity).items
    kept = [converter.span(item) for item in listed.assigned(items)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 2000
    assert taken < 10 * 1024 * 1024, "2,000 copies would be 150 MiB"
