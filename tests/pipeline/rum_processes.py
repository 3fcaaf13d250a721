"""Runs scripts in processes of their own, plainly or under `opentelemetry-instrument`."""

import subprocess
import sys
import textwrap
from pathlib import Path

from bare_environment import bare_environment

TIMEOUT_S = 60  # far more than any of them takes

INSTRUMENT = Path(sys.executable).parent / "opentelemetry-instrument"


def run(script, *, by=(), check=True, **environment):
    """Run a script with only this in its environment, besides what Python needs."""
    done = subprocess.run(
        [*by, sys.executable, "-c", textwrap.dedent(script)],
        env=bare_environment(**environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done
