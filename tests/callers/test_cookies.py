"""Cookies: taken apart, aws-rum-web's read, whatever browsers send."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_of_browsers import NOBODY, SESSION, cwr_s, encoded

from otel_rum_exporter.callers import cookies
from otel_rum_exporter.callers.callers import CallerSession, Ignored


def test_session_cookie_is_read():
    """Session, page and interaction come out of the cookie that aws-rum-web writes."""
    assert cookies.session(cwr_s()) == CallerSession(session=SESSION, page_id="/cart", interaction=2)


def test_page_is_optional():
    """Before the first page view the cookie has no page."""
    assert cookies.session(encoded({"sessionId": SESSION, "record": True})) == CallerSession(session=SESSION)


def test_record_false_is_kept():
    """A session outside of aws-rum-web's sample is known as such."""
    assert cookies.session(cwr_s(record=False)).record is False


def test_page_beyond_ascii():
    """btoa writes characters up to U+00FF as a byte each."""
    assert cookies.session(cwr_s(page_id="/caf\u00e9")).page_id == "/caf\u00e9"


def test_padding_is_optional():
    """The padding of base64 may have got lost on the way."""
    assert cookies.session(cwr_s().rstrip("=")).session == SESSION


def test_page_ids_are_cut():
    """A page id longer than metadata takes is cut."""
    assert len(cookies.session(cwr_s(page_id="/" + "x" * 1000)).page_id) <= 256


def plain(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("not base64!", Ignored.NOT_BASE64, id="other characters"),
        pytest.param("\u00fc", Ignored.NOT_BASE64, id="not ASCII"),
        pytest.param("abcde", Ignored.NOT_BASE64, id="impossible length"),
        pytest.param("", Ignored.NOT_JSON, id="empty"),
        pytest.param(plain("hello"), Ignored.NOT_JSON, id="text"),
        pytest.param(plain('{"sessionId":'), Ignored.NOT_JSON, id="cut off"),
        pytest.param(plain('{"a":' + "[" * 3000), Ignored.NOT_JSON, id="deeply nested"),
        pytest.param(encoded([SESSION]), Ignored.WRONG_TYPE, id="list"),
        pytest.param(encoded(None), Ignored.WRONG_TYPE, id="null"),
        pytest.param(encoded({"record": True}), Ignored.WRONG_TYPE, id="no session"),
        pytest.param(encoded({"sessionId": 7}), Ignored.WRONG_TYPE, id="session is a number"),
        pytest.param(encoded({"sessionId": SESSION, "record": "no"}), Ignored.WRONG_TYPE, id="record is text"),
        pytest.param(encoded({"sessionId": SESSION, "page": []}), Ignored.WRONG_TYPE, id="page is a list"),
        pytest.param(cwr_s(page_id=["/"]), Ignored.WRONG_TYPE, id="page id is a list"),
        pytest.param(cwr_s(interaction=-1), Ignored.WRONG_TYPE, id="negative interaction"),
        pytest.param(cwr_s(interaction=10**30), Ignored.WRONG_TYPE, id="huge interaction"),
        pytest.param(cwr_s(interaction=1.5), Ignored.WRONG_TYPE, id="fractional interaction"),
        pytest.param(cwr_s("1 OR 1=1"), Ignored.NO_UUID, id="injection"),
        pytest.param(cwr_s(SESSION + "\n"), Ignored.NO_UUID, id="trailing line"),
        pytest.param(cwr_s(NOBODY), Ignored.NO_UUID, id="nobody's session"),
    ],
)
def test_unusable_session_cookies(value, reason):
    """A cookie that aws-rum-web cannot have written is no session, and has a reason."""
    assert cookies.session(value) is reason


@given(st.binary(max_size=400).map(lambda raw: base64.b64encode(raw).decode()) | st.text(max_size=400))
def test_any_value_is_survived(value):
    """Whatever stands in the cookie, it is a session or a reason."""
    assert isinstance(cookies.session(value), CallerSession | Ignored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "sessionId": st.just(SESSION) | json_values,
            "record": st.booleans() | json_values,
            "page": st.fixed_dictionaries({}, optional={"pageId": json_values, "interaction": json_values})
            | json_values,
        },
    )
)
def test_any_document_is_survived(document):
    """JSON of aws-rum-web's members with values of any type is a session with usable members, or a reason."""
    found = cookies.session(base64.b64encode(json.dumps(document).encode()).decode())
    if isinstance(found, CallerSession):
        assert cookies.is_uuid(found.session)
        (found.page_id or "").encode()
        assert found.interaction is None or found.interaction >= 0
    else:
        assert isinstance(found, Ignored)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(["a=1; b=2"], [("a", "1"), ("b", "2")], id="one header"),
        pytest.param(["a=1", "b=2"], [("a", "1"), ("b", "2")], id="two headers, as in HTTP/2"),
        pytest.param(["a=1;b=2;;c"], [("a", "1"), ("b", "2")], id="no spaces, no value"),
        pytest.param(['a="quoted"'], [("a", "quoted")], id="quotes"),
        pytest.param(["a=b=="], [("a", "b==")], id="padding"),
        pytest.param([""], [], id="nothing"),
    ],
)
def test_pairs(headers, expected):
    """Cookies are taken apart as browsers and proxies put them together."""
    assert list(cookies.pairs(headers)) == expected


@given(st.lists(st.text()))
def test_any_headers_are_survived(headers):
    """Taking apart never fails, and yields text."""
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in cookies.pairs(headers))
