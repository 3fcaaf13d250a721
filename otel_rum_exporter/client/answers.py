"""Every answer of the service and every exception of boto3 becomes a verdict, once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import Any

from botocore import exceptions, parsers
from botocore.awsrequest import AWSResponse

from otel_rum_exporter.client.verdicts import Cause, Delivered, Parked, Refused, Rejected, Retry, Verdict
from otel_rum_exporter.drops import DropReason, ParkReason

OPERATION = "PutRumEvents"

_PARSER = parsers.create_parser("rest-json")
_CREDENTIAL = re.compile("Credential=([^/]+)")
_FIRST_SUCCESS = 200
_FIRST_REDIRECT = 300
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_FIRST_ERROR = 400
_SERVER_ERROR = 500
_REJECTING = (400, 413)
_REFUSING = (401, 403)
_NOT_FOUND = 404
# beginnings of the codes that are about credentials, some of which come with 400
_CREDENTIAL_CODES = (
    "AccessDenied",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)
# likewise of the codes of what passes: Cognito and STS write some of these with 400, too
_THROTTLED_CODES = ("LimitExceeded", "RequestLimitExceeded", "SlowDown", "TooManyRequests")
_PASSING_CODES = (
    "ExternalService",
    "IDPCommunication",
    "InternalError",
    "InternalFailure",
    "InternalServer",
    "ServiceUnavailable",
)
_MAX_SKEW_S = 240.0  # AWS takes signatures that are up to five minutes off

_PASSING = (exceptions.HTTPClientError, exceptions.ConnectionError, parsers.ResponseParserError)
_UNCONNECTED = (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.MetadataRetrievalError,
    exceptions.RefreshWithMFAUnsupportedError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
    getattr(exceptions, "LoginError", exceptions.SSOError),  # `aws login` came with botocore 1.41
    FileNotFoundError,  # the file of a web identity token
    PermissionError,
    JSONDecodeError,  # of what a `credential_process` prints
)
_ADVICE: dict[type[Exception], str] = {
    exceptions.NoCredentialsError: "; set AWS credentials, or OTEL_EXPORTER_RUM_AUTH=none if it takes unsigned requests",
    exceptions.EndpointConnectionError: " Are the region, the endpoint and the network right?",
    exceptions.NoRegionError: " Set OTEL_EXPORTER_RUM_REGION or AWS_REGION",
    RuntimeError: " Is the clock of this machine right?",
}


# --- answers


def verdict_on_answer(answer: AWSResponse, sent: Mapping[str, str]) -> Verdict:
    """Return the verdict on an answer of the service, or of somebody on the way to it.

    Args:
        answer: The answer, read to its end.
        sent: The headers of the request. What they show of the credentials may be quoted, and is hidden.
    """
    if _FIRST_SUCCESS <= answer.status_code < _FIRST_REDIRECT:
        return _verdict_on_success(answer)
    code, message = _code_and_message(_error(answer))
    return _verdict_on_error(answer, code, _without_secrets(message, sent))


def _verdict_on_success(answer: AWSResponse) -> Verdict:
    if "html" in answer.headers.get("content-type", "").lower():
        # a captive portal's or a proxy's: the service answers with nothing
        return Retry("server", f"{answer.status_code} with a web page, which CloudWatch RUM did not write")
    return Delivered()


def _verdict_on_error(answer: AWSResponse, code: str, message: str) -> Verdict:
    status, headers = answer.status_code, answer.headers
    cause = _cause(status, code)
    if cause is not None:
        return Retry(cause, message, retry_after_s(headers.get("retry-after"), headers.get("date")))
    if status in _REFUSING or code.startswith(_CREDENTIAL_CODES):
        return Parked(ParkReason.UNAUTHORIZED, message + _skew(headers.get("date")))
    if status == _NOT_FOUND:
        return Parked(ParkReason.NOT_FOUND, f"{message.removesuffix('.')}; check app_monitor_id and region")
    return Rejected(message) if status in _REJECTING else Retry("unknown", message)


def _error(answer: AWSResponse) -> dict[str, Any]:
    """Return an answer as the response of botocore's ClientError."""
    parts = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
    try:
        parsed: dict[str, Any] = _PARSER.parse(parts, None)
    except (AttributeError, RecursionError, TypeError, ValueError):  # its body is not one that AWS writes
        parsed = _PARSER.parse({**parts, "body": b""}, None)
    return parsed


def _code_and_message(response: Mapping[str, Any]) -> tuple[str, str]:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    error = response.get("Error", {})
    code = str(error.get("Code", status))
    return code, f"{status} {code}: {error.get('Message') or response.get('message') or ''}"


def _without_secrets(message: str, sent: Mapping[str, str]) -> str:
    credential = _CREDENTIAL.search(sent.get("Authorization", ""))
    for secret in (credential[1] if credential else "", sent.get("X-Amz-Security-Token", "")):
        message = message.replace(secret, "***") if secret else message
    return message


def _cause(status: int, code: str) -> Cause | None:
    """Return why it is worth to try again, None if it is not."""
    if status == _TOO_MANY_REQUESTS or "Throttl" in code or code.startswith(_THROTTLED_CODES):
        return "throttled"
    # a redirect is a captive portal's or a proxy's: the service gives none
    is_odd = status == _REQUEST_TIMEOUT or status >= _SERVER_ERROR or status < _FIRST_ERROR
    return "server" if is_odd or code.startswith(_PASSING_CODES) else None


def _skew(date: str | None) -> str:
    """Return what is wrong with this machine's clock, as the end of a message, by the Date of an answer."""
    try:
        skew_s = (datetime.now(timezone.utc) - parsedate_to_datetime(date or "")).total_seconds()
    except (TypeError, ValueError):
        return ""
    if abs(skew_s) < _MAX_SKEW_S:
        return ""
    return f" (the clock of this machine is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the service's)"


# --- exceptions


def verdict_on_exception(error: Exception, *, is_sending: bool) -> Verdict:
    """Return the verdict on what boto3 and botocore raise.

    Args:
        error: The exception.
        is_sending: Whether it comes of a request, and not of making the client.
    """
    if isinstance(error, exceptions.ClientError):
        return _verdict_on_client_error(error)
    if isinstance(error, _PASSING):
        cause: Cause = "server" if isinstance(error, parsers.ResponseParserError) else "network"
        return Retry(cause, _advised(error), may_have_arrived=not isinstance(error, _UNCONNECTED))
    if isinstance(error, exceptions.ParamValidationError) or (is_sending and isinstance(error, ValueError)):
        return Rejected(str(error))
    if isinstance(error, _NO_CREDENTIALS) or _are_out_of_date(error):
        return Parked(ParkReason.UNAUTHORIZED, _advised(error))
    if isinstance(error, RuntimeError):
        return Refused(DropReason.INTERNAL, f"RuntimeError: {error}")
    # what is left of botocore's exceptions is about regions, profiles, endpoints and other settings
    return Refused(DropReason.NOT_CONFIGURED, _advised(error))


def _advised(error: Exception) -> str:
    """Return what an exception says, with what to do about it."""
    return str(error) + _ADVICE.get(type(error), "")


def _are_out_of_date(error: Exception) -> bool:
    """Tell botocore's exception of credentials that are out of date when they come from other RuntimeErrors."""
    return isinstance(error, RuntimeError) and "credentials" in str(error)


def passing_cause(error: exceptions.ClientError) -> Cause | None:
    """Return why a service that gave no credentials may give them later, None if it will not."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return _cause(status, _code_and_message(error.response)[0])


def _verdict_on_client_error(error: exceptions.ClientError) -> Verdict:
    """Return the verdict on a refusal of STS or Cognito, which botocore asks for credentials when it signs."""
    message = f"{error.operation_name}: {_code_and_message(error.response)[1]}"
    cause = passing_cause(error)
    return Parked(ParkReason.UNAUTHORIZED, message) if cause is None else Retry(cause, message)


# --- Retry-After


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Return what Retry-After asks for, None where it asks for nothing that makes sense.

    Args:
        value: A number of seconds, which is rounded up, or a date.
        date: The answer's own Date.
    """
    try:
        seconds = float(value or "nan")
    except ValueError:
        seconds = _seconds_until(value or "", date)
    return float(math.ceil(seconds)) if math.isfinite(seconds) and seconds > 0 else None


def _seconds_until(value: str, date: str | None) -> float:
    try:
        until = parsedate_to_datetime(value)
        # by the service's own clock: ours may be wrong
        now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
        return (until - now).total_seconds()
    except (TypeError, ValueError):
        return math.nan
