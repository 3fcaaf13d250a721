"""Items in, PutRumEvents requests out: the way through the package without its threads and its network."""

import json
from collections import Counter

import msgspec
from msgspec.structs import replace

from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.convert import Converter, LogEventIds
from otel_rum_exporter.drops import DropReason
from otel_rum_exporter.sending.assembly import assemble
from otel_rum_exporter.sending.batching import Batches
from otel_rum_exporter.sessions.identity import NOBODY, ProcessSession
from otel_rum_exporter.sessions.session import Sessions

MONITOR = "11111111-2222-4333-8444-555555555555"
PROCESS_SESSION = "99999999-8888-4777-8666-555555555555"


def configured(**options):
    """A configuration; sequences may be lists, as JSON has them."""
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return RumConfig(**{"app_monitor_id": MONITOR, **frozen})


class StraightLine:
    """Admits items as the pipeline does, at one moment, and builds what is due."""

    def __init__(self, config=None, *, session_metadata=True, waiting=None):
        """`waiting` is what becomes of a draft while it waits."""
        self._config = config or configured()
        self._converter = Converter(self._config)
        self.sessions = Sessions(self._config, ProcessSession(PROCESS_SESSION))
        self._batches = Batches(self._config.max_events, self._config.max_bytes, linger_s=0)
        self._session_metadata = session_metadata
        self._waiting = waiting or (lambda draft: draft)
        self.items_dropped = Counter()
        self.events_dropped = Counter()

    def put(self, items):
        """Admit the items of one export."""
        ids = LogEventIds()
        for item in items:
            converted = self._converter.log(item, ids) if hasattr(item, "log_record") else self._converter.span(item)
            if not isinstance(converted, DropReason):
                converted = self.sessions.admit(converted, converted.origin.monitor, now=0.0)
            if isinstance(converted, DropReason):
                self.items_dropped[str(converted)] += 1
                continue
            for admitted in converted:
                keyed = replace(admitted, draft=self._waiting(admitted.draft))
                if self._batches.add(keyed, 0.0, 0) is not None:
                    self.events_dropped["duplicate"] += 1

    def requests(self):
        """Build all batches, as the parameters of PutRumEvents."""
        self._batches.flush(0)
        requests = []
        while (queued := self._batches.take(0.0)) is not None:
            key = queued[0].key
            view = self.sessions.view(key.context)
            assembled = assemble(queued, view, self._config, session_metadata=self._session_metadata)
            self.sessions.count_sent(key.context, assembled.counted.elements())
            self.events_dropped.update(str(reason) for _, reason in assembled.dropped)
            if assembled.left:
                self._batches.give_back(assembled.left)
            if assembled.batch is not None:
                requests.append(msgspec.to_builtins(assembled.batch.request()))
            self._batches.release(key)
        return requests


def readable(request):
    """A request without its random and derived ids, JSON in strings unfolded, what is the same in all left out."""
    user = request["UserDetails"]
    shown = {"sessionId": user["sessionId"]}
    if user["userId"] != NOBODY:
        shown["userId"] = user["userId"]
    if request["AppMonitorDetails"] != {"id": MONITOR, "version": "1.0.0"}:
        shown["AppMonitorDetails"] = request["AppMonitorDetails"]
    if "Alias" in request:
        shown["Alias"] = request["Alias"]
    if "SessionMetadata" in request:
        shown["SessionMetadata"] = json.loads(request["SessionMetadata"])
    shown["RumEvents"] = [
        {
            "type": event["type"],
            "timestamp": event["timestamp"],
            "details": json.loads(event["details"]),
            "metadata": json.loads(event["metadata"]),
        }
        for event in request["RumEvents"]
    ]
    return shown
