"""OTLP JSON requests: read by the rules of the protocol, refused with a reason, never a crash."""

import json
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode

from otel_rum_exporter import otlp
from otel_rum_exporter.otlp import OtlpError

TRACE, SPAN = "8c320e683ee344ca86ed3829c1e75fec", "b9a27564d4d261fd"


def spans(*records, **of_resource):
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(records)}], **of_resource}]})


def logs(*records):
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]})


def value_of(value):
    request = spans({"attributes": [{"key": "k", "value": value}]})
    return otlp.items(request)[0].attributes["k"]


def test_span():
    """Every member that conversion reads."""
    request = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "scopeSpans": [
                    {
                        "scope": {"name": "s", "version": "1"},
                        "spans": [
                            {
                                "traceId": TRACE,
                                "spanId": SPAN,
                                "parentSpanId": "aaaaaaaaaaaaaaaa",
                                "flags": 0x301,
                                "name": "GET",
                                "kind": 2,
                                "startTimeUnixNano": "1795403988882000000",
                                "endTimeUnixNano": 1795403988887000000,
                                "attributes": [{"key": "a", "value": {"intValue": "200"}}],
                                "events": [{"name": "e", "timeUnixNano": "7", "attributes": []}],
                                "status": {"code": 2, "message": "no"},
                                "links": [],
                                "unheardOf": {"x": 1},
                            }
                        ],
                    }
                ],
            }
        ]
    }
    (span,) = otlp.items(json.dumps(request).encode())
    assert (span.name, span.kind, span.attributes) == ("GET", SpanKind.SERVER, {"a": 200})
    assert (span.context.trace_id, span.context.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert (span.parent.trace_id, span.parent.span_id, span.parent.is_remote) == (int(TRACE, 16), int("a" * 16, 16), 1)
    assert (span.start_time, span.end_time) == (1795403988882000000, 1795403988887000000)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no")
    assert [(event.name, event.timestamp, event.attributes) for event in span.events] == [("e", 7, {})]
    assert span.resource.attributes == {"service.name": "shop"}
    assert span.instrumentation_scope.name == "s"


def test_log():
    """Every member that conversion reads."""
    (log,) = otlp.items(
        logs(
            {
                "timeUnixNano": "5",
                "observedTimeUnixNano": "6",
                "traceId": TRACE,
                "spanId": SPAN,
                "eventName": "e",
                "body": {"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 1.5}}]}},
                "attributes": [{"key": "b", "value": {"boolValue": False}}],
            }
        )
    )
    record = log.log_record
    assert (record.timestamp, record.observed_timestamp, record.event_name) == (5, 6, "e")
    assert (record.trace_id, record.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert (record.body, record.attributes) == ({"a": 1.5}, {"b": False})
    assert log.instrumentation_scope is None


@pytest.mark.parametrize("record", [{}, {"attributes": None, "events": None, "status": None, "parentSpanId": ""}])
def test_members_may_be_missing(record):
    """An empty span has no ids, no times, no parent; JSON's null is the same as nothing."""
    (span,) = otlp.items(spans(record))
    assert (span.name, span.kind, span.context.trace_id, span.parent) == ("", SpanKind.INTERNAL, 0, None)
    assert (span.start_time, span.end_time, span.attributes, span.events) == (0, 0, {}, [])


@pytest.mark.parametrize(
    ("flags", "kind", "is_remote"),
    [
        (0x101, 2, False),
        (0x301, 2, True),
        (0x301, 1, True),
        (0x001, 2, True),
        (0x001, 5, True),
        (0x001, 1, False),
        (0x200, 1, False),
    ],
    ids=["local", "remote", "remote internal", "unknown server", "unknown consumer", "unknown internal", "unsaid"],
)
def test_remote_parent(flags, kind, is_remote):
    """The flags say whether the parent is remote; where they do not, the caller of an entry span is."""
    (span,) = otlp.items(spans({"parentSpanId": SPAN, "flags": flags, "kind": kind}))
    assert span.parent.is_remote is is_remote


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stringValue": "x"}, "x"),
        ({"stringValue": ""}, ""),
        ({"boolValue": True}, True),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 7}, 7),
        ({"intValue": 7.0}, 7),
        ({"doubleValue": 1.5}, 1.5),
        ({"doubleValue": 2}, 2),
        ({"doubleValue": "1.5"}, 1.5),
        ({"doubleValue": "-Infinity"}, float("-inf")),
        ({"arrayValue": {"values": [{"intValue": "1"}, {}, {"stringValue": "x"}]}}, [1, None, "x"]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}]}}, {"a": {}}),
        ({"bytesValue": "c2VjcmV0"}, None),
        ({"ofTheFuture": {"a": 1}}, None),
        ({}, None),
        (None, None),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_values(value, expected):
    """AnyValue in all its forms; bytes have no place in an event."""
    assert value_of(value) == expected


def test_not_a_number():
    """proto3 writes NaN as a string."""
    number = value_of({"doubleValue": "NaN"})
    assert number != number  # noqa: PLR0124 - that is what NaN is


def test_deep_values_end():
    """Deeper than 32 levels there is nothing; nesting that no parser takes is no JSON."""
    value = {"stringValue": "deep"}
    for _ in range(100):
        value = {"arrayValue": {"values": [value]}}
    assert "deep" not in str(value_of(value))
    with pytest.raises(OtlpError, match="not JSON"):
        otlp.items('{"resourceSpans":' + "[" * 100_000)


@pytest.mark.parametrize("record", [spans, logs], ids=["spans", "logs"])
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"attributes": {}}, "attributes is not an array"),
        ({"attributes": [7]}, "a member of attributes is not an object"),
        ({"attributes": [{"key": "k", "value": "plain"}]}, "a value is not an object"),
        ({"attributes": [{"key": "k", "value": {"stringValue": 7}}]}, "stringValue is not a string"),
        ({"attributes": [{"key": "k", "value": {"boolValue": "true"}}]}, "boolValue is not a bool"),
        ({"attributes": [{"key": "k", "value": {"intValue": "1.5"}}]}, "intValue is not an integer"),
        ({"attributes": [{"key": "k", "value": {"intValue": "--5"}}]}, "intValue is not an integer"),
        ({"attributes": [{"key": "k", "value": {"intValue": True}}]}, "intValue is not an integer"),
        ({"attributes": [{"key": "k", "value": {"intValue": 2**70}}]}, "intValue does not fit into 64 bits"),
        ({"attributes": [{"key": "k", "value": {"doubleValue": "much"}}]}, "doubleValue is not a number"),
        ({"attributes": [{"key": "k", "value": {"doubleValue": []}}]}, "doubleValue is not a"),
        ({"attributes": [{"key": "k", "value": {"arrayValue": []}}]}, "arrayValue is not an object"),
        ({"attributes": [{"key": "k", "value": {"kvlistValue": {"values": 1}}}]}, "values is not an array"),
        ({"traceId": "xyz"}, "traceId is not an id of 32 hex digits"),
        ({"traceId": "AAAA" * 9}, "traceId is not an id of 32 hex digits"),
        ({"spanId": 7}, "spanId is not a string"),
        ({"spanId": "-b9a27564d4d261f"}, "spanId is not an id of 16 hex digits"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_broken_records(record, members, message):
    """The message says which member is wrong, and what was expected."""
    with pytest.raises(OtlpError, match=message):
        otlp.items(record(members))


@pytest.mark.parametrize(
    ("request_body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"resourceSpans": "\xff"}', "not JSON"),
        (b'{"resourceSpans": 1e999}', "not JSON"),
        (b'{"resourceSpans": NaN}', "not JSON"),
        ("\ud800", "not JSON"),
        ("[]", "the request is not an object"),
        ('{"resourceMetrics": []}', "neither resourceSpans nor resourceLogs"),
        ('{"resourceSpans": {}}', "resourceSpans is not an array"),
        ('{"resourceSpans": [1]}', "a member of resourceSpans is not an object"),
        ('{"resourceSpans": [{"resource": 7}]}', "resource is not an object"),
        ('{"resourceSpans": [{"scopeSpans": [{"scope": []}]}]}', ""),
        ('{"resourceSpans": [{"scopeSpans": [{"scope": "s"}]}]}', "scope is not an object"),
        (spans({"status": "ok"}), "status is not an object"),
        (spans({"name": 7}), "name is not a string"),
        (spans({"events": [{"timeUnixNano": "soon"}]}), "timeUnixNano is not an integer"),
        (spans({"startTimeUnixNano": "99999999999999999999"}), "startTimeUnixNano does not fit into 64 bits"),
        (logs({"eventName": {}}), "eventName is not a string"),
        (logs({"body": "plain"}), "a value is not an object"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_broken_requests(request_body, message):
    """A request is read whole or refused whole."""
    if not message:  # an empty array in an object's place is as good as nothing
        assert otlp.items(request_body) == []
        return
    with pytest.raises(OtlpError, match=message):
        otlp.items(request_body)


@pytest.mark.parametrize("kind", [bytes, str])
def test_halves_of_characters(kind):
    """Text that a script has cut within an emoji costs nobody the line that it is in."""
    request = logs({"eventName": "cut CUT", "body": {"stringValue": r"CUT and whole"}}).replace("CUT", r"\ud83d")
    (item,) = otlp.items(request.encode() if kind is bytes else request)
    assert (item.log_record.event_name, item.log_record.body) == ("cut \ufffd", "\ufffd and whole")


def test_ids_are_hex_of_either_case():
    """Some senders write capitals."""
    (span,) = otlp.items(spans({"traceId": TRACE.upper(), "spanId": SPAN.upper()}))
    assert span.context.trace_id == int(TRACE, 16)


RECORDS = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "a", "value": {"stringValue": "x"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "s"},
                    "spans": [
                        {
                            "traceId": TRACE,
                            "spanId": SPAN,
                            "flags": 257,
                            "startTimeUnixNano": "1795403988882000000",
                            "kind": 3,
                            "status": {"code": 2, "message": "m"},
                            "events": [{"name": "e", "timeUnixNano": "7", "attributes": []}],
                            "attributes": [
                                {"key": "b", "value": {"intValue": "7"}},
                                {"key": "c", "value": {"doubleValue": 1.5}},
                                {"key": "d", "value": {"arrayValue": {"values": [{"boolValue": True}]}}},
                                {"key": "e", "value": {"kvlistValue": {"values": [{"key": "f", "value": {}}]}}},
                            ],
                        }
                    ],
                }
            ],
        }
    ]
}
STRANGE = [None, True, False, -1, 0, 2**64, 1e300, "", "x", "9" * 20, "-", "\u0663", [], [None], {}, {"": {}}, [[]]]


def mangled(value, random_):
    """The value with something strange put in a place of it."""
    if random_.random() < 0.1 or not isinstance(value, dict | list) or not value:
        return random_.choice(STRANGE)
    if isinstance(value, dict):
        key = random_.choice(list(value))
        return {**value, key: mangled(value[key], random_)}
    index = random_.randrange(len(value))
    return [*value[:index], mangled(value[index], random_), *value[index + 1 :]]


def read_or_refuse(request):
    try:
        otlp.items(request)
    except OtlpError as error:
        assert str(error)  # noqa: PT017 - that it raises is not the point


@given(st.integers(min_value=0))
@settings(max_examples=500)
def test_mangled_requests_raise_nothing_else(seed):
    """A strange value anywhere is read, ignored or refused with OtlpError."""
    read_or_refuse(json.dumps(mangled(RECORDS, random.Random(seed))))


@given(st.integers(min_value=0))
@settings(max_examples=300)
def test_mangled_captures_raise_nothing_else(captures, seed):
    """The same of what real browsers sent, and of its bytes."""
    random_ = random.Random(seed)
    paths = sorted(captures.glob("browser-*/*.json"))
    content = random_.choice(paths).read_bytes()
    body = json.dumps(mangled(mangled(json.loads(content), random_), random_)).encode()
    broken = bytearray(content)
    for _ in range(random_.randrange(1, 5)):
        struct.pack_into("B", broken, random_.randrange(len(broken)), random_.randrange(256))
    for request in (body, bytes(broken), content[: random_.randrange(len(content))]):
        read_or_refuse(request)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_raises_nothing_else(request_body):
    """Whatever is posted."""
    read_or_refuse(request_body)
