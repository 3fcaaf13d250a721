"""Every option, once: keyword argument, environment variable, default, unit, what is accepted, what it does."""

# ruff: noqa: RUF009 - `option` makes the field that dataclasses turns into an immutable default

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from otel_rum_exporter.events import MAX_EVENT_BYTES
from otel_rum_exporter.option_kinds import (
    HOST,
    choice,
    directory,
    flag,
    function,
    matching,
    number,
    secret,
    text,
    texts,
    url,
    whole,
)
from otel_rum_exporter.options import (
    ConfigError,
    Environ,
    Problem,
    first_of,
    ignored,
    option,
    options_of,
    read,
    refused,
    table,
)

__all__ = ["ConfigError", "Problem", "RumConfig", "ignored_variables", "options_table"]

Auth = Literal["sigv4", "none"]
SessionMode = Literal["auto", "process", "require"]
HttpEvents = Literal["all", "failures", "none"]
CustomEvents = Literal["none", "events", "spans", "all"]
UrlQuery = Literal["redact", "keep", "drop"]
Compression = Literal["gzip", "none"]
Overflow = Literal["drop_oldest", "drop_newest", "block"]
PageIdFormat = Literal["path", "hash", "path_and_hash"]
ServerExceptions = Literal["js_error", "custom"]
SessionStart = Literal["first_seen", "from_events", "off"]
ResourceDetails = Literal["basic", "full"]

MIB = 1024 * 1024
MAX_EVENTS = 100  # per request; the batchLimit of aws-rum-web
MIN_BODY_BYTES = 16_384  # an event of the largest size and the request around it
LONGEST_MS = 30 * 86_400_000  # thirty days; threads on Windows cannot wait for more than 49

UUID_SHAPE = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
REGION = re.compile(r"[a-z]{2,8}(-[a-z]{2,16})+-[0-9]{1,2}")
RELEASE_ID = re.compile(r"[a-zA-Z0-9_\-:/.]{1,200}")  # aws-rum-web's schema of meta-data
IDENTITY_POOL_ID = re.compile(r"[a-z0-9-]{1,32}:[0-9A-Fa-f-]{1,55}")  # botocore data/cognito-identity/2014-06-30
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]{1,1024}")


def _monitor_in_resource(environ: Environ) -> Iterator[tuple[str, str | None]]:
    # as the SDK's OTELResourceDetector reads it, which also logs what is no pair
    pairs = (item.partition("=") for item in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    yield "OTEL_RESOURCE_ATTRIBUTES", attributes.get("aws.rum.appmonitor.id")


def _aws_endpoint(environ: Environ) -> Iterator[tuple[str, str | None]]:
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").strip().lower() != "true":
        yield from first_of("AWS_ENDPOINT_URL_RUM", "AWS_ENDPOINT_URL")(environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class RumConfig:
    """A whole configuration. `load` reads and checks it; the constructor itself checks nothing.

    Units:  times are in milliseconds, as in OpenTelemetry's variables; properties that end in `_s` give seconds.
    Errors: `load` raises `ConfigError`, with all problems.
    """

    app_monitor_id: str | None = option(
        None,
        matching("a UUID such as 12345678-1234-1234-1234-123456789012", UUID_SHAPE),
        "Id of the app monitor; required, here or on the items' resource.",
        elsewhere=_monitor_in_resource,
        default_doc="`aws.rum.appmonitor.id` in `OTEL_RESOURCE_ATTRIBUTES`, else on the first item's resource",
    )
    app_monitor_name: str | None = option(
        None, text(255), "Name of the app monitor, as each request gives it.", default_doc="`service.name`"
    )
    app_version: str | None = option(
        None,
        text(255),
        "Version of the application, as each request gives it.",
        default_doc="`service.version`, else `1.0.0`",
    )
    region: str | None = option(
        None,
        matching("an AWS region such as eu-central-1", REGION),
        "AWS region of the app monitor.",
        elsewhere=first_of("AWS_REGION", "AWS_DEFAULT_REGION"),
        default_doc="`AWS_REGION`, `AWS_DEFAULT_REGION`, the AWS profile's region",
    )
    endpoint: str | None = option(
        None,
        url(),
        "Where requests go, used as given; plain http only to this machine, unless `insecure` is set.",
        elsewhere=_aws_endpoint,
        default_doc="`AWS_ENDPOINT_URL_RUM`, `AWS_ENDPOINT_URL`, else AWS's own",
    )
    insecure: bool = option(default=False, kind=flag(), doc="Allows a plain http endpoint on another machine.")
    alias: str | None = option(
        None,
        text(255),
        "Alias that the app monitor's resource policy may ask for.",
        default_doc="`aws.rum.appmonitor.alias` on the resource",
    )
    auth: Auth = option(
        "sigv4",
        choice(get_args(Auth)),
        "`sigv4` signs with the AWS credentials that boto3 finds; `none` sends unsigned, for a public resource policy "
        "or a proxy that signs.",
    )
    identity_pool_id: str | None = option(
        None,
        matching(
            "a Cognito identity pool id such as eu-central-1:12345678-1234-1234-1234-123456789012", IDENTITY_POOL_ID
        ),
        "Cognito identity pool whose guest credentials sign the requests.",
    )
    guest_role_arn: str | None = option(
        None,
        matching("the ARN of an IAM role", ROLE_ARN),
        "Role for the identity pool's classic flow.",
    )
    domain: str | None = option(
        None,
        matching("a host name without scheme and port", HOST),
        "The domain that the app monitor checks; to be set where items carry no page.",
        default_doc="the page's host, else `localhost`",
    )
    release_id: str | None = option(
        None,
        matching("1 to 200 of the characters A-Z a-z 0-9 _ - : . /", RELEASE_ID),
        "Release whose source maps belong to the stack traces (`aws:releaseId`).",
    )
    session: SessionMode = option(
        "auto",
        choice(get_args(SessionMode)),
        "What happens to items without `session.id`: `process` puts them into the process's own session, `require` "
        "drops and counts them, `auto` is `process` until the process turns out to serve others.",
        default_doc="`auto`; `require` in the gateway",
    )
    session_headers: tuple[str, ...] = option(
        (),
        texts("names"),
        "Request headers that carry the caller's session id, which must be no secret.",
    )
    session_cookies: tuple[str, ...] = option(
        ("cwr_s",),
        texts("names"),
        "Cookies that carry the caller's session, the first that does counts: `cwr_s` is aws-rum-web's, any other holds "
        "an id, which must be no secret.",
    )
    session_sample_rate: float = option(
        1.0, number(0, 1), "Share of sessions that is sent, by hash of the session id, so that all processes agree."
    )
    session_event_limit: int = option(0, whole(0), "Events per session; 0 is no limit.")
    user_id_secret: str | None = option(
        None, secret(), "Key of the HMAC that turns user ids which are no UUIDs into UUIDs."
    )
    http_events: HttpEvents = option(
        "all",
        choice(get_args(HttpEvents)),
        "Which HTTP spans become `http_event`; `failures` is what aws-rum-web sends.",
    )
    custom_events: CustomEvents = option(
        "spans",
        choice(get_args(CustomEvents)),
        "What becomes a custom event: `events` named log events and span events; `spans` also INTERNAL spans and entry "
        "spans without a type of their own; `all` also CLIENT and PRODUCER spans of databases, RPC and messaging.",
    )
    xray_events: bool = option(default=False, kind=flag(), doc="Also sends `xray_trace_event`.")
    attributes: tuple[str, ...] = option(
        (), texts("globs such as app.*"), "Attributes that are sent as custom metadata, 10 at most per event."
    )
    url_query: UrlQuery = option(
        "redact", choice(get_args(UrlQuery)), "Query of URLs; `redact` hides values that look secret."
    )
    redact_text: bool = option(
        default=True,
        kind=flag(),
        doc="Hides e-mail addresses, tokens, keys, passwords, cookies and card numbers in whatever is sent.",
    )
    stack_trace_length: int = option(1000, whole(0, MAX_EVENT_BYTES), "Where stack traces are cut.", unit="characters")
    max_events: int = option(100, whole(1, MAX_EVENTS), "Events per request.")
    max_bytes: int = option(MIB // 2, whole(MIN_BODY_BYTES), "Largest request body, before compression.", unit="bytes")
    flush_interval: int = option(
        5000,
        whole(0, LONGEST_MS),
        "How long a batch gathers, a third of `max_age` at most; then it settles, for 2 s at most. Longer when sessions "
        "outnumber the requests.",
        unit="milliseconds",
    )
    max_requests_per_second: float = option(
        45.0, number(0.1, 10_000), "Share of the account's 50 requests a second that may be used."
    )
    senders: int = option(1, whole(1, 10_000), "How many processes share `max_requests_per_second`.")
    max_in_flight: int = option(8, whole(1, 256), "Concurrent requests.")
    timeout: int = option(10_000, whole(1, LONGEST_MS), "Time for one attempt.", unit="milliseconds")
    compression: Compression = option(
        "gzip", choice(get_args(Compression)), "`gzip` compresses bodies from 2 KiB on, when that saves a fifth."
    )
    queue_events: int = option(10_000, whole(1), "Events that wait in memory.")
    queue_bytes: int = option(32 * MIB, whole(MIN_BODY_BYTES), "The same in bytes.", unit="bytes")
    overflow: Overflow = option(
        "drop_oldest",
        choice(get_args(Overflow)),
        "What gives way when the queue is full: its oldest event, the new one, or, for `timeout` at most, who exports.",
    )
    spool_dir: Path | None = option(
        None, directory(), "Directory of the durable queue; without it events wait in memory only."
    )
    spool_max_bytes: int = option(512 * MIB, whole(MIB), "Size of the durable queue of each process.", unit="bytes")
    max_age: int = option(
        300_000,
        whole(1, LONGEST_MS),
        "Age at which an undelivered event is given up and counted.",
        unit="milliseconds",
        with_spool=172_800_000,
    )
    shutdown_timeout: int = option(
        5000,
        whole(0, LONGEST_MS),
        "Time for the last deliveries, one deadline from the first shutdown on.",
        unit="milliseconds",
        with_spool=2000,
    )
    chain_sigterm: bool = option(
        default=False,
        kind=flag(),
        doc="Delivers on SIGTERM within `shutdown_timeout`, then calls the handler that was there when the exporter was "
        "made, on the main thread.",
    )

    # the rarer ones, without a variable

    page_id_format: PageIdFormat = option(
        "path", choice(get_args(PageIdFormat)), "Which parts of its URL identify a page.", variable=False
    )
    stamp_all_spans: bool = option(
        default=False,
        kind=flag(),
        doc="Exports all spans of a server's trace in the caller's session, not only the entry span.",
        variable=False,
    )
    server_exceptions: ServerExceptions = option(
        "js_error",
        choice(get_args(ServerExceptions)),
        "What a server's exceptions become: `js_error_event` or the custom event `otel.exception`.",
        variable=False,
    )
    session_start: SessionStart = option(
        "first_seen",
        choice(get_args(SessionStart)),
        "What sends `session_start_event`: the first sight of a session, or a `session.start` log event.",
        variable=False,
    )
    resource_details: ResourceDetails = option(
        "basic",
        choice(get_args(ResourceDetails)),
        "Members of `performance_resource_event`: those that aws-rum-web sends, or all that are known.",
        variable=False,
    )
    resource_image_limit: int = option(
        10, whole(0), "Images and other files of a page that are recorded.", variable=False
    )
    xray_service_name: str = option(
        "rum.aws.amazon.com", text(200), "Service name in `xray_trace_event`.", variable=False
    )
    spool_reserve_bytes: int = option(
        64 * MIB, whole(0), "Disk space that the spool leaves free.", unit="bytes", variable=False
    )
    spool_fsync: bool = option(
        default=False,
        kind=flag(),
        doc="Whether what the spool accepts survives a power loss, and not only the end of the process.",
        variable=False,
    )
    context_sessions: int = option(10_000, whole(1), "Sessions whose page and counts are remembered.", variable=False)
    context_bytes: int = option(
        20 * MIB, whole(MIB), "Size of what is remembered of sessions.", unit="bytes", variable=False
    )

    convert: Callable[..., Any] | None = option(
        None,
        function(),
        "Called with each item and the list of events it would become; returns the events to send instead.",
        variable=False,
    )

    @classmethod
    def load(cls, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> "RumConfig":
        """Read a configuration: argument, else environment, else default.

        Text is read alike from both: stripped, and as good as not given when it is empty. So is an argument None.

        Args:
            arguments: Options by name; values of their type, or text.
            environ: Environment variables, usually `os.environ`.

        Raises:
            ConfigError: With all problems: values that are not accepted, options that do not go together or do not
                exist.
        """
        options = options_of(cls)
        found = read(options, arguments, environ)
        spooled = {name: facts.with_spool for name, facts in options.items() if facts.with_spool is not None}
        config = cls(**(spooled if "spool_dir" in found.values else {}) | found.values)
        bad = {problem.option for problem in found.problems}
        for name, other, accepts in config._conflicts():
            if not bad & {name, other}:
                value = found.values[name]
                found.problems.append(refused(name, options[name], found.variables[name], value, accepts))
        if found.problems:
            raise ConfigError(found.problems)
        return config

    def checked(self) -> "RumConfig":
        """Return the configuration as `load` would read it: the constructor checks nothing.

        Raises:
            ConfigError: With all problems.
        """
        return self.load({each.name: getattr(self, each.name) for each in fields(self)}, {})

    def _conflicts(self) -> Iterator[tuple[str, str, str]]:
        """Yield options that do not go with another one: their name, the other's, what is accepted beside it."""
        if self.endpoint and not self.insecure and not _is_private(self.endpoint):
            yield "endpoint", "insecure", "plain http only to this machine; https, or set insecure to true"
        if self.guest_role_arn and not self.identity_pool_id:
            yield "guest_role_arn", "identity_pool_id", "only together with identity_pool_id"
        if self.identity_pool_id and self.auth == "none":
            yield "identity_pool_id", "auth", "only with auth sigv4, since guest credentials sign the requests"

    @property
    def flush_interval_s(self) -> float:
        """How long a batch may wait, in seconds."""
        return self.flush_interval / 1000

    @property
    def timeout_s(self) -> float:
        """Time for one attempt, in seconds."""
        return self.timeout / 1000

    @property
    def max_age_s(self) -> float:
        """Age at which an undelivered event is given up, in seconds."""
        return self.max_age / 1000

    @property
    def shutdown_timeout_s(self) -> float:
        """Time for the last deliveries, in seconds."""
        return self.shutdown_timeout / 1000


def _is_private(endpoint: str) -> bool:
    """Whether nobody on the network can read along: TLS, or it never leaves this machine."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:  # another name
        return False
    return address in ip_network("127.0.0.0/8") or address == ip_address("::1")


def ignored_variables(environ: Environ) -> Iterator[str]:
    """Yield a line for each variable that is named as if it set an option of the exporter, and sets none."""
    return ignored(options_of(RumConfig), environ)


def options_table() -> str:
    """Return the option table as Markdown, as the README shows it."""
    return table(options_of(RumConfig))
