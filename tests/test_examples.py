"""Each example runs as its text says, against the embedded endpoint, and what it promises arrives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otel_rum_exporter import RumConfig
from otel_rum_exporter.testing import LocalRum

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(*command, endpoint=""):
    """Run an example with this Python first on the path; nothing of this process's telemetry settings reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AWS_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    environment = {**kept, "PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    if endpoint:
        environment["OTEL_EXPORTER_RUM_ENDPOINT"] = endpoint
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done


def types(events):
    return sorted(event["type"].removeprefix("com.amazon.rum.") for event in events)


def test_the_table_has_each_example():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    examples = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}
    assert examples == set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", table, re.MULTILINE))


def test_quickstart_prints_the_spans_and_the_exception():
    done = run(sys.executable, str(EXAMPLES / "quickstart.py"))
    assert "'name': 'checkout'" in done.stdout
    assert "'message': 'card expired', 'filename'" in done.stdout
    assert "accepted=3, delivered=3" in done.stdout


def test_notes_app_has_a_session_for_each_user():
    done = run(sys.executable, str(EXAMPLES / "notes_app.py"))
    lines = done.stdout.splitlines()
    sessions = [line.split() for line in lines if line.startswith("session ")]
    assert len({(session, user) for _, session, _, _, user in sessions}) == len({user for *_, user in sessions}) == 2
    of_each = [
        "session_start_event on notes All notes",
        "page_view_event on notes All notes",
        "otel.span on notes All notes",
        "page_view_event on notes/edit Edit groceries",
        "js_error_event on notes/edit Edit groceries",
        "otel.span on notes/edit Edit groceries",
    ]
    assert sorted(line.strip() for line in lines if line.startswith("    ")) == sorted(2 * of_each)
    assert (
        "received=8, converted=8, items_dropped={}, accepted=12, delivered=12, events_dropped={}, dead_lettered={}, queued=0"
        in lines[-1]
    )


def test_zero_code_reports_calls_and_logged_exceptions_of_an_unchanged_application():
    assert "opentelemetry" not in (EXAMPLES / "zero_code/app.py").read_text()
    with LocalRum(credentials=None) as rum:
        done = run(str(EXAMPLES / "zero_code/run.sh"), endpoint=rum.endpoint)
        events = rum.wait_for_events(5)
    assert "lisbon: 21 degrees" in done.stdout
    assert types(events) == ["http_event"] * 3 + ["js_error_event", "session_start_event"]
    statuses = [event["details"]["response"]["status"] for event in events if "response" in event["details"]]
    assert statuses == [200, 200, 404]
    assert {event["metadata"]["domain"] for event in events} == {"weather.example.com"}
    assert len({event["session_id"] for event in events}) == 1, "the process is the session"


def test_declarative_options_are_those_of_the_exporter():
    document = yaml.safe_load((EXAMPLES / "declarative/otel.yaml").read_text())
    of_spans, of_logs = (
        document[provider]["processors"][0]["batch"]["exporter"]["rum"]
        for provider in ("tracer_provider", "logger_provider")
    )
    assert of_spans == of_logs, "the exporters share a pipeline only if their options are the same"
    config = RumConfig.load({**of_spans, "endpoint": "http://127.0.0.1:8790"}, {})
    assert config.attributes == ("app.*",)


def test_declarative_configuration_sends_with_the_options_of_the_file():
    pytest.importorskip("opentelemetry.configuration", reason="declarative configuration came with SDK 1.44")
    with LocalRum(credentials=None) as rum:
        done = run(str(EXAMPLES / "declarative/run.sh"), endpoint=rum.endpoint)
        events = rum.wait_for_events(2)
    assert done.stdout == "sold\n"
    assert types(events) == ["cart.checkout", "otel.span"]
    assert {event["metadata"]["app_tier"] for event in events} == {"gold"}
    assert {event["metadata"]["domain"] for event in events} == {"shop.example.com"}
    assert len(rum_requests := {event["batch_id"] for event in events}) == 1, rum_requests


def test_convert_hook_has_its_say():
    done = run(sys.executable, str(EXAMPLES / "convert_hook.py"))
    assert done.stdout.startswith("shop.checkout {'items': 3}\notel.span {")
    assert "'name': 'restock'" in done.stdout
    assert "<DropReason.HOOK: 'hook'>: 1" in done.stdout


def test_lambda_function_has_delivered_when_each_invocation_returns():
    done = run(sys.executable, str(EXAMPLES / "lambda_function.py"))
    assert done.stdout.splitlines() == [
        "{'statusCode': 200} events so far: 2",
        "{'statusCode': 200} events so far: 4",
    ]
