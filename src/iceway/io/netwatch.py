"""Hears from the kernel that the host's addresses or routes change, so that nobody has to ask again and again.

Linux tells over a netlink socket (rtnetlink(7)). Elsewhere nothing is heard, and the driver's regular look at the
interfaces has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links; IPv4 addresses and routes; IPv6 addresses and routes
_SETTLE = 0.02  # seconds: changes come in bursts


def watch_network(loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> Callable[[], None]:
    """Call `changed` shortly after anything changed, until what this returns is called."""
    try:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        listener.setblocking(False)
        listener.bind((0, _GROUPS))
    except (AttributeError, OSError):
        return lambda: None
    pending: list[asyncio.TimerHandle] = []

    def readable() -> None:
        with contextlib.suppress(OSError):  # an overrun too says that something changed
            while listener.recv(65536):
                pass
        if not pending:
            pending.append(loop.call_later(_SETTLE, tell))

    def tell() -> None:
        pending.clear()
        changed()

    def stop() -> None:
        for timer in pending:
            timer.cancel()
        loop.remove_reader(listener)
        listener.close()

    loop.add_reader(listener, readable)
    return stop
