"""What spool files are yet to lose: rows that ended while the disk was full or somebody else held the file."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from otel_rum_exporter.spool.queue import Burial, Spool, SpoolError, SpoolFull

_MAX_ROWS = 100_000
_MAX_BURIALS = 1000  # which hold their events, of up to 6 KiB
_AT_ONCE = 500  # in a transaction, so that it needs little of the disk
_REST_S = 5.0  # after what could not be done


@dataclass(slots=True)
class _Debt:
    burials: list[Burial] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def extend(self, burials: Sequence[Burial], rows: Sequence[int]) -> None:
        self.burials = [*self.burials, *burials][-_MAX_BURIALS:]
        self.rows = [*self.rows, *rows][-_MAX_ROWS:]

    def pay(self, spool: Spool) -> None:
        """Do some of it at a time, so that what was done is not tried again."""
        while self.burials:
            spool.bury(self.burials[:_AT_ONCE])
            del self.burials[:_AT_ONCE]
        while self.rows:
            spool.forget(self.rows[:_AT_ONCE])
            del self.rows[:_AT_ONCE]


class Owed:
    """The rows that are to be removed, or to become dead letters, until they have.

    Shape:  of more than 100,000 rows or 1,000 burials of a file the oldest stay there: they are sent again at a next start.
    Errors: none are raised; `failed` is told, and what failed is tried again. Thread-safe.
    """

    def __init__(
        self,
        failed: Callable[[Spool, SpoolError | SpoolFull, str], None],
        has: Callable[[Spool], bool],
        clock: Callable[[], float],
    ) -> None:
        """Begin with nothing.

        Args:
            failed: Told of errors.
            has: Whether a file is still this process's; one that is not is owed nothing.
            clock: Monotonic seconds.
        """
        self._failed = failed
        self._has = has
        self._clock = clock
        self._lock = threading.Lock()
        self._settling = threading.Lock()  # one thread does what all of them owe
        self._debts: dict[Spool, _Debt] = {}
        self._rests_until = -math.inf

    def add(self, spool: Spool, *, burials: Sequence[Burial] = (), rows: Sequence[int] = ()) -> None:
        """Take note of rows that are to become dead letters, and of rows that are to be removed."""
        with self._lock:
            self._debts.setdefault(spool, _Debt()).extend(burials, rows)

    def drop(self, spool: Spool) -> None:
        """Forget about a file."""
        with self._lock:
            self._debts.pop(spool, None)

    def of(self, spool: Spool) -> int:
        """Return how many rows of a file are to go."""
        with self._lock:
            debt = self._debts.get(spool, _Debt())
            return len(debt.burials) + len(debt.rows)

    def settle(self, *, is_last: bool = False) -> None:
        """Do all of it, unless some failed just now and this is not the last time. Then nobody else is at it either."""
        if not (self._debts or is_last):  # whoever exports asks, and is not to wait for those who are at it
            return
        with self._settling:
            for spool, debt in self._taken(is_last=is_last).items():
                if self._has(spool):
                    self._settle(spool, debt)

    def await_others(self) -> None:
        """Wait until nobody is at what was owed when this was called."""
        with self._settling:
            pass

    def _taken(self, *, is_last: bool) -> dict[Spool, _Debt]:
        with self._lock:
            if self._clock() < self._rests_until and not is_last:
                return {}
            debts, self._debts = self._debts, {}
            return debts

    def _settle(self, spool: Spool, debt: _Debt) -> None:
        try:
            debt.pay(spool)
        except (SpoolError, SpoolFull) as error:
            self._put_back(spool, debt)
            self._failed(spool, error, "What is delivered or refused could not be taken out of the spool yet")

    def _put_back(self, spool: Spool, debt: _Debt) -> None:
        with self._lock:
            self._rests_until = self._clock() + _REST_S
            since = self._debts.pop(spool, _Debt())
            debt.extend(since.burials, since.rows)
            self._debts[spool] = debt
