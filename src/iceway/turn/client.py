"""A TURN client (RFC 8656): gets a relayed address from a server, keeps it, sends and receives through it.

Over UDP it shares a socket that somebody else opened (`local`), who hands in the datagrams from `server`;
over TCP, TLS and DTLS it opens a connection of its own. One object is one allocation: it ends, refused, lost or closed,
and a new one is made for the next try. A peer that the relay refuses fails alone (`PeerRefused`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError, UsageError
from iceway.core.machine import (
    CloseStream,
    Connect,
    DatagramReceived,
    Input,
    Outbox,
    SendDatagram,
    SendStream,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsClient,
    earliest,
)
from iceway.trace.records import Malformed, Note
from iceway.turn.events import Allocated, AllocationFailed, AllocationLost, PeerData, PeerRefused
from iceway.turn.peers import Peers, Permission, RenewChannel, RenewPermission
from iceway.turn.requester import Answered, Outcome, Refused, Requester, Unanswered
from iceway.turn.trace import stun_received, stun_sent
from iceway.turn.transaction import RC, RTO
from iceway.wire import stun
from iceway.wire.channel_data import (
    StreamFramer,
    is_channel_data,
    parse_channel_data,
    serialize_channel_data,
)
from iceway.wire.stun import MessageClass, Method, StunMessage

if TYPE_CHECKING:
    from random import Random

CONNECT_TIMEOUT = 10.0
"""For TCP and TLS together; kernels wait two minutes for a SYN that a firewall swallows."""
CLOSE_TIMEOUT = 2.5
REFRESH_MARGIN = 60.0  # RFC 8656 §7.1: about a minute before the end
LEAST_REFRESH = 5.0  # however short a life a relay gives, it is not asked more often than this
MAX_ALTERNATES = 3
MAX_PAYLOAD = 0xFFFF - 100


class State(Enum):
    NEW = auto()
    CONNECTING = auto()
    ALLOCATING = auto()
    ALLOCATED = auto()
    CLOSING = auto()
    ENDED = auto()


# --- purposes of requests -------------------------------------------------------------------------------
class _Ask(Enum):
    ALLOCATE = auto()
    REFRESH = auto()
    RELEASE = auto()
    RELEASE_STALE = auto()


@dataclass(frozen=True, slots=True)
class _Permit:
    ip: str


@dataclass(frozen=True, slots=True)
class _Bind:
    peer: Address


class TurnClient(Outbox):
    """Machine. `allocate(now)`, wait for `Allocated`, then `send`; `PeerData` is what peers send."""

    def __init__(
        self,
        name: str,
        server: Address,
        transport: Transport,
        username: str | bytes,
        password: str | bytes,
        rng: Random,
        *,
        local: Address | None = None,
        tls: TlsClient | None = None,
        server_label: str = "",
        requested_family: int | None = None,
        rto: float = RTO,
        requests: int = RC,
    ) -> None:
        """`local`: the open UDP socket, or the interface to connect from. `requested_family`: 4 or 6."""
        super().__init__()
        if transport is Transport.UDP and local is None:
            raise UsageError("over UDP a TURN client needs the address of an open socket")
        if transport.is_secure != (tls is not None):
            raise UsageError("TLS parameters belong to transports TLS and DTLS and to no other")
        self.name = name
        self.server = server
        self.transport = transport
        self.label = server_label or f"turn:{server}?transport={transport.value}"
        self.state = State.NEW
        self.relayed: Address | None = None
        self.mapped: Address | None = None
        self._local = local
        self._interface = local.ip if local is not None else None
        self._tls = tls
        self._family = requested_family
        self._stream = f"{name}/stream"
        self._framer = StreamFramer()
        self._congested = False
        self._peers = Peers()
        self._requester = Requester(
            username, password, rng, self._transmit, reliable=transport.is_stream, rto=rto, requests=requests
        )
        self._visited = [server]
        self._cleared_stale = False
        self._verifying = False
        self._refresh_at: float | None = None
        self._give_up_at: float | None = None
        """Deadline of the connection while it comes up, of the farewell while closing."""

    @property
    def local(self) -> Address | None:
        """Where we speak from; over a stream known once it is connected."""
        return self._local

    # --- commands -------------------------------------------------------------------------------------
    def allocate(self, now: float) -> None:
        if self.state is not State.NEW:
            raise UsageError("a TURN client allocates once")
        self._open_path(now)

    def permit(self, peer_ips: tuple[str, ...], now: float) -> None:
        """Ask the relay to forward to and from these IPs. Those of the wrong family are refused here."""
        if self.state is State.ALLOCATED:
            for ip in peer_ips:
                self._permit(ip, now)

    def send(self, peer: Address, data: bytes, now: float) -> None:
        """Send to a peer; what cannot go yet waits for its permission. Lost when there is no allocation.

        A check goes at once: right behind the request for its permission it finds that installed, half a round trip
        sooner. If the request gets lost, so does the check, and goes once more when the permission stands.
        """
        if len(data) > MAX_PAYLOAD:
            return
        number = self._peers.bound.get(peer)
        if number is not None:
            if not self._congested:
                self._put(serialize_channel_data(number, data, stream=self.transport.is_stream))
            return
        if self.state is not State.ALLOCATED:
            return
        self._permit(peer.ip, now)
        entry = self._peers.ips.get(peer.ip)
        if entry is None:
            return
        if entry.permission is Permission.ASKED:
            entry.queue.append((peer, data))
            if stun.is_stun(data):
                self._indicate(peer, data)
        elif entry.permission is Permission.INSTALLED:
            self._indicate(peer, data)
            if self._peers.count(peer):
                self.bind(peer, now)

    def bind(self, peer: Address, now: float) -> None:
        """Ask for a channel to the peer, which spares 32 bytes a packet. Data flows meanwhile."""
        if self.state is not State.ALLOCATED or self._wrong_family(peer.ip):
            return
        entry = self._peers.ips.get(peer.ip)
        if entry is not None and entry.permission is Permission.REFUSED:
            return
        number = self._peers.ask_channel(peer)
        if number is not None:
            self._send_bind(peer, number, now)

    def renew(self, username: str | bytes, password: str | bytes, now: float) -> None:
        """Go on with new credentials of the same user, before the old ones expire."""
        self._requester.renew(username, password)

    def keep_alive(self, now: float) -> None:
        """A Binding indication, which nobody answers, so that NATs on the way do not forget a quiet allocation."""
        if self.state is State.ALLOCATED and not self._congested:
            self._transmit(
                stun.serialize(
                    StunMessage(
                        Method.BINDING, MessageClass.INDICATION, self._requester.new_transaction_id()
                    ),
                    fingerprint=True,
                )
            )

    def verify(self, now: float) -> bool:
        """Ask whether the allocation still stands: `Allocated` again, or `AllocationLost`. False: there is none."""
        if self.state is not State.ALLOCATED:
            return False
        if not self._verifying:
            self._verifying = True
            self._requester.start(_Ask.REFRESH, Method.REFRESH, (), now)
        return True

    def close(self, now: float) -> None:
        """Give the relayed address back. Over UDP the machine wants up to 2.5 s for that; nobody need wait."""
        previous = self.state
        self._peers.clear()
        self._refresh_at = None
        if previous is State.ALLOCATED:
            self._requester.forget_all()
            self._release(now)
        elif previous is State.ALLOCATING and self.transport is Transport.UDP:
            # Its answer may come yet, and then the address goes back.
            self.state = State.CLOSING
            self._give_up_at = now + CLOSE_TIMEOUT
        elif previous in (State.CONNECTING, State.ALLOCATING):
            self._end(abort=True)
        elif previous is State.NEW:
            self.state = State.ENDED

    # --- machine --------------------------------------------------------------------------------------
    def owns(self, transaction_id: bytes) -> bool:
        """Whether a response with this transaction id answers a request of ours."""
        return self._requester.owns(transaction_id)

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case DatagramReceived(local=self._local, remote=self.server, data=data):
                if self.transport is Transport.UDP:
                    self._handle_message(data, now)
            case StreamReceived(stream=self._stream, data=data):
                if self.transport.is_stream:
                    self._handle_stream(data, now)
                else:
                    self._handle_message(data, now)
            case StreamConnected(stream=self._stream, local=local):
                if self.state is State.CONNECTING:
                    self._local = local
                    self._give_up_at = None
                    self._request_allocation(now)
            case StreamClosed(stream=self._stream, reason=reason):
                self._handle_closed(reason)
            case StreamCongested(stream=self._stream, congested=congested):
                self._congested = congested

    def handle_timeout(self, now: float) -> None:
        if self._give_up_at is not None and now >= self._give_up_at:
            self._give_up_at = None
            if self.state is State.CONNECTING:
                self._fail(None, "no connection", f"no connection after {CONNECT_TIMEOUT:.0f} s", abort=True)
            else:
                self._end()
        for outcome in self._requester.handle_timeout(now):
            self._handle_outcome(outcome, now)
        if self.state is State.ALLOCATED:
            if self._refresh_at is not None and now >= self._refresh_at:
                self._refresh_at = None
                self._requester.start(_Ask.REFRESH, Method.REFRESH, (), now)
            for due in self._peers.due(now):
                match due:
                    case RenewPermission(ip=ip):
                        self._send_permit(ip, now)
                    case RenewChannel(peer=peer):
                        self._send_bind(peer, self._peers.peers[peer].number, now)

    def poll_timeout(self) -> float | None:
        return earliest(
            self._give_up_at, self._requester.poll_timeout(), self._refresh_at, self._peers.next_at()
        )

    # --- the path to the server -----------------------------------------------------------------------
    def _open_path(self, now: float) -> None:
        if self.transport is Transport.UDP:
            self._request_allocation(now)
            return
        self.state = State.CONNECTING
        self._give_up_at = now + CONNECT_TIMEOUT
        datagrams = self.transport is Transport.DTLS
        self.emit(Connect(self._stream, self.server, self._interface, self._tls, datagrams=datagrams))

    def _put(self, data: bytes) -> None:
        if self.transport.is_connected:
            self.emit(SendStream(self._stream, data))
        else:
            assert self._local is not None
            self.emit(SendDatagram(self._local, self.server, data))

    def _transmit(self, data: bytes) -> None:
        """A control message: on its way and on record."""
        self._put(data)
        assert self._local is not None
        self.emit(stun_sent(data, self.transport, self._local, self.server))

    def _handle_stream(self, data: bytes, now: float) -> None:
        try:
            frames = self._framer.feed(data)
        except ParseError as error:
            self.emit(Malformed("turn", self.server, str(error), len(data)))
            self._fail(None, "garbage", f"the server sent what is not TURN: {error}", abort=True)
            return
        for frame in frames:
            self._handle_message(frame, now)

    def _handle_closed(self, reason: str) -> None:
        """The stream is gone, so it needs no closing."""
        if self.state is State.CONNECTING:
            self._fail(None, "no connection", reason, close=False)
        elif self.state in (State.ALLOCATING, State.ALLOCATED):
            self._fail(None, "connection lost", f"the connection to the relay ended: {reason}", close=False)
        else:
            self._end(close=False)

    # --- messages in ----------------------------------------------------------------------------------
    def _handle_message(self, data: bytes, now: float) -> None:
        try:
            if is_channel_data(data):
                number, payload = parse_channel_data(data)
                peer = self._peers.by_channel.get(number)
                if peer is not None:
                    self.emit(PeerData(peer, payload))
                return
            message = stun.parse(data)
        except ParseError as error:
            self.emit(Malformed("turn", self.server, str(error), len(data)))
            return
        if message.message_class is MessageClass.INDICATION:
            self._handle_indication(message)
        elif self._requester.owns(message.transaction_id) and self._local is not None:
            self.emit(stun_received(message, self.transport, self._local, self.server))
            outcome = self._requester.handle_response(message, now)
            if outcome is not None:
                self._handle_outcome(outcome, now)
            elif self._requester.owns(message.transaction_id):
                reason = "an answer whose MESSAGE-INTEGRITY is wrong or missing"
                self.emit(Malformed("turn", self.server, reason, len(data)))

    def _handle_indication(self, message: StunMessage) -> None:
        peer, data = message.get(stun.XOR_PEER_ADDRESS), message.get(stun.DATA)
        # RFC 8656 §11.4: only from peers that were permitted; a forged one could come from anybody else.
        if (
            message.method == Method.DATA
            and peer is not None
            and data is not None
            and peer.ip in self._peers.ips
        ):
            self.emit(PeerData(peer, data))

    # --- outcomes of requests -------------------------------------------------------------------------
    def _handle_outcome(self, outcome: Outcome, now: float) -> None:
        match outcome.purpose:
            case _Ask.ALLOCATE:
                self._on_allocate(outcome, now)
            case _Ask.REFRESH:
                self._on_refresh(outcome, now)
            case _Ask.RELEASE:
                self._end()
            case _Ask.RELEASE_STALE:
                self._request_allocation(now)
            case _Permit(ip=ip):
                self._on_permit(outcome, ip, now)
            case _Bind(peer=peer):
                self._on_bind(outcome, peer, now)

    def _on_allocate(self, outcome: Outcome, now: float) -> None:
        if self.state is State.CLOSING:
            if isinstance(outcome, Answered):
                self._release(now)
            else:
                self._end()
            return
        match outcome:
            case Answered(response=response, round_trip=round_trip):
                relayed = response.get(stun.XOR_RELAYED_ADDRESS)
                lifetime = response.get(stun.LIFETIME)
                if relayed is None or lifetime is None:
                    self._fail(None, "useless answer", "the answer names no relayed address or lifetime")
                    return
                self.state = State.ALLOCATED
                self.relayed = relayed
                self.mapped = response.get(stun.XOR_MAPPED_ADDRESS)
                self._keep(lifetime, now)
                self.emit(Allocated(relayed, self.mapped, float(lifetime), round_trip))
            case Unanswered(detail=detail):
                self._fail(None, "no answer", detail)
            case Refused(code=300) if self._try_alternate(outcome.response, now):
                pass
            case Refused(code=437) if not self._cleared_stale:
                # An allocation of an earlier run holds our 5-tuple; if it was ours we may end it.
                self._cleared_stale = True
                self._requester.start(_Ask.RELEASE_STALE, Method.REFRESH, (stun.LIFETIME(0),), now)
            case Refused(code=code, reason=reason):
                self._fail(code, reason, _explain(outcome))

    def _on_refresh(self, outcome: Outcome, now: float) -> None:
        match outcome:
            case Answered(response=response, round_trip=round_trip):
                lifetime = response.get(stun.LIFETIME)
                self._keep(600 if lifetime is None else lifetime, now)
                if self._verifying and self.relayed is not None:
                    self._verifying = False
                    self.emit(Allocated(self.relayed, self.mapped, float(lifetime or 600), round_trip))
            case Unanswered(detail=detail):
                self._fail(None, "no answer", detail)
            case Refused(code=code, reason=reason):
                self._fail(code, reason, f"the relay refused to go on: {_explain(outcome)}")

    def _on_permit(self, outcome: Outcome, ip: str, now: float) -> None:
        match outcome:
            case Answered(first_try=first_try):
                for peer, data in self._peers.installed(ip, now):
                    if not (first_try and stun.is_stun(data)):
                        self._indicate(peer, data)
                    if self._peers.count(peer):
                        self.bind(peer, now)
            case Unanswered(detail=detail):
                self._peers.forget(ip)
                self.emit(PeerRefused(ip, None, detail))
            case Refused(code=code, reason=reason):
                self._on_peer_refused(outcome, ip, code, reason)

    def _on_bind(self, outcome: Outcome, peer: Address, now: float) -> None:
        match outcome:
            case Answered():
                self._peers.channel_bound(peer, now)
                for waiting, data in self._peers.installed(peer.ip, now):
                    self._indicate(waiting, data)
            case Unanswered():
                self._peers.channel_lost(peer)
            case Refused(code=code, reason=reason):
                self._peers.channel_lost(peer)
                if code in (437, 441):
                    self._on_peer_refused(outcome, peer.ip, code, reason)
                else:
                    # Data still flows in indications; whether the whole IP is forbidden, its permission tells.
                    self.emit(Note("warning", f"{self.label} bound no channel to {peer}: {code} {reason}"))

    def _on_peer_refused(self, outcome: Refused, ip: str, code: int, reason: str) -> None:
        if code in (401, 437, 441):
            # Not this peer: the relay does not know the allocation or its owner any more.
            self._fail(code, reason, f"the relay refused to go on: {_explain(outcome)}")
            return
        self._peers.refused(ip)
        self.emit(PeerRefused(ip, code, reason))

    # --- requests out ---------------------------------------------------------------------------------
    def _request_allocation(self, now: float) -> None:
        self.state = State.ALLOCATING
        attributes: tuple[tuple[stun.Attribute[int], int], ...] = (
            stun.REQUESTED_TRANSPORT(stun.UDP_PROTOCOL),
        )
        if self._family is not None:
            family = stun.FAMILY_IPV6 if self._family == 6 else stun.FAMILY_IPV4
            attributes = (*attributes, stun.REQUESTED_ADDRESS_FAMILY(family))
        self._requester.start(_Ask.ALLOCATE, Method.ALLOCATE, attributes, now)

    def _permit(self, ip: str, now: float) -> None:
        if self._wrong_family(ip):
            if self._peers.ask(ip):
                self._peers.refused(ip)
                self.emit(PeerRefused(ip, 443, f"the relayed address {self.relayed} cannot reach it"))
        elif self._peers.ask(ip):
            self._send_permit(ip, now)

    def _send_permit(self, ip: str, now: float) -> None:
        """One request an IP, so that a refused one does not take others with it."""
        peer = stun.XOR_PEER_ADDRESS(Address(ip, 0))
        self._requester.start(_Permit(ip), Method.CREATE_PERMISSION, (peer,), now)

    def _send_bind(self, peer: Address, number: int, now: float) -> None:
        attributes = stun.CHANNEL_NUMBER(number), stun.XOR_PEER_ADDRESS(peer)
        self._requester.start(_Bind(peer), Method.CHANNEL_BIND, attributes, now)

    def _indicate(self, peer: Address, data: bytes) -> None:
        if self._congested:
            return
        attributes = stun.XOR_PEER_ADDRESS(peer), stun.DATA(data)
        transaction_id = self._requester.new_transaction_id()
        indication = StunMessage(Method.SEND, MessageClass.INDICATION, transaction_id, attributes)
        self._put(stun.serialize(indication))

    def _release(self, now: float) -> None:
        self.state = State.CLOSING
        self._requester.start(_Ask.RELEASE, Method.REFRESH, (stun.LIFETIME(0),), now, requests=3)
        if self.transport.is_connected:
            # The end of the stream ends the allocation as well (RFC 8656 §5).
            self._end()
        else:
            self._give_up_at = now + CLOSE_TIMEOUT

    # --- the allocation's life ------------------------------------------------------------------------
    def _keep(self, lifetime: int, now: float) -> None:
        self._refresh_at = now + max(lifetime - REFRESH_MARGIN, lifetime / 2, LEAST_REFRESH)

    def _try_alternate(self, response: StunMessage, now: float) -> bool:
        """RFC 8489 §10: ask the server that this one names, of the same family, not twice and not forever."""
        alternate = response.get(stun.ALTERNATE_SERVER)
        if (
            alternate is None
            or alternate in self._visited
            or len(self._visited) > MAX_ALTERNATES
            or alternate.family != self.server.family
        ):
            return False
        self._visited.append(alternate)
        self._requester.forget_server()
        if self.transport.is_connected:
            self.emit(CloseStream(self._stream))
            self._stream = f"{self.name}/stream.{len(self._visited)}"
            self._framer = StreamFramer()
            self._congested = False
        self.server = alternate
        self._open_path(now)
        return True

    def _wrong_family(self, ip: str) -> bool:
        return self.relayed is not None and (":" in ip) != (self.relayed.family == 6)

    def _fail(
        self, code: int | None, reason: str, detail: str, *, close: bool = True, abort: bool = False
    ) -> None:
        was = self.state
        self._end(close=close, abort=abort)
        if was is State.ALLOCATED:
            self.emit(AllocationLost(detail))
        elif was in (State.CONNECTING, State.ALLOCATING):
            self.emit(AllocationFailed(code, reason, detail))

    def _end(self, *, close: bool = True, abort: bool = False) -> None:
        ended = self.state is State.ENDED
        self.state = State.ENDED
        self._requester.forget_all()
        self._peers.clear()
        self._refresh_at = self._give_up_at = None
        if close and not ended and self.transport.is_connected:
            self.emit(CloseStream(self._stream, abort))


_DETAILS = {
    300: "it sent us to another server that we cannot use",
    400: "it did not understand our request",
    403: "it forbids us to allocate",
    420: "it wants an attribute that it does not know left out",
    437: "an earlier allocation from the same address and port still stands",
    438: "it calls every nonce stale, its own included",
    440: "it has no relay addresses of the requested family",
    441: "the allocation belongs to other credentials",
    442: "it does not relay UDP",
    486: "the user has as many allocations as the relay allows",
    508: "it has no relay address or port left",
}


def _explain(refusal: Refused) -> str:
    """The cause as far as a client can know it, "401 twice: Credentials expired"."""
    said = f"{refusal.code} {refusal.reason}".rstrip()
    if refusal.code == 401:
        if refusal.reason.lower() in ("", "unauthorized", "unauthorised", "unauthenticated"):
            return f"{said}: it does not accept user name and password"
        return f"401: {refusal.reason}"
    detail = _DETAILS.get(refusal.code)
    return f"{said}: {detail}" if detail else said
