"""A TCP proxy in front of an endpoint, whose connections can be closed, reset or forgotten while nobody looks."""

import contextlib
import socket
import struct
import threading
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class Proxy:
    """Forwards connections.

    Attributes:
        url: Where it listens.
        accepted: How many connections there were.
    """

    def __init__(self, endpoint):
        address = urlsplit(endpoint)
        self._target = (address.hostname, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self._pairs = []
        self._threads = []

    def __enter__(self):
        self._run(self._accept)
        return self

    def __exit__(self, *_):
        _shutdown(self._listener)
        self._threads[0].join()
        self.close()
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *(end for pair in self._pairs for end in pair)):
            end.close()

    def close(self):
        """Close all connections, as a server does with idle ones."""
        for client, server in list(self._pairs):
            _shutdown(client)
            _shutdown(server)

    def reset(self):
        """Reset all connections, as a server does that was started anew."""
        for client, server in list(self._pairs):
            if client.fileno() >= 0:
                _shutdown(server)
                _shutdown(client, socket.SHUT_RD)  # nobody reads it any more, so that closing it takes effect
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()

    def forget(self):
        """Never answer on the connections that there are, as a gateway does that has forgotten them."""
        for _, server in list(self._pairs):
            _shutdown(server)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                server = socket.create_connection(self._target)
                self._pairs.append((client, server))
                self._run(_copy, client, server)
                self._run(_copy, server, client)

    def _run(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()


def _shutdown(end, how=socket.SHUT_RDWR):
    with contextlib.suppress(OSError):
        end.shutdown(how)


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
