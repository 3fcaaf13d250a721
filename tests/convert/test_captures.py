"""What real clients sent becomes the events that stand in golden/captures, all of them valid."""

import json

import golden
import pytest
from aws_schemas import Schemas
from straight_line import StraightLine

from otel_rum_exporter import otlp

EXPECTED = [path for folder in ("browser-events", "browser-spans") for path in (golden.CAPTURED / folder).glob("*")]


@pytest.fixture(scope="module")
def outcomes(captures):
    return {folder: golden.captured_outcomes(captures / folder) for folder in ("browser-events", "browser-spans")}


@pytest.mark.parametrize("path", sorted(EXPECTED), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_capture(path, outcomes):
    """One export of a real browser, after those before it."""
    assert outcomes[path.parent.name][path.name] == json.loads(path.read_text())


def test_captures_are_all_expected(outcomes):
    """No file of the captures is left out."""
    names = {(folder, file) for folder, files in outcomes.items() for file in files}
    assert names == {(path.parent.name, path.name) for path in EXPECTED}


@pytest.mark.parametrize("session_metadata", [True, False], ids=["SessionMetadata", "merged"])
@pytest.mark.parametrize("folder", ["browser-events", "browser-spans"])
def test_captured_events_are_as_the_service_takes_them(folder, session_metadata, captures, rum_schemas):
    """Every event of a real browser keeps AWS's schemas, also where each event carries all metadata."""
    line = StraightLine(session_metadata=session_metadata)
    for path in sorted((captures / folder).glob("*.json")):
        line.put(otlp.items(path.read_bytes()))
    schemas = Schemas(rum_schemas)
    requests = line.requests()
    assert requests
    assert [problem for request in requests for problem in schemas.problems_of_request(request)] == []
