"""Tells systemd that a service is ready, where it asks for that: until then it neither counts as started nor is reloaded.

Source: sd_notify(3), "READY=1" and NOTIFY_SOCKET.
"""

from __future__ import annotations

import contextlib
import os
import socket


def tell_ready() -> None:
    """Tell whoever started this process that it is ready, if they want to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # of Linux's abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
        notifying.connect(address)
        notifying.sendall(b"READY=1")
