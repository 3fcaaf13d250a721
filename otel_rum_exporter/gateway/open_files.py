"""How many files the process may have open: each connection is one."""

from __future__ import annotations

import contextlib

_OTHERS = 200  # the spool, the log, connections to CloudWatch RUM


def allow_open_files(connections: int) -> None:
    """Raise the process's own limit as far as the system lets it; where that is not enough, connections wait."""
    try:
        import resource  # noqa: PLC0415 - not on Windows, which has no such limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
