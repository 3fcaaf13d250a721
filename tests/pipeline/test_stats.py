"""Counters that add up, and log lines that do not repeat themselves."""

import logging

import pytest

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.stats import Counters


def counters(**changes):
    whole = {"received": 10, "converted": 8, "accepted": 12, "delivered": 5}
    dropped = {"items_dropped": {DropReason.NO_SESSION: 2}, "events_dropped": {DropReason.EXPIRED: 3}}
    each = Counters(**(whole | changes))
    each.items_dropped.update(dropped["items_dropped"])
    each.events_dropped.update(dropped["events_dropped"])
    return each


@pytest.mark.parametrize(
    ("changes", "queued", "is_balanced"),
    [({}, 4, True), ({}, 3, False), ({"received": 11}, 4, False), ({"delivered": 4}, 4, False)],
    ids=["whole", "event missing", "item missing", "delivery missing"],
)
def test_both_equations(changes, queued, is_balanced):
    """Statistics are balanced when every item and every event is accounted for."""
    assert counters(**changes).snapshot(queued=queued).is_balanced is is_balanced


def test_reasons_without_a_loss_are_left_out():
    """A count that went back to zero is not shown."""
    each = counters()
    each.events_dropped[DropReason.SHUTDOWN] += 2
    each.events_dropped[DropReason.SHUTDOWN] -= 2
    assert each.snapshot(queued=4).events_dropped == {DropReason.EXPIRED: 3}


def test_statistics_do_not_change():
    """A snapshot stays as it was."""
    each = counters()
    before = each.snapshot(queued=4)
    each.items_dropped[DropReason.UNMAPPED] += 1
    assert before.items_dropped == {DropReason.NO_SESSION: 2}


def test_one_line_a_minute_for_each_cause(caplog):
    """Further lines of a cause are counted, and the next one that is logged says how many."""
    now = [0.0]
    log = CauseLog(logging.getLogger("cause_log"), lambda: now[0])
    for at, cause in [(0, "a"), (1, "a"), (2, "b"), (59, "a"), (60, "a"), (61, "a")]:
        now[0] = at
        log.say(logging.WARNING, cause, f"{cause} at {at}")
    assert caplog.messages == [
        "RUM exporter: a at 0",
        "RUM exporter: b at 2",
        "RUM exporter: a at 60 (and 2 more since the last such line)",
    ]


def test_a_percent_sign_is_no_format(caplog):
    """Messages hold what others wrote."""
    CauseLog(logging.getLogger("cause_log"), lambda: 0.0).say(logging.WARNING, "a", "100 %s %d")
    assert caplog.messages == ["RUM exporter: 100 %s %d"]


class OfOpenTelemetry(logging.Handler):
    """As its instrumentations and its SDK have one."""

    __module__ = "opentelemetry.instrumentation.logging.handler"

    def emit(self, record):
        """Show nothing."""


@pytest.mark.parametrize(
    ("handlers", "level", "shown"),
    [
        ([], logging.WARNING, ["RUM exporter: a"]),
        ([OfOpenTelemetry()], logging.WARNING, ["RUM exporter: a"]),
        ([OfOpenTelemetry()], logging.INFO, []),
        ([OfOpenTelemetry(), logging.NullHandler()], logging.WARNING, []),
        ([OfOpenTelemetry()], logging.NOTSET, []),
    ],
    ids=["none", "OpenTelemetry's alone", "no warning", "the application's, too", "switched off"],
)
def test_opentelemetrys_handlers_alone_hide_nothing(capsys, monkeypatch, handlers, level, shown):
    """Python shows warnings on standard error where nobody handles them, but not beside handlers that show nothing."""
    logger = logging.getLogger("alone")
    monkeypatch.setattr(logger, "handlers", handlers)
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.INFO if level else logging.CRITICAL)
    CauseLog(logger, lambda: 0.0).say(level or logging.ERROR, "a", "a")
    assert capsys.readouterr().err.splitlines() == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\x1b[31m", "a\\nb\\x1b[31m"), ("\ud800", "\\ud800"), ("x" * 999, "x" * 300 + "..."), (None, "None")],
    ids=["control", "surrogate", "long", "none"],
)
def test_what_others_wrote_is_one_short_line(text, line):
    """Answers of servers cannot forge or flood the log."""
    assert printable(text) == line
