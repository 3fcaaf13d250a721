"""Gunzip as bodies arrive: whole, in parts, joined; what is torn, foreign or a bomb is refused."""

import gzip
import random
import tracemalloc
import zlib

import pytest

from otel_rum_exporter.gateway.inflate import Inflating
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge

LIMIT = 4 * 1024 * 1024
MB = 10**6


def inflated(body, chunk_bytes=65536, max_bytes=LIMIT):
    inflating = Inflating(max_bytes)
    for start in range(0, len(body), chunk_bytes):
        inflating.feed(body[start : start + chunk_bytes])
    return inflating.finish()


@pytest.fixture(scope="module")
def bomb():
    """1 GiB of zeros."""
    deflating = zlib.compressobj(9, wbits=31)
    parts = [deflating.compress(bytes(2**20)) for _ in range(2**10)]
    return b"".join([*parts, deflating.flush()])


@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096, 10**7])
@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 600_000])
def test_bodies_in_parts(size, chunk_bytes):
    """However the network cuts them, and however they fall into what is inflated at once."""
    content = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    assert inflated(gzip.compress(content, mtime=0), chunk_bytes) == content


def test_no_body():
    """Nothing at all is no gzip that ends early."""
    assert Inflating(LIMIT).finish() == b""


@pytest.mark.parametrize("chunk_bytes", [1, 25, 10**6])
def test_joined_members(chunk_bytes):
    """Gzip files may be joined, as RFC 1952 has it."""
    assert inflated(gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two"), chunk_bytes) == b"one two"


def test_the_limit_itself():
    """As many bytes as allowed are allowed, one more is too many."""
    assert len(inflated(gzip.compress(bytes(1000)), max_bytes=1000)) == 1000
    with pytest.raises(TooLarge, match="more than 999 bytes after gzip"):
        inflated(gzip.compress(bytes(1000)), max_bytes=999)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"\x1f\x8b",
        gzip.compress(b"x" * 100)[:-1],
        gzip.compress(b"x")[:-8] + bytes(8),
        gzip.compress(b"x") + b"y",
    ],
    ids=["not gzip", "a header", "torn", "wrong checksum", "something behind"],
)
def test_not_gzip(body):
    """What Content-Encoding lies about is refused."""
    with pytest.raises(Malformed, match="gzip"):
        inflated(body)


def test_many_members():
    """Each member costs a copy of what follows it, so that there cannot be many."""
    with pytest.raises(Malformed, match="more than 64 gzip members"):
        Inflating(LIMIT).feed(gzip.compress(b"") * 50_000)


@pytest.mark.parametrize("chunk_bytes", [16_384, 10**8], ids=["in parts", "whole"])
def test_bomb(bomb, chunk_bytes):
    """1 MiB that would become 1 GiB is refused with less than 10 MB taken: what the limit allows, and a little."""
    assert len(bomb) < 1.1 * MB
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflated(bomb, chunk_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * MB
