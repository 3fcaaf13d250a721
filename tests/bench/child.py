"""Parts of the benchmark that need a process of their own: a fresh interpreter, or memory that nothing else touched."""

import json
import os
import subprocess
import sys
from typing import Any


def measured(script: str, *arguments: Any) -> Any:
    """Run a script to its end and return what it prints, which is JSON.

    Its modules are compiled as those of an installation are, whatever this process was told about that.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout)
