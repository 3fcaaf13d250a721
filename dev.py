#!/usr/bin/env python3
"""Run this project's commands on any Python 3.10 or newer that has pip and venv; all else is installed into .venv.

python3 dev.py demo              the demo
python3 dev.py test [...]        the tests; arguments are pytest's
python3 dev.py proofs [--nightly]
                                 measures what the exporter promises, with real processes, and prints the table:
                                 line of the contract, what, target, measured, verdict; also as build/proofs.json
                                 (8 minutes on two cores); --nightly: with the long runs (half an hour more)
python3 dev.py bench [--quick | --full]
                                 measures what a span costs, beside OTLP/HTTP and boto3, in three minutes, and prints
                                 the table: figure, target, measured, verdict; raw numbers in build/bench.json;
                                 bench soak: the highest rate for ten minutes, as a plot for docs/performance.md;
                                 bench gateway [--seconds N]: the gateway under load, in eight minutes
python3 dev.py lint              ruff's rules and its formatting
python3 dev.py types             mypy
python3 dev.py docs              writes the option table of README.md anew
python3 dev.py sbom              writes what an installation of the package is made of, as CycloneDX, into dist
python3 dev.py matrix [--edges]  the tests on each installed Python, with the oldest and the newest dependencies;
                                 --edges: the oldest Python with the oldest, the newest with the newest
python3 dev.py nightly           the long tests and the whole matrix
"""

from __future__ import annotations  # an older Python shall get as far as the message in main

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parent
PYPROJECT = (TOP / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
PROOFS = ("tests/proofs", "tests/lifecycle", "tests/spool", "tests/pipeline")
MARKS = ("<!-- options:start -->", "<!-- options:end -->")


def say(line: str) -> None:
    """Print at once, so that lines keep their place among those of the commands."""
    print(line, flush=True)


# --- set-up: a virtual environment with everything in it


class Venv(NamedTuple):
    """A virtual environment: where it is, which Python makes it, and what it is held to."""

    directory: Path
    base: str = sys.executable
    constraints: tuple[str, ...] = ()

    def program(self, name: str) -> str:
        """Return the path of an installed program."""
        return str(self.directory / ("Scripts" if os.name == "nt" else "bin") / name)


def ready(venv: Venv) -> Venv:
    """Create and fill the virtual environment, unless its stamp says that this has been done."""
    version = version_of(venv.base) or sys.exit(f"{venv.base} cannot make virtual environments")
    wanted = hashlib.sha256("\n".join((PYPROJECT, version, *venv.constraints)).encode()).hexdigest()
    stamp = venv.directory / "stamp"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return venv
    say(f"Creating {venv.directory.name} with Python {version}")
    stamp.unlink(missing_ok=True)
    quietly(venv.base, "-m", "venv", *clearing(venv.directory, version), str(venv.directory))
    say("Installing the package and its tools (a minute or two, this once)")
    install(venv)
    stamp.write_text(wanted, encoding="utf-8")
    return venv


def clearing(directory: Path, version: str) -> list[str]:
    """Return what makes venv start afresh, if another Python made the directory."""
    made_by = directory / "pyvenv.cfg"
    return ["--clear"] if made_by.exists() and f"version = {version}" not in made_by.read_text() else []


def install(venv: Venv) -> None:
    """Install the package with all its extras, and the tools."""
    constraints = venv.directory / "constraints.txt"
    constraints.write_text("\n".join(venv.constraints), encoding="utf-8")
    pip = (venv.program("python"), "-m", "pip", "install", "--disable-pip-version-check")
    quietly(*pip, "--upgrade", "pip >= 25.1")  # the first that knows --group
    quietly(*pip, "--editable", ".[all]", "--group", "dev", "--constraint", str(constraints))


def quietly(*command: str) -> None:
    """Run a command, and show what it said only if it failed."""
    done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        say(done.stdout)
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(command)}")


def version_of(python: str) -> str | None:
    """Return a Python's version, or None if it cannot make virtual environments or does not run at all."""
    question = "import ensurepip, platform, venv; print(platform.python_version())"
    done = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def main_venv() -> Venv:
    """Return the virtual environment of everything but the matrix, ready to use."""
    return ready(Venv(TOP / ".venv"))


# --- commands


def demo(arguments: list[str]) -> int:
    """Become the demo, so that Ctrl-C and SIGTERM reach it and nothing else."""
    program = main_venv().program("otel-rum-exporter")
    command = [program, "demo", *arguments]
    if os.name != "nt":  # there exec would return to the shell at once
        os.execv(program, command)  # noqa: S606 - no shell is wanted
    return subprocess.call(command)


def test(arguments: list[str]) -> int:
    """Run the tests."""
    return pytest(main_venv(), *arguments)


def pytest(venv: Venv, *arguments: str) -> int:
    """Run pytest, on all cores unless the arguments say otherwise, without the nightly tests unless they ask.

    Many tests wait for a process or a timeout, so with two workers more than there are cores all of these have work.
    """
    is_told = any(each.startswith(("-n", "--numprocesses")) for each in arguments)
    spread = [] if is_told else ["-n", str((os.cpu_count() or 1) + 2)]
    return call(venv.program("python"), "-m", "pytest", *spread, "-m", "not nightly", *arguments)


def call(*command: str) -> int:
    """Run a command of the project and return its exit code."""
    return subprocess.call(command, cwd=TOP)


def proofs(arguments: list[str]) -> int:
    """Run the proofs and the tests that the table lists, one at a time since they measure, and print the table."""
    chosen = [] if "--nightly" in arguments else ["-m", "not nightly"]
    rest = [each for each in arguments if each != "--nightly"]
    python = main_venv().program("python")
    table = TOP / "build" / "proofs.json"
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        paths = () if rest else PROOFS
        code = call(python, "-m", "pytest", "-q", *chosen, f"--junitxml={report}", *paths, *rest)
        return call(python, "tests/proofs/proof_table.py", str(report), str(table)) or code


def bench(arguments: list[str]) -> int:
    """Run the benchmark."""
    return call(main_venv().program("python"), "tests/bench/bench.py", *arguments)


def lint(arguments: list[str]) -> int:
    """Check ruff's rules and its formatting."""
    ruff = main_venv().program("ruff")
    return call(ruff, "check", *arguments) | call(ruff, "format", "--check", *arguments)


def types(arguments: list[str]) -> int:
    """Check types."""
    return call(main_venv().program("python"), "-m", "mypy", *arguments)


def docs(_arguments: list[str]) -> int:
    """Write the option table of the README anew."""
    question = "from otel_rum_exporter.config import options_table; print(options_table())"
    table = subprocess.run(
        [main_venv().program("python"), "-c", question], stdout=subprocess.PIPE, text=True, check=True
    )
    readme = TOP / "README.md"
    before, _mark, rest = readme.read_text(encoding="utf-8").partition(MARKS[0])
    _old, mark, after = rest.partition(MARKS[1])
    if not mark:
        sys.exit(f"README.md lacks the lines {' and '.join(MARKS)}")
    readme.write_text(f"{before}{MARKS[0]}\n{table.stdout}{MARKS[1]}{after}", encoding="utf-8")
    return 0


def sbom(_arguments: list[str]) -> int:
    """Write the bill of materials of the package and what it depends on, without the tools and the extras."""
    target = TOP / "dist" / "otel-rum-exporter.cdx.json"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        tools, clean = Venv(Path(directory) / "tools"), Venv(Path(directory) / "clean")
        for venv, wanted in ((tools, "cyclonedx-bom >= 7"), (clean, str(TOP))):
            quietly(venv.base, "-m", "venv", str(venv.directory))
            quietly(venv.program("python"), "-m", "pip", "install", "--disable-pip-version-check", wanted)
        quietly(clean.program("python"), "-m", "pip", "uninstall", "--yes", "pip", "setuptools")
        describe = (tools.program("cyclonedx-py"), "environment", "--output-reproducible", "--mc-type", "library")
        quietly(*describe, "--pyproject", "pyproject.toml", "--output-file", str(target), clean.program("python"))
    say(f"Written: {target.relative_to(TOP)}")
    return 0


def nightly(arguments: list[str]) -> int:
    """Run the long tests, then the whole matrix, with examples of hypothesis that no run had before."""
    os.environ["RUM_NEW_EXAMPLES"] = "1"
    return pytest(main_venv(), "-m", "nightly", *arguments) | matrix([])


def matrix(arguments: list[str]) -> int:
    """Run the tests on each installed Python, with the oldest and the newest dependencies."""
    cells = [(PYTHONS[0], "oldest"), (PYTHONS[-1], "newest")]
    if "--edges" not in arguments:
        cells = [(python, age) for python in PYTHONS for age in ("oldest", "newest")]
    results = {cell: run_cell(*cell) for cell in cells}
    for (python, age), code in results.items():
        verdict = "skipped, not installed" if code is None else "failed" if code else "passed"
        say(f"Python {python} with the {age} dependencies: {verdict}")
    ran = [code for code in results.values() if code is not None]
    if not ran and os.environ.get("CI") == "true":
        sys.exit("none of these Pythons is installed")
    return 1 if any(ran) else 0


def run_cell(python: str, age: str) -> int | None:
    """Run the tests on one Python; None if it is not installed."""
    base = next((each for each in candidates(python) if (version_of(each) or "").startswith(f"{python}.")), None)
    if base is None:
        return None
    constraints = floors() if age == "oldest" else ()
    say(f"\n== Python {python} with the {age} dependencies {' '.join(constraints)}")
    venv = ready(Venv(TOP / f".venv-{python}-{age}", base, constraints))
    return pytest(venv, "--ignore=tests/proofs")  # which measure, once is enough


def candidates(python: str) -> Iterator[str]:
    """Yield where a Python may be: this one, on the path, among pyenv's, beside this one."""
    yield sys.executable
    on_path = shutil.which(f"python{python}")
    if on_path:
        yield on_path  # perhaps pyenv's shim, which fails for a version that is not switched on
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for versions in (pyenv / "versions", Path(sys.base_prefix).parent):
        yield from map(str, versions.glob(f"{python}.*/bin/python"))


def floors() -> tuple[str, ...]:
    """Return the lowest versions that pyproject.toml allows for the core's dependencies."""
    core = PYPROJECT[PYPROJECT.index("\ndependencies = [") : PYPROJECT.index("[project.optional-dependencies]")]
    return tuple(f"{name}=={floor}" for name, floor in re.findall(r'"(\S+) >= (\S+)"', core))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "test": test,
    "proofs": proofs,
    "bench": bench,
    "lint": lint,
    "types": types,
    "docs": docs,
    "sbom": sbom,
    "matrix": matrix,
    "nightly": nightly,
}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names."""
    if sys.version_info < (3, 10):  # noqa: UP036 - this file runs before anything has looked at requires-python
        sys.exit(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}")
    if not arguments or arguments[0] not in COMMANDS:
        is_asked = arguments in ([], ["-h"], ["--help"])
        say(__doc__ or "" if is_asked else f"no such command: {arguments[0]}; there are {', '.join(COMMANDS)}")
        return 0 if is_asked and arguments else 2
    return COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
