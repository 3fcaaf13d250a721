"""A process that appends, delivers and gives up is killed at random instants: nothing it was told is kept gets lost."""

import random
import signal
import subprocess
import sys

import pytest
from spool_tools import all_letters, everything

from otel_rum_exporter.spool.files import SpoolDirectory

WORK = """
import sys, time
from pathlib import Path
from otel_rum_exporter.spool.queue import Burial, NewRow, SpoolOptions
from otel_rum_exporter.spool.files import SpoolDirectory

spool = SpoolDirectory(Path(sys.argv[1]), SpoolOptions(reserve_bytes=0)).open_own()
number, life = 0, sys.argv[2].encode()
while True:
    events = [life + b".%d" % (number + index) for index in range(10)]
    rows = [NewRow("session", b"key", event + b" " * 900, time.time_ns() // 10**6) for event in events]
    ids = spool.append(rows)
    print("kept", *(event.decode() for event in events), flush=True)
    number += 10
    lease = spool.lease("batch", b"body" * 500, ids[:6])
    print("going", *(event.decode() for event in events[:3]), flush=True)
    spool.forget(ids[:3])
    spool.release(lease)
    spool.bury([Burial(ids[7], b"{}", "rejected", "no")])
    print("going", events[8].decode(), flush=True)
    spool.forget([ids[8]])
"""


def kill_one(path, life, lines):
    """Run the process until it has said so many lines and a little more; returns what it kept, and what may be gone."""
    command = [sys.executable, "-c", WORK, str(path), life]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    told = [line.split() for line in said if line.endswith("\n")]
    kept = {event for verb, *events in told if verb == "kept" for event in events}
    return kept, {event for verb, *events in told if verb == "going" for event in events}


def found_in(spool):
    """Where each event is; an event that is in two places is an error."""
    rows = {each.id: each.event for each in everything(spool)}
    for lease in spool.leases():
        spool.release(lease.id)
    rows.update((each.id, each.event) for each in everything(spool))
    events = [event.split()[0].decode() for event in rows.values()]
    events += [letter.row.event.split()[0].decode() for letter in all_letters(spool)]
    assert len(events) == len(set(events))
    assert (spool.events, spool.dead_letters) == (len(rows), len(all_letters(spool)))
    return set(events)


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_at_random_nothing_kept_is_lost(tmp_path, kills):
    """Each next process takes over the same file; at the end each kept event is there once, but for those given up."""
    kept, going = set(), set()
    for life in range(kills):
        lines = random.Random(life).randrange(1, 300)
        more_kept, more_going = kill_one(tmp_path / "spool", str(life), lines)
        kept |= more_kept
        going |= more_going
    directory = SpoolDirectory(tmp_path / "spool")
    spool = directory.open_own()
    assert len(directory.files()) == 1
    found = found_in(spool)
    assert len(kept) > 100 * kills
    assert kept - going <= found
    assert directory.quarantined == 0
    spool.clear()
    spool.purge(None)
    spool.close()
