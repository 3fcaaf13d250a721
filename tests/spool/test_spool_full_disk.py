"""A disk that is full: nothing more is kept, and all that is there can be read and taken out."""

import contextlib
import random
import shutil

import pytest
from small_disk import small_disk
from spool_tools import everything, row, rows

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import Burial, SpoolError, SpoolFull, SpoolOptions

MIB = 1024 * 1024


def fill(spool):
    """Append until that is refused; returns how many rows were kept."""
    noise, kept = random.Random(1), 0
    with contextlib.suppress(SpoolFull):
        while True:
            kept += len(spool.append([row(noise.randbytes(900)) for _ in range(50)]))
    return kept


def drain(spool):
    """Deliver everything; returns how many rows that were."""
    drained = 0
    while found := spool.load(0, 100):
        numbers = [each.id for each in found]
        spool.lease("batch", bytes(50_000), numbers)
        spool.forget(numbers)
        drained += len(found)
    return drained


def fill_up(path):
    """Leave no byte of the disk free."""
    with (path / "other").open("wb", buffering=0) as other:
        try:
            while other.write(bytes(4096)):
                pass
        except OSError:
            return


def test_all_of_it_drains(tmp_path):
    """Admission ends at the reserve; delivery goes on to the last row, and then admission does, for as many rows again."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        spool = SpoolDirectory(disk / "spool", SpoolOptions(reserve_bytes=MIB)).open_own()
        kept = fill(spool)
        assert kept > 2000
        assert shutil.disk_usage(disk).free >= MIB // 2
        assert spool.events == len(everything(spool)) == kept
        assert drain(spool) == kept
        assert (spool.events, spool.size_bytes) == (0, 0)
        assert fill(spool) > 0.9 * kept
        assert shutil.disk_usage(disk).free >= MIB // 2
        assert drain(spool) > 0.9 * kept
        spool.close()


def test_a_database_that_cannot_grow_drains(directory):
    """As a full disk shows itself to SQLite; needs no disk of its own."""
    spool = directory.open_own()
    with spool._database.reading() as connection:
        connection.execute("PRAGMA max_page_count = 400")
    kept = fill(spool)
    assert spool.events == kept > 500
    letter = spool.load(0, 1)[0].id
    with pytest.raises(SpoolFull, match="full"):
        spool.append([row(bytes(2 * MIB))])
    assert len(everything(spool)) == kept
    assert drain(spool) == kept
    spool.bury([Burial(number, b"{}", "rejected", "") for number in spool.append(rows(1, 2))])
    assert (letter, spool.purge(None)) == (1, 2)
    spool.close()


def test_a_full_disk_refuses_a_new_file_and_keeps_damaged_ones(tmp_path):
    """Nothing is put aside that could not be saved first; with room again, it is."""
    with small_disk(tmp_path / "disk", "4m") as disk:
        directory = SpoolDirectory(disk / "spool", SpoolOptions(reserve_bytes=0, max_bytes=MIB))
        spool = directory.open_own()
        kept = fill(spool)
        spool.close()
        spool.path.with_name(spool.path.name + ".suspect").touch()
        fill_up(disk)
        assert directory.adopt() == []
        with pytest.raises(SpoolError):
            directory.open_own()
        (disk / "other").unlink()
        (adopted,) = directory.adopt()
        assert (directory.quarantined, len(everything(adopted))) == (1, kept)
        adopted.close()
