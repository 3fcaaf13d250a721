"""Guest credentials of a Cognito identity pool, as aws-rum-web gets them.

Enhanced flow: the pool gives the credentials of its role for guests. Classic flow, when a role is named: the pool gives
a token, and STS gives the role's credentials for it. None of these requests is signed, so that they need no other
credentials.

Source: botocore data/cognito-identity/2014-06-30 and data/sts/2011-06-15.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.session import Session
from msgspec import Meta, Struct, field

from otel_rum_exporter.client.answers import passing_cause

_SESSION_NAME = "otel-rum-exporter"  # of the role, as CloudTrail shows it


_Text = Annotated[str, Meta(min_length=1)]
T = TypeVar("T", bound=Struct)


class _Identity(Struct):
    identity_id: _Text = field(name="IdentityId")


class _Token(Struct):
    token: _Text = field(name="Token")


class _Keys(Struct, rename="pascal"):
    access_key_id: _Text
    session_token: _Text
    expiration: datetime


class _PoolKeys(_Keys):
    secret: _Text = field(name="SecretKey")


class _RoleKeys(_Keys):
    secret: _Text = field(name="SecretAccessKey")


class _OfPool(Struct):
    keys: _PoolKeys = field(name="Credentials")


class _OfRole(Struct):
    keys: _RoleKeys = field(name="Credentials")


class GuestIdentity:
    """A guest of an identity pool; it stays the same guest as long as the pool knows it.

    Errors: `fetch` raises what botocore raises, refusals of the pool or of STS as CredentialRetrievalError, with advice;
            and msgspec.ValidationError for an answer without what was asked for.
    """

    def __init__(self, pool_id: str, role_arn: str | None, settings: Config) -> None:
        """Remember whom to ask; nobody is asked yet. `settings` are those of the clients that ask."""
        self._pool_id = pool_id
        self._role_arn = role_arn
        self._region = pool_id.partition(":")[0]
        self._settings = settings.merge(Config(signature_version=UNSIGNED))
        self._identity_id: str | None = None

    def fetch(self, session: Session) -> dict[str, str]:
        """Return new credentials, as botocore's refreshable ones take them."""
        try:
            keys = self._found(session)
        except exceptions.ClientError as error:
            if passing_cause(error) is not None:
                raise
            option = "IDENTITY_POOL_ID" if error.operation_name != "AssumeRoleWithWebIdentity" else "GUEST_ROLE_ARN"
            advice = f"{error}. Check OTEL_EXPORTER_RUM_{option}, and that guests may have credentials"
            raise exceptions.CredentialRetrievalError(provider=GuestProvider.METHOD, error_msg=advice) from error
        return {
            "access_key": keys.access_key_id,
            "secret_key": keys.secret,
            "token": keys.session_token,
            "expiry_time": keys.expiration.isoformat(),
        }

    def _found(self, session: Session) -> _PoolKeys | _RoleKeys:
        cognito = session.create_client("cognito-identity", region_name=self._region, config=self._settings)
        is_known = self._identity_id is not None
        try:
            return self._credentials(session, cognito)
        except cognito.exceptions.ResourceNotFoundException:
            self._identity_id = None
            if not is_known:
                raise
            return self._credentials(session, cognito)

    def _credentials(self, session: Session, cognito: Any) -> _PoolKeys | _RoleKeys:
        if self._identity_id is None:
            self._identity_id = _asked(cognito.get_id, _Identity, IdentityPoolId=self._pool_id).identity_id
        if self._role_arn is None:
            return _asked(cognito.get_credentials_for_identity, _OfPool, IdentityId=self._identity_id).keys
        token = _asked(cognito.get_open_id_token, _Token, IdentityId=self._identity_id).token
        sts = session.create_client("sts", region_name=self._region, config=self._settings)
        role = {"RoleArn": self._role_arn, "RoleSessionName": _SESSION_NAME, "WebIdentityToken": token}
        return _asked(sts.assume_role_with_web_identity, _OfRole, **role).keys


def _asked(call: Callable[..., Any], kind: type[T], **parameters: str) -> T:
    """Return what a service answers. A success may be a captive portal's, and then it holds nothing of that.

    Raises:
        msgspec.ValidationError: It lacks what it must hold.
    """
    return msgspec.convert(call(**parameters), kind)


class GuestProvider:
    """Gives a session of botocore the credentials of a guest; one of the providers that its CredentialResolver takes."""

    METHOD = "cognito-guest"

    def __init__(self, guest: GuestIdentity, session: Session, now: Callable[[], datetime]) -> None:
        """Take the guest, the session that asks for it, and the time with a time zone."""
        self._guest = guest
        self._session = session
        self._now = now

    def load(self) -> DeferredRefreshableCredentials:
        """Return credentials that ask the pool when they are first used, and again ahead of their end."""
        return DeferredRefreshableCredentials(
            lambda: self._guest.fetch(self._session), self.METHOD, time_fetcher=self._now
        )
