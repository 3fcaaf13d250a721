"""Bodies that are small for what they could become, and what decoding them takes: run in a process of its own.

Prints a line of JSON for each: its name, the outcome, the seconds, and the megabytes by which the process has grown at most.
"""

import json
import sys
import time
from pathlib import Path

from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.decoding import decode
from otel_rum_exporter.gateway.refusals import Malformed, TooLarge
from otel_rum_exporter.gateway.signals import Encoding, Signal

LIMITS = BodyLimits()
FULL = LIMITS.decoded_bytes - 64
MB = 10**6

ATTRIBUTES, EVENTS, LINKS = b"\x4a", b"\x5a", b"\x6a"  # of a span
EMPTY = b"\x00"


def member(tag, content):
    """A length-delimited member of a message."""
    length, size = len(content), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([*tag, *size, length]) + content


def times(unit, up_to=FULL):
    return unit * (up_to // len(unit))


def of_scope(content):
    return member(b"\x0a", member(b"\x12", content))


def of_span(content):
    return of_scope(member(b"\x12", content))


def of_value(content):
    return of_span(member(ATTRIBUTES, member(b"\x12", content)))


def in_json(unit, before='{"resourceSpans": [{"scopeSpans": [{"spans": [', after="]}]}]}", up_to=FULL):
    return (before + times(unit, up_to).removesuffix(",") + after).encode()


SPAN = '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "%s", "spanId": "%s", ' % ("a" * 32, "b" * 16)  # noqa: UP031
END = "]}]}]}]}"

PROTOBUF = {
    "records": of_scope(times(b"\x12\x00")),
    "records with long tags": of_scope(times(b"\x92\x00\x00")),
    "records with kinds": of_scope(times(b"\x12\x02\x30\x03")),
    "resources": times(b"\x0a\x00"),
    "scopes": member(b"\x0a", times(b"\x12\x00")),
    "scope after scope": times(b"\x0a\x02\x12\x00"),
    "attributes": of_span(times(ATTRIBUTES + EMPTY)),
    "values": of_span(times(ATTRIBUTES + b"\x02\x12\x00")),
    "events": of_span(times(EVENTS + EMPTY)),
    "links": of_span(times(LINKS + EMPTY)),
    "statuses": of_span(times(b"\x7a\x00")),
    "array": of_value(member(b"\x2a", times(b"\x0a\x00"))),
    "map": of_value(member(b"\x32", times(b"\x0a\x00"))),
    "array or map": of_value(times(b"\x2a\x00\x32\x00")),
    "keys of entities": member(b"\x0a", member(b"\x0a", member(b"\x1a", times(b"\x1a\x00")))),
    "resource's attributes": member(b"\x0a", member(b"\x0a", times(b"\x0a\x00"))),
    "unknown members": of_scope(times(b"\xf8\x06\x01")),
    "unknown members among others": of_span(times(b"\xf8\x06\x01\x30\x03")),
    "numbers": of_span(times(b"\x30\x03")),
    "nesting": of_value(b"\x2a\x04\x0a\x02" * 1000),
}
JSON = {
    "records": in_json("{},"),
    "records of nothing": in_json("0,"),
    "arrays": in_json("[],"),
    "resources": in_json("{},", '{"resourceSpans": [', "]}"),
    "scopes": in_json("{},", '{"resourceSpans": [{"scopeSpans": [', "]}]}"),
    "attributes": in_json("{},", SPAN + '"attributes": [', END),
    "events": in_json("{},", SPAN + '"events": [', END),
    "array": in_json("{},", SPAN + '"attributes": [{"value": {"arrayValue": {"values": [', "]}}}" + END),
    "numbers": in_json("1,", SPAN + '"later": [', END),
    "texts": in_json('"a",', SPAN + '"attributes": [', END),
    "members": in_json('"a":1,', "{", "}"),
    "unknown objects": in_json("{},", '{"later": [', "]}"),
    "nesting": in_json('{"a":', "", ""),
    "nesting of arrays": in_json("[", "", ""),
    "halves of characters": in_json("\\ud800", SPAN + '"name": "', '"}]}]}]}'),
    "backslashes": in_json("\\\\", SPAN + '"name": "\\ud800', '"}]}]}]}'),
    "exponents": in_json('"intValue":1e9,', SPAN + '"kind": "x", "later": {', "}}]}]}]}"),
    "exponents of nothing": in_json('"intValue":  ', SPAN, "1}]}]}]}"),
    "digits": in_json("9", SPAN + '"kind": ', "}]}]}]}"),
    "spaces": in_json(" ", "{", "}"),
}
BOMBS = {Encoding.PROTOBUF: PROTOBUF, Encoding.JSON: JSON}


def outcome(encoding, body):
    try:
        result = decode(Signal.TRACES, encoding, body, LIMITS)
    except (Malformed, TooLarge) as refused:
        return type(refused).__name__
    return f"{len(result.items)} of {len(result.items) + result.rejected}"


def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(encoding):
    """Decode each bomb after something harmless."""
    bombs = BOMBS[encoding]
    outcome(encoding, b"")
    for name, body in bombs.items():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, start = peak_bytes(), time.perf_counter()
        said = outcome(encoding, body)
        seconds = time.perf_counter() - start
        print(json.dumps([name, said, seconds, (peak_bytes() - before) / MB]))  # noqa: T201 - its result


if __name__ == "__main__":
    main(Encoding[sys.argv[1]])
