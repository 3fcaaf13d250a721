"""The golden pairs: each case's OTLP JSON becomes exactly the events beside it."""

import json

import golden
import pytest
from aws_schemas import Schemas

from otel_rum_exporter.events import MAX_EVENT_BYTES

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}") for path in golden.files() for case in golden.cases(path)
]
FAMILIES = {
    "custom", "errors", "http", "interaction", "metadata", "mobile", "navigation", "pages", "resources", "session",
    "trace", "vitals",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pair(case):
    """What comes out is what stands in the file, and nothing else."""
    assert golden.outcome(case) == {name: case[name] for name in golden.OUTCOME if name in case}


@pytest.mark.parametrize("case", CASES)
def test_pair_is_as_the_service_takes_it(case, rum_schemas):
    """Every expected event keeps AWS's schemas and has the size that the service takes."""
    requests, _ = golden.raw_outcome(case)
    schemas = Schemas(rum_schemas)
    assert [problem for request in requests for problem in schemas.problems_of_request(request)] == []


@pytest.mark.parametrize("case", CASES)
def test_ids_and_sizes(case):
    """Events have ids of their own, the same on a second run, and at most 6,144 bytes."""
    requests, _ = golden.raw_outcome(case)
    events = [event for request in requests for event in request["RumEvents"]]
    again = [event["id"] for request in golden.raw_outcome(case)[0] for event in request["RumEvents"]]
    ids = [event["id"] for event in events]
    assert ids == again
    # spans without ids of their own are told apart by nothing else
    assert len(set(ids)) == len(ids)
    assert all(len(event["details"].encode() + event["metadata"].encode()) <= MAX_EVENT_BYTES for event in events)


@pytest.mark.parametrize("path", golden.files(), ids=lambda path: path.stem)
def test_files_are_well_kept(path):
    """Cases have names of their own and say why, and the file is laid out as the rewriting command does it."""
    family = json.loads(path.read_text())
    names = [case["name"] for case in family["cases"]]
    assert len(set(names)) == len(names)
    assert all(case["why"].endswith(".") for case in family["cases"])
    assert path.read_text() == golden.layout(family) + "\n"


def test_families_are_all_there():
    """A folder that was not found would pass every test above."""
    assert {path.stem for path in golden.files()} >= FAMILIES
