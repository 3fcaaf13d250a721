"""Request bodies for gateways: those of honest senders, and those that would become large."""

import gzip
import itertools
import json
import zlib

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PROTOBUF, JSON = "application/x-protobuf", "application/json"
TRACES, LOGS = "/v1/traces", "/v1/logs"
START_NS = 1_700_000_000_000_000_000
MIB = 2**20
FULL = 4 * MIB - 64  # what a body may have after gzip, but for what is put around

_ids = itertools.count(1)


def protobuf_spans(names, session, *, of_span=None, **resource):
    """A request with a span for each name, with these attributes of each and those of their resource."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    _add(of_resource.resource, {"service.name": "shop", **resource})
    scope = of_resource.scope_spans.add()
    for name in names:
        number = next(_ids)
        span = scope.spans.add(name=name, start_time_unix_nano=START_NS, end_time_unix_nano=START_NS + 10**6)
        span.trace_id, span.span_id = (number + 2**64).to_bytes(16, "big"), number.to_bytes(8, "big")
        _add(span, {"session.id": session, **(of_span or {})})
    return request.SerializeToString()


def _add(to, attributes):
    for key, value in attributes.items():
        added = to.attributes.add()
        added.key, added.value.string_value = key, value


def json_spans(names, session):
    """The same as JSON."""
    spans = []
    for name in names:
        number = next(_ids)
        spans.append(
            {
                "traceId": f"{number + 2**64:032x}",
                "spanId": f"{number:016x}",
                "name": name,
                "startTimeUnixNano": str(START_NS),
                "endTimeUnixNano": str(START_NS + 10**6),
                "attributes": [{"key": "session.id", "value": {"stringValue": session}}],
            }
        )
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


def json_span(members):
    """A request of one span in JSON with these members, as they are written."""
    times = f'"startTimeUnixNano": "{START_NS}", "endTimeUnixNano": "{START_NS}"'
    given = f'"traceId": "{"a" * 32}", "spanId": "{"b" * 16}", "name": "bad", {times}, {members}'
    return ('{"resourceSpans": [{"scopeSpans": [{"spans": [{%s}]}]}]}' % given).encode()  # noqa: UP031 - braces


def json_attribute(value):
    """Likewise, with an attribute of this value beside the session."""
    session = '{"key": "session.id", "value": {"stringValue": "s-1"}}'
    return json_span(f'"attributes": [{session}, {{"key": "a", "value": {value}}}]')


# what answers say


def message_of(status, content_type, body):
    """What an answer says in words."""
    if content_type == JSON and body:
        said = json.loads(body)
        return said.get("message") or said.get("partialSuccess", {}).get("errorMessage", "")
    if content_type == PROTOBUF:
        is_success = status == 200
        return (
            ExportTraceServiceResponse.FromString(body).partial_success.error_message
            if is_success
            else Status.FromString(body).message
        )
    return body.decode("latin-1")


# bombs


def member(tag, content):
    """A length-delimited member of a message in protobuf."""
    length, size = len(content), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([tag, *size, length]) + content


def of_scope(content):
    """A request of one scope's content."""
    return member(0x0A, member(0x12, content))


def of_span(content):
    """A request of one span's content."""
    return of_scope(member(0x12, content))


def nested_value(depth):
    """A request with an attribute of arrays within each other."""
    value = b""
    for _ in range(depth):
        value = member(0x2A, member(0x0A, value))
    ids = member(0x0A, b"a" * 16) + member(0x12, b"b" * 8)
    return of_span(ids + member(0x4A, member(0x0A, b"deep") + member(0x12, value)))


def empty_spans(number):
    """A request of empty spans."""
    return of_scope(b"\x12\x00" * number)


def gzip_zeros(mib):
    """So many MiB of zeros, as a gzip body that does not take as long to make: one block again and again."""
    header = gzip.compress(b"")[:10]
    packing = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packing.compress(bytes(MIB)) + packing.flush(zlib.Z_FULL_FLUSH)
    return header + block * mib
