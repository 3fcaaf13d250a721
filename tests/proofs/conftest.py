"""An endpoint in a process of its own, applications that send to it, and the fixture that records what was measured."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from bare_environment import bare_environment
from proof_endpoint import await_names
from proof_record import PROPERTY, Measured

from otel_rum_exporter.testing import LocalRum

PATIENCE_S = 120  # besides what a process is asked to do: far more than it takes
APP = Path(__file__).with_name("proof_app.py")


@pytest.fixture
def proof(request):
    """Records a row of the table."""

    def record(line, what, *, target, measured, is_met):
        row = Measured(line, what, target, measured, is_met)
        # as `record_property` does, which warns where pytest's default format of reports is used
        request.node.user_properties.append((PROPERTY, row.as_text()))

    return record


@pytest.fixture
def rum():
    """An endpoint that verifies signatures."""
    with LocalRum() as rum:
        yield rum


@pytest.fixture
def black_hole():
    """The URL of a port where the kernel takes connections and nobody reads them."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def start(rum):
    """Starts applications, see `proof_app`; a script instead runs with its names imported."""

    @contextmanager
    def starting(work=None, *, script=None, **environment):
        command = [str(APP), json.dumps(work)] if script is None else ["-c", f"from proof_app import *\n{script}"]
        given = {**rum.environment(), "OTEL_EXPORTER_RUM_DOMAIN": "shop.example", **environment}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [sys.executable, *command], env=bare_environment(**given), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return starting


@pytest.fixture
def run(start):
    """Runs an application to its end; returns what it printed, and its errors."""

    def running(work=None, *, patience_s=PATIENCE_S, **more):
        with start(work, **more) as process:
            output, errors = process.communicate(timeout=patience_s)
        assert process.returncode == 0, errors
        return output, errors

    return running


@pytest.fixture
def inherit(start, rum):
    """Runs an application that sends what others left, until all of these names have arrived; returns what it printed."""

    def inheriting(names, options):
        work = {"name": "heir", "number": 1, "each": 1, "is_heir": True, "flush_s": 60, "options": options}
        with start(work) as process:
            await_names(rum, names, PATIENCE_S)
            output, errors = process.communicate("\n", timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        return output

    return inheriting
