"""A WSGI application that is loaded before its server forks, with its connection to RUM already used by then."""

import os

from lifecycle_apps import Shop

shop = Shop(flush_interval=200)
shop.sell(f"of the master, {os.getpid()}")
assert shop.flush()
shop.report()
_sold = 0


def application(_environ, start_response):
    """Answer with the process id, once a span of this request is exported."""
    global _sold  # noqa: PLW0603 - a count for each process
    _sold += 1
    shop.sell(f"{os.getpid()}-{_sold}")
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def end():
    """Deliver and report, when a process of the server ends."""
    shop.flush()
    shop.report()
