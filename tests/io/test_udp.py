from __future__ import annotations

import socket

import pytest

from iceway.core.address import Address
from iceway.core.machine import (
    CloseUdp,
    DatagramReceived,
    Input,
    OpenUdp,
    SendDatagram,
    UdpFailed,
    UdpOpened,
)
from tests.io.harness import LOOPS, Toy, driven, run

LOOPBACK = Address("127.0.0.1", 0)


def echo(toy: Toy, event: Input) -> None:
    if isinstance(event, DatagramReceived):
        toy.emit(SendDatagram(event.local, event.remote, event.data.upper()))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_datagrams_go_there_and_back(loop: str, ip: str) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client) as (at_server, at_client):
            at_server.call(lambda now: server.emit(OpenUdp("server", Address(ip, 0))))
            at_client.call(lambda now: client.emit(OpenUdp("client", Address(ip, 0))))
            there, here = (await server.hears(UdpOpened)).local, (await client.hears(UdpOpened)).local
            assert there.ip == ip
            assert there.port != 0

            for word in (b"one", b"two", b""):
                at_client.call(lambda now, word=word: client.emit(SendDatagram(here, there, word)))
            await client.hears(DatagramReceived, 3)

            assert client.all(DatagramReceived) == [
                DatagramReceived(here, there, b"ONE"),
                DatagramReceived(here, there, b"TWO"),
                DatagramReceived(here, there, b""),
            ]

    run(conversation(), loop)


def test_the_largest_datagram_arrives_whole_and_a_larger_one_is_lost_without_a_word() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(OpenUdp("u", LOOPBACK)))
            local = (await toy.hears(UdpOpened)).local
            driver.call(lambda now: toy.emit(SendDatagram(local, local, bytes(65508))))
            driver.call(lambda now: toy.emit(SendDatagram(local, local, bytes(65507))))
            assert len((await toy.hears(DatagramReceived)).data) == 65507

    run(conversation())


def test_a_port_range_is_used_up_and_then_refused() -> None:
    async def conversation() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(LOOPBACK)
            low = taken.getsockname()[1]
            toy = Toy()
            async with driven(toy) as (driver,):
                for number in range(4):
                    driver.call(
                        lambda now, key=f"r{number}": toy.emit(OpenUdp(key, LOOPBACK, (low, low + 2)))
                    )
                ports = {event.local.port for event in toy.all(UdpOpened)}
                assert low not in ports
                assert ports <= {low + 1, low + 2}
                assert len(toy.all(UdpFailed)) == 4 - len(ports) >= 2
                assert toy.all(UdpFailed)[-1].key == "r3"
                assert f"no port from {low} to {low + 2} on 127.0.0.1" in toy.all(UdpFailed)[-1].reason

    run(conversation())


def test_what_cannot_be_bound_says_why() -> None:
    async def conversation() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(LOOPBACK)
            port = taken.getsockname()[1]
            toy = Toy()
            async with driven(toy) as (driver,):
                driver.call(lambda now: toy.emit(OpenUdp("a", Address("127.0.0.1", port))))
                driver.call(lambda now: toy.emit(OpenUdp("b", Address("192.0.2.77", 0))))
                driver.call(lambda now: toy.emit(OpenUdp("c", LOOPBACK, (9, 8))))
                assert toy.all(UdpFailed) == [
                    UdpFailed("a", f"port {port} on 127.0.0.1 is in use"),
                    UdpFailed("b", "address 192.0.2.77 is not on this machine"),
                    UdpFailed("c", "no port from 9 to 8 on 127.0.0.1 could be had (the port range is empty)"),
                ]

    run(conversation())


def test_a_closed_socket_hears_nothing_and_frees_its_port() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(OpenUdp("u", LOOPBACK)))
            local = (await toy.hears(UdpOpened)).local
            driver.call(lambda now: toy.emit(SendDatagram(local, local, b"never read")))
            driver.call(lambda now: toy.emit(CloseUdp(local)))
            driver.call(lambda now: toy.emit(SendDatagram(local, local, b"from nowhere")))
            driver.call(lambda now: toy.emit(CloseUdp(local)))
            driver.call(lambda now: toy.emit(OpenUdp("again", local)))
            assert toy.all(UdpOpened)[-1] == UdpOpened("again", local)
            driver.call(lambda now: toy.emit(SendDatagram(local, local, b"read")))
            assert (await toy.hears(DatagramReceived)).data == b"read"

    run(conversation())


def test_a_machine_may_close_the_socket_it_is_hearing_from() -> None:
    def close_at_once(toy: Toy, event: Input) -> None:
        if isinstance(event, DatagramReceived):
            toy.emit(CloseUdp(event.local))

    async def conversation() -> None:
        toy = Toy(close_at_once)
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(OpenUdp("u", LOOPBACK)))
            local = (await toy.hears(UdpOpened)).local
            for _ in range(3):
                driver.call(lambda now: toy.emit(SendDatagram(local, local, b"x")))
            await toy.hears(DatagramReceived)
            driver.call(lambda now: toy.emit(OpenUdp("other", LOOPBACK)))
            await toy.hears(UdpOpened, 2)
            assert len(toy.all(DatagramReceived)) == 1

    run(conversation())
