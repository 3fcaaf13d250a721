"""Sends what nobody should, from addresses of its own, and takes note of the answers."""

import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections import Counter

from proof_gateway import PATIENCE_S
from proof_gateway_bodies import JSON, PROTOBUF, TRACES, message_of

CLOSED = "closed"
"""A connection that ends without an answer."""

SILENT = "silent"
"""A connection that has neither an answer nor an end."""

_NETWORK = itertools.count(1)
_READ_BYTES = 65536


def head(path=TRACES, *, method="POST", **headers):
    """The head of a request; names of headers are written with underscores, and those of None are left out."""
    given = {"host": "gateway", "content-type": PROTOBUF, **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(body, path=TRACES, **headers):
    """A whole request."""
    return head(path, content_length=len(body), **headers) + body


def chunk(data):
    """A chunk of a body whose length is not said beforehand."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Attacker:
    """Somebody with many addresses, and with tokens.

    Attributes:
        address: Of the gateway.
        config: How much time it gives, and how many connections, see `Config`.
        seen: How many answers of each status there were, or ends of another kind.
        message: What the first of the answers that were no success says; if there is none, what the first says.
    """

    def __init__(self, address, config):
        self.address = address
        self.config = config
        self.seen = Counter()
        self.message = ""
        self._network = next(_NETWORK)
        self._hosts = itertools.count(1)
        self._worst = 0

    def source(self):
        """Return an address that nobody had."""
        host = next(self._hosts)
        return f"127.{self._network}.{host >> 8}.{host & 255}"

    def connect(self, source=None):
        """Return a socket."""
        return socket.create_connection(self.address, PATIENCE_S, source_address=(source or self.source(), 0))

    @contextlib.contextmanager
    def connections(self, number, first=b"", source=None):
        """Yield sockets that each have sent something."""
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(self.connect(source)) for _ in range(number)]
            for each in opened:
                with contextlib.suppress(OSError):  # it was turned away at once
                    each.sendall(first)
            yield opened

    def send(self, data, *, answers=1, source=None):
        """Send something by a connection of its own, and take note of so many answers."""
        with self.connect(source) as raw:
            try:
                raw.sendall(data)
            except OSError:  # the answer came before all was sent
                answers = 1
            self.read(raw, answers)

    def answer_to(self, data):
        """Send something by a connection of its own; returns the answer, and takes no note of it."""
        with self.connect() as raw:
            raw.sendall(data)
            return Answers(raw).next()

    @staticmethod
    def pour(raw, data, seconds, pause_s=0.0):
        """Send the same again and again, for so long at most. Errors: OSError when the connection takes no more."""
        pause, given_up_at = threading.Event(), time.monotonic() + seconds
        while time.monotonic() < given_up_at:
            raw.sendall(data)
            pause.wait(pause_s)

    def read(self, raw, answers=1):
        """Take note of so many answers of a connection, or of its end if that comes first."""
        reading = Answers(raw)
        for _ in range(answers):
            answer = reading.next()
            self.note(*answer)
            if isinstance(answer[0], str):
                return

    def note(self, status, message=""):
        self.seen[status] += 1
        rank = 1 if status == 200 else 2
        if rank > self._worst or not self.message:
            self._worst, self.message = rank, message or self.message

    def drip(self, raws, data, every_s):
        """Send this to each of the connections now and then until each has ended, and take note of their answers."""
        open_ = set(raws)
        with selectors.DefaultSelector() as selector:
            for each in raws:
                selector.register(each, selectors.EVENT_READ)
            given_up_at, due = time.monotonic() + PATIENCE_S, time.monotonic() + every_s
            while open_ and time.monotonic() < given_up_at:
                for key, _ in selector.select(max(0.0, due - time.monotonic())):
                    selector.unregister(key.fileobj)
                    open_.discard(key.fileobj)
                    self.read(key.fileobj)
                if data and time.monotonic() >= due:
                    for each in open_:
                        with contextlib.suppress(OSError):
                            each.sendall(data)
                due = max(due, time.monotonic() + every_s) if time.monotonic() >= due else due
        self.seen.update([SILENT] * len(open_))


class Answers:
    """The answers of a connection, in order."""

    def __init__(self, raw):
        self._raw = raw
        self._got = bytearray()

    def next(self):
        """Return status and message of the next answer, or how the connection ended."""
        end = self._through(b"\r\n\r\n")
        if isinstance(end, str):
            return (end,)
        lines = bytes(self._got[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = end + int(headers.get("content-length", "0"))
        while len(self._got) < size:
            if isinstance(more := self._more(), str):
                return (more,)
        body = bytes(self._got[end:size])
        del self._got[:size]
        status = int(lines[0].split()[1])
        if status == 100:
            return self.next()
        content_type = headers.get("content-type", "")
        return status, message_of(status, content_type if content_type in {PROTOBUF, JSON} else "", body)

    def _through(self, mark):
        while mark not in self._got:
            if isinstance(more := self._more(), str):
                return more
        return self._got.index(mark) + len(mark)

    def _more(self):
        try:
            part = self._raw.recv(_READ_BYTES)
        except TimeoutError:
            return SILENT
        except OSError:
            return CLOSED
        self._got += part
        return None if part else CLOSED
