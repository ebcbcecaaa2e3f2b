"""The host's own interface addresses that others could reach, best first.

Read from the kernel with getifaddrs(3) through ctypes, since the standard library cannot tell them. Where
that fails, the addresses that the routing table would send from are asked for with unconnected-to-anything
UDP sockets. Loopback and link-local addresses are left out, unless loopback is all there is.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable

_IFF_UP = 0x1
_IFF_RUNNING = 0x40


def usable_addresses() -> tuple[str, ...]:
    """IPv4 before IPv6, the interface of the default route first among its family."""
    try:
        found = _interface_addresses()
    except (OSError, AttributeError):
        found = []
    return order_addresses(found, default=_route_addresses())


def order_addresses(found: Iterable[str], default: Iterable[str] = ()) -> tuple[str, ...]:
    """The law of the choice, apart from the machine it runs on."""
    default = tuple(default)
    candidates = dict.fromkeys([*default, *found])
    usable = [ip for ip in candidates if _is_usable(ip)]
    if not usable:
        usable = [ip for ip in candidates if ipaddress.ip_address(ip).is_loopback] or ["127.0.0.1"]
    return tuple(sorted(usable, key=lambda ip: (":" in ip, ip not in default)))


def _is_usable(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    return not (
        address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    )


def _route_addresses() -> list[str]:
    """What the default routes would send from. Connecting a UDP socket sends nothing."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((somewhere, 9))
                found.append(str(ipaddress.ip_address(probe.getsockname()[0])))
        except OSError:
            continue
    return found


class _IfAddrs(ctypes.Structure):
    """struct ifaddrs, the fields in front of those we don't read."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def _interface_addresses() -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)  # finding it by name would start a process every time
    head = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(head)) != 0:
        raise OSError(ctypes.get_errno(), "getifaddrs failed")
    try:
        found = []
        node = head
        while node:
            entry = node.contents
            if entry.address and entry.flags & _IFF_UP and entry.flags & _IFF_RUNNING:
                ip = _ip_of(entry.address)
                if ip is not None:
                    found.append(ip)
            node = entry.next
        return found
    finally:
        libc.freeifaddrs(head)


def _ip_of(sockaddr: int) -> str | None:
    (family,) = struct.unpack("=H", ctypes.string_at(sockaddr, 2))
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(ctypes.string_at(sockaddr + 4, 4)))
    if family == socket.AF_INET6:
        return str(ipaddress.IPv6Address(ctypes.string_at(sockaddr + 8, 16)))
    return None
