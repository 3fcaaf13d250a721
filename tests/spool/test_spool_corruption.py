"""Damaged files: put aside, what can be read is saved, and nothing is read twice or made up."""

import logging
import os
import random
import shutil
import signal
import sqlite3
import sys
import time

import pytest
from spool_tools import everything, in_child, row, rows

from otel_rum_exporter.spool import salvage as spool_salvage
from otel_rum_exporter.spool.database import suspicion_of
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Burial, SpoolCorruptError, SpoolError, SpoolOptions

PAGE = 4096
LONGEST_S = 30  # to open a file; a machine that does nothing else needs a tenth of a second
INTERIOR = 5  # the type of a page that leads to others, https://www.sqlite.org/fileformat.html


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    """A start that gives up after a second shows how busy the machine is; one test is about that."""
    monkeypatch.setattr("otel_rum_exporter.spool.files._START_S", LONGEST_S)


class Sample:
    """A closed file of many rows, and which pages each of them is on."""

    def __init__(self, path):
        spool = SpoolDirectory(path, SpoolOptions(reserve_bytes=0)).open_own()
        noise = random.Random(1)
        events = [noise.randbytes(noise.choice([90, 300, 900, 2000, 5500])) for _ in range(400)]
        numbers = spool.append([row(event, index) for index, event in enumerate(events)])
        spool.bury([Burial(number, b'{"type":"x"}', "rejected", "no") for number in numbers[:20]])
        spool.forget(numbers[20:60])
        spool.lease("batch", b"body", numbers[60:80])
        self.events = dict(zip(numbers[60:], events[60:], strict=True))
        self.path = spool.path
        spool.close()
        self.data = self.path.read_bytes()
        self._pages = {number: set(self._pages_of(event)) for number, event in self.events.items()}

    def _pages_of(self, event):
        # no piece of noise is there twice; those that are not found have the end of a page in them
        for at in (*range(0, len(event), 48), len(event) - 24):
            found = self.data.find(event[at : at + 24])
            if found >= 0:
                yield found // PAGE

    def damaged_pages(self, data):
        whole = data.ljust(len(self.data), b"\0")
        cut = range(len(data) // PAGE, -(-len(self.data) // PAGE))
        pages = range(len(self.data) // PAGE)
        return {*cut, *(page for page in pages if self._page(whole, page) != self._page(self.data, page))}

    def _page(self, data, number):
        return data[number * PAGE : (number + 1) * PAGE]

    def is_clear_cut(self, damaged):
        """Whether no damaged page leads to others: pages behind such a one may be lost with it."""
        return not any(page and self.data[page * PAGE] == INTERIOR for page in damaged)

    def intact(self, damaged):
        return {number: self.events[number] for number, pages in self._pages.items() if not pages & damaged}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample") / "spool")


def placed(sample, data, path):
    """A spool directory with a file of this content."""
    directory = SpoolDirectory(path, SpoolOptions(reserve_bytes=0))
    (path / sample.path.name).write_bytes(data)
    (path / sample.path.name).chmod(0o600)
    return directory


def reopened_until_read(directory):
    """As the pipeline does: what is found damaged in use is closed, and opened again."""
    for _ in range(3):
        spool = directory.open_own()
        try:
            return spool, {each.id: each.event for each in everything(spool)}
        except SpoolCorruptError:
            spool.close()
    return pytest.fail("salvaged, and still damaged")


def read_once(directory):
    spool, found = reopened_until_read(directory)
    spool.close()
    return found


def truncated(sample, noise):
    return sample.data[: noise.randrange(1, len(sample.data))]


def overwritten(sample, noise):
    at = noise.randrange(len(sample.data) - 1024)
    return sample.data[:at] + noise.randbytes(1024) + sample.data[at + 1024 :]


def zeroed(sample, noise):
    at = noise.randrange(len(sample.data) - 1024)
    return sample.data[:at] + bytes(1024) + sample.data[at + 1024 :]


def first_page(sample, noise):
    return noise.randbytes(1024) + sample.data[1024:]


CASES = [
    *((truncated, seed) for seed in range(15)),
    *((overwritten, seed) for seed in range(25)),
    *((zeroed, seed) for seed in range(8)),
    *((first_page, seed) for seed in range(2)),
]


@pytest.mark.parametrize(("damage", "seed"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_all_that_is_readable_is_saved(sample, tmp_path, damage, seed, caplog):
    """Every row none of whose pages is damaged; and of the others none that is not what was written."""
    data = damage(sample, random.Random(seed))
    damaged = sample.damaged_pages(data)
    directory = placed(sample, data, tmp_path / "spool")
    begun = time.monotonic()
    spool, found = reopened_until_read(directory)
    assert time.monotonic() - begun < LONGEST_S
    leased = {number for lease in spool.leases() for number in lease.rows}
    assert found.items() <= sample.events.items()
    if sample.is_clear_cut(damaged):
        assert sample.intact(damaged).keys() <= found.keys() | leased
    new = spool.append(rows(1))
    assert new[0] not in found
    if directory.quarantined:
        assert sorted(directory.quarantine()) == sorted(directory.path.glob("*.corrupt-*Z"))
        assert directory.salvaged == len(found) + spool.dead_letters
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * directory.quarantined
    spool.close()
    again, found_again = reopened_until_read(SpoolDirectory(directory.path, SpoolOptions(reserve_bytes=0)))
    assert found_again == {**found, new[0]: b"1"}
    again.close()


def test_most_damage_costs_no_other_page(sample):
    """The claim above is about something."""
    sound = [sample.is_clear_cut(sample.damaged_pages(damage(sample, random.Random(seed)))) for damage, seed in CASES]
    assert sum(sound) > 40
    assert len(sample.intact({30})) > 300


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"no database at all, but some text " * 1000, id="text"),
        pytest.param(b"\0" * 10_000, id="zeros"),
        pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, id="a database by its first bytes only"),
    ],
)
def test_what_is_no_database_is_put_aside(sample, tmp_path, data):
    directory = placed(sample, data, tmp_path / "spool")
    spool, found = reopened_until_read(directory)
    assert (found, directory.quarantined, directory.salvaged) == ({}, 1, 0)
    (aside,) = directory.quarantine()
    assert aside.read_bytes()[: len(data)] == data
    spool.close()


def test_a_newer_schema_version_is_left_alone(sample, tmp_path):
    """While versions change, an older one neither takes the file over nor has it taken for damaged by looking at it."""
    directory = placed(sample, sample.data, tmp_path / "spool")
    path = directory.path / sample.path.name
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
        database.execute("ALTER TABLE events RENAME COLUMN event TO body")
    database.close()
    with pytest.raises(SpoolError, match="newer version"):
        directory.open_beside(path)
    spool = directory.open_own()
    assert (spool.events, directory.adopt(), directory.quarantined) == (0, [], 0)
    spool.close()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (len(sample.events),)
    database.close()
    assert not suspicion_of(path).exists()


def test_another_schema_is_put_aside(sample, tmp_path):
    directory = placed(sample, b"", tmp_path / "spool")
    with sqlite3.connect(directory.path / sample.path.name) as database:
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, other TEXT)")
        database.execute("INSERT INTO events VALUES (1, 'x')")
    database.close()
    spool, found = reopened_until_read(directory)
    assert (found, directory.quarantined) == ({}, 1)
    spool.close()


def test_damage_that_shows_in_use_is_an_error_and_then_repaired(sample, tmp_path):
    """One byte of one event: SQLite does not notice, the checksum does."""
    number, event = list(sample.events.items())[100]
    at = sample.data.index(event[:24])
    data = sample.data[:at] + bytes([sample.data[at] ^ 1]) + sample.data[at + 1 :]
    directory = placed(sample, data, tmp_path / "spool")
    spool = directory.open_own()
    with pytest.raises(SpoolCorruptError, match=f"event {number} is damaged"):
        everything(spool)
    spool.close()
    assert directory.quarantined == 0
    spool, found = reopened_until_read(directory)
    assert found == {key: value for key, value in sample.events.items() if key != number}
    assert directory.quarantined == 1
    spool.close()


def test_rows_in_the_log_are_saved(tmp_path):
    """The owner was killed before its last commits reached the database, and then the database was damaged."""
    path = tmp_path / "spool"

    def work():
        spool = SpoolDirectory(path, SpoolOptions(reserve_bytes=0)).open_own()
        spool.append(rows(*range(100)))
        os.kill(os.getpid(), signal.SIGKILL)

    in_child(work)
    directory = SpoolDirectory(path, SpoolOptions(reserve_bytes=0))
    (file,) = directory.files()
    file.with_name(file.name + ".suspect").touch()
    spool, found = reopened_until_read(directory)
    assert sorted(found.values()) == sorted(b"%d" % number for number in range(100))
    assert directory.quarantined == 1
    spool.close()


@pytest.mark.parametrize("size", [0, 1, 100])
@pytest.mark.parametrize("left", [0, 1, 40], ids=["all", "but for one row", "the last rows"])
def test_an_emptied_file_leaves_what_its_log_holds(directory, tmp_path, left, size):
    """SQLite would remove the log beside an empty file. Who looks at it beside its owner does not let it do so, either."""
    spool = directory.open_own()
    committed = spool.append(rows(*range(left)))
    with spool._database.reading() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    logged = spool.append([row(b"%d." % number + bytes(900)) for number in range(200)])
    copies = tmp_path / "copies"  # as a crash leaves it
    shutil.copytree(directory.path, copies)
    spool.clear()
    spool.close()
    again = SpoolDirectory(copies, SpoolOptions(reserve_bytes=0))
    os.truncate(copies / spool.path.name, size)
    with pytest.raises(SpoolCorruptError, match="empty, beside a log"):
        again.open_beside(copies / spool.path.name)
    found = set(read_once(again))
    assert (found >= set(logged[1:-1]), found <= {*committed, *logged}) == (True, True)
    assert again.quarantined == 1


def test_a_start_does_not_wait_for_much_damage(sample, tmp_path, monkeypatch):
    """What is not saved within a second is left for adoption, which takes its time."""
    monkeypatch.setattr("otel_rum_exporter.spool.files._START_S", -1.0)
    data = sample.data[: PAGE * 150]
    directory = placed(sample, data, tmp_path / "spool")
    own = directory.open_own()
    assert own.path.name != sample.path.name
    assert directory.quarantined == 0
    (adopted,) = directory.adopt()
    assert adopted.path.name == sample.path.name
    assert directory.quarantined == 1
    assert directory.salvaged >= len(sample.intact(sample.damaged_pages(data))) > 50
    own.close()
    adopted.close()


def test_damaged_files_go_like_dead_letters(sample, tmp_path):
    """They hold what users did."""
    directory = placed(sample, sample.data, tmp_path / "spool")
    old, new = (directory.path / f"spool-1-ab.sqlite.corrupt-2026010{day}T000000.000000Z" for day in (1, 2))
    for path, age_s in ((old, 15 * 86_400), (new, 13 * 86_400)):
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
    directory.open_own().close()
    assert directory.quarantine() == [new]


def kill_at(step, path):
    """Open the directory in a child that is killed before its step-th access to a file of it. Returns how it ended."""
    watched = {"open", "os.rename", "os.remove", "sqlite3.connect", "os.truncate", "os.mkdir"}

    def work():
        left = [step]

        def on_event(name, arguments):
            if name in watched and any(str(path) in str(argument) for argument in arguments):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(on_event)
        spool = SpoolDirectory(path, SpoolOptions(reserve_bytes=0)).open_own()
        assert len(everything(spool)) > 100

    return in_child(work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("damage", [overwritten, first_page])
@pytest.mark.parametrize("log", [False, True], ids=["alone", "with a log"])
def test_killed_at_any_step_of_saving_nothing_is_lost(sample, tmp_path, damage, log):
    """Before every access to a file, one after the other; the next one to come saves the same, once."""
    data = damage(sample, random.Random(3))
    undisturbed = placed(sample, data, tmp_path / "expected")
    expected = read_once(undisturbed)
    assert len(expected) > 300
    assert undisturbed.quarantined == 1
    step, status = 0, -signal.SIGKILL
    while status:
        path = tmp_path / f"step{step}"
        placed(sample, data, path)
        (path / (sample.path.name + ".suspect")).touch()
        if log:
            (path / (sample.path.name + "-wal")).write_bytes(b"")
        status = kill_at(step, path)
        if not os.WIFSIGNALED(status):
            break
        spool, found = reopened_until_read(directory := SpoolDirectory(path, SpoolOptions(reserve_bytes=0)))
        assert found == expected, f"killed at step {step}"
        assert len(directory.files()) == 1
        assert len(directory.quarantine()) <= 2
        spool.close()
        shutil.rmtree(path)
        step += 1
    assert status == 0
    assert step > 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("turn", range(5))
def test_killed_in_the_middle_of_copying_nothing_is_lost(sample, tmp_path, turn, monkeypatch):
    """After any number of rows."""
    data = overwritten(sample, random.Random(3))
    expected = read_once(placed(sample, data, tmp_path / "expected"))
    directory = placed(sample, data, tmp_path / "spool")
    (directory.path / (sample.path.name + ".suspect")).touch()
    read, seen = spool_salvage._Rows.readable, []

    def read_and_die(rows_):
        for found in read(rows_):
            yield found
            seen.append(found)
            if len(seen) == 1 + 70 * turn:
                os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(spool_salvage._Rows, "readable", read_and_die)
        assert os.WTERMSIG(in_child(directory.open_own)) == signal.SIGKILL
    spool, found = reopened_until_read(directory)
    assert found == expected
    spool.close()
