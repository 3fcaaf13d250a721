"""What the embedded endpoint can be told when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_EVENTS = 100
"""Events per request, as aws-rum-web batches them; the service's model names no limit."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One access key that the endpoint knows.

    Attributes:
        access_key: The access key id.
        secret_key: The secret that signatures are verified with.
        session_token: If set, requests must carry exactly this token.
        expired: Requests signed with this key get ExpiredTokenException.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expired: bool = False

    @classmethod
    def parse(cls, text: str) -> "Credentials":
        """Read ``ACCESS:SECRET`` or ``ACCESS:SECRET:TOKEN``.

        Errors: ValueError, without the text itself: it may be a real secret.
        """
        access_key, _, rest = text.partition(":")
        secret_key, _, token = rest.partition(":")
        if not access_key or not secret_key:
            raise ValueError("credentials must look like ACCESS:SECRET or ACCESS:SECRET:TOKEN")
        return cls(access_key, secret_key, token or None)


@dataclass(frozen=True, slots=True)
class Settings:
    """How one endpoint behaves.

    Attributes:
        host: Address to bind.
        port: Port to bind; 0 lets the operating system choose.
        db: SQLite file; empty for a temporary one that vanishes with the endpoint.
        credentials: Signatures are verified against these; without any, everything passes.
        region: Region that signatures must be scoped to; None accepts each.
        monitors: App monitor ids that exist; empty accepts each.
        strict: Answer 400 to a request that holds an invalid event. Otherwise answer 200 and
            record the invalid events as rejected, as the service drops them.
        allow_unsigned: Requests without a signature pass although there are credentials.
        max_events: Events per request.
        max_wire_bytes: Bytes of a request body as received.
        max_body_bytes: Bytes of a request body after gzip.
    """

    host: str = "127.0.0.1"
    port: int = 0
    db: str = ""
    credentials: tuple[Credentials, ...] = ()
    region: str | None = None
    monitors: tuple[str, ...] = ()
    strict: bool = True
    allow_unsigned: bool = False
    max_events: int = MAX_EVENTS
    max_wire_bytes: int = 10 * 1024 * 1024
    max_body_bytes: int = 20 * 1024 * 1024

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Settings":
        """Read what `dataclasses.asdict` made of settings, after a way through JSON."""
        credentials = tuple(Credentials(**each) for each in document["credentials"])
        return cls(**{**document, "credentials": credentials, "monitors": tuple(document["monitors"])})
