"""What a proof leaves behind: a line of the contract, its target and what was measured."""

import json
from dataclasses import asdict, dataclass

PROPERTY = "proof"
"""The name of the property that carries it in pytest's JUnit report, which survives pytest-xdist."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table.

    Attributes:
        line: The line of the contract, such as A4.
        what: What was done.
        target: What the contract asks, in words.
        measured: What was seen, in words.
        is_met: Whether that is within the target; None where there is nothing to compare with.
    """

    line: str
    what: str
    target: str
    measured: str
    is_met: bool | None

    def as_text(self):
        return json.dumps(asdict(self))


def percentile(values, share):
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
