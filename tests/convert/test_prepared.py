"""Models that many threads read into: none is looked at by msgspec for the first time while another thread reads."""

import subprocess
import sys
from textwrap import dedent

import pytest

TOGETHER = """
    import sys, threading
    import msgspec
    from otel_rum_exporter.convert import conversion, http, usual_call

    def read():
        barrier.wait()
        for model in (conversion.Said, http._Call, usual_call._Told):
            for _ in range(20):
                msgspec.convert({"session.id": "x", "url.full": "y"}, model)

    sys.setswitchinterval(1e-6)
    barrier = threading.Barrier(16)
    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize("_", range(8))
def test_threads_that_read_for_the_first_time(_):
    """Every other process crashed when the models were not prepared."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(TOGETHER)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
