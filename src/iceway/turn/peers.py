"""The peers of one TURN client: which permissions and channels stand, are asked for, or were refused.

A table of what is known about each peer address and each peer IP, with the instants at which things must be
renewed. It decides how a packet travels (`Way`); it sends nothing itself.

A permission lasts 300 s and a channel 600 s (RFC 8656 §9, §12); binding a channel also renews the permission.
Both are renewed every 240 s, so that one lost renewal does not open a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from iceway.core.address import Address
from iceway.core.timers import Timers
from iceway.wire.channel_data import FIRST_CHANNEL, LAST_CHANNEL

RENEWAL = 240.0
MAX_PEERS = 256
QUEUE_LIMIT = 32
"""Packets kept for one IP while its permission is asked for; older ones give way."""
PACKETS_BEFORE_CHANNEL = 8


class Permission(Enum):
    ASKED = auto()
    INSTALLED = auto()
    REFUSED = auto()


class Channel(Enum):
    NONE = auto()
    ASKED = auto()
    BOUND = auto()


@dataclass(slots=True)
class PeerIp:
    """What stands for all ports of one IP."""

    permission: Permission
    queue: deque[tuple[Address, bytes]] = field(default_factory=lambda: deque(maxlen=QUEUE_LIMIT))


@dataclass(slots=True)
class Peer:
    number: int = 0
    channel: Channel = Channel.NONE
    packets: int = 0


@dataclass(frozen=True, slots=True)
class RenewPermission:
    ip: str


@dataclass(frozen=True, slots=True)
class RenewChannel:
    peer: Address


class Peers:
    """All peers of one allocation."""

    def __init__(self) -> None:
        self.ips: dict[str, PeerIp] = {}
        self.peers: dict[Address, Peer] = {}
        self.bound: dict[Address, int] = {}
        """Channels that may carry data, by peer: the look-up of every packet out."""
        self.by_channel: dict[int, Address] = {}
        """Channels that may bring data, by number: bound ones, and asked ones whose answer is behind the data."""
        self._timers = Timers()
        self._next_channel = FIRST_CHANNEL

    # --- permissions ----------------------------------------------------------------------------------
    def ask(self, ip: str) -> bool:
        """True: a CreatePermission must go out. False: one stands, is under way, was refused, or too many."""
        if ip in self.ips or len(self.ips) >= MAX_PEERS:
            return False
        self.ips[ip] = PeerIp(Permission.ASKED)
        return True

    def installed(self, ip: str, now: float) -> list[tuple[Address, bytes]]:
        """The permission stands; returns what waited for it."""
        entry = self.ips.setdefault(ip, PeerIp(Permission.INSTALLED))
        entry.permission = Permission.INSTALLED
        self._timers.arm(RenewPermission(ip), now + RENEWAL)
        waiting = list(entry.queue)
        entry.queue.clear()
        return waiting

    def refused(self, ip: str) -> None:
        entry = self.ips.setdefault(ip, PeerIp(Permission.REFUSED))
        entry.permission = Permission.REFUSED
        entry.queue.clear()
        self._timers.cancel(RenewPermission(ip))

    def forget(self, ip: str) -> None:
        """The permission could not be had for a reason that may pass; the next packet asks again."""
        self.ips.pop(ip, None)
        self._timers.cancel(RenewPermission(ip))

    # --- channels -------------------------------------------------------------------------------------
    def count(self, peer: Address) -> bool:
        """Note one packet sent as an indication; True when the peer has earned a channel."""
        entry = self.peers.get(peer)
        if entry is None:
            if len(self.peers) >= MAX_PEERS:
                return False
            entry = self.peers[peer] = Peer()
        entry.packets += 1
        return entry.channel is Channel.NONE and entry.packets >= PACKETS_BEFORE_CHANNEL

    def ask_channel(self, peer: Address) -> int | None:
        """The channel number to bind; None when one stands or is asked for, or when there is none left."""
        entry = self.peers.get(peer)
        if entry is None:
            if len(self.peers) >= MAX_PEERS:
                return None
            entry = self.peers[peer] = Peer()
        if entry.channel is not Channel.NONE:
            return None
        if not entry.number:
            if self._next_channel > LAST_CHANNEL:
                return None
            entry.number = self._next_channel
            self._next_channel += 1
        entry.channel = Channel.ASKED
        # RFC 8656 §12.3: the server may send ChannelData before we see its answer.
        self.by_channel[entry.number] = peer
        return entry.number

    def channel_bound(self, peer: Address, now: float) -> None:
        entry = self.peers[peer]
        entry.channel = Channel.BOUND
        self.bound[peer] = entry.number
        self._timers.arm(RenewChannel(peer), now + RENEWAL)

    def channel_lost(self, peer: Address) -> None:
        """Indications again; the same number may be tried later (RFC 8656 §12.1 forbids another soon)."""
        entry = self.peers[peer]
        entry.channel = Channel.NONE
        entry.packets = -PACKETS_BEFORE_CHANNEL * 16
        self.bound.pop(peer, None)
        self._timers.cancel(RenewChannel(peer))

    # --- time -----------------------------------------------------------------------------------------
    def due(self, now: float) -> Iterator[RenewPermission | RenewChannel]:
        for name in self._timers.due(now):
            assert isinstance(name, RenewPermission | RenewChannel)
            yield name

    def next_at(self) -> float | None:
        return self._timers.next_at()

    def clear(self) -> None:
        self.ips.clear()
        self.peers.clear()
        self.bound.clear()
        self.by_channel.clear()
        self._timers.clear()
