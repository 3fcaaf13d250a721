"""The exporter's own threads."""

import threading

OWN_THREAD = "RumExporter"


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name == OWN_THREAD]


def join_own_threads():
    for thread in own_threads():
        thread.join(20)
    assert not own_threads()
