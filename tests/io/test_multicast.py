"""Multicast on the loopback: groups on ports of the test's own, so that nobody else is disturbed.

The loopback carries no multicast of IPv6; `tests/ice/test_mdns_kernel.py` has links that do.
"""

from __future__ import annotations

import random
import socket

import pytest

from iceway.core.address import Address
from iceway.core.machine import (
    CloseMulticast,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    SendMulticast,
)
from tests.io.harness import LOOPS, Toy, driven, run

GROUPS = {"127.0.0.1": "224.0.0.251", "::1": "ff02::fb"}


def group_of(ip: str) -> Address:
    return Address(GROUPS[ip], random.SystemRandom().randrange(20000, 30000))


@pytest.mark.parametrize("loop", LOOPS)
def test_everybody_in_the_group_hears_what_is_said_themselves_included(loop: str) -> None:
    async def conversation() -> None:
        ip = "127.0.0.1"
        group, toys = group_of(ip), [Toy(), Toy()]
        async with driven(*toys) as drivers:
            for toy, driver in zip(toys, drivers, strict=True):
                driver.call(lambda now, toy=toy: toy.emit(OpenMulticast("g", group, ip)))
                await toy.hears(MulticastOpened)
            drivers[0].call(lambda now: toys[0].emit(SendMulticast("g", b"hello")))
            for toy in toys:
                heard = await toy.hears(MulticastReceived)
                assert (heard.key, heard.data, heard.source.port) == ("g", b"hello", group.port)
            drivers[1].call(lambda now: toys[1].emit(CloseMulticast("g")))
            drivers[0].call(lambda now: toys[0].emit(SendMulticast("g", b"anybody?")))
            await toys[0].hears(MulticastReceived, 2)
            assert len(toys[1].all(MulticastReceived)) == 1
            drivers[1].call(lambda now: toys[1].emit(SendMulticast("g", b"from one that left")))
            drivers[0].call(lambda now: toys[0].emit(SendMulticast("g", b"last")))
            assert (await toys[0].hears(MulticastReceived, 3)).data == b"last"

    run(conversation(), loop)


@pytest.mark.parametrize("ip", GROUPS)
def test_a_neighbour_may_be_told_alone_and_what_came_through_a_router_is_not_heard(ip: str) -> None:
    """What is sent with another TTL than 255 may have come from anywhere (RFC 6762 §11)."""

    async def conversation() -> None:
        group, toy = group_of(ip), Toy()
        six = ":" in ip
        level, hops = (
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
        )
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((ip, 0))
            async with driven(toy) as (driver,):
                driver.call(lambda now: toy.emit(OpenMulticast("g", group, ip)))
                await toy.hears(MulticastOpened)
                for ttl in (64, 254, 255):
                    other.setsockopt(level, hops, ttl)
                    other.sendto(str(ttl).encode(), (ip, group.port))
                heard = await toy.hears(MulticastReceived)
                assert (heard.data, heard.source) == (b"255", Address(*other.getsockname()[:2]))
                driver.call(lambda now: toy.emit(SendMulticast("g", b"to you", heard.source)))
                other.settimeout(5)
                assert other.recv(100) == b"to you"
                assert toy.all(MulticastReceived) == [heard]

    run(conversation())


@pytest.mark.parametrize(("ip", "group"), [("192.0.2.77", "224.0.0.251"), ("2001:db8::77", "ff02::fb")])
def test_an_interface_that_is_not_there_is_told_in_words(ip: str, group: str) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(OpenMulticast("g", Address(group, 20001), ip)))
            assert (await toy.hears(MulticastFailed)).reason
            driver.call(lambda now: toy.emit(SendMulticast("g", b"into nothing")))
            driver.call(lambda now: toy.emit(CloseMulticast("g")))

    run(conversation())
