"""Who has the connections that there may be: when they are all taken, whoever has the most makes room for others."""

from __future__ import annotations

from typing import Protocol

from otel_rum_exporter.gateway.clients import Clients


class Connection(Protocol):
    """A connection that has a place."""

    @property
    def may_give_way(self) -> bool:
        """Whether it may be ended now."""

    def give_way(self) -> None:
        """End."""


class Places:
    """The places of connections, shared out among client addresses.

    Shape:  as long as there are places anybody may have them all. Then a newcomer gets one of the client that has the
            most, unless it would have as many itself: the oldest that has no complete request in hand.
    """

    def __init__(self, number: int) -> None:
        """Share out so many places."""
        self._number = number
        self._clients = Clients()  # which proxies speak for others is no matter here: the connection is theirs
        self._client_of: dict[Connection, str] = {}
        self._of: dict[str, dict[Connection, None]] = {}  # in the order of their arrival

    def __len__(self) -> int:
        return len(self._client_of)

    def take(self, connection: Connection, peer: str | None) -> bool:
        """Give a connection from this address a place. Returns False if there is none."""
        client = self._clients.of(peer, ())
        if len(self) >= self._number and not self._make_room(client):
            return False
        self._client_of[connection] = client
        self._of.setdefault(client, {})[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """Take a connection's place back, if it has one."""
        client = self._client_of.pop(connection, None)
        if client is None:
            return
        of_client = self._of[client]
        del of_client[connection]
        if not of_client:
            del self._of[client]

    def _make_room(self, client: str) -> bool:
        most = max(self._of.values(), key=len, default={})
        if len(most) <= len(self._of.get(client, ())) + 1:
            return False
        leaving = next((each for each in most if each.may_give_way), None)
        if leaving is None:
            return False
        self.leave(leaving)
        leaving.give_way()
        return True
