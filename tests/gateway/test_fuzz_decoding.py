"""Whatever is posted is decoded or refused, nothing else; and what is decoded can be converted."""

import json
import time
from collections import Counter
from pathlib import Path
from random import Random

import payloads
import pytest
from mutations import mutated_bytes, mutated_json, mutated_messages
from payloads import BROWSER, pairs, record, request

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import decode
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal

LIMITS = BodyLimits()
CONFIG = RumConfig(app_monitor_id="11111111-2222-4333-8444-555555555555", custom_events="all", attributes=("*",))
MB = 10**6

both_encodings = pytest.mark.parametrize("encoding", Encoding, ids=lambda encoding: encoding.name.lower())
both_signals = pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name.lower())


def written(signal):
    """Requests written by hand, which have all that the encodings have."""
    values = [
        {
            "key": "k",
            "value": {"arrayValue": {"values": [{"intValue": "7"}, {"doubleValue": 0.5}, {"boolValue": True}]}},
        },
        {"key": "m", "value": {"kvlistValue": {"values": pairs({"a": "Grüße 😀"})}}},
        {"key": "url.full", "value": {"stringValue": "https://shop.example/?q=1"}},
    ]
    event = {"name": "exception", "timeUnixNano": "1795403988882000000", "attributes": pairs({"exception.type": "E"})}
    more = {"events": [event], "status": {"code": 2, "message": "no"}, "flags": 0x301, "parentSpanId": "ab" * 8}
    if signal is Signal.LOGS:
        more = {"body": {"kvlistValue": {"values": values}}, "observedTimeUnixNano": "1795403988882000000"}
    records = [
        record(signal, attributes=values, **more),
        record(signal),
        record(signal, attributes=pairs(payloads.ANY_TEXT)),
    ]
    return [request(signal, *records, resource=BROWSER, scope={"name": "shop"}), request(signal, record(signal))]


def captured(signal, captures):
    """What real browsers sent."""
    ending = "traces" if signal is Signal.TRACES else "logs"
    return [json.loads(path.read_bytes()) for path in sorted(captures.glob(f"browser-*/*-{ending}.json"))]


def bodies(signal, encoding, documents, count):
    """So many changed bodies, each with the number that it is made of."""
    whole = [payloads.body(encoding, signal, document) for document in documents]
    if encoding is Encoding.PROTOBUF:
        whole.append(payloads.encoded_by_the_sdk(signal)[1])
    for number in range(count):
        random = Random(number)
        if number % 3 == 0:
            yield number, mutated_bytes(random.choice(whole), whole, random)
        elif encoding is Encoding.JSON:
            yield number, mutated_json(random.choice(documents), random)
        else:
            yield number, mutated_messages(random.choice(whole), random)


def outcome(signal, encoding, body):
    try:
        decoded = decode(signal, encoding, body, LIMITS)
    except (Malformed, TooLarge) as refused:
        assert 0 < len(str(refused)) <= 256  # noqa: PT017 - that it raises is not the point
        return type(refused).__name__
    assert all(0 < len(reason) <= 256 for reason in decoded.reasons)
    assert bool(decoded.rejected) <= bool(decoded.reasons)
    converter, ids = Converter(CONFIG), LogEventIds()
    for item in decoded.items:
        converter.span(item) if signal is Signal.TRACES else converter.log(item, ids)
    return "rejected" if decoded.rejected else "taken" if decoded.items else "empty"


def outcomes(signal, encoding, documents, count):
    """How often each outcome was seen, and how long the slowest took."""
    seen, slowest = Counter(), 0.0
    for number, body in bodies(signal, encoding, documents, count):
        start = time.perf_counter()
        try:
            seen[outcome(signal, encoding, body)] += 1
        except Exception as error:
            raise AssertionError(f"number {number}: {body!r}") from error
        slowest = max(slowest, time.perf_counter() - start)
    return seen, slowest


@both_signals
@both_encodings
def test_mutated_bodies(signal, encoding):
    """Of changed bodies some are taken, some in part, and the others refused."""
    seen, _ = outcomes(signal, encoding, written(signal), 1500)
    assert min(seen["taken"], seen["rejected"], seen["Malformed"]) > 10


@both_signals
@both_encodings
def test_mutated_captures(signal, encoding, captures):
    """The same of what real browsers sent."""
    seen, _ = outcomes(signal, encoding, captured(signal, captures), 300)
    assert min(seen["taken"], seen["Malformed"]) > 10


def in_protobuf(signal, document):
    """The document's body in protobuf, None if it cannot say such a thing."""
    try:
        return payloads.body(Encoding.PROTOBUF, signal, document)
    except Exception:  # noqa: BLE001 - protobuf's own reader of JSON raises anything at all
        return None


@both_signals
def test_encodings_agree(signal):
    """A changed request that both encodings take is the same in both."""
    agreed = 0
    for number in range(1000):
        random = Random(number)
        changed = mutated_json(random.choice(written(signal)), random)
        by_encoding = {Encoding.JSON: changed, Encoding.PROTOBUF: in_protobuf(signal, json.loads(changed))}
        if None in by_encoding.values() or {outcome(signal, *body) for body in by_encoding.items()} != {"taken"}:
            continue
        json_items, protobuf_items = (decode(signal, *body, LIMITS).items for body in by_encoding.items())
        assert repr(json_items) == repr(protobuf_items)  # NaN is not equal to itself
        agreed += 1
    assert agreed > 100


def resident_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@both_signals
@both_encodings
def test_many_mutated_bodies(signal, encoding, captures):
    """50,000 in each encoding: none takes a second, and all together leave less than 50 MB."""
    documents = written(signal) + captured(signal, captures)
    outcomes(signal, encoding, documents, 1000)
    before = resident_bytes()
    seen, slowest = outcomes(signal, encoding, documents, 50_000)
    assert sum(seen.values()) == 50_000
    assert slowest < 1
    assert resident_bytes() - before < 50 * MB
