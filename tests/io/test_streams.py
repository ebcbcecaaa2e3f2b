from __future__ import annotations

import asyncio
import datetime
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsClient,
    TlsPeer,
    TlsServer,
)
from iceway.io import streams as streams_module
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.io.streams import StreamLimits
from iceway.trace.records import ConnectionClosed, Note
from tests.io.harness import LOOPS, PATIENCE, Toy, driven, run

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevCa:
    return DevCa.open(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def keys(ca: DevCa) -> KeyStore:
    return ca.keystore(
        a=ca.issue("a", ["a.test", "127.0.0.1"]),
        b=ca.issue("b", ["b.test", "also-b.test"]),
        old=ca.issue(
            "old",
            ["a.test"],
            not_before=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
            not_after=datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC),
        ),
        future=ca.issue(
            "future",
            ["a.test"],
            not_before=datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC),
            not_after=datetime.datetime(2121, 1, 1, tzinfo=datetime.UTC),
        ),
    )


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    """Keys of another authority."""
    other = DevCa.open(tmp_path_factory.mktemp("other"))
    return other.keystore(a=other.issue("a", ["a.test"]), b=other.issue("b", ["b.test"]))


def echo(toy: Toy, event: Input) -> None:
    if isinstance(event, StreamReceived):
        toy.emit(SendStream(event.stream, event.data.upper()))


async def listening(toy: Toy, driver: Driver, tls: TlsServer | None = None, ip: str = "127.0.0.1") -> Address:
    driver.call(lambda now: toy.emit(Listen("door", Address(ip, 0), tls)))
    return (await toy.hears(ListenerOpened)).local


def connect(toy: Toy, driver: Driver, remote: Address, tls: TlsClient | None = None, name: str = "c") -> None:
    driver.call(lambda now: toy.emit(Connect(name, remote, tls=tls)))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_conversation_over_a_stream(loop: str, ip: str, secure: bool, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a") if secure else None, ip)
            connect(client, at_client, there, TlsClient("a.test") if secure else None)

            up = await client.hears(StreamConnected)
            accepted = await server.hears(StreamAccepted)
            assert (up.stream, up.remote) == ("c", there)
            assert accepted == StreamAccepted(
                "door/1", "door", there, up.local, TlsPeer() if secure else None
            )
            assert up.peer == (TlsPeer(("a.test",)) if secure else None)

            at_client.call(lambda now: client.emit(SendStream("c", b"hello")))
            await client.until(lambda: b"".join(e.data for e in client.all(StreamReceived)) == b"HELLO")

            at_client.call(lambda now: client.emit(CloseStream("c")))
            assert await client.hears(StreamClosed) == StreamClosed("c", "closed by us")
            assert await server.hears(StreamClosed) == StreamClosed("door/1", "closed by peer")

    run(conversation(), loop)


def test_what_was_sent_before_closing_arrives_and_a_second_connection_has_the_next_name() -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client) as (at_server, at_client):
            there = await listening(server, at_server)
            for number in (1, 2):
                connect(client, at_client, there, name=f"c{number}")
                await client.hears(StreamConnected, number)
                await server.hears(StreamAccepted, number)

            def say_and_leave(now: float) -> None:
                client.emit(SendStream("c2", bytes(1_000_000)))
                client.emit(CloseStream("c2"))
                client.emit(SendStream("c2", b"too late"))

            at_client.call(say_and_leave)
            await server.hears(StreamClosed)
            assert [event.stream for event in server.all(StreamAccepted)] == ["door/1", "door/2"]
            got = b"".join(e.data for e in server.all(StreamReceived) if e.stream == "door/2")
            assert len(got) == 1_000_000

    run(conversation())


# --- failures, in words -----------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_nobody_listens(loop: str) -> None:
    async def conversation() -> None:
        with socket.socket() as silent:
            silent.bind(LOOPBACK)
            client = Toy()
            async with driven(client) as (driver,):
                connect(client, driver, Address(*silent.getsockname()))
                assert await client.hears(StreamClosed) == StreamClosed("c", "connection refused")

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_nobody_answers_times_out(loop: str) -> None:
    async def conversation() -> None:
        # A full backlog drops further SYNs, which is what a firewall does too.
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(LOOPBACK)
            full.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            client = Toy()
            async with driven(client, limits=StreamLimits(connect_timeout=0.05)) as (driver,):
                connect(client, driver, Address(*full.getsockname()))
                assert await client.hears(StreamClosed) == StreamClosed("c", "timed out")

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("identity", "asked_for", "words"),
    [
        ("a", "b.test", "certificate is for a.test, 127.0.0.1, not b.test"),
        ("b", "127.0.0.1", "certificate is for b.test, also-b.test, not 127.0.0.1"),
        ("old", "a.test", "certificate expired"),
        ("future", "a.test", "certificate is not valid yet"),
        ("a", "", "'' is not a name that TLS could check"),
        ("a", "x" * 300, "'" + "x" * 300 + "' is not a name that TLS could check"),
    ],
)
def test_a_server_that_is_not_who_it_should_be(
    loop: str, identity: str, asked_for: str, words: str, keys: KeyStore
) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer(identity))
            connect(client, at_client, there, TlsClient(asked_for))
            assert await client.hears(StreamClosed) == StreamClosed("c", words)
            assert not client.all(StreamConnected)

    run(conversation(), loop)


def test_a_local_address_that_is_not_ours() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            there = await listening(toy, driver)
            driver.call(lambda now: toy.emit(Connect("c", there, local_ip="192.0.2.77")))
            assert await toy.hears(StreamClosed) == StreamClosed("c", "address is not on this machine")
            driver.call(lambda now: toy.emit(Connect("d", there, local_ip="127.0.0.2")))
            assert (await toy.hears(StreamConnected)).local.ip == "127.0.0.2"

    run(conversation())


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_leave_from_a_listeners_port_if_that_is_shared(loop: str) -> None:
    """RFC 6544 appendix B: a port that listens, asks a server how it looks, and connects to a peer."""

    async def conversation() -> None:
        server, toy = Toy(), Toy()
        async with driven(server, toy) as (at_server, driver):
            there = await listening(server, at_server)
            driver.call(lambda now: toy.emit(Listen("alone", Address("127.0.0.1", 0))))
            alone = (await toy.hears(ListenerOpened)).local
            driver.call(lambda now: toy.emit(Connect("no", there, "127.0.0.1", local_port=alone.port)))
            assert "in use" in (await toy.hears(StreamClosed)).reason

            driver.call(lambda now: toy.emit(Listen("shared", Address("127.0.0.1", 0), shared=True)))
            shared = (await toy.hears(ListenerOpened, 2)).local
            driver.call(lambda now: toy.emit(Connect("out", there, "127.0.0.1", local_port=shared.port)))
            assert (await toy.hears(StreamConnected)).local == shared
            assert (await server.hears(StreamAccepted)).remote == shared

            connect(server, at_server, shared)
            assert (await toy.hears(StreamAccepted)).key == "shared"

            driver.call(lambda now: toy.emit(Listen("second", shared, shared=True)))
            assert (await toy.hears(ListenerFailed)).key == "second"

    run(conversation(), loop)


def test_names_match_without_case_and_trailing_dot_and_ip_addresses_match(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a"))
            for number, name in enumerate(["A.Test.", "127.0.0.1"], 1):
                connect(client, at_client, there, TlsClient(name), f"c{number}")
                await client.hears(StreamConnected, number)

    run(conversation())


@pytest.mark.parametrize("loop", LOOPS)
def test_an_authority_that_is_not_trusted(loop: str, keys: KeyStore, strangers: KeyStore) -> None:
    async def conversation() -> None:
        server, client, recorder = Toy(), Toy(), Recorder(keep=True)
        async with (
            driven(server, keystore=strangers, recorder=recorder) as (at_server,),
            driven(client, keystore=keys) as (at_client,),
        ):
            there = await listening(server, at_server, TlsServer("a"))
            connect(client, at_client, there, TlsClient("a.test"))
            assert await client.hears(StreamClosed) == StreamClosed("c", "certificate not trusted")
        assert not server.all(StreamAccepted)
        (refused,) = [e.record for e in recorder.entries if isinstance(e.record, ConnectionClosed)]
        assert refused.reason == "peer does not trust our certificate"

    run(conversation(), loop)


# --- both ends prove who they are -------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("required", [True, False])
def test_a_client_certificate_tells_the_server_its_names(loop: str, required: bool, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a", require_client_certificate=required))
            connect(client, at_client, there, TlsClient("a.test", identity="b"))
            await client.hears(StreamConnected)
            assert (await server.hears(StreamAccepted)).peer == TlsPeer(("b.test", "also-b.test"))

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_an_anonymous_client_is_not_asked_for_its_certificate(loop: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client, keystore=keys) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a", anonymous=True))
            connect(client, at_client, there, TlsClient("a.test", identity="b"))
            await client.hears(StreamConnected)
            assert (await server.hears(StreamAccepted)).peer == TlsPeer()

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_without_the_certificate_that_is_required(loop: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client, recorder = Toy(), Toy(), Recorder(keep=True)
        async with driven(server, client, keystore=keys, recorder=recorder) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a", require_client_certificate=True))
            connect(client, at_client, there, TlsClient("a.test"))
            # TLS 1.3 lets the client finish first, so it may hear of the refusal later (RFC 8446 §4.4.2.4).
            assert (await client.hears(StreamClosed)).reason == "peer wants a client certificate"
        assert not server.all(StreamAccepted)
        reasons = [e.record.reason for e in recorder.entries if isinstance(e.record, ConnectionClosed)]
        assert reasons == ["peer sent no certificate"]

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_certificate_of_another_authority(
    loop: str, ca: DevCa, keys: KeyStore, tmp_path: Path
) -> None:
    async def conversation() -> None:
        other = DevCa.open(tmp_path)
        theirs = KeyStore({"b": other.issue("b", ["b.test"])}, trust=[ca.certificate_path])
        server, client = Toy(), Toy()
        async with (
            driven(server, keystore=keys) as (at_server,),
            driven(client, keystore=theirs) as (at_client,),
        ):
            there = await listening(server, at_server, TlsServer("a", require_client_certificate=True))
            connect(client, at_client, there, TlsClient("a.test", identity="b"))
            assert (await client.hears(StreamClosed)).reason == "peer does not trust our certificate"
            assert not server.all(StreamAccepted)

    run(conversation(), loop)


def test_an_identity_that_is_not_configured_fails_the_one_request(keys: KeyStore) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, keystore=keys) as (driver,):
            driver.call(lambda now: toy.emit(Listen("door", LOOPBACK, TlsServer("nobody"))))
            connect(toy, driver, Address("127.0.0.1", 9), TlsClient("a.test", identity="nobody"))
            words = "no certificate is configured for 'nobody' (there is: a, b, future, old)"
            assert await toy.hears(ListenerFailed) == ListenerFailed("door", words)
            assert await toy.hears(StreamClosed) == StreamClosed("c", words)

    run(conversation())


# --- strangers --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_does_not_finish_the_handshake_is_put_out(loop: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, recorder = Toy(), Recorder(keep=True)
        limits = StreamLimits(handshake_timeout=0.1)
        async with driven(server, keystore=keys, recorder=recorder, limits=limits) as (driver,):
            there = await listening(server, driver, TlsServer("a"))
            reader, writer = await asyncio.open_connection(*there)
            writer.write(b"\x16\x03\x01")
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
            writer.close()
        (refused,) = [e.record for e in recorder.entries if isinstance(e.record, ConnectionClosed)]
        assert refused.reason == "TLS handshake timed out"
        assert refused.stream == "door/1"

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_does_not_speak_tls_is_put_out(loop: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        server, recorder = Toy(), Recorder(keep=True)
        async with driven(server, keystore=keys, recorder=recorder) as (driver,):
            there = await listening(server, driver, TlsServer("a"))
            reader, writer = await asyncio.open_connection(*there)
            writer.write(b"OPTIONS sip:a.test SIP/2.0\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                await reader.read()
            writer.close()
        (refused,) = [e.record for e in recorder.entries if isinstance(e.record, ConnectionClosed)]
        assert refused.reason == "peer does not speak TLS"

    run(conversation(), loop)


def test_a_listener_takes_so_many_and_the_place_of_one_that_left_is_free() -> None:
    async def conversation() -> None:
        server, client, recorder = Toy(), Toy(), Recorder(keep=True)
        options = {"limits": StreamLimits(max_connections=2), "recorder": recorder}
        async with driven(server, client, **options) as (at_server, at_client):
            there = await listening(server, at_server)
            for name in ("one", "two"):
                connect(client, at_client, there, name=name)
            await server.hears(StreamAccepted, 2)
            for name in ("three", "four"):
                connect(client, at_client, there, name=name)
            await client.hears(StreamClosed, 2)
            assert {event.stream for event in client.all(StreamClosed)} == {"three", "four"}

            at_client.call(lambda now: client.emit(CloseStream("one")))
            await server.hears(StreamClosed)
            connect(client, at_client, there, name="five")
            await server.hears(StreamAccepted, 3)
        (note,) = [e.record for e in recorder.entries if isinstance(e.record, Note)]
        assert "2 connections, 0 of them unfinished" in note.text

    run(conversation())


def test_a_process_out_of_descriptors_pauses_accepting_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams_module, "ACCEPT_PAUSE", 0.01)

    async def conversation() -> None:
        toy, recorder = Toy(), Recorder(keep=True)
        async with driven(toy, recorder=recorder) as (driver,):
            there = await listening(toy, driver)
            with socket.socket() as caller:
                caller.setblocking(False)
                before = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free_descriptor(), before[1]))
                try:
                    caller.connect_ex(there)
                    await recorder_hears(recorder, Note)
                    assert not toy.all(StreamAccepted)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, before)
                await toy.hears(StreamAccepted)
        assert "too many open files in this process" in str(recorder.entries[0].record)

    run(conversation())


def _lowest_free_descriptor() -> int:
    number = os.dup(0)
    os.close(number)
    return number


async def recorder_hears(recorder: Recorder, kind: type) -> None:
    """Let the loop turn until a record of this kind is there; each turn waits for whatever comes next."""
    async with asyncio.timeout(PATIENCE):
        while not any(isinstance(entry.record, kind) for entry in recorder.entries):
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.001, turn.set_result, None)
            await turn


def test_unfinished_handshakes_have_a_limit_of_their_own(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        limits = StreamLimits(max_handshakes=1)
        async with driven(server, client, keystore=keys, limits=limits) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a"))
            reader, writer = await asyncio.open_connection(*there)
            connect(client, at_client, there, TlsClient("a.test"), "turned away")
            await client.hears(StreamClosed)

            writer.close()
            async with asyncio.timeout(PATIENCE):
                await reader.read()
            while not server.all(StreamAccepted):
                answers = len(client.heard)
                connect(client, at_client, there, TlsClient("a.test"), f"try {answers}")
                await client.until(lambda before=answers: len(client.heard) > before)

    run(conversation())


def test_one_site_cannot_use_up_the_handshakes_of_all(keys: KeyStore) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        limits = StreamLimits(max_handshakes_per_site=2)
        async with driven(server, client, keystore=keys, limits=limits) as (at_server, at_client):
            there = await listening(server, at_server, TlsServer("a"))
            idle: list[asyncio.StreamWriter] = []

            async def waits_at_the_door() -> None:
                reader, writer = await asyncio.open_connection(*there, local_addr=("127.0.0.66", 0))
                idle.append(writer)
                if len(idle) > 2:
                    await reader.read()

            await waits_at_the_door()
            await waits_at_the_door()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(waits_at_the_door(), PATIENCE)
            connect(client, at_client, there, TlsClient("a.test"), "somebody else")
            await client.hears(StreamConnected)
            for writer in idle:
                writer.close()

    run(conversation())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
def test_a_peer_that_does_not_read_is_reported_then_put_out(loop: str, secure: bool, keys: KeyStore) -> None:
    async def conversation() -> None:
        toy = Toy()
        limits = StreamLimits(congestion_mark=10_000, send_buffer=20_000_000)
        async with driven(toy, keystore=keys, limits=limits) as (driver,):
            there = await listening(toy, driver, TlsServer("a") if secure else None)
            context = keys.client_context(TlsClient("a.test")) if secure else None
            reader, writer = await asyncio.open_connection(*there, ssl=context)
            await toy.hears(StreamAccepted)

            driver.call(lambda now: toy.emit(SendStream("door/1", bytes(10_000_000))))
            assert await toy.hears(StreamCongested) == StreamCongested("door/1", True)
            async with asyncio.timeout(PATIENCE):
                assert len(await reader.readexactly(10_000_000)) == 10_000_000
            assert await toy.hears(StreamCongested, 2) == StreamCongested("door/1", False)

            driver.call(lambda now: toy.emit(SendStream("door/1", bytes(30_000_000))))
            assert await toy.hears(StreamClosed) == StreamClosed("door/1", "peer reads too slowly")
            writer.transport.abort()

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_leaves_without_taking_what_waits_is_not_waited_for(loop: str) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, limits=StreamLimits(linger=0.05)) as (driver,):
            there = await listening(toy, driver)
            with socket.create_connection(there) as peer:
                await toy.hears(StreamAccepted)
                driver.call(lambda now: toy.emit(SendStream("door/1", bytes(7_000_000))))
                peer.shutdown(socket.SHUT_WR)
                assert await toy.hears(StreamClosed) == StreamClosed("door/1", "closed by peer")

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_leaves_in_the_middle_of_the_handshake(loop: str, keys: KeyStore) -> None:
    async def conversation() -> None:
        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write_eof()
            await reader.read()
            writer.close()

        toy = Toy()
        async with (
            driven(toy, keystore=keys) as (driver,),
            await asyncio.start_server(leave, *LOOPBACK) as server,
        ):
            there = Address(*server.sockets[0].getsockname())
            connect(toy, driver, there, TlsClient("a.test"))
            # Said before the connection is up: lost, not a crash.
            driver.call(lambda now: toy.emit(SendStream("c", b"too early")))
            assert await toy.hears(StreamClosed) == StreamClosed(
                "c", "closed by peer during the TLS handshake"
            )

    run(conversation(), loop)


# --- ends -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_giving_up_a_pending_connect_is_immediate(loop: str) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):

            def change_of_mind(now: float) -> None:
                toy.emit(Connect("c", Address("127.0.0.1", 9)))
                toy.emit(CloseStream("c"))

            driver.call(change_of_mind)
            assert toy.all(StreamClosed) == [StreamClosed("c", "closed by us")]
            # The name is free again, and the old attempt says nothing about it any more.
            there = await listening(toy, driver)
            connect(toy, driver, there)
            await toy.hears(StreamConnected)
            assert len(toy.all(StreamClosed)) == 1

    run(conversation(), loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
def test_giving_up_during_the_handshake(loop: str, secure: bool, keys: KeyStore) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, keystore=keys) as (driver,):
            accepted = asyncio.Event()
            over: list[bytes] = []

            async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                accepted.set()
                over.append(await reader.read())
                writer.close()
                accepted.set()

            server = await asyncio.start_server(silent, *LOOPBACK)
            async with server, asyncio.timeout(PATIENCE):
                there = Address(*server.sockets[0].getsockname())
                connect(toy, driver, there, TlsClient("a.test") if secure else None)
                await accepted.wait()
                accepted.clear()
                driver.call(lambda now: toy.emit(CloseStream("c", abort=True)))
                await toy.hears(StreamClosed)
                await accepted.wait()
            assert toy.all(StreamClosed) == [StreamClosed("c", "closed by us")]

    run(conversation(), loop)


def test_aborting_throws_away_what_was_sent() -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server, client) as (at_server, at_client):
            there = await listening(server, at_server)
            connect(client, at_client, there)
            await server.hears(StreamAccepted)

            def slam(now: float) -> None:
                client.emit(SendStream("c", bytes(50_000_000 // 8)))
                client.emit(CloseStream("c", abort=True))

            at_client.call(slam)
            await client.hears(StreamClosed)
            await server.hears(StreamClosed)
            assert sum(len(event.data) for event in server.all(StreamReceived)) < 50_000_000 // 8

    run(conversation())


def test_a_closed_listener_keeps_its_connections_and_refuses_new_ones() -> None:
    async def conversation() -> None:
        server, client = Toy(echo), Toy()
        async with driven(server, client) as (at_server, at_client):
            there = await listening(server, at_server)
            connect(client, at_client, there, name="old")
            await server.hears(StreamAccepted)
            at_server.call(lambda now: server.emit(CloseListener("door")))
            connect(client, at_client, there, name="new")
            assert await client.hears(StreamClosed) == StreamClosed("new", "connection refused")
            at_client.call(lambda now: client.emit(SendStream("old", b"still here")))
            assert (await client.hears(StreamReceived)).data == b"STILL HERE"

    run(conversation())


def test_a_port_in_use_and_a_key_in_use() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            there = await listening(toy, driver)
            driver.call(lambda now: toy.emit(Listen("second", there)))
            driver.call(lambda now: toy.emit(Listen("door", LOOPBACK)))
            assert toy.all(ListenerFailed) == [
                ListenerFailed("second", f"port {there.port} on 127.0.0.1 is in use"),
                ListenerFailed("door", "this listener is open already"),
            ]

    run(conversation())


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Sockets left open turn into errors here, not in whichever test collects them."""
    import gc

    yield
    gc.collect()
