"""What an item's resource, scope and attributes say about its user: app monitor, browser, domain, custom attributes.

A server's own operating system, host and user agent are not its users': only what a browser or a mobile app reported
counts as theirs.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from otel_rum_exporter.config import UUID_SHAPE, RumConfig
from otel_rum_exporter.convert import privacy, urls
from otel_rum_exporter.convert.attributes import MAX_INTEGER, MAX_TEXT, Attributes, flag, or_unset, read, text
from otel_rum_exporter.convert.conversion import NOTHING, CustomAttributes, Origin, Said
from otel_rum_exporter.encoding import clip, plain, well_formed
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, Client
from otel_rum_exporter.items import ResourceItem, ScopeItem

_SELF = "otel_rum_exporter"  # instrumentation scopes of this package

MAX_STRING = 256  # characters of any string in metadata
MAX_CUSTOM_ATTRIBUTES = 10  # of session and page together

_MAX_KEY = 128
_MAX_ALIAS = 255
_NOT_IN_KEY = re.compile(r"[^a-zA-Z0-9_:]")
_RESERVED = frozenset({
    "browserLanguage", "browserName", "browserVersion", "countryCode", "deviceType", "domain", "interaction",
    "osName", "osVersion", "pageId", "pageTags", "pageTitle", "pageUrl", "parentPageId", "platformType",
    "referrerUrl", "subdivisionCode", "title", "url", "version",
})  # fmt: skip

_MACHINE = ("os.", "host.", "process.")
_LANGUAGE = "telemetry.sdk.language"
_CLIENT_LANGUAGES = ("webjs", "swift")
_CLIENT_RESOURCE = re.compile(r"browser\.|device\.|rum\.sdk\.version$")
_CLIENT_SCOPE = re.compile(
    r"@opentelemetry/(?:browser-instrumentation(?:/|$)"
    r"|instrumentation-(?:document-load|fetch|xml-http-request|user-interaction|long-task|web-exception)$)"
    r"|io\.opentelemetry\.(?:android|crash|lifecycle|okhttp|anr|slowrendering|network|click|startup|session|activity)"
    r"|software\.amazon\.opentelemetry\."
)
_SHARED_SCOPE = re.compile(r"io\.opentelemetry\.(?:okhttp|network|session)")  # Java agents of servers have these, too
_OF_SERVERS = ("host.", "process.")
_CLIENT_EVENT = ("browser.", "app.", "device.")
_GREASE = re.compile(r"[^a-z0-9]*not[^a-z0-9]", re.IGNORECASE)
# navigator.platform, which instrumentations put where user agent client hints belong
_LEGACY_PLATFORMS = (("Linux", "Linux"), ("Mac", "macOS"), ("Win", "Windows"), ("iPhone", "iOS"), ("iPad", "iOS"))
_PHONE = re.compile(r"iPhone|iPod|Mobile")
_TABLET = re.compile(r"iPad|Tablet|SM-[TX]\d")
_MOBILE_SYSTEMS = ("android", "ios", "ipados")
_LANGUAGE_HEADER = "http.request.header.accept-language"
_LANGUAGE_HEADER_OF_PYTHON = "http.request.header.accept_language"
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}(?![^,; ])")  # of RFC 5646


class OfResource(Struct, frozen=True, gc=False):
    """What a resource says by itself, whatever the scope: `own` are its attributes without those of a server's machine."""

    attributes: Attributes
    own: Attributes
    is_client: bool
    monitor: AppMonitor | None
    session: str | None
    user: str | None


NOTHING_SAID = OfResource(NOTHING, NOTHING, False, None, None, None)  # noqa: FBT003 - members in their order


def of_resource(config: RumConfig, resource: ResourceItem) -> OfResource:
    """Return what a resource says: a look at all of its attributes."""
    attributes = resource.attributes or {}
    is_client = _is_client_resource(attributes)
    said = read(dict(attributes), Said)
    return OfResource(
        attributes=attributes,
        own=attributes if is_client else _without_machine(attributes),
        is_client=is_client,
        monitor=app_monitor(config, attributes),
        session=said.session,
        user=said.user,
    )


def origin(resource: OfResource, scope: ScopeItem | None, *, is_client_event: bool = False) -> Origin:
    """Return what a resource and a scope say of their items. `is_client_event` says that the items' name does."""
    attributes = resource.attributes
    is_client = (
        resource.is_client
        or bool(scope and scope.name and _is_client_scope(scope.name, attributes))
        # a server's events may be called app.something too
        or (is_client_event and _LANGUAGE not in attributes)
    )
    return Origin(
        monitor=resource.monitor,
        is_client=is_client or (False if _LANGUAGE in attributes else None),
        client=client(attributes) if is_client else NO_CLIENT,
        session=resource.session,
        user=resource.user,
        attributes=attributes if is_client else resource.own,
        is_own=bool(scope and scope.name and scope.name.startswith(_SELF)),
    )


def _is_client_scope(name: str, attributes: Attributes) -> bool:
    """Tell whether only a browser or a mobile app has instrumentation of that name, by what its resource says else."""
    if _SHARED_SCOPE.match(name) and any(each.startswith(_OF_SERVERS) for each in attributes):
        return False
    return _CLIENT_SCOPE.match(name) is not None


def with_caller(origin: Origin, attributes: Attributes) -> Origin:
    """Return the origin of a server's entry span with the caller's user agent and language, which are the user's.

    Without a user agent the service would take that of the request that carries the events.
    """
    user_agent = _clipped(text(attributes, "user_agent.original", "http.user_agent"))
    language = _preferred_language(attributes)
    if not user_agent and not language:
        return origin
    caller = Client(user_agent=or_unset(user_agent), browserLanguage=or_unset(language))
    return msgspec.structs.replace(origin, client=caller)


def with_device(origin: Origin, attributes: Attributes) -> Origin:
    """Return the origin of a browser's item with its user agent and kind of device, where only the item names them."""
    known = origin.client
    if known.browserName is not UNSET or known.user_agent is not UNSET:
        return origin
    user_agent = _clipped(text(attributes, "user_agent.original", "http.user_agent"))
    if not user_agent:
        return origin
    device = known.deviceType if known.deviceType is not UNSET else or_unset(_device_by(user_agent))
    named = msgspec.structs.replace(known, user_agent=user_agent, deviceType=device)
    return msgspec.structs.replace(origin, client=named)


def is_client_event(name: str) -> bool:
    """Tell whether only a user's device writes log events of this name."""
    return name.startswith(_CLIENT_EVENT)


def app_monitor(config: RumConfig, attributes: Attributes) -> AppMonitor | None:
    """Return the app monitor that a resource's items go to. Errors: None without a valid id."""
    monitor_id = config.app_monitor_id or text(attributes, "aws.rum.appmonitor.id")
    if monitor_id is None or not UUID_SHAPE.fullmatch(monitor_id):
        return None
    return AppMonitor(
        id=monitor_id,
        name=_clipped(config.app_monitor_name or text(attributes, "service.name")),
        version=_clipped(config.app_version or text(attributes, "service.version")) or "1.0.0",
        alias=config.alias or _alias(attributes),
    )


def _alias(attributes: Attributes) -> str | None:
    """Return the alias that a resource names, None for one that the API refuses, with all events of the request."""
    alias = text(attributes, "aws.rum.appmonitor.alias")
    return well_formed(alias) if alias and len(alias) <= _MAX_ALIAS else None


def client(attributes: Attributes) -> Client:
    """Return the browser or device that attributes describe; the user agent only where they do not name a browser."""
    name, version = _browser(attributes)
    system = _system(attributes)
    return Client(
        browserName=or_unset(name),
        browserVersion=or_unset(version),
        browserLanguage=or_unset(_clipped(text(attributes, "browser.language"))),
        osName=or_unset(system),
        osVersion=or_unset(_clipped(text(attributes, "user_agent.os.version", "os.version"))),
        deviceType=or_unset(_device_type(attributes, system)),
        countryCode=or_unset(_clipped(text(attributes, "geo.country.iso_code"))),
        subdivisionCode=or_unset(_clipped(text(attributes, "geo.region.iso_code"))),
        user_agent=or_unset(None if name else _clipped(text(attributes, "user_agent.original", "http.user_agent"))),
    )


def page_domain(*page_urls: str | None) -> str | None:
    """Return the host of the page that a client item names, by the first URL that has one, else None."""
    return next(filter(None, map(urls.host, page_urls)), None)


class CustomAttributeFilter:
    """The allow-list of attributes that are sent as custom metadata, with AWS's limits.

    Shape:  a glob lets no attribute through whose name says that it is secret or personal. A whole name does: who writes
            it means it. The addresses of clients are never sent.
    Source: CloudWatch RUM user guide, "Add custom metadata": 10 per event, keys of 128, values of 256 characters.
    """

    def __init__(self, config: RumConfig) -> None:
        """Compile the globs; their order decides which attributes stay when there are too many."""
        self._patterns = [re.compile(translate(glob)) for glob in config.attributes]
        self._named = frozenset(config.attributes)
        self.is_empty = not self._patterns
        self._config = config

    def select(self, *sources: Attributes) -> CustomAttributes:
        """Return the attributes that are allowed and valid; earlier sources win where names collide."""
        if not self._patterns:
            return NOTHING
        selected: dict[str, str | float | int | bool] = {}
        for pattern in self._patterns:
            for name, value in ((n, v) for source in sources for n, v in source.items()):
                if len(selected) == MAX_CUSTOM_ATTRIBUTES:
                    return selected
                if isinstance(name, str) and pattern.match(name) and self._is_allowed(name):
                    _add(selected, self._key(name), self._value(name, value))
        return selected

    def _is_allowed(self, name: str) -> bool:
        return not privacy.is_left_out(name) or (name in self._named and not privacy.is_client_address(name))

    def _key(self, name: str) -> str:
        return _NOT_IN_KEY.sub("_", privacy.head(name, _MAX_KEY, self._config))

    def _value(self, name: str, value: Any) -> str | float | int | bool | None:
        value = plain(value)
        if not isinstance(value, str):
            return _number_or_flag(value, self._config)
        # what is longer is not worth reading
        value = privacy.attribute(name, value, self._config) if len(value) <= MAX_TEXT else value
        return well_formed(value) if len(value) <= MAX_STRING else None


def _add(selected: dict[str, Any], key: str, value: Any) -> None:
    is_free = key not in selected and key not in _RESERVED
    # the schema takes a key with pageTags anywhere in it for that of an array
    if key and value is not None and is_free and not key.startswith("aws:") and "pageTags" not in key:
        selected[key] = value


def _number_or_flag(value: Any, config: RumConfig) -> str | float | int | bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return str(privacy.number(value, config)) if value.bit_length() <= MAX_STRING else None
    is_finite = isinstance(value, int | float) and abs(value) < float("inf")
    return privacy.number(value, config) if is_finite else None


def _without_machine(attributes: Attributes) -> Attributes:
    """Return a server's attributes without those of the machine it runs on, which are not its users'."""
    return {n: v for n, v in attributes.items() if not (isinstance(n, str) and n.startswith(_MACHINE))}


def _is_client_resource(attributes: Attributes) -> bool:
    language = attributes.get(_LANGUAGE)
    if language in _CLIENT_LANGUAGES:
        return True
    if language == "python":
        return False
    names = [name for name in attributes if isinstance(name, str)]
    # aws.rum.* may also tell a server's exporter which app monitor is its own
    return any(_CLIENT_RESOURCE.match(name) or (not language and name.startswith("aws.rum.")) for name in names)


def _clipped(value: str | None) -> str | None:
    return clip(well_formed(value), MAX_STRING) if value else None


def _browser(attributes: Attributes) -> tuple[str | None, str | None]:
    """Return name and version; of the brands the first that is neither a placeholder nor the engine's."""
    name = _clipped(text(attributes, "user_agent.name"))
    if name:
        return name, _clipped(text(attributes, "user_agent.version"))
    brands = attributes.get("browser.brands")
    if not isinstance(brands, list | tuple):
        return None, None
    known = [brand.strip() for brand in brands if isinstance(brand, str) and not _GREASE.match(brand.strip())]
    for brand in sorted(known, key=lambda brand: brand.startswith("Chromium")):
        name, _, version = brand.rpartition(" ")
        return (_clipped(name), _clipped(version)) if name else (_clipped(version), None)
    return None, None


def _preferred_language(attributes: Attributes) -> str | None:
    """Return the first language of a request's Accept-Language, a header that instrumentations only record on request."""
    values = attributes.get(_LANGUAGE_HEADER, attributes.get(_LANGUAGE_HEADER_OF_PYTHON))
    if values is None:
        return None
    header = values[0] if isinstance(values, list | tuple) and values else values
    tag = _LANGUAGE_TAG.match(header) if isinstance(header, str) else None
    return tag and tag[0]


def _system(attributes: Attributes) -> str | None:
    name = text(attributes, "user_agent.os.name", "browser.platform", "os.name")
    for prefix, system in _LEGACY_PLATFORMS:
        if name and name.startswith(prefix):
            # navigator.platform of a phone names Android's kernel
            return "Android" if system == "Linux" and flag(attributes, "browser.mobile") else system
    return _clipped(name)


@lru_cache(maxsize=256)  # each item of a browser asks
def _device_by(user_agent: str) -> str | None:
    """Return the kind of device by a browser's user agent, None for what is no browser's."""
    if not user_agent.startswith("Mozilla/"):
        return None
    return "tablet" if _TABLET.search(user_agent) else "mobile" if _PHONE.search(user_agent) else "desktop"


def _device_type(attributes: Attributes, system: str | None) -> str | None:
    model = text(attributes, "device.model.name", "device.model.identifier", "user_agent.original") or ""
    mobile = flag(attributes, "browser.mobile")
    is_large_android = mobile is False and system == "Android"  # a browser's word for Android's tablets
    if is_large_android or (not mobile and _TABLET.search(model)):
        return "tablet"
    if mobile or (system or "").lower() in _MOBILE_SYSTEMS or (mobile is None and _PHONE.search(model)):
        return "mobile"
    # a browser without any hint is a desktop's, as aws-rum-web has it
    is_browser = mobile is False or attributes.get(_LANGUAGE) == "webjs"
    return "desktop" if is_browser else None
