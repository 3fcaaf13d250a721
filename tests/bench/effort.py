"""How much is measured: an impression, what a developer waits for, or what a document may quote."""

from typing import NamedTuple


class Effort(NamedTuple):
    """The numbers of a run. Spans are of one round, but for `flat_spans` and those that memory is measured with."""

    rounds: int
    spans: int  # of each candidate, at each size of request
    stage_spans: int
    end_rounds: int
    end_spans: int
    memory_events: int
    memory_sessions: int
    flat_spans: int
    growth_rounds: int
    growth_spans: int
    quota_s: float  # simulated
    imports: int
    starts: int


QUICK = Effort(
    rounds=2,
    spans=100,
    stage_spans=500,
    end_rounds=1,
    end_spans=3000,
    memory_events=1000,
    memory_sessions=500,
    flat_spans=4000,
    growth_rounds=1,
    growth_spans=1024,
    quota_s=100.0,
    imports=3,
    starts=1,
)
DEFAULT = Effort(
    rounds=5,
    spans=2000,
    stage_spans=4000,
    end_rounds=3,
    end_spans=20_000,
    memory_events=10_000,
    memory_sessions=3000,
    flat_spans=300_000,
    growth_rounds=3,
    growth_spans=10_240,
    quota_s=240.0,
    imports=15,
    starts=3,
)
FULL = DEFAULT._replace(
    rounds=15, spans=4000, end_rounds=7, flat_spans=1_000_000, growth_rounds=7, quota_s=600.0, starts=7
)
