"""What boto3 makes of all that users configure for it, taken from one request that does not leave.

boto3 finds out anew for each request where it goes, who signs it and what the user agent is, checks it against the
service's model and tells dozens of listeners: two thirds of its CPU, and always with the same result. So a client of
boto3 rehearses once, up to the moment of sending; what it would have done then holds for all requests.

What others register with `botocore.register_initializer` to see or change each request sees the rehearsal only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import quote

from botocore import UNSIGNED, exceptions, parsers
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from msgspec import MsgspecError

from otel_rum_exporter.client.answers import OPERATION
from otel_rum_exporter.client.signing import Signing

_ANY_ID = "00000000-0000-0000-0000-000000000000"
_REHEARSED = {"Id": _ANY_ID, "BatchId": _ANY_ID, "AppMonitorDetails": {}, "UserDetails": {}, "RumEvents": []}
# raised by boto3 for answers about credentials; msgspec's errors are ValueErrors from 0.20 on only
_UNFORESEEN = (parsers.ResponseParserError, MsgspecError, AttributeError, LookupError, TypeError, ValueError)
_OF_THIS_INVOCATION = "X-Amzn-Trace-Id"  # a header in AWS Lambda; the next invocation has another


class LeanClient:
    """A client of boto3 for PutRumEvents alone.

    Endpoint, host prefix, headers, credentials, TLS and proxies are boto3's, which has resolved them.
    """

    def __init__(self, client: Any, *, is_shared: bool = True) -> None:
        """Let boto3's client rehearse; `is_shared` says that all senders use it. Errors: boto3's of building a request."""
        self.is_shared = is_shared
        seen = _rehearsed(client)
        request = seen["request_dict"]
        self.headers: dict[str, str] = {k: v for k, v in request["headers"].items() if k != _OF_THIS_INVOCATION}
        self._url: str = request["url"]
        self._signer = seen["request_signer"]
        self._signing = {name: seen[name] for name in ("signing_name", "region_name", "signature_version")}
        self._session = seen["endpoint"].http_session
        self._client = client

    def url(self, monitor_id: str) -> str:
        """Return where the events of an app monitor go."""
        return self._url.replace(_ANY_ID, quote(monitor_id, safe=""))

    def sign(self, request: AWSRequest) -> None:
        """Sign a request with the credentials of this moment, unless requests are not to be signed.

        Errors: what boto3 raises when there are no credentials, or they cannot be refreshed; ResponseParserError where
                whoever gives them answers with something else.
        """
        if self._signing["signature_version"] is UNSIGNED:
            return
        try:
            credentials = self._signer.get_auth_instance(**self._signing).credentials
        except exceptions.BotoCoreError:  # some of which are of the following kinds, too
            raise
        except _UNFORESEEN as error:  # which may quote keys
            raise parsers.ResponseParserError(
                f"An answer about credentials cannot be read ({type(error).__name__})"
            ) from error
        Signing(credentials, self._signing["signing_name"], self._signing["region_name"]).add_auth(request)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request and return the answer, read to its end. No redirect is followed."""
        return self._session.send(request)

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


class _HeldBackError(Exception):
    """A request goes no further."""


def _rehearsed(client: Any) -> dict[str, Any]:
    """Return what the events of a request tell, which a client of boto3 built and did not send.

    Shape:  `request_signer` of before-call; `signing_name`, `region_name` and `signature_version` of choose-signer;
            `endpoint` and `request_dict` of needs-retry.
    """
    seen: dict[str, Any] = {}

    def leave_unsigned(**told: Any) -> Any:
        seen.update(told)
        return UNSIGNED  # whether there are credentials does not matter yet

    def hold_back(**_: Any) -> None:
        raise _HeldBackError

    events = client.meta.events
    events.register(f"before-call.rum.{OPERATION}", lambda **told: seen.update(told))
    events.register(f"choose-signer.rum.{OPERATION}", leave_unsigned)
    events.register(f"before-send.rum.{OPERATION}", hold_back)
    events.register(f"needs-retry.rum.{OPERATION}", lambda **told: seen.update(told))
    with suppress(_HeldBackError):
        client.put_rum_events(**_REHEARSED)
    return seen
