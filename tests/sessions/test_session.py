"""Whose an event is, and what is remembered of each session."""

import hashlib
import hmac
import itertools
import random
import re
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert.conversion import Conversion, Draft, Once, Origin
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.events import NO_CLIENT, NO_PAGE, AppMonitor, Client, Page, PageViewEvent
from otel_rum_exporter.sessions.context import SessionView
from otel_rum_exporter.sessions.identity import NOBODY, ProcessSession, is_sampled, session_uuid, user_uuid
from otel_rum_exporter.sessions.session import START, Sessions

MONITOR = AppMonitor("11111111-2222-4333-8444-555555555555")
OTHER_MONITOR = "99999999-2222-4333-8444-555555555555"
PROCESS = "99999999-8888-4777-8666-555555555555"
SESSION = "0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"
FORM = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
CONTEXT = MONITOR.id + SESSION
S = 10**9


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(SESSION, SESSION, id="UUID"),
        pytest.param(SESSION.upper(), SESSION.upper(), id="UUID of iOS, in upper case"),
        pytest.param(SESSION.replace("-", ""), SESSION, id="32 hex digits"),
        pytest.param("{" + SESSION + "}", SESSION, id="braces"),
        pytest.param("urn:uuid:" + SESSION, SESSION, id="urn"),
        pytest.param("URN:UUID:" + SESSION.replace("-", ""), SESSION, id="urn of 32 hex digits"),
        pytest.param(NOBODY, NOBODY, id="NIL"),
    ],
)
def test_known_ids(raw, expected):
    """What already is a UUID is kept, in any dress, for sessions and users alike."""
    assert session_uuid(raw, MONITOR.id) == expected
    assert user_uuid(raw, MONITOR.id, None) == expected
    assert user_uuid(raw, MONITOR.id, "pepper") == expected


OTHERS = [
    "sess-not-a-uuid-42",
    "jo@shop.example",
    "7",
    " " + SESSION,
    SESSION + "\n",
    SESSION[:-1],
    SESSION.replace("-", "")[:-1] + "g",
    SESSION.replace("-", "_"),
    SESSION.replace("-", "").upper(),
    "{" + SESSION,
    "urn:uuid:",
    "{}",
    "zażółć 🛒",
    "\ud800",
    "x" * 100_000,
    "٣" * 32,
]


@pytest.mark.parametrize("raw", OTHERS, ids=lambda raw: ascii(raw)[:40])
def test_other_ids(raw):
    """Any other string is hashed with the app monitor's id: the same everywhere, another one for another monitor."""
    ids = {
        session_uuid(raw, MONITOR.id),
        session_uuid(raw, OTHER_MONITOR),
        user_uuid(raw, MONITOR.id, None),
        user_uuid(raw, OTHER_MONITOR, None),
        user_uuid(raw, MONITOR.id, "pepper"),
        user_uuid(raw, MONITOR.id, "salt"),
    }
    assert len(ids) == 6
    assert all(FORM.fullmatch(each) for each in ids)


def test_hashes_are_those_of_the_mapping():
    """Other processes and languages must come to the same ids."""
    monitor = UUID(MONITOR.id)
    assert session_uuid("cookie", MONITOR.id) == str(uuid5(monitor, "session:cookie"))
    assert user_uuid("jo@shop.example", MONITOR.id, None) == str(uuid5(monitor, "user:jo@shop.example"))
    keyed = user_uuid("jo@shop.example", MONITOR.id, "pepper").replace("-", "")
    digest = hmac.digest(b"pepper", b"jo@shop.example", "sha256").hex()
    # but for the digits that name the UUID's version and variant
    assert (keyed[:12], keyed[13:16], keyed[17:]) == (digest[:12], digest[13:16], digest[17:32])


@given(st.text(st.characters(), min_size=1))
def test_any_id_has_the_form_of_the_api(raw):
    """8-4-4-4-12 hex digits, whatever the raw id."""
    assert FORM.fullmatch(session_uuid(raw, MONITOR.id))
    assert FORM.fullmatch(user_uuid(raw, MONITOR.id, "pepper"))


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.25, 0.5, 0.9, 1.0])
def test_sampling_keeps_its_share(rate):
    """Of many sessions the share that is asked for, give or take four standard deviations."""
    number = 20_000
    kept = sum(is_sampled(session_uuid(f"session {i}", MONITOR.id), rate) for i in range(number))
    assert abs(kept - number * rate) <= 4 * (number * rate * (1 - rate)) ** 0.5


def test_sampling_is_the_mappings():
    """Every worker agrees, and a higher rate keeps what a lower one keeps."""
    for i in range(500):
        session_id = session_uuid(f"session {i}", MONITOR.id)
        share = int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:8], "big") / 2**64
        assert [is_sampled(session_id, rate / 10) for rate in range(11)] == [
            share < rate / 10 or rate == 10 for rate in range(11)
        ]


# admission

BROWSER = Origin(MONITOR, is_client=True, client=NO_CLIENT)
SERVER = Origin(MONITOR, is_client=False, client=NO_CLIENT)


def draft(time_s=0.0, once=None, details="{}", kind="t", **members):
    return Draft(id=f"{kind}-{time_s}", time_ns=round(time_s * S), type=kind, details=details, once=once, **members)


def page(time_s, page_id, **members):
    return draft(time_s, details=PageViewEvent(pageId=page_id), kind=PageViewEvent.type_, **members)


def conversion(*drafts, session=SESSION, user=None, origin=BROWSER):
    return Conversion(session=session, user=user, origin=origin, events=list(drafts) or [draft()])


def sessions(**options):
    return Sessions(RumConfig(**options), ProcessSession(PROCESS))


def admitted(known, *conversions, now=0.0):
    """The types of the events of each conversion, or why there are none."""
    outcomes = [known.admit(each, MONITOR, now) for each in conversions]
    return [[keyed.draft.type for keyed in each] if isinstance(each, list) else each for each in outcomes]


@pytest.mark.parametrize(
    ("option", "conversions", "expected"),
    [
        pytest.param("first_seen", [conversion(), conversion()], [[START, "t"], ["t"]], id="once"),
        pytest.param("first_seen", [conversion(origin=SERVER), conversion()], [["t"], [START, "t"]], id="not servers"),
        pytest.param("first_seen", [conversion(session=None, origin=SERVER)], [[START, "t"]], id="the process's own"),
        pytest.param("first_seen", [conversion(draft(kind=START))], [[START]], id="explicit"),
        pytest.param(
            "first_seen", [conversion(), conversion(draft(kind=START))], [[START, "t"], DropReason.DUPLICATE], id="late"
        ),
        pytest.param("from_events", [conversion(), conversion(draft(kind=START))], [["t"], [START]], id="from events"),
        pytest.param("from_events", [conversion(draft(kind=START), origin=SERVER)], [[START]], id="a server's word"),
        pytest.param("off", [conversion(), conversion(draft(kind=START))], [["t"], DropReason.DUPLICATE], id="off"),
    ],
)
def test_session_start(option, conversions, expected):
    """A session starts once, with the first item of its own user, or of the process's session."""
    assert admitted(sessions(session_start=option), *conversions) == expected


def test_session_start_event():
    """It is placed at the earliest event, has the same id in every process, and is no repeat of anything."""
    once = Once("x")
    starts = []
    for _ in range(2):
        keyed = sessions().admit(conversion(draft(7, once=once), draft(3, once=Once("y"))), MONITOR, 0.0)
        starts.append(keyed[0].draft)
        assert [each.draft.time_ns for each in keyed] == [3 * S, 7 * S, 3 * S]
    assert starts[0] == starts[1]
    assert (starts[0].details, starts[0].once) == ('{"version":"1.0.0"}', None)
    assert FORM.fullmatch(starts[0].id)
    other = sessions().admit(conversion(session="another"), MONITOR, 0.0)[0].draft
    assert other.id != starts[0].id


@pytest.mark.parametrize(
    ("options", "one", "expected"),
    [
        pytest.param({"session": "process"}, conversion(session=None), [START, "t"], id="process"),
        pytest.param({"session": "auto"}, conversion(session=None), [START, "t"], id="auto"),
        pytest.param({"session": "require"}, conversion(session=None), DropReason.NO_SESSION, id="require"),
        pytest.param({"session": "require"}, conversion(session=""), DropReason.NO_SESSION, id="empty"),
        pytest.param({"session_sample_rate": 0.0}, conversion(), DropReason.SAMPLED_OUT, id="sampled out"),
    ],
)
def test_items_without_a_place(options, one, expected):
    """The options decide on items without a session and on sessions that are not sampled."""
    assert admitted(sessions(**options), one) == [expected]


def test_auto_ends_when_the_process_serves_others():
    """From then on what has no session is not the process's own."""
    known = sessions()
    known.serves_others = True
    assert admitted(known, conversion(session=None)) == [DropReason.NO_SESSION]


def test_a_forked_child_starts_no_session():
    """It goes on with its parent's."""
    known = sessions()
    known.start_none()
    assert admitted(known, conversion(session=None)) == [["t"]]


@pytest.mark.parametrize(
    ("once", "times", "expected"),
    [
        pytest.param(None, [0, 0], [0, 0], id="no repeat"),
        pytest.param(Once("x"), [0, 3600], [0], id="at any distance"),
        pytest.param(Once("x", within_ns=S), [0, 1, 2.5, 3], [0, 2.5], id="within a second"),
        pytest.param(Once("x", within_ns=S), [5, 3, 1], [5, 3, 1], id="backwards"),
        pytest.param(Once("x", counts="latest"), [0, 1, 2], [0, 1, 2], id="a metric that grows"),
    ],
)
def test_repeats(once, times, expected):
    """What was reported before is dropped, as far as it is the same."""
    known = sessions(session_start="off")
    outcomes = [known.admit(conversion(draft(time_s, once=once)), MONITOR, 0.0) for time_s in times]
    kept = [keyed.draft.time_ns / S for each in outcomes if isinstance(each, list) for keyed in each]
    assert kept == expected
    assert outcomes.count(DropReason.DUPLICATE) == len(times) - len(expected)


def test_the_last_report_of_a_metric_counts():
    """Whenever it arrives: a report that was made before the last one known is no news."""
    known = sessions(session_start="off")
    outcomes = [
        admitted(known, conversion(draft(once=Once("x", counts="latest", reported_ns=reported_ns))))
        for reported_ns in (5, 3, 5, 9, 8)
    ]
    news, repeat = [["t"]], [DropReason.DUPLICATE]
    assert outcomes == [news, repeat, news, news, repeat]


def test_the_first_report_counts():
    """Whenever it arrives: an earlier one takes the place of the later, if that still waits."""
    known = sessions(session_start="off")
    outcomes = [known.admit(conversion(draft(time_s, once=Once("x"))), MONITOR, 0.0) for time_s in (5, 6, 4, 4, 3)]
    assert [each if isinstance(each, DropReason) else each[0].is_earlier for each in outcomes] == [
        False, DropReason.DUPLICATE, True, DropReason.DUPLICATE, True
    ]  # fmt: skip


def test_repeats_are_of_one_session():
    """Another session may report the same."""
    known = sessions(session_start="off")
    drafts = draft(once=Once("x"))
    assert admitted(known, conversion(drafts), conversion(drafts, session="another")) == [["t"], ["t"]]


def test_a_repeat_within_an_item_leaves_the_rest():
    """Only the repeated event goes."""
    known = sessions(session_start="off")
    one = conversion(draft(once=Once("x")), draft(1, kind="new"), draft(2, once=Once("x")))
    assert admitted(known, one) == [["t", "new"]]


def test_repeats_are_forgotten_in_the_end():
    """Memory of what was reported is bounded: 256 of a session."""
    known = sessions(session_start="off")
    for i in range(1000):
        assert admitted(known, conversion(draft(once=Once(i)))) == [["t"]]
    assert admitted(known, conversion(draft(once=Once(744)))) == [DropReason.DUPLICATE]
    assert admitted(known, conversion(draft(once=Once(743)))) == [["t"]]
    assert len(known._sessions[CONTEXT].notes) == 256


def test_facts_go_before_what_was_reported():
    """What other items may need for some seconds makes room for what must happen once."""
    known = sessions(session_start="off")
    admitted(known, conversion(draft(once=Once("vital"))))
    known.count_sent(CONTEXT, [("limited", 1)] * 3)
    for i in range(1000):
        admitted(known, msgspec.structs.replace(conversion(draft()), facts={("call", i): (1, 2)}))
    view = known.view(CONTEXT)
    assert (len(view.notes), view.number_sent(("limited", 1))) == (256, 3)
    assert (view.fact(("call", 999)), view.fact(("call", 0))) == ((1, 2), None)
    assert admitted(known, conversion(draft(once=Once("vital")))) == [DropReason.DUPLICATE]


def test_what_has_many_members_weighs_more():
    """A load's marks count, and what is forgotten is taken off again."""
    sizes = []
    few, many = {"a": 1}, dict.fromkeys(map(str, range(40)), 1)
    for facts in ({}, {"few": few}, {"many": many}):
        known = sessions(session_start="off")
        admitted(known, msgspec.structs.replace(conversion(draft()), facts=facts))
        sizes.append(known._size)
    few_bytes, many_bytes = len(msgspec.msgpack.encode(few)), len(msgspec.msgpack.encode(many))
    assert sizes == [600, 600 + 65 + few_bytes, 600 + 65 + many_bytes]
    for i in range(1000):
        admitted(known, msgspec.structs.replace(conversion(draft()), facts={i: few}))
    assert known._size == 600 + 256 * (65 + few_bytes)


def test_the_end_of_a_session():
    """It is forgotten a while later, since what happened before may arrive after; not if the session goes on."""
    end = msgspec.structs.replace(conversion(), events=[], ends_session=True)
    known = sessions(max_age=1)
    assert admitted(known, conversion(), end, now=0.0) == [[START, "t"], DropReason.UNMAPPED]
    assert admitted(known, conversion(), now=9.0) == [["t"]]
    assert admitted(known, conversion(session="another"), now=11.0) == [[START, "t"]]
    assert len(known) == 1
    assert admitted(known, conversion(), now=12.0) == [[START, "t"]]
    assert admitted(known, end, now=13.0) == [DropReason.UNMAPPED]
    assert admitted(known, conversion(), now=24.0) == [["t"]]
    assert admitted(known, conversion(session="a third"), now=25.0) == [[START, "t"]]
    assert CONTEXT in known._sessions


def test_what_waits_for_its_batch_after_the_end_of_a_session():
    """Its session is remembered for as long as it may wait, and for as long as others at most."""
    end = msgspec.structs.replace(conversion(), events=[], ends_session=True)
    for max_age_s, forgotten_at in ((60, 61.0), (86_400, 1801.0)):
        known = sessions(max_age=max_age_s * 1000)
        admitted(known, conversion(), end, now=0.0)
        admitted(known, conversion(session="another"), now=forgotten_at - 2.0)
        assert CONTEXT in known._sessions
        admitted(known, conversion(session="another"), now=forgotten_at)
        assert CONTEXT not in known._sessions


def test_a_session_by_any_form_of_its_id():
    """Whichever form comes first, items with the others join it."""
    forms = [SESSION, SESSION.replace("-", ""), "{" + SESSION + "}"]
    for order in itertools.permutations(forms):
        known = sessions()
        assert admitted(known, *(conversion(session=form) for form in order)) == [[START, "t"], ["t"], ["t"]]
        assert list(known._sessions) == [CONTEXT]


def test_sessions_of_one_id_in_two_app_monitors():
    """They share nothing: each starts, reports its own, and has its own user and pages."""
    known = sessions()
    other = AppMonitor(OTHER_MONITOR)
    vital = draft(1, once=Once("vital"))
    results = [known.admit(conversion(page(1, "/a"), vital, user=PROCESS), each, 0.0) for each in (MONITOR, other)]
    assert [[keyed.draft.type for keyed in events] for events in results] == [
        [START, "com.amazon.rum.page_view_event", "t"]
    ] * 2
    known.admit(conversion(page(2, "/b"), user=SESSION), other, 0.0)
    views = [known.view(each.id + SESSION) for each in (MONITOR, other)]
    assert [[place.visit.page_id for place in view.places] for view in views] == [["/a"], ["/a", "/b"]]
    assert [view.user_at(3 * S) for view in views] == [PROCESS, SESSION]


def test_the_end_of_an_unknown_session():
    """There is nothing to forget."""
    known = sessions()
    end = msgspec.structs.replace(conversion(), events=[], ends_session=True)
    assert admitted(known, end, end, now=0.0) == [DropReason.UNMAPPED] * 2
    assert admitted(known, end, now=60.0) == [DropReason.UNMAPPED]
    assert len(known) == 0


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(0, [[START, "t"], ["t"], ["t"], ["t"]], id="none"),
        pytest.param(3, [[START, "t"], ["t"], DropReason.LIMITED, DropReason.LIMITED], id="three"),
    ],
)
def test_event_limit(limit, expected):
    """The start counts; another session has its own."""
    known = sessions(session_event_limit=limit)
    assert admitted(known, *[conversion()] * 4) == expected
    assert admitted(known, conversion(session="another")) == [[START, "t"]]


def test_the_session_before():
    """Its user goes on, if it is known; a user of the session's own comes first."""
    known = sessions(session_start="off")
    admitted(known, conversion(user=PROCESS))
    users = []
    for session, previous, user in (("b", SESSION, None), ("c", "unknown", None), ("d", SESSION, OTHER_MONITOR)):
        one = msgspec.structs.replace(conversion(session=session, user=user), previous_session=previous)
        known.admit(one, MONITOR, 0.0)
        users.append(known.view(MONITOR.id + session_uuid(session, MONITOR.id)).user_at(0))
    assert users == [PROCESS, NOBODY, OTHER_MONITOR]


def test_users_of_a_session():
    """Who does not name a user is whoever was there at the time, whatever the order of arrival."""
    items = [
        conversion(draft(1)),
        conversion(draft(2), user="ada"),
        conversion(draft(4), user="ada"),
        conversion(draft(6), user="jo"),
        conversion(draft(9)),
    ]
    ada, jo = (user_uuid(name, MONITOR.id, None) for name in ("ada", "jo"))
    for order in itertools.permutations(items):
        known = sessions(session_start="off")
        for each in order:
            known.admit(each, MONITOR, 0.0)
        view = known.view(CONTEXT)
        users = [view.user_at(time_s * S) for time_s in (1, 2, 3, 4, 5, 6, 99)]
        assert users == [NOBODY, ada, ada, ada, ada, jo, jo]


def test_users_that_come_back():
    """Each stay of a user counts; of very many the latest are remembered."""
    known = sessions(session_start="off")
    for time_s, user in ((1, "ada"), (9, "ada"), (5, "jo"), (7, "ada")):
        known.admit(conversion(draft(time_s), user=user), MONITOR, 0.0)
    ada, jo = (user_uuid(name, MONITOR.id, None) for name in ("ada", "jo"))
    assert [known.view(CONTEXT).user_at(time_s * S) for time_s in (1, 5, 6, 7)] == [ada, jo, jo, ada]
    for time_s in range(10, 1000):
        known.admit(conversion(draft(time_s), user=f"user {time_s}"), MONITOR, 0.0)
    assert len(known.view(CONTEXT).users) == 16
    assert known.view(CONTEXT).user_at(999 * S) == user_uuid("user 999", MONITOR.id, None)


def test_counts_of_many_pages_are_forgotten_in_the_end():
    """Those of long ago are; a session that is not known has none."""
    known = sessions()
    admitted(known, conversion())
    for number in range(10_000):
        known.count_sent(CONTEXT, [("limited", number)] * 2)
    view = known.view(CONTEXT)
    assert (view.number_sent(("limited", 9999)), view.number_sent(("limited", 1))) == (2, 0)
    assert len(view.notes) == 256
    known.count_sent(PROCESS, ["view"])
    assert known.view(PROCESS) == SessionView()


def test_sessions_are_bounded():
    """The sessions that were idle longest are forgotten first."""
    known = sessions(context_sessions=10, session_start="off")
    for i in range(25):
        admitted(known, conversion(page(i, f"/{i}"), session=f"s{i}"), conversion(session="kept"), now=float(i))
    assert len(known) == 10
    ids = [session_uuid(f"s{i}", MONITOR.id) for i in range(25)]
    assert [bool(known.view(MONITOR.id + each).places) for each in ids] == [False] * 16 + [True] * 9
    assert MONITOR.id + session_uuid("kept", MONITOR.id) in known._sessions


def test_sessions_are_bounded_by_size():
    """Sessions with more pages take more room; the one at hand stays even if it alone is too large."""
    known = sessions(context_bytes=10_000, session_start="off")
    for i in range(50):
        admitted(known, conversion(page(i, f"/{i}"), session=f"s{i}"), now=float(i))
    assert len(known) == 10_000 // (600 + 200)
    assert known.forgotten == 50 - len(known)
    for i in range(60):
        admitted(known, conversion(page(100 + i, f"/{i}"), session="long"), now=100.0)
    assert len(known) == 1
    assert known.view(MONITOR.id + session_uuid("long", MONITOR.id)).places


def test_idle_sessions_are_forgotten():
    """After half an hour without an item a session is over, as aws-rum-web has it."""
    known = sessions(session_start="first_seen")
    assert admitted(known, conversion(), now=0.0) == [[START, "t"]]
    assert admitted(known, conversion(session="another"), now=1799.0) == [[START, "t"]]
    assert admitted(known, conversion(), now=1800.0) == [["t"]]
    assert admitted(known, conversion(session="a third"), now=3700.0) == [[START, "t"]]
    assert len(known) == 2


def test_a_view_of_a_forgotten_session_is_empty():
    """Nothing is remembered, and nothing fails."""
    assert sessions().view("unknown") == SessionView()


def test_keys():
    """Sides split a session's requests, browsers are remembered."""
    known = sessions(session_start="off")
    chrome = Origin(MONITOR, is_client=True, client=Client(browserName="Chrome"))
    caller = Origin(MONITOR, is_client=False, client=Client(user_agent="curl"))
    items = [
        conversion(),
        conversion(origin=chrome),
        conversion(),
        conversion(origin=caller),
        conversion(origin=SERVER),
        conversion(),
    ]
    keys = [known.admit(each, MONITOR, 0.0)[0].key for each in items]
    assert [key.session_id for key in keys] == [SESSION] * 6
    clients = [NO_CLIENT, chrome.client, chrome.client, caller.client, caller.client, chrome.client]
    assert [key.client for key in keys] == clients
    assert [key.is_client for key in keys] == [True, True, True, False, False, True]


def test_view():
    """Pages, the first domain and the user's own browser."""
    known = sessions(session_start="off")
    chrome = Origin(MONITOR, is_client=True, client=Client(browserName="Chrome"))
    admitted(
        known,
        conversion(page(2, "/b", domain="b.example"), origin=chrome),
        conversion(page(1, "/a", domain="a.example"), origin=SERVER),
    )
    view = known.view(CONTEXT)
    assert ([place.visit.page_id for place in view.places], view.domain) == (["/a", "/b"], "b.example")
    assert view.client == chrome.client


def test_what_a_session_is_does_not_depend_on_the_order_of_arrival():
    """Its domain is the first that the user's own items name, its beginning the earliest of them."""
    items = [
        conversion(page(3, "/b", domain="b.example")),
        conversion(page(2, "/a", domain="a.example")),
        conversion(draft(1, domain="server.example"), origin=SERVER),
        conversion(draft(9)),
    ]
    views = []
    for order in itertools.permutations(items):
        known = sessions(session_start="off")
        admitted(known, *order)
        views.append(known.view(CONTEXT))
    assert {(view.domain, view.begun_ns) for view in views} == {("a.example", 2 * S)}
    known = sessions()
    admitted(known, items[2])
    assert (known.view(CONTEXT).domain, known.view(CONTEXT).begun_ns) == ("server.example", None)


def test_the_start_of_a_session_is_only_that():
    """It takes nothing from the event that told of it but attributes of the whole session."""
    image = draft(
        5, kind="image", is_limited=True, domain="a.example", page=Page(pageId="/own"), attributes={"tenant": "t"}
    )
    start = sessions().admit(conversion(image), MONITOR, 0.0)[0].draft
    assert (start.is_limited, start.page, start.domain, start.attributes) == (False, NO_PAGE, None, {"tenant": "t"})


def test_what_a_session_began_with():
    """The custom attributes of the earliest of the user's own events, whatever the order of arrival, and ties too."""
    items = [
        conversion(draft(2, attributes={"step": "late"})),
        conversion(draft(1, attributes={"step": "b"})),
        conversion(draft(1, attributes={"step": "a", "plan": 7})),
        conversion(draft(0, attributes={"step": "server"}), origin=SERVER),
    ]
    for order in itertools.permutations(items):
        known = sessions(session_start="off")
        admitted(known, *order)
        assert known.view(CONTEXT).begun_with == {"step": "a", "plan": 7}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(0, 99))
def test_admission_does_not_lose_count(steps, seed):
    """Every event of an item comes out, or is a repeat; at most one start a session."""
    known = sessions(context_sessions=50)
    random_ = random.Random(seed)
    starts = []
    for session, key, is_client in steps:
        drafts = [draft(random_.random(), once=random_.choice([None, Once(key)])) for _ in range(3)]
        origin = BROWSER if is_client else SERVER
        keyed = known.admit(conversion(*drafts, session=f"s{session}", origin=origin), MONITOR, 0.0)
        out = keyed if isinstance(keyed, list) else []
        starts += [each.key.session_id for each in out if each.draft.type == START]
        fresh = [each.draft for each in out if each.draft.type != START]
        assert fresh == [each for each in drafts if each in fresh]
        assert all(each in fresh for each in drafts if each.once is None)
    assert len(starts) == len(set(starts))
