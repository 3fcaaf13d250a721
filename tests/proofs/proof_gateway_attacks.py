"""What an attack is, and who attacks: what is sent, which limit answers it, what the answer is, how far the gateway grows."""

from collections.abc import Callable
from dataclasses import dataclass

from proof_gateway_attacker import Attacker
from proof_gateway_bodies import JSON, protobuf_spans

ATTACKER = "attackers-token-0123456789"
"""A token of another app monitor, without limits of its own: what answers its attacks are all the other limits."""

LIMITED, PAGE, PAGES_ORIGIN = "limited-token-0123456789", "page-token-0123456789", "https://shop.example"
KEY = {"x_api_key": ATTACKER}
GZIP = {**KEY, "content_encoding": "gzip"}
IN_JSON = {**KEY, "content_type": JSON}
PARTLY = 200  # with a partial success that says what was rejected


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        line: The line of the contract.
        name: What is done.
        limit: What answers it.
        answers: All statuses, or ends of connections, that there may be, and have to be.
        run: Does it.
        growth_mib: By how much the gateway may grow.
        may: Further answers that there may be: 503 where more is in flight at once than one sender has room for.
    """

    line: str
    name: str
    limit: str
    answers: set
    run: Callable[[Attacker], None]
    growth_mib: float = 20
    may: frozenset = frozenset()

    def is_answered_by(self, seen):
        """Tell whether these are the answers that there should be."""
        return set(seen) - self.may == self.answers


def sends(*requests, answers=1):
    """An attack that sends each of these by a connection of its own."""

    def run(attacker):
        for each in requests:
            attacker.send(each, answers=answers)

    return run


def one_span(number=0, **members):
    return protobuf_spans([f"attack {number}"], f"attack-{number}", **members)
