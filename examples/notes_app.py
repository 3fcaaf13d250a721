"""A command line app with one user at a time: sessions, users, pages; an endpoint on this machine stands in for AWS.

pip install 'otel-rum-exporter[server]' && python notes_app.py
"""

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_rum_exporter import (
    RumSessionSpanProcessor,
    RumSpanExporter,
    end_session,
    record_page_view,
    set_user,
    start_session,
    statistics,
)
from otel_rum_exporter.testing import LocalRum

tracer = trace.get_tracer("notes")


def list_notes() -> None:
    """Show all notes."""
    record_page_view("notes", title="All notes")
    with tracer.start_as_current_span("load notes"):
        pass


def edit_note(name: str) -> None:
    """Change a note, which fails."""
    record_page_view("notes/edit", title=f"Edit {name}")
    try:
        with tracer.start_as_current_span("save note"):
            raise PermissionError(f"{name} is read-only")  # noqa: TRY301 - this one is wanted
    except PermissionError as error:
        print(error)


def use(user: str) -> None:
    """Be one user's session, from login to logout."""
    start_session()
    set_user(user)
    list_notes()
    edit_note("groceries")
    set_user(None)
    end_session()


with LocalRum(credentials=None) as rum:
    provider = TracerProvider(resource=Resource.create({"service.name": "notes", "service.version": "1.2.0"}))
    exporter = RumSpanExporter(
        app_monitor_id="12345678-1234-1234-1234-123456789012",
        region="eu-central-1",
        domain="notes.example.com",
        endpoint=rum.endpoint,  # leave these two out and it goes to AWS,
        auth="none",  # signed with the credentials that boto3 finds
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.add_span_processor(RumSessionSpanProcessor())  # so that spans stay in the session they began in
    trace.set_tracer_provider(provider)

    use("ada")
    use("bob")

    provider.force_flush()  # calls the processors in their order, so the last one delivers
    for session in rum.sessions():
        print("session", session["session_id"], "of user", session["user_id"])
        for event in sorted(rum.events(session=session["session_id"]), key=lambda event: event["timestamp"]):
            page = event["metadata"]
            print("   ", event["type"].removeprefix("com.amazon.rum."), "on", page.get("pageId"), page.get("title"))
    print(statistics())
    provider.shutdown()
