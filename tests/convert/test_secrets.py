"""Secrets in URLs, wherever an application puts them."""

import msgspec
import pytest

from otel_rum_exporter import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
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
    config = RumConfig.load({"app_monitor_id": "11111111-2222-3333-4444-555555555555", "url_query": url_query}, {})
    (draft,) = Converter(config).log(item, LogEventIds()).events
    details = draft.details if isinstance(draft.details, str) else repr(draft.details.event)
    assert "shop.example/cart" in details
    assert f"ada:{SECRET}" not in details
    assert (SECRET in details) is is_kept
