"""AWS Signature Version 4, verified over exactly what was received.

Source: AWS General Reference, "Create a signed AWS API request". The body is hashed before
Content-Encoding is undone, and the path is the raw one: a trailing slash is part of it.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple
from urllib.parse import quote, unquote

from otel_rum_exporter.local.answers import RefusedError, refuse
from otel_rum_exporter.local.settings import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "rum"
MAX_SKEW = timedelta(minutes=5)
DATE_FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it arrived: raw path and query, lower-case header names, body before decoding."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class _Scope(NamedTuple):
    """The parts of Credential: after the access key, each derives the signing key from the one before."""

    access_key: str
    date: str
    region: str
    service: str
    terminator: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says about its own signature."""

    scope: _Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    token: str | None
    lifetime: timedelta


def access_key_of(request: HttpRequest) -> str | None:
    """Return the access key id that the request claims, verified or not; None when there is no signature."""
    try:
        claim = _read_claim(request)
    except RefusedError:
        return None
    return claim.scope.access_key if claim else None


def verify(request: HttpRequest, known: Mapping[str, Credentials], region: str | None, now: datetime) -> None:
    """Check the signature in the Authorization header or, presigned, in the query.

    Args:
        request: The request as received.
        known: Credentials by access key id.
        region: Region the scope must name; None accepts each.
        now: The current time, with a time zone.

    Errors: RefusedError with AWS's 403 for each kind of fault.
    """
    claim = _read_claim(request)
    if claim is None:
        raise refuse(403, "Missing Authentication Token", "MissingAuthenticationTokenException")
    credentials = _known_credentials(claim, known)
    _check_scope(claim, region)
    _check_time(claim, now)
    _check_content_hash(request)
    expected = _signature(request, claim, credentials.secret_key)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace")):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details."
        )


def _read_claim(request: HttpRequest) -> _Claim | None:
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _claim_in_header(authorization, request.headers)
    query = dict(_query_pairs(request.query))
    return _claim_in_query(query) if "X-Amz-Signature" in query else None


def _claim_in_header(authorization: str, headers: Mapping[str, str]) -> _Claim:
    algorithm, _, rest = authorization.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if algorithm != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
        raise _incomplete("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.")
    signed = tuple(sorted(parts["SignedHeaders"].split(";")))
    for required in ("host", "x-amz-date"):
        if required not in signed or required not in headers:
            raise _invalid(f"'{required}' must be a 'SignedHeader' in the AWS Authorization.")
    return _Claim(
        _split_scope(parts["Credential"]),
        signed,
        parts["Signature"],
        headers["x-amz-date"],
        headers.get("x-amz-security-token"),
        MAX_SKEW,
    )


def _claim_in_query(query: Mapping[str, str]) -> _Claim:
    """aws-rum-web presigns the beacon that it sends when a page goes away."""
    required = {"X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires"}
    if query.get("X-Amz-Algorithm") != ALGORITHM or not required <= query.keys():
        raise _incomplete(f"AWS query-string parameters must include {', '.join(sorted(required))}.")
    signed = tuple(sorted(query["X-Amz-SignedHeaders"].split(";")))
    if "host" not in signed:
        raise _invalid("'host' must be a 'SignedHeader' in the AWS Authorization.")
    if not re.fullmatch(r"[0-9]{1,6}", query["X-Amz-Expires"]):
        raise _invalid("X-Amz-Expires must be a number of seconds.")
    return _Claim(
        _split_scope(query["X-Amz-Credential"]),
        signed,
        query["X-Amz-Signature"],
        query["X-Amz-Date"],
        query.get("X-Amz-Security-Token"),
        timedelta(seconds=int(query["X-Amz-Expires"])),
    )


def _split_scope(credential: str) -> _Scope:
    parts = credential.split("/")
    if len(parts) != len(_Scope._fields):
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    return _Scope(*parts)


def _known_credentials(claim: _Claim, known: Mapping[str, Credentials]) -> Credentials:
    credentials = known.get(claim.scope.access_key)
    if credentials is None or (credentials.session_token or None) != (claim.token or None):
        raise refuse(403, "The security token included in the request is invalid.", "UnrecognizedClientException")
    if credentials.expired:
        raise refuse(403, "The security token included in the request is expired", "ExpiredTokenException")
    return credentials


def _check_scope(claim: _Claim, region: str | None) -> None:
    scope = claim.scope
    if region is not None and scope.region != region:
        raise _invalid(f"Credential should be scoped to a valid region, not '{scope.region}'.")
    if scope.service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if scope.terminator != "aws4_request":
        raise _invalid("Credential should be scoped with a valid terminator: 'aws4_request'.")
    if scope.date != claim.timestamp[:8]:
        raise _invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")


def _check_time(claim: _Claim, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(claim.timestamp, DATE_FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        raise _invalid("Date must be in ISO-8601 'basic format'.") from None
    seen_at = now.strftime(DATE_FORMAT)
    if now - signed_at > claim.lifetime:
        limit = (now - claim.lifetime).strftime(DATE_FORMAT)
        raise _invalid(f"Signature expired: {claim.timestamp} is now earlier than {limit} ({seen_at})")
    if signed_at - now > MAX_SKEW:
        limit = (now + MAX_SKEW).strftime(DATE_FORMAT)
        raise _invalid(f"Signature not yet current: {claim.timestamp} is still later than {limit} ({seen_at})")


def _check_content_hash(request: HttpRequest) -> None:
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != hashlib.sha256(request.body).hexdigest():
        raise _invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")


def _signature(request: HttpRequest, claim: _Claim, secret_key: str) -> str:
    # latin-1 both ways: the bytes of the header values, whatever their encoding
    canonical = hashlib.sha256(_canonical_request(request, claim).encode("latin-1")).hexdigest()
    text = f"{ALGORITHM}\n{claim.timestamp}\n{'/'.join(claim.scope[1:])}\n{canonical}"
    key = f"AWS4{secret_key}".encode()
    for part in claim.scope[1:]:
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def _canonical_request(request: HttpRequest, claim: _Claim) -> str:
    pairs = [(quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in _query_pairs(request.query)]
    headers = [f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in claim.signed_headers]
    return "\n".join(
        [
            request.method,
            # AWS encodes the path once more; there are no dot segments to remove: they match no route
            quote(request.path, safe="/~"),
            "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "X-Amz-Signature"),
            "".join(headers),
            ";".join(claim.signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )


def _query_pairs(query: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in query.split("&") if part]
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _invalid(message: str) -> RefusedError:
    return refuse(403, message, "InvalidSignatureException")


def _incomplete(message: str) -> RefusedError:
    return refuse(403, message, "IncompleteSignatureException")
