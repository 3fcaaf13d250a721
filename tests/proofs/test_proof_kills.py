"""A process that exports is killed at random instants: what it was told is accepted arrives, from the next one."""

import random
import time

import pytest
from proof_endpoint import last_report, names

RATE = 500
FLUSH_MS = 200
WITHOUT_SPOOL_BOUND = 1000  # events that may wait in memory
IN_FLIGHT = 8 * 100


def accepted_by(process, lines, name):
    """The names of the spans whose export returned; the process is killed after so many of them."""
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    told = [line.split() for line in said if line.startswith("accepted") and line.endswith("\n")]
    return {f"{name}.{number}" for _, first, last in told for number in range(int(first), int(last))}


def live_and_die(start, life, options):
    """Export until the kill. Returns what was accepted, and when the process was started."""
    work = {"name": f"life {life}", "rate": RATE, "each": 10, "options": options}
    started_at = time.time()
    with start(work) as process:
        return accepted_by(process, random.Random(life).randrange(40, 150), work["name"]), started_at


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_with_a_spool(start, inherit, rum, proof, tmp_path, kills):
    """Each next process takes over what the one before left, and all of it arrives."""
    options = {"session_start": "off", "flush_interval": FLUSH_MS, "spool_dir": str(tmp_path / "spool")}
    accepted, starts = set(), []
    for life in range(kills):
        more, started_at = live_and_die(start, life, options)
        accepted |= more
        starts.append(started_at)
    starts.append(time.time())
    report = last_report(inherit(accepted, options))
    assert report["is_balanced"]
    assert report["queued"] == 0
    arrived, stats = names(rum), rum.stats()
    lost = accepted - arrived
    first_sends = [first_send(rum, at) for at in starts[1:]]
    proof(
        "A4/A5",
        f"{kills} SIGKILLs at {RATE} events/s with a spool",
        target="0 accepted events lost, duplicates have known ids, start to first send <= 2 s",
        measured=f"{len(lost)} of {len(accepted):,} lost, {stats['events_duplicate']} duplicates, "
        f"first send {max(first_sends):.2f} s at most (with the interpreter's start)",
        is_met=not lost and len(arrived) == stats["events_distinct"] and max(first_sends) <= 2,
    )
    assert not lost
    assert len(arrived) == stats["events_distinct"], "a duplicate has the id of the first"
    assert stats["events_changed"] == 0
    assert len(accepted) > 100 * kills


def first_send(rum, started_at):
    """How long after the start of a process the first request arrived."""
    return min(each["received_at"] for each in rum.requests() if each["received_at"] > started_at) - started_at


def test_killed_without_a_spool(start, rum, proof):
    """What is lost is what waited in memory or was on its way."""
    options = {"session_start": "off", "flush_interval": FLUSH_MS, "queue_events": WITHOUT_SPOOL_BOUND}
    accepted, _ = live_and_die(start, 0, options)
    lost = accepted - names(rum)
    proof(
        "A5",
        f"SIGKILL at {RATE} events/s without a spool",
        target=f"<= {WITHOUT_SPOOL_BOUND + IN_FLIGHT} lost (queue bound + in flight)",
        measured=f"{len(lost)} of {len(accepted):,} lost",
        is_met=len(lost) <= WITHOUT_SPOOL_BOUND + IN_FLIGHT,
    )
    assert len(lost) <= WITHOUT_SPOOL_BOUND + IN_FLIGHT
    assert len(accepted) > len(lost)
