"""The end of a process and a flush, with an endpoint that does not answer: how long they take, and what is left."""

import time

import pytest
from proof_app import Spans
from proof_endpoint import check, document, last_report, names

from otel_rum_exporter import RumSpanExporter

QUEUED = 2048
REFUSED, BLACK_HOLE = "refused", "black hole"

OURS = """
import atexit
exporter = RumSpanExporter(session_start="off", **{options})
atexit.register(lambda: print(json.dumps(document(exporter.stats()))))  # the last of all
end_with_spans_queued(exporter, {queued})
"""

OTLP = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
end_with_spans_queued(OTLPSpanExporter(endpoint={url!r}), {queued})
"""


def timed(start, script, patience_s=120, **environment):
    """Run until the process is gone. Returns how long its end took, and what it printed then."""
    with start(script=script, **environment) as process:
        began = float(process.stdout.readline().split()[1])
        output, errors = process.communicate(timeout=patience_s)
        took = time.time() - began
    assert process.returncode == 0, errors
    return took, output


@pytest.fixture
def dead(refused, black_hole):
    return {REFUSED: refused, BLACK_HOLE: black_hole}


@pytest.mark.parametrize(
    ("kind", "is_spooled", "target_s"),
    [(REFUSED, False, 2.5), (BLACK_HOLE, False, 5.5), (REFUSED, True, 2.5), (BLACK_HOLE, True, 2.5)],
)
def test_an_end_with_a_dead_endpoint(start, inherit, rum, dead, proof, tmp_path, kind, is_spooled, target_s):
    """It takes no longer than its deadline; what could not be sent is counted, or arrives with the next process."""
    options = {"spool_dir": str(tmp_path / "spool")} if is_spooled else {}
    script = OURS.format(options=options, queued=QUEUED)
    took, output = timed(start, script, OTEL_EXPORTER_RUM_ENDPOINT=dead[kind])
    report = last_report(output)
    dropped = sum(report["dropped"].values())
    assert report["is_balanced"]
    measured = f"{took:.2f} s, {dropped} counted as dropped"
    lost = 0
    if is_spooled:
        queued = {f"event.{number}" for number in range(QUEUED)}
        inherit(queued, options | {"session_start": "off"})
        lost = len(queued - names(rum))
        measured = f"{took:.2f} s, {lost} lost"
    proof(
        "D1",
        f"exit with {QUEUED:,} spans queued, {kind}, {'with' if is_spooled else 'without'} spool",
        target=f"<= {target_s} s, {'0 lost' if is_spooled else 'all counted'}",
        measured=measured,
        is_met=took <= target_s and not lost and (is_spooled or dropped == QUEUED),
    )
    assert took < target_s + 20
    assert lost == 0
    assert dropped == (0 if is_spooled else QUEUED)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [REFUSED, BLACK_HOLE])
def test_the_end_beside_otlp(start, dead, proof, kind):
    """OpenTelemetry's OTLP/HTTP exporter at the same end, for comparison."""
    took, _ = timed(start, OTLP.format(url=f"{dead[kind]}/v1/traces", queued=QUEUED))
    what = f"the same exit of the OTLP/HTTP exporter, {kind}"
    proof("D1", what, target="shown only", measured=f"{took:.2f} s", is_met=None)
    assert took > 0


@pytest.mark.parametrize("timeout_ms", [200, 1000])
def test_a_flush_of_a_black_hole(options, black_hole, rum, proof, timeout_ms):
    """It returns when it was asked to, and says that not everything was delivered."""
    exporter = RumSpanExporter(**options | {"endpoint": black_hole})
    exporter.export(Spans(30).make("event", range(3000)))
    began = time.monotonic()
    is_delivered = exporter.force_flush(timeout_ms)
    over_ms = 1000 * (time.monotonic() - began) - timeout_ms
    exporter.shutdown(0)
    check(rum, [document(exporter.stats())])
    proof(
        "D2",
        f"force_flush({timeout_ms} ms) into a black hole",
        target="returns False within 100 ms of its timeout",
        measured=f"{is_delivered}, {over_ms:+.0f} ms",
        is_met=not is_delivered and over_ms <= 100,
    )
    assert not is_delivered
    assert over_ms < 10_000
