"""ICE restarts (RFC 8445 §9, RFC 8839 §4.4.1.1.1), which aiortc by itself neither begins nor follows.

An offer with another user name than before begins one; the answer brings another one as well. Data stays on the old path
until there is a new one, and DTLS notices nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
    """Before a remote description is applied: what in it restarts ICE."""
    note_options(pc, description)
    for transport, connection, media in _described(pc, description):
        username, password = media.ice.usernameFragment, media.ice.password
        if not username or not password or connection.remote_username in (None, username):
            continue
        if description.type == "offer":
            connection.restart()
        connection.follow(username, password)
        transport.iceGatherer._remote_candidates_end = False


def note_options(pc: RTCPeerConnection, description: RTCSessionDescription) -> None:
    for _, connection, media in _described(pc, description):
        connection.remote_options = tuple((media.ice_options or "").split())


def _described(
    pc: RTCPeerConnection, description: RTCSessionDescription
) -> Iterator[tuple[RTCIceTransport, Connection, Any]]:
    """Transports that there are, each with its description; of bundled media the first one counts."""
    from aiortc.sdp import SessionDescription

    seen: set[RTCIceTransport] = set()
    for media in SessionDescription.parse(description.sdp).media:
        transport = _carrier(pc, media.rtp.muxId)
        connection: object = transport._connection if transport is not None else None
        if (
            transport is None
            or transport in seen
            or media.ice is None
            or not isinstance(connection, Connection)
        ):
            continue
        seen.add(transport)
        yield transport, connection, media


def _carrier(pc: RTCPeerConnection, mid: str) -> RTCIceTransport | None:
    for transceiver in pc.getTransceivers():
        if transceiver.mid == mid:
            return transceiver.receiver.transport.transport
    return pc.sctp.transport.transport if pc.sctp is not None and pc.sctp.mid == mid else None
