"""A gateway under attack, one attack after the other, while somebody else goes on sending: it answers, and stays small."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from bare_environment import bare_environment
from gateway_tables import MONITOR, OTHER_MONITOR
from proof_endpoint import await_names
from proof_gateway import PATIENCE_S, GatewayProcess, configuration, kept_ports
from proof_gateway_attacker import Attacker
from proof_gateway_attacks import ATTACKER, LIMITED, PAGE, PAGES_ORIGIN
from proof_gateway_bad_bodies import BODIES
from proof_gateway_bad_connections import CONNECTIONS
from proof_gateway_bad_heads import HEADS
from proof_gateway_bad_senders import SENDERS
from proof_gateway_floods import RATES
from proof_gateway_honest import Sender

from otel_rum_exporter.testing import LocalRum

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="127.0.0.0/8 and /proc are Linux's")

ATTACKS = (*BODIES, *HEADS, *SENDERS, *CONNECTIONS, *RATES)
HONEST, HONEST_SOURCE = "honest-token-0123456789", "127.0.0.2"
SUCCESS = 0.99
AT_LEAST = 8  # honest requests during an attack
RESULT = Path(__file__).parents[2] / "build" / "gateway-abuse.md"
COLUMNS = ("attack", "limit", "answers", "message", "growth, MiB", "honest sender", "its worst answer, ms")

TABLES = """
[gateway]
header_timeout = {header_ms}
body_timeout = {body_ms}
max_connections = {max_connections}

[[app_monitors]]
id = "{monitor}"
name = "shop"

[[app_monitors]]
id = "{other}"
name = "other"

[[tokens]]
name = "honest"
token = "{honest}"
app_monitor = "{monitor}"

[[tokens]]
name = "attacker"
token = "{attacker}"
app_monitor = "{other}"
requests_per_second = 0
records_per_second = 0

[[tokens]]
name = "limited"
token = "{limited}"
app_monitor = "{other}"

[[tokens]]
name = "page"
kind = "browser"
token = "{page}"
app_monitor = "{monitor}"
origins = ["{origin}"]
"""


@dataclass(frozen=True, slots=True)
class Config:
    """How a gateway is attacked.

    Attributes:
        header_timeout_s: Time that it gives for headers.
        body_timeout_s: Time that it gives for a body.
        max_connections: Connections that it takes.
        drip_s: Time between two bytes of those who are slow.
        flood_s: How long requests pour in.
        times: How often each attack is made.
    """

    header_timeout_s: float = 1
    body_timeout_s: float = 2
    max_connections: int = 700
    drip_s: float = 0.25
    flood_s: float = 1
    times: int = 1

    def tables(self):
        return TABLES.format(
            header_ms=int(self.header_timeout_s * 1000),
            body_ms=int(self.body_timeout_s * 1000),
            max_connections=self.max_connections,
            monitor=MONITOR,
            other=OTHER_MONITOR,
            honest=HONEST,
            attacker=ATTACKER,
            limited=LIMITED,
            page=PAGE,
            origin=PAGES_ORIGIN,
        )


QUICK = Config()
FULL = Config(header_timeout_s=5, body_timeout_s=10, max_connections=1000, drip_s=1, flood_s=10, times=3)


class Honest:
    """The sender that does nothing wrong."""

    def __init__(self, url):
        program = Path(__file__).with_name("proof_gateway_honest.py")
        sender = json.dumps(asdict(Sender(url, HONEST, HONEST_SOURCE)))
        command = [sys.executable, str(program), sender]
        self._process = subprocess.Popen(command, env=bare_environment(), stdout=subprocess.PIPE, text=True)
        self._changed = threading.Condition()
        self.requests = []
        self._reader = threading.Thread(target=self._read, name="honest sender")
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self.requests.append(json.loads(line))
                self._changed.notify_all()

    def since(self, began):
        """Return status and seconds of the requests of an attack that began then, once there are enough of them."""

        def during():
            ended = next((at for at, _, _ in reversed(self.requests) if at >= over), None)
            found = [(status, took) for at, took, status in self.requests if at + took >= began]
            return found if ended is not None and len(found) >= AT_LEAST else None

        over = time.monotonic()
        with self._changed:
            assert self._changed.wait_for(during, PATIENCE_S), self.requests[-3:]
            return during()

    def await_service(self):
        """Wait until a request is served that began from now on: what came before this attack may last a moment."""
        now = time.monotonic()

        def is_served():
            return any(status == 200 for at, _, status in reversed(self.requests) if at >= now)

        with self._changed:
            assert self._changed.wait_for(is_served, PATIENCE_S), self.requests[-3:]

    def stop(self):
        self._process.kill()
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self._process.stdout.close()


@dataclass
class Target:
    """A gateway with somebody who sends to it, before an endpoint; and what became of the attacks."""

    config: Config
    rum: LocalRum
    gateway: GatewayProcess
    honest: Honest
    rss_mib: float
    rows: list = field(default_factory=list)


@contextlib.contextmanager
def attacked(config, folder) -> Iterator[Target]:
    with contextlib.ExitStack() as stack:
        rum = stack.enter_context(LocalRum(None))
        ports = stack.enter_context(kept_ports())
        gateway = GatewayProcess(configuration(folder, rum.endpoint, more=config.tables()), ports)
        stack.callback(gateway.kill)
        honest = Honest(gateway.url)
        stack.callback(honest.stop)
        honest.since(time.monotonic())
        yield Target(config, rum, gateway, honest, gateway.rss_mib())


@pytest.fixture(
    scope="module",
    params=[QUICK, pytest.param(FULL, marks=pytest.mark.nightly)],
    ids=["short", "full"],
)
def target(request, tmp_path_factory):
    with attacked(request.param, tmp_path_factory.mktemp("gateway")) as target:
        yield target


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(target, proof, attack):
    """The answer says what was wrong, memory stays, and the honest sender is served."""
    gateway, attacker = target.gateway, Attacker(target.gateway.address, target.config)
    target.honest.await_service()
    before = gateway.rss_mib()
    gateway.begin_peak()
    began = time.monotonic()
    for _ in range(target.config.times):
        attack.run(attacker)
    honest = target.honest.since(began)
    growth = gateway.peak_mib() - before
    successes = sum(status == 200 for status, _ in honest)
    worst_ms = 1000 * max(took for _, took in honest)
    answers = ", ".join(f"{number:,} x {status}" for status, number in attacker.seen.items())
    served = f"{successes} of {len(honest)}"
    target.rows.append(
        (attack.name, attack.limit, answers, attacker.message, f"{growth:.1f}", served, f"{worst_ms:.0f}")
    )
    is_served = successes >= SUCCESS * len(honest)
    proof(
        attack.line,
        f"gateway attacked: {attack.name} ({attack.limit})",
        target=f"{' and '.join(map(str, sorted(attack.answers, key=str)))}, growth <= {attack.growth_mib:g} MiB, "
        "others served",
        measured=f"{answers}; + {growth:.1f} MiB; {served} of others, in {worst_ms:.0f} ms at most",
        is_met=attack.is_answered_by(attacker.seen) and growth <= attack.growth_mib and is_served,
    )
    assert gateway.is_alive
    assert attack.is_answered_by(attacker.seen), attacker.message
    assert is_served, honest
    assert growth <= attack.growth_mib


def test_after_the_attacks(target, proof):
    """The gateway is alive and ready, all is accounted for, and nothing reached an app monitor that was not its own."""
    status, said = target.gateway.operations("/readyz")
    assert (status, said) == (200, "ready\n")
    target.honest.stop()
    answered = sum(status == 200 for _, _, status in target.honest.requests)
    await_names(target.rum, {"honest.0.0"}, PATIENCE_S)
    quiet = await_quiet(target)
    of_shop = [each for each in target.rum.events() if each["monitor_id"] == MONITOR]
    strangers = [each for each in of_shop if not each["details"].get("name", "").startswith("honest.")]
    requests = "rum_gateway_requests_total"
    faults, answers_500 = quiet.sum("rum_gateway_faults_total"), quiet.sum(requests, 'status="500"')
    arrived = target.rum.stats()["events_received"]
    proof(
        "A1",
        f"gateway after {len(target.rows)} attacks, {quiet.sum(requests):,} requests",
        target="alive, conserved, no 500, no event of others in the app monitor",
        measured=f"{faults} faults, {answers_500} x 500, {len(strangers)} events of others; "
        f"{quiet.event('accepted_total'):,} accepted, {quiet.event('delivered_total'):,} delivered, {arrived:,} arrived; "
        f"{target.rss_mib:.0f} MiB before, {target.gateway.rss_mib():.0f} MiB after, {target.gateway.open_files()} open files",
        is_met=quiet.is_balanced and not faults and not answers_500 and not strangers,
    )
    write_table(target)
    assert quiet.is_balanced
    assert not faults
    assert not answers_500
    assert not strangers
    assert arrived == quiet.event("delivered_total")
    assert len(of_shop) >= answered * 5
    assert "ERROR" not in target.gateway.log.read_text(encoding="utf-8").upper()


def await_quiet(target):
    """Wait until everything that was accepted has been delivered."""
    pause, given_up_at = threading.Event(), time.monotonic() + 2 * PATIENCE_S
    while (metrics := target.gateway.metrics()).event("queued") and time.monotonic() < given_up_at:
        pause.wait(0.2)
    return metrics


def write_table(target):
    """Write what became of the attacks, if all of them were made."""
    if len(target.rows) < len(ATTACKS):
        return
    rows = [COLUMNS, ["---"] * len(COLUMNS), *target.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
