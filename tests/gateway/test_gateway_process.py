"""The command as people run it: real processes, real signals, and what is on disk when one is killed."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bare_environment import bare_environment
from gateway_requests import JSON, WAIT_S, Client, exporter_table, spans
from gateway_tables import MONITOR, NO_RATES
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from small_disk import small_disk

from otel_rum_exporter.commands.serve_gateway import greeting
from otel_rum_exporter.gateway.server import Addresses
from otel_rum_exporter.gateway.settings_file import load
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.testing import CREDENTIALS, LocalRum

PROGRAM = str(Path(sys.executable).with_name("otel-rum-exporter"))
FREE_PORTS = ("--port", "0", "--operations-port", "0")

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


class Process:
    """A gateway in a process of its own."""

    def __init__(self, *arguments, program=(PROGRAM,), **variables):
        self.popen = subprocess.Popen(
            [*program, "gateway", *FREE_PORTS, *map(str, arguments)],
            env=bare_environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        greeting = "".join(self.popen.stdout.readline() for _ in range(4))
        found = re.search(r"at (https?://\S+) .* (http://\S+)/healthz", greeting, re.DOTALL)
        if found is None:
            self.popen.kill()
            pytest.fail(greeting + self.end())
        self.url, self.operations_url = found.groups()

    def client(self):
        return contextlib.closing(Client(self.url))

    def operations(self, path):
        with contextlib.closing(Client(self.operations_url)) as client:
            return client.get(path)

    def signal(self, number):
        self.popen.send_signal(number)

    def end(self):
        """Wait for the end; return what was logged."""
        return self.popen.communicate(timeout=WAIT_S)[1]


@pytest.fixture
def processes():
    """Runs gateways; those that are left are killed."""
    made = []

    def make(*arguments, **options):
        made.append(Process(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.popen.kill()
        each.end()


@pytest.fixture
def configured(processes, rum, tmp_path):
    """Runs a gateway with a configuration file that sends to the endpoint."""

    def make(more="", **options):
        path = tmp_path / "gateway.toml"
        path.write_text(more + NO_RATES + exporter_table(rum, tmp_path))
        return processes("--config", path, **options)

    return make


def run(*arguments, **variables):
    """Run the command to its end; return exit code, output, errors."""
    command = [PROGRAM, "gateway", *map(str, arguments)]
    done = subprocess.run(
        command,
        env=bare_environment(**{"AWS_REGION": "eu-central-1", **variables}),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def spooled(folder):
    """Return how many events a spool holds."""
    directory = SpoolDirectory(folder)
    opened = [directory.open_beside(path) for path in directory.files()]
    number = sum(each.events for each in opened)
    for each in opened:
        each.close()
    return number


# the way in


def test_the_flags_are_enough(processes, tmp_path):
    """Without a file: the app monitor's id, a region, credentials; OpenTelemetry's own exporters send to it."""
    with LocalRum(separate_process=False) as rum:
        variables = {"AWS_ACCESS_KEY_ID": CREDENTIALS[0], "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1]}
        gateway = processes(
            *("--endpoint", rum.endpoint, "--region", "us-east-1", "--app-monitor-id", MONITOR),
            *("--spool-dir", tmp_path / "spool"),
            **variables,
        )
        exporter = OTLPSpanExporter(f"{gateway.url}/v1/traces", compression=Compression.Gzip, timeout=WAIT_S)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("test")
        for _ in range(100):
            tracer.start_span("work", attributes={"session.id": "s-1"}).end()
        provider.shutdown()
        gateway.signal(signal.SIGTERM)
        assert "ERROR" not in gateway.end()
        assert len(rum.wait_for_events(100)) == 100


def test_the_first_request_of_the_documents(configured, rum):
    """What docs/gateway.md posts by curl is taken, and becomes the event that it names."""
    text = (Path(__file__).resolve().parents[2] / "docs/gateway.md").read_text()
    body = re.search(r"<<END\n(.*?)END\n", text, re.DOTALL)[1].replace("$(date +%s)", str(int(time.time())))
    with configured().client() as client:
        answer = client.post(body.encode(), content_type=JSON)
        assert (answer.status, answer.body) == (200, b"{}")
    assert "com.amazon.rum.http_event" in [each["type"] for each in rum.wait_for_events(1)]


def test_empty_exports_of_the_sdk(configured):
    """Exporters that have nothing to say are answered with success, as both kinds are."""
    gateway = configured()
    assert OTLPSpanExporter(f"{gateway.url}/v1/traces").export([]) is SpanExportResult.SUCCESS
    assert OTLPLogExporter(f"{gateway.url}/v1/logs").export([]) is LogRecordExportResult.SUCCESS


def test_check(tmp_path):
    """--check shows what would be used and starts nothing."""
    code, output, _ = run("--check", "--spool-dir", tmp_path / "spool", OTEL_EXPORTER_RUM_APP_MONITOR_ID=MONITOR)
    assert code == 0
    assert f"app_monitor_id = {MONITOR}  # OTEL_EXPORTER_RUM_APP_MONITOR_ID\n" in output
    assert f"spool_dir = {tmp_path / 'spool'}  # command line\n" in output
    assert not (tmp_path / "spool").exists()


def test_a_misspelt_variable_is_named():
    """It is no error, since nothing says that it was meant for this package."""
    code, _, errors = run("--check", "--no-spool", "--app-monitor-id", MONITOR, OTEL_EXPORTER_RUM_MAXAGE="1")
    assert code == 0
    assert errors.startswith("Warning: The variable OTEL_EXPORTER_RUM_MAXAGE is ignored: no such option")


def test_a_misspelt_variable_may_be_what_is_missing():
    """It is named beside what is missing."""
    code, _, errors = run("--no-spool", AWS_REGION="", OTEL_EXPORTER_RUM_REGOIN="eu-central-1")
    assert code == 2
    assert "The variable OTEL_EXPORTER_RUM_REGOIN is ignored: no such option, did you mean region?" in errors


def test_a_misspelt_variable_is_logged(configured):
    """As a line like the others, for whoever reads them."""
    gateway = configured(OTEL_EXPORTER_RUM_MAXAGE="1")
    gateway.signal(signal.SIGTERM)
    (said,) = [line for line in gateway.end().splitlines() if "level=warning" in line]
    assert 'message="The variable OTEL_EXPORTER_RUM_MAXAGE is ignored: no such option, did you mean max_age?"' in said


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_a_region_is_needed(check):
    """Without a region and without an endpoint nothing could be sent, and nothing is started."""
    code, _, errors = run(*check, "--no-spool", "--app-monitor-id", MONITOR, AWS_REGION="")
    assert code == 2
    assert "region (OTEL_EXPORTER_RUM_REGION): an AWS region is needed" in errors


@pytest.mark.parametrize(
    ("text", "endpoint", "has_token"),
    [
        ("", "http://127.0.0.1:1", False),
        ("[gateway]\nhost = '0.0.0.0'\nallow_anonymous = true\n", "http://127.0.0.1:1", False),
        ("[gateway]\nhost = '::'\n[[tokens]]\ntoken = 'server-token-0123456789'\n", "http://[::1]:1", True),
    ],
)
def test_what_is_printed_can_be_copied(tmp_path, text, endpoint, has_token):
    """The variables that are printed make an SDK send here: with the protocol, to an address that can be reached."""
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    settings = load({}, {"OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR, "AWS_REGION": "eu-central-1"}, path)
    host = settings.gateway.host
    url = f"http://[{host}]:1" if ":" in host else f"http://{host}:1"
    lines = greeting(settings, Addresses(url, "http://127.0.0.1:2")).splitlines()
    assert f"  export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}" in lines
    assert "  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in lines
    assert has_token == any("OTEL_EXPORTER_OTLP_HEADERS=x-api-key=" in line for line in lines)
    assert ("name of this machine" in "\n".join(lines)) == (host != "127.0.0.1")


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_what_is_wrong_is_said_at_once(check):
    """All problems of a configuration in one go, with exit code 2."""
    code, output, errors = run(*check, "--host", "0.0.0.0", "--port", "-1", "--log-format", "xml")  # noqa: S104 - it refuses
    assert (code, output) == (2, "")
    assert [line.split()[0] for line in errors.splitlines()] == [
        "The", "gateway.port:", "gateway.log_format:", "app_monitor_id", "gateway.host:",
    ]  # fmt: skip


def test_a_spool_that_cannot_be_used(tmp_path):
    """Where events cannot be kept the gateway does not start: its 200 would promise too much."""
    (tmp_path / "file").write_text("")
    code, _, errors = run("--spool-dir", tmp_path / "file" / "spool", "--app-monitor-id", MONITOR)
    assert code == 2
    assert errors.startswith("The spool is not usable")


def test_a_spool_that_cannot_be_written_to(tmp_path):
    """Likewise where a directory is there and takes no file."""
    with small_disk(tmp_path / "disk", "1m,mode=700,ro") as disk:
        code, _, errors = run("--spool-dir", disk, "--app-monitor-id", MONITOR, *FREE_PORTS)
    assert code == 2
    assert errors.startswith("The spool is not usable")
    assert errors.endswith(f"the spool directory {disk} cannot be written to\n")


@pytest.mark.parametrize(
    ("taken_port", "other_port"), [("--port", "--operations-port"), ("--operations-port", "--port")]
)
def test_an_address_that_is_in_use(tmp_path, taken_port, other_port):
    """One line says which one, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = run(taken_port, port, other_port, 0, "--app-monitor-id", MONITOR, "--spool-dir", tmp_path)
    assert code == 1
    assert re.fullmatch(rf"Error: cannot listen on 127.0.0.1:{port}: .*; --port and .* take free ones\n", errors)


def test_warnings_where_others_reach_it(configured):
    """Beyond this machine without TLS and tokens is allowed when it is asked for, and warned of."""
    gateway = configured('[gateway]\nhost = "0.0.0.0"\nallow_anonymous = true\n')
    gateway.popen.terminate()
    errors = gateway.end()
    assert "travel in the clear" in errors
    assert "Anybody who reaches 0.0.0.0 can send telemetry" in errors


def test_a_log_for_machines(rum, tmp_path):
    """With log_format json all that is written is JSON, from the addresses on to what became of the events."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        "[gateway]\nhost = '0.0.0.0'\nallow_anonymous = true\nlog_format = 'json'\n" + exporter_table(rum, tmp_path)
    )
    command = [PROGRAM, "gateway", *FREE_PORTS, "--config", str(path)]
    with subprocess.Popen(
        command, env=bare_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        lines = []
        while not lines or lines[-1]["message"] != "Listening":
            lines.append(json.loads(popen.stderr.readline()))
        with contextlib.closing(Client(lines[-1]["url"])) as client:
            assert client.post(spans(3)).status == 200
        popen.terminate()
        output, errors = popen.communicate(timeout=WAIT_S)
    lines += map(json.loads, errors.splitlines())
    assert output == ""
    assert [each["level"] for each in lines[:3]] == ["warning", "warning", "info"]
    assert (lines[3]["message"], lines[-1]["message"]) == ("About to stop", "Stopped")
    said = {name: lines[-1][name] for name in ("accepted", "delivered", "dead_lettered", "dropped", "queued")}
    assert said["accepted"] == sum(number for name, number in said.items() if name != "accepted") == 3


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is Linux's")
def test_systemd_is_told(configured, tmp_path):
    """A service of Type=notify counts as started when the gateway listens, and not before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(WAIT_S)
        gateway = configured(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notified.recv(100) == b"READY=1"
        assert gateway.operations("/readyz").status == 200


# TLS


@pytest.fixture
def certificate(tmp_path):
    """The files of a certificate for this machine, and of its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    names = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gateway"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(names[0]), "-keyout", str(names[1])]
    subprocess.run(command, check=True, capture_output=True)
    return names


def test_tls(configured, certificate):
    """With a certificate requests come by https, and no longer in the clear."""
    gateway = configured(f"[gateway]\ntls_certificate = '{certificate[0]}'\ntls_key = '{certificate[1]}'\n")
    address = urlsplit(gateway.url)
    assert address.scheme == "https"
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=WAIT_S, context=trusting)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/traces", spans(), {"content-type": "application/x-protobuf"})
        assert connection.getresponse().status == 200


def test_a_certificate_that_cannot_be_used(tmp_path):
    """A certificate that is not there is one line, before anything listens."""
    path = tmp_path / "gateway.toml"
    path.write_text("[gateway]\ntls_certificate = 'nowhere.pem'\ntls_key = 'nowhere.pem'\n")
    code, _, errors = run("--config", path, "--app-monitor-id", MONITOR, "--no-spool")
    assert (code, len(errors.splitlines())) == (2, 2)
    assert "nowhere.pem" in errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rsa -aes256 -passout pass:secret -in {key} -out {bad}", "the key is encrypted"),
        ("genrsa -out {bad} 2048", "the key is not the certificate's"),
        ("x509 -in {certificate} -out {bad}", "not a certificate, or not a private key, in PEM"),
    ],
    ids=["encrypted", "another one's", "no key"],
)
def test_a_key_that_cannot_be_used(tmp_path, certificate, change, said):
    """It is said in words, and nobody is asked for a passphrase."""
    names = {"certificate": certificate[0], "key": certificate[1], "bad": tmp_path / "bad.pem"}
    command = [shutil.which("openssl"), *(part.format(**names) for part in change.split())]
    subprocess.run(command, check=True, capture_output=True)
    path = tmp_path / "gateway.toml"
    path.write_text(f"[gateway]\ntls_certificate = '{certificate[0]}'\ntls_key = '{names['bad']}'\n")
    code, _, errors = run("--config", path, "--app-monitor-id", MONITOR, "--no-spool")
    assert (code, errors) == (
        2, f"The TLS certificate is not usable:\n  {certificate[0]}, {names['bad']}: {said}\n",
    )  # fmt: skip


# on disk


def test_a_full_disk(processes, rum, tmp_path):
    """On a full disk nothing is acknowledged that is not kept; all that was is delivered, and then more is taken."""
    rum.set_faults(status=503)
    with small_disk(tmp_path / "disk", "12m") as disk:
        path = tmp_path / "gateway.toml"
        # the reserve that a disk of a usual size leaves free would take all of this one
        path.write_text(NO_RATES + exporter_table(rum, disk) + f"spool_reserve_bytes = {4 * 1024 * 1024}\n")
        gateway = processes("--config", path)
        try:
            _fill_and_drain(gateway, rum)
        finally:
            gateway.popen.kill()
            gateway.end()


def _fill_and_drain(gateway, rum):
    with gateway.client() as client:
        statuses = []
        while 503 not in statuses:
            statuses.append(client.post(spans(50, session=f"s-{len(statuses)}")).status)
        answer = client.post(spans(50))
        assert answer.status == 503
        assert answer.status_message in {"events cannot be kept at present", "the queue is full"}
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        assert b"events cannot be kept at present\n" in gateway.operations("/readyz").body
        rum.clear_faults()
        taken = 50 * statuses.count(200)
        assert taken > 1000
        rum.wait_for_events(taken, timeout_s=120)
    with gateway.client() as client:  # the other one may have rested for too long
        while client.post(spans()).status != 200:
            pass
        again = [client.post(spans(50, session=f"s-{number}")).status for number in range(20)]
        assert again == [200] * 20


@needs_signals
def test_what_was_answered_is_on_disk(configured, rum, tmp_path):
    """A gateway that is killed right after its 200 has lost nothing: the next one delivers it without being asked."""
    rum.set_faults(status=503)
    gateway = configured()
    with gateway.client() as client:
        assert [client.post(spans(10, session=f"s-{each}")).status for each in range(10)] == [200] * 10
    gateway.signal(signal.SIGKILL)
    gateway.end()
    assert spooled(tmp_path / "spool") == 100
    rum.clear_faults()
    configured()
    assert len(rum.wait_for_events(100)) == 100


# signals


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_in_order(configured, number):
    """What is on its way when the signal comes is answered, nothing more is taken, and the exit code is 0."""
    gateway = configured()
    body = spans(3)
    with gateway.client() as client, client.raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(f"content-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n".encode())
        assert raw.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is being read
        gateway.signal(number)
        while _accepts(client):
            pass
        raw.sendall(body)
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert "level=error" not in gateway.end()
    assert gateway.popen.returncode == 0


def _accepts(client):
    try:
        client.raw().close()
    except OSError:
        return False
    return True


@needs_signals
def test_a_sender_that_does_not_end_does_not_hold_up_the_end(configured, rum, tmp_path):
    """A body that never ends and an endpoint that never answers: the gateway stops all the same, with its events kept.

    The sender of that body is told to come back, in its own encoding: OpenTelemetry's exporters drop what gets a 500.
    """
    rum.set_faults(hang=True)
    gateway = configured("[gateway]\ndrain_timeout = 2000\n")
    with gateway.client() as client, client.raw() as raw:
        assert client.post(spans(5)).status == 200
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 100\r\n\r\nx")
        gateway.signal(signal.SIGTERM)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.headers["content-type"]) == (503, "application/x-protobuf")
        assert (answer.headers["connection"], 1 <= int(answer.headers["retry-after"]) <= 5) == ("close", True)
        assert Status.FromString(answer.read()).message == "the gateway is about to stop"
        assert "level=error" not in gateway.end()
    assert gateway.popen.returncode == 0
    assert spooled(tmp_path / "spool") == 5


@needs_signals
def test_not_ready_while_it_ends(configured):
    """While a gateway answers what it has begun, /readyz sends others elsewhere, and /healthz says that it is alive."""
    gateway = configured()
    with gateway.client() as client, client.raw() as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/x-protobuf\r\n")
        raw.sendall(b"content-length: 1\r\nexpect: 100-continue\r\n\r\n")
        assert raw.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        gateway.signal(signal.SIGTERM)
        while (answer := gateway.operations("/readyz")).status == 200:
            pass
        assert (answer.status, answer.body) == (503, b"the gateway is about to stop\n")
        assert gateway.operations("/healthz").status == 200


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_sighup(configured, tmp_path):
    """SIGHUP reads tokens anew, and the log says what was read."""
    old, new = "old-token-0123456789", "new-token-0123456789"
    gateway = configured(f'[[tokens]]\ntoken = "{old}"\n')
    path = tmp_path / "gateway.toml"
    path.write_text(path.read_text().replace(old, new))
    with gateway.client() as client:
        assert [client.post(spans(), x_api_key=each).status for each in (old, new)] == [200, 401]
        gateway.signal(signal.SIGHUP)
        while client.post(spans(), x_api_key=new).status == 401:
            pass
        assert [client.post(spans(), x_api_key=each).status for each in (old, new)] == [401, 200]
    gateway.signal(signal.SIGTERM)
    errors = gateway.end()
    assert 'message="Read anew: 1 tokens, 0 app monitors"' in errors
    assert not [each for each in (old, new) if each in errors]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
def test_sighup_before_the_gateway_is_there(configured):
    """A signal that comes while the program is still being read in is not its end, and not lost."""
    script = """
import os, signal, sys
class Early:
    def find_spec(self, name, *_):
        if name in ("otel_rum_exporter.commands", "otel_rum_exporter.gateway.server"):
            os.kill(os.getpid(), signal.SIGHUP)
sys.meta_path.insert(0, Early())
from otel_rum_exporter.cli import main
main()
"""
    gateway = configured(program=(sys.executable, "-c", script))
    with gateway.client() as client:
        assert client.post(spans()).status == 200
    gateway.signal(signal.SIGTERM)
    assert 'message="Read anew: 0 tokens, 0 app monitors"' in gateway.end()


# without the compiled parts


def test_without_httptools_and_uvloop(configured):
    """Where they are not installed the gateway is slower, and has the same limits."""
    script = "import sys; sys.modules |= {'httptools': None, 'uvloop': None}; "
    script += "from otel_rum_exporter.cli import main; main()"
    gateway = configured("[gateway]\nheader_timeout = 200\n", program=(sys.executable, "-c", script))
    with gateway.client() as client:
        assert [client.post(spans()).status for _ in range(3)] == [200] * 3
        for first in (b"POST /v1", b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\nPOST /v1"):
            with client.raw() as raw:
                raw.sendall(first)
                answer = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))
                assert answer.startswith(b"HTTP/1.1 415 " if b"length" in first else b"HTTP/1.1 408 ")


def test_many_at_once(configured, rum):
    """Requests of many connections are all answered, and every event of a 200 arrives."""
    gateway = configured()
    statuses = []

    def send(number):
        with gateway.client() as client:
            statuses.extend(client.post(spans(5, session=f"s-{number}")).status for _ in range(10))

    threads = [threading.Thread(target=send, args=[number]) for number in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert statuses == [200] * 200
    assert len(rum.wait_for_events(1000, timeout_s=120)) == 1000
