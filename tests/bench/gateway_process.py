"""The gateway in a process of its own, with its limits by time out of the way, and what can be seen of it from outside."""

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from candidates import DOMAIN
from spans import APP_MONITOR_ID

_CONFIGURATION = """\
[gateway]
port = 0
operations_port = 0

[limits]
client_requests_per_second = 0
client_records_per_second = 0
token_requests_per_second = 0
token_records_per_second = 0
session_records_per_minute = 0

[exporter]
endpoint = "{endpoint}"
app_monitor_id = "{monitor}"
domain = "{domain}"
max_requests_per_second = 10000
spool_dir = "{spool}"
"""
_GREETING_LINES = 4
_STOP_S = 30
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class Seen(NamedTuple):
    """What a gateway has done so far. Units: seconds of the clock and of CPU time, bytes of memory."""

    at: float
    cpu_s: float
    loop_cpu_s: float  # of the thread of the event loop
    rss_bytes: int
    records: float
    converted: float
    delivered: float
    queued: float
    dropped: float
    requests: float


class GatewayProcess:
    """A gateway."""

    def __init__(self, process: subprocess.Popen[str], greeting: str) -> None:
        found = re.search(r"at http://\S+:(\d+) .* http://(\S+)/healthz", greeting, re.DOTALL)
        if found is None:
            raise RuntimeError(f"the gateway did not start: {greeting}")
        self._process = process
        self.port, self._operations = int(found[1]), found[2]

    def seen(self) -> Seen:
        """Look at it."""
        metrics = self._metrics()
        return Seen(
            at=time.perf_counter(),
            cpu_s=self._cpu_s(""),
            loop_cpu_s=self._cpu_s(f"task/{self._process.pid}/"),
            rss_bytes=1024 * self._status("VmRSS"),
            records=metrics.get("rum_gateway_records_total", 0.0),
            converted=metrics.get("rum_exporter_item_converted_total", 0.0),
            delivered=metrics.get("rum_exporter_event_delivered_total", 0.0),
            queued=metrics.get("rum_exporter_event_queued", 0.0),
            dropped=metrics.get("rum_exporter_event_dropped_total", 0.0)
            + metrics.get("rum_exporter_item_dropped_total", 0.0),
            requests=metrics.get("rum_exporter_request_sent_total", 0.0),
        )

    def peak_bytes(self) -> int:
        """Return the most memory that was resident."""
        return 1024 * self._status("VmHWM")

    def _metrics(self) -> dict[str, float]:
        """Return the sum of each metric over its labels."""
        connection = http.client.HTTPConnection(self._operations, timeout=_STOP_S)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        sums: dict[str, float] = {}
        for line in lines:
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def _cpu_s(self, thread: str) -> float:
        fields = Path(f"/proc/{self._process.pid}/{thread}stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime, proc(5)

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)[1])


@contextmanager
def gateway_before(endpoint: str, folder: Path) -> Iterator[GatewayProcess]:
    """Run a gateway that sends to an endpoint, with its spool in a folder; it has to end in order."""
    path = folder / "gateway.toml"
    path.write_text(
        _CONFIGURATION.format(endpoint=endpoint, monitor=APP_MONITOR_ID, domain=DOMAIN, spool=folder / "spool"),
        encoding="utf-8",
    )
    program = [sys.executable, "-c", "from otel_rum_exporter.cli import main; main()"]
    process = subprocess.Popen([*program, "gateway", "--config", str(path)], stdout=subprocess.PIPE, text=True)
    try:
        yield GatewayProcess(process, "".join(process.stdout.readline() for _ in range(_GREETING_LINES)))
    finally:
        process.terminate()
        process.communicate(timeout=_STOP_S)
