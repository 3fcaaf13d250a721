"""What a process pays once: importing the exporter, and the first export; run as a process of its own, prints JSON.

python start.py import
python start.py export URL
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from statistics import median
from typing import Any

from rows import Row

_BASE = ("boto3", "opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs.export", "opentelemetry.sdk.resources")
_FLUSH_MS = 60_000


def importing() -> dict[str, Any]:
    """Return how long boto3 with the SDK and then the exporters take to import, and what of the extras came along."""
    started = time.perf_counter()
    for name in _BASE:
        import_module(name)
    before, base, base_cpu = set(sys.modules), time.perf_counter(), time.process_time()
    import_module("otel_rum_exporter.exporters")
    done, done_cpu, new = time.perf_counter(), time.process_time(), set(sys.modules) - before
    return {
        "base_ms": 1e3 * (base - started),
        "exporters_ms": 1e3 * (done - base),
        "exporters_cpu_ms": 1e3 * (done_cpu - base_cpu),
        "extras": sorted(new & _of_extras()),
    }


def _of_extras() -> set[str]:
    """Return the modules of what the extras ask for and the core does not."""
    extras = [each for each in distribution("otel-rum-exporter").requires or () if "extra ==" in each]
    names = {each.partition(" ")[0].partition(";")[0].partition("[")[0].partition(">")[0] for each in extras}
    return {
        str(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in names - {"otel-rum-exporter"}
        for file in _files(name)
        if file.suffix == ".py"
    }


def _files(name: str) -> list[PackagePath]:
    try:
        return distribution(name).files or []
    except PackageNotFoundError:  # not needed on this Python
        return []


def first_export(url: str) -> dict[str, Any]:
    """Return how long the first export took, how long until its events were delivered, and who made the client."""
    from candidates import clean_environment, rum_exporter  # noqa: PLC0415 - not when imports are measured
    from spans import make_spans  # noqa: PLC0415

    import_module("otel_rum_exporter.exporters")
    clean_environment()
    spans = make_spans(1, 1)
    threads = _watched()
    started = time.perf_counter()
    exporter = rum_exporter(url)
    made = time.perf_counter()
    exporter.export(spans)
    exported = time.perf_counter()
    is_delivered = exporter.force_flush(_FLUSH_MS)
    done = time.perf_counter()
    exporter.shutdown()
    if not is_delivered:
        raise RuntimeError("the first export was not delivered")
    return {
        "constructor_ms": 1e3 * (made - started),
        "export_ms": 1e3 * (exported - made),
        "delivered_ms": 1e3 * (done - exported),
        "on_the_apps_thread": threads.count(threading.current_thread().name),
        "client_threads": sorted(set(threads)),
    }


def _watched() -> list[str]:
    """Return the list of the threads that make botocore's clients and look for credentials, as they do."""
    from botocore.session import Session  # noqa: PLC0415 - as late as the rest

    threads: list[str] = []

    def watched(method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            threads.append(threading.current_thread().name)
            return method(*arguments, **options)

        return call

    Session.create_client = watched(Session.create_client)
    Session.get_credentials = watched(Session.get_credentials)
    return threads


def rows(found: dict[str, list[dict[str, Any]]]) -> Iterator[Row]:
    """Yield the rows of what both returned: `imports` and `starts`, one of each process."""
    imports, starts = found["imports"], found["starts"]
    over = [each["exporters_cpu_ms"] for each in imports]
    wall_ms, base_ms = (median(each[name] for each in imports) for name in ("exporters_ms", "base_ms"))
    note = f"{wall_ms:.1f} ms by the clock, after {base_ms:.0f} ms for boto3 and the SDK"
    yield Row(
        "CPU time of importing the exporters, after boto3 and the SDK", "at most 30 ms", over, 30.0, 1, "ms", note
    )
    extras = [float(len(each["extras"])) for each in imports]
    yield Row("modules of the extras among them", "none", extras, 0.0, 0, note=", ".join(imports[0]["extras"]))
    what = {name: [each[name] for each in starts] for name in starts[0]}
    yield Row("first export: the call", "shown only", what["export_ms"], None, 2, "ms")
    yield Row("first export: until delivered", "shown only", what["delivered_ms"], None, 0, "ms",
              "client, credentials, connection, request")  # fmt: skip
    on_app = [float(each) for each in what["on_the_apps_thread"]]
    note = "made by " + ", ".join(starts[0]["client_threads"])
    yield Row("first export: clients made and credentials looked for on the app's thread", "none", on_app, 0.0, 0,
              note=note)  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(json.dumps(importing() if sys.argv[1] == "import" else first_export(sys.argv[2])))
