"""An endpoint in a process of its own, applications that send to it, and the fixture that records what was measured."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
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
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [sys.executable, *command], env={**_environment(rum), **environment}, stdout=pipe, stderr=pipe, text=True
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


def _environment(rum):
    kept = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "VIRTUAL_ENV", "TMPDIR")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {
        **base,
        **rum.environment(),
        # the packages as this process finds them, and no configuration of AWS's
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": os.devnull,
        "OTEL_EXPORTER_RUM_DOMAIN": "shop.example",
    }
