"""The benchmark itself: that it measures every figure, compares what it says, and leaves its numbers."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import chart
import pytest
import quota_spent
import report
from candidates import check_floor
from gateway_bodies import KINDS, SESSIONS, bodies
from rows import Row, ratios
from spans import make_spans

from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import decode
from otel_rum_exporter.gateway.signals import Encoding, Signal

SCRIPT = Path(__file__).with_name("bench.py")
SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.nightly
def test_the_benchmark_fills_its_table_and_writes_every_number(tmp_path):
    """Each candidate is measured in each arrangement, with the requests it is meant to send, and each figure is there."""
    numbers = tmp_path / "numbers.json"
    printed = run("--quick", "--json", numbers)
    found = json.loads(numbers.read_text(encoding="utf-8"))
    for kind, candidates in (("cpu_us_per_span", 4), ("encoding_us_per_span", 4), ("export_ms", 4)):
        assert list(found["cpu"][kind]) == ["1", "10", "100"]
        for by_name in found["cpu"][kind].values():
            assert len(by_name) == candidates
            assert all(len(values) == found["settings"]["rounds"] and min(values) > 0 for values in by_name.values())
    assert {row["verdict"] for row in found["table"]} <= {"met", "MISSED", "-"}
    figures = " ".join(row["figure"] for row in found["table"])
    for what in ("a request", "floor", "export()", "span.end() p99", "queued event", "session's context", "RSS",
                 "in rotation", "oracle", "longest wait", "importing", "first export"):  # fmt: skip
        assert what in figures
    assert all(row["figure"] in printed for row in found["table"])


@pytest.mark.nightly
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads resident memory from /proc")
def test_a_soak_is_drawn(tmp_path):
    """Nothing is lost, and the plot is XML that a browser takes."""
    svg = tmp_path / "soak.svg"
    assert " 0 lost" in run("soak", "--seconds", 2, "--svg", svg)
    assert len(list(ET.parse(svg).iter(f"{SVG}polyline"))) == 3  # noqa: S314 - it has just been written


def test_the_floor_is_the_floor_of_this():
    """What the exporter is compared with writes the same bytes."""
    check_floor(make_spans(300, 100))


def test_a_ratio_is_of_its_round():
    """The median of the ratios counts, not the ratio of the medians; without a target there is no verdict."""
    row = Row("figure", "at most 1", ratios([1.0, 20.0, 3.0], [2.0, 10.0, 4.0]), 1.0)
    assert (row.measured, row.verdict) == ("0.75 (0.50-2.00)", "met")
    assert Row("figure", "at most 1", [1.01], 1.0).verdict == "MISSED"
    assert Row("figure", "shown only", [1.01], None).verdict == "-"


def test_a_rate_has_to_be_reached():
    """Of what should be much the median must not be less."""
    assert Row("figure", "at least 5", [4.0, 5.0, 9.0], None, least=5.0).verdict == "met"
    assert Row("figure", "at least 5", [4.0, 4.9, 9.0], None, least=5.0).verdict == "MISSED"


@pytest.mark.nightly
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads CPU time and memory from /proc")
def test_the_gateway_is_measured(tmp_path):
    """Each figure is there, everything that was answered with 200 was delivered, and the shares of the time make all of it."""
    numbers = tmp_path / "numbers.json"
    printed = run("gateway", "--seconds", 4, "--rounds", 1, "--json", numbers)
    found = json.loads(numbers.read_text(encoding="utf-8"))
    assert len(found["table"]) == 7 + len(found["variants"])
    assert {row["verdict"] for row in found["table"]} <= {"met", "MISSED", "-"}
    assert all(row["figure"] in printed for row in found["table"])
    for name in ("receive", "decode", "spool: commit", "request", "gunzip"):
        assert f"| {name}" in printed


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_say_the_same_in_both_encodings_and_differ_each_time(kind):
    """Each record is valid, of the sessions there are; a body that is sent again has other ids."""
    seen = []
    for encoding in Encoding:
        for number, body in enumerate(bodies(kind, encoding.name.lower()), 1):
            decoded = [
                decode(Signal.TRACES, encoding, body.with_trace(each), BodyLimits())
                for each in (number, number + 10**6)
            ]
            assert [len(each.items) for each in decoded] == [body.spans, body.spans]
            first, again = ({item.context.trace_id for item in each.items} for each in decoded)
            assert len(first) == len(again) == 1
            assert first != again
            seen.append([(item.context, item.attributes) for item in decoded[0].items])
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    assert len({attributes["session.id"] for items in seen for _, attributes in items}) == SESSIONS


def test_the_oracle():
    """A request takes what arrives within the linger, of one session; the hundredth event lets it go."""
    arrivals = [(0.0, 1), (1.0, 2), (4.0, 1), (5.5, 1), *((20.0, 3) for _ in range(101))]
    assert sorted(quota_spent._oracle(arrivals, 5.0)) == [5.0, 6.0, 10.5, 20.0, 25.0]


def test_the_table_goes_between_its_marks(tmp_path):
    """What a document says around it stays; a document without a place for it is not touched."""
    page = tmp_path / "page.md"
    page.write_text("\n".join(["before", *report.MARKS, "after"]), encoding="utf-8")
    for figure in ("old", "new"):
        report.write(page, report.markdown([Row(figure, "at most 1", [0.5], 1.0)]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    assert "| new | at most 1 | 0.50 | met |" in text
    assert "old" not in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.write(page, [])


def test_a_plot():
    """Values stand where their axis says: the highest tick is at or above the largest value."""
    drawn = ET.fromstring(chart.draw("t < u", "s", [1.0, 2.0], [chart.Panel("p & q", [0.0, 30.0])]))  # noqa: S314 - see above
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert {"t < u", "p & q", "0", "32", "0 s", "2 s"} <= set(texts)
    (line,) = drawn.iter(f"{SVG}polyline")
    low, high = (float(point.split(",")[1]) for point in line.get("points").split())
    assert low > high
