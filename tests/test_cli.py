"""The command line as people use it: real processes, real pipes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter, otlp
from otel_rum_exporter.commands.convert_files import requests
from otel_rum_exporter.commands.serve_local import greeting
from otel_rum_exporter.local.settings import Settings
from otel_rum_exporter.testing import APP_MONITOR_ID, LocalRum

PROGRAM = str(Path(sys.executable).with_name("otel-rum-exporter"))
SAMPLES = Path(__file__).resolve().parent.parent / "otel_rum_exporter/demo/browser"
FILES = sorted(SAMPLES.glob("*.json"))
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound to it
SESSION = "6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11"


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "AWS_"))}
    return {**kept, "COLUMNS": "80", **variables}


def run(*arguments, stdin=b"", **variables):
    """Run the program; returns exit code, standard output, lines of standard error."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=environment(**variables),
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode().splitlines()


def convert(*arguments, stdin=b"", **variables):
    """Run `convert`; returns exit code, events, lines of standard error."""
    code, output, problems = run("convert", *arguments, stdin=stdin, **variables)
    return code, [json.loads(line) for line in output.splitlines()], problems


def attributes(**values):
    return [{"key": name.replace("_", "."), "value": {"stringValue": value}} for name, value in values.items()]


def log(name, **given):
    """One OTLP request with one named log event."""
    record = {"timeUnixNano": "1700000000123456789", "eventName": name, "attributes": attributes(**given)}
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}


def lines(*requests):
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


# help


def test_help_names_the_commands_and_the_way_in():
    code, output, _ = run("--help")
    assert code == 0
    assert "otel-rum-exporter demo" in output
    assert re.findall(r"^  (\w+) {2}", output, re.MULTILINE) == ["convert", "demo", "gateway", "local", "spool"]


@pytest.mark.parametrize("command", ["demo", "local", "gateway", "convert", "spool"])
def test_help_of_a_command_fits_a_terminal(command):
    code, output, _ = run(command, "--help")
    assert code == 0
    assert output.startswith(f"Usage: otel-rum-exporter {command} ")
    # the example's command line stays whole
    assert max(len(line) for line in output.splitlines() if " | jq " not in line) <= 80


def test_version():
    assert re.fullmatch(r"otel-rum-exporter, version \d+\.\d+\.\d+\n", run("--version")[1])


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("click", ["--help"], "server"),
        ("uvicorn", ["local"], "server"),
        ("rich", ["demo"], "server"),
        ("flask", ["demo"], "demo"),
    ],
)
def test_missing_extra_is_one_line_and_no_traceback(missing, arguments, extra):
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments}\n"
    code += "from otel_rum_exporter.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"otel-rum-exporter: {missing}")
    assert done.stderr.endswith(f"pip install 'otel-rum-exporter[{extra}]'\n")
    assert done.stderr.count("\n") == 1


# convert


@pytest.fixture(scope="module")
def endpoint():
    with LocalRum(credentials=None, separate_process=False) as rum:
        yield rum


def delivered(rum, *paths):
    """What the real pipeline delivers of the same files."""
    rum.reset()
    options = {"endpoint": rum.endpoint, "auth": "none", "region": "us-east-1", "session": "require"}
    spans, logs = (kind(app_monitor_id=APP_MONITOR_ID, **options) for kind in (RumSpanExporter, RumLogRecordExporter))
    for path in paths:
        items = otlp.items(path.read_bytes())
        spans.export([item for item in items if isinstance(item, otlp.Span)])
        logs.export([item for item in items if isinstance(item, otlp.Log)])
    assert spans.force_flush()
    spans.shutdown()
    logs.shutdown()
    return rum.events()


def comparable(events, session="sessionId", user="userId"):
    names = ("id", "type", "details", "metadata", session, user)
    # older botocore sends whole seconds
    found = ([int(event["timestamp"]), *(event[name] for name in names)] for event in events)
    return sorted(found, key=lambda values: values[1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_prints_what_the_pipeline_delivers(path, endpoint):
    """Each capture of a real browser: the same ids, details and metadata as over the wire."""
    code, events, _ = convert(path)
    assert code == 0
    assert comparable(events) == comparable(delivered(endpoint, path), "session_id", "user_id")


def test_several_files_are_one_visit(endpoint):
    code, events, problems = convert(*FILES)
    assert code == 0
    assert comparable(events) == comparable(delivered(endpoint, *FILES), "session_id", "user_id")
    assert all(re.fullmatch(r"\d+ (items?|events?) dropped: \w+", line) for line in problems)
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert {event["sessionId"] for event in events} == {"be2a8377-2cce-be7c-748f-40dfd3e5bc0b"}
    assert {e["metadata"]["pageId"] for e in events if e["type"].endswith("js_error_event")} == {"/cart"}


def test_golden_line():
    """One named log event, byte for byte: ids are derived from the content, so that they never change."""
    code, output, problems = run(
        "convert", "-", stdin=lines(log("cart.checkout", session_id=SESSION, user_id="ada", cart_total="39.99"))
    )
    assert (code, problems) == (0, [])
    assert output == (
        '{"id":"b4f8b592-625f-83cc-8007-a5b4a85608d2","timestamp":1700000000.123,"type":"cart.checkout","details":{"version":"1.0.0",'
        '"name":"cart.checkout","attributes":{"cart.total":"39.99"}},"metadata":{"version":"1.0.0",'
        '"domain":"localhost","platformType":"web"},"sessionId":"6f0c2a51-9a53-4a0e-8f0b-0d3d7c1f2b11",'
        '"userId":"d8bb8320-0064-5035-b7e5-9bfd492d0d27"}\n'
    )


def test_pages_are_resolved_although_their_records_come_late():
    """The record of the page view stands after the event that happened on it."""
    page = log("browser.navigation", session_id=SESSION, url_full="https://shop.example.com/cart")
    _, events, _ = convert("-", stdin=lines(log("cart.checkout", session_id=SESSION), page))
    assert {event["metadata"]["pageId"] for event in events} == {"/cart"}


def test_broken_lines_are_named_and_the_rest_goes_on(tmp_path):
    file = tmp_path / "out.jsonl"
    good = lines(log("a", session_id=SESSION))
    file.write_bytes(
        good
        + b"{broken\n\n"
        + lines([], {"resourceMetrics": []})
        + b'{"\xff": 1}\n'
        + lines(log("b", session_id=SESSION))
    )
    code, events, problems = convert(file)
    assert code == 1
    assert [event["type"] for event in events] == ["a", "b"]
    assert [line.partition(": ")[0] for line in problems] == [f"{file}:{number}" for number in (2, 4, 5, 6)]
    assert problems[1].endswith(":4: the request is not an object")
    assert problems[2].endswith(":5: neither resourceSpans nor resourceLogs")


def test_ids_are_hex_even_where_they_look_like_base64():
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "EEE19B7EC3C1B174",
        "name": "GET",
        "kind": 3,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000100000000",
        "attributes": [
            *attributes(session_id=SESSION, http_request_method="GET", url_full="https://a.example/"),
            {"key": "http.response.status_code", "value": {"intValue": "200"}},
        ],
    }
    span["attributes"][1]["key"], span["attributes"][2]["key"] = "http.request.method", "url.full"
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    _, (event,), _ = convert("-", stdin=lines(request))
    assert event["details"]["trace_id"] == "1-5b8efff7-98038103d269b633813fc60c"
    assert event["details"]["segment_id"] == "eee19b7ec3c1b174"


def test_document_over_several_lines_is_one_request():
    """As an editor or `jq` formats it."""
    text = json.dumps(log("a", session_id=SESSION), indent=2).encode()
    code, events, problems = convert("-", stdin=text)
    assert (code, [event["type"] for event in events], problems) == (0, ["a"], [])


def test_text_that_is_cut_within_a_character_is_converted():
    """In a line of its own as in a document over several lines; what is missing is U+FFFD."""
    request = log("a", session_id=SESSION, note="cut CUT")
    for indent in (None, 2):
        text = json.dumps(request, indent=indent).replace("CUT", r"\ud83d")
        code, events, problems = convert("-", stdin=text.encode())
        assert (code, len(events), problems) == (0, 1, [])
        assert "cut \ufffd" in json.dumps(events, ensure_ascii=False)


def test_lines_are_read_one_by_one():
    """A file of any size needs no more memory for reading than its longest line."""

    def endless():
        while True:
            yield b"{}\n"

    reader = requests(endless())
    assert [next(reader) for _ in range(3)] == [(1, b"{}\n"), (2, b"{}\n"), (3, b"{}\n")]


@pytest.mark.parametrize("stdin", [b"", b"\n\n", b'{"resourceSpans": []}'], ids=["empty", "blank", "no spans"])
def test_nothing_in_is_nothing_out(stdin):
    assert convert("-", stdin=stdin) == (0, [], [])


def test_items_without_a_session_are_dropped_and_the_way_out_is_named():
    code, events, problems = convert("-", stdin=lines(log("a"), log("b")))
    assert (code, events) == (0, [])
    assert problems == ["2 items dropped: no_session (OTEL_EXPORTER_RUM_SESSION=process puts them into one session)"]
    _, events, _ = convert("-", stdin=lines(log("a"), log("b")), OTEL_EXPORTER_RUM_SESSION="process")
    assert {event["sessionId"] for event in events} == {"00000000-0000-4000-8000-000000000000"}


def test_app_monitor_id_and_variables_count():
    stdin = lines(log("a", session_id="not-a-uuid"))
    default, given, variable, empty = (
        convert(*options, "-", stdin=stdin, OTEL_EXPORTER_RUM_APP_MONITOR_ID=value)[1][0]["sessionId"]
        for options, value in [
            ([], ""),
            (["--app-monitor-id", "12345678-1234-1234-1234-123456789012"], ""),
            ([], "12345678-1234-1234-1234-123456789012"),
            ([], " "),
        ]
    )
    assert given == variable != default == empty
    _, events, _ = convert("-", stdin=stdin, OTEL_EXPORTER_RUM_CUSTOM_EVENTS="none")
    assert events == []


def test_bad_variable_is_explained_without_a_traceback():
    code, _, problems = convert("-", OTEL_EXPORTER_RUM_MAX_EVENTS="many")
    assert code == 1
    assert "OTEL_EXPORTER_RUM_MAX_EVENTS" in " ".join(problems)
    assert "Traceback" not in " ".join(problems)


def test_misspelt_variable_is_named():
    code, _, problems = convert("-", OTEL_EXPORTER_RUM_REGOIN="eu-central-1")
    assert (code, [line.partition(" is ignored")[0] for line in problems]) == (
        0,
        ["Warning: The variable OTEL_EXPORTER_RUM_REGOIN"],
    )


def test_missing_file_is_refused_before_anything_is_read():
    code, output, problems = run("convert", "nowhere.json", FILES[0])
    assert (code, output) == (2, "")
    assert "'nowhere.json' does not exist" in " ".join(problems)


def test_reader_that_has_enough_is_no_error(tmp_path):
    """As in `convert ... | head -1`: more output than a pipe holds, and nobody to take it."""
    file = tmp_path / "many.jsonl"
    file.write_bytes(b"".join(lines(log(f"event.{number}", session_id=SESSION)) for number in range(2000)))
    with subprocess.Popen(
        [PROGRAM, "convert", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert json.loads(process.stdout.readline())["type"] == "event.0"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


# broken standard streams


FULL = Path("/dev/full")
SENDS = ("--region", "us-east-1", "--app-monitor-id", APP_MONITOR_ID, "--no-spool")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["convert", str(FILES[0])],
        ["local", "--port", "0"],
        ["gateway", "--port", "0", "--operations-port", "0", *SENDS],
        ["gateway", "--check", *SENDS],
    ],
    ids=["help", "convert", "local", "gateway", "check"],
)
def test_output_that_cannot_be_written_is_one_line(arguments):
    with FULL.open("wb") as full:
        done = subprocess.run(
            [PROGRAM, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(OTEL_EXPORTER_RUM_SESSION="process"),
            timeout=60,
            check=False,
        )
    others = re.compile(" dropped: | level=info ")  # of the log, which has a stream of its own
    lines = [line for line in done.stderr.decode().splitlines() if not others.search(line)]
    assert (done.returncode, lines) == (1, ["otel-rum-exporter: [Errno 28] No space left on device"])


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("stream", "problem"), [("<&-", "standard input is closed"), (">&-", "standard output is closed")]
)
def test_a_closed_stream_is_one_line(tmp_path, stream, problem):
    (tmp_path / "a.json").write_bytes(lines(log("a", session_id=SESSION)))
    file = "-" if stream == "<&-" else tmp_path / "a.json"
    command = f"'{PROGRAM}' convert {file} {stream}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (1, f"Error: {problem}\n")


# local


class Local:
    """`otel-rum-exporter local` on a free port, with what it printed."""

    def __init__(self, *arguments):
        self._arguments = arguments

    def __enter__(self):
        self.process = subprocess.Popen(
            [PROGRAM, "local", "--port", "0", *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.text = ""
        while "/api/stats" not in self.text:
            line = self.process.stdout.readline()
            assert line, "it ended early"
            self.text += line
        return self

    def variables(self):
        return dict(re.findall(r"^  export (\w+)=(\S+)", self.text, re.MULTILINE))

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)


def test_local_prints_the_variables_that_send_to_it():
    """Taken literally, they make an exporter deliver."""
    with Local() as local:
        assert local.text.splitlines()[0].startswith("CloudWatch RUM endpoint at http://127.0.0.1:")
        code = (
            "from otel_rum_exporter import RumLogRecordExporter, otlp; import sys\n"
            "exporter = RumLogRecordExporter(); exporter.export(otlp.items(sys.stdin.read()))\n"
            "exporter.shutdown(); print(exporter.stats().delivered)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(log("a", session_id=SESSION)),
            env=environment(**local.variables()),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "1\n", done.stderr
    assert local.process.returncode == 0


def test_local_does_not_repeat_secrets():
    with Local("--credentials", "AKIDEXAMPLE:very-secret:token-too", "--region", "eu-west-1") as local:
        assert local.variables()["AWS_ACCESS_KEY_ID"] == "AKIDEXAMPLE"
        assert local.variables()["OTEL_EXPORTER_RUM_REGION"] == "eu-west-1"
        assert "OTEL_EXPORTER_RUM_AUTH" not in local.variables()
        assert "very-secret" not in local.text
        assert "token-too" not in local.text
    code, _, problems = run("local", "--credentials", "very-secret")
    assert code == 2
    assert "ACCESS:SECRET" in problems[-1]
    assert "very-secret" not in problems[-1]


@pytest.mark.parametrize(
    ("host", "here"), [(EVERYWHERE, "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("shop", "shop")]
)
def test_local_names_an_address_that_can_be_reached(host, here):
    """What listens on all addresses is none to send to, neither for an exporter nor for curl."""
    settings = Settings(host=host)
    text = greeting(settings, f"http://[{host}]:1" if ":" in host else f"http://{host}:1")
    assert f"  export OTEL_EXPORTER_RUM_ENDPOINT=http://{here}:1\n" in text
    assert len(re.findall(rf"^  curl http://{re.escape(here)}:1/api/", text, re.MULTILINE)) == 3
    assert ("name of this machine" in text) == (host in {EVERYWHERE, "::"})


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [("--monitor", "foo", "a UUID such as"), ("--region", "x y", "an AWS region such as")],
)
def test_local_refuses_what_an_exporter_would(option, value, accepted):
    """What it prints is to be copied."""
    code, output, problems = run("local", "--port", "0", option, value)
    assert (code, output) == (2, "")
    assert problems[-1].startswith(f"Error: Invalid value for '{option}': '{value}' given, accepted: {accepted}")


def test_local_says_that_a_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, problems = run("local", "--port", port)
    assert (code, output) == (1, "")
    assert problems == [f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; --port 0 takes a free one"]


def test_local_says_that_a_database_cannot_be_used(tmp_path):
    code, _, problems = run("local", "--port", "0", "--db", tmp_path)
    assert code == 1
    assert problems == [f"Error: cannot use {tmp_path} as database: unable to open database file"]
