"""The embedded RUM endpoint: validates like AWS, injects faults, keeps what arrived and shows it.

Run it with ``python -m otel_rum_exporter.local`` or, in tests, through `otel_rum_exporter.testing`.
"""

try:
    from otel_rum_exporter.local.server import LocalServer, run
    from otel_rum_exporter.local.settings import Credentials, Settings
except ModuleNotFoundError as missing:
    if missing.name in ("starlette", "uvicorn"):
        hint = f"{missing.name} is not installed; this installs it: pip install 'otel-rum-exporter[server]'"
        raise ModuleNotFoundError(hint, name=missing.name) from None
    raise

__all__ = ["Credentials", "LocalServer", "Settings", "run"]
