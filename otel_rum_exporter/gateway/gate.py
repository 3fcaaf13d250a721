"""Decides by a request's head whether its body is read: origin, address, token, limits, type, size, in this order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from urllib.parse import parse_qs

from msgspec import Struct
from starlette.datastructures import Headers

from otel_rum_exporter.gateway.clients import Clients
from otel_rum_exporter.gateway.decoding import NO_DEVICE
from otel_rum_exporter.gateway.denials import Denied, limited, unauthorized
from otel_rum_exporter.gateway.limits import RateTable
from otel_rum_exporter.gateway.monitors import MONITOR_ID
from otel_rum_exporter.gateway.refusals import TooLarge
from otel_rum_exporter.gateway.settings import LimitOptions, Policy
from otel_rum_exporter.gateway.signals import Encoding
from otel_rum_exporter.gateway.tokens import LONGEST, Token

_ENCODINGS = {each.content_type: each for each in Encoding}
_LONGEST_QUERY = 2048
_AT_ONCE_TOKENS = 10_000  # far more than there are


class Head(Struct, frozen=True):
    """What is known of a request before its body.

    Attributes:
        peer: Address of the connection's other end.
        headers: The headers.
        query: The query, as it stands in the URL.
    """

    peer: str | None
    headers: Headers
    query: bytes


class Caller(Struct, frozen=True):
    """Whose request it is, and how its body is written.

    Attributes:
        client: The client's address.
        token: The token that was presented; None for nobody's.
        identity: Resource attributes that hold instead of what the body says; None where the body may choose.
        device: Resource attributes that hold where the body says nothing of them: what a page's browser says in each
            request, and OpenTelemetry's SDK for browsers leaves out.
        encoding: How the body is written.
        is_gzip: Whether it is compressed.
    """

    client: str
    token: Token | None
    identity: Mapping[str, str] | None
    device: Mapping[str, str]
    encoding: Encoding
    is_gzip: bool

    @property
    def senders(self) -> tuple[Hashable, ...]:
        """Who is asked to leave room for others: the client, and whoever has the token, from however many addresses."""
        return (self.client,) if self.token is None else (self.client, self.token.sender)


class Gate:
    """Lets requests in, one after the other; only the thread of the event loop may ask.

    Attributes:
        policy: Who may send what where; may be replaced at any time.
    """

    def __init__(self, policy: Policy, limits: LimitOptions, clients: Clients, clock: Callable[[], float]) -> None:
        """Begin with nobody known. `clock` gives monotonic seconds."""
        self.policy = policy
        self._limits = limits
        self._clients = clients
        self._clock = clock
        self._of_clients = RateTable(limits.clients), RateTable(limits.clients)
        self._of_tokens = RateTable(_AT_ONCE_TOKENS), RateTable(_AT_ONCE_TOKENS)

    def allowed_origin(self, headers: Headers) -> str | None:
        """Return the page's origin that a request names; None where it names none.

        Raises:
            Denied: Its pages may not send.
        """
        named = headers.getlist("origin")
        if not named:
            return None
        if len(named) > 1 or not self.policy.origins.allow(named[0]):
            raise Denied(403, "pages of this origin may not send here")
        return named[0]

    def client_of(self, head: Head) -> str:
        """Return the address that a request is counted for."""
        return self._clients.of(head.peer, head.headers.getlist("x-forwarded-for"))

    def enter(self, head: Head, client: str, origin: str | None) -> Caller:
        """Return whose request it is.

        Args:
            head: The request's head.
            client: Its `client_of`.
            origin: Its `allowed_origin`.

        Raises:
            Denied: It may not come in.
            TooLarge: It says itself that its body is too large.
        """
        self._limit_client(client)
        token = self._token(head, origin)
        if token is not None:
            self._limit_token(token)
        encoding = encoding_of(head.headers)
        if encoding is None:
            types = " or ".join(_ENCODINGS)
            raise Denied(415, f"the content type is to be {types}")
        is_gzip = _is_gzip(head.headers)
        self._check_length(head.headers)
        device = NO_DEVICE if origin is None else _device(head.headers)
        return Caller(client, token, self._identity(token), device, encoding, is_gzip)

    def charge(self, caller: Caller, records: int) -> None:
        """Take note of how many records a request had, each with its span events."""
        now = self._clock()
        self._of_clients[1].charge(caller.client, self._limits.client_records, now, records)
        if caller.token is not None:
            self._of_tokens[1].charge(caller.token.sender, caller.token.records, now, records)

    def _limit_client(self, client: str) -> None:
        requests, records = self._of_clients
        now = self._clock()
        if wait_s := records.wait_s(client, self._limits.client_records, now):
            raise limited("client_records", "too many records from this address", wait_s)
        if wait_s := requests.take(client, self._limits.client_requests, now):
            raise limited("client_requests", "too many requests from this address", wait_s)

    def _limit_token(self, token: Token) -> None:
        requests, records = self._of_tokens
        now = self._clock()
        if wait_s := records.wait_s(token.sender, token.records, now):
            raise limited("token_records", "too many records with this token", wait_s)
        if wait_s := requests.take(token.sender, token.requests, now):
            raise limited("token_requests", "too many requests with this token", wait_s)

    def _token(self, head: Head, origin: str | None) -> Token | None:
        # where no token is known, one that is sent along for somebody else does not matter
        presented, is_in_query = _presented(head) if self.policy.tokens else (None, False)
        if presented is None:
            if self.policy.needs_token:
                raise unauthorized("a token is needed: Authorization: Bearer, or x-api-key")
            if origin is not None and not self.policy.own_origins.allow(origin):
                raise Denied(403, "pages of this origin need their token")
            return None
        token = self.policy.tokens.find(presented)
        if token is None:
            raise unauthorized("this token is not known")
        if token.kind == "browser":
            if origin is None or not token.origins.allow(origin):
                raise Denied(403, "this token is for the pages of other origins")
        elif is_in_query:
            raise unauthorized("a server's token is a secret, and goes into a header")
        return token

    def _identity(self, token: Token | None) -> Mapping[str, str] | None:
        if token is None or token.monitor is None:
            return None
        entry = self.policy.monitors.get(token.monitor)
        return {MONITOR_ID: token.monitor} if entry is None else entry.identity

    def _check_length(self, headers: Headers) -> None:
        declared, most = headers.get("content-length"), self._limits.wire_bytes
        if declared is not None and "transfer-encoding" in headers:  # a proxy in front may have believed the other one
            raise Denied(400, "either Content-Length or Transfer-Encoding", closes=True)
        if declared is not None and declared.isdecimal() and int(declared[:20]) > most:
            raise TooLarge(f"the body has more than {most} bytes")


def encoding_of(headers: Headers) -> Encoding | None:
    """Return how a request's body is written, and so its answer; None for what the gateway does not know."""
    return _ENCODINGS.get(headers.get("content-type", "").partition(";")[0].strip().lower())


def _device(headers: Headers) -> dict[str, str]:
    """Return what a browser says of itself. Its first language is the one that `navigator.language` is."""
    languages = headers.get("accept-language", "").partition(",")[0].partition(";")[0].strip()
    said = {"user_agent.original": headers.get("user-agent", ""), "browser.language": languages}
    return {name: value for name, value in said.items() if value and value != "*"}


def _is_gzip(headers: Headers) -> bool:
    given = ",".join(headers.getlist("content-encoding")).strip().lower()
    if given not in ("", "identity", "gzip"):
        raise Denied(415, "the content encoding is to be gzip or identity", ("accept-encoding", "gzip"))
    return given == "gzip"


def _presented(head: Head) -> tuple[str | None, bool]:
    """Return the token that a request presents, and whether it stands in the URL, where beacons have it."""
    headers = head.headers
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()[: LONGEST + 1], False
    if (key := headers.get("x-api-key")) is not None:
        return key.strip()[: LONGEST + 1], False
    if b"token=" in head.query[:_LONGEST_QUERY]:
        given = parse_qs(head.query[:_LONGEST_QUERY].decode("latin-1")).get("token")
        return (given[0] if given else None), True
    return None, False
