"""Counting a body's messages without parsing it agrees with what the parser finds."""

import json

import payloads
import pytest
from bombs import member
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from payloads import record, request

from otel_rum_exporter.gateway import protobuf_bounds
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.protobuf_bounds import SMALL_BYTES, check
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal

both_signals = pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name.lower())


def counted(signal, body):
    """The messages that the walk finds."""
    bounds = protobuf_bounds._BOUNDS[signal]
    return sum(found is not None for found in protobuf_bounds._members(body, bounds.whole))


def parsed(message):
    """The messages that the parser finds, and the texts that are repeated."""
    count = 0
    for _, value in message.ListFields():
        is_repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        members = value if is_repeated else [value]
        if isinstance(members[0], Message):
            count += len(members) + sum(map(parsed, members))
        elif is_repeated:
            count += len(members)
    return count


def upper_bound(signal, body):
    return len(body.translate(None, protobuf_bounds._BOUNDS[signal].others))


@both_signals
def test_counts_of_what_the_sdk_sends(signal):
    """Every kind of message that the SDK has."""
    _, body = payloads.encoded_by_the_sdk(signal)
    count = parsed(payloads.REQUESTS[signal].FromString(body))
    assert counted(signal, body) == count > 40
    assert upper_bound(signal, body) >= count


def test_counts_of_captures(captures):
    """What real browsers sent."""
    for path in captures.glob("browser-*/*.json"):
        signal = Signal.TRACES if path.stem.endswith("traces") else Signal.LOGS
        body = payloads.body(Encoding.PROTOBUF, signal, json.loads(path.read_bytes()))
        count = parsed(payloads.REQUESTS[signal].FromString(body))
        assert counted(signal, body) == count
        assert count <= upper_bound(signal, body) <= len(body) / 4


@both_signals
@given(st.data())
def test_counts_of_anything_that_parses(signal, data):
    """Whatever order, repetition and unknown members a body has: what the parser builds is counted."""
    tags = st.sampled_from(
        [b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x4a", b"\x5a", b"\x6a", b"\x92\x80\x00"]
    )
    scalars = st.sampled_from([b"\x30\x03", b"\x39" + bytes(8), b"\x85\x01" + bytes(4), b"\xf8\x06\xff\x01"])
    message = st.recursive(
        st.just(b"") | scalars,
        lambda inner: st.lists(st.builds(member, tags, inner) | scalars, max_size=5).map(b"".join),
        max_leaves=20,
    )
    body = member(b"\x0a", member(b"\x12", data.draw(message))) + data.draw(message)
    try:
        count = parsed(payloads.REQUESTS[signal].FromString(body))
    except Exception:  # noqa: BLE001 - what is not protobuf at all is not counted
        return
    assert counted(signal, body) >= count
    assert upper_bound(signal, body) >= counted(signal, body)


def padded(content):
    """The content with unknown text behind it, which makes the body large enough to be looked at."""
    return content + member(b"\xfa\x06", b"x" * SMALL_BYTES)


@both_signals
@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (BodyLimits(records=9), "9 records"),
        (BodyLimits(records=9, elements=52), "9 records"),
        (BodyLimits(elements=49), "49 attributes, values, events and links"),
    ],
    ids=["records", "records where all is counted", "elements"],
)
def test_limits(signal, limits, limit):
    """As many as allowed pass, one more does not."""
    attributes = payloads.pairs({"a": "b", "c": ""})
    document = request(signal, *[record(signal, attributes=attributes)] * 10)
    body = padded(payloads.body(Encoding.PROTOBUF, signal, document))
    assert counted(signal, body) == 2 + 10 * (1 + 4)
    with pytest.raises(TooLarge, match=f"more than {limit}$"):
        check(signal, body, limits)
    check(signal, body, BodyLimits(records=10, elements=counted(signal, body)))


@pytest.mark.parametrize(
    "content",
    [
        b"\x0a\x05\x12\x0a",
        b"\x0a",
        b"\x0a\xff",
        b"\x0a" + b"\xff" * 11,
        b"\x0a\x03\x12\x05\x00",
        b"\x0b\x0c",
        b"\x0f\x00",
        b"\x39\x00",
    ],
    ids=[
        "too long",
        "no length",
        "half a length",
        "a long length",
        "longer than its message",
        "group",
        "wire type",
        "scalar",
    ],
)
@pytest.mark.parametrize("elements", [20, 200_000], ids=["all", "records"])
def test_torn_bodies(content, elements):
    """Lengths that lie do not lead the walk out of its message."""
    body = member(b"\xfa\x06", b"\x12" * SMALL_BYTES) + content
    with pytest.raises(Malformed, match="messages do not end where they say"):
        check(Signal.TRACES, body, BodyLimits(elements=elements))


def test_nesting():
    """The walk follows as many levels as the parser does."""
    value = b""
    for _ in range(500):
        value = member(b"\x2a", member(b"\x0a", value))
    body = padded(member(b"\x0a", member(b"\x12", member(b"\x12", member(b"\x4a", member(b"\x12", value))))))
    with pytest.raises(Malformed, match="messages do not end"):
        check(Signal.TRACES, body, BodyLimits(elements=300))
