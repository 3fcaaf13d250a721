"""One attempt: a batch goes to PutRumEvents by boto3, and every answer or exception becomes a verdict, once."""

from __future__ import annotations

import gzip
import math
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import boto3
import msgspec
from botocore import UNSIGNED, exceptions
from botocore.config import Config

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import Batch
from otel_rum_exporter.verdicts import Cause, Delivered, Parked, Refused, Rejected, Retry, Verdict

__all__ = ["Delivered", "Parked", "Refused", "Rejected", "Retry", "RumClient", "Verdict"]

_OPERATION = "rum.PutRumEvents"
_EVENTS = "otel_rum_exporter.events"  # where a request's context holds them
_CONNECT_TIMEOUT_S = 3.0
_MIN_TIMEOUT_S = 0.1  # of an attempt at the end of a deadline
_MIN_COMPRESSED = 2048  # bytes; below, the saving is not worth the CPU
_MIN_SAVING = 0.8  # of the size; aws-rum-web's threshold
_GZIP_LEVEL = 1
_NEW_CREDENTIALS_S = 30.0  # between looks for other credentials when the service refuses those at hand
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")

_SERVER_ERROR = 500
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
)
_NOT_CONFIGURED = (
    exceptions.NoRegionError,
    exceptions.ProfileNotFound,
    exceptions.ConfigParseError,
    exceptions.InvalidRegionError,
    exceptions.EndpointProviderError,
)
_PARKING = {401: DropReason.UNAUTHORIZED, 403: DropReason.UNAUTHORIZED, 404: DropReason.NOT_FOUND}
_REJECTING = (400, 413)


class RumClient:
    """boto3's client for PutRumEvents, made at the first attempt.

    Errors: `attempt` returns a verdict for everything that boto3 and the service are known to do.
    Source: PutRumEvents, botocore data/rum/2018-05-10.
    """

    def __init__(self, config: RumConfig) -> None:
        """Remember the configuration; nothing is read or sent."""
        self._config = config
        self._lock = threading.Lock()
        self._client: Any = None
        self._made_at = 0.0

    def knows_session_metadata(self) -> bool:
        """Tell whether the installed botocore can send SessionMetadata. True where there is no client to ask."""
        try:
            client = self._shared()
        except (exceptions.BotoCoreError, ValueError):
            return True
        return "SessionMetadata" in client.meta.service_model.operation_model("PutRumEvents").input_shape.members

    def attempt(self, batch: Batch, timeout_s: float | None = None) -> Verdict:
        """Send a batch once: one HTTP request. `timeout_s` shortens the configured timeout."""
        verdict = self._attempt(batch, timeout_s)
        if isinstance(verdict, Parked) and verdict.reason is DropReason.UNAUTHORIZED:
            self._forget_credentials()
        return verdict

    def _attempt(self, batch: Batch, timeout_s: float | None) -> Verdict:
        try:
            client = self._shared() if timeout_s is None else self._create(max(timeout_s, _MIN_TIMEOUT_S))
            answer = client.put_rum_events(**batch.request())
        except exceptions.ClientError as error:
            return _verdict_on_answer(error.response)
        except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
            return Retry("network", str(error))
        except _NO_CREDENTIALS as error:
            return Parked(DropReason.UNAUTHORIZED, f"{error}; set AWS credentials, or {_variable('AUTH')}=none")
        except _NOT_CONFIGURED as error:
            advice = f" Set {_variable('REGION')} or AWS_REGION" if isinstance(error, exceptions.NoRegionError) else ""
            return Refused(DropReason.NOT_CONFIGURED, f"{error}{advice}")
        except (exceptions.BotoCoreError, ValueError) as error:
            return Rejected(str(error))
        return _verdict_on_success(answer)

    def _forget_credentials(self) -> None:
        """Let the next attempt look for credentials anew: files may be rotated, and clients keep what they found."""
        with self._lock:
            if time.monotonic() - self._made_at > _NEW_CREDENTIALS_S:
                self._client = None

    def _shared(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._create(self._config.timeout_s)
                self._made_at = time.monotonic()
            return self._client

    def _create(self, timeout_s: float) -> Any:
        config = self._config
        # a session of our own: the application may have changed the default one
        session = boto3.session.Session()
        settings = Config(
            connect_timeout=min(_CONNECT_TIMEOUT_S, timeout_s),
            read_timeout=timeout_s,
            # the delivery retries, by rules that boto3's own retries do not follow
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=config.max_in_flight,
            user_agent_extra=f"otel-rum-exporter/{_version()}",
            signature_version=UNSIGNED if config.auth == "none" else None,
        )
        client = self._connect(session, settings, is_aws=config.endpoint is None)
        if config.endpoint is None and not (urlsplit(client.meta.endpoint_url).hostname or "").endswith(_AWS_DOMAINS):
            client = self._connect(session, settings, is_aws=False)  # the profile names an endpoint
        events = client.meta.events
        events.register(f"provide-client-params.{_OPERATION}", _hold_events)
        events.register(f"before-call.{_OPERATION}", _write_events)
        if config.compression == "gzip":
            events.register(f"before-call.{_OPERATION}", _compress)
        events.register(f"before-parse.{_OPERATION}", _normalise_retry_after)
        return client

    def _connect(self, session: Any, settings: Config, *, is_aws: bool) -> Any:
        if not is_aws:
            # the service's model puts `dataplane.` in front of any host, also of those that are not AWS's
            settings = settings.merge(Config(inject_host_prefix=False))
        region, endpoint = self._config.region, self._config.endpoint
        return session.client("rum", region_name=region, endpoint_url=endpoint, config=settings)


def _variable(name: str) -> str:
    return "OTEL_EXPORTER_RUM_" + name


def _version() -> str:
    try:
        return version("otel-rum-exporter")
    except PackageNotFoundError:
        return "unknown"


def _verdict_on_success(response: Mapping[str, Any]) -> Verdict:
    metadata = response["ResponseMetadata"]
    content_type = metadata["HTTPHeaders"].get("content-type", "")
    if "html" in content_type.lower():
        # a captive portal's or a proxy's: the service answers with nothing
        return Retry("server", f"{metadata['HTTPStatusCode']} with a web page, which CloudWatch RUM did not write")
    return Delivered()


def _verdict_on_answer(response: Mapping[str, Any]) -> Verdict:
    metadata = response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    error = response.get("Error", {})
    code = str(error.get("Code", status))
    message = f"{status} {code}: {error.get('Message') or response.get('message') or ''}"
    if status in (408, 429) or status >= _SERVER_ERROR or "Throttl" in code:
        cause: Cause = "throttled" if status == 429 or "Throttl" in code else "server"  # noqa: PLR2004 - Too Many Requests
        return Retry(cause, message, _seconds(metadata.get("HTTPHeaders", {}).get("retry-after")))
    if status in _PARKING:
        return Parked(_PARKING[status], message)
    return Rejected(message) if status in _REJECTING else Retry("unknown", message)


def _hold_events(params: dict[str, Any], context: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Keep the events from botocore's validation and serialisation.

    These take three quarters of a request's CPU, and older ones cut timestamps to whole seconds.
    """
    context[_EVENTS] = params["RumEvents"]
    return {**params, "RumEvents": []}


def _write_events(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Write the events into the body that botocore made of the rest, before it is signed."""
    body = msgspec.json.decode(params["body"])
    body["RumEvents"] = context.pop(_EVENTS)
    params["body"] = msgspec.json.encode(body)


def _compress(params: dict[str, Any], **_: Any) -> None:
    """Compress a request's body before it is signed, when that saves enough."""
    body = params["body"]
    if len(body) < _MIN_COMPRESSED:
        return
    compressed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    if len(compressed) <= _MIN_SAVING * len(body):
        params["body"] = compressed
        params["headers"]["Content-Encoding"] = "gzip"


def _normalise_retry_after(response_dict: dict[str, Any], **_: Any) -> None:
    """Make Retry-After whole seconds: botocore's parser takes nothing else, and raises ValueError on a date."""
    headers = response_dict["headers"]
    value = headers.get("retry-after")
    if value is not None:
        headers["retry-after"] = str(math.ceil(_seconds(value, headers.get("date")) or 0))


def _seconds(value: str | None, date: str | None = None) -> float | None:
    """Return what Retry-After asks for, None where it asks for nothing that makes sense."""
    try:
        seconds = float(value or "nan")
    except ValueError:
        seconds = _seconds_until(value or "", date)
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _seconds_until(value: str, date: str | None) -> float:
    try:
        until = parsedate_to_datetime(value)
        # by the service's own clock: ours may be wrong
        now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
        return (until - now).total_seconds()
    except (TypeError, ValueError):
        return math.nan
