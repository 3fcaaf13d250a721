"""Attacks by who sends, and where to."""

import json

from gateway_tables import MONITOR
from proof_gateway_attacker import head, post
from proof_gateway_attacks import ATTACKER, IN_JSON, KEY, PAGE, PAGES_ORIGIN, Attack, one_span, sends
from proof_gateway_bodies import LOGS, TRACES


def names_another_monitor(attacker):
    attacker.send(post(one_span(**{"aws.rum.appmonitor.id": MONITOR, "service.name": "forged"}), **KEY))


def other_namespaces(attacker):
    log = {"timeUnixNano": "1700000000000000000", "eventName": "forged"}
    attributes = [{"key": "session.id", "value": {"stringValue": "s-1"}}]
    resource = {"attributes": [{"key": "aws.rum.appmonitor.id", "value": {"stringValue": MONITOR}}]}
    request = {"resource": resource, "scopeLogs": [{"logRecords": [{**log, "attributes": attributes}]}]}
    attacker.send(post(json.dumps({"resourceLogs": [request]}).encode(), LOGS, **IN_JSON))


def from_pages(*origins, **headers):
    """Requests of pages."""
    return [post(one_span(), **headers, origin=each) for each in origins]


def preflights(*origins):
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "x-api-key"}
    return [head(method="OPTIONS", content_type=None, origin=each, **asked) for each in origins]


WRONG_ORIGINS = ("https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null", "*",
                 "https://shop.example:8443", "https://SHOP.example", "https://shop.example, https://evil.example")  # fmt: skip
PAGE_KEY = {"x_api_key": PAGE}

SENDERS = (
    Attack("H1", "no token, a body of 1 MB", "tokens", {401}, sends(post(bytes(10**6))), 10),
    Attack(
        "H1",
        "other credentials",
        "tokens",
        {401},
        sends(
            *(
                post(b"", authorization=each)
                for each in ("Basic abc", "Bearer", "Bearer " + "a" * 10_000, "Bearer \xff")
            )
        ),
    ),
    Attack(
        "H2", "browser token from pages of others", "origins", {403}, sends(*from_pages(*WRONG_ORIGINS, **PAGE_KEY))
    ),
    Attack("H2", "browser token without an origin", "origins", {403}, sends(post(one_span(), **PAGE_KEY))),
    Attack("H2", "server's token in the URL", "tokens", {401}, sends(post(one_span(), f"{TRACES}?token={ATTACKER}"))),
    Attack(
        "H2",
        "server's token from the page of a browser token",
        "as it is: both are known",
        {200},
        sends(*from_pages(PAGES_ORIGIN, **KEY)),
    ),
    Attack("H2", "token of another monitor, this one in the spans", "identity", {200}, names_another_monitor),
    Attack("H2", "the same in logs", "identity", {200}, other_namespaces),
    Attack("H3", "preflights of unknown pages", "origins", {403}, sends(*preflights(*WRONG_ORIGINS))),
    Attack("H3", "Origin: null with a server's token", "origins", {403}, sends(*from_pages("null", **KEY))),
)
