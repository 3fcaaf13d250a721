"""A process without threads: what a pipeline joins, on a clock of its own. A test decides who does what, and when."""

import logging

from rum_items import MONITOR_ID
from rum_service import PROCESS

from otel_rum_exporter import RumConfig
from otel_rum_exporter.client.rum_client import RumClient
from otel_rum_exporter.notices import Notices
from otel_rum_exporter.sending.ledger import Ledger
from otel_rum_exporter.sending.workers import Chore, Workers
from otel_rum_exporter.spool.store import Store


class Unthreaded:
    """A ledger, workers that never start, and a store where there is a directory for it."""

    def __init__(self, clock, spool_dir=None, *, ledger=Ledger, **options):
        defaults = {"app_monitor_id": MONITOR_ID, "region": "us-east-1", "domain": "shop.example"}
        self.config = RumConfig(**{**defaults, "session_start": "off", "spool_dir": spool_dir, **options})
        self.clock = clock
        self.ledger = ledger(self.config, process_session=PROCESS)
        self.store = Store(self.config, wall=lambda: 1.7e9 + clock(), clock=clock) if spool_dir else None
        log, client = Notices(logging.getLogger("otel_rum_exporter"), clock), RumClient(self.config)
        self.workers = Workers(self.config, self.ledger, client, self.store, log=log, clock=clock)

    @property
    def dispatch(self):
        return self.ledger.dispatch

    @property
    def stats(self):
        return self.ledger.statistics()

    @property
    def own(self):
        """The spool file that it writes to."""
        return self.store._own

    def put_events(self, events):
        """Export them; where that may have to wait for room, none comes."""
        stored = self.store.keep(events) if self.store else [None] * len(events)
        left = []
        while events:
            blocks = self.config.overflow == "block" and None in stored
            number = max(1, self.ledger.fitting(events)) if blocks else len(events)
            left += self.ledger.queue(events[:number], stored[:number], self.clock())
            events, stored = events[number:], stored[number:]
        if self.store:
            self.store.leave(left)

    def look(self):
        """Do what a thread does at a look at what is due. Returns a job, True for something else, None for nothing."""
        with self.workers.changed:
            job = self.workers._job_locked(self.clock(), is_thread=True)
        if not isinstance(job, Chore):
            return job
        self.workers._do(job)
        return True

    @property
    def looks_in_s(self):
        """In how many seconds a thread would look again."""
        return self.workers._due_in_locked(self.clock(), is_thread=True)

    def tend(self):
        self.workers._do(Chore.TEND)

    def crash(self):
        """End without a word to anybody."""
        for spool in self.store._files:
            spool._database.close()
            spool._lock.release()
