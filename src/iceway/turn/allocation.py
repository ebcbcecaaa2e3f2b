"""What a TURN server remembers: clients, their allocations, and the permissions and channels in them.

Permissions and channels hold the instant at which they end and are looked at when used, so that a relay with
ten thousand allocations arms one timer each and not hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iceway.core.address import Address, ClientAddress, PeerAddress, Transport
from iceway.wire.channel_data import StreamFramer

PERMISSION_LIFETIME = 300.0  # RFC 8656 §9
CHANNEL_LIFETIME = 600.0  # RFC 8656 §12
MAX_CAUSES = 64


@dataclass(slots=True, eq=False)
class Client:
    """The far end of one 5-tuple. Over UDP it is remembered only while it has (or awaits) an allocation."""

    transport: Transport
    local: Address
    remote: ClientAddress
    stream: str | None = None
    framer: StreamFramer | None = None
    congested: bool = False
    allocation: Allocation | None = None
    awaiting: bytes | None = None
    """Transaction id of an Allocate whose relayed socket is being opened."""


@dataclass(slots=True, eq=False)
class Channel:
    number: bytes
    """As on the wire, so that forwarding converts nothing."""
    peer: PeerAddress
    ends_at: float


@dataclass(slots=True, eq=False)
class Allocation:
    """One relayed address. `local` is its socket, `relayed` what the world knows it by."""

    client: Client
    user_id: str
    local: Address
    relayed: Address
    expires_at: float
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[bytes, Channel] = field(default_factory=dict)
    channel_to: dict[Address, Channel] = field(default_factory=dict)
    bytes_to_peers: int = 0
    bytes_to_client: int = 0
    packets_to_peers: int = 0
    packets_to_client: int = 0
    _dropped: set[tuple[str, str]] = field(default_factory=set)

    def permits(self, ip: str, now: float) -> bool:
        return self.permissions.get(ip, 0.0) > now

    def room_for_permissions(self, ips: set[str], limit: int, now: float) -> bool:
        if len(self.permissions) + len(ips) > limit:
            self.permissions = {ip: ends for ip, ends in self.permissions.items() if ends > now}
        return len(self.permissions) + len(ips - self.permissions.keys()) <= limit

    def permit(self, ip: str, now: float) -> bool:
        """Install or renew; True when it is new."""
        new = not self.permits(ip, now)
        self.permissions[ip] = now + PERMISSION_LIFETIME
        return new

    def channel_conflict(self, number: bytes, peer: Address, limit: int, now: float) -> str | None:
        """Why this number cannot be bound to this peer (RFC 8656 §12.2), or None."""
        for channel in (self.channels.get(number), self.channel_to.get(peer)):
            if channel is not None and channel.ends_at <= now:
                self.channels.pop(channel.number, None)
                self.channel_to.pop(channel.peer, None)
        by_number, by_peer = self.channels.get(number), self.channel_to.get(peer)
        if by_number is not None and by_number.peer != peer:
            return f"channel 0x{number.hex()} is bound to {by_number.peer}"
        if by_peer is not None and by_peer.number != number:
            return f"{peer} has channel 0x{by_peer.number.hex()}"
        if by_number is None and len(self.channels) >= limit:
            return f"the allocation has {limit} channels"
        return None

    def bind(self, number: bytes, peer: PeerAddress, now: float) -> bool:
        """Bind or renew a channel and the permission with it; True when it is new."""
        self.permit(peer.ip, now)
        channel = self.channels.get(number)
        if channel is not None:
            channel.ends_at = now + CHANNEL_LIFETIME
            return False
        channel = Channel(number, peer, now + CHANNEL_LIFETIME)
        self.channels[number] = self.channel_to[peer] = channel
        return True

    def first_drop(self, peer_ip: str, cause: str) -> bool:
        """Whether this cause is new for this peer; a flood of causes stops being news."""
        if (peer_ip, cause) in self._dropped or len(self._dropped) >= MAX_CAUSES:
            return False
        self._dropped.add((peer_ip, cause))
        return True
