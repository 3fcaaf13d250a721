"""What tests of the spool share: a clock, rows, forked children, a small disk."""

import os
import traceback
import warnings

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
