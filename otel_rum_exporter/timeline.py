"""The pages of a session, in the order of their time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

_MAX_VISITS = 64  # pages remembered of a session


class Visit(NamedTuple):
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


class Timeline:
    """The pages of a session in the order of their time, however they arrive."""

    def __init__(self) -> None:
        """Begin without a page."""
        self._visits: list[Visit] = []
        self._places: list[Place] = []
        self._forgotten = 0

    def add(self, visit: Visit) -> None:
        """Take note of a visit; the oldest is forgotten when there are too many."""
        insort(self._visits, visit)
        if len(self._visits) > _MAX_VISITS:
            self._forget()
        places: list[Place] = []
        views: list[Visit] = []
        for each in self._visits:
            is_new = not places or places[-1].visit.page_id != each.page_id
            if each.is_view and (is_new or places[-1].interaction is None):
                places.append(Place(each, self._forgotten + len(views), views[-1] if views else None))
                views.append(each)
            elif is_new:
                places.append(Place(each, None, None))
        self._places = places

    def _forget(self) -> None:
        oldest = self._visits.pop(0)
        following = next((visit for visit in self._visits if visit.is_view), oldest)
        self._forgotten += oldest.is_view and oldest.page_id != following.page_id

    @property
    def places(self) -> Sequence[Place]:
        """The pages so far; a later visit makes a new sequence, so this one may be read without a lock."""
        return self._places
