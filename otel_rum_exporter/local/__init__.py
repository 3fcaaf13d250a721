"""The embedded RUM endpoint: validates like AWS, injects faults, keeps what arrived and shows it.

Run it with ``python -m otel_rum_exporter.local`` or, in tests, through `otel_rum_exporter.testing`.
"""

from otel_rum_exporter.local.server import LocalServer, run
from otel_rum_exporter.local.settings import Credentials, Settings

__all__ = ["Credentials", "LocalServer", "Settings", "run"]
