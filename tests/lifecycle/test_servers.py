"""Servers that fork their workers after the exporter was used: every worker delivers, and nothing is mixed up."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lifecycle_processes import PATIENCE_S

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

WORKERS, EACH, ROUNDS = 4, 50, 5

UWSGI = Path(sys.executable).parent / "uwsgi"


class _Local(http.client.HTTPConnection):
    """A connection to a Unix socket, which needs no port."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


def get(path):
    with contextlib.closing(_Local(path)) as connection:
        connection.request("GET", "/")
        return int(connection.getresponse().read())


@pytest.fixture
def socket_path(tmp_path):
    return tmp_path / "s"


def requests(path):
    """Send 50 requests for each of four workers, eight at a time. Returns how many each process took.

    Another such round follows where one worker took all of them, as an operating system under load lets it.
    """
    served = Counter()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(ROUNDS):
            served += Counter(pool.map(get, [path] * WORKERS * EACH))
            if len(served) > 1:
                break
    return served


def expected(served):
    return sorted(f"{worker}-{number}" for worker, count in served.items() for number in range(1, count + 1))


def check(conserved, served, run):
    """Each request's event arrived once, from the process that took it."""
    *of_workers, of_master = conserved.names()
    assert of_workers == expected(served), run
    assert of_master.startswith("of the master"), run
    conserved.check()
    conserved.begin_anew()


@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.nightly)])
def test_gunicorn_with_preload(applications, conserved, socket_path, runs):
    """The master's connection is used when it forks: no worker sends on it, and the master's own event stays its."""
    program = [sys.executable, "-m", "gunicorn", "-c", "python:lifecycle_gunicorn", "lifecycle_web:application"]
    for run in range(runs):
        with applications.start("", program=program, SOCKET=str(socket_path), HOME=str(socket_path.parent)) as server:
            assert server.read() == "ready", server.end()
            served = requests(socket_path)
            server.signal(signal.SIGTERM)
            code, _, errors = server.end()
        assert code == 0, errors
        check(conserved, served, run)


@pytest.mark.skipif(not UWSGI.exists(), reason="uWSGI is not installed")
@pytest.mark.parametrize("runs", [2, pytest.param(20, marks=pytest.mark.nightly)])
def test_uwsgi(applications, conserved, socket_path, runs):
    """Each worker's events arrive as they are due.

    `py-call-osafterfork` makes uWSGI tell
    Python of its forks: without it, workers of a master that had threads hang now and then, before they have called any
    Python. Its workers do not always end as Python's exit handlers would need it, and so they are killed: what can be
    looked at is what arrived.
    """
    for_python = ["--enable-threads", "--py-call-osafterfork"]
    options = ["--master", "--processes", str(WORKERS), *for_python, "--no-orphans", "--need-app"]
    program = [str(UWSGI), *options, "--http-socket", str(socket_path), "--module", "lifecycle_web"]
    for run in range(runs):
        conserved.is_unreported = True
        with applications.start("", program=program) as server:
            while f"spawned uWSGI worker {WORKERS}" not in (line := server.process.stderr.readline()):
                assert line, server.end()
            served = requests(socket_path)
            conserved.rum.wait_for_events(sum(served.values()) + 1)
        check(conserved, served, run)


def has_threads_anyway():
    """Whether uWSGI has threads without being asked: then `enable-threads` is a stub."""
    if not UWSGI.exists():
        return False
    options = subprocess.run([str(UWSGI), "--help"], capture_output=True, text=True, check=False).stdout
    return any("enable-threads" in line and "stub" in line for line in options.splitlines())


@pytest.mark.skipif(not UWSGI.exists(), reason="uWSGI is not installed")
@pytest.mark.skipif(has_threads_anyway(), reason="this uWSGI always has threads")
def test_uwsgi_without_threads(applications, conserved, socket_path):
    """Where no thread would run, a request sends what is due by then, and the log says what to set."""
    options = ["--master", "--processes", str(WORKERS), "--no-orphans", "--need-app", "--disable-logging"]
    program = [str(UWSGI), *options, "--http-socket", str(socket_path), "--module", "lifecycle_web"]
    conserved.is_unreported = True
    with applications.start("", program=program) as server:
        said = []
        while not said or f"spawned uWSGI worker {WORKERS}" not in said[-1]:
            said.append(server.process.stderr.readline())
            assert said[-1], server.end()
        assert any("threads support is disabled" in line for line in said), said
        served = requests(socket_path)
        wanted, deadline = set(expected(served)), time.monotonic() + PATIENCE_S
        while not wanted <= set(conserved.names()) and time.monotonic() < deadline:
            served += Counter([get(socket_path)])  # what a worker has left goes with its next request
    assert wanted <= set(conserved.names()) <= {*expected(served), *filter(is_of_master, conserved.names())}
    assert sum("Set enable-threads = true" in line for line in said) == 1
    assert all(conserved.rum.stats()[each] == 0 for each in ("events_duplicate", "events_changed"))


def is_of_master(name):
    return name.startswith("of the master")


PUBLISH = """
    from lifecycle_celery import sell
    for number in range(40):
        sell.delay(number)
"""


def test_celery_prefork(applications, conserved, rum, tmp_path):
    """Tasks in forked workers deliver their own events; the parent's connection was used before."""
    folder = tmp_path / "broker"
    folder.mkdir()
    applications.run(PUBLISH, BROKER=str(folder))
    options = ["--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    program = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "lifecycle_celery", "worker", *options, *quiet]
    with applications.start("", program=program, BROKER=str(folder)) as worker:
        rum.wait_for_events(41)
        worker.signal(signal.SIGTERM)
        code, _, errors = worker.end()
    assert code == 0, errors
    assert conserved.names() == [*(f"{number:03}" for number in range(40)), "of the parent"]
