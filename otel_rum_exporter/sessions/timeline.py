"""The pages of a session, in the order of their time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

_MAX_VISITS = 64  # pages remembered of a session


class Visit(Struct, frozen=True, gc=False):
    """The user came to a page, or, without a view, was seen on it.

    `is_told` says that events were sent from this page as the `number`-th of its session, None without a number.
    """

    time_ns: int
    page_id: str
    is_view: bool = True
    title: str = ""
    is_told: bool = False
    number: int | None = None

    @property
    def order(self) -> tuple[int, str, bool, str]:
        """What visits are ordered by, and equal visits have in common."""
        return self.time_ns, self.page_id, self.is_view, self.title


class Place(NamedTuple):
    """A page in a session: the `interaction`-th from 0, and the one before it. Both are None of pages without a view."""

    visit: Visit
    interaction: int | None
    parent: Visit | None


class Timeline(NamedTuple):
    """The pages of a session in the order of their time, however they arrive.

    A change makes a new timeline, so that any thread may read an old one.

    What was told stays: pages from which events were sent keep their numbers, and a page that turns out to lie before
    them gets none.

    Bounded: the oldest visits are forgotten when there are too many, and what is older still is not taken. Of the
    moments at which the user was seen on one page without a view the first and the last are kept.
    """

    visits: tuple[Visit, ...] = ()
    forgotten: int = 0
    """How many pages were forgotten."""

    @property
    def places(self) -> Sequence[Place]:
        """The pages so far, as of this moment."""
        return _places(self.visits, self.forgotten) if self.visits else ()

    def with_visit(self, visit: Visit) -> Timeline:
        """Return the pages with a visit."""
        visits = [*self.visits]
        index = bisect_left(visits, visit.order, key=_order)
        is_known = index < len(visits) and visits[index].order == visit.order
        if is_known or (not index and len(visits) == _MAX_VISITS):
            return self
        if index < len(visits) and visits[index].is_told:
            visit = replace(visit, is_told=True, number=_number_before(visits, index, visit.page_id))
        visits.insert(index, visit)
        for each in (index + 1, index, index - 1):
            if _is_passing(visits, each):
                del visits[each]
        forgotten = self._forget_oldest(visits) if len(visits) > _MAX_VISITS else self.forgotten
        return Timeline(tuple(visits), forgotten)

    def told(self, time_ns: int) -> Timeline:
        """Return the pages, of which those up to the one that began at a moment keep their numbers: an event on it is about to be sent."""
        told = list(takewhile(lambda visit: visit.time_ns <= time_ns, self.visits))
        if told and not told[-1].is_told:
            numbers = _numbers(self.visits, self.forgotten)
            told = [replace(visit, is_told=True, number=next(numbers)) for visit in told]
            return Timeline((*told, *self.visits[len(told) :]), self.forgotten)
        return self

    def _forget_oldest(self, visits: list[Visit]) -> int:
        """Take the oldest visit out. Returns how many pages are forgotten then."""
        oldest = visits.pop(0)
        number = oldest.number if oldest.is_told else self.forgotten
        if oldest.is_view and number is not None:
            same = takewhile(lambda visit: visit.page_id == oldest.page_id, visits)
            # the pages that are left keep their numbers
            return max(self.forgotten, number + (not any(visit.is_view for visit in same)))
        return self.forgotten


def _order(visit: Visit) -> tuple[int, str, bool, str]:
    return visit.order


def _number_before(visits: Sequence[Visit], index: int, page_id: str) -> int | None:
    """Return the number of a visit that comes too late to count: the user was on that page anyway, or it has none."""
    return visits[index - 1].number if index and visits[index - 1].page_id == page_id else None


def _is_passing(visits: list[Visit], index: int) -> bool:
    """Tell whether a sight of the user says nothing new: it is between two others on the same page, or of a view's moment."""
    if not 0 <= index < len(visits) - 1 or visits[index].is_view:
        return False
    sight, after = visits[index], visits[index + 1]
    if sight.page_id != after.page_id:
        return False
    is_of_view = after.is_view and after.time_ns == sight.time_ns and after.is_told is sight.is_told
    return is_of_view or (index > 0 and visits[index - 1].page_id == sight.page_id)


def _numbers(visits: Sequence[Visit], forgotten: int) -> Iterator[int | None]:
    """Return for each visit the number of its page in the session."""
    numbers: list[int | None] = []
    free = max(forgotten, *(visit.number + 1 for visit in visits if visit.number is not None), 0)
    page_id: str | None = None
    number: int | None = None
    for visit in visits:
        is_new = visit.page_id != page_id
        if visit.is_told:
            number = visit.number
        elif visit.is_view and (is_new or number is None):
            number, free = free, free + 1
            _number_sights(numbers, visits, number)
        elif is_new:
            number = None
        page_id = visit.page_id
        numbers.append(number)
    return iter(numbers)


def _number_sights(numbers: list[int | None], visits: Sequence[Visit], number: int) -> None:
    """Number the visits just before a view, at which the user was seen on its page already."""
    page_id = visits[len(numbers)].page_id
    for index in reversed(range(len(numbers))):
        if visits[index].page_id != page_id or visits[index].is_told:
            return
        numbers[index] = number


def _places(visits: Sequence[Visit], forgotten: int) -> tuple[Place, ...]:
    places: list[Place] = []
    begun: dict[int, Visit] = {}  # the visit with which the page of a number began
    for visit, number in zip(visits, _numbers(visits, forgotten), strict=True):
        current = places[-1] if places else None
        is_new = current is None or (visit.page_id, number) != (current.visit.page_id, current.interaction)
        is_viewed = visit.is_view and (is_new or not (current and current.visit.is_view))
        if not is_new and not is_viewed:
            continue
        place = Place(visit, number, None if number is None else begun.get(number - 1))
        if current and not is_new:  # the user was seen on the page before its view was told of
            places[-1] = place._replace(visit=replace(visit, time_ns=current.visit.time_ns))
        places.append(place)
        if number is not None and visit.is_view:
            begun.setdefault(number, visit)
    return tuple(places)
