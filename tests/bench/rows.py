"""A figure and its target: what a row of the benchmark's table is."""

from dataclasses import dataclass
from statistics import median

VERDICTS = {True: "met", False: "MISSED", None: "-"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        figure: What was measured, in words.
        target: What is asked, in words.
        values: The figure in each round, or each time that it was measured.
        most: The target as a number, which the median must not exceed; None where nothing is asked.
        digits: After the decimal point, as shown.
        unit: Of the values.
        note: What the figure contains, or what it was made of.
        least: Likewise, what the median must reach.
    """

    figure: str
    target: str
    values: list[float]
    most: float | None
    digits: int = 2
    unit: str = ""
    note: str = ""
    least: float | None = None

    @property
    def median(self) -> float:
        """What counts."""
        return median(self.values)

    @property
    def measured(self) -> str:
        """The median, with the least and the most."""
        middle, low, high = (f"{each:.{self.digits}f}" for each in (self.median, min(self.values), max(self.values)))
        spread = f" ({low}-{high})" if len(self.values) > 1 else ""
        return f"{middle}{spread}{self.unit and ' ' + self.unit}"

    @property
    def verdict(self) -> str:
        """Whether the median is within the target."""
        if self.most is None and self.least is None:
            return VERDICTS[None]
        is_within = self.most is None or self.median <= self.most
        return VERDICTS[is_within and (self.least is None or self.median >= self.least)]


def ratios(mine: list[float], others: list[float]) -> list[float]:
    """Return how many times the one is the other, of each round: what slows the machine down slows both."""
    return [each / other for each, other in zip(mine, others, strict=True)]


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
