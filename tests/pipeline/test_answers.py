"""What an answer of the service, or an exception of boto3, is taken for."""

import pytest

from otel_rum_exporter.client.answers import normalise_retry_after, retry_after_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.2", 1),
        ("2.5", 3),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0),
        ("-5", 0),
        ("abc", 0),
        ("nan", 0),
        ("inf", 0),
        ("1e999", 0),
        ("9" * 5000, 0),
        ("999999", 999_999),
        ("", 0),
    ],
    ids=["number", "below 1", "decimal", "date", "past", "negative", "word", "nan", "inf", "overflow", "digits", "days", "empty"],
)  # fmt: skip
def test_retry_after_becomes_wholeretry_after_s(value, seconds):
    """What botocore's parser would raise on is a number before it sees it; dates count by the service's clock."""
    answer = {"headers": {"retry-after": value, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}}
    normalise_retry_after(answer)
    assert answer["headers"]["retry-after"] == str(seconds)


def test_a_date_without_the_services_own_counts_by_ours():
    """Without a Date header the local clock has to do."""
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") is None
    assert retry_after_s("Fri, 21 Oct 2395 07:28:00 GMT") > 1e9
