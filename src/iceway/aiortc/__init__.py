"""iceway's ICE inside aiortc, in place of aioice.

    import iceway.aiortc
    iceway.aiortc.install()
    …then aiortc as always; and pc.on("icecandidate", …) for candidates as they are found…

What aiortc cannot tell is asked here: `why(pc)`, `statistics(pc)`, `connections(pc)`. docs/aiortc.md has the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.aiortc.connection import Connection, Settings
from iceway.aiortc.seam import ice_transports, install, installed, uninstall
from iceway.ice.statistics import Report

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

__all__ = ["Connection", "Settings", "connections", "install", "installed", "statistics", "uninstall", "why"]


def connections(pc: RTCPeerConnection) -> list[Connection]:
    """The connections under a peer connection: one for each transport, a single one when all is bundled."""
    found = [transport._connection for transport in ice_transports(pc)]
    return [connection for connection in found if isinstance(connection, Connection)]


def why(pc: RTCPeerConnection) -> str:
    """What became of every server, candidate and pair, for people to read."""
    return "\n\n".join(connection.why() for connection in connections(pc))


def statistics(pc: RTCPeerConnection) -> Report:
    """What `pc.getStats()` lacks: transports, candidate pairs and candidates, W3C-shaped, by their ids."""
    report: Report = {}
    for connection in connections(pc):
        report |= connection.statistics()
    return report
