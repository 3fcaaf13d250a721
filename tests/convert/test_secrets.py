"""Secrets in URLs, wherever an application puts them: not in what is sent, and not in what waits to be."""

import json
import re
from collections.abc import Mapping

import golden
import msgspec
import pytest
from test_golden import CASES

from otel_rum_exporter import DropReason, RumConfig
from otel_rum_exporter.convert import Converter, Draft, LogEventIds
from otel_rum_exporter.otlp import items

SECRET = "S3cr3tValue"  # noqa: S105 - the canary
URL = f"https://ada:{SECRET}@shop.example/cart?token={SECRET}&page=2"


def log(name, body=None, **attributes):
    """A log event of a browser as OTLP JSON has it."""
    record = {
        "eventName": name,
        "timeUnixNano": "1700000000000000000",
        "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
    }
    if body is not None:
        record["body"] = {"stringValue": body}
    return items(msgspec.json.encode({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))[0]


LCP = msgspec.json.encode(
    {
        "url": URL,
        "timeToFirstByte": 1,
        "resourceLoadDelay": 1,
        "resourceLoadDuration": 1,
        "elementRenderDelay": 1,
    }
).decode()

ITEMS = {
    "message": log("exception", **{"exception.message": {"stringValue": f"cannot load {URL} now"}}),
    "stack": log(
        "exception",
        **{
            "exception.type": {"stringValue": "Error"},
            "exception.stacktrace": {"stringValue": f"Error: x\n    at f ({URL}:1:2)"},
        },
    ),
    "paint": log(
        "browser.web_vital",
        LCP,
        **{"browser.web_vital.name": {"stringValue": "lcp"}, "browser.web_vital.value": {"intValue": 7}},
    ),
    "attribute": log("link.followed", link={"stringValue": URL}),
    "resource": log(
        "browser.resource_timing",
        **{"url.full": {"stringValue": URL}, "browser.resource_timing.duration": {"intValue": 7}},
    ),
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@pytest.mark.parametrize(("url_query", "is_kept"), [("redact", False), ("drop", False), ("keep", True)])
def test_urls_are_redacted(item, url_query, is_kept):
    """By default no secret leaves the process; userinfo never does."""
    options = {"url_query": url_query, "redact_text": not is_kept}
    config = RumConfig.load({"app_monitor_id": "11111111-2222-3333-4444-555555555555", **options}, {})
    (draft,) = Converter(config).log(item, LogEventIds()).events
    details = draft.details if isinstance(draft.details, str) else repr(draft.details.event)
    assert "shop.example/cart" in details
    assert f"ada:{SECRET}" not in details
    assert (SECRET in details) is is_kept


def strings(value):
    """Every string that can be reached from a value."""
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
    elif isinstance(value, msgspec.Struct):
        yield from strings([getattr(value, name) for name in value.__struct_fields__])
    elif isinstance(value, Mapping):
        yield from strings([*value, *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for member in value:
            yield from strings(member)
    else:
        # anything else could hide a string
        assert value is None or value is msgspec.UNSET or isinstance(value, bool | int | float), type(value)


def with_secrets(exports):
    """The exports with userinfo and a token in each URL of theirs, wherever it stands."""
    text = json.dumps(exports)
    text = re.sub(r"([a-z]+://)((?:[^\"\\\s?#():]|:\d+/)*)\??", rf"\1ada:{SECRET}@\2?token={SECRET}&", text)
    return json.loads(re.sub(r"(\"/[^\"?\s]*\?)", rf"\1token={SECRET}&", text))


REDACTING = [each for each in CASES if each.values[0].get("options", {}).get("url_query") != "keep"]


@pytest.mark.parametrize("case", REDACTING)
def test_nothing_secret_waits(case):
    """Nothing that can be reached from queued events and from the facts of a session holds a secret of a URL."""
    for _, each in golden.converted(case, with_secrets(case["exports"])):
        if isinstance(each, DropReason):
            continue
        held = [each.events, each.facts, each.seen, each.session, each.user]
        assert [text for text in strings(held) if SECRET in text] == []


def test_the_walk_finds_what_is_there():
    """The test above could fail: the items hold secrets, and the walk reaches into events, keys and values."""
    texts = [json.dumps(with_secrets(each.values[0]["exports"])) for each in REDACTING]
    assert sum(SECRET in text for text in texts) > len(texts) // 2
    hidden = [{("call", SECRET): 1}, {1: (Draft(id="", time_ns=1, type="", details="", domain=SECRET),)}]
    assert all(SECRET in strings(each) for each in hidden)
