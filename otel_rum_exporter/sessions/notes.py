"""What is noted of one session: what items said that others need, what was reported, and how many were sent."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain
from struct import Struct as Layout
from typing import Any

import msgspec
from msgspec import Struct

_MAX_NOTES = 256  # of a session
_MAX_CALLS = 8  # of one URL
_CALL = "call"
_NAME = Layout("<Q")  # the hash of a key, and in the last byte of what kind the note is
_NAME_BYTES = _NAME.size
_HASH_BITS = 2**56 - 1
_FACT, _SEEN, _SENT = 1 << 56, 2 << 56, 3 << 56
_FACT_KIND = b"\1"
_KINDS = slice(_NAME_BYTES - 1, None, _NAME_BYTES)  # where names have it
_CALL_TIMES = Layout("<2Q")  # start and end
# as measured with 100,000 sessions: a note, what it has for a member of a tuple, and for a pair of a dictionary
_NOTE_BYTES, _MEMBER_BYTES, _PAIR_BYTES = 65, 40, 140


class Notes(Struct, frozen=True, gc=False):
    """Values by the hashes of their names, the oldest first.

    There are many sessions, each with some notes: names in one string of bytes and values in one tuple take a fraction
    of a dictionary with its keys, and are found as fast. A change makes new notes, so that any thread may read old ones.

    Bounded: of too many the oldest fact is forgotten, or the oldest of all where there is no fact.
    """

    names: bytes = b""
    values: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def fact(self, key: Hashable) -> Any:
        """Return what items of the session said that others need, None if none did."""
        fact = self._get(_name(key, _FACT))
        if not isinstance(fact, bytes):
            return fact
        return tuple(chain(*_CALL_TIMES.iter_unpack(fact))) if _is_call(key) else _unpacked(fact)

    def seen_ns(self, key: Hashable) -> int | None:
        """Return when what has a key was reported, None if it was not."""
        time_ns: int | None = self._get(_name(key, _SEEN))
        return time_ns

    def number_sent(self, kind: Hashable) -> int:
        """Return how many of a kind were sent, of which there may be only so many."""
        return self._get(_name(kind, _SENT)) or 0

    def with_fact(self, key: Hashable, fact: Any) -> tuple[Notes, int]:
        """Return the notes with what other items need, of the calls of a URL the latest, and how much they grew by.

        Units:  bytes, estimated.
        """
        name = _name(key, _FACT)
        if _is_call(key):
            fact = ((self._get(name) or b"") + _CALL_TIMES.pack(*fact))[-_MAX_CALLS * _CALL_TIMES.size :]
        elif isinstance(fact, dict | tuple):  # a load's marks as a dictionary take three times as much
            fact = msgspec.msgpack.encode(fact)
        return self._with(name, fact)

    def with_seen(self, key: Hashable, time_ns: int) -> tuple[Notes, int]:
        """Return the notes with what was reported, and how much they grew by."""
        return self._with(_name(key, _SEEN), time_ns)

    def with_sent(self, kind: Hashable) -> tuple[Notes, int]:
        """Return the notes with one more sent of a kind, and how much they grew by."""
        return self._with(_name(kind, _SENT), self.number_sent(kind) + 1)

    def _get(self, name: bytes) -> Any:
        index = _index(self.names, name)
        return None if index is None else self.values[index]

    def _with(self, name: bytes, value: Any) -> tuple[Notes, int]:
        names, values, grown = self.names + name, (*self.values, value), _bytes_of(value)
        gone = _index(self.names, name)
        if gone is None and len(values) > _MAX_NOTES:
            gone = max(0, names[_KINDS].find(_FACT_KIND))
        if gone is not None:
            grown -= _bytes_of(values[gone])
            names = names[: gone * _NAME_BYTES] + names[(gone + 1) * _NAME_BYTES :]
            values = values[:gone] + values[gone + 1 :]
        return Notes(names, values), grown


NO_NOTES = Notes()


def _name(key: Hashable, kind: int) -> bytes:
    return _NAME.pack(hash(key) & _HASH_BITS | kind)


def _is_call(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == _CALL


def _unpacked(fact: bytes) -> dict[str, Any] | tuple[Any, ...]:
    value = msgspec.msgpack.decode(fact)
    return tuple(value) if isinstance(value, list) else value


def _index(names: bytes, name: bytes) -> int | None:
    """Return which of the names it is; where the end of one and the start of the next look like it, that is none."""
    at = names.find(name)
    while at >= 0:
        if not at % _NAME_BYTES:
            return at // _NAME_BYTES
        at = names.find(name, at + 1)
    return None


def _bytes_of(value: Any) -> int:
    """Return what a note takes, roughly: what has many members takes more."""
    if isinstance(value, int):
        return _NOTE_BYTES
    if isinstance(value, (bytes, str)):
        return _NOTE_BYTES + len(value)
    if isinstance(value, (dict, tuple)):
        return _NOTE_BYTES + (_PAIR_BYTES if isinstance(value, dict) else _MEMBER_BYTES) * len(value)
    if isinstance(value, Struct):
        return _NOTE_BYTES + sum(_bytes_of(getattr(value, name)) for name in value.__struct_fields__)
    return _NOTE_BYTES
