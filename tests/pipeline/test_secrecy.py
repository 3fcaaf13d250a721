"""What secrets, hostile answers and broken credentials can do to what is sent, logged and kept: nothing."""

import json
import logging
import re
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanKind
from rum_batches import ANY, client
from rum_items import MONITOR_ID, START_NS, log, session, span, spans
from rum_threads import join_own_threads

from otel_rum_exporter import ConfigError, RumConfig, RumLogRecordExporter, RumSpanExporter, exporters
from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.client.verdicts import Parked, Refused, Retry
from otel_rum_exporter.testing import LocalRum

SHORT_MS, LONG_MS = 500, 30_000
KEY, SECRET, TOKEN = "AKIACANARY0000000000", "canary-secret-key", "canary-session-token"
BEARER, USER_SECRET, EMAIL = "canary-bearer-token-1", "canary-user-id-secret", "canary@example.com"
CANARIES = (KEY, SECRET, TOKEN, BEARER, USER_SECRET, EMAIL)
OTHERS = ("botocore", "boto3", "urllib3")  # their DEBUG lines show requests as they are sent


@pytest.fixture(scope="module")
def canary_rum():
    with LocalRum(credentials=(KEY, SECRET, TOKEN), separate_process=False) as rum:
        yield rum


@pytest.fixture
def _canaries(monkeypatch, caplog):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)


def lines(caplog):
    """What our own loggers said, exceptions with it."""
    formatter = logging.Formatter("%(name)s %(message)s")
    return [formatter.format(each) for each in caplog.records if not each.name.startswith(OTHERS)]


def files(folder):
    return [each.read_bytes().decode("latin-1") for each in folder.rglob("*") if each.is_file()]


def with_secrets(name):
    """A span whose attributes, exception and name hold all canaries."""
    message = f"{name}: Authorization: Bearer {BEARER}\nof {EMAIL}, aws_secret_access_key={SECRET}"
    plain = span(f"{name} for {EMAIL}", session_id=session(1), user_id=EMAIL)
    attributes = {
        **plain.attributes,
        "http.request.header.authorization": [f"Bearer {BEARER}"],
        "note": f"key {KEY}, session_token={TOKEN}, user-id-secret={USER_SECRET}",
        EMAIL: "x",
    }
    return ReadableSpan(
        plain.name,
        plain.context,
        resource=plain.resource,
        attributes=attributes,
        events=[Event("exception", {"exception.type": "E", "exception.message": message}, START_NS)],
        kind=SpanKind.INTERNAL,
        start_time=plain.start_time,
        end_time=plain.end_time,
        instrumentation_scope=plain.instrumentation_scope,
    )


QUOTED = json.dumps({"message": f"POST\nx-amz-security-token:{TOKEN}\nCredential={KEY}/20260101/us-east-1"})
FAULTS = {
    "success": {},
    "403": {"status": 403, "headers": {"x-amzn-errortype": "InvalidSignatureException"}, "body": QUOTED},
    "400": {"status": 400, "headers": {"x-amzn-errortype": "ValidationException"}, "body": QUOTED},
    "one of the events": {"poison": ["poison"]},
    "503": {"status": 503, "body": QUOTED},
    "418": {"status": 418, "body": QUOTED},
    "reset": {"reset": "before"},
}


@pytest.mark.usefixtures("_canaries")
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_secrets_are_nowhere(canary_rum, tmp_path, caplog, faults, on_disk):
    """Neither in log lines nor in what objects show, in what waits or stays on disk, dead letters among it, or is sent."""
    canary_rum.set_faults(**faults)
    options = {
        "app_monitor_id": MONITOR_ID,
        "region": "us-east-1",
        "endpoint": canary_rum.endpoint,
        "user_id_secret": USER_SECRET,
        "attributes": "*",
        "flush_interval": 60_000,
        **({"spool_dir": tmp_path / "spool"} if on_disk else {}),
    }
    exporter = RumSpanExporter(**options)
    exporter.export([with_secrets(name) for name in ("poison", "fine", "good")])
    kept = files(tmp_path)
    exporter.force_flush(LONG_MS if faults in ({}, FAULTS["one of the events"]) else SHORT_MS)
    kept += files(tmp_path)
    stats = exporter.stats()
    shown = [
        repr(each) for each in (exporter, exporter.pipeline, exporter.stats(), vars(exporter), vars(exporter.pipeline))
    ]
    exporter.shutdown(SHORT_MS)
    join_own_threads()
    kept += files(tmp_path)
    canary_rum.clear_faults()
    sent = json.dumps(canary_rum.events())
    canary_rum.reset()
    everything = "\n".join([*lines(caplog), *shown, repr(exporter.stats()), *kept, sent])
    assert [each for each in CANARIES if each in everything] == []
    # what was looked through is there
    assert exporter.stats().is_balanced
    assert bool(kept) is on_disk
    assert not on_disk or "poison" in "".join(kept)
    if not faults:
        assert "for REDACTED" in sent
    if faults == FAULTS["one of the events"]:
        lost = stats.dead_lettered if on_disk else stats.events_dropped
        assert (sum(lost.values()), stats.spool_dead_letters) == (2, 2 if on_disk else 0)
        assert any("refused" in line for line in lines(caplog))


@pytest.mark.parametrize(
    "options",
    [
        {"user_id_secret": USER_SECRET * 60},
        {"user_id_secre": USER_SECRET},
        {"endpoint": f"https://jane:{SECRET}@rum.example"},
        {"endpoint": f"https://rum.example/?token={TOKEN}"},
        {"user_id_secret": USER_SECRET, "timeout": "soon"},
    ],
    ids=["too long", "misspelt", "userinfo", "query", "beside another"],
)
def test_secrets_are_in_no_error(options, monkeypatch, caplog):
    """A configuration that cannot be used is told without them, as an error and as a log line."""
    monkeypatch.setattr(exporters, "_log", CauseLog(exporters._logger, lambda: 0.0))
    with pytest.raises(ConfigError) as raised:
        RumSpanExporter(**options)
    for name, value in options.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_RUM_{name.upper()}", value)
    exporter = RumLogRecordExporter()
    exporter.export([log()])
    exporter.shutdown()
    shown = [str(raised.value), repr(raised.value), repr(raised.value.problems), *lines(caplog)]
    assert [each for each in CANARIES if each in "\n".join(shown)] == []


def test_a_configuration_shows_no_secret():
    """Neither does its representation."""
    shown = repr(RumConfig.load({"user_id_secret": USER_SECRET}, {}))
    assert shown.startswith("RumConfig(")
    assert USER_SECRET not in shown


# --- credentials that are broken


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ACCESS_KEY_ID": KEY},
        {"AWS_PROFILE": "none"},
        {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"},
    ],
    ids=["none", "half", "no profile", "empty", "no token file"],
)
def test_nothing_is_sent_unsigned(canary_rum, monkeypatch, environ):
    """Without credentials that can sign no request leaves, signed or not."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    before = canary_rum.stats()["requests"]
    sender = client(canary_rum.endpoint)
    verdicts = [sender.attempt(ANY) for _ in range(2)]
    assert {type(each) for each in verdicts} <= {Parked, Refused, Retry}
    assert canary_rum.stats()["requests"] == before


@pytest.mark.usefixtures("_canaries")
def test_a_redirect_is_not_followed(canary_rum):
    """A signed request goes nowhere else than where it was addressed to."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.2)
        port = elsewhere.getsockname()[1]
        for status in (301, 302, 303, 307, 308):
            canary_rum.set_faults(status=status, headers={"location": f"http://127.0.0.1:{port}/appmonitors/x/"})
            verdict = client(canary_rum.endpoint).attempt(ANY)
            assert type(verdict) is Retry
        with pytest.raises(TimeoutError):
            elsewhere.accept()
    canary_rum.clear_faults()
    canary_rum.reset()


@pytest.mark.parametrize(
    "host", ["rum.example", "10.0.0.1", "127.0.0.1.example", "localhost.example", "[::2]", "128.0.0.1"]
)
def test_plain_http_leaves_no_machine(host):
    """Without TLS only this machine is spoken to, unless `insecure` says otherwise; no option turns verification off."""
    options = {"app_monitor_id": MONITOR_ID, "endpoint": f"http://{host}:8080"}
    with pytest.raises(ConfigError, match="plain http only to this machine"):
        RumConfig.load(options, {})
    assert RumConfig.load({**options, "insecure": True}, {}).endpoint == options["endpoint"]
    assert not [name for name in RumConfig.__dataclass_fields__ if "verif" in name or "tls" in name or "ssl" in name]


# --- lines that somebody else writes

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
HOSTILE = st.text(
    st.one_of(st.sampled_from("\r\n\x1b\x00\x07\x08\x7f\x85\x9b\u2028\u2029\u202e\u2066[]mK ERROR"), st.characters()),
    min_size=1,
    max_size=80,
)


def one_line_each(caplog):
    """Our lines as a file gets them: each is one, without a control character."""
    found = [record.getMessage() for record in caplog.records if record.name.startswith("otel_rum_exporter")]
    assert [ascii(line) for line in found if CONTROLS.search(line) or len(line.splitlines()) != 1] == []
    assert "\n".join(found).encode()
    return found


@pytest.mark.usefixtures("_canaries")
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(HOSTILE, st.sampled_from([400, 403, 404, 418, 500]))
def test_a_service_forges_no_line(canary_rum, caplog, words, status):
    """Whatever the service answers, what it makes the log say is one line, and the line is ours."""
    caplog.clear()
    caplog.set_level(logging.INFO)  # boto's own lines take longer than all else
    canary_rum.set_faults(
        status=status, headers={"x-amzn-errortype": "ValidationException"}, body=json.dumps({"message": words})
    )
    exporter = RumSpanExporter(app_monitor_id=MONITOR_ID, region="us-east-1", endpoint=canary_rum.endpoint)
    exporter.export(spans(2, session_id=session(1)))
    exporter.force_flush(SHORT_MS // 5)
    exporter.shutdown(0)
    join_own_threads()
    said = one_line_each(caplog)
    assert said
    assert all(line.startswith("RUM exporter: ") for line in said)
    canary_rum.clear_faults()


@given(HOSTILE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_said_is_one_line(caplog, words):
    """The last guard, whoever forgets the others."""
    caplog.clear()
    CauseLog(logging.getLogger("otel_rum_exporter.test"), lambda: 0.0).say(logging.ERROR, "x", words)
    one_line_each(caplog)


FORGED = "x\r\n2026-01-01 ERROR root: forged \x1b[31m\u2028\u2029\x85"


def test_exceptions_and_attributes_forge_no_line(exporters, rum, caplog):
    """Neither the user's own function nor what applications put into items."""

    def convert(_item, _events):
        raise ValueError(FORGED)

    for options in ({"convert": convert}, {}, {"session": "process"}):
        each = exporters(**options)
        each.spans.export([span(FORGED, session_id=FORGED, user_id=FORGED, note=FORGED), object()])
        each.logs.export([log(FORGED, session_id=FORGED), object()])
        each.spans.export(None)
        rum.set_faults(poison=["forged"])
        each.spans.force_flush(SHORT_MS)
        each.shutdown(0)
    assert any("forged" in line for line in one_line_each(caplog))


def test_configurations_forge_no_line(monkeypatch, caplog):
    """Values of variables are shown in the line about them."""
    monkeypatch.setattr(exporters, "_log", CauseLog(exporters._logger, lambda: 0.0))
    for name in ("APP_MONITOR_ID", "ENDPOINT", "TIMEOUT", "REGION", "AUTH"):
        monkeypatch.setenv(f"OTEL_EXPORTER_RUM_{name}", FORGED)
    exporter = RumSpanExporter()
    exporter.shutdown()
    (line,) = one_line_each(caplog)
    assert "forged" in line


@pytest.mark.usefixtures("_canaries")
def test_names_of_files_forge_no_line(canary_rum, tmp_path, caplog):
    """A directory whose name has line breaks, and damaged files in it with such names."""
    folder = tmp_path / "spool\r\nERROR forged\u2028"
    folder.mkdir(mode=0o700)
    for name in ("spool-1-00000000.sqlite", "spool-\nERROR forged.sqlite", "spool-\x1b[31m.sqlite"):
        (folder / name).write_bytes(b"no database at all" * 1000)
        (folder / name).chmod(0o600)
    exporter = RumSpanExporter(
        app_monitor_id=MONITOR_ID, region="us-east-1", endpoint=canary_rum.endpoint, spool_dir=folder, flush_interval=1
    )
    exporter.export(spans(1, session_id=session(1)))
    canary_rum.wait_for_events(1)
    exporter.shutdown(LONG_MS)
    join_own_threads()
    canary_rum.reset()
    assert any("forged" in line for line in one_line_each(caplog))
