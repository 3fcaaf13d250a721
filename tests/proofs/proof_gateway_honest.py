"""A sender that does nothing wrong, as a process of its own: it posts at a steady rate and says what became of it.

python proof_gateway_honest.py JSON, with the members of `Sender`. Each line is a JSON array: when a request began, by the
machine's monotonic clock, how long it took in seconds, and its status, which is 0 without an answer. Every other request
has a connection of its own.
"""

import contextlib
import http.client
import json
import sys
import threading
import time
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

from proof_gateway_bodies import PROTOBUF, TRACES, protobuf_spans

_SESSIONS = 100
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends where.

    Attributes:
        url: The gateway's.
        token: The sender's token.
        source: Its address.
        rate: Requests a second.
        each: Spans per request.
    """

    url: str
    token: str
    source: str
    rate: float = 10
    each: int = 5


def connect(sender):
    address = urlsplit(sender.url)
    return http.client.HTTPConnection(
        address.hostname, address.port, timeout=_TIMEOUT_S, source_address=(sender.source, 0)
    )


def post(connection, token, body):
    """Return the status, or 0."""
    headers = {"content-type": PROTOBUF, "authorization": f"Bearer {token}"}
    try:
        connection.request("POST", TRACES, body, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return answer.status


def send(sender):
    """Post until somebody kills this process, or closes its standard output."""
    pause, begun = threading.Event(), time.monotonic()
    with contextlib.closing(connect(sender)) as kept:
        for number in count():
            names = [f"honest.{number}.{each}" for each in range(sender.each)]
            body = protobuf_spans(names, f"honest-{number % _SESSIONS}")
            pause.wait(max(0.0, begun + number / sender.rate - time.monotonic()))
            at = time.monotonic()
            if number % 2:
                with contextlib.closing(connect(sender)) as own:
                    status = post(own, sender.token, body)
            else:
                status = post(kept, sender.token, body)
            print(json.dumps([at, time.monotonic() - at, status]), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        send(Sender(**json.loads(sys.argv[1])))
