"""coturn and iceway on loopback: its client through our relay, our client through its relay, UDP and TCP."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import DatagramReceived, Input, OpenUdp, Outbox, TlsClient, TlsServer, UdpOpened
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.keystore import Identity, KeyStore
from iceway.trace.records import AllocationCreated, AllocationEnded, ChannelBound, Record, RelayRefused
from iceway.turn.auth import Authenticator, StaticAuthenticator, TimeLimitedAuthenticator
from iceway.turn.client import TurnClient
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.events import Allocated, AllocationFailed, PeerData, PeerRefused
from iceway.turn.server import Listening, TurnServer

pytestmark = pytest.mark.interop("turnserver", "turnutils_uclient")

LOOPBACK = "127.0.0.1"
REALM = "example.test"
SECRET = "north"
FORBIDDEN = "192.0.2.66"
PATIENCE = 40.0
SECURE = pytest.mark.parametrize("transport", [Transport.TLS, Transport.DTLS])
NAME = "relay.example.test"
BOTH = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


def free_port() -> int:
    """A port that is free for UDP and TCP just now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            tcp.bind((LOOPBACK, 0))
            port = int(tcp.getsockname()[1])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind((LOOPBACK, port))
                except OSError:
                    continue
            return port


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 (another process, or another driver, makes it true)
            await asyncio.sleep(0.02)


class Echo(asyncio.DatagramProtocol):
    """A peer that says everything back."""

    def __init__(self) -> None:
        self.heard: list[tuple[Address, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append((Address(*addr[:2]), data))
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def echo_peer() -> AsyncIterator[tuple[Echo, Address]]:
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=(LOOPBACK, 0))
    try:
        yield echo, Address(*transport.get_extra_info("sockname")[:2])
    finally:
        transport.close()


# --- coturn's client through our relay ------------------------------------------------------------------
class Heard(Driver):
    """A driver that keeps records and events for the test to look at."""

    def __init__(self, machine: TurnServer | Desk | TurnClient, keystore: KeyStore | None = None) -> None:
        self.events: list[object] = []
        self.records: list[Record] = []
        super().__init__(machine, keystore=keystore, on_event=lambda event, now: self.events.append(event))

    def record(self, record: Record) -> None:
        self.records.append(record)

    def of(self, *kinds: type) -> list[object]:
        return [output for output in (*self.events, *self.records) if isinstance(output, kinds)]


@asynccontextmanager
async def our_relay(
    authenticator: Authenticator, keystore: KeyStore | None = None
) -> AsyncIterator[tuple[Heard, int]]:
    port = free_port()
    kinds = (Transport.TLS, Transport.DTLS) if keystore else (Transport.TCP, Transport.UDP)
    tls = TlsServer("relay") if keystore else None
    listeners = tuple(TurnListener(kind, Address(LOOPBACK, port), tls) for kind in kinds)
    config = TurnServerConfig(REALM, listeners, LOOPBACK, allow_peers=("127.0.0.0/8",))
    server = TurnServer(config, authenticator, random.SystemRandom())
    async with Heard(server, keystore) as driver:
        driver.call(server.start)
        await until(lambda: len(driver.of(Listening)) == 2)
        yield driver, port


async def uclient(port: int, *flags: str) -> str:
    """Run coturn's load client; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        "turnutils_uclient",
        *("-c", "-n", "10", "-m", "2", "-l", "160", "-p", str(port), *flags, LOOPBACK),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")


def assert_nothing_lost(output: str) -> None:
    assert re.search(r"tot_send_msgs=20, tot_recv_msgs=20", output), output
    assert "Total lost packets 0 " in output, output


@BOTH
@pytest.mark.parametrize("credentials", ["static", "time-limited"])
def test_the_client_of_coturn_sends_through_our_relay(transport: Transport, credentials: str) -> None:
    async def conversation() -> None:
        if credentials == "static":
            authenticator: Authenticator = StaticAuthenticator({"alice": "secret"})
            login = ("-u", "alice", "-w", "secret")
        else:
            authenticator = TimeLimitedAuthenticator(SECRET)
            login = ("-u", "alice", "-W", SECRET)
        stream = ("-t",) if transport is Transport.TCP else ()
        async with our_relay(authenticator) as (relay, port), echo_peer() as (echo, peer):
            output = await uclient(port, *stream, *login, "-e", peer.ip, "-r", str(peer.port))
            assert_nothing_lost(output)
            assert len(echo.heard) >= 20
            # Over UDP it gives back two and leaves others to expire; a stream that ends takes all along.
            given_back = 2 if transport is Transport.UDP else len(relay.of(AllocationCreated))
            await until(lambda: len(relay.of(AllocationEnded)) >= given_back)
            assert relay.of(ChannelBound)
            assert not relay.of(RelayRefused)

    asyncio.run(conversation())


@SECURE
def test_the_client_of_coturn_sends_through_our_relay_in_secret(transport: Transport, tmp_path: Path) -> None:
    async def conversation() -> None:
        ca = DevCa.open(tmp_path)
        flags = ("-S", "-t") if transport is Transport.TLS else ("-S",)
        keys = ca.keystore(relay=ca.issue("relay", [NAME]))
        async with (
            our_relay(StaticAuthenticator({"alice": "secret"}), keys) as (relay, port),
            echo_peer() as (echo, peer),
        ):
            login = ("-u", "alice", "-w", "secret")
            output = await uclient(port, *flags, *login, "-e", peer.ip, "-r", str(peer.port))
            assert_nothing_lost(output)
            assert len(echo.heard) >= 20
            assert {made.transport for made in relay.of(AllocationCreated)} == {transport.value}  # type: ignore[attr-defined]

    asyncio.run(conversation())


@BOTH
def test_two_clients_of_coturn_meet_on_our_relay(transport: Transport) -> None:
    async def conversation() -> None:
        stream = ("-t",) if transport is Transport.TCP else ()
        async with our_relay(StaticAuthenticator({"alice": "secret"})) as (_, port):
            assert_nothing_lost(await uclient(port, *stream, "-y", "-u", "alice", "-w", "secret"))

    asyncio.run(conversation())


def test_the_client_of_coturn_is_refused_with_a_wrong_password() -> None:
    async def conversation() -> None:
        async with our_relay(StaticAuthenticator({"alice": "secret"})) as (relay, port):
            output = await uclient(port, "-u", "alice", "-w", "wrong", "-e", LOOPBACK)
            assert "tot_recv_msgs=20" not in output
            assert {record.detail for record in relay.of(RelayRefused)} == {"wrong password for alice"}  # type: ignore[attr-defined]

    asyncio.run(conversation())


# --- our client through coturn --------------------------------------------------------------------------
class Desk(Outbox):
    """Owns the UDP socket that a TURN client shares, as an ICE agent does."""

    def __init__(self, server: Address, username: str, password: str) -> None:
        super().__init__()
        self.emit(OpenUdp("desk", Address(LOOPBACK, 0)))
        self._make = lambda local: TurnClient(
            "turn", server, Transport.UDP, username, password, random.SystemRandom(), local=local
        )
        self.client: TurnClient | None = None

    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case UdpOpened(local=local):
                self.client = self._make(local)
                self.client.allocate(now)
            case DatagramReceived() if self.client:
                self.client.handle_input(event, now)

    def handle_timeout(self, now: float) -> None:
        if self.client:
            self.client.handle_timeout(now)

    def poll_timeout(self) -> float | None:
        return self.client.poll_timeout() if self.client else None

    def poll_output(self) -> object | None:
        if (output := super().poll_output()) is not None:
            return output
        return self.client.poll_output() if self.client else None


@asynccontextmanager
async def coturn(directory: Path, identity: Identity | None = None) -> AsyncIterator[Address]:
    """With an identity the address is that of its TLS and DTLS."""
    port = secure = free_port()
    security: tuple[str, ...] = ("--no-tls", "--no-dtls")
    if identity is not None:
        secure = free_port()
        security = (
            f"--cert={identity.certificate}",
            f"--pkey={identity.key}",
            f"--tls-listening-port={secure}",
        )
    process = await asyncio.create_subprocess_exec(
        "turnserver",
        *("-n", "--no-cli", *security, "--log-file=stdout", "--simple-log", "--fingerprint"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}", f"--realm={REALM}"),
        *(f"--listening-ip={LOOPBACK}", f"--relay-ip={LOOPBACK}", f"--listening-port={port}"),
        *(
            "--allow-loopback-peers",
            f"--denied-peer-ip={FORBIDDEN}",
            f"--pidfile={directory}/pid",
            f"--userdb={directory}/db",
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=directory,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
                break
            except OSError:
                assert process.returncode is None, "turnserver ended at once"
                assert time.monotonic() < deadline, "turnserver does not listen"
                await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        yield Address(LOOPBACK, secure)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def our_client(
    server: Address, transport: Transport, username: str, password: str, keystore: KeyStore | None = None
) -> AsyncIterator[tuple[Heard, Callable[[], TurnClient]]]:
    if transport is Transport.UDP:
        desk = Desk(server, username, password)
        machine: Desk | TurnClient = desk

        def client() -> TurnClient:
            assert desk.client is not None
            return desk.client

    else:
        machine = stream_client = TurnClient(
            "turn",
            server,
            transport,
            username,
            password,
            random.SystemRandom(),
            tls=TlsClient(NAME) if transport.is_secure else None,
        )

        def client() -> TurnClient:
            return stream_client

    async with Heard(machine, keystore) as driver:
        if isinstance(machine, TurnClient):
            driver.call(machine.allocate)
        await until(lambda: bool(driver.of(Allocated, AllocationFailed)))
        yield driver, client


@BOTH
def test_our_client_sends_through_coturn(transport: Transport, tmp_path: Path) -> None:
    async def conversation() -> None:
        username, password = TimeLimitedAuthenticator(SECRET).credentials("alice", time.time() + 600)
        async with (
            coturn(tmp_path) as server,
            echo_peer() as (echo, peer),
            our_client(server, transport, username, password) as (driver, client),
        ):
            (allocated,) = driver.of(Allocated, AllocationFailed)
            assert isinstance(allocated, Allocated), allocated
            said = [b"packet %d" % number * (number % 5 + 1) for number in range(40)]
            for number, packet in enumerate(said, 1):
                driver.call(lambda now, packet=packet: client().send(peer, packet, now))
                await until(lambda number=number: len(driver.of(PeerData)) >= number)
            assert [data for _, data in echo.heard] == said
            assert {source for source, _ in echo.heard} == {allocated.relayed}
            assert driver.of(PeerData) == [PeerData(peer, packet) for packet in said]
            sent = {getattr(record, "method", "") for record in driver.records}
            assert {"Allocate", "CreatePermission", "ChannelBind"} <= sent
            driver.call(client().close)
            await until(lambda: client().poll_timeout() is None)

    asyncio.run(conversation())


@SECURE
def test_our_client_sends_through_coturn_in_secret(transport: Transport, tmp_path: Path) -> None:
    async def conversation() -> None:
        ca = DevCa.open(tmp_path / "ca")
        login = TimeLimitedAuthenticator(SECRET).credentials("alice", time.time() + 600)
        async with (
            coturn(tmp_path, ca.issue("relay", [NAME])) as server,
            echo_peer() as (echo, peer),
            our_client(server, transport, *login, ca.keystore()) as (driver, client),
        ):
            (allocated,) = driver.of(Allocated, AllocationFailed)
            assert isinstance(allocated, Allocated), allocated
            said = [b"packet %d" % number * (number % 5 + 1) for number in range(40)]
            for number, packet in enumerate(said, 1):
                driver.call(lambda now, packet=packet: client().send(peer, packet, now))
                await until(lambda number=number: len(driver.of(PeerData)) >= number)
            assert [data for _, data in echo.heard] == said
            driver.call(client().close)
            await until(lambda: client().poll_timeout() is None)

    asyncio.run(conversation())


@BOTH
def test_coturn_refuses_expired_and_wrong_credentials_and_we_say_so(
    transport: Transport, tmp_path: Path
) -> None:
    async def conversation() -> None:
        authenticator = TimeLimitedAuthenticator(SECRET)
        expired = authenticator.credentials("alice", time.time() - 93)
        wrong = authenticator.credentials("alice", time.time() + 600)[0], "wrong"
        async with coturn(tmp_path) as server:
            for login in (expired, wrong):
                async with our_client(server, transport, *login) as (driver, _):
                    (failed,) = driver.of(Allocated, AllocationFailed)
                    assert isinstance(failed, AllocationFailed)
                    assert failed.code == 401
                    assert "user name and password" in failed.detail

    asyncio.run(conversation())


def test_a_peer_that_coturn_forbids_fails_alone(tmp_path: Path) -> None:
    async def conversation() -> None:
        login = TimeLimitedAuthenticator(SECRET).credentials("alice", time.time() + 600)
        async with (
            coturn(tmp_path) as server,
            echo_peer() as (_, peer),
            our_client(server, Transport.UDP, *login) as (driver, client),
        ):
            driver.call(lambda now: client().permit((FORBIDDEN, peer.ip), now))
            driver.call(lambda now: client().send(peer, b"still here", now))
            await until(lambda: bool(driver.of(PeerData)) and bool(driver.of(PeerRefused)))
            (refused,) = driver.of(PeerRefused)
            assert (refused.peer_ip, refused.code) == (FORBIDDEN, 403)  # type: ignore[attr-defined]

    asyncio.run(conversation())
