"""What tests of the spool share: a clock, rows, forked children, a small disk."""

import contextlib
import os
import shutil
import subprocess
import traceback
import warnings

import pytest

from otel_rum_exporter.spool.queue import NewRow

SESSION = "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11"


class Clock:
    """Epoch seconds."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now

    @property
    def ms(self):
        return int(self.now * 1000)


def row(event=b"{}", admitted_ms=0, session=SESSION):
    return NewRow(session, b"key", event, admitted_ms)


def rows(*numbers):
    return [row(b"%d" % number, number) for number in numbers]


def everything(spool):
    """All rows that wait, page by page."""
    found = []
    while some := spool.load(found[-1].id if found else 0, 50):
        found += some
    return found


def all_letters(spool):
    found = []
    while some := spool.letters(found[-1].id if found else 0, 50):
        found += some
    return found


def in_child(action):
    """Run a function in a forked child, and return how that ended as `os.waitpid` says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside pytest-xdist's threads
        child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing of a child may return into the tests
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@contextlib.contextmanager
def small_disk(path, size):
    """A file system of its own; skips the test where none can be mounted."""
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run([shutil.which("umount"), str(path)], check=True)
