"""The demo from start to end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from otel_rum_exporter.demo.checks import OUTAGES, checks
from otel_rum_exporter.demo.processes import browsers, check_installed, environment, shop
from otel_rum_exporter.demo.replay import Order
from otel_rum_exporter.demo.report import mark, show, show_checks, show_counters
from otel_rum_exporter.demo.summary import Event, summarise
from otel_rum_exporter.demo.users import User, click_through, users
from otel_rum_exporter.stats import Statistics
from otel_rum_exporter.testing import LocalRum

_SHOP = {
    "OTEL_SERVICE_NAME": "demo-shop",
    "OTEL_TRACES_EXPORTER": "rum",
    "OTEL_LOGS_EXPORTER": "rum",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_EXPORTER_RUM_SESSION": "require",  # a server: what belongs to no user is dropped
}
_QUICK = {  # not to let anybody wait: the defaults are five seconds each
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
    "OTEL_EXPORTER_RUM_FLUSH_INTERVAL": "500",
}
_ARRIVAL_S = 10.0
_PROVEN = (
    "[bold green]Proven, in {seconds:.0f} s:[/] the telemetry of a shop that knows nothing of CloudWatch RUM, and that of "
    "a real browser in the same sessions, became {number} events that an endpoint with AWS's checks took. "
    "Everything is accounted for, and nothing was lost."
)
_NEXT = (
    "[bold]Try next:[/] [cyan]otel-rum-exporter local[/] prints the variables that send your own application's telemetry "
    "to such an endpoint."
)


class Outcome(msgspec.Struct, frozen=True):
    """What the demo's processes did, and what arrived."""

    users: list[User]
    shop_url: str
    processes: dict[str, Statistics]
    endpoint: dict[str, Any]
    events: list[Event]


def run(number_of_users: int) -> bool:
    """Run the demo. Returns whether everything that was accepted was delivered and valid.

    Errors: ModuleNotFoundError if a package of the extra `demo` is missing.
    """
    check_installed()
    console = Console(highlight=False)
    started = time.monotonic()
    try:
        outcome = _play(console, users(number_of_users))
    except (RuntimeError, OSError) as error:
        _say(console, str(error), is_good=False)
        return False
    results = checks(outcome.processes, outcome.endpoint, outcome.events, outcome.users)
    console.print()
    show(console, summarise(outcome.events, outcome.shop_url), outcome.users)
    show_counters(console, outcome.processes, outcome.endpoint)
    show_checks(console, results)
    is_good = all(check.is_true for check in results)
    _conclude(console, len(outcome.events), time.monotonic() - started, is_good=is_good)
    return is_good


def _play(console: Console, people: list[User]) -> Outcome:
    with ExitStack() as stack:
        with console.status("Starting the endpoint ..."):
            rum = stack.enter_context(LocalRum())
            rum.set_faults(status=503, times=OUTAGES)
        _say(console, f"Endpoint at {rum.endpoint}: checks what it gets as AWS does")
        variables = {**environment(rum.environment()), **_QUICK}
        with console.status("Starting the shop under opentelemetry-instrument ..."):
            the_shop = stack.enter_context(shop({**variables, **_SHOP}))
            url = the_shop.line()
        _say(console, f"Shop at {url}: Flask under opentelemetry-instrument")
        with console.status("Users click through the shop ..."):
            clicks = sum(click_through(user, url) for user in people)
        _say(console, f"{len(people)} users clicked through the shop: {clicks} requests")
        with console.status("Replaying what a browser reported ..."):
            replayed = _replay(stack, variables, Order(url, people))
        _say(console, f"A real browser's telemetry replayed for each: {replayed.received} spans and log records")
        with console.status("Waiting for delivery ..."):
            counters = {"shop": the_shop.finish(), "browsers": replayed}
            events = _arrived(rum, sum(each.delivered for each in counters.values()))
        _say(console, f"{len(events)} events arrived at the endpoint")
        return Outcome(people, url, counters, rum.stats(), events)


def _replay(stack: ExitStack, variables: Mapping[str, str], order: Order) -> Statistics:
    process = stack.enter_context(browsers(variables))
    process.tell(msgspec.json.encode(order).decode())
    return process.finish()


def _arrived(rum: LocalRum, number: int) -> list[Event]:
    with suppress(TimeoutError):  # the checks say what is missing
        return rum.wait_for_events(number, _ARRIVAL_S)
    return rum.events()


def _say(console: Console, text: str, *, is_good: bool = True) -> None:
    console.print(mark(console, is_good=is_good), escape(text))


def _conclude(console: Console, number: int, seconds: float, *, is_good: bool) -> None:
    console.print()
    if not is_good:
        console.print("[bold red]Something above does not hold.[/] Please report it with this output.")
        return
    console.print(_PROVEN.format(number=number, seconds=seconds))
    console.print(_NEXT)
