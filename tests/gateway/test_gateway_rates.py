"""Limits by client, token and session, and what is held of bodies: pure, then over HTTP."""

import pytest
from gateway_requests import JSON, json_logs, spans
from gateway_tables import MONITOR, NO_RATES, OTHER_MONITOR
from hypothesis import given
from hypothesis import strategies as some

from otel_rum_exporter.gateway.limits import Held, Rate, RateTable, retry_after

TWO_A_SECOND = Rate(2.0, 4.0)


def test_a_burst_then_the_rate():
    """After a pause as many may come at once as the burst says, then as the rate does."""
    table = RateTable(10)
    assert [table.take("a", TWO_A_SECOND, 0.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert table.take("a", TWO_A_SECOND, 0.5) == 0
    assert table.take("a", TWO_A_SECOND, 0.5) == 0.5
    assert [table.take("a", TWO_A_SECOND, 1000.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]


def test_keys_are_apart():
    """One sender's limit is not another one's."""
    table = RateTable(10)
    table.charge("a", TWO_A_SECOND, 0.0, 100)
    assert table.take("a", TWO_A_SECOND, 0.0) > 0
    assert table.take("b", TWO_A_SECOND, 0.0) == 0


def test_what_was_too_much_is_waited_for():
    """A request of more records than are left is counted in full, so that the next one waits for all of them."""
    table = RateTable(10)
    table.charge("a", TWO_A_SECOND, 0.0, 14)
    assert table.wait_s("a", TWO_A_SECOND, 0.0) == 5.5
    assert table.wait_s("a", TWO_A_SECOND, 5.5) == 0


def test_no_limit_remembers_nobody():
    """Where nothing is limited nothing is kept."""
    table = RateTable(10)
    assert [table.take(each, Rate(0.0, 0.0), 0.0) for each in range(100)] == [0] * 100
    assert len(table) == 0


def test_the_table_is_bounded():
    """Of too many senders those that were seen last are remembered."""
    table = RateTable(3)
    for each in range(100):
        table.charge(each, TWO_A_SECOND, 0.0, 10)
    assert len(table) == 3
    assert [table.wait_s(each, TWO_A_SECOND, 0.0) > 0 for each in (96, 97, 98, 99)] == [False, True, True, True]


@given(some.lists(some.floats(0, 10), max_size=200))
def test_never_more_than_rate_and_burst(pauses):
    """Whatever the moments, no more passes than burst + rate * time; a clock that stands still changes nothing."""
    table, now, passed = RateTable(10), 0.0, 0
    for pause in pauses:
        now += pause
        passed += table.take("a", TWO_A_SECOND, now) == 0
        assert passed <= TWO_A_SECOND.burst + TWO_A_SECOND.per_second * now + 1e-6


@pytest.mark.parametrize("wait_s", [0.0, 0.2, 1.0, 3.5, 60.0, 1e9])
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999999])
def test_retry_after(wait_s, chance):
    """Whoever is turned away is asked to come back after 1 to 5 seconds: OTLP exporters do not wait for longer."""
    assert 1 <= retry_after(wait_s, chance) <= 5
    assert retry_after(wait_s, chance) >= min(4, wait_s)


def test_held_bytes_are_shared():
    """Bodies in flight are bounded together, and each client has a share only."""
    held = Held(2, 1000)
    assert held.take("a", 250)
    assert not held.take("a", 1)
    assert [held.take(each, 250) for each in "bcd"] == [True, True, True]
    assert not held.take("e", 1)
    held.release("b", 250)
    assert held.take("e", 1)
    assert held.size_bytes == 751


def test_bodies_at_work_are_shared():
    """Likewise those that are worked on: a client gets half of them, and so does a token with many clients."""
    held = Held(4, 1000)
    with held.working("a"), held.working("a"):
        assert (held.has_room("a"), held.has_room("b")) == (False, True)
        with held.working("b"), held.working("c"):
            assert not held.has_room("d")
        assert (held.has_room("a"), held.has_room("d")) == (False, True)
    assert held.has_room("a")
    with held.working("a", "token"), held.working("b", "token"):
        assert (held.has_room("c", "token"), held.has_room("c"), held.has_room("a", "other")) == (False, True, True)


# over HTTP


def test_a_client_with_too_many_requests(gateways, rum):
    """A client over its limit gets 429 and when to come back; a client behind a trusted proxy is one of its own."""
    gateway = gateways(
        rum,
        "[gateway]\ntrusted_proxies = '127.0.0.1'\nallow_anonymous = true\n"
        "[limits]\nclient_requests_per_second = 0.001\nclient_burst = 2\nclient_records_per_second = 0\n",
    )
    client = gateway.client(x_forwarded_for="192.0.2.1")
    answers = [client.post(spans()) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 5
    assert "too many requests from this address" in answers[2].status_message
    assert client.post(spans(), x_forwarded_for="192.0.2.2").status == 200
    assert client.post(spans(), x_forwarded_for="192.0.2.2, 192.0.2.1").status == 429
    assert gateway.metric('rum_gateway_limited_total{limit="client_requests"}') == 2


def test_an_address_that_nobody_trusts_says_nothing(gateways, rum):
    """Without trusted proxies X-Forwarded-For changes nothing: anybody can write it."""
    gateway = gateways(rum, "[limits]\nclient_requests_per_second = 0.001\nclient_burst = 1\n")
    client = gateway.client()
    statuses = [client.post(spans(), x_forwarded_for=f"192.0.2.{each}").status for each in range(3)]
    assert statuses == [200, 429, 429]


def test_a_client_with_too_many_records(gateways, rum):
    """What a request had too much of, the next ones wait for."""
    gateway = gateways(
        rum,
        "[limits]\nclient_records_per_second = 0.001\nsession_records_per_minute = 0\nclient_requests_per_second = 0\n",
    )
    client = gateway.client()
    assert [client.post(spans(10)).status for _ in range(2)] == [200, 429]


def test_a_token_with_too_much(gateways, rum):
    """Two tokens of one name are one sender; another token has limits of its own."""
    tokens = [("a", "a" * 16), ("a", "b" * 16), ("c", "c" * 16)]
    written = [f'[[tokens]]\nname = "{name}"\ntoken = "{token}"\n' for name, token in tokens]
    limits = NO_RATES.replace("token_requests_per_second = 0", "token_requests_per_second = 0.001\ntoken_burst = 2")
    client = gateways(rum, limits + "".join(written)).client()
    statuses = [client.post(spans(), x_api_key=token * 16).status for token in "abac"]
    assert statuses == [200, 200, 429, 200]


def test_a_session_with_too_much(gateways, rum):
    """The records of a session over its limit are rejected and counted; other sessions go on."""
    gateway = gateways(rum, NO_RATES.replace("minute = 0", "minute = 5"))
    client = gateway.client()
    assert client.post(spans(4)).partial_success == (0, "")
    assert client.post(spans(4)).partial_success == (3, "3 session_limit")
    assert client.post(json_logs(1), "/v1/logs", JSON).partial_success == (1, "1 session_limit")
    assert client.post(spans(4, session="s-2")).partial_success == (0, "")
    assert gateway.stats().received == 9


def test_an_app_monitor_takes_so_much_from_all_its_senders(gateways, rum):
    """Two tokens share what their app monitor takes, as a sender does that names it; another app monitor goes on."""
    monitors = "".join(
        f'[[app_monitors]]\nid = "{each}"\n{limit}\n'
        for each, limit in ((MONITOR, "records_per_second = 1"), (OTHER_MONITOR, ""))
    )
    bound = f'app_monitor = "{MONITOR}"'
    tokens = "".join(
        f'[[tokens]]\nname = "{name}"\ntoken = "{name}-0123456789abcdef"\n{of}\n'
        for name, of in (("first", bound), ("second", bound), ("any", ""))
    )
    client = gateways(rum, NO_RATES + monitors + tokens, monitor=None).client()

    def status(token, monitor):
        answer = client.post(
            spans(30, resource={"aws.rum.appmonitor.id": monitor}), authorization=f"Bearer {token}-0123456789abcdef"
        )
        return answer.status

    assert status("first", MONITOR) == 200
    assert [status(token, MONITOR) for token in ("first", "second", "any")] == [429] * 3
    assert [status("any", OTHER_MONITOR) for _ in range(3)] == [200] * 3


def test_a_request_that_was_not_kept_comes_again_whole(gateways, rum):
    """What finds no room leaves no trace: neither its session's limit nor what was reported before is in its way."""
    limits = "[gateway]\nspool = false\n" + NO_RATES.replace("minute = 0", "minute = 50")
    gateway = gateways(rum, limits, OTEL_EXPORTER_RUM_QUEUE_EVENTS="60")
    client = gateway.client()
    assert client.post(spans(25, session="first")).status == 200
    body = spans(20, session="second", exceptions=1)
    assert client.post(body).status == 503
    accepted = gateway.stats().accepted
    assert gateway.server.pipeline.flush(60)
    while (answer := client.post(body)).status == 503:
        pass
    assert (answer.status, answer.partial_success) == (200, (0, ""))
    assert gateway.stats().accepted - accepted == 40
    assert gateway.stats().events_dropped == {}


def test_a_session_cannot_pass_for_several(gateways, rum):
    """An app monitor that a resource makes up makes its sessions no others."""
    gateway = gateways(rum, NO_RATES.replace("minute = 0", "minute = 10"))
    made_up = [{"aws.rum.appmonitor.id": f"{number:08d}-0000-4000-8000-000000000000"} for number in range(3)]
    rejected = [gateway.client().post(spans(10, resource=each)).partial_success[0] for each in made_up]
    assert rejected == [0, 10, 10]


def test_span_events_count(gateways, rum):
    """A span with many exceptions becomes many events, and is charged for them."""
    gateway = gateways(rum, NO_RATES.replace("client_records_per_second = 0", "client_records_per_second = 100"))
    client = gateway.client()
    assert [client.post(spans(exceptions=number)).status for number in (0, 500, 0)] == [200, 200, 429]


def test_a_token_that_is_meant_for_others(gateways, rum):
    """A gateway without tokens takes requests with those that senders have for somebody else."""
    assert gateways(rum, "").client().post(spans(), authorization="Bearer of-another-service").status == 200


def test_the_queue_is_full(gateways, rum):
    """Without a spool and with no room in memory requests get 503; nothing was dropped that was answered with 200."""
    rum.set_faults(status=503)
    small = "[gateway]\nspool = false\n" + NO_RATES
    gateway = gateways(rum, small, OTEL_EXPORTER_RUM_QUEUE_EVENTS="100")
    client = gateway.client()
    statuses, said = [], ""
    while said != "the queue is full":
        answer = client.post(spans(10))
        statuses.append(answer.status)
        said = answer.status_message if answer.status == 503 else ""
    assert gateway.stats().accepted - gateway.stats().events_dropped.get("queue_full", 0) >= 10 * statuses.count(200)
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert gateway.operations("/readyz").status == 503
    rum.clear_faults()


def test_what_does_not_fit_into_memory_is_not_acknowledged(gateways, rum):
    """A request of which something finds no room is answered with 503, so that it comes again, and nothing is taken."""
    rum.set_faults(status=503)
    small = "[gateway]\nspool = false\n" + NO_RATES
    gateway = gateways(rum, small, OTEL_EXPORTER_RUM_QUEUE_EVENTS="10")
    answer = gateway.client().post(spans(11))
    assert (answer.status, gateway.stats().accepted, gateway.stats().events_dropped) == (503, 0, {})
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    rum.clear_faults()
