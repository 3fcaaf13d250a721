"""Attacks by number: requests, addresses, tokens, events of a session."""

import contextlib
import gzip
import threading
import time

from proof_gateway_attacker import Answers, post
from proof_gateway_attacks import GZIP, KEY, LIMITED, PARTLY, Attack, one_span
from proof_gateway_bodies import MIB, protobuf_spans

RESOURCE = ("service.name", "browser.language", "user_agent.original")


def _flood(attacker, per_second, seconds, request, sources):
    """Send requests at a rate, by as many connections as there are addresses; each is read before it sends again."""
    began, number = time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        raws = [stack.enter_context(attacker.connect(each)) for each in sources]
        reading = [Answers(each) for each in raws]
        while (now := time.monotonic()) < began + seconds:
            threading.Event().wait(max(0.0, began + number / per_second - now))
            for each in raws:
                each.sendall(request)
            for each in reading:
                attacker.note(*each.next())
            number += len(raws)


def floods(request, per_second, *, addresses=10, is_one=True):
    """An attack that sends at a rate, from one address or from several."""

    def run(attacker):
        source = attacker.source()
        sources = [source if is_one else attacker.source() for _ in range(addresses)]
        _flood(attacker, per_second, attacker.config.flood_s, request, sources)

    return run


def forges_addresses(attacker):
    """Each request has another X-Forwarded-For; the connection is nobody's whose word counts."""
    source = attacker.source()
    with attacker.connect(source) as raw:
        reading = Answers(raw)
        for number in range(300):
            raw.sendall(post(b"", x_forwarded_for=f"192.0.2.{number % 256}", **KEY))
            attacker.note(*reading.next())


def _sends_zipped(attacker, bodies):
    for each in bodies:
        attacker.send(post(gzip.compress(each, 1), **GZIP))


def long_sessions(attacker):
    _sends_zipped(attacker, (protobuf_spans(["long"], f"{each}-" + "s" * MIB) for each in range(100)))


def long_pages(attacker):
    """What a session remembers of its pages."""
    pages = ({"url.full": f"https://shop.example/{each}/" + "p" * MIB} for each in range(100))
    _sends_zipped(attacker, (protobuf_spans(["long"], f"pages-{n}", of_span=page) for n, page in enumerate(pages)))


def long_resources(attacker):
    long = (dict.fromkeys(RESOURCE, f"{each}-" + "r" * MIB) for each in range(100))
    _sends_zipped(attacker, (protobuf_spans(["long"], f"resources-{n}", **said) for n, said in enumerate(long)))


def one_session(attacker):
    """5,000 events within a minute's worth."""
    for number in range(50):
        attacker.send(post(protobuf_spans([f"busy {number}.{each}" for each in range(100)], "busy"), **KEY))


CROWDED = frozenset({503})

RATES = (
    Attack("H4", "1,000 requests/s of one client without a token", "client_requests", {401, 429},
           floods(post(b""), 1000)),
    Attack("H4", "1,000 requests/s of one client with a token", "client_requests", {200, 429},
           floods(post(one_span(), **KEY), 1000), may=CROWDED),
    Attack("H4", "1,000 requests/s of 50 clients with one token", "token_requests", {200, 429},
           floods(post(one_span(), x_api_key=LIMITED), 1000, addresses=50, is_one=False), may=CROWDED),
    Attack("H4", "another X-Forwarded-For each time", "client_requests", {200, 429}, forges_addresses),
    Attack("F1", "session ids of 1 MiB", "their length", {200}, long_sessions, 40),
    Attack("F1", "page URLs of 1 MiB", "their length", {200}, long_pages, 40),
    Attack("F1", "names of browsers and applications of 1 MiB", "their length", {200}, long_resources, 40),
    Attack("H4", "5,000 events of one session", "session_records", {PARTLY}, one_session),
    Attack("H1", "500 wrong tokens/s, of 50 clients", "tokens, client_requests", {401},
           floods(post(b"", x_api_key="wrong-token-0123456789"), 500, addresses=50, is_one=False)),
)  # fmt: skip
