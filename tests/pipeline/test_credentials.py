"""Guest credentials of Cognito, over HTTP: moto's Cognito and STS, and a pool that can be told how to fail."""

import json
import logging
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from moto.cognitoidentity.models import cognitoidentity_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.sts.models import sts_backends
from rum_batches import ANY, client, settled

from otel_rum_exporter import ParkReason
from otel_rum_exporter.client.verdicts import Delivered, Parked, Retry
from otel_rum_exporter.testing import CREDENTIALS, LocalRum

REGION = "us-east-1"
POOL_ID = f"{REGION}:12345678-1234-1234-1234-123456789012"
ROLE = "arn:aws:iam::123456789012:role/guest"
OF_MOTO = ("TESTACCESSKEY12345", "ABCSECRETKEY", "ABC12345")


@pytest.fixture(scope="module")
def moto():
    """The URL of moto's server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def moto_pool(moto, monkeypatch):
    """The id of an identity pool of moto's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY", moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    cognito = boto3.session.Session().client(
        "cognito-identity", region_name=REGION, endpoint_url=moto, config=Config(signature_version=UNSIGNED)
    )
    return cognito.create_identity_pool(IdentityPoolName="guests", AllowUnauthenticatedIdentities=True)[
        "IdentityPoolId"
    ]


@pytest.fixture(scope="module")
def open_rum():
    """An endpoint that takes every signature and says whose it was."""
    with LocalRum(credentials=None, separate_process=False) as rum:
        yield rum


def identities(pool_id):
    return cognitoidentity_backends[DEFAULT_ACCOUNT_ID][REGION].pools_identities[pool_id]["Identities"]


def test_enhanced_flow(moto_pool):
    """The pool's credentials sign what is sent, and the endpoint verifies the signature and the token."""
    with LocalRum(credentials=OF_MOTO, separate_process=False) as rum:
        assert client(rum.endpoint, identity_pool_id=moto_pool).attempt(ANY) == Delivered()
        assert rum.requests()[0]["access_key"] == OF_MOTO[0]
    assert len(identities(moto_pool)) == 1


def test_classic_flow(moto_pool, open_rum):
    """With a role STS gives the credentials."""
    assert client(open_rum.endpoint, identity_pool_id=moto_pool, guest_role_arn=ROLE).attempt(ANY) == Delivered()
    assumed = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assumed_roles[-1]
    sent = open_rum.requests()[-1]
    assert (assumed.role_arn, assumed.session_name) == (ROLE, "otel-rum-exporter")
    assert sent["access_key"] == assumed.access_key_id


def test_a_refresh_before_the_end(moto_pool, open_rum):
    """Credentials are renewed a quarter of an hour before they end, for the same guest."""
    times = [datetime.now(timezone.utc)]
    sender = client(open_rum.endpoint, identity_pool_id=moto_pool, guest_role_arn=ROLE, now=lambda: times[-1])
    keys = []
    for minutes in (0, 44, 46):
        times.append(times[0] + timedelta(minutes=minutes))
        assert sender.attempt(ANY) == Delivered()
        keys.append(open_rum.requests()[-1]["access_key"])
    assert keys[0] == keys[1] != keys[2]
    assert len(identities(moto_pool)) == 1


class Pool:
    """An identity pool on a socket. It knows the identities it gave.

    `failure` is a status and a code for every call, `bodies` are those of successes, by operation, instead of its own.
    """

    def __init__(self):
        self.calls = []
        self.identities = set()
        self.failure = None
        self.bodies = {}
        self.lifetime = timedelta(hours=1)

    def answer(self, operation, body, headers):
        self.calls.append(operation)
        assert "Authorization" not in headers or not operation
        if self.failure is not None:
            status, code = self.failure
            return status, {"__type": code, "message": "as told"}
        if operation in self.bodies:
            return 200, self.bodies[operation]
        if operation == "GetId":
            identity_id = f"{REGION}:00000000-0000-0000-0000-{len(self.calls):012d}"
            self.identities.add(identity_id)
            return 200, {"IdentityId": identity_id}
        identity_id = json.loads(body)["IdentityId"]
        if identity_id not in self.identities:
            return 400, {"__type": "ResourceNotFoundException", "message": f"Identity '{identity_id}' not found"}
        return 200, {"IdentityId": identity_id, "Credentials": self.credentials(len(self.calls))}

    def credentials(self, number):
        return {
            "AccessKeyId": f"ASIAGUEST{number}",
            "SecretKey": f"secret-{number}",
            "SessionToken": f"token-{number}",
            "Expiration": (datetime.now(timezone.utc) + self.lifetime).timestamp(),
        }

    def known_to(self, rum, number, *, expired=False):
        """Let an endpoint know what the call of this number gave."""
        rum.set_credentials(
            {
                "access_key": f"ASIAGUEST{number}",
                "secret_key": f"secret-{number}",
                "session_token": f"token-{number}",
                "expired": expired,
            }
        )


@pytest.fixture
def pool(rum, monkeypatch):
    """A pool whose guests the endpoint may come to know; afterwards it knows what it knew before."""
    told = Pool()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = told.answer(self.headers.get("X-Amz-Target", "").rpartition(".")[2], body, self.headers)
            answer = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        told.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY", told.url)
        yield told
        server.shutdown()
        serving.join()
    rum.set_credentials({"access_key": CREDENTIALS[0], "secret_key": CREDENTIALS[1]})


def guest(rum, **options):
    return client(rum.endpoint, identity_pool_id=POOL_ID, **options)


def test_one_look_for_many_requests(pool, rum):
    """Credentials are kept as long as they are good."""
    pool.known_to(rum, 2)
    sender = guest(rum)
    assert [sender.attempt(ANY) for _ in range(3)] == [Delivered()] * 3
    assert pool.calls == ["GetId", "GetCredentialsForIdentity"]


def test_the_guest_comes_before_other_credentials(pool, rum):
    """Who names a pool wants its guests to sign, whatever else the environment holds; the fixture sets a key there."""
    pool.known_to(rum, 2)
    assert guest(rum).attempt(ANY) == Delivered()
    assert rum.requests()[0]["access_key"] == "ASIAGUEST2"


def test_credentials_that_the_service_refuses(pool, rum):
    """What expired early, or was revoked, is replaced at once, and the guest stays the same."""
    pool.known_to(rum, 2)
    sender = guest(rum)
    assert sender.attempt(ANY) == Delivered()
    pool.known_to(rum, 2, expired=True)
    assert sender.attempt(ANY).cause == "credentials"
    pool.known_to(rum, 3)
    assert sender.attempt(ANY) == Delivered()
    assert pool.calls == ["GetId", "GetCredentialsForIdentity", "GetCredentialsForIdentity"]


def test_a_guest_that_the_pool_forgot(pool, rum):
    """Its identity may have been deleted; the pool gives another one."""
    times = [datetime.now(timezone.utc)]
    pool.known_to(rum, 2)
    sender = guest(rum, now=lambda: times[-1])
    assert sender.attempt(ANY) == Delivered()
    pool.identities.clear()
    times.append(times[0] + timedelta(minutes=59))
    pool.lifetime = timedelta(hours=2)
    pool.known_to(rum, 5)
    assert sender.attempt(ANY) == Delivered()
    assert pool.calls[2:] == ["GetCredentialsForIdentity", "GetId", "GetCredentialsForIdentity"]


@pytest.mark.parametrize(
    "code",
    [
        "ResourceNotFoundException",
        "NotAuthorizedException",
        "InvalidParameterException",
        "InvalidIdentityPoolConfigurationException",
    ],
)
def test_a_pool_that_gives_nothing(pool, rum, code):
    """It does not exist, or has no guests: the events wait, and one line says what to check."""
    pool.failure = (400, code)
    verdict = guest(rum).attempt(ANY)
    assert isinstance(verdict, Parked)
    assert verdict.reason is ParkReason.UNAUTHORIZED
    assert (code in verdict.message, "Check OTEL_EXPORTER_RUM_IDENTITY_POOL_ID" in verdict.message) == (True, True)
    assert rum.stats()["requests"] == 0


def test_a_pool_that_gives_something_again(pool, rum):
    """Nothing needs a restart once the pool is mended."""
    pool.failure = (400, "NotAuthorizedException")
    sender = guest(rum)
    assert isinstance(sender.attempt(ANY), Parked)
    pool.failure = None
    pool.known_to(rum, 3)
    assert sender.attempt(ANY) == Delivered()


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        ((400, "TooManyRequestsException"), "throttled"),
        ((429, "TooManyRequestsException"), "throttled"),
        ((400, "InternalErrorException"), "server"),
        ((500, "InternalErrorException"), "server"),
        ((400, "ServiceUnavailable"), "server"),
        ((400, "ExternalServiceException"), "server"),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(map(str, each)),
)
def test_a_pool_that_is_busy(pool, rum, failure, cause):
    """What passes is tried again, as it is with CloudWatch RUM itself."""
    pool.failure = failure
    verdict = guest(rum).attempt(ANY)
    assert isinstance(verdict, Retry)
    assert (verdict.cause, "GetId" in verdict.message) == (cause, True)


PAGE = b"<html>Please log in</html>"
KEYS = {"AccessKeyId": "ASIA", "SecretKey": "s", "SessionToken": "t", "Expiration": 4e9}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("GetId", PAGE),
        ("GetId", {}),
        ("GetId", []),
        ("GetId", {"IdentityId": 7}),
        ("GetId", {"IdentityId": ""}),
        ("GetCredentialsForIdentity", PAGE),
        ("GetCredentialsForIdentity", {"Credentials": None}),
        ("GetCredentialsForIdentity", {"Credentials": "keys"}),
        *(("GetCredentialsForIdentity", {"Credentials": {**KEYS, name: None}}) for name in KEYS),
        ("GetCredentialsForIdentity", {"Credentials": {**KEYS, "AccessKeyId": ["ASIA"]}}),
        ("GetCredentialsForIdentity", {"Credentials": {**KEYS, "Expiration": "soon"}}),
    ],
    ids=str,
)
def test_a_pool_that_makes_no_sense(pool, rum, operation, body):
    """A success of somebody on the way to it: the events wait, nobody's fault is made of it, and the next try is new."""
    pool.bodies[operation] = body
    sender = guest(rum)
    verdict = sender.attempt(ANY)
    assert isinstance(verdict, Retry), verdict
    assert (verdict.cause, "cannot be read" in verdict.message) == ("server", True)
    assert rum.stats()["requests"] == 0
    pool.bodies.clear()
    pool.known_to(rum, len(pool.calls) + (2 if operation == "GetId" else 1))
    assert sender.attempt(ANY) == Delivered()


@pytest.mark.parametrize("body", [PAGE, b"", b"<a/>"], ids=["page", "nothing", "another document"])
def test_a_token_service_that_makes_no_sense(pool, rum, monkeypatch, body):
    """STS is asked in the classic flow, and answers in XML; the same holds for it."""
    pool.bodies |= {"GetOpenIdToken": {"Token": "token"}, "": body}  # STS's requests name no target
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", pool.url)
    verdict = guest(rum, guest_role_arn=ROLE).attempt(ANY)
    assert isinstance(verdict, Retry), verdict
    assert (verdict.cause, "cannot be read" in verdict.message) == ("server", True)


@pytest.mark.parametrize("body", [PAGE, b"<a/>"], ids=["page", "another document"])
def test_a_token_service_of_a_profile_that_makes_no_sense(pool, rum, monkeypatch, tmp_path, body):
    """boto3 asks it, and fails in its own way."""
    pool.bodies[""] = body
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", pool.url)
    monkeypatch.setenv("AWS_PROFILE", "sender")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    write_profile(tmp_path)
    verdict = client(rum.endpoint).attempt(ANY)
    assert isinstance(verdict, Retry), verdict
    assert (verdict.cause, "cannot be read" in verdict.message) == ("server", True)


def test_a_program_that_gives_no_credentials(rum, monkeypatch, tmp_path):
    """It prints something else, as it may for a moment: the events wait."""
    monkeypatch.setenv("AWS_PROFILE", "sender")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    (tmp_path / "config").write_text("[profile sender]\ncredential_process = echo busy\n")
    verdict = client(rum.endpoint).attempt(ANY)
    assert isinstance(verdict, Parked), verdict
    assert (verdict.reason, rum.stats()["requests"]) == (ParkReason.UNAUTHORIZED, 0)


def test_a_pool_that_cannot_be_reached(rum, refused, monkeypatch):
    """The network of the pool is a network, too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY", refused)
    verdict = guest(rum).attempt(ANY)
    assert isinstance(verdict, Retry)
    assert verdict.cause == "network"


def test_a_clock_that_is_wrong(pool, rum):
    """Where the clock is hours ahead new credentials look as if they were out of date."""
    verdict = guest(rum, now=lambda: datetime.now(timezone.utc) + timedelta(hours=2)).attempt(ANY)
    assert isinstance(verdict, Parked)
    assert verdict.message.endswith("Is the clock of this machine right?")
    assert pool.calls == ["GetId", "GetCredentialsForIdentity"]


def test_a_refused_guest_is_parked(pool, rum):
    """A role whose policy allows nothing: other credentials are tried once."""
    pool.known_to(rum, 99)
    assert isinstance(settled(guest(rum)), Parked)


def test_a_role_of_a_profile(moto, open_rum, monkeypatch, tmp_path):
    """A profile that assumes a role is boto3's business: STS gives the key that signs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    monkeypatch.setenv("AWS_PROFILE", "sender")
    write_profile(tmp_path)
    assert client(open_rum.endpoint).attempt(ANY) == Delivered()
    assumed = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assumed_roles[-1]
    assert open_rum.requests()[-1]["access_key"] == assumed.access_key_id


def write_profile(home):
    """A profile that assumes a role."""
    (home / "config").write_text(
        f"[profile sender]\nrole_arn = {ROLE}\nsource_profile = base\nregion = {REGION}\n\n[profile base]\n"
        "aws_access_key_id = AKIABASE\naws_secret_access_key = base-secret\n"
    )
