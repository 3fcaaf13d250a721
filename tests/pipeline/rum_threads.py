"""The exporter's own threads."""

import threading

OWN_THREAD = "RumExporter"


def own_threads(*others):
    return [thread for thread in threading.enumerate() if thread.name in (OWN_THREAD, *others)]


def join_own_threads():
    """Wait until all have ended, as they do after a shutdown; so does the one that watches their requests."""
    for thread in own_threads("RumWatchdog"):
        thread.join(20)
    assert not own_threads("RumWatchdog")
