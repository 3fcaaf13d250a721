"""Applications in processes of their own: what they run with, how they are started, talked to and waited for."""

import subprocess
import sys
import textwrap
from contextlib import contextmanager

from bare_environment import bare_environment

PATIENCE_S = 60  # far more than any of them takes


class Application:
    """A process that is talked to by lines."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid

    def read(self):
        """Return the next line that it prints; empty at its end."""
        return self.process.stdout.readline().strip()

    def write(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, patience_s=PATIENCE_S):
        """Wait for its end. Returns its exit code, what else it printed, and its errors."""
        output, errors = self.process.communicate(timeout=patience_s)
        return self.process.returncode, output, errors


class Applications:
    """Runs scripts and programs against an endpoint; their statistics go to a folder, see `reporting`."""

    def __init__(self, environment):
        self._environment = environment

    @contextmanager
    def start(self, script, *arguments, program=None, **environment):
        """Start a script, or a program with arguments; it is killed at the end, if it goes on until then."""
        command = program or [sys.executable, "-c", textwrap.dedent(script)]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*command, *arguments],
            env={**self._environment, **environment},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        ) as process:
            try:
                yield Application(process)
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, script, *arguments, check=True, patience_s=PATIENCE_S, **environment):
        """Run a script to its end. Returns its exit code, what it printed, and its errors."""
        with self.start(script, *arguments, **environment) as application:
            code, output, errors = application.end(patience_s)
        assert code == 0 or not check, f"exit code {code}: {errors}"
        return code, output, errors


def environment_for(rum, folder):
    """Return the environment of applications that send to an endpoint."""
    more = {"RUM_REPORTS": str(folder), "OTEL_EXPORTER_RUM_DOMAIN": "shop.example"}
    return bare_environment(**rum.environment(), **more)
