"""Who may send: tokens of servers, and those of web pages, which are public by nature.

server    kept secret by a Collector or a backend; chooses its app monitor where it is bound to none
browser   stands in a page for all to read: one app monitor, its origins only, limited, good for sending alone

A sender may have several at once, so that one can take the place of another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from otel_rum_exporter.gateway.limits import Rate
from otel_rum_exporter.gateway.origins import Origins

Kind = Literal["server", "browser"]

SHORTEST = 16  # characters: what is shorter can be guessed
LONGEST = 512


class Token(Struct, frozen=True):
    """A token that is known.

    Attributes:
        name: What statistics and log lines call it; two tokens of one name are one sender, while the one replaces the other.
        digest: The SHA-256 of the token; the token itself is not kept.
        kind: Whose it is.
        monitor: Id of the app monitor that its items go to; None for a server's that may choose.
        origins: The pages that may use it, of a browser's.
        requests: How many requests it may make.
        records: How many spans and log records it may send.
    """

    name: str
    digest: bytes
    kind: Kind
    monitor: str | None
    origins: Origins
    requests: Rate
    records: Rate

    @property
    def sender(self) -> tuple[str, str]:
        """Whose limits hold: a page's token, which everybody knows, takes nothing from a server's of the same name."""
        return self.kind, self.name

    def __repr__(self) -> str:
        """Return a text without the digest: of a token that is easily guessed that would be the token."""
        return f"Token({self.name!r}, {self.kind})"


class Tokens:
    """The tokens that are known."""

    def __init__(self, known: Sequence[Token] = ()) -> None:
        self.known = tuple(known)

    def __bool__(self) -> bool:
        return bool(self.known)

    def find(self, presented: str) -> Token | None:
        """Return the token that was presented, None if it is not known.

        The time that it takes tells nothing about the known ones: each is compared, and digests at that.
        """
        digest = digest_of(presented)
        found = None
        for each in self.known:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found


def digest_of(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
