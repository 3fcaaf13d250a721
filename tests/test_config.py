"""Options: where they are read from, what is refused and how, what is never shown."""

import os
import pickle
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_rum_exporter import environment_variables
from otel_rum_exporter.config import ConfigError, RumConfig, ignored_variables, options_table
from otel_rum_exporter.options import options_of, variable_of

ID = "12345678-1234-1234-1234-1234567890aB"
POOL = "eu-central-1:12345678-1234-1234-1234-123456789012"
ROLE = "arn:aws:iam::123456789012:role/guest"
OPTIONS = options_of(RumConfig)
VARIABLES = {variable_of(name, facts): name for name, facts in OPTIONS.items() if facts.variable}
README = Path(__file__).parent.parent / "README.md"


def rum(name):
    return f"OTEL_EXPORTER_RUM_{name}"


def problems_of(arguments, environ):
    with pytest.raises(ConfigError) as caught:
        RumConfig.load(arguments, environ)
    return {problem.option: str(problem) for problem in caught.value.problems}


# --- what is read


@pytest.mark.parametrize(
    ("name", "given_as", "expected"),
    [
        pytest.param("app_monitor_id", ID, ID, id="a UUID keeps its case"),
        pytest.param("app_monitor_name", " shop ", "shop", id="text is stripped"),
        pytest.param("region", "us-gov-west-1", "us-gov-west-1", id="a region of another partition"),
        pytest.param("region", "ap-southeast-2", "ap-southeast-2", id="a region"),
        pytest.param("endpoint", "https://rum.example/base", "https://rum.example/base", id="an endpoint with a path"),
        pytest.param("endpoint", "http://localhost:8765", "http://localhost:8765", id="http to localhost"),
        pytest.param("endpoint", "http://127.8.9.1", "http://127.8.9.1", id="http to another loopback address"),
        pytest.param("endpoint", "http://[::1]:1", "http://[::1]:1", id="http to loopback in IPv6"),
        pytest.param("insecure", "True", True, id="a flag in any case"),
        pytest.param("alias", "a" * 255, "a" * 255, id="the longest alias"),
        pytest.param("auth", "NONE", "none", id="a choice in any case"),
        pytest.param("identity_pool_id", POOL, POOL, id="an identity pool"),
        pytest.param("domain", "shop.example", "shop.example", id="a domain"),
        pytest.param("release_id", "v1.2/a:b_c-d", "v1.2/a:b_c-d", id="a release"),
        pytest.param("session_sample_rate", "1e-2", 0.01, id="a number in scientific notation"),
        pytest.param("attributes", "app.*, ,tenant", ("app.*", "tenant"), id="a list with commas and a gap"),
        pytest.param("max_events", "100", 100, id="the most events"),
        pytest.param("max_bytes", "16384", 16384, id="the smallest body"),
        pytest.param("flush_interval", "0", 0, id="no waiting"),
        pytest.param("spool_dir", "/var/spool/rum", Path("/var/spool/rum"), id="a directory"),
    ],
)
def test_text_means_the_same_in_a_variable_and_in_an_argument(name, given_as, expected):
    """An option's text is parsed alike, wherever it comes from."""
    from_variable = RumConfig.load({}, {rum(name.upper()): given_as})
    from_argument = RumConfig.load({name: given_as}, {})
    assert getattr(from_variable, name) == expected
    assert from_variable == from_argument


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("max_events", 7, 7, id="int"),
        pytest.param("insecure", True, True, id="bool"),
        pytest.param("session_sample_rate", 1, 1.0, id="int for a number"),
        pytest.param("attributes", ["app.*"], ("app.*",), id="list"),
        pytest.param("session_cookies", ("a", "b"), ("a", "b"), id="tuple"),
        pytest.param("spool_dir", Path("/spool"), Path("/spool"), id="path"),
        pytest.param("page_id_format", "path_and_hash", "path_and_hash", id="an option without a variable"),
    ],
)
def test_typed_arguments_are_taken(name, value, expected):
    """Declarative configuration passes ints, bools and lists."""
    assert getattr(RumConfig.load({name: value}, {}), name) == expected


@pytest.mark.parametrize(
    ("arguments", "environ", "name", "expected"),
    [
        pytest.param({"max_events": 1}, {rum("MAX_EVENTS"): "2"}, "max_events", 1, id="argument before variable"),
        pytest.param({"max_events": None}, {rum("MAX_EVENTS"): "2"}, "max_events", 2, id="None is not given"),
        pytest.param({"alias": ""}, {rum("ALIAS"): "a"}, "alias", "a", id="an empty argument is not given"),
        pytest.param({}, {rum("MAX_EVENTS"): ""}, "max_events", 100, id="an empty variable is unset"),
        pytest.param({}, {rum("MAX_EVENTS"): " \t"}, "max_events", 100, id="a blank variable is unset"),
        pytest.param({}, {rum("INSECURE"): "false"}, "insecure", False, id="false is not empty"),
        pytest.param(
            {}, {rum("PAGE_ID_FORMAT"): "hash"}, "page_id_format", "path", id="the rarer ones have no variable"
        ),
        pytest.param({}, {}, "app_monitor_id", None, id="the app monitor may come with the resource"),
        pytest.param(
            {},
            {"OTEL_RESOURCE_ATTRIBUTES": f"a=b,nonsense, aws.rum.appmonitor.id = {ID.replace('-', '%2D')} ,c=d"},
            "app_monitor_id",
            ID,
            id="app monitor in the resource attributes, percent-encoded",
        ),
        pytest.param(
            {},
            {rum("APP_MONITOR_ID"): ID, "OTEL_RESOURCE_ATTRIBUTES": f"aws.rum.appmonitor.id={ID.lower()}"},
            "app_monitor_id",
            ID,
            id="variable before resource attributes",
        ),
        pytest.param(
            {},
            {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"},
            "region",
            "eu-west-1",
            id="AWS_REGION first",
        ),
        pytest.param({}, {"AWS_DEFAULT_REGION": "eu-west-2"}, "region", "eu-west-2", id="AWS_DEFAULT_REGION"),
        pytest.param({}, {rum("REGION"): "eu-west-3", "AWS_REGION": "x"}, "region", "eu-west-3", id="own"),
        pytest.param(
            {},
            {"AWS_ENDPOINT_URL_RUM": "https://rum", "AWS_ENDPOINT_URL": "https://all"},
            "endpoint",
            "https://rum",
            id="AWS_ENDPOINT_URL_RUM first",
        ),
        pytest.param({}, {"AWS_ENDPOINT_URL": "https://all"}, "endpoint", "https://all", id="AWS_ENDPOINT_URL"),
        pytest.param(
            {},
            {"AWS_ENDPOINT_URL": "https://all", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "endpoint",
            None,
            id="AWS's endpoint variables ignored on request",
        ),
        pytest.param({}, {}, "max_age", 300_000, id="max_age in memory"),
        pytest.param({"spool_dir": "/s"}, {}, "max_age", 172_800_000, id="max_age with a spool"),
        pytest.param({"spool_dir": "/s", "max_age": 5}, {}, "max_age", 5, id="max_age given beside a spool"),
        pytest.param({}, {}, "shutdown_timeout_s", 5, id="shutdown in memory, in seconds"),
        pytest.param({"spool_dir": "/s"}, {}, "shutdown_timeout_s", 2, id="shutdown with a spool, in seconds"),
        pytest.param({"timeout": 1500}, {}, "timeout_s", 1.5, id="timeout in seconds"),
        pytest.param({"flush_interval": 250}, {}, "flush_interval_s", 0.25, id="flush interval in seconds"),
        pytest.param({"max_age": 1}, {}, "max_age_s", 0.001, id="max_age in seconds"),
        pytest.param({"endpoint": "http://proxy", "insecure": True}, {}, "endpoint", "http://proxy", id="insecure"),
    ],
)
def test_the_first_source_that_is_set_wins(arguments, environ, name, expected):
    """Argument, own variable, other variables, default: in this order."""
    assert getattr(RumConfig.load(arguments, environ), name) == expected


# --- what is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("app_monitor_id", "12345678", id="no UUID"),
        pytest.param("app_monitor_id", f"{{{ID}}}", id="UUID in braces"),
        pytest.param("app_monitor_id", ID.replace("-", ""), id="UUID without dashes"),
        pytest.param("region", "Frankfurt", id="no region"),
        pytest.param("endpoint", "localhost:8080", id="endpoint without scheme"),
        pytest.param("endpoint", "ftp://localhost", id="endpoint of another scheme"),
        pytest.param("endpoint", "https://", id="endpoint without host"),
        pytest.param("endpoint", "https://u:p@h", id="endpoint with userinfo"),
        pytest.param("endpoint", "https://h/?", id="endpoint with a query"),
        pytest.param("endpoint", "https://h/#f", id="endpoint with a fragment"),
        pytest.param("endpoint", "https://h:99999", id="endpoint with no port of TCP"),
        pytest.param("endpoint", "https://[::1", id="endpoint with half an address"),
        pytest.param("endpoint", "https://h/a b", id="endpoint with a space"),
        pytest.param("endpoint", "http://localstack:4566", id="plain http to another machine"),
        pytest.param("endpoint", "http://127.0.0.1.example", id="a name that begins like loopback"),
        pytest.param("endpoint", "http://localhost\\@evil.example", id="a host that parsers disagree on"),
        pytest.param("endpoint", "http://10.0.0.1", id="plain http to a private network"),
        pytest.param("insecure", "yes", id="no flag"),
        pytest.param("alias", "a" * 256, id="alias too long"),
        pytest.param("auth", "basic", id="no choice"),
        pytest.param("identity_pool_id", "pool", id="no identity pool"),
        pytest.param("guest_role_arn", ROLE, id="role without identity pool"),
        pytest.param("domain", "https://shop.example", id="domain with a scheme"),
        pytest.param("domain", "shop.example:80", id="domain with a port"),
        pytest.param("release_id", "v 1", id="release with a space"),
        pytest.param("release_id", "v" * 201, id="release too long"),
        pytest.param("session_sample_rate", "1.5", id="rate over 1"),
        pytest.param("session_sample_rate", "nan", id="rate NaN"),
        pytest.param("session_sample_rate", "half", id="rate in words"),
        pytest.param("max_requests_per_second", "inf", id="rate without end"),
        pytest.param("max_events", "0", id="no events"),
        pytest.param("max_events", "101", id="too many events"),
        pytest.param("max_events", "5.0", id="no integer"),
        pytest.param("max_events", "1_0", id="integer of Python only"),
        pytest.param("max_bytes", "8191", id="body too small for an event"),
        pytest.param("timeout", "0", id="no time"),
        pytest.param("timeout", "9" * 5000, id="more digits than int takes"),
        pytest.param("flush_interval", "2592000001", id="longer than threads can wait"),
        pytest.param("spool_dir", "a\0b", id="path with NUL"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value):
    """The error names option, variable, value and what is accepted, once for a variable and once for an argument."""
    for arguments, environ in (({name: value}, {}), ({}, {rum(name.upper()): value})):
        [(option, message)] = problems_of(arguments, environ).items()
        assert option == name
        assert message.startswith(f"{name} ({rum(name.upper())}): ")
        assert " given, accepted: " in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("max_events", True, id="bool for an integer"),
        pytest.param("max_events", 5.0, id="float for an integer"),
        pytest.param("max_events", [1], id="list for an integer"),
        pytest.param("session_sample_rate", True, id="bool for a number"),
        pytest.param("session_sample_rate", 10**400, id="integer that no float holds"),
        pytest.param("insecure", 1, id="int for a flag"),
        pytest.param("insecure", [], id="list for a flag"),
        pytest.param("app_version", 1.1, id="a version that YAML read as a number"),
        pytest.param("auth", 1, id="int for a choice"),
        pytest.param("endpoint", b"https://h", id="bytes for text"),
        pytest.param("attributes", [1], id="list of ints"),
        pytest.param("attributes", {"a": 1}, id="mapping for a list"),
        pytest.param("spool_dir", 3, id="int for a path"),
        pytest.param("page_id_format", "query", id="an option without a variable"),
    ],
)
def test_an_argument_of_another_type_is_refused(name, value):
    """Nothing is guessed from a value of another type."""
    assert list(problems_of({name: value}, {})) == [name]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        pytest.param({"AWS_REGION": "nowhere"}, "region (AWS_REGION)", id="AWS_REGION"),
        pytest.param({"AWS_ENDPOINT_URL": "http://proxy"}, "endpoint (AWS_ENDPOINT_URL)", id="AWS_ENDPOINT_URL"),
        pytest.param(
            {"OTEL_RESOURCE_ATTRIBUTES": "aws.rum.appmonitor.id=x"},
            "app_monitor_id (OTEL_RESOURCE_ATTRIBUTES)",
            id="OTEL_RESOURCE_ATTRIBUTES",
        ),
    ],
)
def test_the_error_names_the_variable_that_the_value_came_from(environ, named):
    """Who has set only AWS's variables looks for the fault there."""
    [message] = problems_of({}, environ).values()
    assert message.startswith(named)


def test_all_problems_come_in_one_error():
    """Nobody has to start the program once for each mistake."""
    found = problems_of(
        {"max_evnts": 5, "gibberish": 1, "http_events": "some"},
        {rum("MAX_BYTES"): "1", "AWS_REGION": "nowhere", rum("GUEST_ROLE_ARN"): ROLE},
    )
    assert found["max_evnts"] == "max_evnts: no such option, did you mean max_events?"
    assert found["gibberish"] == "gibberish: no such option"
    assert set(found) == {"max_evnts", "gibberish", "http_events", "max_bytes", "region", "guest_role_arn"}


def test_a_variable_that_sets_nothing_is_named():
    """A misspelt one is no error, since nothing says that it was meant for this package; its value may be a secret."""
    environ = {rum("REGOIN"): "s3cret", rum("STAMP_ALL_SPANS"): "true", rum("REGION"): "eu-west-1", "OTEL_REGOIN": "x"}
    assert list(ignored_variables(environ)) == [
        "The variable OTEL_EXPORTER_RUM_REGOIN is ignored: no such option, did you mean region?",
        "The variable OTEL_EXPORTER_RUM_STAMP_ALL_SPANS is ignored: stamp_all_spans has no variable, only an argument",
    ]
    assert list(ignored_variables(dict.fromkeys(VARIABLES, "1"))) == []


def test_an_option_is_not_blamed_for_another_ones_mistake():
    """A role beside a malformed identity pool is one problem, and so is an endpoint beside a malformed flag."""
    assert list(problems_of({"guest_role_arn": ROLE, "identity_pool_id": "pool"}, {})) == ["identity_pool_id"]
    assert list(problems_of({"endpoint": "http://proxy", "insecure": "yes"}, {})) == ["insecure"]


def test_guest_credentials_do_not_go_with_unsigned_requests():
    """Credentials that would sign nothing are a mistake."""
    assert list(problems_of({"identity_pool_id": POOL, "auth": "none"}, {})) == ["identity_pool_id"]


def test_the_error_is_a_value_error_that_survives_pickling():
    """Process pools pickle exceptions."""
    with pytest.raises(ValueError, match="max_events") as caught:
        RumConfig.load({"max_events": 0}, {})
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own bytes


environments = st.dictionaries(
    st.sampled_from([*VARIABLES, "AWS_REGION", "AWS_ENDPOINT_URL", "OTEL_RESOURCE_ATTRIBUTES"]),
    st.text() | st.from_regex(r"https?://[a-z.@?]*", fullmatch=True) | st.integers().map(str) | st.floats().map(str),
)


@given(environments)
def test_any_environment_loads_or_each_bad_variable_is_named(environ):
    """Each own variable that cannot be used by itself is named among all the others, too."""
    bad = {variable for variable in environ if variable in VARIABLES and not _is_usable(variable, environ[variable])}
    named = _variables_refused(environ)
    assert bad <= named
    assert named <= set(environ)


def _is_usable(variable, value):
    others = {rum("INSECURE"): "true", rum("IDENTITY_POOL_ID"): POOL}  # so that only the value itself counts
    return variable not in _variables_refused(others | {variable: value})


def _variables_refused(environ):
    try:
        RumConfig.load({}, environ)
    except ConfigError as error:
        message = str(error)
        return {problem.variable for problem in error.problems if f"({problem.variable}): " in message}
    return set()


# --- what is never shown


def test_the_secret_is_never_shown():
    """Neither a configuration nor an error gives the key away."""
    config = RumConfig.load({}, {rum("USER_ID_SECRET"): "hush-hush"})
    assert config.user_id_secret == "hush-hush"  # noqa: S105 - of this test only
    assert "hush" not in f"{config!r} {config}"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"user_id_secret": "hush" * 1000}, id="too long"),
        pytest.param({"user_id_secret": ["hush"]}, id="another type"),
        pytest.param({"user_id_secrte": "hush"}, id="misspelt option"),
        pytest.param({"endpoint": "https://me:hush@h"}, id="password in the endpoint"),
        pytest.param({"endpoint": "https://me:hush/hush@h"}, id="password with a slash"),
        pytest.param({"endpoint": "me:hush@h"}, id="password without scheme"),
        pytest.param({"endpoint": "https://h?X-Amz-Signature=hush"}, id="signature in the endpoint"),
        pytest.param({"endpoint": "https://me:hush?@h"}, id="password with a question mark"),
        pytest.param({"endpoint": "https://me:p#hush@h"}, id="password with a hash"),
        pytest.param({"endpoint": "https://h?sig=a@hush"}, id="signature with an at sign"),
        pytest.param({"endpoint": "https://h?sig=a\n@hush"}, id="signature with a line break"),
    ],
)
def test_an_error_shows_no_secret(arguments):
    """A value that may hold a secret is left out of the message, or masked."""
    assert "hush" not in str(problems_of(arguments, {}))


# --- what the options are


def test_a_configuration_is_a_frozen_value():
    """Exporters of equal configurations share a pipeline, which is found by the configuration's hash."""
    one, other = (RumConfig.load({"attributes": ["a"], "spool_dir": "/s"}, {}) for _ in range(2))
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.max_events = 5


def test_nothing_is_read_but_what_is_passed(monkeypatch):
    """The process's environment counts only when it is handed over."""
    monkeypatch.setitem(os.environ, rum("MAX_EVENTS"), "5")
    assert RumConfig.load({}, {}).max_events == 100


@pytest.mark.parametrize("name", OPTIONS)
def test_a_default_is_accepted_by_its_own_option(name):
    """The defaults obey the rules that values obey."""
    default = OPTIONS[name].default
    assert default is None or getattr(RumConfig.load({name: default}, {}), name) == default


@pytest.mark.parametrize("name", OPTIONS)
def test_each_choice_of_the_type_is_accepted(name):
    """What mypy lets pass, load lets pass, and the default is one of them."""
    for choice in get_args(get_type_hints(RumConfig)[name]):
        if isinstance(choice, str):
            assert getattr(RumConfig.load({name: choice}, {}), name) == choice


def test_the_module_of_variables_names_each_variable_and_no_other():
    """Any other `OTEL_` name in it crashes opentelemetry-instrument."""
    named = {name: value for name, value in vars(environment_variables).items() if name.startswith("OTEL_")}
    assert named == {variable: variable for variable in VARIABLES}


def test_each_option_is_documented():
    """The table has a row and a sentence for each field."""
    assert options_table().count("\n") == len(fields(RumConfig)) + 1
    assert all(facts.doc.endswith(".") for facts in OPTIONS.values())


def test_the_readme_shows_the_options():
    """`python3 dev.py docs` writes the table anew."""
    _, _, rest = README.read_text(encoding="utf-8").partition("<!-- options:start -->\n")
    assert rest.partition("\n<!-- options:end -->")[0] == options_table()
