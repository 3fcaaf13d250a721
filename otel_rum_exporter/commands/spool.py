"""`otel-rum-exporter spool`: what waits on disk and what the service refused, beside the processes that own it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from otel_rum_exporter.spool.files import SpoolDirectory
from otel_rum_exporter.spool.queue import DeadLetter, Row, Spool, SpoolError, SpoolFull

_VARIABLE = "OTEL_EXPORTER_RUM_SPOOL_DIR"
_AT_ONCE = 100
_PROGRESS_EVERY = 10_000  # rows


Numbered = TypeVar("Numbered", DeadLetter, Row)


def _directory(_context: click.Context, _option: click.Parameter, path: Path | None) -> SpoolDirectory:
    if path is None:
        raise click.UsageError(f"no directory: give --dir, or set {_VARIABLE}")
    if not path.exists() and not path.is_symlink():
        raise click.ClickException(f"there is no spool directory {path}")
    try:
        return SpoolDirectory(path)
    except SpoolError as error:
        raise click.ClickException(str(error)) from None


_in_directory = click.option(
    "--dir",
    "directory",
    callback=_directory,
    envvar=_VARIABLE,
    metavar="DIRECTORY",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Where the spool is.",
)


@click.group()
def spool() -> None:
    """See and move what waits on disk, and the dead letters.

    An exporter with a spool keeps events on disk until they are delivered. Events that CloudWatch RUM refuses become
    dead letters, for 14 days and up to 64 MiB. All this works while exporters run.

    \b
    Example:
      otel-rum-exporter spool list
      otel-rum-exporter spool requeue --all
    """  # noqa: D301 - click takes a backspace for: keep these lines


@spool.command()
@_in_directory
def status(directory: SpoolDirectory) -> None:
    """Show how much waits in each file, and since when.

    Also whose file it is, and its dead letters.
    """
    from otel_rum_exporter.commands.spool_tables import show_status  # noqa: PLC0415 - rich takes a while

    with _spools(directory) as spools:
        if _is_any(directory, spools):
            show_status(directory, spools)


@spool.command("list")
@_in_directory
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Dead letters at most.")
def list_(directory: SpoolDirectory, limit: int) -> None:
    """Show dead letters, the oldest of each file first."""
    from otel_rum_exporter.commands.spool_tables import show_letters  # noqa: PLC0415 - as above

    with _spools(directory) as spools:
        if _is_any(directory, spools):
            show_letters(_all(spools, Spool.letters), limit, sum(each.dead_letters for each in spools))


@spool.command()
@_in_directory
@click.option("--queued", is_flag=True, help="What waits, instead of dead letters.")
def export(directory: SpoolDirectory, *, queued: bool) -> None:
    """Print dead letters as JSON lines."""
    from otel_rum_exporter.commands.spool_export import export_letters, export_rows  # noqa: PLC0415 - as above

    with _spools(directory) as spools:
        if queued:
            export_rows(_progress(_all(spools, Spool.load), sum(each.events for each in spools)))
        else:
            export_letters(_progress(_all(spools, Spool.letters), sum(each.dead_letters for each in spools)))


@spool.command()
@_in_directory
@click.argument("ids", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All dead letters.")
def requeue(directory: SpoolDirectory, ids: tuple[str, ...], *, all_: bool) -> None:
    """Let dead letters wait for delivery again.

    Events keep their ids. IDS are those that `list` shows. Running exporters send what is put back within 20 s.
    """
    wanted = _wanted(ids, is_all=all_, choices="--all")
    with _spools(directory) as spools:
        moved = sum(each.requeue(some) for each, some in _of_each(spools, wanted))
        _say_moved(moved, wanted, "dead letter", "put back into the queue")


@spool.command()
@_in_directory
@click.argument("ids", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All dead letters.")
@click.option("--queued", is_flag=True, help="Everything that waits in files whose owner has ended.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(directory: SpoolDirectory, ids: tuple[str, ...], *, all_: bool, queued: bool, yes: bool) -> None:
    """Delete dead letters, or what waits. It is lost then.

    IDS are those that `list` shows.
    """
    if queued and (ids or all_):
        raise click.UsageError("--queued goes without ids and without --all")
    if queued:
        _confirm("every event that waits in files whose owner has ended", is_sure=yes)
        _purge_queued(directory)
        return
    wanted = _wanted(ids, is_all=all_, choices="--all, or --queued")
    what = "all dead letters" if wanted is None else f"{len(set(ids))} of the dead letters"
    _confirm(what, is_sure=yes)
    with _spools(directory) as spools:
        moved = sum(each.purge(some) for each, some in _of_each(spools, wanted))
        _say_moved(moved, wanted, "dead letter", "deleted")


def _confirm(what: str, *, is_sure: bool) -> None:
    if not is_sure:
        click.confirm(f"Delete {what}?", abort=True, err=True)


@contextmanager
def _spools(directory: SpoolDirectory) -> Iterator[list[Spool]]:
    """Open all files beside their owners. A file that cannot be opened is named, and the others go on."""
    spools: list[Spool] = []
    try:
        for path in directory.files():
            opened = _opened(directory, path)
            spools += [opened] if opened else []
        yield spools
    except (SpoolError, SpoolFull) as error:
        raise click.ClickException(str(error)) from None
    finally:
        for each in spools:
            each.close()


def _opened(directory: SpoolDirectory, path: Path) -> Spool | None:
    try:
        return directory.open_beside(path)
    except (SpoolError, SpoolFull) as error:
        if path in directory.files():  # else its owner has just removed it
            click.echo(f"left out: {error}", err=True)
        return None


def _is_any(directory: SpoolDirectory, spools: Sequence[Spool]) -> bool:
    if not directory.files():  # else those that cannot be opened are named
        click.echo(f"There is nothing in {directory.path}: no exporter uses it, and none left anything.")
    return bool(spools)


def _tag_of(spool: Spool) -> str:
    """Return the random part of a file's name, which is short and different in each."""
    return spool.path.stem.rpartition("-")[2]


def _all(spools: Iterable[Spool], page: Callable[[Spool, int, int], list[Numbered]]) -> Iterator[tuple[str, Numbered]]:
    """Yield what all files hold, each with the id that people use: the file's random part, and its number there."""
    for each in spools:
        after = 0
        while some := page(each, after, _AT_ONCE):
            yield from ((f"{_tag_of(each)}-{one.id}", one) for one in some)
            after = some[-1].id


def _progress(numbered: Iterator[tuple[str, Numbered]], total: int) -> Iterator[tuple[str, Numbered]]:
    """Yield the same, and say on standard error how far it is when there are many."""
    for number, one in enumerate(numbered, 1):
        yield one
        if number % _PROGRESS_EVERY == 0:
            click.echo(f"{number} of {total}", err=True)


def _wanted(ids: Sequence[str], *, is_all: bool, choices: str) -> dict[str, list[int]] | None:
    """Return which letters are meant, by file; None for all."""
    if bool(ids) == is_all:
        raise click.UsageError(f"give either ids or {choices}")
    if is_all:
        return None
    wanted: dict[str, list[int]] = {}
    for given in dict.fromkeys(ids):
        tag, _, number = given.rpartition("-")
        if not tag or not number.isascii() or not number.isdigit():
            raise click.UsageError(f"{given!r} is no id of a dead letter; `list` shows them")
        wanted.setdefault(tag, []).append(int(number))
    return wanted


def _of_each(
    spools: Sequence[Spool], wanted: dict[str, list[int]] | None
) -> Iterator[tuple[Spool, Sequence[int] | None]]:
    for each in spools:
        if wanted is None:
            yield each, None
        elif _tag_of(each) in wanted:
            yield each, wanted[_tag_of(each)]


def _say_moved(moved: int, wanted: dict[str, list[int]] | None, what: str, done: str) -> None:
    click.echo(f"{moved} {what}{'' if moved == 1 else 's'} {done}")
    missed = 0 if wanted is None else sum(map(len, wanted.values())) - moved
    if missed:
        raise click.ClickException(f"{missed} of the ids are not there, or the disk is full")


def _purge_queued(directory: SpoolDirectory) -> None:
    purged = 0
    for path in directory.files():
        owner = directory.owner(path)
        spool = directory.open_alone(path) if owner is None else None
        if spool is None:
            why = "cannot be opened" if owner is None else f"is in use by process {owner or '?'}; end it first"
            click.echo(f"left out: {path.name} {why}", err=True)
            continue
        try:
            purged += spool.clear()
        finally:
            spool.close()
    _say_moved(purged, None, "event", "deleted")
