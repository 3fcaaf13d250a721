"""The pages of a session, in the order of their time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

_MAX_VISITS = 64  # pages remembered of a session


class Visit(Struct, frozen=True, order=True, gc=False):
    """The user came to a page, or, without a view, was seen on it. Ordered by time."""

    time_ns: int
    page_id: str
    is_view: bool = True
    title: str = ""


class Place(NamedTuple):
    """A page in a session: the `interaction`-th from 0, and the one before it. Both are None of pages without a view."""

    visit: Visit
    interaction: int | None
    parent: Visit | None


class Timeline(Struct, gc=False):
    """The pages of a session in the order of their time, however they arrive.

    Bounded: the oldest visits are forgotten when there are too many, and what is older still is not taken. Of the
    moments at which the user was seen on one page without a view the first and the last are kept.
    """

    visits: tuple[Visit, ...] = ()
    forgotten: int = 0
    """How many pages were forgotten."""

    @property
    def places(self) -> Sequence[Place]:
        """The pages so far, as of this moment."""
        return _places(self.visits, self.forgotten)

    def add(self, visit: Visit) -> None:
        """Take note of a visit."""
        visits = [*self.visits]
        index = bisect_left(visits, visit)
        is_known = index < len(visits) and visits[index] == visit
        if is_known or (not index and len(visits) == _MAX_VISITS):
            return
        visits.insert(index, visit)
        for each in (index + 1, index, index - 1):
            if _is_passing(visits, each):
                del visits[each]
        if len(visits) > _MAX_VISITS:
            self._forget(visits)
        self.visits = tuple(visits)

    def _forget(self, visits: list[Visit]) -> None:
        oldest = visits.pop(0)
        same = takewhile(lambda visit: visit.page_id == oldest.page_id, visits)
        # the pages that are left keep their numbers
        self.forgotten += oldest.is_view and not any(visit.is_view for visit in same)


def _is_passing(visits: list[Visit], index: int) -> bool:
    """Tell whether a sight of the user says nothing new: it is between two others on the same page."""
    if not 0 < index < len(visits) - 1 or visits[index].is_view:
        return False
    return visits[index - 1].page_id == visits[index].page_id == visits[index + 1].page_id


def _places(visits: Sequence[Visit], forgotten: int) -> tuple[Place, ...]:
    places: list[Place] = []
    parent: Visit | None = None
    number = forgotten
    for visit in visits:
        is_new = not places or places[-1].visit.page_id != visit.page_id
        if visit.is_view and (is_new or places[-1].interaction is None):
            place = Place(visit, number, parent)
            if not is_new:  # the user was seen on the page before its view was told of
                places[-1] = place._replace(visit=replace(visit, time_ns=places[-1].visit.time_ns))
            places.append(place)
            parent, number = visit, number + 1
        elif is_new:
            places.append(Place(visit, None, None))
    return tuple(places)
