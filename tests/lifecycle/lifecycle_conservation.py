"""Conservation: what every process counted adds up, and what all of them delivered is what arrived, once."""

import json
from dataclasses import dataclass, field


@dataclass
class Conservation:
    """The check that a test ends with.

    Attributes:
        rum: The endpoint.
        folder: Where applications report their statistics, see `lifecycle_apps`.
        exporters: Exporters of this process that count, too.
        is_unreported: Whether applications end without a report, or none sends: then only what arrived can be looked at.
        faults: How requests may end besides 200, where the test asks the endpoint for faults.
        answers_get_lost: Whether what arrived may be more than what senders know of, and arrive twice.
    """

    rum: object
    folder: object
    exporters: list = field(default_factory=list)
    is_unreported: bool = False
    faults: tuple = ()
    answers_get_lost: bool = False

    def watch(self, exporter):
        self.exporters.append(exporter)
        return exporter

    def reports(self):
        """Return the statistics of the applications, in order of their process ids."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]

    def names(self):
        """Return the names of the spans that arrived as custom events."""
        return sorted(event["details"]["name"] for event in self.rum.events("otel.span"))

    def begin_anew(self):
        """Forget what was reported and what arrived, for another run of the same."""
        for path in self.folder.glob("*.json"):
            path.unlink()
        self.rum.reset()
        self.is_unreported = True

    def check(self):
        reports = self.reports()
        own = [exporter.stats() for exporter in self.exporters]
        assert reports or own or self.is_unreported, "nobody reported"
        assert all(report["is_balanced"] for report in reports), reports
        assert all(stats.is_balanced for stats in own), own
        delivered = sum(report["delivered"] for report in reports) + sum(stats.delivered for stats in own)
        arrived = self.rum.stats()
        assert arrived["rejected_by_reason"] == {}, arrived
        assert set(arrived["requests_by_status"]) <= {"200", *self.faults}, arrived
        if self.answers_get_lost:
            assert arrived["events_distinct"] >= delivered, (arrived, reports, own)
            return
        assert arrived["events_duplicate"] == 0, arrived
        assert self.is_unreported or arrived["events_distinct"] == delivered, (arrived, reports, own)
