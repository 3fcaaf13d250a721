"""JSON text of models and mappings: never null or NaN, never a lone surrogate, never larger than asked for."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.encoding import clean, clip, encode, shrink, utf8_bytes, well_formed, wire_bytes
from otel_rum_exporter.events import CumulativeLayoutShiftEvent, JsErrorEvent

NAN, INFINITE = float("nan"), float("inf")


class SafeText(str):
    """As Django's SafeString, with a repr that must not be asked for."""

    __slots__ = ()

    def __str__(self):
        raise AssertionError

    __repr__ = __str__


class Measure(float):
    """As numpy.float64."""


class Count(int):
    """As a member of an IntEnum."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": None}, {}, id="None"),
        pytest.param({"a": NAN, "b": -INFINITE, "c": 1.5}, {"c": 1.5}, id="NaN and infinity"),
        pytest.param({"a": [1, None, NAN, "x"]}, {"a": [1, "x"]}, id="within a list"),
        pytest.param({"a": {"b": {"c": None}}}, {"a": {"b": {}}}, id="nested"),
        pytest.param({"a": "null", "b": "say null"}, {"a": "null", "b": "say null"}, id="the word null"),
        pytest.param({"a": "\ud83d\uded2"}, {"a": "🛒"}, id="a pair of surrogates"),
        pytest.param({"a": "x\ud800y", "\udfff": 1}, {"a": "x\ufffdy", "\ufffd": 1}, id="lone surrogates"),
        pytest.param({"a": "x\ud800y", "b": None}, {"a": "x\ufffdy"}, id="surrogate and None"),
        pytest.param({"a": 10**30}, {"a": 10**30}, id="huge integer"),
        pytest.param({"a": SafeText("x"), "b": Measure(1.5), "c": Count(3)}, {"a": "x", "b": 1.5, "c": 3}, id="types"),
        pytest.param({"a": Measure(NAN), "b": SafeText("\ud800")}, {"b": "\ufffd"}, id="types at their worst"),
        pytest.param({"a": (1, (2,))}, {"a": [1, [2]]}, id="tuples"),
        pytest.param(JsErrorEvent(message="\ud800"), {"version": "1.0.0", "message": "\ufffd"}, id="model"),
        pytest.param("plain", "plain", id="string"),
    ],
)
def test_encode(value, expected):
    """What JSON or the schemas cannot hold is left out or replaced; the rest stays."""
    assert json.loads(encode(value)) == expected


def test_encode_leaves_out_what_a_model_cannot_send():
    """A field that is NaN is one that was not set."""
    assert encode(CumulativeLayoutShiftEvent(value=0)) == '{"version":"1.0.0","value":0}'
    assert encode(CumulativeLayoutShiftEvent(value=NAN)) == '{"version":"1.0.0"}'


@pytest.mark.parametrize("value", [object(), {"a": object()}, [1j]], ids=["object", "member", "complex"])
def test_encode_refuses_other_types(value):
    """Objects that are neither models nor JSON's own are a fault of the caller."""
    with pytest.raises(TypeError):
        encode(value)


def test_clean_ends_in_the_deep():
    """Deeper than 64 levels nothing is kept, so that recursion is bounded."""
    deep = cycle = {}
    for _ in range(200):
        deep = {"a": deep}
    cycle["self"] = cycle
    for value in (deep, cycle):
        assert encode(clean(value)).count("{") <= 65


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=40),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(st.characters()), children, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters()), json_values, max_size=5))
def test_encoded_text_is_always_strict_json(value):
    """Whatever the values: UTF-8, JSON, no null, no NaN."""
    text = encode(value)
    text.encode()
    assert not any(each is None for each in _leaves(json.loads(text, parse_constant=pytest.fail)))


def _leaves(value):
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _leaves(member)
    else:
        yield value


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("ąęśćż", 3, "ąę…"),
        ("🛒🛒🛒", 2, "🛒…"),
        ("", 0, ""),
        ("a", 0, "…"),
    ],
    ids=["fits", "cut", "two bytes", "four bytes", "empty", "nothing fits"],
)
def test_clip(text, length, expected):
    """Text is cut between characters; the last one marks the cut."""
    assert clip(text, length) == expected


@given(st.text(st.characters()))
def test_well_formed_text_is_utf8_and_stays(text):
    """Only surrogates change."""
    fine = well_formed(text)
    fine.encode()
    assert well_formed(fine) == fine
    if not any("\ud800" <= each <= "\udfff" for each in text):
        assert fine == text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_sizes(text):
    """utf8_bytes is the size in UTF-8, wire_bytes that of a JSON string; JSON text holds no control characters."""
    assert utf8_bytes(text) == len(text.encode())
    assert wire_bytes(text) == len(json.dumps(text, ensure_ascii=False).encode())


def _cost(text):
    return len(text.encode())


def test_shrink_cuts_the_longest_first():
    """Short strings stay whole; the long one loses what is too much, on a character's boundary, with a mark."""
    details = {"type": "otel.span", "id": "b9a27564d4d261fd", "long": "ż" * 5000, "n": 1, "list": ["x" * 300]}
    shorter = shrink(encode(details), 2000)
    value = json.loads(shorter)
    assert _cost(shorter) <= 2000
    assert _cost(shorter) > 1800
    assert value["long"] == "ż" * (len(value["long"]) - 1) + "…"
    assert {**value, "long": 0} == {**details, "long": 0}


@pytest.mark.parametrize(
    "details",
    [{"k" * 100: 1}, {"a": list(range(50))}, {"a": ["x" * 32] * 9}, {}],
    ids=["key", "numbers", "ids", "empty"],
)
def test_shrink_gives_up(details):
    """Keys, numbers and short strings are never cut: what is too large because of them does not fit."""
    assert shrink(encode(details), 99) in (None, "{}")


texts = st.text(st.characters(codec="utf-8") | st.sampled_from('ż🛒"\\\n'), max_size=400)
objects = st.dictionaries(
    st.text(max_size=8),
    texts | st.integers() | st.lists(texts, max_size=4) | st.dictionaries(st.text(max_size=4), texts, max_size=3),
    max_size=8,
)


@given(objects, st.integers(min_value=2, max_value=1500))
def test_shrunk_text_fits_and_is_json(details, max_bytes):
    """Never more bytes than asked for, never broken JSON, the same members."""
    text = encode(details)
    shorter = shrink(text, max_bytes)
    if shorter is None:
        assert _cost(text) > max_bytes
        return
    assert _cost(shorter) <= max_bytes
    assert json.loads(shorter).keys() == json.loads(text).keys()
    if _cost(text) <= max_bytes:
        assert shorter == text


def test_shrink_is_quick():
    """Ten megabytes of text take few rounds."""
    shorter = shrink(encode({"a": "ż" * 5_000_000, "b": "x" * 1_000_000}), 6144)
    assert _cost(shorter) <= 6144
    assert math.isclose(_cost(shorter), 6144, rel_tol=0.2)
