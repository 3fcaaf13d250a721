"""What the gateway says of itself: health, readiness, metrics, log lines."""

import json
import logging
import re
import socket
import sys
from types import SimpleNamespace

import pytest
from gateway_requests import spans
from gateway_tables import NO_RATES

from otel_rum_exporter import RumConfig
from otel_rum_exporter.gateway.exposition import Metric, of_pipeline, text_of
from otel_rum_exporter.gateway.log_lines import LineFormatter, fields
from otel_rum_exporter.gateway.watch import Watch
from otel_rum_exporter.instruments import READINGS
from otel_rum_exporter.stats import Counters

# /healthz, /readyz, /metrics


def test_a_gateway_that_is_well(gateway):
    """Alive, ready, on a listener of its own that the receiver's knows nothing of."""
    assert (gateway.operations("/healthz").status, gateway.operations("/readyz").body) == (200, b"ready\n")
    assert gateway.client().get("/metrics").status == 404
    assert gateway.operations("/v1/traces").status == 404
    assert gateway.operations("/metrics/").status == 404


def test_metrics(gateway):
    """Each line is a sample, or says what the next ones are; requests, records, bytes and the pipeline are counted."""
    client, body = gateway.client(), spans(3)
    client.post(body)
    client.get("/v1/traces")
    answer = gateway.operations("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.body.decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? -?[0-9.e+-]+', line) for line in samples), samples
    for each in (
        'rum_gateway_requests_total{signal="traces",status="200"} 1',
        'rum_gateway_requests_total{signal="traces",status="405"} 1',
        'rum_gateway_records_total{signal="traces"} 3',
        f"rum_gateway_received_bytes_total {len(body)}",
        "rum_gateway_in_flight_requests 0",
        "rum_gateway_connections 1",
        "rum_gateway_ready 1",
        "rum_exporter_event_accepted_total 3",
        "rum_exporter_event_spooled 3",
    ):
        assert each in lines
    described = {line.split()[2] for line in lines if line.startswith("# HELP ")}
    assert described == {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    assert {re.split(r"[ {]", line)[0] for line in samples} <= described
    assert not [line for line in lines if "Of these" in line]  # each is shown on its own


def test_every_metric_of_the_pipeline_is_there():
    """What a meter provider would be told is there for Prometheus, too; counters end in _total."""
    statistics = Counters().snapshot(queued=0)
    metrics = list(of_pipeline(statistics, has_spool=True))
    assert len(metrics) == len(READINGS) + 3
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in metrics)
    without = {metric.name for metric in of_pipeline(statistics, has_spool=False)}
    assert {metric.name for metric in metrics} - without >= {"rum_exporter_spool_size_bytes"}


def test_labels_are_escaped():
    """No value can end its line."""
    text = text_of([Metric("a_total", "counter", "One\nline", [({"b": 'c"\\\n'}, 1)])])
    assert text == '# HELP a_total One\\nline\n# TYPE a_total counter\na_total{b="c\\"\\\\\\n"} 1\n'


# readiness


class Moment:
    """A pipeline that says what a test wants it to say, and a clock."""

    def __init__(self, **said):
        self.now, self.said = 0.0, said

    def stats(self):
        return Counters().snapshot(**{"queued": 0, **self.said})


def watched(moment, **options):
    watch = Watch(moment, RumConfig(**options), lambda: moment.now)
    watch.look()
    return watch


@pytest.mark.parametrize(
    ("said", "shortage", "troubles"),
    [
        ({"spooled_bytes": 899}, "", []),
        ({"spooled_bytes": 900}, "", ["the spool is nearly full"]),
        ({"spooled_bytes": 980}, "the spool is full", ["the spool is full"]),
        ({"queued": 1_000_000}, "", []),
    ],
)
def test_readiness_by_the_spool(tmp_path, said, shortage, troubles):
    """From nine tenths on a spool makes the gateway unready, and near its end requests are turned away."""
    watch = watched(Moment(**said), spool_dir=tmp_path, spool_max_bytes=1000)
    assert (watch.shortage(), watch.troubles()) == (shortage, troubles)


@pytest.mark.parametrize(("said", "shortage"), [({"queued": 89}, ""), ({"queued": 90}, "the queue is full")])
def test_readiness_by_the_queue(said, shortage):
    """Without a spool the memory's bound counts."""
    assert watched(Moment(**said), queue_events=100).shortage() == shortage


def test_readiness_by_the_circuit():
    """An endpoint that does not answer makes the gateway unready after a minute, until it answers."""
    moment = Moment()
    watch = watched(moment)
    for now, circuit, is_ready in (
        (0.0, "closed", True),
        (10.0, "open", True),
        (69.9, "probing", True),
        (70.0, "open", False),
        (80.0, "closed", True),
        (90.0, "open", True),
    ):
        moment.now, moment.said = now, {"circuit": circuit}
        watch.look()
        assert (not watch.troubles()) == is_ready, now


def test_what_cannot_be_kept_is_not_tried_again_at_once(tmp_path):
    """After a request whose events were not kept others are turned away, but for one now and then that finds out."""
    moment = Moment()
    watch = watched(moment, spool_dir=tmp_path)
    assert watch.shortage() == ""
    watch.note(is_kept=False)
    said = []
    for moment.now in (0.0, 1.9, 2.0, 2.1, 3.9, 4.0, 4.1):
        said.append(watch.shortage())
    trouble = "events cannot be kept at present"
    assert said == [trouble, trouble, "", trouble, trouble, "", trouble]
    assert watch.troubles() == [trouble]
    moment.now = 10.0
    assert watch.troubles() == []  # else nobody would come to find out
    watch.note(is_kept=True)
    assert [watch.shortage() for _ in range(3)] == [""] * 3


# log lines


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_line_is_one_line(as_json):
    """Whatever a record holds, it can neither end its line nor begin another field."""
    record = logging.LogRecord("a.b", logging.WARNING, "", 0, 'x\n\x1b[31m\u2028 level=error "', None, None)
    record.__dict__.update(fields(client='1\n2" status=200', status=429))
    line = LineFormatter(as_json=as_json).format(record)
    assert line.isascii()
    assert line.isprintable()
    if as_json:
        found = json.loads(line)
        assert (found["level"], found["client"], found["status"]) == ("warning", '1\n2" status=200', 429)
    else:
        assert line.endswith(r'client="1\n2\" status=200" status=429')
        assert " level=warning logger=a.b message=" in line


def test_a_log_line_of_an_error_says_what_and_where():
    """An exception is its type, its message and its place, without the values around it."""
    canary = SimpleNamespace(body="canary-body")
    try:
        canary.nothing  # noqa: B018 - to fail
    except AttributeError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    found = json.loads(LineFormatter(as_json=True).format(record))
    assert found["error"].startswith("AttributeError: ")
    assert re.search(r"test_gateway_operations\.py:\d+$", found["at"])
    assert "canary-body" not in str(found)


def test_the_access_log(gateways, rum, caplog):
    """Where it is asked for there is a line for each request, with what its sender was told, without token and body."""
    caplog.set_level(logging.INFO, "otel_rum_exporter.gateway.access")
    tokens = "[[tokens]]\ntoken = 'somebody-0123456789'\n"
    gateway = gateways(rum, "[gateway]\naccess_log = true\nallow_anonymous = true\n" + NO_RATES + tokens)
    client = gateway.client()
    assert client.post(spans(session="canary-session")).status == 200
    assert client.post(spans(session=None)).status == 200
    assert client.post(spans(), x_api_key="canary-token-0123456789").status == 401
    assert client.post(spans(), "/v1/metrics").status == 404
    assert client.get(f"/a%20b%0a{'c' * 1000}?token=canary-token-0123456789").status == 404
    records = [record for record in caplog.records if record.name == "otel_rum_exporter.gateway.access"]
    lines = [LineFormatter(as_json=False).format(record) for record in records]
    said = [re.search(r" path=(\S+|\".*\") status=(\d+) client=127.0.0.1", line).groups() for line in lines]
    assert said[:-1] == [("/v1/traces", each) for each in ("200", "200", "401")] + [("/v1/metrics", "404")]
    assert [" reason=" in line for line in lines] == [False, True, True, True, True]
    assert lines[1].endswith(' reason="1 no_session"')
    assert lines[2].endswith(' reason="this token is not known"')
    (path, status) = said[-1]
    assert (path.startswith(r'"/a b\nccc'), len(path) < 250, status) == (True, True, "404")
    assert "canary" not in "".join(lines)


def test_a_sender_that_went_away_is_in_the_access_log(gateways, rum, caplog):
    """Nobody was told anything: the line has no status."""
    caplog.set_level(logging.INFO, "otel_rum_exporter.gateway.access")
    gateway = gateways(rum, "[gateway]\naccess_log = true\n" + NO_RATES)
    with gateway.client().raw() as raw:
        raw.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b""
    while not gateway.metric("rum_gateway_disconnected_total"):
        pass
    assert 'reason="the sender went away"' in (line := LineFormatter(as_json=False).format(caplog.records[-1]))
    assert " status=" not in line
