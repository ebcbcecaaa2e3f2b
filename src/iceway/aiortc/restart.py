"""ICE restarts (RFC 8445 §9, RFC 8839 §4.4.1.1.1), which aiortc by itself neither begins nor follows.

An offer with another user name than before begins one; the answer brings another one as well. Data stays on the old path
until there is a new one, and DTLS notices nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from iceway.aiortc.connection import Connection

if TYPE_CHECKING:
    from aiortc import RTCIceTransport, RTCPeerConnection, RTCSessionDescription

RESTART_NEEDED = "icerestartneeded"


def ice_transports(pc: RTCPeerConnection) -> list[RTCIceTransport]:
    """Each once, in the order of the media that use them."""
    dtls = [transceiver.receiver.transport for transceiver in pc.getTransceivers()]
    if pc.sctp is not None:
        dtls.append(pc.sctp.transport)
    return list(dict.fromkeys(transport.transport for transport in dtls))


def connections(pc: RTCPeerConnection) -> list[Connection]:
    """The connections under a peer connection: one for each transport, a single one when all is bundled."""
    found = [transport._connection for transport in ice_transports(pc)]
    return [connection for connection in found if isinstance(connection, Connection)]


def restart(pc: RTCPeerConnection) -> None:
    """Begin a restart: the next offer carries new credentials, and what is found on the interfaces there are now."""
    for connection in connections(pc):
        connection.restart()


async def gathered_again(pc: RTCPeerConnection) -> None:
    """After a restart: the candidates are a sensible offer."""
    await asyncio.gather(*(connection.settled() for connection in connections(pc)))


def watch(pc: RTCPeerConnection) -> None:
    """Tell the listeners of a peer connection when a restart is needed, with the reason."""

    def needed(reason: str) -> None:
        asyncio.get_running_loop().call_soon(pc.emit, RESTART_NEEDED, reason)

    for connection in connections(pc):
        connection.on_restart_needed = needed


def follow(pc: RTCPeerConnection, description: RTCSessionDescription) -> None:
    """Before a remote description is applied: what in it restarts ICE. Of bundled media the first one counts."""
    from aiortc.sdp import SessionDescription

    seen: set[RTCIceTransport] = set()
    for media in SessionDescription.parse(description.sdp).media:
        transport, parameters = _carrier(pc, media.rtp.muxId), media.ice
        if transport is None or transport in seen or parameters is None:
            continue
        seen.add(transport)
        connection: object = transport._connection
        username, password = parameters.usernameFragment, parameters.password
        if not isinstance(connection, Connection) or not username or not password:
            continue
        if connection.remote_username in (None, username):
            continue
        if description.type == "offer":
            connection.restart()
        connection.follow(username, password)
        transport.iceGatherer._remote_candidates_end = False


def _carrier(pc: RTCPeerConnection, mid: str) -> RTCIceTransport | None:
    for transceiver in pc.getTransceivers():
        if transceiver.mid == mid:
            return transceiver.receiver.transport.transport
    return pc.sctp.transport.transport if pc.sctp is not None and pc.sctp.mid == mid else None
