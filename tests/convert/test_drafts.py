"""Events that wait are written and read: what comes back is what was written, and anything else is refused."""

from contextlib import suppress
from typing import get_args

import golden
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from straight_line import configured
from test_any_attributes import logs, options, spans
from test_golden import CASES

from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.convert.conversion import Deferred, Draft
from otel_rum_exporter.convert.drafts import Unresolved, decode_draft, encode_draft
from otel_rum_exporter.convert.interaction import SpanInteraction
from otel_rum_exporter.convert.navigation import SpanNavigation
from otel_rum_exporter.convert.resources import SpanResource
from otel_rum_exporter.convert.vitals import LinkedPaint, SpanVital
from otel_rum_exporter.events import (
    DomEvent,
    LargestContentfulPaintAttribution,
    LargestContentfulPaintEvent,
    Page,
    PageViewEvent,
    ResourceEvent,
)

text = st.text()
keys = st.integers(0, 2**63 - 1)
floats = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
marks = st.dictionaries(st.sampled_from(["fetchStart", "responseStart", "loadEventEnd"]), keys)
paints = st.builds(
    LargestContentfulPaintEvent,
    value=floats,
    attribution=st.just(msgspec.UNSET)
    | st.builds(
        LargestContentfulPaintAttribution,
        timeToFirstByte=floats,
        resourceLoadDelay=floats,
        resourceLoadTime=floats,
        elementRenderDelay=floats,
        url=text | st.just(msgspec.UNSET),
    ),
)
resources = st.builds(ResourceEvent, initiatorType=text, duration=floats, fileType=text, targetUrl=text)
unresolved = st.one_of(
    st.builds(LinkedPaint, event=paints, page=keys, resource=st.none() | st.tuples(st.just("resource"), keys)),
    st.builds(SpanInteraction, event=st.builds(DomEvent, event=text, element=text), parent=keys, at_ns=keys),
    st.builds(SpanNavigation, load=marks, trace=keys, page=keys),
    st.builds(SpanResource, event=resources, url=keys, trace=keys, start_ns=keys, end_ns=keys),
    st.builds(SpanVital, type_=text, name=text, at_ns=keys, load=marks, trace=keys),
)
drafts = st.builds(
    Draft,
    id=text,
    time_ns=keys,
    type=text,
    details=text | st.builds(PageViewEvent, pageId=text, referrer=text | st.just(msgspec.UNSET)) | unresolved,
    page=st.builds(
        Page,
        pageId=text | st.just(msgspec.UNSET),
        title=text | st.just(msgspec.UNSET),
        interaction=keys | st.just(msgspec.UNSET),
        pageTags=st.lists(text) | st.just(msgspec.UNSET),
    ),
    domain=st.none() | text,
    attributes=st.dictionaries(text, text | floats | st.booleans()),
    is_limited=st.booleans(),
)


def written_and_read(draft):
    return replace(decode_draft(encode_draft(draft)), once=draft.once)


@given(drafts)
def test_round_trip(draft):
    """Any event comes back as it was, numbers as what they were."""
    again = decode_draft(encode_draft(draft))
    assert again == draft
    assert repr(again.details) == repr(draft.details)


@given(spans | logs, options)
def test_whatever_is_converted_can_be_written(item, chosen):
    """Items of applications hold values of any type; their events hold none that cannot be written."""
    converter = Converter(configured(**chosen))
    each = converter.log(item, LogEventIds()) if hasattr(item, "log_record") else converter.span(item)
    drafts = getattr(each, "events", [])
    assert [written_and_read(draft) for draft in drafts] == drafts


@pytest.mark.parametrize("case", CASES)
def test_golden_events_wait_unchanged(case):
    """Batches are the same whether events waited in memory or as bytes."""
    drafts = [draft for _, each in golden.converted(case) for draft in getattr(each, "events", ())]
    assert [written_and_read(draft) for draft in drafts] == drafts
    assert golden.outcome(case, waiting=written_and_read) == golden.outcome(case)


def test_the_union_is_closed():
    """Whatever waits can be written: no Deferred type is left out."""
    assert set(get_args(Unresolved)) == set(Deferred.__subclasses__())


def test_once_is_not_kept():
    """Whether an event was reported before is decided before it waits."""
    case = {"exports": [export for each in CASES for export in each.values[0]["exports"]]}
    drafts = [draft for _, each in golden.converted(case) for draft in getattr(each, "events", ())]
    assert any(draft.once for draft in drafts)
    assert {decode_draft(encode_draft(draft)).once for draft in drafts} == {None}


@given(st.binary())
def test_random_bytes(data):
    """Other bytes are refused with a ValueError; none of these is an event by chance."""
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec says what is wrong, or Python's decoder of UTF-8
        decode_draft(data)


@given(drafts, st.data())
def test_damaged_bytes(draft, data):
    """Bytes that were cut or changed are another event or none, and nothing but a ValueError says so."""
    written = bytearray(encode_draft(draft))
    index = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(ValueError):  # noqa: PT011 - see above
        decode_draft(bytes(written[:index]))
    written[index] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert isinstance(decode_draft(bytes(written)), Draft)


@pytest.mark.parametrize(
    "data",
    [b"\x81\xa1a" * 100_000, b"\xdf\xff\xff\xff\xff", b"\x81\xaaattributes\xdf\xff\xff\xff\xff", b"\x80",
     msgspec.msgpack.encode({"id": "a", "time_ns": 1, "type": "t"}),
     msgspec.msgpack.encode({"id": "a", "time_ns": 1, "type": "t", "details": {"type": "Draft"}})],
    ids=["deep", "a huge map", "huge attributes", "empty", "no details", "another tag"],
)  # fmt: skip
def test_hostile_bytes(data):
    """Depth, sizes that lie, members that are missing, types that are not of the union."""
    with pytest.raises(ValueError, match="not an event"):
        decode_draft(data)
