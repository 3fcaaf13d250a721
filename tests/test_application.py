"""Applications with one user at a time: their session, their user, their pages, as they arrive."""

import json
import os
import subprocess
import sys
import threading

import pytest
from bare_environment import bare_environment
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from otel_rum_exporter import (
    DropReason,
    RumLogRecordExporter,
    RumSessionSpanProcessor,
    RumSpanExporter,
    application,
    current_session_id,
    end_session,
    record_page_view,
    set_user,
    start_session,
)
from otel_rum_exporter.callers import joining, processors
from otel_rum_exporter.callers.callers import Callers
from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.sessions.identity import NOBODY, PROCESS_SESSION, session_uuid, user_uuid
from otel_rum_exporter.testing import LocalRum

MONITOR = "11111111-2222-3333-4444-555555555555"
OTHER_MONITOR = "99999999-2222-3333-4444-555555555555"
ADA, BOB = (user_uuid(name, MONITOR, None) for name in ("ada", "bob"))
RUN = "0b5c8d9e-1f2a-4b3c-8d4e-5f6a7b8c9d0e"


@pytest.fixture(autouse=True)
def _process(monkeypatch):
    """A process that has just begun; its own session comes back afterwards."""
    before = PROCESS_SESSION.current
    PROCESS_SESSION.__init__()
    callers = Callers()
    for module in (joining, processors):
        monkeypatch.setattr(module, "CALLERS", callers)
    monkeypatch.setattr(application, "_log", CauseLog(application._logger, lambda: 0.0))
    yield
    PROCESS_SESSION.__init__(before)


@pytest.fixture(scope="module")
def local_rum():
    with LocalRum(credentials=None, separate_process=False) as rum:
        yield rum


@pytest.fixture
def rum(local_rum):
    yield local_rum
    local_rum.reset()


class App:
    """An application with the SDK and the RUM exporters."""

    def __init__(self, rum, processor=SimpleSpanProcessor, *, stamps=False, resource=None, **options):
        defaults = {"app_monitor_id": MONITOR, "region": "us-east-1", "endpoint": rum.endpoint, "auth": "none"}
        options = {**defaults, "flush_interval": 600_000, "domain": "notes.example", **options}
        self.rum = rum
        self.exporter, self._log_exporter = RumSpanExporter(**options), RumLogRecordExporter(**options)
        resource = Resource({"telemetry.sdk.language": "python", **(resource or {})})
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(processor(self.exporter))
        if stamps:
            self.provider.add_span_processor(RumSessionSpanProcessor())
        logs = LoggerProvider(resource, shutdown_on_exit=False)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._log_exporter))
        self.tracer, self._logger = self.provider.get_tracer("notes"), logs.get_logger("notes")

    def work(self, name, **members):
        self.tracer.start_span(name, Context(), **members).end()

    def log(self, name, **attributes):
        self._logger.emit(LogRecord(event_name=name, attributes=attributes))

    def arrived(self):
        """All events, after everything was delivered."""
        self.provider.force_flush()
        assert self.exporter.force_flush(30_000)
        return self.rum.events()

    def sessions(self):
        """The session of each span and log event, by name."""
        return {name_of(event): event["session_id"] for event in self.arrived() if name_of(event)}

    def users(self):
        return {name_of(event): event["user_id"] for event in self.arrived() if name_of(event)}

    def close(self):
        self.provider.shutdown()
        self._log_exporter.shutdown()
        stats = self.exporter.stats()
        assert stats.is_balanced, stats
        assert stats.queued == 0, stats


@pytest.fixture
def start(rum):
    """Makes applications; afterwards they end, and nothing was lost without a count."""
    made = []

    def make(*arguments, **options):
        made.append(App(rum, *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    assert rum.stats()["events_received"] == sum(each.exporter.stats().delivered for each in made)


def name_of(event):
    """The name of a span's event, or of a log's; None of what is built in."""
    return None if event["type"].startswith("com.amazon.rum.") else event["details"].get("name", event["type"])


def of_type(events, kind):
    return [event for event in events if event["type"] == f"com.amazon.rum.{kind}"]


def starts(events):
    """The sessions that began, in no order: those of different sessions arrive as they like."""
    return sorted(event["session_id"] for event in of_type(events, "session_start_event"))


def pages(events):
    """Where each event happened."""
    members = ("pageId", "interaction", "parentPageId", "title")
    return {name_of(event) or event["id"]: tuple(event["metadata"].get(each) for each in members) for event in events}


# sessions


def test_sessions(start):
    """Items join the session that is current; each begins once."""
    app = start()
    first = current_session_id()
    app.work("a")
    second = start_session()
    app.work("b")
    app.log("c")
    assert current_session_id() == second != first
    assert app.sessions() == {"a": first, "b": second, "c": second}
    assert starts(app.arrived()) == sorted([first, second])


@pytest.mark.parametrize("session_id", [RUN, RUN.replace("-", ""), "nightly run 7", "zażółć"])
def test_named_session(start, session_id):
    """An id of the application's own becomes the same UUID as the attribute would, and may come back."""
    app = start()
    assert start_session(session_id) == session_id == current_session_id()
    app.work("a")
    start_session()
    app.work("b")
    start_session(session_id)
    app.log("c")
    app.log("d", **{"session.id": session_id})
    found = app.sessions()
    assert found["a"] == found["c"] == found["d"] == session_uuid(session_id, MONITOR) != found["b"]
    assert len(starts(app.arrived())) == 2


def test_end(start):
    """After the end there is no session until the next item begins one."""
    app = start()
    first = current_session_id()
    app.work("a")
    end_session()
    end_session()
    assert current_session_id() is None
    app.work("b")
    second = current_session_id()
    assert app.sessions() == {"a": first, "b": second}
    assert second not in (None, first)


def test_stamped_spans_stay_in_their_session(start):
    """With the span processor, a span that waits in the SDK stays where it was, and so does its user."""
    app = start(BatchSpanProcessor, stamps=True)
    first = current_session_id()
    set_user("ada")
    app.work("a")
    second = start_session()
    set_user("bob")
    app.work("b")
    assert app.sessions() == {"a": first, "b": second}
    assert app.users() == {"a": ADA, "b": BOB}
    assert starts(app.arrived()) == sorted([first, second])


def test_spans_without_a_stamp_join_at_their_export(start):
    """Without it, a span that waits in the SDK joins the next session, unless the provider is flushed before."""
    app = start(BatchSpanProcessor)
    first = current_session_id()
    app.work("a")
    app.provider.force_flush()
    app.work("b")
    second = start_session()
    assert app.sessions() == {"a": first, "b": second}


def test_trace_across_a_switch(start):
    """The children and the logs of a span follow it."""
    app = start(stamps=True)
    first = current_session_id()
    with app.tracer.start_as_current_span("parent"):
        second = start_session()
        with app.tracer.start_as_current_span("child"):
            app.log("log")
    app.log("log outside")
    assert app.sessions() == {"parent": first, "child": first, "log": first, "log outside": second}


def test_own_session_serves_nobody(start):
    """A request that is served within a span of an earlier session of the process does not get that."""
    app = start(stamps=True)
    with app.tracer.start_as_current_span("parent", Context()):
        start_session()
        with app.tracer.start_as_current_span("served", kind=SpanKind.SERVER):
            pass
    assert "served" not in app.sessions()
    assert app.exporter.stats().items_dropped == {DropReason.NO_SESSION: 1}


def test_session_of_the_resource(start):
    """It goes before: such a process has one session, pages included."""
    app = start(stamps=True, resource={"session.id": RUN})
    start_session()
    app.work("a")
    assert app.sessions() == {"a": RUN}


# users


def test_users(start):
    """Items belong to the user of their time; a user named by an item goes before; None is nobody."""
    app = start()
    app.log("unnamed")
    set_user("ada")
    app.log("of ada")
    app.log("of bob", **{"user.id": "bob"})
    app.log("of ada again")
    start_session()
    app.log("of ada, later")
    set_user(None)
    app.log("of nobody")
    users = app.users()
    assert users.pop("unnamed") == users.pop("of nobody") == NOBODY
    assert users.pop("of bob") == BOB
    assert set(users.values()) == {ADA}
    assert len(users) == 3


def test_user_id_secret(start):
    """The user's id is hashed as the attribute is."""
    app = start(user_id_secret="pepper")  # noqa: S106 - a test's
    set_user("ada")
    app.work("a")
    assert app.users() == {"a": user_uuid("ada", MONITOR, "pepper")}


def test_user_is_stamped(start):
    """With the span processor other exporters see the user, too, but no made-up one."""
    app = start(stamps=True)
    set_user("ada")
    first = app.tracer.start_span("a", Context())
    set_user(None)
    second = app.tracer.start_span("b", Context())
    assert dict(first.attributes) == {"session.id": current_session_id(), "user.id": "ada"}
    assert dict(second.attributes) == {"session.id": current_session_id()}
    first.end()
    second.end()
    assert app.users() == {"a": ADA, "b": NOBODY}


def test_others_keep_their_user(start):
    """The user is the process's, and not that of sessions which items name."""
    app = start()
    set_user("ada")
    app.log("a", **{"session.id": RUN})
    assert app.users() == {"a": NOBODY}


# pages


def test_pages(start):
    """Page views count from 0 and name the page before; what follows carries page and title."""
    app = start()
    record_page_view("list", title="All notes")
    app.log("opened")
    record_page_view("edit")
    app.log("saved")
    first, second = of_type(app.arrived(), "page_view_event")
    assert first["details"] == {
        "version": "1.0.0", "pageId": "list", "interaction": 0, "pageInteractionId": "list-0",
    }  # fmt: skip
    time_ms = second["details"].pop("timeOnParentPage")
    assert second["details"] == {
        "version": "1.0.0", "pageId": "edit", "interaction": 1, "pageInteractionId": "edit-1",
        "parentPageInteractionId": "list-0",
    }  # fmt: skip
    assert time_ms >= 0
    assert pages(app.arrived()) | {"start": None} == {
        of_type(app.arrived(), "session_start_event")[0]["id"]: ("list", 0, None, "All notes"),
        first["id"]: ("list", 0, None, "All notes"),
        "opened": ("list", 0, None, "All notes"),
        second["id"]: ("edit", 1, "list", None),
        "saved": ("edit", 1, "list", None),
        "start": None,
    }
    assert {event["session_id"] for event in app.arrived()} == {current_session_id()}


def test_pages_sent_apart(start):
    """The count goes on over requests."""
    app = start()
    for page in ("a", "b", "a"):
        record_page_view(page)
        app.arrived()
    views = of_type(app.arrived(), "page_view_event")
    assert [view["details"]["pageInteractionId"] for view in views] == ["a-0", "b-1", "a-2"]


def test_same_page(start):
    """A view of the page that the user is on already is counted, and not sent."""
    app = start()
    record_page_view("a")
    record_page_view("a")
    assert len(of_type(app.arrived(), "page_view_event")) == 1
    assert app.exporter.stats().events_dropped == {DropReason.DUPLICATE: 1}


def test_pages_of_sessions(start):
    """Each session has pages of its own; the view of a page begins the next one."""
    app = start()
    record_page_view("a")
    end_session()
    record_page_view("b")
    app.log("log")
    views = {view["details"]["pageInteractionId"]: view for view in of_type(app.arrived(), "page_view_event")}
    assert sorted(views) == ["a-0", "b-0"]
    assert pages(app.arrived())["log"] == ("b", 0, None, None)
    assert app.sessions()["log"] == views["b-0"]["session_id"] == current_session_id() != views["a-0"]["session_id"]


def test_pages_where_others_are_served(start):
    """They are the process's own, also where items without a session are dropped."""
    app = start(session="require")
    record_page_view("a")
    app.log("log")
    assert [event["session_id"] for event in app.arrived()] == [current_session_id()] * 2
    assert app.exporter.stats().items_dropped == {DropReason.NO_SESSION: 1}


@pytest.mark.parametrize(
    ("page", "title", "expected"),
    [
        pytest.param("p" * 300, "t" * 300, ("p" * 255 + "…", "t" * 255 + "…"), id="long"),
        pytest.param("notes/ąę?x=1#y", "", ("notes/ąę?x=1#y", None), id="as it is"),
        pytest.param("\ud800", "\udfff", ("\ufffd", "\ufffd"), id="no text of UTF-8"),
    ],
)
def test_names_of_pages(start, page, title, expected):
    """They are cut to what the schema allows."""
    app = start()
    record_page_view(page, title=title)
    (view,) = of_type(app.arrived(), "page_view_event")
    assert (view["details"]["pageId"], view["metadata"].get("title")) == expected


def test_two_monitors(start, rum):
    """Every pipeline gets the view, once; the ids are the same in both."""
    one, other = start(), start(app_monitor_id=OTHER_MONITOR)
    record_page_view("a")
    one.arrived()
    assert [event["times_received"] for event in other.arrived()] == [2, 2]
    sent = [(request["monitor_id"], request["events"]) for request in rum.requests()]
    assert sent == [(MONITOR, 2), (OTHER_MONITOR, 2)]


def test_resource_of_the_global_provider(start, monkeypatch, rum):
    """Views are of the same application, and in the same requests, as its spans."""
    resource = {"service.name": "notes", "service.version": "3.2.1", "aws.rum.appmonitor.id": MONITOR}
    app = start(resource=resource, app_monitor_id=None)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: app.provider)
    record_page_view("a")
    app.work("b")
    app.arrived()
    (request,) = rum.requests()
    details = {"id": MONITOR, "name": "notes", "version": "3.2.1"}
    assert (request["app_monitor_details"], request["events"]) == (details, 3)


# without an exporter, and with bad input


def test_without_an_exporter(caplog):
    """Nothing fails, and the log says once what is lost and what is not."""
    caplog.set_level("INFO", "otel_rum_exporter")
    for _ in range(2):
        set_user("ada")
        end_session()
        record_page_view("a")
        assert current_session_id() is None
        assert start_session() == current_session_id()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "RUM exporter: None exists yet. The session and its user will count for those to come."),
        ("WARNING", "RUM exporter: None exists, so a page view is lost. Create one before the first record_page_view."),
    ]


def test_before_the_exporter(start):
    """Session and user are kept for the exporter to come."""
    session = start_session()
    set_user("ada")
    app = start()
    app.work("a")
    assert (app.sessions(), app.users()) == ({"a": session}, {"a": ADA})


def test_after_the_shutdown(start):
    """An exporter that is shut down is none."""
    app = start()
    app.work("a")
    app.arrived()
    app.close()
    record_page_view("a")
    assert app.exporter.stats().received == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param(lambda: set_user(""), ValueError("user_id must not be blank"), id="no user"),
        pytest.param(lambda: set_user(42), TypeError("user_id must be text, not int"), id="number as user"),
        pytest.param(lambda: start_session(" \n"), ValueError("session_id must not be blank"), id="blank session"),
        pytest.param(lambda: start_session(b"x"), TypeError("session_id must be text, not bytes"), id="bytes"),
        pytest.param(lambda: record_page_view(""), ValueError("page_id must not be blank"), id="no page"),
        pytest.param(lambda: record_page_view(None), TypeError("page_id must be text, not NoneType"), id="page None"),
        pytest.param(lambda: record_page_view("a", title=1), TypeError("title must be text, not int"), id="title"),
    ],
)
def test_bad_input(start, call, error):
    """It is refused at once, by the name of the argument, and changes nothing."""
    app = start()
    before = current_session_id()
    with pytest.raises(type(error), match=f"^{error}$"):
        call()
    app.work("a")
    assert (app.sessions(), app.users()) == ({"a": before}, {"a": NOBODY})


# threads and processes


def test_threads(start):
    """Any number of threads may call everything: each item ends in one session that was started, or next to an end."""
    app = start()
    sessions = [{current_session_id()} for _ in range(8)]
    together = threading.Barrier(8, timeout=30)

    def use(number):
        together.wait()
        for turn in range(25):
            sessions[number].add(start_session(f"{number}-{turn}"))
            set_user(f"user {number}")
            record_page_view(f"{number}/{turn}")
            app.work(f"work {number} {turn}")

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    known = {session_uuid(each, MONITOR) for each in set().union(*sessions)}
    events = app.arrived()
    assert {event["session_id"] for event in events} <= known
    assert len(of_type(events, "page_view_event")) == 200
    assert len([event for event in events if name_of(event)]) == 200
    assert len(starts(events)) == len(set(starts(events)))


SCRIPT = """
import json, os, threading
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_rum_exporter import *
from otel_rum_exporter import application
from otel_rum_exporter.sessions.identity import PROCESS_SESSION

exporter = RumSpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))

def work(name):
    provider.get_tracer("notes").start_span(name).end()

def fork(*actions):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    for action in actions:
        action()
    os._exit(0 if exporter.force_flush(30_000) and exporter.stats().is_balanced else 1)

"""

FORKS = """
set_user("ada")
work("parent")
statuses = [fork(lambda: work("child")), fork(lambda: work("before"), start_session, lambda: work("started by child"))]
record_page_view("after the forks")
assert exporter.force_flush(30_000) and exporter.stats().is_balanced
print(json.dumps([statuses, current_session_id()]))
exporter.shutdown()
"""


def script(body, rum):
    """Run a script in a process of its own; return the JSON it prints."""
    environment = bare_environment(**rum.environment())
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + body]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forks(rum):
    """A child goes on with session and user, starts no session anew, and may start its own without the parent."""
    statuses, session = script(FORKS, rum)
    events = rum.events()
    found = {name_of(event): event["session_id"] for event in events if name_of(event)}
    own = found.pop("started by child")
    assert (statuses, found) == ([0, 0], dict.fromkeys(["parent", "child", "before"], session))
    assert own != session
    assert {event["user_id"] for event in events} == {ADA}
    assert starts(events) == sorted([session, own])
    (view,) = of_type(events, "page_view_event")
    assert view["session_id"] == session


FORK_WHILE_LOCKED = """
held, go_on = threading.Event(), threading.Event()

def hold():
    with PROCESS_SESSION._lock, application._log._lock:
        held.set()
        go_on.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
status = fork(start_session, lambda: set_user("ada"), lambda: record_page_view("a"), end_session, lambda: work("b"))
go_on.set()
holder.join()
print(json.dumps(status))
exporter.shutdown()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_another_thread_holds_the_locks(rum):
    """That thread is not in the child, so its locks must not be, either."""
    assert script(FORK_WHILE_LOCKED, rum) == 0
    assert len({event["session_id"] for event in rum.events()}) == 2


FORK_AFTER_END = """
end_session()
statuses = [fork(lambda: work("child 1")), fork(lambda: work("child 2"))]
work("parent")
assert exporter.force_flush(30_000)
print(json.dumps(statuses))
exporter.shutdown()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_between_two_sessions(rum):
    """Parent and children begin the same next session, and their starts are one event."""
    assert script(FORK_AFTER_END, rum) == [0, 0]
    assert len({event["session_id"] for event in rum.events()}) == 1
    assert len(starts(rum.events())) == 1
