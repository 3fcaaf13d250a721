"""Attacks by what a connection does, and by what it does not do."""

import contextlib
import socket
import threading

from proof_gateway_attacker import CLOSED, chunk, head, post
from proof_gateway_attacks import KEY, Attack, one_span


def lies_too_long(attacker):
    attacker.send(head(content_length=1000, **KEY) + one_span())


def lies_too_short(attacker):
    body = one_span()
    attacker.send(head(content_length=len(body) // 2, **KEY) + body, answers=2)


def stops_within_chunks(attacker):
    attacker.send(head(transfer_encoding="chunked", **KEY) + chunk(one_span()))


def slow_heads(attacker):
    with attacker.connections(200, b"POST /v1/traces HTTP/1.1\r\nhost: gateway\r\n") as raws:
        attacker.drip(raws, b"a", attacker.config.drip_s)


def slow_bodies(attacker):
    with attacker.connections(200, head(content_length=1000, **KEY)) as raws:
        attacker.drip(raws, b"a", attacker.config.drip_s)


def idles(attacker):
    with attacker.connections(500) as raws:
        attacker.drip(raws, b"", attacker.config.drip_s)


def idles_of_one_address(attacker):
    with attacker.connections(attacker.config.max_connections + 50, source=attacker.source()) as raws:
        attacker.drip(raws, b"", attacker.config.drip_s)


def endless_trailers(attacker):
    """After the last chunk: headers again, as many as the connection takes."""
    with attacker.connect() as raw:
        raw.sendall(head(transfer_encoding="chunked", **KEY) + chunk(one_span()) + b"0\r\n")
        _pours(attacker, raw, b"trailer: " + b"a" * 1000 + b"\r\n")


def endless_chunk_extension(attacker):
    with attacker.connect() as raw:
        raw.sendall(head(transfer_encoding="chunked", **KEY) + b"1;")
        _pours(attacker, raw, b"a" * 1000)


def endless_empty_lines(attacker):
    with attacker.connect() as raw:
        _pours(attacker, raw, b"\r\n" * 500)


def body_after_the_answer(attacker):
    """The answer is there already, and the body goes on."""
    with attacker.connect() as raw:
        raw.sendall(head(content_length=10**9, x_api_key="unknown-token-0123456789"))
        attacker.read(raw)
        _pours(attacker, raw, bytes(1000), notes=False)


def _pours(attacker, raw, unit, *, notes=True):
    """Send the same without end; takes note of what comes first, the answer or the end."""
    with contextlib.suppress(OSError):
        attacker.pour(raw, unit * 64, 6 * attacker.config.body_timeout_s)
        attacker.note("still open")
    if notes:
        attacker.read(raw)


def never_reads(each, pause_s):
    """An attack that asks again and again, so many at a time, and reads no answer until the gateway has had enough."""

    def run(attacker):
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            raw.bind((attacker.source(), 0))
            raw.settimeout(6 * attacker.config.body_timeout_s)
            raw.connect(attacker.address)
            try:
                attacker.pour(raw, post(b"", "/nothing") * each, 6 * attacker.config.body_timeout_s, pause_s)
            except TimeoutError:
                attacker.note("still open")
            except OSError:
                attacker.note(CLOSED)
            else:
                attacker.note("all taken")

    return run


def leaves_within_the_body(attacker):
    body = one_span()
    request = head(content_length=len(body), **KEY) + body[: len(body) // 2]
    for _ in range(200):
        with attacker.connect() as raw:
            raw.sendall(request)
    attacker.send(post(one_span(), **KEY))


def leaves_before_the_answer(attacker):
    for number in range(200):
        with attacker.connect() as raw:
            raw.sendall(post(one_span(number), **KEY))
    while attacker.answer_to(post(one_span(200), **KEY))[0] == 503:  # as many as may be are in flight still
        pass
    attacker.send(post(one_span(200), **KEY))


def pipelines(attacker):
    with attacker.connect() as raw:
        pouring = threading.Thread(target=_send_all, args=[raw, post(one_span(), **KEY) * 1000])
        pouring.start()
        attacker.read(raw, 1000)
        pouring.join()


def _send_all(raw, data):
    with contextlib.suppress(OSError):
        raw.sendall(data)


CONNECTIONS = (
    Attack("G3", "Content-Length too large, then silence", "body_timeout", {408}, lies_too_long),
    Attack("G3", "Content-Length too small", "parsers", {400}, lies_too_short),
    Attack("G3", "chunked body without its end", "body_timeout", {408}, stops_within_chunks),
    Attack("G7", "heads that never end on 200 connections", "header_timeout", {408}, slow_heads),
    Attack("G7", "bodies of 1 byte a second on 200 connections", "body_timeout", {408}, slow_bodies),
    Attack("G7", "500 idle connections", "header_timeout", {CLOSED}, idles),
    Attack("G7", "more idle connections of one address than there may be", "max_connections", {503, CLOSED},
           idles_of_one_address),
    Attack("G7", "trailers without end", "header bytes", {431}, endless_trailers),
    Attack("G7", "chunk extension without end", "header bytes", {431}, endless_chunk_extension),
    Attack("G7", "empty lines without end", "header bytes", {431}, endless_empty_lines),
    Attack("G7", "a body that goes on after its answer", "header_timeout", {401}, body_after_the_answer),
    Attack("G7", "thousands of requests whose answers are never read", "requests waiting", {CLOSED}, never_reads(100, 0)),
    Attack("G7", "the same, a few at a time", "answers unread", {CLOSED}, never_reads(10, 0.005)),
    Attack("G8", "200 disconnects within a body", "disconnected", {200}, leaves_within_the_body),
    Attack("G8", "200 disconnects before the answer", "counted", {200}, leaves_before_the_answer),
    Attack("G1", "1,000 requests on one connection at once", "requests waiting", {200, 429, CLOSED}, pipelines),
)  # fmt: skip
