"""boto3's client for CloudWatch RUM: how it is made, and when it is made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.credentials import CredentialResolver
from botocore.session import Session, get_session

from otel_rum_exporter.client.answers import OPERATION
from otel_rum_exporter.client.credentials import GuestIdentity, GuestProvider
from otel_rum_exporter.client.lean_client import LeanClient
from otel_rum_exporter.config import RumConfig

_CONNECT_TIMEOUT_S = 3.0
_LOOK_AGAIN_S = 5.0  # making a client takes a tenth of a second, and flushes may ask every second
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


class Access:
    """One client for all senders, and another one when its credentials do not do any more.

    Clients keep the credentials that they found. So when the service refuses them, files that were rotated and
    variables that were set meanwhile are found by a client of a fresh session: at once, and from then on until a success
    every 5 s at most.
    """

    def __init__(self, config: RumConfig, clock: Callable[[], float], now: Callable[[], datetime]) -> None:
        """Remember the configuration. The clock is monotonic, in seconds; `now` is for the end of credentials."""
        self._config = config
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._client: LeanClient | None = None
        self._made_at = 0.0
        self._is_doubted = False
        self._knows_session_metadata: bool | None = None  # not read yet
        self._guest = (
            GuestIdentity(config.identity_pool_id, config.guest_role_arn, _settings(config, config.timeout_s))
            if config.identity_pool_id
            else None
        )

    def client(self) -> LeanClient:
        """Return the client of all senders; the first call makes it."""
        with self._lock:
            return self._client or self._make_locked()

    def short_client(self, timeout_s: float) -> LeanClient:
        """Return a client of its own for an attempt that has less time."""
        return self._made(timeout_s, is_shared=False)

    def look_again(self, client: LeanClient, *, is_refused: bool) -> bool:
        """Tell whether there is another client than one whose credentials failed; makes it, if that is due.

        For a client of its own that is another one of its own, which whoever sends again makes.

        Args:
            client: The client that failed.
            is_refused: Whether the service refused its credentials; otherwise it has none.
        """
        with self._lock:
            if client.is_shared and self._client is not client:
                return True
            is_first_refusal = is_refused and not self._is_doubted
            if not is_first_refusal and self._clock() - self._made_at < _LOOK_AGAIN_S:
                return False
            if client.is_shared:
                self._make_locked()
            else:
                self._made_at = self._clock()
            self._is_doubted = True
            return True

    def succeeded(self) -> None:
        """Take note that the service accepts the credentials."""
        self._is_doubted = False

    def close(self) -> None:
        """Close idle connections, unless a client is being made just now: whoever ends does not wait for that."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._client is not None:
                self._client.close()
        finally:
            self._lock.release()

    @property
    def knows_session_metadata(self) -> bool:
        """Whether the installed botocore can send SessionMetadata.

        No `cached_property`: before Python 3.12 it has a lock, which a forked child would find held for ever.
        """
        if self._knows_session_metadata is None:
            self._knows_session_metadata = _knows_session_metadata()
        return self._knows_session_metadata

    def _make_locked(self) -> LeanClient:
        self._client = client = self._made(self._config.timeout_s, is_shared=True)
        self._made_at = self._clock()
        return client

    def _made(self, timeout_s: float, *, is_shared: bool) -> LeanClient:
        config = self._config
        session = self._session()
        settings = _settings(config, timeout_s)
        client = self._connect(session, settings, is_aws=config.endpoint is None)
        if config.endpoint is None and not (urlsplit(client.meta.endpoint_url).hostname or "").endswith(_AWS_DOMAINS):
            client = self._connect(session, settings, is_aws=False)  # the profile names an endpoint
        return LeanClient(client, is_shared=is_shared)

    def _session(self) -> boto3.session.Session:
        """Return a session of our own: the application may have changed the default one."""
        session: Session = get_session()
        if self._guest is not None:
            guests = GuestProvider(self._guest, session, self._now)
            session.register_component("credential_provider", CredentialResolver([guests]))
        return boto3.session.Session(botocore_session=session)

    def _connect(self, session: boto3.session.Session, settings: Config, *, is_aws: bool) -> Any:
        if not is_aws:
            # the service's model puts `dataplane.` in front of any host, also of those that are not AWS's
            settings = settings.merge(Config(inject_host_prefix=False))
        region, endpoint = self._config.region, self._config.endpoint
        return session.client("rum", region_name=region, endpoint_url=endpoint, config=settings)


def _knows_session_metadata() -> bool:
    """Read it from botocore's model of the service. True where that cannot be read."""
    try:
        model = get_session().get_service_model("rum")
    except exceptions.BotoCoreError:
        return True
    return "SessionMetadata" in model.operation_model(OPERATION).input_shape.members


def _settings(config: RumConfig, timeout_s: float) -> Config:
    return Config(
        connect_timeout=min(_CONNECT_TIMEOUT_S, timeout_s),
        read_timeout=timeout_s,
        # the delivery retries, by rules that boto3's own retries do not follow
        retries={"mode": "standard", "total_max_attempts": 1},
        # a request that was left behind has its connection until it ends
        max_pool_connections=2 * config.max_in_flight,
        user_agent_extra=f"otel-rum-exporter/{_version()}",
        signature_version=UNSIGNED if config.auth == "none" else None,
    )


def _version() -> str:
    try:
        return version("otel-rum-exporter")
    except PackageNotFoundError:
        return "unknown"
