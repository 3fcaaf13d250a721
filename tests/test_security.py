"""What the package is allowed to do in AWS, and what its code never does with what others wrote."""

import ast
import json
import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
PACKAGE = TOP / "otel_rum_exporter"
POLICY = json.loads((TOP / "docs" / "iam-policy.json").read_text(encoding="utf-8"))

# --- the policy of whoever sends

RESOURCE = re.compile(r"arn:aws[a-z-]*:rum:(?P<region>[^:*?]+):(?P<account>[^:*?]+):appmonitor/(?P<name>[^*?/]+)")


def problems(policy):
    """What a policy allows beyond sending to one app monitor, or what keeps it from being one."""
    if set(policy) != {"Version", "Statement"} or policy["Version"] != "2012-10-17":
        yield "not a policy of the current version"
    statements = policy.get("Statement")
    if not isinstance(statements, list) or len(statements) != 1:
        yield "not one statement"
        return
    (statement,) = statements
    if unknown := set(statement) - {"Sid", "Effect", "Action", "Resource"}:
        yield f"members: {', '.join(sorted(unknown))}"
    if not re.fullmatch(r"[A-Za-z0-9]+", statement.get("Sid", "x")):
        yield "a Sid that IAM refuses"
    if statement.get("Effect") != "Allow":
        yield "allows nothing"
    if statement.get("Action") not in ("rum:PutRumEvents", ["rum:PutRumEvents"]):
        yield f"actions: {statement.get('Action')}"
    resources = statement.get("Resource")
    resources = resources if isinstance(resources, list) else [resources]
    if len(resources) != 1 or not isinstance(resources[0], str) or not RESOURCE.fullmatch(resources[0]):
        yield f"resources: {resources}"


def test_the_policy():
    """One statement: PutRumEvents on one app monitor, with places for region, account and name."""
    assert list(problems(POLICY)) == []
    (statement,) = POLICY["Statement"]
    assert RESOURCE.fullmatch(statement["Resource"]).groups() == ("REGION", "ACCOUNT", "NAME")


def statement(**changes):
    return {**POLICY, "Statement": [{**POLICY["Statement"][0], **changes}]}


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {**POLICY, "Version": "2008-10-17"},
        {**POLICY, "Statement": POLICY["Statement"] * 2},
        {**POLICY, "Statement": []},
        statement(Action="rum:*"),
        statement(Action="*"),
        statement(Action=["rum:PutRumEvents", "logs:PutLogEvents"]),
        statement(Action="rum:putrumevents*"),
        statement(NotAction="rum:DeleteAppMonitor"),
        statement(NotResource="*"),
        statement(Principal="*"),
        statement(Effect="Deny"),
        statement(Sid="put-events"),
        statement(Resource="*"),
        statement(Resource="arn:aws:rum:*:123456789012:appmonitor/shop"),
        statement(Resource="arn:aws:rum:eu-central-1:*:appmonitor/shop"),
        statement(Resource="arn:aws:rum:eu-central-1:123456789012:appmonitor/*"),
        statement(Resource="arn:aws:rum:eu-central-1:123456789012:*"),
        statement(Resource=[POLICY["Statement"][0]["Resource"], "*"]),
    ],
    ids=str,
)
def test_wider_policies_are_found(policy):
    """The test above could fail."""
    assert list(problems(policy))


# --- code that runs what others wrote

DANGEROUS_MODULES = {
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dbm", "dill", "cloudpickle", "joblib", "jsonpickle", "yaml",
    "xml", "xmlrpc", "code", "codeop", "runpy", "pty", "imp",
}  # fmt: skip
DANGEROUS_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv", "tempfile.mktemp",
    "ssl._create_unverified_context", "importlib.import_module",
}  # fmt: skip
# the demo's processes, and the endpoint for tests: each starts this Python with arguments of its own
STARTERS = {"demo/processes.py", "testing.py"}


def dangers(source):
    """Each danger of a module's source, with its line."""
    for node in ast.walk(ast.parse(source)):
        for danger in (*_imported(node), *_called(node)):
            yield f"{node.lineno}: {danger}"


def _imported(node):
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return sorted({name for name in names if name.partition(".")[0] in DANGEROUS_MODULES or name in DANGEROUS_CALLS})


def _called(node):
    if not isinstance(node, ast.Call):
        return
    if (name := ast.unparse(node.func)) in DANGEROUS_CALLS:
        yield name
    for keyword in node.keywords:
        value = ast.unparse(keyword.value)
        if keyword.arg == "shell" and value != "False":
            yield f"shell={value}"
        if keyword.arg in ("verify", "check_hostname") and value in ("False", "None", "0"):
            yield f"{keyword.arg}={value}"
        if keyword.arg in ("cert_reqs", "verify_mode") and "CERT_NONE" in value:
            yield value


def sources():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_runs_what_others_wrote(path):
    """No pickle, marshal, shelve, YAML or XML, no eval or exec, no shell, no TLS without verification."""
    assert list(dangers(path.read_text(encoding="utf-8"))) == []


def test_who_starts_processes():
    """The demo and the endpoint for tests do; the exporter never."""
    starters = {
        path.relative_to(PACKAGE).as_posix()
        for path in sources()
        if re.search(
            r"^\s*(?:import|from) (?:subprocess|multiprocessing)\b", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert starters == STARTERS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal",
        "from pickle import loads",
        "def f():\n    import shelve",
        "from xml.etree import ElementTree",
        "import yaml\nyaml.load('x')",
        "eval('1')",
        "exec(text)",
        "__import__(name)",
        "from importlib import import_module",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "boto3.client('rum', verify=False)",
        "context(cert_reqs=ssl.CERT_NONE)",
    ],
)
def test_dangers_are_found(source):
    """The tests above could fail."""
    assert list(dangers(source))
