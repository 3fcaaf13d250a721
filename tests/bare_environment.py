"""What processes of the tests run with: what Python needs, and no configuration of this machine's."""

import os
import sys

_KEPT = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "VIRTUAL_ENV", "TMPDIR")


def bare_environment(**more):
    """Return the only environment that a process gets: the packages as this process finds them, and what is given."""
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": os.devnull,
        **more,
    }
