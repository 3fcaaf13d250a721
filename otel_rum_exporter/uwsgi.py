"""What uWSGI must be told for this package's threads to run, in its workers, too. Looks at uWSGI only where it is there."""

from __future__ import annotations

import sys
from collections.abc import Mapping

_ADVICE = (
    "uWSGI runs without threads, so that events are sent while the application exports others, and wait in between. "
    "Set enable-threads = true and py-call-uwsgi-fork-hooks = true in uWSGI's configuration."
)
_ADVICE_ON_FORKS = (
    "uWSGI forks its workers without telling Python, whose threads and locks may then hang in them. Set "
    "py-call-uwsgi-fork-hooks = true (older versions: py-call-osafterfork = true) or lazy-apps = true in its configuration."
)


def threads_run() -> bool:
    """Tell whether threads run between the requests that a process serves: always, but for a uWSGI that has none.

    Source: `has_threads` of uWSGI's Python plugin, which `enable-threads`, `threads` and loops such as gevent's set.
    Measured with 2.0.22: a thread that wakes up every 10 ms does so once in each request. 2.0.30 and 2.0.31 always have threads.
    """
    return bool(getattr(sys.modules.get("uwsgi"), "has_threads", True))


def advice() -> str | None:
    """Return what to set in uWSGI's configuration; None where nothing is missing."""
    if not threads_run():
        return _ADVICE
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if not isinstance(options, Mapping) or "master" not in options:
        return None
    is_told = any(name in options for name in ("py-call-uwsgi-fork-hooks", "py-call-osafterfork", "lazy-apps", "lazy"))
    return None if is_told else _ADVICE_ON_FORKS
