"""What an answer of the service, or an exception of boto3, is taken for."""

import io

import pytest
from botocore.awsrequest import AWSResponse

from otel_rum_exporter.client.answers import retry_after_s, verdict_on_answer
from otel_rum_exporter.client.verdicts import Parked, Rejected, Retry


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.2", 1),
        ("2.5", 3),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:27:00 GMT", None),
        ("-5", None),
        ("abc", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 5000, None),
        ("999999", 999_999),
        ("", None),
        (None, None),
    ],
    ids=["number", "below 1", "decimal", "date", "past", "negative", "word", "nan", "inf", "overflow", "digits", "days", "empty", "none"],
)  # fmt: skip
def test_retry_after_becomes_whole_seconds(value, seconds):
    """What makes no sense asks for nothing; dates count by the service's clock."""
    assert retry_after_s(value, "Wed, 21 Oct 2026 07:28:00 GMT") == seconds


def test_a_date_without_the_services_own_counts_by_ours():
    """Without a Date header the local clock has to do."""
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") is None
    assert retry_after_s("Fri, 21 Oct 2395 07:28:00 GMT") > 1e9


class Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self):
        yield self.read()


def verdict(status, body, **headers):
    answer = AWSResponse("https://rum.example", status, {k.replace("_", "-"): v for k, v in headers.items()}, Raw(body))
    return verdict_on_answer(answer, {})


@pytest.mark.parametrize(
    "body",
    [
        b"[1]",
        b"1",
        b"null",
        b'"text"',
        b'{"__type": 5}',
        b'{"message": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
        b"{}",
        b"",
    ],
    ids=["list", "number", "null", "string", "odd type", "no message", "no text", "deep", "digits", "object", "empty"],
)
def test_bodies_that_are_no_errors_of_aws(body):
    """The status decides, whatever a proxy writes beside it; no body raises."""
    assert isinstance(verdict(400, body), Rejected)
    assert isinstance(verdict(403, body), Parked)
    assert isinstance(verdict(418, body), Retry)
    assert verdict(503, body, Retry_After="3").after_s == 3
    assert verdict(300, body).cause == "server"


def test_an_error_in_words():
    """A body that is no JSON is told as it is."""
    assert verdict(400, b"Bad Request").message == "400 400: Bad Request"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"message": "no", "__type": "com.amazonaws.rum#ValidationException"}', {}),
        (b'{"Message": "no", "code": "ValidationException"}', {}),
        (b'{"message": "no"}', {"x_amzn_ErrorType": "ValidationException:http://internal.amazon.com/"}),
    ],
    ids=["type", "code", "header"],
)
def test_where_the_code_of_an_error_stands(body, headers):
    """AWS has three places for it."""
    assert verdict(400, body, **headers) == Rejected("400 ValidationException: no")
