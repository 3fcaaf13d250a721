"""A gateway is killed, ended and told to read its configuration anew under load: what it answered with 200 arrives."""

import contextlib
import http.client
import random
import signal
import sys
import threading
import time

import pytest
from gateway_tables import NO_RATES
from proof_endpoint import await_names, names
from proof_gateway import PATIENCE_S, GatewayProcess, configuration, kept_ports
from proof_gateway_bodies import PROTOBUF, TRACES, protobuf_spans
from proof_gateway_senders import Senders

from otel_rum_exporter.testing import LocalRum

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="keeps ports as Linux lets them be kept")

RATE = 500
QUEUED = 2000
FIRST_SEND_S = 2
END_S = 10
ANSWERS_S = 0.02  # about as long as an answer takes: kills come at any moment of it
TOKEN = "senders-token-0123456789"  # noqa: S105 - of this proof


@pytest.fixture
def rum():
    """An endpoint that takes a moment for each request, so that some are always on their way."""
    with LocalRum(None) as rum:
        rum.set_faults(latency_ms=20)
        yield rum


@pytest.fixture
def ports():
    """Ports that stay the gateway's while it is down."""
    with kept_ports() as ports:
        yield ports


@pytest.fixture
def begin(ports):
    """Starts gateways, one after the other, on the same ports; what is left of them is killed."""
    begun = []

    def beginning(config):
        begun.append(GatewayProcess(config, ports))
        return begun[-1]

    yield beginning
    for each in begun:
        each.kill()


def first_send_s(rum, lives):
    """How long it took at most from the start of a gateway to its first request."""
    at = [each["received_at"] for each in rum.requests()]
    return max(min(each for each in at if each > life.started_at) - life.started_at for life in lives)


def check_arrival(rum, gateway, answered):
    """All that was answered with 200 has arrived, what arrived twice has one id, and nothing is unaccounted for."""
    await_names(rum, answered, PATIENCE_S)
    lost = answered - names(rum)
    arrived = rum.stats()
    metrics = gateway.metrics()
    assert not lost
    assert arrived["events_distinct"] == len(names(rum)), "a duplicate has the id of the first"
    assert arrived["events_changed"] == 0
    assert metrics.is_balanced
    return arrived


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_under_load(rum, begin, proof, ports, tmp_path, kills):
    """Senders that send again what got no answer lose nothing to a gateway that is killed again and again."""
    chance = random.Random(kills)
    config = configuration(tmp_path, rum.endpoint, more=NO_RATES)
    lives = [begin(config)]
    with Senders(("127.0.0.1", ports[0]), RATE).running() as senders:
        for _ in range(kills):
            senders.await_posts(chance.randrange(10, 250))
            threading.Event().wait(chance.uniform(0, ANSWERS_S))
            lives[-1].kill()
            lives.append(begin(config))
        senders.await_posts(20)
    arrived = check_arrival(rum, lives[-1], senders.answered)
    first_s = first_send_s(rum, lives)
    unanswered = sum(senders.failures.values())
    refused = senders.failures["ConnectionRefusedError"]
    proof(
        "G1/A4",
        f"gateway, {kills} SIGKILLs at {RATE} events/s, spool at fsync",
        target=f"0 answered events lost, duplicates have known ids, start to first send <= {FIRST_SEND_S} s",
        measured=f"0 of {len(senders.answered):,} lost, {arrived['events_duplicate']} duplicates, "
        f"{unanswered - refused} requests cut off, first send {first_s:.2f} s at most (with the interpreter's start)",
        is_met=first_s <= FIRST_SEND_S,
    )
    assert not [each for each in senders.failures if isinstance(each, int)], senders.failures
    assert len(senders.answered) >= 100 * kills
    lives[-1].signal(signal.SIGTERM)
    assert lives[-1].end() == 0


class Unfinished:
    """A request whose body has not been sent yet, though the gateway waits for it."""

    def __init__(self, address, name):
        self.name = name
        self._body = protobuf_spans([name], "unfinished")
        self._connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
        self._connection.putrequest("POST", TRACES)
        for header, value in (
            ("content-type", PROTOBUF),
            ("expect", "100-continue"),
            ("content-length", str(len(self._body))),
        ):
            self._connection.putheader(header, value)
        self._connection.endheaders()
        assert self._connection.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"

    def finish(self):
        """Send the body; returns the status."""
        self._connection.send(self._body)
        return self._connection.getresponse().status

    def close(self):
        self._connection.close()


def test_ended_with_a_dead_endpoint(rum, black_hole, begin, proof, tmp_path):
    """SIGTERM with requests in flight and thousands of events queued: in time, and the next gateway sends all of it."""
    gateway = begin(configuration(tmp_path, black_hole, more=NO_RATES))
    address = gateway.address
    with Senders(address, RATE).running() as senders, contextlib.ExitStack() as stack:
        senders.await_posts(QUEUED // 10)
        finished, endless = (
            [stack.enter_context(contextlib.closing(Unfinished(address, f"{kind} {each}"))) for each in range(3)]
            for kind in ("finished", "endless")
        )
        queued = gateway.metrics().event("queued")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        while gateway.operations("/readyz")[0] == 200:
            pass
        statuses = [each.finish() for each in finished]
        assert statuses == [200] * len(finished)
        code = gateway.end()
        took_s = time.monotonic() - began
        gateway = begin(configuration(tmp_path, rum.endpoint, more=NO_RATES))
        senders.await_posts(20)
    answered = senders.answered | {each.name for each in finished}
    arrived = check_arrival(rum, gateway, answered)
    proof(
        "D5",
        f"gateway, SIGTERM with {queued:,} events queued, a dead endpoint, {len(finished) + len(endless)} bodies in flight",
        target=f"<= {END_S} s, exit code 0, 0 answered events lost",
        measured=f"{took_s:.2f} s, exit code {code}, 0 of {len(answered):,} lost, "
        f"{arrived['events_duplicate']} duplicates, bodies that came answered {sorted(set(statuses))}",
        is_met=took_s <= END_S and code == 0,
    )
    assert queued >= QUEUED
    assert statuses == [200] * len(finished)
    assert code == 0
    assert took_s <= END_S + 2
    assert not [each for each in senders.failures if isinstance(each, int) and each != 503], senders.failures


@pytest.mark.parametrize("times", [20, pytest.param(200, marks=pytest.mark.nightly)])
def test_read_anew_under_load(rum, begin, proof, tmp_path, times):
    """SIGHUP while others send: the new tokens hold, and no request notices."""
    tables = (
        NO_RATES + f'[[tokens]]\nname = "senders"\ntoken = "{TOKEN}"\n[[tokens]]\ntoken = "rotated-token-{{:06}}"\n'
    )
    gateway = begin(configuration(tmp_path, rum.endpoint, more=tables.format(0)))
    asking = http.client.HTTPConnection(*gateway.address, timeout=PATIENCE_S)
    with Senders(gateway.address, RATE, TOKEN).running() as senders, contextlib.closing(asking):
        for each in range(1, times + 1):
            senders.await_posts(2)
            configuration(tmp_path, rum.endpoint, more=tables.format(each))
            gateway.signal(signal.SIGHUP)
            while status_with(asking, f"rotated-token-{each:06}") == 401:
                pass
            assert status_with(asking, f"rotated-token-{each - 1:06}") == 401
    check_arrival(rum, gateway, senders.answered)
    proof(
        "H1",
        f"gateway, {times} SIGHUPs with a new token each at {RATE} events/s",
        target="no request fails, each new token holds, each old one no more",
        measured=f"{sum(senders.failures.values())} of {senders.posts:,} requests failed, 0 of "
        f"{len(senders.answered):,} events lost",
        is_met=not senders.failures,
    )
    assert not senders.failures


def status_with(connection, token):
    """The status of an empty request with a token."""
    connection.request("POST", TRACES, b"", {"content-type": PROTOBUF, "x-api-key": token})
    answer = connection.getresponse()
    answer.read()
    return answer.status
