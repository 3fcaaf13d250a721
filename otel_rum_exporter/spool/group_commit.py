"""One commit for all who want one at the same time: whoever comes first commits for those that came meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

GivenT = TypeVar("GivenT")
ResultT = TypeVar("ResultT")


class _Ticket(Generic[GivenT, ResultT]):
    def __init__(self, given: GivenT) -> None:
        self.given = given
        self.outcome: ResultT | Exception | None = None


class GroupCommit(Generic[GivenT, ResultT]):
    """Gathers what threads submit while a commit is under way, and commits it together with the next one.

    Shape:  calls from n threads -> between 1 and n commits; no timer, so that a lone caller never waits for others.
    Errors: `submit` raises what `commit` returns for it. When `commit` itself raises, so do all calls of its group.
    """

    def __init__(self, commit: Callable[[Sequence[GivenT]], Sequence[ResultT | Exception]]) -> None:
        """Commit by a function that returns for each submission its result, or the exception to raise."""
        self._commit = commit
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[_Ticket[GivenT, ResultT]] = []
        self._is_committing = False

    def submit(self, given: GivenT) -> ResultT:
        """Return when this is committed, by this thread or by another one."""
        ticket: _Ticket[GivenT, ResultT] = _Ticket(given)
        with self._changed:
            self._waiting.append(ticket)
            while self._is_committing and ticket.outcome is None:
                self._changed.wait()
            group = self._take_group_locked(ticket)
        if group:
            self._lead(group)
        outcome = ticket.outcome
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None  # noqa: S101 - the leader gave every ticket of its group an outcome
        return outcome

    def _take_group_locked(self, ticket: _Ticket[GivenT, ResultT]) -> list[_Ticket[GivenT, ResultT]]:
        """Return the group that this thread is to commit; nothing where another thread has done so."""
        if ticket.outcome is not None:
            return []
        group, self._waiting = self._waiting, []
        self._is_committing = True
        return group

    def _lead(self, group: list[_Ticket[GivenT, ResultT]]) -> None:
        outcomes: Sequence[ResultT | Exception] = [RuntimeError("the commit of another thread failed") for _ in group]
        try:
            outcomes = self._commit([ticket.given for ticket in group])
        finally:
            with self._changed:
                for ticket, outcome in zip(group, outcomes, strict=True):
                    ticket.outcome = outcome
                self._is_committing = False
                self._changed.notify_all()
