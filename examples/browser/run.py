"""A shop page in the browser, whose OpenTelemetry goes to the gateway, and from there to what stands in for AWS.

    pip install 'otel-rum-exporter[server]'
    python3 run.py          needs Node 20 or later, and npm

Starts the endpoint, the gateway and the page's server, says where they are, and stops them on Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import re
import secrets
import signal
import sys
import sysconfig
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import npm
from shop import PAGE, Shop

from otel_rum_exporter.demo.processes import Child, environment
from otel_rum_exporter.testing import LocalRum

PORT = 8792
URL = re.compile(r"http://[^\s/]+")

CONFIGURATION = """\
[gateway]
port = 0
operations_port = 0

[exporter]
spool_dir = "{folder}/spool"
flush_interval = 500  # not to let anybody wait; the default is five seconds
xray_events = true    # the page's calls as X-Ray segments, too

[[app_monitors]]
id = "{monitor}"
name = "browser-shop"
version = "1.2.3"

[[tokens]]
name = "page"
kind = "browser"      # public: stands in the page's script for all to read
token = "{token}"
app_monitor = "{monitor}"
origins = ["http://127.0.0.1:{port}", "http://localhost:{port}"]
"""

GREETING = """
The page:      {page}/shop
The gateway:   {gateway}
What arrived:  {endpoint}/api/sessions
               {endpoint}/api/events
               {endpoint}/api/stats

Ctrl-C stops all three.
"""


def main() -> None:
    """Run until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--port", type=int, default=PORT, help="of the page; 0 takes a free one (default = %(default)s)"
    )
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        run(port)
    except KeyboardInterrupt:
        pass
    except (npm.UnavailableError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        hint = f"; --port 0 takes another one than {port}" if error.errno == errno.EADDRINUSE else ""
        sys.exit(f"error: {error}{hint}")


def run(port: int) -> None:
    """Start everything and wait.

    Errors: UnavailableError without Node or its packages, OSError when the port is in use, RuntimeError when a process
        does not start.
    """
    modules = packages()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shop = stack.enter_context(Shop(port))
        rum = stack.enter_context(LocalRum())
        token = secrets.token_urlsafe()
        gateway = stack.enter_context(start_gateway(folder, rum, token, shop.server_port))
        gateway_url = URL.findall(gateway.line())[0]
        constants = {"GATEWAY_URL": gateway_url, "BROWSER_TOKEN": token}
        npm.bundle(PAGE / "telemetry.js", modules, constants, folder / "otel.js")
        stack.enter_context(shop.serving(folder / "otel.js"))
        print(GREETING.format(page=shop.origin, gateway=gateway_url, endpoint=rum.endpoint), flush=True)
        threading.Event().wait()


def packages() -> Path:
    """Return the folder of the page's packages; the first time they come from npm."""
    project = PAGE.parent
    if not npm.installed(project):
        print("Installing the page's packages from npm ...", flush=True)
    return npm.install(project)


def start_gateway(folder: Path, rum: LocalRum, token: str, port: int) -> Child:
    """Start a gateway that takes the telemetry of the page on this port with this token, and sends to the endpoint."""
    variables = rum.environment()
    monitor = variables["OTEL_EXPORTER_RUM_APP_MONITOR_ID"]
    file = folder / "gateway.toml"
    file.write_text(CONFIGURATION.format(folder=folder, monitor=monitor, token=token, port=port))
    command = str(Path(sysconfig.get_path("scripts")) / "otel-rum-exporter")
    return Child("gateway", [command, "gateway", "--config", str(file)], environment(variables))


if __name__ == "__main__":
    main()
