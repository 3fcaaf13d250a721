"""Request bodies become items: the same in both encodings, each bad record refused for itself, with its reason."""

import json
import math

import payloads
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from payloads import SPAN, START, TRACE, pairs, record, request

from otel_rum_exporter import otlp
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.convert.conversion import Conversion
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import Decoded, decode
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal
from otel_rum_exporter.otlp import Log, Span, SpanContext, SpanEvent, Status

LIMITS = BodyLimits()
MONITOR = "11111111-2222-4333-8444-555555555555"

both_encodings = pytest.mark.parametrize("encoding", Encoding, ids=lambda encoding: encoding.name.lower())
both_signals = pytest.mark.parametrize("signal", Signal, ids=lambda signal: signal.name.lower())


def decoded(signal, encoding, document, limits=LIMITS, identity=None):
    return decode(signal, encoding, payloads.body(encoding, signal, document), limits, identity=identity)


def from_json(signal, document):
    return decode(signal, Encoding.JSON, document if isinstance(document, bytes) else document.encode(), LIMITS)


@both_encodings
def test_span(encoding):
    """Every member that conversion reads."""
    span = record(
        Signal.TRACES,
        parentSpanId="aaaaaaaaaaaaaaaa",
        flags=0x301,
        kind=2,
        status={"code": 2, "message": "no"},
        attributes=[{"key": "a", "value": {"intValue": "200"}}, *pairs({"b": "c"})],
        events=[{"name": "e", "timeUnixNano": "7", "attributes": pairs({"d": "e"})}],
        links=[{"traceId": TRACE, "spanId": SPAN}],
        droppedAttributesCount=3,
    )
    document = request(Signal.TRACES, span, resource={"service.name": "shop"}, scope={"name": "s", "version": "1"})
    result = decoded(Signal.TRACES, encoding, document)
    assert result == Decoded([
        Span(
            name="GET",
            kind=SpanKind.SERVER,
            context=SpanContext(int(TRACE, 16), int(SPAN, 16)),
            parent=SpanContext(int(TRACE, 16), int("a" * 16, 16), is_remote=True),
            start_time=START,
            end_time=START + 10**6,
            status=Status(StatusCode.ERROR, "no"),
            attributes={"a": 200, "b": "c"},
            events=[SpanEvent("e", 7, {"d": "e"})],
            resource=otlp.Resource({"service.name": "shop"}),
            instrumentation_scope=otlp.Scope("s"),
        )
    ])  # fmt: skip


@both_encodings
def test_log(encoding):
    """Every member that conversion reads."""
    document = request(
        Signal.LOGS,
        record(
            Signal.LOGS,
            observedTimeUnixNano="6",
            body={"kvlistValue": {"values": [{"key": "a", "value": {"doubleValue": 1.5}}]}},
            attributes=[{"key": "b", "value": {"boolValue": False}}],
            severityNumber=9,
            severityText="INFO",
        ),
    )
    result = decoded(Signal.LOGS, encoding, document)
    log = otlp.LogRecord(START, 6, int(TRACE, 16), int(SPAN, 16), {"a": 1.5}, {"b": False}, "cart.filled")
    assert result == Decoded([Log(log, otlp.Resource({}), None)])


@both_encodings
def test_members_may_be_missing(encoding):
    """A span with nothing but its ids, and a log record with nothing at all."""
    (span,) = decoded(Signal.TRACES, encoding, request(Signal.TRACES, {"traceId": TRACE, "spanId": SPAN})).items
    assert (span.name, span.kind, span.parent, span.status) == ("", SpanKind.INTERNAL, None, Status())
    assert (span.start_time, span.end_time, span.attributes, span.events) == (0, 0, {}, [])
    (log,) = decoded(Signal.LOGS, encoding, request(Signal.LOGS, {})).items
    assert (log.log_record.timestamp, log.log_record.observed_timestamp, log.log_record.body) == (0, 0, None)
    assert (log.log_record.trace_id, log.log_record.span_id, log.log_record.event_name) == (0, 0, None)


@pytest.mark.parametrize(
    "record_", ["null", '{"attributes": null, "timeUnixNano": null, "traceId": null, "body": null}']
)
def test_null_is_nothing(record_):
    """In JSON a member that is null is missing; a record that is null is none."""
    body = '{"resourceLogs": [{"resource": null, "scopeLogs": [{"scope": null, "logRecords": [RECORD]}]}]}'
    result = from_json(Signal.LOGS, body.replace("RECORD", record_))
    assert (len(result.items), result.rejected) == ((0, 1) if record_ == "null" else (1, 0))


VALUES = [
    ({"stringValue": "x"}, "x"),
    ({"stringValue": ""}, ""),
    ({"stringValue": "null"}, "null"),
    ({"boolValue": True}, True),
    ({"boolValue": False}, False),
    ({"intValue": "-9223372036854775808"}, -(2**63)),
    ({"intValue": 7}, 7),
    ({"intValue": "0"}, 0),
    ({"doubleValue": 1.5}, 1.5),
    ({"doubleValue": 2}, 2),
    ({"doubleValue": 0}, 0.0),
    ({"doubleValue": "1.5"}, 1.5),
    ({"doubleValue": "-Infinity"}, -math.inf),
    ({"arrayValue": {"values": [{"intValue": "1"}, {}, {"stringValue": "x"}]}}, [1, None, "x"]),
    ({"arrayValue": {}}, []),
    ({"kvlistValue": {"values": [{"key": "a", "value": {"kvlistValue": {}}}]}}, {"a": {}}),
    ({"bytesValue": "c2VjcmV0"}, None),
    ({"ofTheFuture": {"a": 1}}, None),
    ({}, None),
]


@both_signals
@both_encodings
@pytest.mark.parametrize(("value", "expected"), VALUES, ids=[json.dumps(value) for value, _ in VALUES])
def test_values(value, expected, encoding, signal):
    """AnyValue in all its forms; bytes have no place in an event. Of a key that comes twice the last value counts."""
    attributes = [*pairs({"k": "first"}), {"key": "k", "value": value}]
    (item,) = decoded(signal, encoding, request(signal, record(signal, attributes=attributes))).items
    read = (item.log_record if signal is Signal.LOGS else item).attributes
    assert read == {"k": expected}
    assert type(read["k"]) is type(expected) or expected == 2


@both_encodings
def test_not_a_number(encoding):
    """Doubles that are no numbers are taken; conversion leaves them out."""
    (item,) = decoded(
        Signal.LOGS, encoding, request(Signal.LOGS, record(Signal.LOGS, body={"doubleValue": "NaN"}))
    ).items
    assert math.isnan(item.log_record.body)


@both_encodings
@pytest.mark.parametrize(
    ("flags", "kind", "is_remote"),
    [(0x101, 2, False), (0x301, 1, True), (1, 2, True), (1, 5, True), (1, 1, False), (0x200, 1, False)],
    ids=["local", "remote", "unknown server", "unknown consumer", "unknown internal", "unsaid"],
)
def test_remote_parent(encoding, flags, kind, is_remote):
    """The flags say whether the parent is remote; where they do not, the caller of an entry span is."""
    span = record(Signal.TRACES, parentSpanId=SPAN, flags=flags, kind=kind)
    (item,) = decoded(Signal.TRACES, encoding, request(Signal.TRACES, span)).items
    assert item.parent.is_remote is is_remote


@both_encodings
def test_unknown_numbers_of_enums(encoding):
    """Kinds and codes of the future are unspecified ones, as proto3 has it."""
    span = record(Signal.TRACES, kind=77, status={"code": 77})
    (item,) = decoded(Signal.TRACES, encoding, request(Signal.TRACES, span)).items
    assert (item.kind, item.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)


BAD_IDS = [
    ({"traceId": "00" * 16}, "a span has no trace id, or one of zeros"),
    ({"spanId": "00" * 8}, "a span has no span id, or one of zeros"),
    ({"traceId": None}, "a span has no trace id, or one of zeros"),
    ({"spanId": None}, "a span has no span id, or one of zeros"),
    ({"traceId": TRACE[:-2]}, "a trace id is not"),
    ({"spanId": SPAN + "00"}, "a span id is not"),
    ({"parentSpanId": "aa"}, "a parent span id is not"),
]


@both_encodings
@pytest.mark.parametrize(("members", "reason"), BAD_IDS, ids=[json.dumps(members) for members, _ in BAD_IDS])
def test_bad_ids(encoding, members, reason):
    """A span without ids is refused; the other spans of its request are not."""
    good, bad = record(Signal.TRACES), record(Signal.TRACES, **members)
    result = decoded(Signal.TRACES, encoding, request(Signal.TRACES, good, bad, good, bad))
    assert (len(result.items), result.rejected) == (2, 2)
    (said,) = result.reasons
    assert said.startswith(reason)


@both_encodings
def test_ids_of_logs(encoding):
    """A log record needs no ids, but ids that it has must be ones."""
    ids = [{"traceId": None, "spanId": None}, {"traceId": "00" * 16}, {"traceId": "aa"}, {"spanId": "aa"}]
    result = decoded(Signal.LOGS, encoding, request(Signal.LOGS, *(record(Signal.LOGS, **members) for members in ids)))
    assert [item.log_record.trace_id for item in result.items] == [0, 0]
    assert (result.rejected, len(result.reasons)) == (2, 2)


def test_ids_are_hex_of_either_case():
    """Some senders write capitals."""
    (item,) = decoded(
        Signal.TRACES, Encoding.JSON, request(Signal.TRACES, record(Signal.TRACES, traceId=TRACE.upper()))
    ).items
    assert item.context.trace_id == int(TRACE, 16)


BAD_MEMBERS = [
    {"attributes": {}},
    {"attributes": [7]},
    {"attributes": [{"key": 7}]},
    {"attributes": [{"key": "k", "value": "plain"}]},
    {"attributes": [{"key": "k", "value": {"stringValue": 7}}]},
    {"attributes": [{"key": "k", "value": {"boolValue": []}}]},
    {"attributes": [{"key": "k", "value": {"intValue": "1.5"}}]},
    {"attributes": [{"key": "k", "value": {"intValue": "--5"}}]},
    {"attributes": [{"key": "k", "value": {"intValue": True}}]},
    {"attributes": [{"key": "k", "value": {"intValue": 2**63}}]},
    {"attributes": [{"key": "k", "value": {"doubleValue": "much"}}]},
    {"attributes": [{"key": "k", "value": {"arrayValue": []}}]},
    {"attributes": [{"key": "k", "value": {"kvlistValue": {"values": 1}}}]},
    {"traceId": "xyz"},
    {"traceId": "-" + TRACE[1:]},
    {"traceId": " " + TRACE[1:]},
    {"traceId": "0x" + TRACE[2:]},
    {"traceId": "\u0663" * 32},
    {"traceId": "jDIOaD7jRMqG7Tgpweds/A=="},
    {"spanId": 7},
]


@both_signals
@pytest.mark.parametrize("members", BAD_MEMBERS, ids=json.dumps)
def test_one_bad_record(signal, members):
    """In JSON a record of which a member is wrong is refused; those before and after it are not."""
    good = record(signal)
    result = decoded(signal, Encoding.JSON, request(signal, good, {**good, **members}, good))
    assert (len(result.items), result.rejected) == (2, 1)
    (reason,) = result.reasons
    assert 0 < len(reason) <= 256
    assert result.items == decoded(signal, Encoding.JSON, request(signal, good, good)).items


@pytest.mark.parametrize(
    "members",
    [
        {"startTimeUnixNano": str(2**64)},
        {"endTimeUnixNano": "-1"},
        {"startTimeUnixNano": "soon"},
        {"startTimeUnixNano": 1.5},
        {"status": "ok"},
        {"name": {}},
        {"kind": "SPAN_KIND_CLIENT"},
        {"events": [{"timeUnixNano": 10**30}]},
    ],
    ids=json.dumps,
)
def test_one_bad_span(members):
    """What only spans have."""
    good = record(Signal.TRACES)
    result = decoded(Signal.TRACES, Encoding.JSON, request(Signal.TRACES, {**good, **members}, good))
    assert (len(result.items), result.rejected, len(result.reasons)) == (1, 1, 1)


def test_reasons_say_where():
    """The path to the member, never its content."""
    bad = record(Signal.TRACES, attributes=[{"key": "k", "value": {"intValue": "secret"}}])
    result = decoded(Signal.TRACES, Encoding.JSON, request(Signal.TRACES, bad))
    (reason,) = result.reasons
    assert "$.attributes[0].value.intValue" in reason
    assert "secret" not in reason


def test_few_reasons():
    """A thousand records, each wrong in another place, are counted exactly; of the reasons a few are told."""
    many = [record(Signal.LOGS, attributes=[{"key": "k"}] * number + [7]) for number in range(100)]
    result = decoded(Signal.LOGS, Encoding.JSON, request(Signal.LOGS, *many))
    assert (result.rejected, len(result.reasons)) == (100, 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\ud800", "\ufffd"),
        (r"cut\ud83d", "cut\ufffd"),
        (r"\ude00", "\ufffd"),
        (r"\ud83d\ude00", "😀"),
        (r"\ud83d\ud83d\ude00\ude00", "\ufffd😀\ufffd"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\\\\ud800 \ud800", "\\\\ud800 \ufffd"),
    ],
)
def test_halves_of_characters(text, expected):
    """Text that a script has cut within an emoji is taken, and can be encoded."""
    body = json.dumps(request(Signal.LOGS, record(Signal.LOGS, eventName="NAME", body={"stringValue": "TEXT"})))
    (item,) = from_json(Signal.LOGS, body.replace("TEXT", text)).items
    assert item.log_record.body == expected
    assert item.log_record.body.encode()


TIMES = [
    ("1.7e18", 1_700_000_000_000_000_000),
    ('"1.7e18"', 1_700_000_000_000_000_000),
    ("1700000000000000000.0", 1_700_000_000_000_000_000),
    ('"17E+17"', 1_700_000_000_000_000_000),
    ("1700000000000000001.0", 1_700_000_000_000_000_001),
    ('"18446744073709551615.0"', 2**64 - 1),
]


@both_signals
@pytest.mark.parametrize(("written", "expected"), TIMES)
def test_times_with_an_exponent(signal, written, expected):
    """A time that is written as a float is the integer that it stands for, without a loss of digits."""
    member = {Signal.TRACES: "startTimeUnixNano", Signal.LOGS: "timeUnixNano"}[signal]
    document = request(signal, record(signal, **{member: "TIME"}), record(signal))
    result = from_json(signal, json.dumps(document).replace('"TIME"', written))
    assert (len(result.items), result.rejected) == (2, 0)
    (item, _) = result.items
    assert (item.start_time if signal is Signal.TRACES else item.log_record.timestamp) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [("2.00e2", 200), ('"200.0"', 200), ("-17e17", -17 * 10**17), ('"17e17"', 17 * 10**17)],
)
def test_numbers_with_an_exponent(written, expected):
    """Likewise in attributes, also those of a resource; what looks like it within text stays text."""
    text = r"\"intValue\":1e3,\"intValue\": \"1.5\""
    attributes = [{"key": "status", "value": {"intValue": "NUMBER"}}, {"key": "text", "value": {"stringValue": "TEXT"}}]
    document = request(Signal.TRACES, record(Signal.TRACES, attributes=attributes))
    document["resourceSpans"][0]["resource"] = {"attributes": attributes}
    body = json.dumps(document).replace('"NUMBER"', written).replace("TEXT", text)
    (item,) = from_json(Signal.TRACES, body).items
    assert item.attributes == item.resource.attributes == {"status": expected, "text": json.loads(f'"{text}"')}


@pytest.mark.parametrize("written", ["1.5", '"1.5e0"', '"1e20"', "1e999", '"1e"', '"1e1e1"', '"1.7e18 "', '"0x1e3"'])
def test_numbers_that_are_no_integers(written):
    """A record with a time that is none of 64 bits is refused; the others of its request are not."""
    document = request(Signal.LOGS, record(Signal.LOGS, timeUnixNano="TIME"), record(Signal.LOGS))
    result = from_json(Signal.LOGS, json.dumps(document).replace('"TIME"', written))
    assert (len(result.items), result.rejected) == (1, 1)


BAD_BODIES = [
    b"{",
    b"[]",
    b"7",
    b'"resourceSpans"',
    b"null",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"resourceSpans": "\xff"}',
    b'{"resourceSpans": 1e999}',
    b'{"resourceSpans": NaN}',
    b'{"resourceSpans": {}}',
    b'{"resourceSpans": [1]}',
    b'{"resourceSpans": [null]}',
    b'{"resourceSpans": [{"resource": 7}]}',
    b'{"resourceSpans": [{"resource": {"attributes": [{"key": 7}]}}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"scope": "s"}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": {}}]}]}',
    b'{"resourceSpans": [],}',
    b'{"resourceSpans": []} {}',
    b'{"a": ' + b"[" * 100_000,
    b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'{"resourceSpans": ' + b"9" * 5000 + b"}",
    b'{"a": "\\ud800"}',
    b"resourceSpans=1",
    b"<html>",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:50]))
def test_bad_json(body):
    """What is no request is refused whole, with what is wrong."""
    with pytest.raises(Malformed) as refused:
        decode(Signal.TRACES, Encoding.JSON, body, LIMITS)
    assert refused.value.http_status == 400
    assert 0 < len(str(refused.value)) <= 256


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'[{"traceId": "1", "localEndpoint": {}}]', "Expected `object`, got `array`"),
        (b'{"resource_spans": []}', "no member resourceSpans; members of OTLP's JSON are camelCase"),
        (b'{"resourceLogs": []}', "resourceLogs belong to /v1/logs"),
        (b'{"spans": [], "process": {}}', "no member resourceSpans"),
    ],
    ids=["Zipkin", "snake_case", "logs", "Jaeger"],
)
def test_other_formats(body, message):
    """Who sends something else is told what belongs here."""
    with pytest.raises(Malformed, match=message.replace(".", r"\.")):
        decode(Signal.TRACES, Encoding.JSON, body, LIMITS)


@both_signals
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (Encoding.PROTOBUF, b""),
        (Encoding.JSON, b""),
        (Encoding.JSON, b"{}"),
        (Encoding.JSON, b" \n{ } "),
        (Encoding.JSON, b'{"resourceSpans": null, "resourceLogs": null}'),
        (Encoding.JSON, b'{"resourceSpans": [], "resourceLogs": [], "later": [[{"x": 1}]]}'),
    ],
)
def test_nothing_is_taken(signal, encoding, body):
    """A request without records is one."""
    assert decode(signal, encoding, body, LIMITS) == Decoded([])


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (Encoding.JSON, b'{"resourceSpans": [{"instrumentationLibrarySpans": [{"spans": [{}]}]}]}'),
        (Encoding.JSON, b'{"resourceSpans": [{"scope_spans": [{"spans": [{}]}]}]}'),
        (Encoding.PROTOBUF, b"\x0a\x02\x12\x00"),
    ],
    ids=["of 2022", "snake_case", "empty scope"],
)
def test_records_that_are_not_found(encoding, body):
    """Where resources come without records, the sender is told so, since nothing else would."""
    assert decode(Signal.TRACES, encoding, body, LIMITS) == Decoded([], 0, ("no spans where OTLP has them",))


@pytest.mark.parametrize(
    "body",
    [b"\x0a", b"\x0a\x05\x12", b"\xff" * 20, b"{}", b"\x0a\x04\x12\x02\x12\x05", b"\x0a\x03\x1a\x01\xff"],
    ids=["no length", "torn", "no varint", "JSON", "inner torn", "not UTF-8"],
)
def test_bad_protobuf(body):
    """What does not parse is refused whole."""
    with pytest.raises(Malformed, match="not a protobuf ExportTraceServiceRequest"):
        decode(Signal.TRACES, Encoding.PROTOBUF, body, LIMITS)


@both_encodings
def test_traces_are_no_logs(encoding):
    """Spans that are posted to the logs' path are refused."""
    body = payloads.body(encoding, Signal.TRACES, request(Signal.TRACES, record(Signal.TRACES)))
    with pytest.raises(Malformed, match=r"resourceSpans belong to /v1/traces|not a protobuf ExportLogsServiceRequest"):
        decode(Signal.LOGS, encoding, body, LIMITS)


@both_signals
@both_encodings
def test_too_many_records(signal, encoding):
    """One record over the limit is one too many."""
    three = request(signal, *[record(signal)] * 3)
    assert len(decoded(signal, encoding, three, BodyLimits(records=3)).items) == 3
    with pytest.raises(TooLarge, match=f"more than 2 {signal.records}") as refused:
        decoded(signal, encoding, three, BodyLimits(records=2))
    assert refused.value.http_status == 413


def nested(depth):
    value = {"stringValue": "deep"}
    for level in range(depth):
        is_array = level % 2
        value = (
            {"arrayValue": {"values": [value]}}
            if is_array
            else {"kvlistValue": {"values": [{"key": "a", "value": value}]}}
        )
    return value


@both_signals
@both_encodings
def test_depth(signal, encoding):
    """Values are nested as deep as the limit; a record with a deeper one is refused."""
    attributes = [[{"key": "k", "value": nested(depth)}] for depth in (32, 33)]
    result = decoded(signal, encoding, request(signal, *(record(signal, attributes=given) for given in attributes)))
    assert (len(result.items), result.rejected, result.reasons) == (1, 1, ("a value is nested too deeply",))
    assert "deep" in str(result.items)


@both_encodings
def test_depth_of_a_resource(encoding):
    """A resource is no record that could be refused for itself."""
    document = request(Signal.LOGS, record(Signal.LOGS))
    document["resourceLogs"][0]["resource"] = {"attributes": [{"key": "k", "value": nested(33)}]}
    with pytest.raises(Malformed, match="nested too deeply"):
        decoded(Signal.LOGS, encoding, document)


@both_signals
@both_encodings
def test_identity(signal, encoding):
    """What the sender may not choose is replaced; what it says of itself otherwise is kept."""
    said = {
        "aws.rum.appmonitor.id": "another's",
        "aws.rum.appmonitor.alias": "another's",
        "aws.rum.later": "x",
        "service.name": "x",
        "service.version": "9",
        "service.namespace": "shops",
        "browser.language": "en",
    }
    identity = {"aws.rum.appmonitor.id": MONITOR, "service.name": "shop"}
    document = request(signal, record(signal), record(signal), resource=said)
    result = decoded(signal, encoding, document, identity=identity)
    expected = {"service.namespace": "shops", "browser.language": "en", **identity}
    assert [item.resource.attributes for item in result.items] == [expected] * 2
    assert result.items[0].resource is result.items[1].resource
    assert decoded(signal, encoding, document).items[0].resource.attributes == said


CAPTURED = ("browser-events", "browser-spans")


def signal_of(path):
    return Signal.TRACES if path.stem.endswith("traces") else Signal.LOGS


@pytest.mark.parametrize("folder", CAPTURED)
def test_captures_in_both_encodings(captures, folder):
    """What real browsers sent is the same in protobuf, and the same that files of it yield."""
    for path in sorted((captures / folder).glob("*.json")):
        signal, document = signal_of(path), json.loads(path.read_bytes())
        by_encoding = {encoding: decoded(signal, encoding, document) for encoding in Encoding}
        assert by_encoding[Encoding.JSON] == by_encoding[Encoding.PROTOBUF]
        assert by_encoding[Encoding.JSON].items == otlp.items(path.read_bytes())
        assert by_encoding[Encoding.JSON].items


def conversions(items):
    """What conversion makes of items, without what it keeps of the resource's own containers."""
    converter, ids = Converter(RumConfig(app_monitor_id=MONITOR, custom_events="all")), LogEventIds()
    for item in items:
        converted = converter.log(item, ids) if hasattr(item, "log_record") else converter.span(item)
        if isinstance(converted, Conversion):
            yield converted.session, converted.user, converted.events, converted.facts, converted.origin.client
        else:
            yield converted


@both_signals
def test_as_the_sdk_encodes(signal):
    """What OpenTelemetry's own exporter sends converts to the same events as the SDK's objects themselves."""
    items, body = payloads.encoded_by_the_sdk(signal)
    result = decode(signal, Encoding.PROTOBUF, body, LIMITS)
    assert (result.rejected, len(result.items)) == (0, len(items))
    converted = list(conversions(items))
    assert list(conversions(result.items)) == converted
    assert any(isinstance(each, tuple) for each in converted)
