"""The data plane of a TURN server: packets between clients and peers, and nothing else.

Every packet passes here, so the paths are look-ups in dicts and one output. What is not forwarded is dropped,
and recorded once per allocation, peer and cause (`RelayDropped`).

Peers on this very server are handed over inside: a relayed address may stand behind a one-to-one NAT that
does not turn packets around, and two clients of one relay must still reach each other. All else that belongs
to this server (its listeners, its other addresses) is never a peer.
"""

from __future__ import annotations

from collections.abc import Callable

from iceway.core.address import Address, PeerAddress
from iceway.core.machine import SendDatagram, SendStream
from iceway.trace.records import RelayDropped
from iceway.turn.allocation import Allocation
from iceway.turn.policy import PeerPolicy
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage


class Relay:
    """The allocations by socket and by relayed address, and the forwarding between them."""

    def __init__(
        self,
        emit: Callable[[object], None],
        policy: PeerPolicy,
        new_transaction_id: Callable[[], bytes],
    ) -> None:
        self._emit = emit
        self._policy = policy
        self._new_transaction_id = new_transaction_id
        self.by_socket: dict[Address, Allocation] = {}
        self.by_relayed: dict[Address, Allocation] = {}
        self.relayed_ips: frozenset[str] = frozenset()
        """What our relayed addresses are known by: as peers, they mean an allocation here."""
        self.own_ips: frozenset[str] = frozenset()
        """Every IP of this host, the relayed ones included."""
        self.own_ports: set[int] = set()
        """Ports of our listeners; no peer, even where the operator allows the IP."""

    def add(self, allocation: Allocation) -> None:
        self.by_socket[allocation.local] = allocation
        self.by_relayed[allocation.relayed] = allocation

    def remove(self, allocation: Allocation) -> None:
        self.by_socket.pop(allocation.local, None)
        self.by_relayed.pop(allocation.relayed, None)

    # --- policy ---------------------------------------------------------------------------------------
    def refusal_of_ip(self, ip: str) -> str | None:
        """Why there can be no permission for this IP, or None. Of our own IPs only the relayed ones can have one."""
        if ip in self.relayed_ips or self._policy.is_exempt(ip):
            return None
        if ip in self.own_ips:
            return f"{ip} is the relay's own address"
        return self._policy.refusal(ip)

    def refusal_of_peer(self, peer: Address) -> str | None:
        """The same for an address with its port: on our own IPs it must be a live relayed address."""
        if peer in self.by_relayed:
            return None
        if self._is_own(peer.ip):
            if peer.port in self.own_ports:
                return f"{peer} is the relay's own port"
            if not self._policy.is_exempt(peer.ip):
                return f"{peer} is the relay's own address and no relayed one"
            return None
        return self._policy.refusal(peer.ip)

    def _is_own(self, ip: str) -> bool:
        """All of loopback is this host, whichever of its addresses a listener was bound to."""
        return ip in self.own_ips or ip.startswith("127.") or ip == "::1"

    # --- client to peer -------------------------------------------------------------------------------
    def channel_from_client(self, allocation: Allocation, data: bytes, now: float) -> None:
        """A ChannelData message, still padded over streams."""
        channel = allocation.channels.get(data[:2])
        size = data[2] << 8 | data[3]
        if channel is None or channel.ends_at <= now or size > len(data) - 4:
            return
        self._to_peer(allocation, channel.peer, data[4 : 4 + size], now)

    def indication_from_client(self, allocation: Allocation, message: StunMessage, now: float) -> None:
        """A Send indication (RFC 8656 §11.2); malformed ones are silently dropped."""
        peer, data = message.get(stun.XOR_PEER_ADDRESS), message.get(stun.DATA)
        if peer is None or data is None or not peer.port:
            return
        if message.get(stun.DONT_FRAGMENT) or message.unknown_required:
            return
        if not allocation.permits(peer.ip, now):
            self._drop(allocation, peer, "no permission for the peer, from the client")
            return
        self._to_peer(allocation, PeerAddress(peer), data, now)

    def _to_peer(self, allocation: Allocation, peer: PeerAddress, payload: bytes, now: float) -> None:
        if self._is_own(peer.ip):
            other = self.by_relayed.get(peer)
            refusal = self.refusal_of_peer(peer)
            if refusal is not None:
                self._drop(allocation, peer, refusal)
                return
        else:
            other = None
        allocation.packets_to_peers += 1
        allocation.bytes_to_peers += len(payload)
        if other is None:
            self._emit(SendDatagram(allocation.local, peer, payload))
        else:
            self.from_peer(other, PeerAddress(allocation.relayed), payload, now)

    # --- peer to client -------------------------------------------------------------------------------
    def from_peer(self, allocation: Allocation, peer: PeerAddress, payload: bytes, now: float) -> None:
        """RFC 8656 §11.3, §12.6: over the peer's channel if it has one, else in a Data indication."""
        if allocation.permissions.get(peer.ip, 0.0) <= now:
            self._drop(allocation, peer, "no permission for the peer, from the peer")
            return
        client = allocation.client
        if client.congested:
            self._drop(allocation, peer, "the client's connection is congested")
            return
        channel = allocation.channel_to.get(peer)
        size = len(payload)
        if channel is not None and channel.ends_at > now:
            data = channel.number + size.to_bytes(2, "big") + payload
            if client.transport.is_stream and size % 4:
                data += bytes(4 - size % 4)
        else:
            attributes = stun.XOR_PEER_ADDRESS(peer), stun.DATA(payload)
            data = stun.serialize(
                StunMessage(Method.DATA, MessageClass.INDICATION, self._new_transaction_id(), attributes)
            )
        allocation.packets_to_client += 1
        allocation.bytes_to_client += size
        if client.stream is None:
            self._emit(SendDatagram(client.local, client.remote, data))
        else:
            self._emit(SendStream(client.stream, data))

    def _drop(self, allocation: Allocation, peer: Address, cause: str) -> None:
        if allocation.first_drop(peer.ip, cause):
            self._emit(RelayDropped(allocation.relayed, peer, cause))
