"""The row ids that a process gave out, so that those which others put into its file can be told."""

from __future__ import annotations

from collections.abc import Sequence


class OwnIds:
    """What was given out since others' rows were last looked for."""

    def __init__(self, known: int = 0) -> None:
        self._known = known
        self._given: list[tuple[int, int]] = []
        self._busy = 0
        self.begun = 0
        """How often ids were given out, or about to be."""

    @property
    def is_busy(self) -> bool:
        """Whether ids are being given out just now."""
        return self._busy > 0

    def begin(self) -> None:
        """Take note that ids are about to be given out."""
        self._busy += 1
        self.begun += 1

    def end(self, ids: Sequence[int]) -> None:
        """Take note of those that were, in order and without gaps; of none, if that failed."""
        self._busy -= 1
        if ids and self._given and self._given[-1][1] == ids[0] - 1:
            self._given[-1] = (self._given[-1][0], ids[-1])
        elif ids:
            self._given.append((ids[0], ids[-1]))

    def gaps(self, last: int) -> list[tuple[int, int]]:
        """Return the ranges of ids up to the last that this process did not give out, once."""
        gaps, after = [], self._known
        for first, end in sorted(self._given):
            if first > after + 1:
                gaps.append((after + 1, first - 1))
            after = end
        if last > after:
            gaps.append((after + 1, last))
        self._given, self._known = [], last
        return gaps
