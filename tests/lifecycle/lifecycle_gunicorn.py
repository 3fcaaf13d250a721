"""gunicorn's configuration: four workers, forked from a master that has loaded the application."""

import os

bind = "unix:" + os.environ["SOCKET"]
workers = 4
preload_app = True
loglevel = "warning"
graceful_timeout = 30


def when_ready(_server):
    """Tell the test."""
    print("ready", flush=True)  # noqa: T201 - it reads this


def worker_exit(_server, _worker):
    """Deliver what a worker has left."""
    from lifecycle_web import end  # noqa: PLC0415 - it is the server that loads it

    end()


def on_exit(_server):
    """Report what the master did."""
    from lifecycle_web import end  # noqa: PLC0415 - likewise

    end()
