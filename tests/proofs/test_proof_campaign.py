"""Everything at once, at random: faults that change, threads, forks, flushes, kills, and people who look at the spool."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from proof_app import Spans
from proof_endpoint import check, document

from otel_rum_exporter import RumSpanExporter

APP = str(Path(__file__).with_name("proof_campaign_app.py"))
COMMAND = [str(Path(sys.executable).with_name("otel-rum-exporter")), "spool"]
PATIENCE_S = 120
FAULTS = (
    {},
    {"rate_limit": 2, "retry_after": "1"},
    {"rate_limit": 1, "retry_after": "-5"},
    {"error_rate": 0.5, "error_status": 503, "retry_after": ""},
    {"status": 500, "retry_after": ""},
    {"status": 403},
    {"status": 404},
    {"status": 302, "headers": {"location": "http://127.0.0.1:9/"}},
    {"hang": "before"},
    {"hang": "after"},
    {"reset": "before"},
    {"reset": "after"},
    {"drip_ms": 200},
)
OPTIONS = {"session_start": "off", "flush_interval": 300, "timeout": 1000}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
campaigns = pytest.mark.parametrize(
    ("seed", "seconds"), [(1, 6), *(pytest.param(seed, 60, marks=pytest.mark.nightly) for seed in range(2, 6))]
)


class Campaign:
    """Faults of an endpoint that change every second, and what applications said meanwhile."""

    def __init__(self, rum, tmp_path, seed):
        self.rum = rum
        self.chance = random.Random(seed)
        self.said = tmp_path / "said"
        self.lives = 0

    def job(self, **more):
        """What the next application does."""
        self.lives += 1
        return {
            "name": f"life{self.lives}",
            "seed": self.chance.randrange(2**32),
            "said": str(self.said),
            "options": OPTIONS,
            **more,
        }

    def disturb(self, seconds, beside):
        """Change the faults, and do something else beside each; none is left in the end."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.rum.set_faults(**self.chance.choice(FAULTS))
            beside()
            time.sleep(max(0.0, min(1.0, ends_at - time.monotonic())))
        self.rum.clear_faults()

    def accepted(self):
        """The names of the events that exporters accepted; whatever went wrong fails the test."""
        lines = [line.split() for line in self.said.read_text().splitlines()]
        assert not [line for line in lines if line[0] not in ("accepted", "refused")]
        return {f"{name}.{each}" for what, name, number in lines if what == "accepted" for each in range(int(number))}

    def arrived(self):
        """The names of the distinct events that arrived."""
        details = [event["details"] for event in self.rum.events()]
        return [each["attributes"].get("n", each["name"]) for each in details]


@pytest.fixture
def launch(start):
    """Starts applications; they are killed at the end."""
    with contextlib.ExitStack() as running:
        yield lambda job: running.enter_context(
            start(script=f"import sys; sys.argv[1:] = [{json.dumps(job)!r}]\n{RUN}")
        )


RUN = f"import runpy; runpy.run_path({APP!r}, run_name='__main__')"


@campaigns
def test_with_a_spool(launch, options, rum, proof, tmp_path, seed, seconds):
    """Two processes in one directory, killed again and again, lose nothing that was accepted."""
    campaign, spool = Campaign(rum, tmp_path, seed), tmp_path / "spool"
    chance, ended = campaign.chance, []
    with_spool = {**OPTIONS, "spool_dir": str(spool)}

    def begin():
        return launch(campaign.job(seconds=10 * seconds + PATIENCE_S, options=with_spool))

    running = [begin(), begin()]

    def kill_and_look():
        if chance.random() < 0.5:
            victim = running.pop(chance.randrange(2))
            victim.kill()
            ended.append(victim)
            running.append(begin())
        if spool.exists():
            command = chance.choice([["status"], ["list"], ["export"], ["export", "--queued"], ["requeue", "--all"]])
            subprocess.run([*COMMAND, *command, "--dir", spool], check=True, capture_output=True, timeout=PATIENCE_S)

    campaign.disturb(seconds, kill_and_look)
    for process in running:
        process.kill()
    reports = [
        json.loads(line) for each in (*ended, *running) for line in each.communicate(timeout=PATIENCE_S)[0].splitlines()
    ]
    heir = RumSpanExporter(**options | with_spool)
    heir.export(Spans().make("heir", [0]))
    drained_at = time.monotonic() + PATIENCE_S
    while (list(spool.glob("*.sqlite")) and heir.stats().queued) and time.monotonic() < drained_at:
        heir.force_flush(1000)
        time.sleep(0.1)  # what is on disk counts as flushed
    heir.shutdown()
    accepted, arrived, stats = campaign.accepted(), campaign.arrived(), rum.stats()
    lost = accepted - set(arrived)
    proof(
        "A1, A2, A5, A10, E4",
        f"{seconds} s of faults, forks, flushes and {campaign.lives - 2} kills of 2 processes with one spool (seed {seed})",
        target="0 accepted events lost, one id for each, both equations hold",
        measured=f"{len(lost)} of {len(accepted):,} lost, {stats['events_duplicate']} duplicates",
        is_met=not lost and len(arrived) == len(set(arrived)),
    )
    assert not lost
    assert len(arrived) == len(set(arrived)), "an event has one id, however often it was sent"
    assert stats["events_changed"] == 0
    assert all(each["is_balanced"] for each in (*reports, document(heir.stats())))
    assert heir.stats().spooled == 0


@campaigns
def test_without_a_spool(launch, rum, proof, tmp_path, seed, seconds):
    """What a process accepted is delivered when the faults are over, or counted."""
    campaign = Campaign(rum, tmp_path, seed)
    process = launch(campaign.job(seconds=seconds, flush_s=PATIENCE_S))
    campaign.disturb(seconds, lambda: None)
    output, errors = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 0, errors
    reports = [json.loads(line) for line in output.splitlines()]
    delivered = check(rum, reports, answers_get_lost=True)
    accepted, arrived = campaign.accepted(), campaign.arrived()
    own = {name for name in accepted if ".child" not in name}
    dropped = sum(reports[-1]["dropped"].values())
    proof(
        "A1, D2",
        f"{seconds} s of faults, forks and flushes without a spool (seed {seed})",
        target="both equations hold in all processes, and what the parent did not drop arrives",
        measured=f"{delivered:,} delivered of {len(accepted):,} by {len(reports)} processes, "
        f"{len(own - set(arrived))} of the parent's missing, {dropped} counted",
        is_met=len(own - set(arrived)) <= dropped,
    )
    assert len(own - set(arrived)) <= dropped
    assert len(arrived) == len(set(arrived))
