"""Event loops: an application under gevent or asyncio loses nothing, and its loop does not wait for the network."""

import json
import signal

GEVENT = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, sys
    from lifecycle_apps import Shop

    shop = Shop(batch={batch}, flush_interval=200, chain_sigterm=True, shutdown_timeout=30_000)

    def client(number):
        for each in range(20):
            shop.sell(f"{{number:02}}-{{each:02}}")
            gevent.sleep(0)

    clients = [gevent.spawn(client, number) for number in range(50)]
    gevent.joinall(clients)
"""

EXPECTED = [f"{number:02}-{each:02}" for number in range(50) for each in range(20)]

FLUSH = """
    assert shop.flush()
    shop.provider.shutdown()
    shop.report()
"""


def test_greenlets(applications, conserved):
    """Fifty greenlets export and the pipeline's threads are greenlets, too."""
    applications.run(GEVENT.format(batch=False) + FLUSH)
    assert conserved.names() == EXPECTED


def test_greenlets_behind_a_batch_processor(applications, conserved):
    """The SDK's own thread is a greenlet as well."""
    applications.run(GEVENT.format(batch=True) + FLUSH)
    assert conserved.names() == EXPECTED


UNTIL_SIGTERM = """
    print("sold", flush=True)
    while True:
        gevent.sleep(3600)
"""


def test_sigterm_under_gevent(applications, conserved):
    """`chain_sigterm` delivers on a greenlet, and the process ends by the signal."""
    conserved.is_unreported = True
    with applications.start(GEVENT.format(batch=True) + UNTIL_SIGTERM) as shop:
        assert shop.read() == "sold"
        shop.signal(signal.SIGTERM)
        code, _, errors = shop.end()
    assert (code, conserved.names()) == (-signal.SIGTERM, EXPECTED), errors


ASYNCIO = """
    import asyncio, json, sys, time
    from lifecycle_apps import Shop

    shop = Shop(flush_interval=100)

    async def beat(gaps, until):
        before = time.perf_counter()
        while not until.is_set():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - before)
            before = now

    async def work(sell):
        for number in range(1000):
            sell(f"{number:04}", session=f"00000000-0000-4000-8000-{number % 8:012}")
            await asyncio.sleep(0.001)

    async def measured(sell):
        gaps, until = [], asyncio.Event()
        heart = asyncio.create_task(beat(gaps, until))
        await work(sell)
        until.set()
        await heart
        return max(gaps)

    async def main():
        baseline = await measured(lambda name, session: None)
        exporting = await measured(shop.sell)
        print(json.dumps([baseline, exporting]))

    asyncio.run(main())
    assert shop.flush()
    shop.report()
"""


def test_an_asyncio_loop_does_not_wait_for_the_network(applications, conserved, rum):
    """Its heart does not miss a beat for as long as a request takes, of which there are many meanwhile."""
    latency_s = 1
    rum.set_faults(latency_ms=latency_s * 1000)
    _, output, _ = applications.run(ASYNCIO)
    baseline_s, exporting_s = json.loads(output)
    assert exporting_s < baseline_s + latency_s / 2
    assert conserved.names() == [f"{number:04}" for number in range(1000)]
    assert rum.stats()["requests"] >= 16
