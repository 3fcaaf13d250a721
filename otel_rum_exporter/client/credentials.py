"""Guest credentials of a Cognito identity pool, as aws-rum-web gets them.

Enhanced flow: the pool gives the credentials of its role for guests. Classic flow, when a role is named: the pool gives
a token, and STS gives the role's credentials for it. None of these requests is signed, so that they need no other
credentials.

Source: botocore data/cognito-identity/2014-06-30 and data/sts/2011-06-15.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.session import Session

from otel_rum_exporter.client.answers import passing_cause

_SESSION_NAME = "otel-rum-exporter"  # of the role, as CloudTrail shows it


class GuestIdentity:
    """A guest of an identity pool; it stays the same guest as long as the pool knows it.

    Errors: `fetch` raises what botocore raises; refusals of the pool or of STS as CredentialRetrievalError, with advice.
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
            found = self._found(session)
        except exceptions.ClientError as error:
            if passing_cause(error) is not None:
                raise
            option = "IDENTITY_POOL_ID" if error.operation_name != "AssumeRoleWithWebIdentity" else "GUEST_ROLE_ARN"
            advice = f"{error}. Check OTEL_EXPORTER_RUM_{option}, and that guests may have credentials"
            raise exceptions.CredentialRetrievalError(provider=GuestProvider.METHOD, error_msg=advice) from error
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found.get("SecretKey") or found["SecretAccessKey"],  # Cognito's word and STS's
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    def _found(self, session: Session) -> dict[str, Any]:
        cognito = session.create_client("cognito-identity", region_name=self._region, config=self._settings)
        is_known = self._identity_id is not None
        try:
            return self._credentials(session, cognito)
        except cognito.exceptions.ResourceNotFoundException:
            self._identity_id = None
            if not is_known:
                raise
            return self._credentials(session, cognito)

    def _credentials(self, session: Session, cognito: Any) -> dict[str, Any]:
        if self._identity_id is None:
            self._identity_id = cognito.get_id(IdentityPoolId=self._pool_id)["IdentityId"]
        if self._role_arn is None:
            found: dict[str, Any] = cognito.get_credentials_for_identity(IdentityId=self._identity_id)["Credentials"]
            return found
        token = cognito.get_open_id_token(IdentityId=self._identity_id)["Token"]
        sts = session.create_client("sts", region_name=self._region, config=self._settings)
        answer = sts.assume_role_with_web_identity(
            RoleArn=self._role_arn, RoleSessionName=_SESSION_NAME, WebIdentityToken=token
        )
        role: dict[str, Any] = answer["Credentials"]
        return role


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
