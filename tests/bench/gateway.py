"""The gateway under load: how much it takes and delivers, how long its answers take, and where its time goes.

python dev.py bench gateway [--seconds N] [--rounds N] [--json FILE] [--doc]

The gateway is the command, in a process of its own, with its spool on this disk and each commit synced; its limits by time
are lifted, and so is the pace of its requests. The load, the endpoint and the gateway share the machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import child
import gateway_load
import gateway_stages
from candidates import EXPORT_SIZE
from gateway_bodies import PER_POST, SESSIONS
from gateway_load import Load
from gateway_process import GatewayProcess, Seen, gateway_before
from memory import is_measurable
from rows import Row, ratios
from sink import Sink

from otel_rum_exporter.testing import LocalRum

EVENTS_PER_S = 5000
_SETTLED_S = 5.0  # until batches fill as they go on to
_LONGEST_VARIANT_S = 10.0
_STAGED_SPANS = 20_000
_DELIVERED_S = 60.0
_LOOK_S = 1.0
_DISK = Path(__file__).resolve().parent.parent.parent / "build"  # where temporary files often are in memory only

_AS_FAST = Load(0, 0)
_AT_TARGET = Load(0, 0, per_second=EVENTS_PER_S / PER_POST)
_AT_HALF = Load(0, 0, per_second=EVENTS_PER_S / 2 / PER_POST)


class Variant(NamedTuple):
    """Something else that is sent, or something else that it is sent to."""

    name: str
    load: Load
    has_full_endpoint: bool = False


VARIANTS = (
    Variant("JSON", _AS_FAST._replace(encoding="json")),
    Variant("protobuf, gzip", _AS_FAST._replace(is_gzip=True)),
    Variant("JSON, gzip", _AS_FAST._replace(encoding="json", is_gzip=True)),
    Variant("50 sessions in a POST", _AS_FAST._replace(kind="mixed")),
    Variant("page loads, clicks and calls of browsers", _AS_FAST._replace(kind="browser")),
    Variant("the embedded endpoint instead of the sink", _AS_FAST, has_full_endpoint=True),
    Variant("the embedded endpoint, at 5,000 events a second", _AT_TARGET, has_full_endpoint=True),
)


def measured(seconds: float, rounds: int) -> tuple[dict[str, Any], list[Row]]:
    """Measure for so many seconds, so many times. Returns the raw numbers and the rows."""
    if not is_measurable():
        sys.exit("only Linux tells how much memory and time another process has taken")
    _DISK.mkdir(exist_ok=True)
    found: dict[str, Any] = {"settings": {"seconds": seconds, "rounds": rounds}, "load_before": os.getloadavg()[0]}
    with Sink() as sink:
        for name, load in (("fastest", _AS_FAST), ("target", _AT_TARGET), ("half", _AT_HALF)):
            found[name] = [_under(load._replace(seconds=seconds), sink.url) for _ in range(rounds)]
        for name in gateway_stages.MEASURES:
            found[name] = [_staged(name, sink.url) for _ in range(rounds)]
    found["variants"] = {each.name: _varied(each, min(_LONGEST_VARIANT_S, seconds), rounds) for each in VARIANTS}
    return found, list(_rows(found))


def title(found: dict[str, Any]) -> str:
    """Return what was measured."""
    settings = found["settings"]
    return (
        f"{SESSIONS} sessions, {PER_POST} spans a POST, {settings['rounds']} rounds of {settings['seconds']:.0f} s, each "
        "with a gateway of its own; median (least-most) of the rounds. Spans of HTTP calls with 7 attributes and a "
        "session, in protobuf without gzip, one session in a POST, and a sink that takes everything, where nothing else "
        f"is said. Before, {found['load_before']:.1f} threads were at work on this machine, on average of a minute."
    )


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    fastest, target, half = found["fastest"], found["target"], found["half"]
    yield _rate("received and delivered, as fast as it answers", fastest, EVENTS_PER_S)
    yield _rate(f"received and delivered, {EVENTS_PER_S:,} a second sent", target)
    for name, runs, most in (("half that rate", half, 100.0), (f"{EVENTS_PER_S:,} events a second", target, None)):
        note = f"p50 {_middle(runs, 'p50_ms'):.1f} ms"
        yield Row(f"p99 of the answers at {name}", _target(most, "ms"), _each(runs, "p99_ms"), most, 1, "ms", note)
    note = f"{found['settings']['seconds']:.0f} s as fast as it answers; growth at the end {_growth(fastest)}"
    yield Row("RSS, at most", "under 300 MB", _each(fastest, "peak_mb"), 300.0, 0, "MB", note)
    exporter = found["exporter"]
    for size, most in ((PER_POST, 2.0), (EXPORT_SIZE, None)):
        others = [each[f"exports of {size}"] + each["ParseFromString"] for each in exporter]
        figure = f"CPU per event, of the exporter's in a process with {size} spans an export, and protobuf decoding"
        of_it, note = ratios(_each(fastest, "cpu_us"), others), f"of {median(others):.0f} us"
        yield Row(figure, "at most 2" if most else "shown only", of_it, most, note=note)
    for name, runs in found["variants"].items():
        yield _rate(name, runs)


def _rate(name: str, runs: list[dict[str, Any]], least: float | None = None) -> Row:
    """Return the row of a rate, which may not be less than the target."""
    rates = [min(each["received_per_s"] * each["events_per_record"], each["delivered_per_s"]) for each in runs]
    note = f"{_middle(runs, 'cpu_us'):.0f} us CPU an event, {_middle(runs, 'cores'):.2f} cores, {_refusals(runs)}"
    target = "shown only" if least is None else f"at least {least:,.0f}"
    return Row(name, target, rates, None, 0, "events/s", note, least)


def where(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table of where the time goes, as Markdown."""
    total, loop = (_middle(found["fastest"], name) for name in ("cpu_us", "loop_us"))
    stages = {name: median(each[name] for each in found["stages"]) for name in found["stages"][0]}
    shares = {"receive, HTTP, answer": loop, **{name: stages[name] for name in gateway_stages.STAGES}}
    shares["threads taking turns, and the rest"] = total - sum(shares.values())
    yield "| stage | us an event | share |"
    yield "| --- | --- | --- |"
    for name, took in shares.items():
        yield f"| {name} | {took:.1f} | {100 * took / total:.0f} % |"
    yield f"| all | {total:.1f} | 100 % |"
    for name in gateway_stages.ASIDE:
        yield f"| {name}, where it is needed | {stages[name]:.1f} | |"


# runs


def _under(load: Load, endpoint: str) -> dict[str, Any]:
    """Return what was seen of a gateway of its own under a load."""
    with tempfile.TemporaryDirectory(dir=_DISK) as folder, gateway_before(endpoint, Path(folder)) as process:
        with _loading(load._replace(port=process.port)) as generator:
            settled_s = min(_SETTLED_S, load.seconds / 2)
            time.sleep(settled_s)
            samples = [process.seen()]
            until = samples[0].at + load.seconds - settled_s
            while time.perf_counter() < until:
                time.sleep(max(0.0, min(_LOOK_S, until - time.perf_counter())))
                samples.append(process.seen())
            sent = json.loads(generator.stdout.readline())
        last = _emptied(process)
        return _seen(samples, sent, last, process.peak_bytes())


def _seen(samples: list[Seen], sent: dict[str, Any], last: Seen, peak_bytes: int) -> dict[str, Any]:
    first, end = samples[0], samples[-1]
    took_s = end.at - first.at
    records, delivered = end.records - first.records, end.delivered - first.delivered
    lost = sent["spans"] - last.converted
    if lost > 0 or last.queued:  # of requests that were refused some is converted, too
        raise RuntimeError(f"{lost} spans were answered with 200 and not converted, {last.queued} events still wait")
    events_per_record = last.delivered / last.records
    late = samples[len(samples) // 2]
    return {
        "received_per_s": records / took_s,
        "delivered_per_s": delivered / took_s,
        "events_per_record": events_per_record,
        "cpu_us": 1e6 * (end.cpu_s - first.cpu_s) / (records * events_per_record),
        "loop_us": 1e6 * (end.loop_cpu_s - first.loop_cpu_s) / (records * events_per_record),
        "cores": (end.cpu_s - first.cpu_s) / took_s,
        "events_per_request": last.delivered / last.requests,
        "p50_ms": sent["answer_ms"]["p50"],
        "p99_ms": sent["answer_ms"]["p99"],
        "peak_mb": peak_bytes / 1e6,
        "mb_per_minute": (end.rss_bytes - late.rss_bytes) / 1e6 / max(1e-9, end.at - late.at) * 60,
        "dropped": last.dropped,
        "sent": sent,
    }


@contextmanager
def _loading(load: Load) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, gateway_load.__file__, json.dumps(load._asdict())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as generator:
        generator.stdout.readline()  # ready
        generator.stdin.write("\n")
        generator.stdin.flush()
        yield generator


def _emptied(process: GatewayProcess) -> Seen:
    """Wait until all is delivered, and return what was seen then."""
    until = time.perf_counter() + _DELIVERED_S
    while (seen := process.seen()).queued and time.perf_counter() < until:
        time.sleep(_LOOK_S)
    return seen


def _varied(variant: Variant, seconds: float, rounds: int) -> list[dict[str, Any]]:
    load = variant.load._replace(seconds=seconds)
    with LocalRum(None) if variant.has_full_endpoint else Sink() as endpoint:
        url = endpoint.endpoint if variant.has_full_endpoint else endpoint.url
        return [_under(load, url) for _ in range(rounds)]


def _staged(name: str, url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=_DISK) as folder:
        return child.measured(gateway_stages.__file__, name, url, folder, _STAGED_SPANS)


# numbers


def _each(runs: list[dict[str, Any]], name: str) -> list[float]:
    return [each[name] for each in runs]


def _middle(runs: list[dict[str, Any]], name: str) -> float:
    return median(_each(runs, name))


def _target(most: float | None, unit: str) -> str:
    return "shown only" if most is None else f"under {most:.0f} {unit}"


def _growth(runs: list[dict[str, Any]]) -> str:
    return f"{_middle(runs, 'mb_per_minute'):+.1f} MB a minute"


def _refusals(runs: list[dict[str, Any]]) -> str:
    """Return how many requests were not taken."""
    refused = sum(number for each in runs for status, number in each["sent"]["statuses"].items() if status != "200")
    return (
        f"{refused} of {sum(each['sent']['posts'] for each in runs):,} POSTs refused" if refused else "all answered 200"
    )
