"""Attacks by what a body holds."""

import gzip

from proof_gateway_attacker import chunk, head, post
from proof_gateway_attacks import GZIP, IN_JSON, KEY, PARTLY, Attack, one_span, sends
from proof_gateway_bodies import (
    FULL,
    empty_spans,
    gzip_zeros,
    json_attribute,
    json_span,
    json_spans,
    nested_value,
    of_span,
)

BODIES = (
    Attack("G3", "gzip bomb, 1 MiB of 1 GiB", "decoded_bytes", {413}, sends(post(gzip_zeros(1000), **GZIP)), 10),
    Attack(
        "G3",
        "gzip bomb in chunks, length not said",
        "decoded_bytes",
        {413},
        sends(head(transfer_encoding="chunked", **GZIP) + chunk(gzip_zeros(1000)) + chunk(b"")),
        10,
    ),
    Attack("G3", "10 MB body, length said", "wire_bytes", {413}, sends(head(content_length=10**7, **KEY)), 10),
    Attack(
        "G3",
        "body without end in chunks",
        "wire_bytes",
        {413},
        sends(head(transfer_encoding="chunked", **KEY) + chunk(bytes(64 * 1024)) * 100),
        10,
    ),
    Attack("G3", "half a gzip body", "gunzip", {400}, sends(post(gzip.compress(one_span() * 100)[:-20], **GZIP))),
    Attack("G3", "no gzip where it is said", "gunzip", {400}, sends(post(one_span(), **GZIP))),
    Attack(
        "G4",
        "record bomb, 4 KB of 2.1 M empty spans",
        "records",
        {413},
        sends(post(gzip.compress(empty_spans(FULL // 2)), **GZIP)),
    ),
    Attack(
        "G4",
        "attribute bomb, 2.1 M of one span",
        "elements",
        {413},
        sends(post(gzip.compress(of_span(b"\x4a\x00" * (FULL // 2))), **GZIP)),
    ),
    Attack(
        "G4",
        "JSON record bomb, 1.4 M of {}",
        "records",
        {413},
        sends(
            post(
                gzip.compress(
                    b'{"resourceSpans": [{"scopeSpans": [{"spans": [' + b"{}," * (FULL // 3 - 40) + b"{}]}]}]}"
                ),
                **GZIP | IN_JSON,
            )
        ),
        50,
    ),
    Attack("G5", "AnyValue 60 deep", "depth", {400}, sends(post(nested_value(60), **KEY))),
    Attack("G5", "AnyValue 60,000 deep", "depth", {400}, sends(post(nested_value(60_000), **KEY))),
    Attack("G5", "JSON 10,000 deep", "depth", {400}, sends(post(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, **IN_JSON))),
    Attack("G5", "JSON arrays 10,000 deep", "depth", {400}, sends(post(b"[" * 10_000 + b"]" * 10_000, **IN_JSON))),
    Attack(
        "G5", "integer of 5,000 digits", "types", {PARTLY}, sends(post(json_span('"kind": ' + "9" * 5000), **IN_JSON))
    ),
    Attack("G5", "NaN in JSON", "JSON", {400}, sends(post(json_attribute('{"doubleValue": NaN}'), **IN_JSON))),
    Attack("G5", "1e999 in JSON", "types", {PARTLY}, sends(post(json_attribute('{"doubleValue": 1e999}'), **IN_JSON))),
    Attack(
        "G5",
        "half a character in JSON",
        "conversion",
        {PARTLY},
        sends(post(json_attribute('{"stringValue": "\\ud800"}'), **IN_JSON)),
    ),
    Attack(
        "G6",
        "mixed batch: 2 of 3 spans have no ids",
        "ids",
        {PARTLY},
        sends(post(json_spans(["good"], "mixed")[:-6] + b', {"name": "a"}, {"name": "b"}]}]}]}', **IN_JSON)),
    ),
    Attack(
        "G1", "random bytes", "parser", {400}, sends(post(b"\xff\xfe\xfd" * 300, **KEY), post(b"\xff{" * 9, **IN_JSON))
    ),
)
