"""The exporter's own threads."""

import sys
import threading
import traceback

OWN_THREAD = "RumExporter"


def own_threads(name=OWN_THREAD):
    return [thread for thread in threading.enumerate() if thread.name == name]


def join_own_threads():
    """Wait until all have ended, as they do after a shutdown; then so does the one that watches their requests."""
    for name in (OWN_THREAD, "RumWatchdog"):
        for thread in own_threads(name):
            thread.join(20)
        assert not own_threads(name), "".join(map(_where, own_threads(name)))


def _where(thread):
    """Return what a thread is doing."""
    return f"\n{thread}\n" + "".join(traceback.format_stack(sys._current_frames().get(thread.ident)))
