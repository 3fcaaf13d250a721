"""Names of the environment variables, so that `opentelemetry-instrument` offers them as flags.

It takes every `OTEL_` name in here for a variable; `config.py` says what each one means.
"""

OTEL_EXPORTER_RUM_APP_MONITOR_ID = "OTEL_EXPORTER_RUM_APP_MONITOR_ID"
"""Id of the app monitor, a UUID."""

OTEL_EXPORTER_RUM_APP_MONITOR_NAME = "OTEL_EXPORTER_RUM_APP_MONITOR_NAME"
"""Name of the app monitor."""

OTEL_EXPORTER_RUM_APP_VERSION = "OTEL_EXPORTER_RUM_APP_VERSION"
"""Version of the application."""

OTEL_EXPORTER_RUM_REGION = "OTEL_EXPORTER_RUM_REGION"
"""AWS region of the app monitor."""

OTEL_EXPORTER_RUM_ENDPOINT = "OTEL_EXPORTER_RUM_ENDPOINT"
"""Where requests go."""

OTEL_EXPORTER_RUM_INSECURE = "OTEL_EXPORTER_RUM_INSECURE"
"""Allows a plain http endpoint on another machine."""

OTEL_EXPORTER_RUM_ALIAS = "OTEL_EXPORTER_RUM_ALIAS"
"""Alias that the app monitor's resource policy may ask for."""

OTEL_EXPORTER_RUM_AUTH = "OTEL_EXPORTER_RUM_AUTH"
"""How requests are signed."""

OTEL_EXPORTER_RUM_IDENTITY_POOL_ID = "OTEL_EXPORTER_RUM_IDENTITY_POOL_ID"
"""Cognito identity pool for guest credentials."""

OTEL_EXPORTER_RUM_GUEST_ROLE_ARN = "OTEL_EXPORTER_RUM_GUEST_ROLE_ARN"
"""Role for the identity pool's classic flow."""

OTEL_EXPORTER_RUM_DOMAIN = "OTEL_EXPORTER_RUM_DOMAIN"
"""Domain that the app monitor checks."""

OTEL_EXPORTER_RUM_RELEASE_ID = "OTEL_EXPORTER_RUM_RELEASE_ID"
"""Release whose source maps belong to the stack traces."""

OTEL_EXPORTER_RUM_SESSION = "OTEL_EXPORTER_RUM_SESSION"
"""What happens to items without a session id."""

OTEL_EXPORTER_RUM_SESSION_HEADERS = "OTEL_EXPORTER_RUM_SESSION_HEADERS"
"""Request headers that carry the caller's session id."""

OTEL_EXPORTER_RUM_SESSION_COOKIES = "OTEL_EXPORTER_RUM_SESSION_COOKIES"
"""Cookies that carry the caller's session."""

OTEL_EXPORTER_RUM_SESSION_SAMPLE_RATE = "OTEL_EXPORTER_RUM_SESSION_SAMPLE_RATE"
"""Share of sessions that is sent."""

OTEL_EXPORTER_RUM_SESSION_EVENT_LIMIT = "OTEL_EXPORTER_RUM_SESSION_EVENT_LIMIT"
"""Events per session."""

OTEL_EXPORTER_RUM_USER_ID_SECRET = "OTEL_EXPORTER_RUM_USER_ID_SECRET"  # noqa: S105 - a name, not a secret
"""Key for user ids that are no UUIDs."""

OTEL_EXPORTER_RUM_HTTP_EVENTS = "OTEL_EXPORTER_RUM_HTTP_EVENTS"
"""Which HTTP spans become http_event."""

OTEL_EXPORTER_RUM_CUSTOM_EVENTS = "OTEL_EXPORTER_RUM_CUSTOM_EVENTS"
"""What becomes a custom event."""

OTEL_EXPORTER_RUM_XRAY_EVENTS = "OTEL_EXPORTER_RUM_XRAY_EVENTS"
"""Also sends xray_trace_event."""

OTEL_EXPORTER_RUM_ATTRIBUTES = "OTEL_EXPORTER_RUM_ATTRIBUTES"
"""Globs of the attributes that are sent as custom metadata."""

OTEL_EXPORTER_RUM_URL_QUERY = "OTEL_EXPORTER_RUM_URL_QUERY"
"""What happens to the query of URLs."""

OTEL_EXPORTER_RUM_REDACT_TEXT = "OTEL_EXPORTER_RUM_REDACT_TEXT"
"""Hides e-mail addresses, tokens, keys and card numbers."""

OTEL_EXPORTER_RUM_STACK_TRACE_LENGTH = "OTEL_EXPORTER_RUM_STACK_TRACE_LENGTH"
"""Length of stack traces in characters."""

OTEL_EXPORTER_RUM_MAX_EVENTS = "OTEL_EXPORTER_RUM_MAX_EVENTS"
"""Events per request."""

OTEL_EXPORTER_RUM_MAX_BYTES = "OTEL_EXPORTER_RUM_MAX_BYTES"
"""Bytes per request body before compression."""

OTEL_EXPORTER_RUM_FLUSH_INTERVAL = "OTEL_EXPORTER_RUM_FLUSH_INTERVAL"
"""How long a batch may wait, in milliseconds."""

OTEL_EXPORTER_RUM_MAX_REQUESTS_PER_SECOND = "OTEL_EXPORTER_RUM_MAX_REQUESTS_PER_SECOND"
"""Share of the account's requests a second that may be used."""

OTEL_EXPORTER_RUM_SENDERS = "OTEL_EXPORTER_RUM_SENDERS"
"""How many processes share that rate."""

OTEL_EXPORTER_RUM_MAX_IN_FLIGHT = "OTEL_EXPORTER_RUM_MAX_IN_FLIGHT"
"""Concurrent requests."""

OTEL_EXPORTER_RUM_TIMEOUT = "OTEL_EXPORTER_RUM_TIMEOUT"
"""Time for one attempt in milliseconds."""

OTEL_EXPORTER_RUM_COMPRESSION = "OTEL_EXPORTER_RUM_COMPRESSION"
"""Compression of request bodies."""

OTEL_EXPORTER_RUM_QUEUE_EVENTS = "OTEL_EXPORTER_RUM_QUEUE_EVENTS"
"""Events that wait in memory."""

OTEL_EXPORTER_RUM_QUEUE_BYTES = "OTEL_EXPORTER_RUM_QUEUE_BYTES"
"""Bytes of events that wait in memory."""

OTEL_EXPORTER_RUM_OVERFLOW = "OTEL_EXPORTER_RUM_OVERFLOW"
"""What gives way when the queue is full."""

OTEL_EXPORTER_RUM_SPOOL_DIR = "OTEL_EXPORTER_RUM_SPOOL_DIR"
"""Directory of the durable queue."""

OTEL_EXPORTER_RUM_SPOOL_MAX_BYTES = "OTEL_EXPORTER_RUM_SPOOL_MAX_BYTES"
"""Bytes of the durable queue."""

OTEL_EXPORTER_RUM_MAX_AGE = "OTEL_EXPORTER_RUM_MAX_AGE"
"""Age in milliseconds at which an undelivered event is given up."""

OTEL_EXPORTER_RUM_SHUTDOWN_TIMEOUT = "OTEL_EXPORTER_RUM_SHUTDOWN_TIMEOUT"
"""Time for the last deliveries in milliseconds."""

OTEL_EXPORTER_RUM_CHAIN_SIGTERM = "OTEL_EXPORTER_RUM_CHAIN_SIGTERM"
"""Delivers on SIGTERM, too."""
