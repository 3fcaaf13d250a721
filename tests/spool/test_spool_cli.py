"""`otel-rum-exporter spool`: real processes, beside a live owner and without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from spool_tools import SESSION, everything, row

from otel_rum_exporter.commands.spool import _opened
from otel_rum_exporter.spool.queue import Burial

PROGRAM = str(Path(sys.executable).with_name("otel-rum-exporter"))
READABLE = b'{"id":"e1","type":"com.amazon.rum.http_event","details":{}}'


def run(directory, *arguments, stdin=""):
    """Run the command; returns exit code, standard output, standard error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AWS_"))}
    done = subprocess.run(
        [PROGRAM, "spool", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**kept, "COLUMNS": "120", "OTEL_EXPORTER_RUM_SPOOL_DIR": str(directory)},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def owner(directory, clock):
    """A live owner: three rows wait, two are dead letters."""
    spool = directory.open_own()
    numbers = spool.append([row(b'{"n":%d}' % number, clock.ms) for number in range(5)])
    spool.bury(
        [
            Burial(numbers[0], READABLE, "rejected", "400 ValidationException: [bold]no\nline"),
            Burial(numbers[1], READABLE, "not_found", "404"),
        ]
    )
    yield spool
    spool.clear()
    spool.purge(None)
    spool.close()


def tag(spool):
    return spool.path.stem[-8:]


def test_status_beside_the_owner(directory, owner):
    code, output, problems = run(directory.path, "status")
    assert (code, problems) == (0, "")
    (line,) = [line.split() for line in output.splitlines() if owner.path.name in line]
    assert line[1:4] == ["process", str(os.getpid()), "3"]
    assert line[-1] == "2"
    assert "1 dead letter: rejected" in output
    assert "1 dead letter: not_found" in output


def test_status_without_an_owner(directory):
    spool = directory.open_own()
    spool.append([row()])
    spool.close()
    (line,) = [line.split() for line in run(directory.path, "status")[1].splitlines() if spool.path.name in line]
    assert line[1:3] == ["none", "1"]


def test_list_shows_what_one_needs_to_decide(directory, owner):
    """One line for each, nothing of a message taken for markup or for a line's end."""
    code, output, _ = run(directory.path, "list")
    assert code == 0
    text = " ".join(output.split())
    assert f"{tag(owner)}-1" in output
    assert "http_event" in output
    assert SESSION[:20] in output
    assert "[bold]no\\nline" in text.replace(" ", "")
    assert "1 more" in run(directory.path, "list", "--limit", "1")[1]


def test_export_prints_json_lines(directory, owner):
    first, second = map(json.loads, run(directory.path, "export")[1].splitlines())
    assert first["event"] == json.loads(READABLE)
    assert (first["id"], first["reason"], second["message"]) == (f"{tag(owner)}-1", "rejected", "404")
    queued = [json.loads(line) for line in run(directory.path, "export", "--queued")[1].splitlines()]
    assert [(each["event"], each["key"], each["session"]) for each in queued] == [
        ({"n": number}, "key", SESSION) for number in (2, 3, 4)
    ]


def test_export_of_bytes_that_are_no_text(directory, owner):
    owner.append([row(b"\xff\0")])
    *_, last = run(directory.path, "export", "--queued")[1].splitlines()
    assert json.loads(last)["event"] == "/wA="


def test_requeue_some(directory, owner):
    """The owner finds them as new rows."""
    last = owner.last_id()
    code, output, _ = run(directory.path, "requeue", f"{tag(owner)}-1")
    assert (code, output) == (0, "1 dead letter put back into the queue\n")
    assert [each.event for each in owner.load(last, 10)] == [b'{"n":0}']
    assert (owner.events, owner.dead_letters) == (4, 1)


def test_requeue_all(directory, owner):
    assert run(directory.path, "requeue", "--all")[:2] == (0, "2 dead letters put back into the queue\n")
    assert run(directory.path, "requeue", "--all")[:2] == (0, "0 dead letters put back into the queue\n")
    assert (owner.load(0, 1)[0].id, owner.last_id(), owner.events) == (3, 7, 5)


def test_ids_that_are_not_there_are_said(directory, owner):
    """The number is of those that moved."""
    code, output, problems = run(directory.path, "requeue", f"{tag(owner)}-1", f"{tag(owner)}-9", "0123abcd-1")
    assert (code, output) == (1, "1 dead letter put back into the queue\n")
    assert problems.startswith("Error: 2 of the ids are not there")


def test_purge_asks(directory, owner):
    """And takes no for an answer."""
    code, _, problems = run(directory.path, "purge", "--all", stdin="n\n")
    assert code == 1
    assert "Delete all dead letters?" in problems
    owner.last_id()
    assert owner.dead_letters == 2
    assert run(directory.path, "purge", f"{tag(owner)}-2", stdin="y\n")[:2] == (0, "1 dead letter deleted\n")
    assert run(directory.path, "purge", "--all", "--yes")[:2] == (0, "1 dead letter deleted\n")


def test_purge_of_what_waits_spares_live_owners(directory, owner):
    """They would send it all the same, and count it twice."""
    left = directory._make()
    left.append([row(), row()])
    left.close()
    code, output, problems = run(directory.path, "purge", "--queued", "--yes")
    assert (code, output) == (0, "2 events deleted\n")
    assert f"{owner.path.name} is in use by process {os.getpid()}; end it first" in problems
    assert len(everything(owner)) == 3
    assert not left.path.exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["requeue"], "give either ids or --all"),
        (["purge"], "give either ids or --all, or --queued"),
        (["purge", "--all", "ab-1"], "give either ids"),
        (["purge", "--queued", "--all"], "--queued goes without ids"),
        (["requeue", "7"], "'7' is no id of a dead letter"),
        (["requeue", "ab-x"], "'ab-x' is no id of a dead letter"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_explained(directory, arguments, problem):
    code, output, problems = run(directory.path, *arguments)
    assert (code, output) == (2, "")
    assert problem in problems


@pytest.mark.parametrize("command", ["status", "list"])
def test_an_empty_directory_is_no_error(directory, command):
    code, output, problems = run(directory.path, command)
    assert (code, problems) == (0, "")
    assert "There is nothing in" in output.replace("\n", " ")


def test_a_missing_directory_is_said(tmp_path):
    assert run(tmp_path / "none", "status") == (1, "", f"Error: there is no spool directory {tmp_path / 'none'}\n")
    assert not (tmp_path / "none").exists()
    code, _, problems = run("", "status")
    assert code == 2
    assert "give --dir, or set OTEL_EXPORTER_RUM_SPOOL_DIR" in problems


def test_no_dead_letters_is_said(directory):
    spool = directory.open_own()
    assert run(directory.path, "list")[1] == "There are no dead letters.\n"
    assert run(directory.path, "export")[:2] == (0, "")
    spool.close()


def test_a_damaged_file_is_left_out(directory, owner):
    """The others are shown all the same; putting it aside is its next owner's business."""
    bad = directory.path / "spool-1-bad.sqlite"
    bad.write_bytes(b"no database" * 1000)
    code, output, problems = run(directory.path, "status")
    assert code == 0
    assert owner.path.name in output
    assert f"left out: {bad}: file is not a database" in problems
    assert bad.exists()


def test_a_file_that_cannot_be_opened_is_not_nothing(directory):
    """Where it is the only one, nobody is told that no exporter left anything."""
    (directory.path / "spool-1-bad.sqlite").write_bytes(b"no database" * 1000)
    assert run(directory.path, "status")[:2] == (0, "")


def test_a_file_that_its_owner_removes_meanwhile_is_not_mentioned(directory, capsys):
    """Nobody is to look for a fault where a process has just ended in order."""
    assert _opened(directory, directory.path / "spool-1-gone.sqlite") is None
    assert capsys.readouterr() == ("", "")


def test_export_of_much_says_how_far_it_is(directory):
    spool = directory.open_own()
    spool.append([row(b"%d" % number) for number in range(10_050)])
    code, output, problems = run(directory.path, "export", "--queued")
    assert (code, problems) == (0, "10000 of 10050\n")
    assert len(output.splitlines()) == 10_050
    spool.clear()
    spool.close()
