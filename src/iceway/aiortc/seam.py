"""Where aiortc is opened up: its `Connection`, its gatherers, and the setting of descriptions.

Classes of aiortc are changed in place, so it does not matter who imported them before. With a listener for
"icecandidate" on a peer connection (or on a gatherer), local candidates are trickled (RFC 8838): gathering returns
with the first of them, every one is announced, and None when there will be no more. Without one, gathering returns
when the candidates found are a sensible offer, and does not wait for servers that are dead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary, ref

from iceway.aiortc.connection import Connection, Settings
from iceway.aiortc.restart import follow, gathered_again, ice_transports, note_options, watch
from iceway.aiortc.servers import ice_servers
from iceway.core.errors import EnvironmentFailure

if TYPE_CHECKING:
    import aioice
    from aiortc import (
        RTCIceCandidate,
        RTCIceGatherer,
        RTCIceServer,
        RTCIceTransport,
        RTCPeerConnection,
        RTCSessionDescription,
    )

TRICKLED = "icecandidate"
_originals: list[tuple[object, str, object]] = []


def install(settings: Settings | None = None) -> None:
    """From now on aiortc's new peer connections use iceway. Again: with these settings from now on."""
    try:
        from aiortc import rtcicetransport, rtcpeerconnection
    except ModuleNotFoundError as error:
        raise EnvironmentFailure(
            f"aiortc cannot be imported: {error}", "pip install 'iceway[aiortc]'"
        ) from error

    uninstall()
    gatherer, peer = rtcicetransport.RTCIceGatherer, rtcpeerconnection.RTCPeerConnection
    original_init, original_gather = gatherer.__init__, gatherer.gather
    original_set_local, original_set_remote = peer.setLocalDescription, peer.setRemoteDescription
    original_add = rtcpeerconnection.add_transport_description

    def init(
        self: RTCIceGatherer, iceServers: list[RTCIceServer] | None = None, *others: Any, **named: Any
    ) -> None:
        original_init(self, [], *others, **named)
        servers = self.getDefaultIceServers() if iceServers is None else iceServers
        self._connection.servers = ice_servers(servers)  # type: ignore[attr-defined]

    async def gather(self: RTCIceGatherer) -> None:
        if self.listeners(TRICKLED):
            await _gather_and_trickle(self)
        else:
            await original_gather(self)

    async def set_local_description(
        self: RTCPeerConnection, sessionDescription: RTCSessionDescription | None = None
    ) -> None:
        trickle = _Trickle.of(self) if self.listeners(TRICKLED) else None
        watch(self)
        await gathered_again(self)
        await original_set_local(self, sessionDescription)
        if trickle is not None:
            asyncio.get_running_loop().call_soon(trickle.go_on)

    async def set_remote_description(
        self: RTCPeerConnection, sessionDescription: RTCSessionDescription
    ) -> None:
        follow(self, sessionDescription)
        await original_set_remote(self, sessionDescription)
        note_options(self, sessionDescription)  # of transports that came with it; they connect after this

    def add_transport_description(media: Any, dtls_transport: Any) -> None:
        original_add(media, dtls_transport)
        if media.host.endswith(".local"):
            # draft-ietf-mmusic-mdns-ice-candidates §3.1.2.1: a name has no place in the c= line.
            media.host, media.port = rtcpeerconnection.DISCARD_HOST, rtcpeerconnection.DISCARD_PORT
        connection = dtls_transport.transport._connection
        if isinstance(connection, Connection) and connection.local_options:
            media.ice_options = " ".join(connection.local_options)

    for place, name, ours in (
        (rtcicetransport, "Connection", partial(Connection, settings=settings)),
        (gatherer, "__init__", init),
        (gatherer, "gather", gather),
        (peer, "setLocalDescription", set_local_description),
        (peer, "setRemoteDescription", set_remote_description),
        (rtcpeerconnection, "add_transport_description", add_transport_description),
    ):
        _originals.append((place, name, getattr(place, name)))
        setattr(place, name, ours)


def uninstall() -> None:
    """From now on aiortc's new peer connections use aioice; those that are open stay as they are."""
    while _originals:
        place, name, original = _originals.pop()
        setattr(place, name, original)


@contextmanager
def installed(settings: Settings | None = None) -> Iterator[None]:
    install(settings)
    try:
        yield
    finally:
        uninstall()


async def _gather_and_trickle(gatherer: RTCIceGatherer) -> None:
    """Returns with the first candidate; the state is "completed" when there will be no more."""
    from aiortc.rtcicetransport import candidate_from_aioice

    set_state = gatherer._RTCIceGatherer__setState  # type: ignore[attr-defined]
    connection = gatherer._connection
    assert isinstance(connection, Connection)
    if gatherer.state != "new":
        return

    def found(candidate: aioice.Candidate) -> None:
        gatherer.emit(TRICKLED, candidate_from_aioice(candidate))

    def done() -> None:
        set_state("completed")
        gatherer.emit(TRICKLED, None)

    set_state("gathering")
    connection.on_candidate, connection.on_gathered = found, done
    await connection.gather_candidates()


class _Trickle:
    """What gatherers find, told to the listeners of a peer connection once its description is set.

    Whoever sets a description goes on to send it before anything else runs, so candidates follow it.
    """

    _known: ClassVar[WeakKeyDictionary[RTCPeerConnection, _Trickle]] = WeakKeyDictionary()

    def __init__(self, pc: RTCPeerConnection) -> None:
        self._pc = ref(pc)
        self._held: deque[RTCIceCandidate | None] = deque()
        self._holding = False
        pc.on("icegatheringstatechange", self._state_changed)

    @classmethod
    def of(cls, pc: RTCPeerConnection) -> _Trickle:
        """The one of this peer connection, for a description that is about to be set."""
        trickle = cls._known.get(pc)
        if trickle is None:
            trickle = cls._known[pc] = cls(pc)
        trickle._holding = True
        for transport in ice_transports(pc):
            gatherer = transport.iceGatherer
            if gatherer.state == "new":
                gatherer.on(TRICKLED, partial(trickle._found, transport))
        return trickle

    def go_on(self) -> None:
        self._holding = False
        while self._held and (pc := self._pc()) is not None:
            pc.emit(TRICKLED, self._held.popleft())

    def _found(self, transport: RTCIceTransport, candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            candidate.sdpMid, candidate.sdpMLineIndex = self._place(transport)
            self._tell(candidate)

    def _state_changed(self) -> None:
        pc = self._pc()
        if pc is not None and pc.iceGatheringState == "complete":
            self._tell(None)

    def _tell(self, candidate: RTCIceCandidate | None) -> None:
        self._held.append(candidate)
        if not self._holding:
            # Whatever a listener does, it does not do it in the middle of the agent's work.
            asyncio.get_running_loop().call_soon(self.go_on)

    def _place(self, transport: RTCIceTransport) -> tuple[str | None, int | None]:
        """The first media section that the transport carries."""
        pc = self._pc()
        if pc is None:
            return None, None
        for transceiver in pc.getTransceivers():
            if transceiver.receiver.transport.transport is transport:
                return transceiver.mid, transceiver._get_mline_index()
        if pc.sctp is None or pc.sctp.transport.transport is not transport:
            return None, None
        return pc.sctp.mid, pc._RTCPeerConnection__sctp_mline_index  # type: ignore[attr-defined]
