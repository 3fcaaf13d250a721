"""The screen: what CloudWatch RUM would show, what was counted, and what that proves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_rum_exporter.demo.checks import Check
from otel_rum_exporter.demo.summary import Call, Session, Summary, Vital
from otel_rum_exporter.demo.users import User
from otel_rum_exporter.stats import Statistics

_RATING_STYLES = {"good": "green", "needs improvement": "yellow", "poor": "red"}
_MEANINGS = {
    "unmapped": "CloudWatch RUM has nothing that these could become",
    "filtered": "left out by the options, here what browsers wrote to their console",
    "no_session": "spans that name no session, here of the shop's call to itself",
    "sent again": "the endpoint answered 503 to the first requests, on purpose",
    "duplicate": "reported before, or replaced by a later report",
}


def show(console: Console, summary: Summary, users: Sequence[User]) -> None:
    """Print what CloudWatch RUM would show."""
    console.rule("[bold]What CloudWatch RUM would show", align="left")
    for table in _tables(summary, users):
        if table.row_count:
            console.print()
            console.print(_indented(table))


def _tables(summary: Summary, users: Sequence[User]) -> Iterator[Table]:
    yield _sessions(summary.sessions, users)
    yield _counted("Page views", ("Page", "Views"), summary.views.most_common())
    yield _vitals(summary.vitals)
    yield _calls(summary)
    yield _errors(summary)
    yield _counted("Custom events", ("Type", "Events"), summary.custom.most_common())
    yield _counted("Other events", ("Type", "Events"), summary.other.most_common())


def show_counters(console: Console, processes: Mapping[str, Statistics], endpoint: Mapping[str, Any]) -> None:
    """Print what each process counted, with the meaning of the reasons for dropping."""
    console.print()
    console.rule("[bold]What became of everything", align="left")
    console.print()
    table = _table("", ("Counter", *(name.capitalize() for name in processes)), numbers_from=1)
    rows = list(_counter_rows(list(processes.values())))
    for name, style, numbers in rows:
        table.add_row(f"[{style}]{name}", *map(str, numbers))
    console.print(_indented(table))
    console.print()
    names = {name.strip() for name, _, _ in rows}
    for reason, meaning in _MEANINGS.items():
        if names & {reason, f"dropped: {reason}"}:
            console.print(_indented(Text(f"{reason}: {meaning}", style="dim")))
    refused = sum(endpoint["rejected_by_reason"].values())
    got = f"The endpoint got {endpoint['requests']} requests, took {endpoint['events_distinct']} events, refused {refused}."
    console.print()
    console.print(_indented(got))


def _counter_rows(processes: Sequence[Statistics]) -> Iterator[tuple[str, str, list[int]]]:
    yield "Spans and log records received", "bold", [each.received for each in processes]
    yield "  converted", "none", [each.converted for each in processes]
    for reason in sorted({reason for each in processes for reason in each.items_dropped}):
        yield f"  dropped: {reason}", "none", [each.items_dropped.get(reason, 0) for each in processes]
    yield "RUM events accepted", "bold", [each.accepted for each in processes]
    yield "  delivered", "none", [each.delivered for each in processes]
    for reason in sorted({reason for each in processes for reason in each.events_dropped}):
        yield f"  dropped: {reason}", "none", [each.events_dropped.get(reason, 0) for each in processes]
    yield "  queued", "none", [each.queued for each in processes]
    yield "PutRumEvents requests", "bold", [each.requests for each in processes]
    yield "  sent again", "none", [sum(each.retried.values()) for each in processes]


def show_checks(console: Console, results: Sequence[Check]) -> None:
    """Print whether what must hold does."""
    console.print()
    for check in results:
        console.print(mark(console, is_good=check.is_true), escape(check.statement))


def mark(console: Console, *, is_good: bool) -> str:
    """Return a tick or a cross, in letters where the terminal has no such characters."""
    if console.options.ascii_only:
        return "[green]ok " if is_good else "[red]NO "
    return "[green]✓[/]" if is_good else "[red]✗[/]"


def _table(title: str, columns: Sequence[str], *, numbers_from: int) -> Table:
    """Return an empty table; columns from `numbers_from` on hold numbers."""
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold cyan",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1),
    )
    for index, column in enumerate(columns):
        is_number = index >= numbers_from
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return table


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _counted(title: str, columns: tuple[str, str], rows: Sequence[tuple[str, int]]) -> Table:
    table = _table(title, columns, numbers_from=1)
    for name, number in rows:
        table.add_row(escape(name), str(number))
    return table


def _sessions(sessions: Sequence[Session], users: Sequence[User]) -> Table:
    table = _table("Sessions", ("User", "sent as", "Session", "Pages in order", "Events"), numbers_from=4)
    names = {user.session_id: user.name for user in users}
    for session in sorted(sessions, key=lambda each: [*names, each.session_id].index(each.session_id)):
        ids = (f"{each[:8]}..." for each in (session.user_id, session.session_id))
        name = names.get(session.session_id, "?")
        table.add_row(name, *ids, escape(" > ".join(session.pages)), str(session.events))
    return table


def _vitals(vitals: Sequence[Vital]) -> Table:
    table = _table("Web vitals", ("Metric", "Rating", "Loads", "p75"), numbers_from=2)
    for vital in vitals:
        value = f"{vital.value:.0f} ms" if vital.kind.unit else f"{vital.value:.2f}"
        style = _RATING_STYLES[vital.rating]
        table.add_row(vital.kind.name, f"[{style}]{vital.rating}", str(vital.samples), value)
    return table


def _calls(summary: Summary) -> Table:
    table = _table("HTTP calls", ("Seen by", "Method", "URL", "Outcome", "Calls"), numbers_from=4)
    ordered = sorted(summary.calls.items(), key=lambda each: (each[0].seen_by, not each[0].failed, each[0].url))
    for call, number in ordered:
        table.add_row(call.seen_by, call.method, escape(call.url), _outcome(call), str(number))
    return table


def _outcome(call: Call) -> str:
    return f"[{'red' if call.failed else 'green'}]{escape(call.outcome)}"


def _errors(summary: Summary) -> Table:
    table = _table("Errors", ("Seen by", "Type", "Message", "Where", "Times"), numbers_from=4)
    for error, number in summary.errors.most_common():
        table.add_row(error.seen_by, *map(escape, (error.type, error.message, error.where)), str(number))
    return table
