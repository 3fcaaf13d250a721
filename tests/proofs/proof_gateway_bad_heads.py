"""Attacks by what a request's head says."""

from proof_gateway_attacker import head, post
from proof_gateway_attacks import KEY, Attack, one_span, sends
from proof_gateway_bodies import TRACES

SMUGGLED = b"GET /v1/traces HTTP/1.1\r\nhost: gateway\r\n\r\n"

HEADS = (
    Attack(
        "G1",
        "wrong content types",
        "content type",
        {415},
        sends(*(post(b"x", **KEY | {"content_type": each}) for each in ("text/plain", "application/xml", None))),
    ),
    Attack(
        "G3",
        "other content encodings",
        "content encoding",
        {415},
        sends(*(post(b"x", **KEY, content_encoding=each) for each in ("zstd", "deflate", "br", "gzip, gzip"))),
    ),
    Attack("G1", "/v1/metrics", "routes", {404}, sends(post(b"", "/v1/metrics", **KEY))),
    Attack(
        "G1",
        "GET, PUT, DELETE, TRACE",
        "methods",
        {405},
        sends(*(head(method=each, **KEY) for each in ("GET", "PUT", "DELETE", "TRACE"))),
    ),
    Attack(
        "G1",
        "path traversal",
        "routes",
        {404},
        sends(
            *(
                post(b"", each, **KEY)
                for each in (
                    "/../../etc/passwd",
                    "/v1/%2e%2e/%2e%2e/etc/passwd",
                    "/v1/traces/..",
                    "//v1/traces",
                    "/v1/traces%00",
                    "/v1/traces/",
                )
            )
        ),
    ),
    Attack("G1", "URL of 60 KB", "routes", {404}, sends(post(b"", "/" + "a" * 60_000, **KEY))),
    Attack("G1", "URL of 1 MB", "header bytes", {431}, sends(post(b"", "/" + "a" * 10**6, **KEY))),
    Attack("G1", "query of 50 KB of tokens", "tokens", {401}, sends(post(b"", f"{TRACES}?{'token=a&' * 6000}"))),
    Attack("G1", "header of 100 KB", "header bytes", {431}, sends(post(b"", later="a" * 100_000, **KEY))),
    Attack(
        "G1",
        "10,000 headers",
        "header bytes",
        {431},
        sends(post(b"", **KEY, **{f"x-{number}": "a" for number in range(10_000)})),
    ),
    Attack(
        "G1",
        "both Transfer-Encoding and Content-Length",
        "HTTP parser",
        {400},
        sends(
            head(**KEY, content_length=6, transfer_encoding="chunked") + b"0\r\n\r\n" + SMUGGLED,
            head(**KEY, transfer_encoding="chunked", content_length=6) + b"0\r\n\r\n" + SMUGGLED,
        ),
    ),
    Attack(
        "G1",
        "Content-Length twice, signed, of letters, of 30 digits",
        "HTTP parser",
        {400},
        sends(
            *(
                head(**KEY)[:-2] + each + b"\r\n\r\n" + SMUGGLED
                for each in (
                    b"content-length: 0\r\ncontent-length: 44",
                    b"content-length: +1",
                    b"content-length: -1",
                    b"content-length: a",
                    b"content-length: " + b"9" * 30,
                    b"content-length: 0, 44",
                )
            )
        ),
    ),
    Attack(
        "G1",
        "other transfer encodings, chunks of odd sizes",
        "HTTP parser",
        {400},
        sends(
            *(
                head(**KEY)[:-2] + each + SMUGGLED
                for each in (
                    b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                    b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
                    b"transfer-encoding: chunked\r\n\r\n0x5\r\n",
                    b"transfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
                    b"transfer-encoding: chunked\r\n\r\n-1\r\n",
                )
            )
        ),
    ),
    Attack(
        "G1",
        "folded header, header without a colon, NUL in a header, space before a colon",
        "HTTP parser",
        {400},
        sends(
            *(
                head(**KEY)[:-2] + each + b"\r\ncontent-length: 0\r\n\r\n"
                for each in (b"a: b\r\n c: d", b"no colon", b"a: b\x00", b"content-length : 5")
            )
        ),
    ),
    Attack("G1", "HTTP/2 preface", "HTTP parser", {400}, sends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))),
    Attack(
        "G1",
        "TLS ClientHello on the plain port",
        "HTTP parser",
        {400},
        sends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2),
    ),
    Attack(
        "G1", "CONNECT", "HTTP parser", {400}, sends(b"CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n")
    ),
    Attack(
        "G1",
        "upgrade to websocket and to HTTP/2",
        "left out of account",
        {200},
        sends(*(post(one_span(), **KEY, connection="upgrade", upgrade=each) for each in ("websocket", "h2c"))),
    ),
)
