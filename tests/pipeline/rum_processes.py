"""Runs scripts in processes of their own, plainly or under `opentelemetry-instrument`."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

TIMEOUT_S = 60  # far more than any of them takes

INSTRUMENT = Path(sys.executable).parent / "opentelemetry-instrument"


def run(script, *, by=(), check=True, **environment):
    """Run a script with only this in its environment, besides what Python needs."""
    done = subprocess.run(
        [*by, sys.executable, "-c", textwrap.dedent(script)],
        env={**_base(), **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


def _base():
    kept = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "VIRTUAL_ENV")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    # the packages as this process finds them, and no configuration of AWS's
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**base, "PYTHONPATH": paths, "AWS_EC2_METADATA_DISABLED": "true", "HOME": os.devnull}
