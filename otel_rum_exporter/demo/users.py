"""Who visits the shop, and what they do there: real HTTP requests with the cookies of a session."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from urllib.parse import urlsplit
from uuid import uuid4

from msgspec import Struct

_NAMES = ("ada", "grace", "linus", "alan")
_TIMEOUT_S = 10

_VISITS = (
    ("GET /shop", "GET /api/items", "GET /products/42", "GET /cart", "POST /api/checkout"),
    ("GET /shop", "GET /api/items", "GET /api/missing"),
    ("GET /shop", "GET /products/42", "POST /api/boom"),
    ("GET /shop", "GET /products/43", "GET /cart", "POST /api/checkout"),
)
_ANSWERS = {"GET /api/missing": 404, "POST /api/boom": 500}


class User(Struct, frozen=True):
    """A user with their session, and the requests of their visit."""

    name: str
    session_id: str
    visit: tuple[str, ...] = ()


def users(number: int) -> list[User]:
    """Return so many users, each with a session of their own."""
    return list(islice(_everyone(), number))


def _everyone() -> Iterator[User]:
    for index in count():
        turn, person = divmod(index, len(_NAMES))
        name = _NAMES[person] + (str(turn + 1) if turn else "")
        yield User(name, str(uuid4()), _VISITS[person])


def click_through(user: User, shop_url: str) -> int:
    """Visit the shop as a user does. Returns the number of requests.

    Errors: RuntimeError if the shop answers otherwise than it should.
    """
    for step in user.visit:
        status = _request(step, user, shop_url)
        if status != _ANSWERS.get(step, 200):
            raise RuntimeError(f"the shop answered {status} to {step}")
    return len(user.visit)


def _request(step: str, user: User, shop_url: str) -> int:
    method, path = step.split()
    address = urlsplit(shop_url)
    headers = {"cookie": f"session={user.session_id}; user={user.name}"}
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
