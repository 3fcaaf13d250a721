"""How much memory one candidate takes; run as a process of its own, prints JSON. Linux only.

python memory.py CANDIDATE URL SPANS
"""

import json
import logging
import re
import sys
from itertools import islice
from pathlib import Path

from candidates import CANDIDATES, EXPORT_SIZE, clean_environment
from spans import generate_spans, make_spans

PER_REQUEST = 100
_STATUS = Path("/proc/self/status")
_FLUSH_EVERY = 8192  # spans: most of the queue's 10,000 events, so that it fills and nothing is dropped


def is_measurable() -> bool:
    """Tell whether the system says how much memory a process has used at most."""
    return _STATUS.exists()


def _bytes(field: str) -> int:
    return 1024 * int(re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)[1])


def measure(name: str, url: str, count: int) -> dict[str, int]:
    """Send spans, and return resident bytes before the candidate is imported, when it is warm, and at the peak."""
    make_spans(EXPORT_SIZE, PER_REQUEST)
    before = _bytes("VmRSS")
    candidate = CANDIDATES[name](url)
    warm = _bytes("VmRSS")
    spans = generate_spans(count, PER_REQUEST)
    for part_start in range(0, count, _FLUSH_EVERY):
        part = islice(spans, min(_FLUSH_EVERY, count - part_start))
        while chunk := list(islice(part, candidate.export_size(PER_REQUEST))):
            candidate.export(chunk)
        candidate.flush()
    peak = _bytes("VmHWM")
    candidate.close()
    return {"before_bytes": before, "warm_bytes": warm, "peak_bytes": peak}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    clean_environment()
    sys.stdout.write(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
