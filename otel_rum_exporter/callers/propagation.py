"""Reads a request's session before its span starts, in every framework; of what is sent on it changes nothing.

In this order: baggage (`session.id`, `user.id`), the cookies that the configuration names, of which aws-rum-web's
is one unless it says otherwise, the headers that it names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from otel_rum_exporter.callers import cookies
from otel_rum_exporter.callers.callers import CALLERS, SESSION_ID, USER_ID, CallerSession, Ignored, with_caller
from otel_rum_exporter.cause_log import CauseLog
from otel_rum_exporter.config import ConfigError, RumConfig
from otel_rum_exporter.convert.urls import bare_host
from otel_rum_exporter.sessions.identity import NOBODY, session_uuid

_logger = logging.getLogger(__name__)
_log = CauseLog(_logger, time.monotonic)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_log.begin_in_child)

Read = Callable[[str], list[str]]


class RumSessionPropagator(TextMapPropagator):
    """Finds the browser's session in a request, for the `RumSessionSpanProcessor`.

    In `OTEL_PROPAGATORS` it is called `rum`, and stands after `baggage`. It injects nothing: the session goes to no
    other service. What a request says that cannot be used is ignored, and counted.

    Args:
        config: Its `app_monitor_id`, `session_cookies` and `session_headers` count; without it that of the
            environment.
    """

    def __init__(self, config: RumConfig | None = None) -> None:
        config = config or environment_config()
        self._monitor_id = config.app_monitor_id or NOBODY
        self._headers = config.session_headers
        own = f"{cookies.SESSION}_{config.app_monitor_id}" if config.app_monitor_id else cookies.SESSION
        named = ((own, name) if name == cookies.SESSION else (name,) for name in config.session_cookies)
        self._cookies = tuple(dict.fromkeys(name for names in named for name in names))

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Return the context with the session of the request, if it names one. Never raises."""
        context = Context() if context is None else context
        try:
            CALLERS.has_served = CALLERS.has_served or bool(carrier)
            caller = self._caller(_reader(carrier, getter), context)
        except Exception:  # noqa: BLE001 - carriers and getters are the application's
            _ignore(Ignored.UNREADABLE, "a request")
            caller = None
        return with_caller(context, caller)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Do nothing: sessions are nobody else's business."""

    @property
    def fields(self) -> set[str]:
        """The names that are injected: none."""
        return set()

    @property
    def ignored(self) -> Mapping[Ignored, int]:
        """How much of what requests said of their sessions was ignored in this process, by reason."""
        return CALLERS.ignored()

    def _caller(self, read: Read, context: Context) -> CallerSession | None:
        jar = _jar(read("cookie"))
        user = _baggage(USER_ID, context) or _cookie_user(jar)
        caller = self._from_cookies(jar)
        session = _baggage(SESSION_ID, context)
        if session and not (caller and caller.session == session):
            caller = CallerSession(session=session)
        caller = caller or self._from_headers(read)
        return msgspec.structs.replace(caller, user=user, domain=_host(read)) if caller else None

    def _from_cookies(self, jar: list[tuple[str, str]]) -> CallerSession | None:
        for wanted in self._cookies:
            for value in (value for name, value in jar if name == wanted and _is_fit(value, wanted)):
                if not cookies.is_session(wanted):
                    return self._named(value)
                found = cookies.session(value)
                if isinstance(found, CallerSession):
                    return found
                _ignore(found, wanted)
        return None

    def _from_headers(self, read: Read) -> CallerSession | None:
        for name in self._headers:
            for value in (value.strip() for value in read(name.lower())):
                if value and _is_fit(value, name):
                    return self._named(value)
        return None

    def _named(self, value: str) -> CallerSession:
        """Return the session of an application's own id. It may be a secret, so only its hash becomes an attribute."""
        return CallerSession(session=session_uuid(value, self._monitor_id))


def environment_config() -> RumConfig:
    """Return the configuration of the environment; the exporter says what is wrong with it."""
    try:
        return RumConfig.load({}, os.environ)
    except ConfigError:
        return RumConfig()


def _reader(carrier: CarrierT, getter: Getter[CarrierT]) -> Read:
    """Return what reads all values of a header, whose name may be in upper case where carriers are plain dicts."""

    def read(name: str) -> list[str]:
        found = getter.get(carrier, name)
        if found:
            return _texts(found)
        others = [key for key in getter.keys(carrier) if isinstance(key, str) and key.lower() == name != key]
        return [value for key in others for value in _texts(getter.get(carrier, key) or ())]

    return read


def _texts(values: str | Iterable[str]) -> list[str]:
    return [value for value in ([values] if isinstance(values, str) else values) if isinstance(value, str)]


def _host(read: Read) -> str | None:
    """Return the host that a request is for: some instrumentations name the address that the server is bound to instead."""
    return bare_host(next(iter(read("host")), None))


def _jar(headers: list[str]) -> list[tuple[str, str]]:
    if sum(map(len, headers)) <= cookies.MAX_HEADER:
        return list(cookies.pairs(headers))
    _ignore(Ignored.LONG_HEADER, "the header cookie")
    return []


def _cookie_user(jar: list[tuple[str, str]]) -> str | None:
    for value in (value for name, value in jar if name == cookies.USER and value != NOBODY):
        if cookies.is_uuid(value):
            return value
        _ignore(Ignored.NO_UUID, cookies.USER)
    return None


def _baggage(name: str, context: Context) -> str | None:
    value = baggage.get_baggage(name, context)
    return value if isinstance(value, str) and value and _is_fit(value, name) else None


def _is_fit(value: str, name: str) -> bool:
    if len(value) <= cookies.MAX_VALUE:
        return bool(value)
    _ignore(Ignored.LONG_VALUE, name)
    return False


def _ignore(reason: Ignored, what: str) -> None:
    CALLERS.ignore(reason)
    _log.say(logging.INFO, reason.value, f"What {what} says of its session is ignored: {reason.value}")
