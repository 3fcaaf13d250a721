"""Signatures: what botocore signs passes, and each single fault is refused as AWS refuses it."""

import contextlib
import gzip
import hashlib
import json
from datetime import datetime, timedelta, timezone

import boto3
import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotocoreCredentials
from rum_samples import MONITOR, PATH, post, request

from otel_rum_exporter.local import Credentials, sigv4
from otel_rum_exporter.local.answers import RefusedError
from otel_rum_exporter.testing import LocalRum

REGION = "eu-central-1"
PLAIN = ("AKIAPLAIN", "plain/secret+")
SESSION = ("ASIASESSION", "session-secret", "session-token")
EXPIRED = ("ASIAEXPIRED", "expired-secret", "expired-token")
BODY = json.dumps(request()).encode()
MISMATCH = "The request signature we calculated does not match"


@pytest.fixture(scope="module")
def signed_endpoint():
    with LocalRum(PLAIN, separate_process=False, region=REGION) as rum:
        names = ("access_key", "secret_key", "session_token")
        plain, session, expired = (dict(zip(names, each, strict=False)) for each in (PLAIN, SESSION, EXPIRED))
        rum.set_credentials(plain, session, {**expired, "expired": True})
        yield rum


class PresignedPost(SigV4QueryAuth):
    """Presigns a body, as aws-rum-web does for beacons; botocore itself would move it into the query."""

    def payload(self, _request):
        return hashlib.sha256(BODY).hexdigest()


def sign(endpoint, body=BODY, path=PATH, headers=None, **signer):
    """Return the path and the headers of a request as botocore signs it."""
    credentials, query = signer.get("credentials", PLAIN), signer.get("query", False)
    content_type = {"content-type": "application/json"}
    signed = AWSRequest("POST", endpoint + path, data=None if query else body, headers=headers or content_type)
    scope = (BotocoreCredentials(*credentials), signer.get("service", "rum"), signer.get("region", REGION))
    (PresignedPost(*scope, expires=60) if query else SigV4Auth(*scope)).add_auth(signed)
    return signed.url.removeprefix(endpoint), dict(signed.headers.items())


@pytest.mark.parametrize("credentials", [PLAIN, SESSION], ids=["key", "key with token"])
@pytest.mark.parametrize(
    ("path", "query"),
    [(PATH, False), (PATH + "/", False), (PATH + "/?b=2&a=%20x&a=1", False), (PATH, True), (PATH + "/", True)],
    ids=["bare", "slash", "query", "presigned", "presigned with slash"],
)
def test_signed_requests_pass(signed_endpoint, credentials, path, query):
    """Signed in the header or in the query, with either path, with and without a session token."""
    target, headers = sign(signed_endpoint.endpoint, path=path, credentials=credentials, query=query)
    reply = post(signed_endpoint.endpoint, BODY, target, headers)
    assert reply.status == 200, reply.body
    assert signed_endpoint.requests()[-1]["access_key"] == credentials[0]


@pytest.mark.parametrize("hash_header", [False, True], ids=["no hash", "hash header"])
def test_compressed_bytes_are_signed(signed_endpoint, hash_header):
    """The signature covers the bytes on the wire."""
    body = gzip.compress(BODY)
    headers = {"content-encoding": "gzip"}
    if hash_header:
        headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    _, signed = sign(signed_endpoint.endpoint, body, headers=headers)
    assert post(signed_endpoint.endpoint, body, PATH, signed).status == 200


def test_boto3_passes(signed_endpoint):
    """The real client's own signature is accepted, and a wrong secret is the model's error."""

    def client(secret):
        return boto3.client(
            "rum",
            endpoint_url=signed_endpoint.endpoint,
            region_name=REGION,
            aws_access_key_id=PLAIN[0],
            aws_secret_access_key=secret,
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        )

    client(PLAIN[1]).put_rum_events(Id=MONITOR, **request())
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client("wrong").put_rum_events(Id=MONITOR, **request())
    assert error.value.response["Error"]["Code"] == "InvalidSignatureException"


def lacking(header):
    def change(_body, path, headers):
        return BODY, path, {name: value for name, value in headers.items() if name.lower() != header}

    return change


def with_authorization(old, new):
    def change(body, path, headers):
        return body, path, {**headers, "Authorization": headers["Authorization"].replace(old, new)}

    return change


SPOILED = {
    "a byte changed": (
        lambda body, path, headers: (body[:-1] + b" ", path, headers),
        "InvalidSignatureException",
        MISMATCH,
    ),
    "compressed after signing": (
        lambda body, path, headers: (gzip.compress(body), path, {**headers, "content-encoding": "gzip"}),
        "InvalidSignatureException",
        MISMATCH,
    ),
    "slash added": (lambda body, path, headers: (body, path + "/", headers), "InvalidSignatureException", MISMATCH),
    "query added": (lambda body, path, headers: (body, path + "?a=1", headers), "InvalidSignatureException", MISMATCH),
    "signed header changed": (
        lambda body, path, headers: (body, path, {**headers, "content-type": "text/plain"}),
        "InvalidSignatureException",
        MISMATCH,
    ),
    "signed header lost": (lacking("content-type"), "InvalidSignatureException", MISMATCH),
    "hash of another body": (
        lambda body, path, headers: (body, path, {**headers, "x-amz-content-sha256": "0" * 64}),
        "InvalidSignatureException",
        "x-amz-content-sha256",
    ),
    "no date": (lacking("x-amz-date"), "InvalidSignatureException", "'x-amz-date' must be"),
    "no signature": (lacking("authorization"), "MissingAuthenticationTokenException", "Missing Authentication Token"),
    "date not signed": (with_authorization(";x-amz-date", ""), "InvalidSignatureException", "'x-amz-date' must be"),
    "host not signed": (with_authorization("host;", ""), "InvalidSignatureException", "'host' must be"),
    "another scheme": (
        with_authorization("AWS4-HMAC-SHA256", "Bearer"),
        "IncompleteSignatureException",
        "Authorization",
    ),
    "no SignedHeaders": (
        with_authorization("SignedHeaders", "Headers"),
        "IncompleteSignatureException",
        "SignedHeaders",
    ),
    "short scope": (with_authorization("/aws4_request", ""), "IncompleteSignatureException", "5 slash-delimited"),
    "another terminator": (with_authorization("aws4_request", "aws5"), "InvalidSignatureException", "terminator"),
    "signature beyond ASCII": (
        with_authorization("Signature=", "Signature=\xe9"),
        "InvalidSignatureException",
        MISMATCH,
    ),
}


@pytest.mark.parametrize(("spoil", "error", "message"), SPOILED.values(), ids=SPOILED)
def test_one_fault_after_signing(signed_endpoint, spoil, error, message):
    """Whatever changes on the way makes a 403 of AWS's type, and nothing is stored."""
    signed_endpoint.reset()
    path, headers = sign(signed_endpoint.endpoint)
    body, path, headers = spoil(BODY, path, headers)
    reply = post(signed_endpoint.endpoint, body, path, headers)
    assert (reply.status, reply.error) == (403, error), reply.body
    assert message in reply.message
    assert signed_endpoint.stats()["events_received"] == 0


def test_a_lost_slash_breaks_the_signature(signed_endpoint):
    """A proxy that drops boto3's trailing slash is found out."""
    _, headers = sign(signed_endpoint.endpoint, path=PATH + "/")
    assert post(signed_endpoint.endpoint, BODY, PATH, headers).message.startswith(MISMATCH)


WRONG_SIGNERS = {
    "region": ({"region": "us-east-1"}, "InvalidSignatureException", "valid region, not 'us-east-1'"),
    "service": ({"service": "xray"}, "InvalidSignatureException", "correct service: 'rum'"),
    "secret": ({"credentials": (PLAIN[0], "wrong")}, "InvalidSignatureException", MISMATCH),
    "unknown key": ({"credentials": ("AKIAOTHER", "x")}, "UnrecognizedClientException", "security token"),
    "no token": ({"credentials": SESSION[:2]}, "UnrecognizedClientException", "security token"),
    "another token": ({"credentials": (*SESSION[:2], "x")}, "UnrecognizedClientException", "security token"),
    "a token too many": ({"credentials": (*PLAIN, "x")}, "UnrecognizedClientException", "security token"),
    "expired": ({"credentials": EXPIRED}, "ExpiredTokenException", "expired"),
}


@pytest.mark.parametrize("query", [False, True], ids=["header", "presigned"])
@pytest.mark.parametrize(("signer", "error", "message"), WRONG_SIGNERS.values(), ids=WRONG_SIGNERS)
def test_wrong_signers(signed_endpoint, signer, error, message, query):
    """Who signs for another region, with another secret or an unknown, incomplete or expired key gets 403."""
    path, headers = sign(signed_endpoint.endpoint, **signer, query=query)
    reply = post(signed_endpoint.endpoint, BODY, path, headers)
    assert (reply.status, reply.error) == (403, error), reply.body
    assert message in reply.message


SKEWS = {
    "6 minutes slow": (-360, False, "Signature expired"),
    "6 minutes fast": (360, False, "Signature not yet current"),
    "4 minutes slow": (-240, False, None),
    "4 minutes fast": (240, False, None),
    "presigned, in time": (-50, True, None),
    "presigned, too late": (-70, True, "Signature expired"),
}


@pytest.mark.parametrize(("skew_s", "query", "message"), SKEWS.values(), ids=SKEWS)
def test_clock_skew(skew_s, query, message):
    """Five minutes either way are forgiven; a presigned request lives as long as it says."""
    url, headers = sign("http://localhost", headers={"host": "localhost"}, query=query)
    path, _, raw_query = url.partition("?")
    lower = {name.lower(): value for name, value in headers.items()}
    received = sigv4.HttpRequest("POST", path, raw_query, lower, BODY)
    known = {PLAIN[0]: Credentials(*PLAIN)}
    expected = pytest.raises(RefusedError) if message else contextlib.nullcontext()
    with expected as error:
        sigv4.verify(received, known, REGION, datetime.now(timezone.utc) - timedelta(seconds=skew_s))
    assert not message or message in error.value.answer.body.decode()


BAD_DATES = [("x-amz-date", "yesterday"), ("x-amz-date", "20260101T000000Z")]


@pytest.mark.parametrize(("header", "value"), BAD_DATES, ids=["no date", "not the scope's"])
def test_dates_that_contradict(signed_endpoint, header, value):
    """A date that is none, or not the one of the scope, is an invalid signature."""
    path, headers = sign(signed_endpoint.endpoint)
    reply = post(signed_endpoint.endpoint, BODY, path, {**lacking(header)(BODY, path, headers)[2], header: value})
    assert (reply.error, "Date in Credential scope" in reply.message) == ("InvalidSignatureException", True)


def test_credentials_rotate():
    """A new set replaces the old: yesterday's key is unknown, or expired when listed so."""
    with LocalRum(PLAIN, separate_process=False, region=None, allow_unsigned=True) as rum:
        path, headers = sign(rum.endpoint)
        assert post(rum.endpoint, BODY, path, headers).status == 200
        assert post(rum.endpoint, BODY).status == 200, "unsigned requests are allowed here"
        rum.set_credentials({"access_key": "AKIANEW", "secret_key": "new"})
        assert post(rum.endpoint, BODY, path, headers).error == "UnrecognizedClientException"
        rum.set_credentials({"access_key": PLAIN[0], "secret_key": PLAIN[1], "expired": True})
        assert post(rum.endpoint, BODY, path, headers).error == "ExpiredTokenException"
        with pytest.raises(ValueError, match="secret_key is required"):
            rum.set_credentials({"access_key": "A"})


def test_secrets_stay_out_of_sight():
    """Neither a representation nor an error message shows a secret."""
    assert "secret" not in repr(Credentials("A", "secret", "secret-token")).replace("secret_key", "")
    with pytest.raises(ValueError, match="ACCESS:SECRET") as error:
        Credentials.parse("only-a-secret")
    assert "only-a-secret" not in str(error.value)
    assert Credentials.parse("A:s:t:t") == Credentials("A", "s", "t:t")
