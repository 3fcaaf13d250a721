"""The page's packages from npm, outside of the sources, and its telemetry as one script."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

_LISTS = ("package.json", "package-lock.json")
# nothing here needs the scripts that packages run when they are installed, so none gets to
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class UnavailableError(Exception):
    """Node or its packages are not there; the message says what to do."""


def installed(project: Path) -> Path | None:
    """Return the folder of the installed packages, or None where `install` has not been run."""
    modules = _folder(project) / "node_modules"
    return modules if modules.is_dir() else None


def install(project: Path) -> Path:
    """Install the packages that a project's lock file names, unless they are there.

    Args:
        project: The folder of package.json and package-lock.json; nothing is written to it.

    Returns:
        The folder node_modules.

    Errors: UnavailableError without Node or npm, or with what npm says.
    """
    found = installed(project)
    if found:
        return found
    npm = _program("npm")
    target = _folder(project)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        unfinished = Path(name) / "packages"
        unfinished.mkdir()
        for each in _LISTS:
            shutil.copy(project / each, unfinished)
        _run([npm, *_INSTALL], unfinished, os.environ)
        try:
            unfinished.rename(target)
        except OSError:  # another one was faster
            if not installed(project):
                raise
    return target / "node_modules"


def bundle(script: Path, modules: Path, constants: Mapping[str, str], target: Path) -> None:
    """Write a script and all that it imports into one file.

    Args:
        script: An ES module.
        modules: Where its packages are.
        constants: Texts by the names that the script uses for them.
        target: The file to write.

    Errors: UnavailableError with what the bundler says.
    """
    defined = [f"--define:{name}={json.dumps(value)}" for name, value in constants.items()]
    command = [_program("node"), str(modules / "esbuild/bin/esbuild"), str(script), "--bundle", "--minify"]
    options = ["--target=es2022", "--log-level=warning", f"--outfile={target}", *defined]
    _run([*command, *options], script.parent, {**os.environ, "NODE_PATH": str(modules)})


def _folder(project: Path) -> Path:
    """Return where a project's packages are: a folder of the cache for each content of its lists."""
    content = hashlib.sha256(b"".join((project / each).read_bytes() for each in _LISTS)).hexdigest()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "otel-rum-exporter" / f"{project.name}-{content[:12]}"


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise UnavailableError(f"{name} is not installed; this example needs Node 20 or later and npm")
    return found


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - found above
    if done.returncode:
        raise UnavailableError(f"{' '.join(command[:3])} failed:\n{done.stderr.strip()}")
