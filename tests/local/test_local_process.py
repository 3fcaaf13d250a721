"""The endpoint as a process, and the public testing module around it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from rum_samples import MONITOR, event, post, request

from otel_rum_exporter.testing import LocalRum


def start(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_rum_exporter.local", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal(number):
    """One line with the URL when ready; a signal ends it cleanly, even with a request that hangs."""
    process, url = start("--credentials", "A:s", "--region", "eu-west-1", "--monitor", MONITOR, "--allow-unsigned")
    assert post(url, request()).status == 200
    hang = post(url, {"hang": True}, "/api/faults", {"content-type": "application/json"})
    assert hang.status == 200
    address = url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(b"POST /appmonitors/x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert post(url, b"", "/healthz", method="GET").status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_file_keeps_what_arrived(tmp_path):
    """With --db the events outlive the process."""
    path = str(tmp_path / "rum.db")
    for expected in (1, 2):
        with LocalRum(None, separate_process=False, db=path) as rum:
            post(rum.endpoint, request())
            assert rum.stats()["events_distinct"] == expected


def test_lenient_and_its_limits():
    """Options reach the endpoint."""
    process, url = start("--lenient", "--max-events", "1")
    assert post(url, request(event("[]"))).status == 200
    assert post(url, request(event(), event())).status == 400
    process.terminate()
    process.communicate(timeout=10)


def test_a_separate_process_is_steered_like_a_thread():
    """All of the testing module's methods work across processes; settings and credentials are passed on."""
    with LocalRum(max_events=2, allow_unsigned=True) as rum:
        assert post(rum.endpoint, request()).status == 200
        assert len(rum.wait_for_events(1)) == len(rum.events()) == len(rum.sessions()) == len(rum.requests()) == 1
        rum.set_faults(status=500)
        assert post(rum.endpoint, request()).status == 500
        rum.clear_faults()
        assert post(rum.endpoint, request(event(), event(), event())).status == 400
        rum.reset()
        assert rum.stats()["requests"] == 0
        with pytest.raises(ValueError, match="nonsense is unknown"):
            rum.set_faults(nonsense=1)
        address = rum.endpoint
    with pytest.raises(ConnectionRefusedError):
        post(address, request())


def test_the_process_ends_with_its_parent():
    """A test run that is killed leaves no endpoint behind."""
    code = """
import os, signal
from otel_rum_exporter.testing import LocalRum
rum = LocalRum().__enter__()
print(rum.endpoint, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    url = parent.stdout.strip()
    assert parent.returncode == -signal.SIGKILL
    assert _refuses_within(url, attempts=200)


def _refuses_within(url, attempts):
    pause = threading.Event()
    for _ in range(attempts):
        try:
            post(url, b"", "/healthz", method="GET")
        except ConnectionError:
            return True
        pause.wait(0.02)
    return False


def test_environment_configures_a_process_under_test():
    """A process that gets these variables knows endpoint, monitor, region and credentials."""
    with LocalRum(("A", "s", "t"), separate_process=False, region="eu-west-1") as rum:
        assert rum.environment(MONITOR) == {
            "OTEL_EXPORTER_RUM_ENDPOINT": rum.endpoint,
            "OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR,
            "OTEL_EXPORTER_RUM_REGION": "eu-west-1",
            "OTEL_EXPORTER_RUM_AUTH": "sigv4",
            "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_SESSION_TOKEN": "t",
        }
    with LocalRum(None, separate_process=False) as rum:
        assert rum.environment()["OTEL_EXPORTER_RUM_AUTH"] == "none"


def test_the_endpoint_is_not_configured_by_the_environment(monkeypatch):
    """OpenTelemetry's and AWS's variables of the test run do not reach the endpoint's process."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "nonsense")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/x/opentelemetry/instrumentation/auto_instrumentation", "/y"]))
    from otel_rum_exporter import testing  # noqa: PLC0415 - after the environment is set

    clean = testing._clean_environment()
    assert "OTEL_TRACES_EXPORTER" not in clean
    assert clean["PYTHONPATH"].endswith(os.pathsep + "/y")
    assert "auto_instrumentation" not in clean["PYTHONPATH"]


def test_a_port_in_use_is_an_error():
    """The command fails with the operating system's reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "otel_rum_exporter.local", "--port", port],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    assert ended.returncode != 0
    assert "in use" in ended.stderr
    assert json.dumps(ended.stdout) == '""'
