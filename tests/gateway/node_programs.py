"""Programs for Node, their packages from npm, and Chromium; tests skip with a reason where something is not there."""

import importlib.util
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "node"
EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples/browser"
ALLOWED = "RUM_NPM"


def module_of_the_example(name):
    """Return a module of examples/browser, which is no package."""
    spec = importlib.util.spec_from_file_location(f"browser_example_{name}", EXAMPLE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


npm = module_of_the_example("npm")


def packages(project):
    """Return the folder of a project's packages; they are downloaded only where the environment allows it."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if found := npm.installed(project):
        return found
    if not os.environ.get(ALLOWED):
        pytest.skip(f"the npm packages of {project.name} are not installed; {ALLOWED}=1 allows to download them")
    return npm.install(project)


def chromium():
    """Return Chromium's program."""
    names = (os.environ.get("RUM_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("no Chromium is installed; RUM_CHROMIUM names another place than the path")


@contextmanager
def running(name, folder, *arguments):
    """Run a program until the block ends, which gets the JSON that it prints; its packages are found beside it."""
    modules = packages(PROGRAMS)
    program = folder / name
    shutil.copy(PROGRAMS / name, program)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules)
    with (
        (folder / f"{name}.errors").open("w+") as errors,
        subprocess.Popen(
            [shutil.which("node"), str(program), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        printed = process.stdout.readline()
        if not printed:
            process.wait()
            errors.seek(0)
            raise AssertionError(f"{name} ended with {process.returncode}: {errors.read()}")
        yield json.loads(printed)
