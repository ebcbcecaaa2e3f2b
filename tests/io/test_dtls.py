"""DTLS on real sockets of the loopback: handshake, names, cookies, datagrams, ends."""

from __future__ import annotations

import asyncio
import datetime
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.machine import (
    CloseListener,
    CloseStream,
    Connect,
    Input,
    Listen,
    ListenerFailed,
    ListenerOpened,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamConnected,
    StreamReceived,
    TlsClient,
    TlsPeer,
    TlsServer,
)
from iceway.io import driver as driver_module
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.dtls import MTU, DtlsLimits, datagrams, is_hello
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.trace.records import ConnectionClosed
from tests.io.harness import LOOPS, Toy, driven, run

HELLO_VERIFY = 3


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevCa:
    return DevCa.open(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(ca: DevCa) -> KeyStore:
    past = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2021))
    return ca.keystore(
        a=ca.issue("a", ["a.test", "127.0.0.1"]),
        b=ca.issue("b", ["b.test"]),
        old=ca.issue("old", ["a.test"], not_before=next(past), not_after=next(past)),
    )


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    """Keys of another authority."""
    other = DevCa.open(tmp_path_factory.mktemp("other"))
    return other.keystore(a=other.issue("a", ["a.test"]), b=other.issue("b", ["b.test"]))


def echo(toy: Toy, event: Input) -> None:
    if isinstance(event, StreamReceived):
        toy.emit(SendStream(event.stream, event.data.upper()))


async def listening(
    toy: Toy, driver: Driver, tls: TlsServer | None = None, ip: str = "127.0.0.1", key: str = "door"
) -> Address:
    tls = tls or TlsServer("a")
    driver.call(lambda now: toy.emit(Listen(key, Address(ip, 0), tls, datagrams=True)))
    return (await toy.hears(ListenerOpened)).local


def connect(toy: Toy, driver: Driver, remote: Address, tls: TlsClient | None = None, name: str = "c") -> None:
    tls = tls or TlsClient("a.test")
    driver.call(lambda now: toy.emit(Connect(name, remote, tls=tls, datagrams=True)))


def says(toy: Toy, driver: Driver, data: bytes, name: str = "c") -> None:
    driver.call(lambda now: toy.emit(SendStream(name, data)))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_a_conversation_in_datagrams(loop: str, ip: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, ip=ip)
            connect(client, at_client, there)
            up, accepted = await client.hears(StreamConnected), await server.hears(StreamAccepted)
            assert (up.stream, up.remote, up.peer) == ("c", there, TlsPeer(("a.test",)))
            assert accepted == StreamAccepted("door/1", "door", there, up.local, TlsPeer())
            for text in (b"one", b"two", b"three"):
                says(client, at_client, text)
            await client.hears(StreamReceived, 3)
            assert {event.data for event in client.all(StreamReceived)} == {b"ONE", b"TWO", b"THREE"}
            at_client.call(lambda now: client.emit(CloseStream("c")))
            assert await client.hears(StreamClosed) == StreamClosed("c", "closed by us")
            assert await server.hears(StreamClosed) == StreamClosed("door/1", "closed by peer")

    run(conversation(), loop)


def test_one_port_serves_many_and_each_hears_its_own(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            for number in range(8):
                connect(client, at_client, there, name=f"c{number}")
            await client.hears(StreamConnected, 8)
            for number in range(8):
                says(client, at_client, b"to %d" % number, f"c{number}")
            await client.hears(StreamReceived, 8)
            heard = {event.stream: event.data for event in client.all(StreamReceived)}
            assert heard == {f"c{number}": b"TO %d" % number for number in range(8)}
            assert len({event.remote for event in server.all(StreamAccepted)}) == 8

    run(conversation())


@pytest.mark.parametrize(
    ("identity", "asked_for", "words"),
    [
        ("a", "b.test", "certificate is for a.test, 127.0.0.1, not b.test"),
        ("b", "127.0.0.1", "certificate is for b.test, not 127.0.0.1"),
        ("old", "a.test", "certificate expired"),
    ],
)
def test_a_server_that_is_not_who_it_should_be(
    identity: str, asked_for: str, words: str, keys: KeyStore
) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer(identity))
            connect(client, at_client, there, TlsClient(asked_for))
            assert await client.hears(StreamClosed) == StreamClosed("c", words)
            assert not client.all(StreamConnected)

    run(conversation())


def test_an_authority_that_nobody_knows(keys: KeyStore, strangers: KeyStore) -> None:
    async def conversation() -> None:
        server, client, recorder = Toy(), Toy(), Recorder(keep=True)
        async with (
            driven(server, keystore=strangers, recorder=recorder) as (at_server,),
            driven(client, keystore=keys) as (at_client,),
        ):
            there = await listening(server, at_server)
            connect(client, at_client, there)
            assert await client.hears(StreamClosed) == StreamClosed("c", "certificate not trusted")
            async with asyncio.timeout(5):
                while not (  # noqa: ASYNC110 (the other driver makes it true)
                    ended := [e.record for e in recorder.entries if isinstance(e.record, ConnectionClosed)]
                ):
                    await asyncio.sleep(0.005)
            assert ended[0].reason == "peer does not trust our certificate"
            assert not server.all(StreamAccepted)

    run(conversation())


@pytest.mark.parametrize("presented", [None, "b"])
def test_a_client_certificate_where_one_is_wanted(presented: str | None, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a", require_client_certificate=True))
            connect(client, at_client, there, TlsClient("a.test", presented))
            if presented:
                assert (await server.hears(StreamAccepted)).peer == TlsPeer(("b.test",))
            else:
                await client.hears(StreamClosed)
                assert not server.all(StreamAccepted)

    run(conversation())


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, keys: KeyStore) -> None:
    monkeypatch.setattr(driver_module, "DtlsLimits", lambda: DtlsLimits(handshake_timeout=0.05))

    async def conversation() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            client = Toy()
            async with driven(client, keystore=keys) as (at_client,):
                connect(client, at_client, Address(*silent.getsockname()))
                assert (await client.hears(StreamClosed)).reason == "TLS handshake timed out"

    run(conversation())


def test_a_lost_flight_is_repeated(keys: KeyStore) -> None:
    """A middle that swallows the first datagram of each direction."""

    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            middle = await Middle.between(there)
            connect(client, at_client, middle.address)
            await client.hears(StreamConnected)
            says(client, at_client, b"through")
            assert (await client.hears(StreamReceived)).data == b"THROUGH"
            middle.close()

    run(conversation())


class Middle(asyncio.DatagramProtocol):
    """A forwarder between one client and a server."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._client: tuple[str, int] | None = None
        self._lost = {True: 1, False: 1}

    @classmethod
    async def between(cls, server: Address) -> Middle:
        loop = asyncio.get_running_loop()
        _, middle = await loop.create_datagram_endpoint(lambda: cls(server), local_addr=("127.0.0.1", 0))
        return middle

    @property
    def address(self) -> Address:
        return Address(*self._transport.get_extra_info("sockname"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        inwards = source != self._server
        if inwards:
            self._client = source
        if self._lost[inwards]:
            self._lost[inwards] -= 1
        else:
            self._transport.sendto(data, self._server if inwards else self._client)

    def close(self) -> None:
        self._transport.close()


# --- strangers ------------------------------------------------------------------------------------------
def test_a_hello_without_a_cookie_is_answered_by_less_and_forgotten(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            with socket.socket(type=socket.SOCK_DGRAM) as spy:
                spy.bind(("127.0.0.1", 0))
                spy.setblocking(False)
                connect(client, at_client, Address(*spy.getsockname()))
                loop = asyncio.get_running_loop()
                hello, _ = await asyncio.wait_for(loop.sock_recvfrom(spy, 65535), 5)
                assert is_hello(hello)
                for _ in range(3):
                    spy.sendto(hello, there)
                    answer, _ = await asyncio.wait_for(loop.sock_recvfrom(spy, 65535), 5)
                    assert answer[13] == HELLO_VERIFY
                    assert len(answer) < len(hello)
            assert not server.all(StreamAccepted)
            assert not at_server._dtls._connections

    run(conversation(), "asyncio")  # uvloop knows no sock_recvfrom


@given(
    st.lists(
        st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda b: b"\x16\xfe\xff" + b)),
        max_size=8,
    )
)
def test_garbage_is_answered_by_nothing_worse_than_a_hello_verify(blobs: list[bytes]) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=GARBAGE_KEYS[0]) as (at_server, at_client):
            there = await listening(server, at_server)
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.1", 0))
                for blob in blobs:
                    stranger.sendto(blob, there)
                connect(client, at_client, there)
                await client.hears(StreamConnected)
                says(client, at_client, b"still here")
                await client.hears(StreamReceived)
            assert len(server.all(StreamAccepted)) == 1

    run(conversation())


GARBAGE_KEYS: list[KeyStore] = []


@pytest.fixture(scope="module", autouse=True)
def _garbage_keys(keys: KeyStore) -> None:
    GARBAGE_KEYS[:] = [keys]


def test_garbage_within_a_connection_does_not_end_it(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            connect(client, at_client, there)
            ours = (await client.hears(StreamConnected)).local
            await server.hears(StreamAccepted)
            door = at_server._dtls._listeners["door"]
            for blob in (b"x" * 50, b"\x17\xfe\xfd" + bytes(40), b""):
                door.sock.sendto(blob, ours)
            says(client, at_client, b"hello")
            assert (await client.hears(StreamReceived)).data == b"HELLO"

    run(conversation())


def test_unfinished_handshakes_are_bounded(monkeypatch: pytest.MonkeyPatch, keys: KeyStore) -> None:
    monkeypatch.setattr(driver_module, "DtlsLimits", lambda: DtlsLimits(max_connections=2))

    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            for number in range(2):
                connect(client, at_client, there, name=f"c{number}")
            await server.hears(StreamAccepted, 2)
            connect(client, at_client, there, name="third")
            await asyncio.sleep(0.1)
            assert len(server.all(StreamAccepted)) == 2

    run(conversation())


# --- ends -----------------------------------------------------------------------------------------------
def test_a_closed_listener_leaves_its_connections(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server)
            connect(client, at_client, there)
            await server.hears(StreamAccepted)
            await client.hears(StreamConnected)
            at_server.call(lambda now: server.emit(CloseListener("door")))
            says(client, at_client, b"hello")
            assert (await client.hears(StreamReceived)).data == b"HELLO"
            at_server.call(lambda now: server.emit(CloseStream("door/1")))
            assert (await client.hears(StreamClosed)).reason == "closed by peer"
            at_server.call(lambda now: server.emit(Listen("again", there, TlsServer("a"), datagrams=True)))
            assert (await server.hears(ListenerOpened, 2)).local == there

    run(conversation())


def test_a_connection_given_up_while_it_comes_up_leaves_nothing(keys: KeyStore) -> None:
    async def conversation() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            client = Toy()
            async with driven(client, keystore=keys) as (at_client,):
                connect(client, at_client, Address(*silent.getsockname()))
                at_client.call(lambda now: client.emit(CloseStream("c", abort=True)))
                assert await client.hears(StreamClosed) == StreamClosed("c", "closed by us")
                assert not at_client._dtls._connections

    run(conversation())


def test_listening_without_a_certificate_or_a_port_says_why(keys: KeyStore) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, keystore=keys) as (driver,):
            there = await listening(toy, driver)
            for key, where, tls in (
                ("bare", Address("127.0.0.1", 0), None),
                ("nobody", Address("127.0.0.1", 0), TlsServer("nobody")),
                ("taken", there, TlsServer("a")),
            ):
                driver.call(lambda now, k=key, w=where, t=tls: toy.emit(Listen(k, w, t, datagrams=True)))  # type: ignore[misc]
            await toy.hears(ListenerFailed, 3)
            reasons = {event.key: event.reason for event in toy.all(ListenerFailed)}
            assert reasons["bare"] == "DTLS needs a certificate"
            assert "no certificate is configured for 'nobody'" in reasons["nobody"]
            assert reasons["taken"] == f"port {there.port} on 127.0.0.1 is in use"

    run(conversation())


# --- records in datagrams -------------------------------------------------------------------------------
@given(st.lists(st.integers(0, 3000), max_size=12))
def test_records_are_never_cut(sizes: list[int]) -> None:
    records = [b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size) for size in sizes]
    cut = datagrams(b"".join(records))
    assert b"".join(cut) == b"".join(records)
    borders = [sum(map(len, records[:n])) for n in range(len(records) + 1)]
    ends = [sum(map(len, cut[:n])) for n in range(len(cut) + 1)]
    assert set(ends) <= set(borders)
    for datagram in cut:
        assert len(datagram) <= MTU or datagram in records


def test_a_key_that_does_not_belong_is_refused_before_anything_starts(ca: DevCa, tmp_path: Path) -> None:
    from iceway.io.keystore import Identity

    one, two = ca.issue("one", ["one.test"]), ca.issue("two", ["two.test"])
    keys = KeyStore({"mixed": Identity(one.certificate, two.key)})

    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, keystore=keys) as (driver,):
            driver.call(
                lambda now: toy.emit(
                    Listen("door", Address("127.0.0.1", 0), TlsServer("mixed"), datagrams=True)
                )
            )
            assert "cannot load certificate" in (await toy.hears(ListenerFailed)).reason

    run(conversation())
