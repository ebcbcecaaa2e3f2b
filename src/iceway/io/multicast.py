"""Multicast sockets of one driver, for protocols of the link such as multicast DNS (RFC 6762).

The group's port is shared with every other program that listens there, so a socket is bound to the port alone and told
by key, not by address. It hears its own interface only, itself included. A datagram is of the link if it was sent to
the group, which no router forwards, or if no router has counted its TTL down from 255; anything else is dropped.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iceway.core.address import Address
from iceway.core.machine import (
    Input,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    SendMulticast,
)
from iceway.io.reasons import bind_words
from iceway.io.stream import socket_address

BATCH = 32
TTL = 255  # RFC 6762 §11
_LARGEST = 9000
_ANCILLARY = 256
_IF_INET6 = Path("/proc/thread-self/net/if_inet6")  # of the namespace that this thread is in
# Linux has these, Python does not name them: hear the groups that this socket joined, not those of the whole host.
_IP_MULTICAST_ALL, _IPV6_MULTICAST_ALL = 49, 29
_IP_PKTINFO, _IP_RECVTTL = 8, 12


@dataclass(frozen=True, slots=True)
class _Group:
    sock: socket.socket
    group: Address
    index: int  # of the interface; only IPv6 needs it


class MulticastSockets:
    """Opens, reads, writes and closes them. `deliver` gets each input, `settle` the end of each batch."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Input], None],
        settle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._settle = settle
        self._groups: dict[str, _Group] = {}

    def open(self, request: OpenMulticast) -> MulticastOpened | MulticastFailed:
        try:
            joined = _joined(request)
        except OSError as error:
            return MulticastFailed(request.key, bind_words(error, request.group))
        self._groups[request.key] = joined
        self._loop.add_reader(joined.sock.fileno(), self._read, joined, request.key)
        return MulticastOpened(request.key)

    def send(self, request: SendMulticast) -> None:
        joined = self._groups.get(request.key)
        if joined is None:
            return
        ip, port = request.to or joined.group
        try:
            if joined.group.family == 6:
                joined.sock.sendto(request.data, (ip, port, 0, joined.index if _is_local(ip) else 0))
            else:
                joined.sock.sendto(request.data, (ip, port))
        except OSError:
            return  # lost like a packet

    def close(self, key: str) -> None:
        joined = self._groups.pop(key, None)
        if joined is not None:
            self._loop.remove_reader(joined.sock.fileno())
            joined.sock.close()

    def close_all(self) -> None:
        for key in list(self._groups):
            self.close(key)

    def _read(self, joined: _Group, key: str) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = joined.sock.recvmsg(_LARGEST, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                if joined.sock.fileno() < 0:
                    break  # what the machine did upon the last datagram closed it
                continue
            if _is_of_the_link(ancillary, joined.group):
                self._deliver(MulticastReceived(key, socket_address(source), data))
        self._settle()


def _joined(request: OpenMulticast) -> _Group:
    """A socket in the group, on the interface with that IP. Raises OSError."""
    six = request.group.family == 6
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        index = _join6(sock, request) if six else _join4(sock, request)
    except BaseException:
        sock.close()
        raise
    return _Group(sock, request.group, index)


def _join4(sock: socket.socket, request: OpenMulticast) -> int:
    ours = socket.inet_aton(request.interface)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ours)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    sock.bind(("", request.group.port))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(request.group.ip) + ours)
    return 0


def _join6(sock: socket.socket, request: OpenMulticast) -> int:
    index = _index_of(request.interface)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, TTL)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    sock.bind(("", request.group.port))
    group = ipaddress.IPv6Address(request.group.ip).packed + struct.pack("@I", index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    return index


def _index_of(ip: str) -> int:
    """The interface that has this IPv6 address, as the kernel numbers it."""
    wanted = ipaddress.IPv6Address(ip).packed.hex()
    for line in _IF_INET6.read_text().splitlines():
        address, index, *_ = line.split()
        if address == wanted:
            return int(index, 16)
    raise OSError(f"no interface of this host has {ip}")


def _is_of_the_link(ancillary: list[tuple[int, int, bytes]], group: Address) -> bool:
    for level, kind, data in ancillary:
        match level, kind:
            case socket.IPPROTO_IP, 8 if len(data) >= 12:  # in_pktinfo: interface, local address, destination
                if data[8:12] == socket.inet_aton(group.ip):
                    return True
            case socket.IPPROTO_IPV6, socket.IPV6_PKTINFO if len(data) >= 16:
                if data[:16] == ipaddress.IPv6Address(group.ip).packed:
                    return True
            case (socket.IPPROTO_IP, socket.IP_TTL) | (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT) if (
                struct.unpack("@i", data[:4]) == (TTL,)
            ):
                return True
    return False


def _is_local(ip: str) -> bool:
    address = ipaddress.IPv6Address(ip)
    return address.is_link_local or address.is_multicast
