"""The rule tables against the schemas that aws-rum-web publishes."""

import http.client
import random
from urllib.parse import urlsplit

import pytest
import schema_corpus
from jsonschema import Draft202012Validator
from rum_samples import METADATA, event, request, send

from otel_rum_exporter.local import metadata
from otel_rum_exporter.local.schemas import DETAILS, PREFIX

MINIMAL = {
    "session_start_event": {"version": "1.0.0"},
    "page_view_event": {"pageId": "/"},
    "page_close_event": {"pageId": "/", "pageInteractionId": "/-0", "interaction": 0},
    "performance_navigation_event": {"version": "1.0.0", "initiatorType": "navigation", "startTime": 0, "duration": 1},
    "performance_resource_event": {"version": "1.0.0", "initiatorType": "img", "duration": 1, "fileType": "image"},
    "largest_contentful_paint_event": {"version": "1.0.0", "value": 1},
    "first_input_delay_event": {"version": "1.0.0", "value": 1},
    "cumulative_layout_shift_event": {"version": "1.0.0", "value": 0.1},
    "interaction_to_next_paint_event": {"version": "1.0.0", "value": 1},
    "first_contentful_paint_event": {"version": "1.0.0", "value": 1},
    "time_to_first_byte_event": {"version": "1.0.0", "value": 1},
    "time_to_interactive_event": {"version": "1.0.0", "value": 1},
    "js_error_event": {"version": "1.0.0"},
    "http_event": {"version": "1.0.0", "request": {"method": "GET"}},
    "dom_event": {"version": "1.1.0", "event": "click"},
    "xray_trace_event": {"name": "a", "id": "b", "trace_id": "c", "start_time": 1.5},
    "rrweb_event": {"version": "1.0.0", "events": [{"type": 1, "timestamp": 2, "data": None}], "eventCount": 1},
}
"""The required keys of each type, so that the tables are tested without the schemas too."""


@pytest.mark.parametrize("name", DETAILS)
def test_minimal_details_pass_and_lose_nothing(name):
    """The required keys suffice, each is required, and no unknown key is accepted."""
    rule, details = DETAILS[name], MINIMAL[name]
    assert rule(details, "details") is None
    for key in details:
        without = {each: value for each, value in details.items() if each != key}
        assert rule(without, "details") == f"details.{key} is required"
    assert rule({**details, "unknown": 1}, "details") == "details.unknown is unknown"


def test_every_published_type_is_known(schemas):
    """There are rules for exactly the published event types."""
    assert DETAILS.keys() == schemas.keys() - {"meta_data"}


@pytest.mark.parametrize("name", DETAILS)
def test_the_endpoint_refuses_one_mutant_per_rule(rum, schemas, name):
    """A sample with every key gets 200; breaking any one rule of its schema gets 400."""
    schema = schemas[name]
    sample = schema_corpus.sample(schema, schema)
    address = urlsplit(rum.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=5)

    def status(details):
        return send(connection, request(event(details, type=PREFIX + name))).status

    assert status(sample) == 200
    verdicts = {
        label: status(mutant) for label, mutant in schema_corpus.mutants(schema, sample, schema) if label[1:2] == "."
    }
    connection.close()
    assert len(verdicts) >= len(schema["properties"])
    assert {label for label, verdict in verdicts.items() if verdict != 400} == set()


@pytest.mark.parametrize("name", DETAILS)
def test_details_verdicts_equal_the_schema(schemas, name):
    """On samples, mutants and mutants of mutants our tables and a JSON Schema validator agree."""
    schema = schemas[name]
    validator = Draft202012Validator(schema)
    random_numbers = random.Random(name)
    sample = schema_corpus.sample(schema, schema)
    corpus = [value for _, value in schema_corpus.mutants(schema, sample, schema)]
    corpus += [_thinned(sample, random_numbers) for _ in range(100)]
    different = [value for value in corpus if validator.is_valid(value) != (DETAILS[name](value, "details") is None)]
    assert different == []


KEYS = ["title", "interaction", "pageTags", "pageTagsX", "mypageTags", "aws:client", "aws:mine", "mine", "k" * 128]
KEYS += ["k" * 129, "", "a\nb", "version", "domain", "countryCode"]
VALUES = ["text", "t" * 256, "t" * 257, "1.0.0", 0, 1.5, True, None, [], ["a"], ["a", 1], {}]


def test_metadata_verdicts_equal_the_schema(schemas):
    """For each kind of key with each kind of value, and without the required ones, the verdicts agree."""
    validator = Draft202012Validator(schemas["meta_data"])
    known = [key for key in schemas["meta_data"]["properties"] if key not in KEYS]
    corpus = [{**METADATA, key: value} for key in KEYS + known for value in VALUES]
    corpus += [METADATA, {}, {"version": "1.0.0"}, {"domain": "a"}]
    different = [value for value in corpus if validator.is_valid(value) != (metadata.problem_in(value) is None)]
    assert different == []


def _thinned(value, random_numbers):
    """Drop keys at random, at all depths."""
    if isinstance(value, list):
        return [_thinned(each, random_numbers) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _thinned(each, random_numbers) for key, each in value.items() if random_numbers.random() < 0.8}
