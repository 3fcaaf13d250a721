"""A gateway's configuration: where options come from, what is refused, what is shown."""

import hashlib
import re
from pathlib import Path

import pytest
from gateway_tables import MONITOR, OTHER_MONITOR

from otel_rum_exporter import ConfigError, RumConfig
from otel_rum_exporter.gateway.settings import GatewayOptions, LimitOptions, options_tables
from otel_rum_exporter.gateway.settings_file import default_spool_dir, is_loopback, load
from otel_rum_exporter.gateway.settings_shown import shown
from otel_rum_exporter.options import options_of

TOKEN = "server-token-0123456789"  # noqa: S105 - no real one
VARIABLES = {"OTEL_EXPORTER_RUM_APP_MONITOR_ID": MONITOR, "AWS_REGION": "eu-central-2", "HOME": "/home/a"}


@pytest.fixture
def settings(tmp_path):
    """Loads a configuration of a file's text, flags and variables."""

    def read(text="", flags=None, **environ):
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return load(flags or {}, {**VARIABLES, **environ}, path)

    return read


@pytest.fixture
def problems(settings):
    """Return the problems of a configuration, one line each."""

    def read(text="", flags=None, **environ):
        with pytest.raises(ConfigError) as error:
            settings(text, flags, **environ)
        return [str(each) for each in error.value.problems]

    return read


def test_without_any_configuration_but_the_app_monitor():
    """The defaults are safe: this machine only, sessions required, on disk with fsync, nothing accepted dropped."""
    found = load({}, VARIABLES, None)
    assert (found.gateway.host, found.gateway.port) == ("127.0.0.1", 4318)
    assert (found.gateway.operations_host, found.gateway.operations_port) == ("127.0.0.1", 13133)
    assert found.gateway.idle_timeout > 60_000  # after which load balancers end a connection, who have to come first
    exporter = found.exporter
    assert (exporter.session, exporter.spool_fsync, exporter.overflow) == ("require", True, "drop_newest")
    assert exporter.spool_dir is not None
    assert (exporter.max_age, exporter.app_monitor_id) == (172_800_000, MONITOR)
    assert not found.policy.needs_token
    assert not found.policy.origins.patterns


def test_flag_before_variable_before_file_before_default(settings):
    """Each option comes from the first place that says it, and `sources` says which."""
    text = '[exporter]\nregion = "eu-west-1"\ndomain = "file.example"\nrelease_id = "file"\nsession = "process"\n'
    found = settings(
        text,
        {"exporter": {"region": "eu-west-3"}},
        OTEL_EXPORTER_RUM_REGION="eu-west-2",
        OTEL_EXPORTER_RUM_DOMAIN="variable.example",
        AWS_REGION="eu-north-1",
    )
    exporter = found.exporter
    assert (exporter.region, exporter.domain, exporter.release_id) == ("eu-west-3", "variable.example", "file")
    assert exporter.session == "process"
    names = ("region", "domain", "release_id", "session", "spool_fsync", "alias")
    assert [found.sources["exporter", name] for name in names] == [
        "command line",
        "OTEL_EXPORTER_RUM_DOMAIN",
        "configuration file",
        "configuration file",
        "default of the gateway",
        "default",
    ]


def test_aws_variables_count_last(settings):
    """AWS's own variables count where nothing else is said."""
    assert settings(AWS_REGION="eu-north-1").exporter.region == "eu-north-1"
    assert settings(AWS_REGION="eu-north-1").sources["exporter", "region"] == "AWS_REGION"
    assert settings('[exporter]\nregion = "eu-west-1"\n', AWS_REGION="eu-north-1").exporter.region == "eu-west-1"


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Writes AWS's configuration file, with one profile."""
    for name in ("AWS_DEFAULT_REGION", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def write(text, name="default"):
        (tmp_path / "aws").write_text(text)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
        monkeypatch.setenv("AWS_PROFILE", name)

    return write


def test_the_region_of_the_aws_profile(settings, profile):
    """A region that only the AWS profile has counts last, and is shown with where it came from."""
    profile("[default]\nregion = eu-south-1\n")
    found = settings(AWS_REGION="")
    assert (found.exporter.region, found.sources["exporter", "region"]) == ("eu-south-1", "AWS profile")
    assert settings().exporter.region == "eu-central-2"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("[default]\n", "default", "an AWS region is needed"),
        ("[default]\n", "other", "not in the AWS profile: The config profile (other)"),
        ("default", "default", "not in the AWS profile: Unable to parse"),
    ],
)
def test_no_region_anywhere(problems, profile, text, name, expected):
    """Without a region nothing can be sent, which is told at once."""
    profile(text, name)
    (found,) = problems(AWS_REGION="")
    assert found.startswith(f"region (OTEL_EXPORTER_RUM_REGION): {expected}")


def test_an_endpoint_that_is_given_needs_a_region_too(settings, problems, profile):
    """A request is of a region wherever it goes: what is known of it without one is not sent."""
    profile("[default]\n")
    endpoint = '[exporter]\nendpoint = "http://127.0.0.1:8790"\nauth = "none"\n'
    (found,) = problems(endpoint, AWS_REGION="")
    assert found.startswith("region (OTEL_EXPORTER_RUM_REGION): an AWS region is needed")
    profile("[default]\nregion = eu-south-1\n")
    assert settings(endpoint, AWS_REGION="").exporter.region == "eu-south-1"


def test_no_spool(settings):
    """Without a spool the memory's defaults hold, whatever a variable says of its place."""
    exporter = settings("[gateway]\nspool = false\n", OTEL_EXPORTER_RUM_SPOOL_DIR="/somewhere").exporter
    assert (exporter.spool_dir, exporter.max_age) == (None, 300_000)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a/spool"),
        ({"XDG_STATE_HOME": "/x"}, "/x/otel-rum-exporter/spool"),
        ({"XDG_STATE_HOME": "relative"}, "~/.local/state/otel-rum-exporter/spool"),
        ({}, "~/.local/state/otel-rum-exporter/spool"),
    ],
)
def test_where_the_spool_is(monkeypatch, environ, expected):
    """systemd's directory counts first, then the user's; never one that others may write to."""
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    assert default_spool_dir(environ) == Path(expected).expanduser()


def test_where_roots_spool_is(monkeypatch):
    """Root's spool is the system's."""
    monkeypatch.setattr("os.geteuid", lambda: 0, raising=False)
    assert default_spool_dir({"XDG_STATE_HOME": "/x"}) == Path("/var/lib/otel-rum-exporter/spool")


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home directory, which some containers' users are."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(Path, "home", home)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_directory(settings, problems):
    """Only a spool that nothing says the place of needs one."""
    (found,) = problems()
    assert found == "spool_dir (OTEL_EXPORTER_RUM_SPOOL_DIR): needed where the user has no home directory"
    assert settings(OTEL_EXPORTER_RUM_SPOOL_DIR="/somewhere").exporter.spool_dir == Path("/somewhere")
    assert settings("[gateway]\nspool = false\n").exporter.spool_dir is None
    assert settings(STATE_DIRECTORY="/state").exporter.spool_dir == Path("/state/spool")


# tokens


@pytest.mark.parametrize("way", ["token", "sha256", "token_file", "token_env"])
def test_a_token_may_stand_in_several_places(settings, tmp_path, way):
    """A token is given as itself, as its hash, in a file or in a variable; the same is found each way."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    said = {
        "token": f'token = "{TOKEN}"',
        "sha256": f'token = "sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"',
        "token_file": f"token_file = '{tmp_path / 'token'}'",
        "token_env": 'token_env = "GATEWAY_TOKEN"',
    }[way]
    tokens = settings(f"[[tokens]]\n{said}\n", GATEWAY_TOKEN=TOKEN).policy.tokens
    found = tokens.find(TOKEN)
    assert (found.name, found.kind, found.monitor) == ("server-1", "server", None)
    assert tokens.find(TOKEN + "x") is None


def test_files_that_windows_wrote(tmp_path):
    """Some of its editors begin a file with a byte order mark, which is no part of what it says."""
    path, token = tmp_path / "gateway.toml", tmp_path / "token"
    token.write_text(TOKEN, encoding="utf-8-sig")
    path.write_text(f"[gateway]\nport = 1\n[[tokens]]\ntoken_file = '{token}'\n", encoding="utf-8-sig")
    found = load({}, VARIABLES, path)
    assert found.gateway.port == 1
    assert found.policy.tokens.find(TOKEN) is not None


def test_a_tokens_own_limits(settings):
    """A token has its own limits, or those of [limits]."""
    text = (
        f'[limits]\ntoken_burst = 7\n[[tokens]]\ntoken = "{TOKEN}"\nrequests_per_second = 3\nrecords_per_second = 0\n'
    )
    (token,) = settings(text).policy.tokens.known
    assert (token.requests.per_second, token.requests.burst, token.records.is_limit) == (3, 7, False)


BROWSER = f'kind = "browser"\ntoken = "{TOKEN}"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[", "config: "),
        ("[gatway]\n", "gatway: no such table; there are gateway, limits, exporter, app_monitors, tokens"),
        ("gateway = 1\n", "gateway: a table, written [gateway]"),
        ("[tokens]\n", "tokens: an array of tables, each written [[tokens]]"),
        ("[gateway]\nhst = 'x'\n", "gateway.hst: no such option, did you mean host?"),
        ("[gateway]\nport = 70000\n", "gateway.port: 70000 given, accepted: an integer from 0 to 65535"),
        ("[gateway]\nhost = 'a b'\n", "gateway.host: 'a b' given, accepted: a host name or an address"),
        ("[gateway]\nallowed_origins = ['*']\n", "gateway.allowed_origins: ['*'] given, accepted: an origin such as"),
        ("[gateway]\ntrusted_proxies = 'proxy'\n", "gateway.trusted_proxies: 'proxy' given, accepted: addresses"),
        ("[gateway]\ntls_key = 'key.pem'\n", "gateway.tls_certificate: together with gateway.tls_key"),
        (
            "[gateway]\nhost = '0.0.0.0'\n",
            "gateway.host: '0.0.0.0' given, accepted: without tokens an address that only",
        ),
        ("[gateway]\nhost = '::'\n", "gateway.host: '::' given, accepted: without tokens"),
        ("[gateway]\ntrusted_proxies = '127.0.0.1'\n", "gateway.trusted_proxies: others than this machine send by way"),
        ("[gateway]\nhost = 'gateway.example'\n", "gateway.host: 'gateway.example' given"),
        ("[limits]\ndepth = 41\n", "limits.depth: 41 given, accepted: an integer from 1 to 40"),
        ("[exporter]\nregion = 'moon'\n", "region (OTEL_EXPORTER_RUM_REGION): 'moon' given"),
        ("[exporter]\nregon = 'eu-west-1'\n", "exporter.regon: no such option, did you mean region?"),
        ("[[app_monitors]]\nname = 'a'\n", "app_monitors[1].id: missing, accepted: a UUID"),
        ("[[app_monitors]]\nid = 'a'\n", "app_monitors[1].id: 'a' given, accepted: a UUID"),
        (f"[[app_monitors]]\nid = '{MONITOR}'\n" * 2, "app_monitors[2].id: listed twice"),
        ("[[tokens]]\n", "tokens[1]: one of token, token_file, token_env"),
        (f"[[tokens]]\ntoken = '{TOKEN}'\ntoken_env = 'A'\n", "tokens[1]: one of token, token_file, token_env"),
        ("[[tokens]]\ntoken = 'short'\n", "tokens[1].token: a value not shown, accepted: 16 to 512 printable"),
        ("[[tokens]]\ntoken = 12345\n", "tokens[1].token: a value given, accepted: text"),
        ("[[tokens]]\ntoken_env = 'UNSET'\n", "tokens[1].token_env: the environment variable of this name is not set"),
        ("[[tokens]]\ntoken_file = '/nowhere/token'\n", "tokens[1].token_file: cannot be read: No such file"),
        ('[[tokens]]\ntoken_file = "a\\u0000b"\n', "tokens[1].token_file: cannot be read: no file has this name"),
        (f"[[tokens]]\ntoken = '{TOKEN}'\n" * 2, "tokens[2]: the same token as another one's"),
        (f"[[tokens]]\ntoken = '{TOKEN}'\norigins = ['https://a.example']\n", "tokens[1].origins: only of a browser's"),
        (f"[[tokens]]\n{BROWSER}", "tokens[1]: a browser's token needs app_monitor and origins"),
        (f"[[tokens]]\n{BROWSER}app_monitor = '{MONITOR}'\norigins = ['null']\n", "tokens[1].origins: ['null'] given"),
        (
            f"[[tokens]]\n{BROWSER}app_monitor = '{OTHER_MONITOR}'\norigins = ['https://a.example']\n",
            "tokens[1].app_monitor: no such app monitor",
        ),
        (f"[[tokens]]\ntoken = '{TOKEN}'\nkid = 'a'\n", "tokens[1].kid: no such member; there are name, kind, token"),
    ],
)
def test_what_is_refused(problems, text, expected):
    """A problem says what is wrong and what is accepted, and shows no token."""
    found = problems(text)
    assert any(each.startswith(expected) for each in found), found
    assert TOKEN not in str(found)


def test_a_token_in_the_place_of_its_variable(problems):
    """Who writes the token itself where the name of a variable belongs does not find it in the log."""
    (found,) = problems(f"[[tokens]]\ntoken_env = '{TOKEN}'\n")
    assert found == "tokens[1].token_env: the environment variable of this name is not set, or empty"


def test_all_problems_at_once(problems):
    """Whoever writes a configuration sees all that is wrong with it."""
    found = problems("[gateway]\nport = -1\n[limits]\nrecords = 0\n[exporter]\nauth = 'basic'\n[[tokens]]\n")
    assert len(found) == 4


def test_an_app_monitor_is_needed(settings):
    """Without any app monitor nothing could be sent."""
    with pytest.raises(ConfigError, match="an app monitor is needed"):
        settings(OTEL_EXPORTER_RUM_APP_MONITOR_ID="")
    listed = settings(f"[[app_monitors]]\nid = '{MONITOR}'\n", OTEL_EXPORTER_RUM_APP_MONITOR_ID="")
    assert listed.policy.monitors.get(MONITOR.upper()).id == MONITOR
    assert listed.exporter.app_monitor_id is None


@pytest.mark.parametrize(
    "text",
    [
        "host = '0.0.0.0'\nallow_anonymous = true\n",
        "trusted_proxies = '127.0.0.1'\nallow_anonymous = true\n",
        f"host = '::'\n[[tokens]]\ntoken = '{TOKEN}'\n",
        f"trusted_proxies = '127.0.0.1'\n[[tokens]]\ntoken = '{TOKEN}'\n",
    ],
)
def test_what_may_listen_for_others(settings, text):
    """With tokens, or when it is asked for in so many words, a gateway serves others than this machine."""
    found = settings(f"[gateway]\n{text}")
    assert found.policy.needs_token == ("tokens" in text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("::", False)],
)
def test_loopback(host, expected):
    """What only this machine reaches."""
    assert is_loopback(host) == expected


# what is shown


def test_what_is_shown(settings):
    """Each option is shown with its value and where that is from, and no secret is."""
    text = f"""
[exporter]
user_id_secret = "canary-secret"
[[app_monitors]]
id = "{OTHER_MONITOR}"
[[tokens]]
{BROWSER}app_monitor = "{OTHER_MONITOR}"
origins = ["https://*.shop.example"]
"""
    lines = list(shown(settings(text)))
    for each in (
        "port = 4318  # default",
        "session = require  # default of the gateway",
        "user_id_secret = ***  # configuration file",
        "token = ***",
        "origins = https://*.shop.example",
        "records_per_second = no limit",
        "requests without a token: refused",
    ):
        assert each in lines
    names = {line.partition(" = ")[0] for line in lines}
    kinds = (GatewayOptions, LimitOptions, RumConfig)
    missing = {name for kind in kinds for name in options_of(kind)} - names
    assert missing == {"app_monitor_id", "app_monitor_name", "app_version"}
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    assert not [each for each in ("canary-secret", TOKEN, digest[:8]) if each in "\n".join(lines)]


# what is written of it

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(("name", "table"), list(options_tables()))
def test_the_option_tables_of_the_documents(name, table):
    """docs/gateway.md has the tables that the options make."""
    assert f"### [{name}]\n\n{table}\n" in (ROOT / "docs/gateway.md").read_text()


def test_the_example(settings, tmp_path):
    """The example's configuration can be used as it is, and the unit's and the container's commands are of this program."""
    folder = ROOT / "examples/gateway"
    text, credential = (
        (folder / "gateway.toml").read_text(),
        "/run/credentials/otel-rum-gateway.service/collector-token",
    )
    (tmp_path / "token").write_text(TOKEN)
    found = settings(text.replace(credential, str(tmp_path / "token")), OTEL_EXPORTER_RUM_APP_MONITOR_ID="")
    assert [each.kind for each in found.policy.tokens.known] == ["server", "browser"]
    assert found.policy.tokens.find(TOKEN).name == "collector"
    assert found.policy.needs_token
    unit = (folder / "otel-rum-gateway.service").read_text()
    assert "bin/otel-rum-exporter gateway --config " in unit
    assert (folder / Path(credential).parent.name).is_file(), "the credential's folder has the unit's name"
    assert f"\nLoadCredential={Path(credential).name}:" in unit
    container = (folder / "Containerfile").read_text()
    assert f"target={credential} " in container
    assert f":{found.gateway.operations_port}/healthz" in container
    assert f"EXPOSE {found.gateway.port}\n" in container


def test_the_toml_of_the_documents(settings, tmp_path):
    """The configurations that docs/gateway.md shows can be used."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/gateway.md").read_text(), re.DOTALL)
    (tmp_path / "collector").write_text("collector-token-0123456789")
    text = "\n".join(blocks).replace("/run/secrets/collector", str(tmp_path / "collector"))
    found = settings(text)
    assert (len(found.policy.tokens.known), len(found.policy.monitors.entries)) == (2, 1)
