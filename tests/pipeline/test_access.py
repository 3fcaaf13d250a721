"""Which credentials sign, where requests go, and when other credentials are looked for."""

import json
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from rum_batches import ANY, PATH, batch, client, settled, urls_sent_to

from otel_rum_exporter.client.left_behind import NoThreadError
from otel_rum_exporter.client.verdicts import Delivered, Parked, Retry
from otel_rum_exporter.testing import CREDENTIALS, LocalRum

OTHER = ("AKIAOTHER", "other-secret")


def write_credentials(tmp_path, access_key, secret_key, profile="default"):
    text = f"[{profile}]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    (tmp_path / "credentials").write_text(text)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


# --- looking again


def test_a_rotated_file(rum, monkeypatch, tmp_path):
    """Credentials that are rotated while the process runs are found with the first request that is refused."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    write_credentials(tmp_path, *CREDENTIALS)
    sender = client(rum.endpoint)
    assert sender.attempt(ANY) == Delivered()
    with known(rum, OTHER):
        write_credentials(tmp_path, *OTHER)
        assert settled(sender) == Delivered()
        assert rum.requests()[-1]["access_key"] == OTHER[0]


class known:  # noqa: N801 - reads as a phrase
    """Lets an endpoint know only this key for a while."""

    def __init__(self, rum, key):
        self.rum, self.key = rum, key

    def __enter__(self):
        self._set(self.key)

    def __exit__(self, *_):
        self._set(CREDENTIALS)

    def _set(self, key):
        self.rum.set_credentials({"access_key": key[0], "secret_key": key[1]})


def test_when_it_is_looked_again(rum):
    """Once at the first refusal, then at a later one every 5 s at most, and at once again after a success."""
    clock = Clock()
    sender = client(rum.endpoint, clock=clock)
    with known(rum, OTHER):
        assert isinstance(settled(sender), Parked)
        clock.now += 4
        assert isinstance(sender.attempt(ANY), Parked)
        clock.now += 1
        assert isinstance(settled(sender), Parked)
        assert isinstance(sender.attempt(ANY), Parked)
    assert sender.attempt(ANY) == Delivered()
    with known(rum, OTHER):
        assert isinstance(settled(sender), Parked)


def test_credentials_that_appear_later(rum, monkeypatch):
    """A client that found none looks again every 5 s at most, so that the process need not be restarted."""
    clock = Clock()
    sender = client(rum.endpoint, clock=clock)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert isinstance(sender.attempt(ANY), Parked)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS[0])
    assert isinstance(sender.attempt(ANY), Parked)
    clock.now += 5
    assert settled(sender) == Delivered()


def test_an_attempt_where_no_thread_can_start(rum, monkeypatch):
    """As at interpreter exit: refused or missing credentials are looked for once there, too, and not until the deadline."""
    clock = Clock()
    sender = client(rum.endpoint, clock=clock)
    monkeypatch.setattr(sender._bounded, "call", no_thread)
    with known(rum, OTHER):
        assert isinstance(settled(sender), Parked)
        clock.now += 1
        assert isinstance(sender.attempt(ANY), Parked)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    clock.now += 5
    assert isinstance(settled(sender), Parked)
    assert isinstance(sender.attempt(ANY), Parked)


def no_thread(*_):
    raise NoThreadError


def test_one_look_for_many_senders(rum):
    """Eight senders that are refused at the same time go again with one new client."""
    sender = client(rum.endpoint, max_in_flight=8)
    first = sender._access.client()
    rum.set_faults(status=403, latency_ms=100)
    made, make = [], sender._access._make_locked
    sender._access._make_locked = lambda: made.append(make())
    at_once = threading.Barrier(8)

    def send(_):
        at_once.wait(30)
        return [sender.attempt(ANY) for _ in range(2)]

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(send, range(8)))
    assert {(type(again), again.cause) for again, _ in verdicts} == {(Retry, "credentials")}
    assert {type(last) for _, last in verdicts} == {Parked}
    assert len(made) == 1
    assert sender._access.client() is not first


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"])
def test_codes_about_credentials(rum, status, code):
    """They are about credentials whatever their status."""
    rum.set_faults(status=status, headers={"x-amzn-errortype": code}, body='{"message": "no"}')
    assert settled(client(rum.endpoint)).message == f"{status} {code}: no"


def test_credentials_that_get_lost(rum, monkeypatch, tmp_path):
    """A look that fails says why: here the profile has gone."""
    write_credentials(tmp_path, "AKIAWRONG", "wrong", profile="shop")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    sender = client(rum.endpoint)
    sender._access.client()
    (tmp_path / "credentials").unlink()
    assert sender.attempt(ANY).message == "The config profile (shop) could not be found"


# --- what users configure for boto3


def test_a_profile(rum, monkeypatch, tmp_path):
    """AWS_PROFILE names the section whose key signs."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    write_credentials(tmp_path, *CREDENTIALS, profile="shop")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    assert client(rum.endpoint).attempt(ANY) == Delivered()


def write_process(tmp_path, script):
    (tmp_path / "process.py").write_text(script)
    (tmp_path / "config").write_text(
        f'[default]\ncredential_process = "{sys.executable}" "{tmp_path / "process.py"}" "{tmp_path / "asked"}"\n'
    )


GIVE = f"""
import json, pathlib, sys
pathlib.Path(sys.argv[1]).touch()
print(json.dumps({{"Version": 1, "AccessKeyId": "{CREDENTIALS[0]}", "SecretAccessKey": "{CREDENTIALS[1]}"}}))
"""


def test_a_credential_process(local_rum, tmp_path):
    """A program gives the key."""
    write_process(tmp_path, GIVE)
    assert client(local_rum.endpoint).attempt(ANY) == Delivered()
    local_rum.reset()


def test_a_credential_process_that_fails(local_rum, tmp_path):
    """The events wait until it works; what it said is told."""
    write_process(tmp_path, "raise SystemExit('the vault is sealed')")
    sender = client(local_rum.endpoint)
    verdict = sender.attempt(ANY)
    assert isinstance(verdict, Parked)
    assert "the vault is sealed" in verdict.message
    write_process(tmp_path, GIVE)
    assert sender.attempt(ANY) == Delivered()
    local_rum.reset()


def test_a_credential_process_that_hangs(local_rum, tmp_path):
    """Looking for credentials is a part of the attempt, and ends with its timeout."""
    write_process(tmp_path, "import sys; sys.stdin.close(); import time; time.sleep(3)")
    verdict = client(local_rum.endpoint, timeout=300).attempt(ANY)
    assert verdict == Retry("network", "The request was given up: no end after 0.3 s")


def test_unsigned_requests_ask_nobody_for_credentials(tmp_path):
    """With auth none no program is run, no key is used, and no header carries one."""
    write_process(tmp_path, GIVE)
    with LocalRum(credentials=None, separate_process=False) as rum:
        assert client(rum.endpoint, auth="none").attempt(ANY) == Delivered()
        (request,) = rum.requests()
    assert request["access_key"] is None
    assert not {"authorization", "x-amz-security-token"} & request["headers"].keys()
    assert not (tmp_path / "asked").exists()


@pytest.mark.usefixtures("_credentials")
@pytest.mark.parametrize(
    ("variable", "host"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "dataplane.rum-fips.us-east-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "dataplane.rum.us-east-1.api.aws"),
    ],
)
def test_variants_of_awss_endpoint(monkeypatch, variable, host):
    """FIPS and dual stack are AWS's own hosts, too, and get the prefix of the data plane."""
    monkeypatch.setenv(variable, "true")
    assert urls_sent_to(client(None)) == [f"https://{host}{PATH}"]


# --- secrets


CANARIES = ("AKIACANARY0000000000", "canary-secret-key", "canary-session-token")
USER_ID_SECRET = "canary-user-id-secret"  # noqa: S105 - a secret to look for


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 403, "headers": {"x-amzn-errortype": "InvalidSignatureException"}, "body": "{}"},
        {"status": 400, "headers": {"x-amzn-errortype": "ValidationException"}, "body": "{}"},
        {"status": 500, "body": "not JSON"},
        {"status": 418, "body": "{}"},
        {"reset": "before"},
        {},
    ],
    ids=["403", "400", "500", "418", "reset", "unknown key"],
)
def test_secrets_stay_secret(rum, monkeypatch, caplog, answer):
    """Neither verdicts nor representations nor log lines show them, even if the service quotes the request it got."""
    quoted = f"POST\nx-amz-security-token:{CANARIES[2]}\nCredential={CANARIES[0]}/20260101/us-east-1"
    if answer.get("body") == "{}":
        answer = answer | {"body": json.dumps({"message": quoted})}
    elif "body" in answer:
        answer = answer | {"body": quoted}
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name, value in zip(names, CANARIES, strict=True):
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    rum.set_faults(**answer)
    sender = client(rum.endpoint, user_id_secret=USER_ID_SECRET)
    verdicts = [sender.attempt(batch(3, session_metadata=None)) for _ in range(2)]
    others = ("botocore", "urllib3", "boto3")
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith(others)]
    shown = "\n".join([repr(verdicts), repr(sender), repr(vars(sender)), *lines])
    assert not [secret for secret in (*CANARIES, USER_ID_SECRET) if secret in shown]
