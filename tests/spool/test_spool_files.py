"""Whose a file is: directories, modes, links, locks, adoption, forks."""

import os
import stat
import subprocess
import sys
import threading
import warnings

import pytest
from spool_tools import everything, in_child, rows

from otel_rum_exporter.spool.database import Database
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.lock import FileLock, holder
from otel_rum_exporter.spool.queue import Spool, SpoolError, SpoolOptions

fcntl = sys.modules.get("fcntl")
posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and forks are POSIX's")


def names(directory):
    return sorted(path.name for path in directory.path.iterdir())


def leave(directory, *numbers):
    """A file with rows, whose owner is gone."""
    spool = directory._make()
    spool.append(rows(*numbers))
    spool.close()
    return spool.path


# the directory


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], ids=oct)
def test_nobody_else_can_read(tmp_path, umask):
    """Whatever the umask says: the directory 0700, all files 0600."""

    def work():
        os.umask(umask)
        spool = SpoolDirectory(tmp_path / "spool").open_own()
        spool.append(rows(1))
        modes = {path.name.partition(".")[2]: stat.S_IMODE(path.stat().st_mode) for path in spool.path.parent.iterdir()}
        assert stat.S_IMODE(spool.path.parent.stat().st_mode) == 0o700
        assert set(modes) == {"sqlite", "sqlite-wal", "sqlite-shm", "lock"}
        assert {mode & 0o177 for mode in modes.values()} == {0}

    assert in_child(work) == 0


def test_a_directory_is_made_with_those_above(tmp_path):
    SpoolDirectory(tmp_path / "a" / "b" / "spool").open_own().close()
    assert (tmp_path / "a" / "b" / "spool").is_dir()


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(SpoolError, match="not a directory"):
        SpoolDirectory(tmp_path / "spool")


@posix
def test_a_linked_directory_is_refused(tmp_path):
    """Somebody could lead it elsewhere."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "spool").symlink_to(tmp_path / "real")
    with pytest.raises(SpoolError, match="symbolic link"):
        SpoolDirectory(tmp_path / "spool")


@posix
@pytest.mark.parametrize(
    ("above", "mode", "is_refused"),
    [
        pytest.param(0o1777, 0o755, True, id="readable in a shared place"),
        pytest.param(0o1777, 0o700, False, id="closed in a shared place"),
        pytest.param(0o755, 0o755, False, id="readable at home, where files are closed"),
        pytest.param(0o755, 0o775, True, id="writable by the group"),
    ],
)
def test_a_directory_that_is_open_to_others_is_refused(tmp_path, above, mode, is_refused):
    (tmp_path / "above").mkdir()
    path = tmp_path / "above" / "spool"
    path.mkdir()
    path.chmod(mode)
    (tmp_path / "above").chmod(above)
    if is_refused:
        with pytest.raises(SpoolError, match=f"chmod 700 {path}"):
            SpoolDirectory(path)
    else:
        SpoolDirectory(path)


@posix
def test_the_directory_of_another_user_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "spool").mkdir(mode=0o700)
    os.chown(tmp_path / "spool", 12345, 12345)
    with pytest.raises(SpoolError, match="belongs to user 12345"):
        SpoolDirectory(tmp_path / "spool")


@posix
@pytest.mark.parametrize("suffix", [".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock"])
def test_linked_files_are_not_followed(directory, tmp_path, suffix):
    """What they point to is neither read nor written; the owner gets a file of its own."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    path = leave(directory, 1)
    link = path.with_name(path.stem + suffix)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    with pytest.raises(SpoolError, match="symbolic link"):
        directory.open_beside(path)
    spool = directory.open_own()
    assert spool.path != path
    assert target.read_bytes() == b"precious"
    spool.close()


# files and their owners


def test_an_empty_file_leaves_nothing_behind(directory):
    spool = directory.open_own()
    spool.forget(spool.append(rows(1)))
    spool.close()
    assert names(directory) == []


def test_what_comes_as_an_empty_file_is_closed_is_refused(directory, monkeypatch):
    """It would be removed with the file."""
    spool = directory.open_own()
    close = Database.close

    def late_close(database):
        with pytest.raises(SpoolError):
            spool.append(rows(1))
        close(database)

    monkeypatch.setattr(Database, "close", late_close)
    spool.close()
    assert names(directory) == []


def test_a_file_that_holds_something_is_taken_over(directory):
    path = leave(directory, 1, 2)
    spool = directory.open_own()
    assert spool.path == path
    assert [each.event for each in everything(spool)] == [b"1", b"2"]
    spool.clear()
    spool.close()
    assert names(directory) == []


def test_owned_files_are_not_taken(directory):
    """Neither by others nor by the owner itself."""
    own = directory.open_own()
    own.append(rows(1))
    assert directory.adopt() == []
    other = SpoolDirectory(directory.path)
    assert other.adopt() == []
    second = other.open_own()
    assert second.path != own.path
    assert (directory.owner(own.path), directory.owner(second.path)) == (os.getpid(), os.getpid())
    second.close()
    own.close()
    assert directory.owner(own.path) is None
    (adopted,) = other.adopt()
    assert [each.event for each in everything(adopted)] == [b"1"]
    adopted.clear()
    adopted.close()


def test_all_that_others_left_is_adopted(directory):
    paths = [leave(directory, number) for number in (1, 2, 3)]
    own = directory.open_own()
    adopted = directory.adopt()
    assert sorted([own.path, *(spool.path for spool in adopted)]) == sorted(paths)
    for spool in [own, *adopted]:
        spool.clear()
        spool.close()
    assert names(directory) == []


def test_what_is_left_of_a_file_is_tidied_up(directory):
    """A lock without a database: its owner died between making the two, or removing them."""
    path = leave(directory, 1)
    path.unlink()
    path.with_suffix(".lock").touch()
    (directory.path / (path.name + ".salvaged")).mkdir()  # unreadable: named, and left alone
    spool = directory.open_own()
    assert spool.path != path
    spool.close()


def test_a_database_without_its_lock_is_adopted(directory):
    path = leave(directory, 1)
    path.with_suffix(".lock").unlink()
    spool = directory.open_own()
    assert spool.path == path
    spool.clear()
    spool.close()


@posix
def test_a_lock_whose_file_was_removed_is_none(tmp_path):
    """Between opening the file and locking it, its last owner may have removed it: two could hold "the" lock."""
    path = tmp_path / "x.lock"
    real_open = os.open
    removed = []

    def open_then_lose(name, *args, **kwargs):
        descriptor = real_open(name, *args, **kwargs)
        if not removed:
            removed.append(name)
            path.unlink()
        return descriptor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_then_lose)
        assert FileLock.take(path) is None
    lock = FileLock.take(path)
    assert lock is not None
    assert FileLock.take(path) is None
    lock.remove()
    assert not path.exists()


ADOPT = """
import sys
from pathlib import Path
from otel_rum_exporter.spool.database import Database
from otel_rum_exporter.spool.files import SpoolDirectory
directory = SpoolDirectory(Path(sys.argv[1]))
sys.stdin.readline()
spools = [directory.open_own(), *directory.adopt()]
print(sorted(row.event.decode() for spool in spools for row in spool.load(0, 1000)), flush=True)
sys.stdin.readline()
for spool in spools:
    spool.clear()
    spool.close()
"""


@pytest.mark.parametrize("turn", range(3))
def test_processes_that_adopt_at_once_share_the_files(directory, turn):
    """Each row has one owner, and each one has an owner."""
    for number in range(10):
        leave(directory, 100 * turn + number)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ADOPT, str(directory.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [eval(process.stdout.readline()) for process in processes]  # noqa: S307 - our own output
    assert sorted(number for numbers in found for number in numbers) == [
        str(100 * turn + number) for number in range(10)
    ]
    for process in processes:
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    assert names(directory) == []


# forks


@posix
def test_a_fork_does_not_touch_the_parents_file(directory):
    """Every use in the child is refused, whatever another thread of the parent holds."""
    spool = directory.open_own()
    spool.append(rows(1))

    def work():
        for use in (
            lambda: spool.append(rows(1, 2)),
            lambda: spool.load(0, 1),
            lambda: spool.lease("b", b"", []),
            spool.last_id,
            lambda: spool.requeue(None),
            lambda: spool.expire(0),
        ):
            with pytest.raises(SpoolError, match="belongs to process"):
                use()
        assert spool.events == 1

    with spool._database._lock, spool._commits._changed:
        assert in_child(work) == 0
    assert spool.append(rows(3)) == [2]
    spool.clear()
    spool.close()


@posix
@pytest.mark.parametrize("leave_it", [Spool.abandon, Spool.close], ids=["abandon", "close"])
def test_a_child_that_abandons_it_lets_the_parents_file_be_adopted(directory, leave_it):
    """While the child lives, the parent's lock holds; when the parent has ended, no lock is left in the child."""
    spool = directory.open_own()
    spool.append(rows(1))
    abandoned, closed = os.pipe(), os.pipe()
    seen = {}

    def work():
        leave_it(spool)
        os.write(abandoned[1], b"x")
        os.read(closed[0], 1)  # the parent has closed its own
        (adopted,) = SpoolDirectory(directory.path).adopt()
        assert [each.event for each in everything(adopted)] == [b"1"]
        adopted.append(rows(2))
        adopted.close()

    def wait():
        os.read(abandoned[0], 1)
        seen["owner"] = directory.owner(spool.path)
        spool.close()
        os.write(closed[1], b"x")

    parent = threading.Thread(target=wait)
    parent.start()
    status = in_child(work)
    parent.join(60)
    assert status == 0
    assert seen["owner"] == os.getpid()
    after = directory.open_own()
    assert [each.event for each in everything(after)] == [b"1", b"2"]
    after.clear()
    after.close()
    for end in (*abandoned, *closed):
        os.close(end)


class OtherThread:
    """Forks a child that lives on, as another thread of the process may at any moment."""

    def __init__(self):
        self._begun, self._end = os.pipe(), os.pipe()
        self._thread = threading.Thread(target=self._fork)
        self._child = 0

    def fork(self, wait_s=None):
        """Fork, once; wait until the child has begun."""
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(wait_s)

    def _fork(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside other threads
            self._child = os.fork()
        if not self._child:
            os.close(self._end[1])
            os.write(self._begun[1], b"x")
            os.read(self._end[0], 1)
            os._exit(0)
        os.read(self._begun[0], 1)

    def end(self):
        """Let the child end."""
        self._thread.join()
        for each in (*self._begun, *self._end):
            os.close(each)
        assert os.waitpid(self._child, 0)[1] == 0


@posix
@pytest.mark.parametrize("look", [FileLock.take, holder], ids=["take", "holder"])
@pytest.mark.parametrize(
    "moment",
    [(os, "open", False), (fcntl, "flock", True), (fcntl, "flock", False)],
    ids=["opened", "before flock", "after flock"],
)
def test_a_child_inherits_no_lock(directory, monkeypatch, look, moment):
    """Whenever another thread forks while a lock is taken: when it is let go, it is free, though the child lives."""
    path = directory.path / "x.lock"
    FileLock.take(path).release()
    module, name, is_before = moment
    other, real = OtherThread(), getattr(module, name)

    def fork_beside(*args):
        if is_before:
            other.fork()
        done = real(*args)
        other.fork(0.2 if module is os else None)  # which waits until the descriptor is known
        return done

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fork_beside)
        lock = look(path)
    if lock is not None:
        lock.release()
    other.fork()
    again = FileLock.take(path)
    other.end()
    assert again is not None
    again.remove()


@posix
def test_a_lock_of_the_parent_is_none_of_the_childs(directory):
    """Its number may be another file's in the child, which releasing it must not close."""
    lock = FileLock.take(directory.path / "x.lock")

    def work():
        reused = os.open(directory.path / "y", os.O_CREAT | os.O_RDWR)
        assert reused == lock.descriptor
        lock.release()
        os.fstat(reused)

    assert in_child(work) == 0
    assert FileLock.take(directory.path / "x.lock") is None
    lock.remove()


FORKED_END = """
import os, sys
from pathlib import Path
from otel_rum_exporter.spool.queue import NewRow
from otel_rum_exporter.spool.database import Database
from otel_rum_exporter.spool.files import SpoolDirectory
spool = SpoolDirectory(Path(sys.argv[1])).open_own()
spool.append([NewRow("s", b"k", b"1", 1)])
child = os.fork()
if not child:
    spool.abandon()
    del spool
    sys.exit()  # the interpreter ends in full: it must not close the parent's connection
assert os.waitpid(child, 0)[1] == 0
spool.append([NewRow("s", b"k", b"2", 2)])
assert len(spool.load(0, 10)) == 2
assert Path(str(spool.path) + "-wal").stat().st_size
spool.close()
"""


@posix
def test_a_child_that_ends_leaves_the_parents_log_alone(directory):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED_END, str(directory.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# options reach the files


@pytest.mark.parametrize(("fsync", "expected"), [(False, 1), (True, 2)], ids=["NORMAL", "FULL"])
def test_fsync(tmp_path, fsync, expected):
    """What is accepted is synced where that is wanted; that it was delivered need not be, before or after."""
    spool = SpoolDirectory(tmp_path / "spool", SpoolOptions(fsync=fsync)).open_own()
    with spool._database.reading() as connection:
        settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
        assert settings == [expected, "wal"]
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (1000,)
    for is_needed, synchronous in ((True, expected), (False, 1), (True, expected)):
        with spool._database.writing(survives_power_loss=is_needed) as write:
            assert write.one("PRAGMA synchronous") == (synchronous,)
    spool.close()


def test_only_what_is_accepted_waits_for_the_disk(tmp_path):
    """Leases and deliveries leave syncing to later commits, also in a file that a removed one was moved to."""
    directory = SpoolDirectory(tmp_path / "spool", SpoolOptions(fsync=True))
    spool = directory.open_own()

    def synchronous():
        with spool._database.reading() as connection:
            return connection.execute("PRAGMA synchronous").fetchone()[0]

    for _ in range(2):
        ids = spool.append(rows(1, 2))
        assert synchronous() == 2
        spool.lease("batch", b"body", ids)
        assert synchronous() == 1
        spool.forget(ids)
        assert (synchronous(), spool.events) == (1, 0)
        for path in (tmp_path / "spool").iterdir():
            path.unlink()
        directory.restore(spool)
        assert synchronous() == 2
    spool.close()
