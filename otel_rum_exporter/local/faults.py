"""Faults on request: what goes wrong, and for which of the next requests."""

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from otel_rum_exporter.local.answers import Answer, error_answer

MOMENTS = ("before", "after")
"""A connection is lost before anything is stored, or after: the answer alone is missing then."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong with requests to PutRumEvents.

    Attributes:
        rate_limit: Requests per second, beyond which the answer is 429 (default = 0, no limit).
        burst: Size of the rate limit's token bucket (default = one second's worth, at least 1).
        error_rate: Share of requests answered with ``error_status`` (default = 0).
        error_status: Status of those answers (default = 500).
        seed: Seed of the random numbers behind ``error_rate``.
        status: Status of every answer (default = 0, none), with ``headers`` and ``body`` as given.
        headers: Headers of the ``status`` answers, e.g. Location.
        body: Body of the ``status`` answers (default = an error as AWS words it).
        retry_after: Retry-After of all these answers, as given; None puts "1" on 429 alone, "" nothing.
        latency_ms: Time before a request is looked at.
        hang: "before" or "after": accept the request and never answer.
        reset: "before" or "after": reset the TCP connection instead of answering.
        drip_ms: Answer one byte per this time.
        poison: Event ids, or texts inside details; a request with such an event gets 400 as a whole.
        times: Number of requests after which all this is over (default = None, never).
    """

    rate_limit: float = 0
    burst: int = 0
    error_rate: float = 0
    error_status: int = 500
    seed: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    retry_after: str | None = None
    latency_ms: float = 0
    hang: str = ""
    reset: str = ""
    drip_ms: float = 0
    poison: tuple[str, ...] = ()
    times: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what is set, as `parse_faults` reads it."""
        defaults = Faults()
        return {name: value for name, value in asdict(self).items() if value != getattr(defaults, name)}

    def lost(self, moment: str) -> str:
        """Return how the connection is lost at this moment: "hang", "reset" or "" for not at all."""
        if self.hang == moment:
            return "hang"
        return "reset" if self.reset == moment else ""


NO_FAULTS = Faults()


def parse_faults(document: Any) -> Faults:
    """Read faults from JSON; true stands for the moment "before".

    Errors: ValueError that names each unknown key and each bad value.
    """
    if not isinstance(document, dict):
        raise ValueError("faults must be a JSON object")  # noqa: TRY004 - data, not a caller's type
    known = {each.name for each in fields(Faults)}
    problems = [f"{name} is unknown; known are {', '.join(sorted(known))}" for name in document.keys() - known]
    for name in known & document.keys():
        is_legal, wording = _LEGAL[name]
        problems += [] if is_legal(document[name]) else [f"{name} must be {wording}, not {document[name]!r}"]
    if problems:
        raise ValueError("; ".join(sorted(problems)))
    return Faults(**{name: _as_value(value) for name, value in document.items()})


class FaultInjector:
    """Decides for each request which faults it meets.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.set(NO_FAULTS)

    def set(self, faults: Faults) -> None:
        """Replace all faults: the bucket is full and the random numbers start again."""
        self.faults = faults
        self.remaining = faults.times
        self._random = random.Random(faults.seed)  # noqa: S311 - repeatable on purpose
        self._tokens = self._capacity = float(faults.burst or max(1, int(faults.rate_limit)))
        self._filled_at = self._clock()

    def next(self) -> tuple[Faults, Answer | None]:
        """Return the faults of the next request, and its answer when they decide that alone."""
        if self.remaining == 0:
            return NO_FAULTS, None
        if self.remaining is not None:
            self.remaining -= 1
        return self.faults, self._answer()

    def _answer(self) -> Answer | None:
        faults = self.faults
        if faults.status:
            return self._fault(faults.status)
        if faults.rate_limit and not self._take_token():
            return self._fault(429)
        if self._random.random() < faults.error_rate:
            return self._fault(faults.error_status)
        return None

    def _take_token(self) -> bool:
        now = self._clock()
        refill = (now - self._filled_at) * self.faults.rate_limit
        self._tokens, self._filled_at = min(self._capacity, self._tokens + refill), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _fault(self, status: int) -> Answer:
        faults = self.faults
        retry_after = faults.retry_after
        if retry_after is None and status == 429:  # noqa: PLR2004 - Too Many Requests
            retry_after = "1"
        headers = {**({"retry-after": retry_after} if retry_after else {}), **(faults.headers if faults.status else {})}
        if faults.status and faults.body is not None:
            return Answer(status, body=faults.body.encode(), headers=headers)
        if status < 400:  # noqa: PLR2004 - the first error status
            return Answer(status, headers=headers)
        return error_answer(status, f"Fault on request: {status}", headers=headers)


def _as_value(value: Any) -> Any:
    if isinstance(value, bool):
        return MOMENTS[0] if value else ""
    return tuple(value) if isinstance(value, list) else value


def _number_in(low: float, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _integer_in(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value)


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_moment(value: Any) -> bool:
    return isinstance(value, bool) or value in ("", *MOMENTS)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


_LEGAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "rate_limit": (_number_in(0), "a number of requests per second"),
    "burst": (_integer_in(0), "a number of requests"),
    "error_rate": (_number_in(0, 1), "a share from 0 to 1"),
    "error_status": (_integer_in(400, 599), "an error status"),
    "seed": (_integer_in(0), "an integer"),
    "status": (lambda value: _integer_in(200, 599)(value) or _integer_in(0, 0)(value), "a status from 200 to 599"),
    "headers": (_are_headers, "an object of strings"),
    "body": (_is_text, "a string"),
    "retry_after": (_is_text, "a string"),
    "latency_ms": (_number_in(0), "a number of milliseconds"),
    "hang": (_is_moment, "true, before or after"),
    "reset": (_is_moment, "true, before or after"),
    "drip_ms": (_number_in(0), "a number of milliseconds"),
    "poison": (_are_texts, "an array of texts"),
    "times": (lambda value: value is None or _integer_in(1)(value), "a number of requests"),
}
