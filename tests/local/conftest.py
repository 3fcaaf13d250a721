"""Endpoints that the tests of one worker share, and AWS's schemas as a validator needs them."""

import pytest
import schema_corpus

from otel_rum_exporter.testing import LocalRum


@pytest.fixture(scope="session")
def strict_endpoint():
    with LocalRum(None, separate_process=False, max_wire_bytes=100_000, max_body_bytes=200_000) as rum:
        yield rum


@pytest.fixture(scope="session")
def lenient_endpoint():
    with LocalRum(None, separate_process=False, strict=False) as rum:
        yield rum


@pytest.fixture
def rum(strict_endpoint):
    """A strict endpoint that verifies no signatures, empty and without faults."""
    yield strict_endpoint
    strict_endpoint.clear_faults()
    strict_endpoint.reset()


@pytest.fixture
def lenient(lenient_endpoint):
    """An endpoint that answers 200 to invalid events, empty."""
    yield lenient_endpoint
    lenient_endpoint.reset()


@pytest.fixture(scope="session")
def schemas(rum_schemas):
    """The JSON schemas of the details by event type, and that of the metadata as ``meta_data``."""
    return schema_corpus.load(rum_schemas)
