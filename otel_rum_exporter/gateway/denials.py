"""Why a request is turned away before its body is looked at, and what its answer says besides."""

from __future__ import annotations

from otel_rum_exporter.gateway.origins import Header


class Denied(Exception):  # noqa: N818 - what happened to the request
    """A request that is turned away.

    Attributes:
        status: The HTTP status.
        message: What the sender is told; it repeats nothing that the sender said.
        headers: What the answer's headers say besides.
        limit: Which limit was reached, for the statistics; empty for none.
        wait_s: In how many seconds another try may help; None if it is of no use.
        closes: Whether the connection ends with the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *headers: Header,
        limit: str = "",
        wait_s: float | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
        self.limit = limit
        self.wait_s = wait_s
        self.closes = closes


def limited(limit: str, message: str, wait_s: float) -> Denied:
    """Return the denial of a request over a limit of its sender's that holds for a time."""
    return Denied(429, message, limit=limit, wait_s=wait_s)


def overloaded(limit: str, message: str, wait_s: float) -> Denied:
    """Return the denial of a request that the gateway has no room for, whoever sends it.

    OTLP leaves 429 and 503 to choose from; OpenTelemetry's Python exporters before 1.45 send again after the latter only.
    """
    return Denied(503, message, limit=limit, wait_s=wait_s)


def unauthorized(message: str) -> Denied:
    """Return the denial of a request without a token that is known."""
    return Denied(401, message, ("www-authenticate", 'Bearer realm="otlp"'))
