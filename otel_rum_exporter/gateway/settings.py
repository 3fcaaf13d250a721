"""Every option of the gateway itself, once, as `config.py` has those of the exporter.

They stand in the tables [gateway] and [limits] of the configuration file, and some are flags of the command.
"""

# ruff: noqa: RUF009 - `option` makes the field that dataclasses turns into an immutable default

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from otel_rum_exporter.config import LONGEST_MS, MIB, RumConfig
from otel_rum_exporter.gateway.body_limits import BodyLimits
from otel_rum_exporter.gateway.clients import Clients
from otel_rum_exporter.gateway.limits import Rate, records_rate
from otel_rum_exporter.gateway.monitors import Monitors
from otel_rum_exporter.gateway.origins import ACCEPTED, Origins
from otel_rum_exporter.gateway.tokens import Tokens
from otel_rum_exporter.option_kinds import HOST, Kind, choice, directory, flag, number, texts, whole
from otel_rum_exporter.options import option, options_of, table

LogFormat = Literal["logfmt", "json"]

PORT = 4318  # OTLP/HTTP's own
OPERATIONS_PORT = 13133  # where the Collector's health check is, too

T = TypeVar("T")


def _checked(kind: Kind[T], check: Callable[[Any], object], accepts: str) -> Kind[T]:
    """Return a kind of options that something else checks, too."""

    def parse(value: Any) -> T:
        parsed = kind.parse(value)
        check(parsed)
        return parsed

    return Kind(accepts, parse)


def _rate(most: float = 1e9) -> Kind[float]:
    return number(0, most)


_ADDRESS = _checked(
    Kind("", lambda value: value if isinstance(value, str) else ""),
    lambda value: None if HOST.fullmatch(value) else ip_address(value),
    "a host name or an address",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """How the gateway listens. Units: times are in milliseconds; properties that end in `_s` give seconds."""

    host: str = option("127.0.0.1", _ADDRESS, "Address to listen on.", variable=False)
    port: int = option(PORT, whole(0, 65535), "Port to listen on; 0 takes a free one.", variable=False)
    allow_anonymous: bool = option(
        default=False,
        kind=flag(),
        doc="Takes requests without a token although others than this machine can reach the address, or tokens are known.",
        variable=False,
    )
    allowed_origins: tuple[str, ...] = option(
        (),
        _checked(texts("origins"), Origins, f"{ACCEPTED}, as a list or separated by commas"),
        "Pages that may send without a token of their own, or with a server's; the origins of browser tokens are "
        "allowed besides.",
        variable=False,
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        _checked(
            texts("addresses"), Clients, "addresses and networks such as 10.0.0.0/8, as a list or separated by commas"
        ),
        "Proxies whose X-Forwarded-For tells the client's address.",
        variable=False,
    )
    tls_certificate: Path | None = option(
        None, directory(), "File with the certificate chain, for https without a proxy.", variable=False
    )
    tls_key: Path | None = option(None, directory(), "File with its private key.", variable=False)
    spool: bool = option(
        default=True,
        kind=flag(),
        doc="Whether events are on disk before a request is answered; the exporter's `spool_dir` says where.",
        variable=False,
    )
    threads: int = option(
        4,
        whole(1, 64),
        "Threads that decode, convert and commit; those that wait for the disk share a commit.",
        variable=False,
    )
    max_connections: int = option(1000, whole(1, 1_000_000), "Open connections.", variable=False)
    max_in_flight: int = option(
        64,
        whole(1, 100_000),
        "Bodies that are worked on, or wait for that, at a time; one client, or one token, gets half.",
        variable=False,
    )
    max_in_flight_bytes: int = option(
        64 * MIB,
        whole(MIB),
        "Bytes of bodies that were received and are not dealt with yet; one client gets a quarter.",
        unit="bytes",
        variable=False,
    )
    header_timeout: int = option(
        5000, whole(1, LONGEST_MS), "Time for a request's headers.", unit="milliseconds", variable=False
    )
    body_timeout: int = option(
        10_000, whole(1, LONGEST_MS), "Time for a request's body.", unit="milliseconds", variable=False
    )
    idle_timeout: int = option(
        75_000,  # Application Load Balancers and nginx keep theirs for 60 s
        whole(1000, LONGEST_MS),
        "How long a connection stays without a request: for longer than a proxy in front keeps it, which would send "
        "into its end otherwise.",
        unit="milliseconds",
        variable=False,
    )
    drain_timeout: int = option(
        10_000,
        whole(0, LONGEST_MS),
        "Time on SIGTERM to answer what was received and to deliver, in all.",
        unit="milliseconds",
        variable=False,
    )
    operations_host: str = option("127.0.0.1", _ADDRESS, "Address of /healthz, /readyz and /metrics.", variable=False)
    operations_port: int = option(
        OPERATIONS_PORT, whole(0, 65535), "Port of the same; 0 takes a free one.", variable=False
    )
    log_format: LogFormat = option("logfmt", choice(get_args(LogFormat)), "How log lines are written.", variable=False)
    access_log: bool = option(
        default=False,
        kind=flag(),
        doc="Logs a line for each request, and for each connection that is ended without one.",
        variable=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """How much may be sent. 0 is no limit for those that say so."""

    wire_bytes: int = option(MIB, whole(1), "Size of a body as received.", unit="bytes", variable=False)
    decoded_bytes: int = option(4 * MIB, whole(1), "Size of a body after gzip.", unit="bytes", variable=False)
    records: int = option(10_000, whole(1), "Spans or log records of a request.", variable=False)
    elements: int = option(200_000, whole(1), "Messages or JSON objects of any kind in a request.", variable=False)
    depth: int = option(32, whole(1, 40), "Arrays and maps within each other in an attribute's value.", variable=False)
    client_requests_per_second: float = option(
        20.0, _rate(), "Requests of a client address; 0 is no limit.", variable=False
    )
    client_burst: float = option(50.0, number(1, 1e9), "Requests that it may make at once.", variable=False)
    client_records_per_second: float = option(
        1000.0, _rate(), "Spans and log records of a client address; 0 is no limit.", variable=False
    )
    token_requests_per_second: float = option(
        20.0, _rate(), "Requests of a token, unless it has a limit of its own; 0 is no limit.", variable=False
    )
    token_burst: float = option(50.0, number(1, 1e9), "Requests that it may make at once.", variable=False)
    token_records_per_second: float = option(
        1000.0, _rate(), "Spans and log records of a token, likewise.", variable=False
    )
    session_records_per_minute: float = option(
        200.0, _rate(), "Spans and log records of a session; 0 is no limit.", variable=False
    )
    clients: int = option(10_000, whole(1), "Client addresses that are remembered.", variable=False)
    sessions: int = option(10_000, whole(1), "Sessions that are remembered for their limit.", variable=False)

    @property
    def of_bodies(self) -> BodyLimits:
        """The limits of one body."""
        return BodyLimits(
            wire_bytes=self.wire_bytes,
            decoded_bytes=self.decoded_bytes,
            records=self.records,
            elements=self.elements,
            depth=self.depth,
        )

    @property
    def client_requests(self) -> Rate:
        """How many requests a client may make."""
        return Rate(self.client_requests_per_second, self.client_burst)

    @property
    def client_records(self) -> Rate:
        """How many records a client may send."""
        return records_rate(self.client_records_per_second)

    @property
    def session_records(self) -> Rate:
        """How many records a session may have."""
        return Rate(self.session_records_per_minute / 60, max(1.0, self.session_records_per_minute))


class Policy:
    """Who may send what where: what SIGHUP reads anew.

    Attributes:
        tokens: The tokens that are known.
        origins: All origins that some request may have.
        monitors: The app monitors that items may go to.
        needs_token: Whether requests without a token are refused.
    """

    def __init__(self, tokens: Tokens, origins: Origins, monitors: Monitors, *, needs_token: bool) -> None:
        self.tokens = tokens
        self.monitors = monitors
        self.needs_token = needs_token
        self.own_origins = origins
        of_tokens = (pattern for each in tokens.known for pattern in each.origins.patterns)
        self.origins = Origins((*origins.patterns, *of_tokens))


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration of a gateway.

    Attributes:
        gateway: How it listens.
        limits: How much may be sent.
        exporter: The exporter's options.
        policy: Who may send what where.
        sources: Where each option's value came from, by table and name.
        waiting: The options that were read anew, have changed, and do not hold before a restart.
    """

    gateway: GatewayOptions
    limits: LimitOptions
    exporter: RumConfig
    policy: Policy
    sources: dict[tuple[str, str], str]
    waiting: tuple[str, ...] = ()

    @property
    def pipeline(self) -> RumConfig:
        """The pipeline's configuration: where app monitors are listed, items say by their resource where they go to."""
        if not self.policy.monitors:
            return self.exporter
        return replace(self.exporter, app_monitor_id=None, app_monitor_name=None, app_version=None, alias=None)


def options_tables() -> Iterable[tuple[str, str]]:
    """Yield the names of the gateway's own tables, and their options as Markdown."""
    yield "gateway", table(options_of(GatewayOptions))
    yield "limits", table(options_of(LimitOptions))
