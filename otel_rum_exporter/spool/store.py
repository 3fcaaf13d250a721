"""What the pipeline keeps on disk: events until they are delivered, batches while they are on their way, dead letters.

All methods but `owe` do I/O, so they are called without the pipeline's lock. Where the disk fails, events wait in memory alone.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, TypeVar

from otel_rum_exporter.cause_log import CauseLog, printable
from otel_rum_exporter.config import RumConfig
from otel_rum_exporter.encoding import encode
from otel_rum_exporter.sending.batching import Queued, Stored
from otel_rum_exporter.sending.delivery import Delivery, Rejection
from otel_rum_exporter.sending.ledger import Loaded, Resumed
from otel_rum_exporter.sessions.session import Keyed
from otel_rum_exporter.spool.backlog import Backlog
from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.owed import Owed
from otel_rum_exporter.spool.own_ids import OwnIds
from otel_rum_exporter.spool.queue import (
    Burial,
    NewRow,
    Spool,
    SpoolBusyError,
    SpoolCorruptError,
    SpoolError,
    SpoolFull,
    SpoolMovedError,
    SpoolOptions,
)
from otel_rum_exporter.spool.stored import body_of, row_of

_SAVED_TOGETHER = 500  # events in a transaction, which others may wait for
_REST_S = 5.0  # after a file could not be put back
_CLOSING = "A spool file could not be closed"
_IN_MEMORY = "Events are kept in memory only"

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class Store:
    """The spool files of this process: its own, and those that others left.

    Thread-safe. Errors: none are raised; what fails is logged, and `keep` returns None for events that are not kept.
    What could not be removed is tried again, and a file that was removed itself is put back.
    """

    def __init__(
        self,
        config: RumConfig,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember where; nothing is opened before it is needed.

        Args:
            config: `spool_dir` is set; the other options of the spool and `max_age` count.
            wall: Epoch seconds.
            clock: Monotonic seconds.
        """
        self._config = config
        self._wall = wall
        self._clock = clock
        self._log = CauseLog(_logger, clock)
        self._lock = threading.Lock()
        self._directory: SpoolDirectory | None = None
        self._own: Spool | None = None
        self._files: dict[Spool, OwnIds] = {}
        self._owed = Owed(self._failed, self._has, clock)
        self._backlog = Backlog(config.max_age_s, self._owed, self._failed, wall)
        self._unspooled = self._evicted = 0
        self._securing = threading.Lock()
        self._is_adrift = False  # whether a file was found removed, and is to be put back
        self._restores_from = -math.inf
        self._is_open = self._is_closed = False

    # events

    def keep(self, keyed: Sequence[Keyed], wait_s: float = 0.0) -> list[Stored | None]:
        """Commit events. Returns where each is kept; None for all where the disk is full or fails.

        Where others hold the file it is tried for some 0.1 s, since an application waits for it; for longer with `wait_s`.
        """
        spool = self._opened() if keyed else None
        if spool is not None:
            try:
                return [*self._committed(spool, _rows_of(keyed, repeat(0.0), self._wall()), self._clock() + wait_s)]
            except (SpoolError, SpoolFull) as error:
                self._failed(spool, error, _IN_MEMORY)
        with self._lock:
            self._unspooled += len(keyed)
        return [None] * len(keyed)

    def save(self, keyed: Sequence[Keyed], ages_s: Sequence[float], wait_s: float) -> list[Stored | None]:
        """Commit what is in memory only, and try for longer. Each has waited for so long already.

        Where there is no room for all of it, as many as there is room for are kept, from the first on.
        """
        self.secure()
        stored: list[Stored | None] = []
        spool = self._opened() if keyed else None
        if spool is not None:
            rows, until = _rows_of(keyed, ages_s, self._wall()), self._clock() + wait_s
            while some := rows[len(stored) : len(stored) + _SAVED_TOGETHER]:
                kept = self._saved(spool, some, until)
                stored += kept
                if len(kept) < len(some):
                    break
        return stored + [None] * (len(keyed) - len(stored))

    def _saved(self, spool: Spool, rows: Sequence[NewRow], until: float) -> list[Stored]:
        """Commit rows; where there is no room for all, half of them, and then as many as possible of the others."""
        try:
            return self._committed(spool, rows, until)
        except (SpoolError, SpoolFull) as error:
            if len(rows) == 1 or not isinstance(error, SpoolFull):
                self._failed(spool, error, _IN_MEMORY)
                return []
        middle = len(rows) // 2
        kept = self._saved(spool, rows[:middle], until)
        return kept if len(kept) < middle else kept + self._saved(spool, rows[middle:], until)

    def _committed(self, spool: Spool, rows: Sequence[NewRow], until: float) -> list[Stored]:
        """Commit rows, all or none of them."""
        with self._lock:
            given = self._files.get(spool) or OwnIds()  # it may have been set aside just now
            given.begin()
        ids: list[int] = []
        try:
            ids = self._append(spool, rows, until)
        finally:
            with self._lock:
                given.end(ids)
        return [Stored(spool, each) for each in ids]

    def _append(self, spool: Spool, rows: Sequence[NewRow], until: float) -> list[int]:
        """Commit rows; where others hold the file, try again until some moment."""
        while self._clock() < until:
            with suppress(SpoolBusyError):
                return spool.append(rows)
        return spool.append(rows)

    # what is on disk alone

    def leave(self, stored: Sequence[Stored]) -> None:
        """Take note of events for which there is no room in memory: they are read when there is."""
        self._backlog.leave(stored)

    @property
    def has_backlog(self) -> bool:
        """Whether there is something that is not in memory and may be read, or a file that is to be put back."""
        return self._backlog.is_due or (self._is_adrift and self._clock() >= self._restores_from)

    def load(self) -> Loaded | None:
        """Read the next rows, the oldest first; None if there are none. One thread at a time may."""
        if self._is_adrift:
            self.secure()
        return self._backlog.load()

    def expire(self) -> list[Loaded]:
        """Give up what is too old on disk, so that there is room for what comes. Returns how much that was."""
        return self._backlog.expire()

    def resume(self) -> Resumed | None:
        """Return a batch that a process which ended was sending, if all of it is left, and none is too old."""
        return self._backlog.resume()

    def give_back(self, delivery: Delivery) -> None:
        """Let the events of a batch that cannot be sent now wait again."""
        self._backlog.give_back(delivery)

    # batches on their way

    def lease(self, delivery: Delivery) -> None:
        """Keep a batch as it is about to be sent, so that after a crash the same one is sent again."""
        kept = [each.stored for each in delivery.whole.queued if each.stored is not None]
        if not kept or len(kept) < len(delivery.whole.queued) or len({each.spool for each in kept}) > 1:
            return  # of files that others left, or partly in memory: sent anew as another batch
        spool, rows = kept[0].spool, [each.id for each in kept]
        if not self._has(spool):
            return
        body = body_of(delivery, rows)
        batch_id = delivery.whole.batch.batch_id
        self._do(spool, "A batch could not be kept", partial(spool.lease, batch_id, body, rows))

    # what ends

    def owe(self, forgotten: Iterable[Queued], buried: Iterable[Rejection]) -> None:
        """Take note of events that were delivered, or dropped for a reason, and of those that the service does not take.

        The former are to be removed, the latter to be kept for people to look at. No I/O: `settle` does it, or the end.
        """
        for spool, rows in _by_spool((each.stored, each.stored.id) for each in forgotten if each.stored):
            self._owed.add(spool, rows=rows)
        burials = (
            (queued.stored, Burial(queued.stored.id, encode(event).encode(), str(reason), message))
            for queued, event, message, reason in buried
            if queued.stored
        )
        for spool, some in _by_spool(burials):
            self._owed.add(spool, burials=some)

    def settle(self) -> None:
        """Do what is owed, with what could not be done before.

        What came from a file that was found damaged is in another one by now, and comes from there once more.
        """
        self._owed.settle()

    def await_settled(self) -> None:
        """Wait for other threads that are doing what was owed."""
        self._owed.await_others()

    def _has(self, spool: Spool) -> bool:
        """Tell whether a file is still this process's: it may have been found damaged."""
        with self._lock:
            return spool in self._files

    # files

    def tend(self) -> None:
        """Look for files whose owners died and for dead letters that were put back; remove those that are too old.

        Put back what was removed beneath this process, and try again what failed.
        """
        with self._lock:
            self._is_open = self._own is not None  # what could not be opened is tried again
        spool = self._opened()
        if spool is None or self._directory is None:
            return
        self.secure()
        self._owed.settle()
        with self._lock:
            files = list(self._files)
        for each in files:
            self._do(each, "Dead letters could not be looked after", partial(each.expire, 0))
            self._do(each, "Rows that were put back could not be found", partial(self._notice_foreign_rows, each))
        for found in self._directory.adopt():
            self._do(found, "A spool file could not be taken over", partial(self._found, found))

    def secure(self) -> bool:
        """Tell whether what was committed is where its next owner will find it. What was removed is put back first."""
        with self._securing:
            with self._lock:
                files = list(self._files)
                self._is_adrift = False
            return False not in [self._secured(spool) for spool in files]

    def _secured(self, spool: Spool) -> bool:
        if self._directory is None or (spool.has_file and spool.has_lock):
            return True
        before = spool.path.name
        try:
            self._directory.restore(spool)
        except (SpoolError, SpoolFull) as error:
            self._restores_from = self._clock() + _REST_S
            self._failed(spool, error, "A spool file that was removed while it was in use could not be put back")
            return False
        line = f"The spool file {before} was removed while it was in use; what it held is now in {spool.path.name}"
        self._log.say(logging.WARNING, "restored", line)
        return True

    def numbers(self) -> StoreNumbers:
        """Return what is on disk, and what became of it."""
        with self._lock:
            files = list(self._files)
        times = [each.oldest_ms for each in files if each.oldest_ms is not None]
        return StoreNumbers(
            spooled=sum(each.events for each in files),
            spooled_bytes=sum(each.size_bytes for each in files),
            spool_age_s=max(0.0, self._wall() - min(times) / 1000) if times else 0.0,
            spool_dead_letters=sum(each.dead_letters for each in files),
            spool_dead_letters_evicted=self._evicted + sum(each.dead_letters_evicted for each in files),
            spool_files_damaged=self._directory.quarantined if self._directory else 0,
            unspooled=self._unspooled,
        )

    def close(self) -> int:
        """Leave the files to whoever comes next. Returns how many events are lost with files that were removed."""
        self.secure()
        self._owed.settle(is_last=True)
        with self._securing, self._lock:  # nobody puts back what is closed
            files, self._files, self._own = list(self._files), {}, None
            self._is_closed = True
            self._backlog.clear()
            self._evicted += sum(each.dead_letters_evicted for each in files)
        left = sum(each.events for each in files if each.has_file)
        lost = sum(each.events - self._owed.of(each) for each in files if not each.has_file)
        for spool in files:
            self._do(spool, _CLOSING, spool.close)
        if left:
            stay = "1 event stays" if left == 1 else f"{left} events stay"
            line = (
                f"{stay} in the spool {self._config.spool_dir}, for the next start or for another process that uses it"
            )
            self._log.say(logging.INFO, "left", line)
        return lost

    def abandon(self) -> None:
        """Leave the files to the parent, after a fork."""
        for spool in self._files:
            spool.abandon()

    def _opened(self) -> Spool | None:
        with self._lock:
            if self._is_open or self._is_closed:
                return self._own
            self._is_open = True
            try:
                own = self._open()
                self._take_note_locked(own)
            except (SpoolError, SpoolFull) as error:
                line = f"No spool; events are kept in memory only: {printable(error)}"
                self._log.say(logging.ERROR, "open", line)
                return None
            self._own = own
            return own

    def _open(self) -> Spool:
        config = self._config
        options = SpoolOptions(
            max_bytes=config.spool_max_bytes,
            reserve_bytes=config.spool_reserve_bytes,
            fsync=config.spool_fsync,
            wall=self._wall,
        )
        self._directory = self._directory or SpoolDirectory(config.spool_dir or Path(), options)
        return self._directory.open_own()

    def _found(self, spool: Spool) -> None:
        with self._lock:
            is_wanted = not self._is_closed  # perhaps meanwhile; then it may even be what was just closed
            if is_wanted:
                self._take_note_locked(spool)
        if not is_wanted:
            spool.close()

    def _take_note_locked(self, spool: Spool) -> None:
        """Take note of what is in a file that is this process's from now on."""
        try:
            leases, last = spool.leases(), spool.last_id()
        except (SpoolError, SpoolFull):
            spool.close()  # to be taken over again later
            raise
        self._files[spool] = OwnIds(last)
        self._backlog.add_file(spool, leases, last)

    def _notice_foreign_rows(self, spool: Spool) -> None:
        with self._lock:
            ids = self._files.get(spool)
            if ids is None or ids.is_busy:  # what is being committed may be among the ids, and taken note of too late
                return
            given = ids.begun
        last_id = spool.last_id()  # without the lock, for which exports wait
        with self._lock:
            if spool in self._files and not ids.is_busy and ids.begun == given:
                self._backlog.add_rows(spool, ids.gaps(last_id))

    def _do(self, spool: Spool, trouble: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (SpoolError, SpoolFull) as error:
            self._failed(spool, error, trouble)

    def _failed(self, spool: Spool, error: SpoolError | SpoolFull, trouble: str) -> None:
        if self._is_closed and trouble != _CLOSING:
            return  # a thread that was at it comes too late, and whoever opens the file next does it
        cause = trouble if trouble == _IN_MEMORY else type(error).__name__  # that is told whatever else fails
        self._log.say(logging.ERROR, cause, f"{trouble}: {printable(error)}")
        if isinstance(error, SpoolCorruptError):
            self._set_aside(spool)
        elif isinstance(error, SpoolMovedError):
            self._is_adrift = True
        if not self._has(spool):  # what another thread was about to remove as the file was set aside
            self._owed.drop(spool)

    def _set_aside(self, spool: Spool) -> None:
        """Close a damaged file: opening it again saves what can be read, which counts anew."""
        with self._lock:
            if spool not in self._files:
                return
            del self._files[spool]
            self._evicted += spool.dead_letters_evicted
            self._backlog.drop(spool)
            if spool is self._own:
                self._own, self._is_open = None, False
        self._owed.drop(spool)
        self._do(spool, "A damaged spool file could not be closed", spool.close)


class StoreNumbers(NamedTuple):
    """What is on disk, as `Statistics` names it."""

    spooled: int
    spooled_bytes: int
    spool_age_s: float
    spool_dead_letters: int
    spool_dead_letters_evicted: int
    spool_files_damaged: int
    unspooled: int


def _rows_of(keyed: Iterable[Keyed], ages_s: Iterable[float], now_s: float) -> list[NewRow]:
    return [row_of(each, int((now_s - age_s) * 1000)) for each, age_s in zip(keyed, ages_s, strict=False)]


def _by_spool(kept: Iterable[tuple[Stored, T]]) -> Iterator[tuple[Spool, list[T]]]:
    """Yield what belongs to each file."""
    of_each: dict[Spool, list[T]] = {}
    for stored, each in kept:
        of_each.setdefault(stored.spool, []).append(each)
    yield from of_each.items()
