"""iceway's ICE inside aiortc, in place of aioice.

    import iceway.aiortc
    iceway.aiortc.install()
    …then aiortc as always; and pc.on("icecandidate", …) for candidates as they are found…

What aiortc has no words for is here: `why(pc)`, `statistics(pc)`, `restart(pc)`, `connections(pc)`. docs/aiortc.md has the
rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.aiortc.connection import Connection, Settings
from iceway.aiortc.restart import connections, restart
from iceway.aiortc.seam import install, installed, uninstall
from iceway.ice.statistics import Report

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

__all__ = [
    "Connection",
    "Settings",
    "connections",
    "install",
    "installed",
    "restart",
    "statistics",
    "uninstall",
    "why",
]


def why(pc: RTCPeerConnection) -> str:
    """What became of every server, candidate and pair, for people to read."""
    return "\n\n".join(connection.why() for connection in connections(pc))


def statistics(pc: RTCPeerConnection) -> Report:
    """What `pc.getStats()` lacks: transports, candidate pairs and candidates, W3C-shaped, by their ids."""
    report: Report = {}
    for connection in connections(pc):
        report |= connection.statistics()
    return report
