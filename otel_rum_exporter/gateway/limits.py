"""How much each may send: by address, by token, by session. Pure: the caller has the clock and the lock, if it needs one."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from msgspec import Struct

_LATEST_S = 5


class Rate(Struct, frozen=True):
    """How much may come: so much a second, and so much at once after a pause. 0 a second is no limit."""

    per_second: float
    burst: float

    @property
    def is_limit(self) -> bool:
        """Whether this limits anything."""
        return self.per_second > 0


def records_rate(per_second: float) -> Rate:
    """Return a limit of records: a request is taken as long as something is left, and what it had too much waits for."""
    return Rate(per_second, max(1.0, per_second))


class RateTable:
    """What each sender may still send.

    Shape:  a token bucket for each key. Of more than `size` keys the one that was seen longest ago is forgotten, and
            begins anew with a full bucket.
    Units:  times are seconds of the caller's clock.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # what is left, and when it was

    def __len__(self) -> int:
        return len(self._levels)

    def wait_s(self, key: Hashable, rate: Rate, now: float, cost: float = 1.0) -> float:
        """Return in how many seconds there will be enough left; 0 if there is."""
        if not rate.is_limit:
            return 0.0
        missing = min(cost, rate.burst) - self._level(key, rate, now)
        return max(0.0, missing / rate.per_second)

    def charge(self, key: Hashable, rate: Rate, now: float, cost: float = 1.0) -> None:
        """Take note of what was sent, also when that was more than was left: then the sender waits for longer.

        A negative cost gives back what was charged before.
        """
        if not rate.is_limit:
            return
        self._levels[key] = (self._level(key, rate, now) - cost, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._size:
            self._levels.popitem(last=False)

    def take(self, key: Hashable, rate: Rate, now: float, cost: float = 1.0) -> float:
        """Charge, if there is enough left. Returns 0, or in how many seconds there will be."""
        wait_s = self.wait_s(key, rate, now, cost)
        if wait_s == 0.0:
            self.charge(key, rate, now, cost)
        return wait_s

    def _level(self, key: Hashable, rate: Rate, now: float) -> float:
        level, at = self._levels.get(key, (rate.burst, now))
        return min(rate.burst, level + max(0.0, now - at) * rate.per_second)


class Held:
    """The bytes of bodies that were received and are not dealt with yet, and how many bodies that are.

    One client gets a share of the bytes only, one client and one token a share of the bodies, so that whoever sends slowly,
    or much at once, holds up nobody else.
    """

    def __init__(self, max_bodies: int, max_bytes: int) -> None:
        self._max_bodies = max_bodies
        self._max_bytes = max_bytes
        self._max_bytes_of_one = max_bytes / 4
        self._max_bodies_of_one = (max_bodies + 1) // 2
        self._by_client: Counter[str] = Counter()
        self._bodies_of: Counter[Hashable] = Counter()
        self.size_bytes = 0
        self.bodies = 0

    def take(self, client: str, number: int) -> bool:
        """Hold so many bytes more. Returns False, and holds none of them, when that is too many."""
        if not self.has_bytes(number) or self._by_client[client] + number > self._max_bytes_of_one:
            return False
        self.size_bytes += number
        self._by_client[client] += number
        return True

    def has_bytes(self, number: int) -> bool:
        """Tell whether there is room for so many bytes more, whoever sends them."""
        return self.size_bytes + number <= self._max_bytes

    def release(self, client: str, number: int) -> None:
        """Hold so many bytes less."""
        self.size_bytes -= number
        self._by_client[client] -= number
        if not self._by_client[client]:
            del self._by_client[client]

    @contextmanager
    def working(self, *whose: Hashable) -> Iterator[None]:
        """Count a body as worked on, or waiting for that, until the block ends. `whose` are its client and its token."""
        self.bodies += 1
        self._bodies_of.update(whose)
        try:
            yield
        finally:
            self.bodies -= 1
            self._bodies_of.subtract(whose)
            for each in whose:
                if not self._bodies_of[each]:
                    del self._bodies_of[each]

    def has_room(self, *whose: Hashable) -> bool:
        """Tell whether one more body may be worked on, or wait for that."""
        return self.bodies < self._max_bodies and all(self._bodies_of[each] < self._max_bodies_of_one for each in whose)


def retry_after(wait_s: float, chance: float) -> int:
    """Return when a sender may try again, spread so that not all do so at once.

    Units:  whole seconds from 1 to 5: OTLP exporters drop what they would have to hold back for longer than their timeout.

    Args:
        wait_s: How long it takes as far as that is known.
        chance: A number from 0 to less than 1.
    """
    earliest = min(_LATEST_S - 1, max(1, math.ceil(wait_s)))
    return earliest + int(chance * (_LATEST_S + 1 - earliest))
