"""AWS Lambda: deliver before the handler returns, since the process is frozen from then until the next invocation.

Frozen threads send nothing, and the service or a gateway on the way may close idle connections meanwhile. After the thaw
an attempt on such a connection fails as a network error, and is retried on a new one. Ages count by the monotonic clock:
where it goes on during the freeze, as it does for a stopped process, what a flush had to leave behind is that much older
at the thaw, and `expired` if that is more than `max_age`. Where it stands still, as in a suspended machine, it ages only
while the function runs. A `max_age` above the longest pause keeps it either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TypeVar

from otel_rum_exporter.exporters import flush_everything

__all__ = ["flush_after", "flushing"]

_LONGEST_S = 2.0  # what a response may be held up for
_RESERVE_S = 0.5  # of the invocation's time, for the runtime to answer

EventT = TypeVar("EventT")
ContextT = TypeVar("ContextT")
ResultT = TypeVar("ResultT")


def flush_after(handler: Callable[[EventT, ContextT], ResultT]) -> Callable[[EventT, ContextT], ResultT]:
    """Deliver what an invocation has recorded before its handler returns or raises. A decorator.

    The SDK's global providers are flushed, then the exporters of this package, for 2 seconds at most, and less when the
    invocation's time is nearly up: 500 ms of it are left.

    Args:
        handler: Called with the event and the context; no coroutine function, which Lambda does not call either.

    Errors: raises what the handler raises, and nothing else.
    """

    @wraps(handler)
    def flushed(event: EventT, context: ContextT) -> ResultT:
        with flushing(context):
            return handler(event, context)

    return flushed


@contextmanager
def flushing(context: object = None) -> Iterator[None]:
    """Deliver what a block has recorded when it ends, as `flush_after` does.

    Args:
        context: Lambda's; its `get_remaining_time_in_millis` is asked when the block ends.
    """
    try:
        yield
    finally:
        flush_everything(_time_left_s(context))


def _time_left_s(context: object) -> float:
    """Return for how long to flush. Anything that is not a context of Lambda's, such as a test's, sets no limit."""
    try:
        left_ms = context.get_remaining_time_in_millis()  # type: ignore[attr-defined] # or has none
    except Exception:  # noqa: BLE001 - a handler's result is not lost to what its context does
        return _LONGEST_S
    if not isinstance(left_ms, int | float):  # a mock's is 1.0 for whoever makes a float of it
        return _LONGEST_S
    return max(0.0, min(_LONGEST_S, left_ms / 1000 - _RESERVE_S))
