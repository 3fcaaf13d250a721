"""An application that does all at once, at random: threads that export spans and logs, flushes, forks that end in any way.

python proof_campaign_app.py JSON, with the members of `Life`. What was accepted goes to a file, line by line, and so do
complaints; what became of it is reported by each process that ends in order, as a line of statistics on standard output.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from proof_app import Spans
from proof_endpoint import document

from otel_rum_exporter import RumLogRecordExporter, RumSpanExporter

RESOURCE = Resource({"service.name": "shop"})
FLUSHES_MS = (0, 1, 50, 500, 2000)
LATE_S = 2  # for a flush, far more than it may be on a machine of its own
CHILD_S = 60  # for a child that sends three times and ends
ENDS = ("exit", "flush", "shutdown", "kill")


@dataclass(frozen=True, slots=True)
class Life:
    """What the application does.

    Attributes:
        name: What the names of its events begin with.
        seed: Of the random numbers.
        seconds: For how long it exports.
        said: The file of what was accepted, and of complaints.
        flush_s: For how long it flushes at the end.
        threads: Those that export.
        options: The exporters'.
    """

    name: str
    seed: int
    seconds: float
    said: str
    flush_s: float = 0
    threads: int = 3
    options: dict = field(default_factory=dict)


class Shop:
    """Exports, and says so."""

    def __init__(self, life):
        self.spans, self.logs = RumSpanExporter(**life.options), RumLogRecordExporter(**life.options)
        self._said = os.open(life.said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(self, *words):
        os.write(self._said, (" ".join(map(str, words)) + "\n").encode())

    def sell(self, spans, name, chance):
        """Export some events under a name that is used once."""
        number = chance.randrange(1, 20)
        if chance.random() < 0.7:
            result = self.spans.export(spans.make(name, range(number)))
        else:
            result = self.logs.export([log(f"{name}.{each}", each) for each in range(number)])
        self.say("accepted" if result.name == "SUCCESS" else "refused", name, number)

    def flush(self, chance):
        timeout_ms, at = chance.choice(FLUSHES_MS), time.monotonic()
        chance.choice((self.spans, self.logs)).force_flush(timeout_ms)
        if time.monotonic() - at > timeout_ms / 1000 + LATE_S:
            self.say("late", f"flush({timeout_ms})", time.monotonic() - at)

    def report(self):
        os.write(1, (json.dumps(document(self.spans.stats())) + "\n").encode())

    def shut(self, timeout_ms=None):
        self.spans.shutdown(timeout_ms)
        self.logs.shutdown(timeout_ms)


def log(name, number):
    """A named log event."""
    session = f"00000000-0000-4000-8000-{number % 7:012d}"
    record = LogRecord(timestamp=time.time_ns(), event_name="sold", attributes={"session.id": session, "n": name})
    return ReadableLogRecord(record, resource=RESOURCE)


def sell_in_child(shop, name, chance):
    """Fork; the child sells, and ends in one of several ways."""
    how = chance.choice(ENDS)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(CHILD_S)
        spans = Spans(7)
        for number in range(3):
            shop.sell(spans, f"{name}.{number}", chance)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "flush":
            shop.spans.force_flush(500)
        if how == "shutdown":
            shop.shut(500)
        if how != "exit":
            shop.report()
        code = 0
    finally:
        os._exit(code)


def live(life):
    shop, is_over, chance = Shop(life), threading.Event(), random.Random(life.seed)

    def repeat(pause_s, work):
        own = random.Random(chance.random())
        for number in count():
            if is_over.wait(own.expovariate(1 / pause_s)):
                return
            try:
                work(number, own)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it must not have come
                shop.say("raised", repr(error))

    def fork(number, own):
        child = sell_in_child(shop, f"{life.name}.child{number}", own)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, -signal.SIGKILL):
            shop.say("hung" if code == -signal.SIGALRM else "failed", "child", number, code)

    def seller(thread):
        spans = Spans(7)
        return lambda number, own: shop.sell(spans, f"{life.name}.{thread}.{number}", own)

    works = [(0.05, seller(each)) for each in range(life.threads)]
    works += [(0.5, lambda _, own: shop.flush(own)), (0.3, fork)]
    threads = [threading.Thread(target=repeat, args=work) for work in works]
    for thread in threads:
        thread.start()
    is_over.wait(life.seconds)
    is_over.set()
    for thread in threads:
        thread.join()
    shop.spans.force_flush(int(life.flush_s * 1000))
    shop.shut()
    shop.report()


if __name__ == "__main__":
    live(Life(**json.loads(sys.argv[1])))
