"""A gateway as the proofs run it: a process of its own that keeps its port through all its lives, seen from outside."""

import contextlib
import http.client
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from bare_environment import bare_environment
from gateway_tables import MONITOR

PATIENCE_S = 60  # far more than anything takes

_EXPORTER = """
[exporter]
auth = "none"
region = "us-east-1"
domain = "shop.example"
session_start = "off"
flush_interval = 200
endpoint = "{endpoint}"
spool_dir = "{spool}"
app_monitor_id = "{monitor}"
"""

_PROGRAM = str(Path(sys.executable).with_name("otel-rum-exporter"))
_GREETING_LINES = 4
_PAGE_BYTES = 4096
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def configuration(folder, endpoint, *, more=""):
    """Write a configuration file; it may be written anew at any time. Returns its path."""
    path = folder / "gateway.toml"
    exporter = _EXPORTER.format(endpoint=endpoint, spool=folder / "spool", monitor=MONITOR)
    path.write_text(more + exporter, encoding="utf-8")
    return path


@contextlib.contextmanager
def kept_ports(number=2):
    """Yield ports that nobody else gets meanwhile, whether or not somebody listens on them. Linux only."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in held:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in held]


class GatewayProcess:
    """A running gateway.

    Attributes:
        url: Where it listens.
        started_at: When it was started, in seconds since the epoch.
        log: The file with what it logged.
    """

    def __init__(self, config, ports):
        self.started_at = time.time()
        self.log = config.with_suffix(".log")
        command = [_PROGRAM, "gateway", "--config", config, "--port", ports[0], "--operations-port", ports[1]]
        with self.log.open("a", encoding="utf-8") as log:
            self._popen = subprocess.Popen(
                [str(each) for each in command],
                env=bare_environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        greeting = "".join(self._popen.stdout.readline() for _ in range(_GREETING_LINES))
        found = re.search(r"at (http://\S+) .* (http://\S+)/healthz", greeting, re.DOTALL)
        assert found, greeting + self.log.read_text(encoding="utf-8")
        self.url, self._operations_url = found.groups()

    @property
    def address(self):
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname, parts.port

    @property
    def is_alive(self):
        return self._popen.poll() is None

    def signal(self, number):
        self._popen.send_signal(number)

    def kill(self):
        """Kill it, and wait until it is gone."""
        self._popen.kill()
        self.end()

    def end(self):
        """Wait for its end. Returns the exit code."""
        self._popen.communicate(timeout=PATIENCE_S)
        return self._popen.returncode

    def operations(self, path):
        """Return status and text of a path of the operations listener."""
        parts = urlsplit(self._operations_url)
        with contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)) as asking:
            asking.request("GET", path)
            response = asking.getresponse()
            return response.status, response.read().decode()

    def metrics(self):
        """Return its metrics."""
        return Metrics(self.operations("/metrics")[1])

    def rss_mib(self):
        """Resident memory now."""
        return int(self._proc("statm").read_text().split()[1]) * _PAGE_BYTES / 2**20

    def begin_peak(self):
        """Let the peak of memory begin anew."""
        self._proc("clear_refs").write_text("5")

    def peak_mib(self):
        """The most resident memory since the peak began."""
        return int(re.search(r"VmHWM:\s+(\d+)", self._proc("status").read_text())[1]) / 1024

    def open_files(self):
        """How many files it has open."""
        return len(list(self._proc("fd").iterdir()))

    def _proc(self, name):
        return Path("/proc") / str(self._popen.pid) / name


class Metrics:
    """The metrics of one moment."""

    def __init__(self, text):
        self._samples = [(name, labels, float(value)) for name, labels, value in _SAMPLE.findall(text)]

    def sum(self, name, label=""):
        """The sum of a metric's samples, of those with this label if one is given."""
        return int(sum(value for each, labels, value in self._samples if each == name and label in labels))

    def event(self, what):
        """How many RUM events that happened to."""
        return self.sum(f"rum_exporter_event_{what}")

    @property
    def is_balanced(self):
        """Whether items, events and records all ended somewhere."""
        items = self.sum("rum_exporter_item_converted_total") + self.sum("rum_exporter_item_dropped_total")
        ended = sum(map(self.event, ("delivered_total", "dead_lettered_total", "dropped_total", "queued")))
        rejected = "rum_gateway_records_rejected_total"
        turned_away = self.sum(rejected, '"malformed"') + self.sum(rejected, '"session_limit"')
        received = self.sum("rum_exporter_item_received_total")
        return (
            received == items
            and self.event("accepted_total") == ended
            and self.sum("rum_gateway_records_total") - turned_away == received
        )
