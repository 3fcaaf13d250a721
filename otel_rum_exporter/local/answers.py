"""The endpoint's answers, in the form that AWS gives them."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

ERROR_TYPES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
"""Error type by status; the first five are PutRumEvents' own (botocore data/rum/2018-05-10)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: The status code.
        error: AWS's error type, sent as ``x-amzn-ErrorType``; empty for none.
        body: The body.
        headers: Further headers; they win over the usual ones.
    """

    status: int = 200
    error: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Return the headers to send, with a new request id."""
        usual = {"content-type": "application/json", "x-amzn-requestid": str(uuid.uuid4())}
        if self.error:
            usual["x-amzn-errortype"] = self.error
        given = {name.lower(): value for name, value in self.headers.items()}
        return {**usual, **given, "content-length": str(len(self.body))}

    def as_bytes(self) -> bytes:
        """Return the whole answer as HTTP/1.1 puts it on the wire, for a connection that ends with it."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in self.all_headers().items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class RefusedError(Exception):
    """The request gets an error answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.error)
        self.answer = answer


def error_answer(
    status: int, message: str, error: str | None = None, headers: Mapping[str, str] | None = None, **members: Any
) -> Answer:
    """Return an error as AWS words it: type in a header, message in a JSON body."""
    body = json.dumps({"message": message, **members}).encode()
    return Answer(status, ERROR_TYPES.get(status, "") if error is None else error, body, headers or {})


def refuse(status: int, message: str, error: str | None = None, **members: Any) -> RefusedError:
    """Return the exception that makes the endpoint give this error."""
    return RefusedError(error_answer(status, message, error, **members))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
