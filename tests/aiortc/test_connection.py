"""The contract that aiortc counts on, and what aioice gets wrong about it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress

import aioice
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from iceway.aiortc import Connection
from iceway.aiortc.connection import MAX_UNREAD
from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.io.recorder import Recorder
from iceway.trace.entry import Entry
from iceway.trace.records import PairSelected
from iceway.turn.server import TurnServer
from tests.aiortc.harness import HERE, QUICK, connect, introduce, pair, relay, settings, silent_server


def turn(address: Address, transport: Transport = Transport.UDP, password: str = "secret") -> IceServer:
    return IceServer(
        ServerKind.TURN,
        username="user",
        password=password,
        transport=transport,
        host=address.ip,
        port=address.port,
    )


async def empty(server: TurnServer) -> None:
    async with asyncio.timeout(3):
        while server.allocations:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


def test_two_connections_talk() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            await connect(alice, bob)
            await alice.send(b"hello")
            assert await bob.recv() == b"hello"
            await bob.send(b"hello back")
            assert await alice.recv() == b"hello back"
            assert (alice.ice_controlling, bob.ice_controlling) == (True, False)
            assert alice.path is not None
            assert bob.path is not None
            assert alice.path.local.address == bob.path.remote.address

    asyncio.run(run())


def test_user_name_and_password_may_be_given() -> None:
    """aiortc gives those of the first medium to all others, which may be bundled with it."""

    async def run() -> None:
        async with pair() as (_, bob):
            alice = Connection(
                True, local_username="ours", local_password="a-password-of-22-bytes", settings=settings()
            )
            await connect(alice, bob)
            assert (bob.remote_username, bob.remote_password) == ("ours", "a-password-of-22-bytes")
            await alice.close()

    asyncio.run(run())


def test_two_of_one_role_settle_it() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            bob.ice_controlling = True
            await connect(alice, bob)
            assert alice.ice_controlling != bob.ice_controlling

    asyncio.run(run())


def test_candidates_of_the_peer_are_kept_as_given_and_may_come_before_gathering() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            await bob.gather_candidates()
            alice.remote_username, alice.remote_password = bob.local_username, bob.local_password
            given = bob.local_candidates
            for candidate in given:
                await alice.add_remote_candidate(candidate)
            await alice.add_remote_candidate(None)
            assert alice.remote_candidates == given
            with pytest.raises(ValueError, match="end-of-candidates"):
                await alice.add_remote_candidate(given[0])
            await introduce(bob, alice)
            await asyncio.gather(alice.connect(), bob.connect())

    asyncio.run(run())


def test_a_candidate_that_makes_no_sense_is_ignored_and_told_of() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            await bob.gather_candidates()
            await bob.add_remote_candidate(aioice.Candidate("1", 1, "udp", 1, "nowhere", 9, "host"))
            await bob.add_remote_candidate(aioice.Candidate("1", 1, "warp", 1, HERE, 9, "host"))
            await connect(alice, bob)
            assert "a candidate of the peer is ignored: 'nowhere'" in bob.why()
            assert "a candidate of the peer is ignored: 'warp'" in bob.why()

    asyncio.run(run())


@settings_of_hypothesis(max_examples=40)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20), st.integers(), st.text(max_size=20))
def test_no_candidate_can_do_harm(foundation: str, host: str, transport: str, port: int, type: str) -> None:
    async def run() -> None:
        async with pair() as (alice, _):
            await alice.gather_candidates()
            await alice.add_remote_candidate(
                aioice.Candidate(foundation, 1, transport, 1, host, port, type, host, port)
            )
            assert len(alice.remote_candidates) == 1

    asyncio.run(run())


def test_a_path_over_tcp_where_there_is_no_other() -> None:
    async def run() -> None:
        async with pair(agent=AgentConfig(controlling=False, tcp=True)) as (alice, bob):
            await asyncio.gather(alice.gather_candidates(), bob.gather_candidates())
            for one, other in ((alice, bob), (bob, alice)):
                one.remote_username, one.remote_password = other.local_username, other.local_password
                streams = [candidate for candidate in other.local_candidates if candidate.transport == "tcp"]
                assert {candidate.tcptype for candidate in streams} >= {"active", "passive"}
                for candidate in streams:
                    await one.add_remote_candidate(candidate)
                await one.add_remote_candidate(None)
            await asyncio.gather(alice.connect(), bob.connect())
            await alice.send(b"over TCP")
            assert await bob.recv() == b"over TCP"
            assert alice.path is not None
            assert alice.path.local.transport is Transport.TCP

    asyncio.run(run())


def test_the_answerer_waits_until_the_offerer_has_its_answer() -> None:
    """Bob's checks are answered before Alice knows who he is; data would not be understood yet."""

    async def run() -> None:
        async with pair() as (alice, bob):
            await introduce(bob, alice)
            connecting = asyncio.create_task(bob.connect())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(connecting), 0.3)
            await introduce(alice, bob)
            await asyncio.gather(alice.connect(), connecting)

    asyncio.run(run())


def test_a_cancelled_recv_loses_nothing() -> None:
    """aiortc wraps it in `wait_for`, whose end may come at the same moment as the data."""

    async def run() -> None:
        async with pair() as (alice, bob):
            await connect(alice, bob)
            heard: list[bytes] = []
            for number in range(200):
                await alice.send(b"%d" % number)
                with suppress(TimeoutError):
                    heard.append(await asyncio.wait_for(bob.recv(), 0.0001))
            heard += [await bob.recv() for _ in range(200 - len(heard))]
            assert heard == [b"%d" % number for number in range(200)]

    asyncio.run(run())


def received(connection: Connection) -> int:
    """Packets so far, on all paths."""
    pairs = (entry for entry in connection.statistics().values() if entry["type"] == "candidate-pair")
    return sum(int(entry["packetsReceived"]) for entry in pairs)  # type: ignore[call-overload]


def test_datagrams_of_nothing_are_dropped_and_unread_ones_are_bounded() -> None:
    """aiortc looks at the first byte of what it receives: none at all ends its reader."""

    async def run() -> None:
        async with pair() as (alice, bob):
            await connect(alice, bob)
            await alice.send(b"")
            for _ in range(MAX_UNREAD + 100):
                await alice.send(b"x")
                await asyncio.sleep(0)
            async with asyncio.timeout(3):
                while received(bob) < MAX_UNREAD + 1:  # noqa: ASYNC110 - what is dropped is told to nobody
                    await asyncio.sleep(0.01)
            assert len(bob._unread) == MAX_UNREAD
            assert set(bob._unread) == {b"x"}

    asyncio.run(run())


def test_out_of_order_calls_raise_what_aiortc_expects() -> None:
    async def run() -> None:
        async with pair() as (alice, _):
            with pytest.raises(ConnectionError, match="gathering was not performed"):
                await alice.connect()
            with pytest.raises(ConnectionError, match="not connected"):
                await alice.recv()
            with pytest.raises(ConnectionError, match="not connected"):
                await alice.send(b"x")
            await alice.gather_candidates()
            with pytest.raises(ConnectionError, match="username or password is missing"):
                await alice.connect()
            await alice.close()
            await alice.gather_candidates()
            await alice.close()
            with pytest.raises(ConnectionError, match="closed"):
                await alice.send(b"x")
            assert alice.local_candidates == []

    asyncio.run(run())


def test_failure_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with pair(agent=QUICK) as (alice, bob), relay(Transport.UDP) as (_, (place,)):
            alice.servers = (turn(place, password="wrong"),)
            await introduce(alice, bob)
            await bob.close()
            with pytest.raises(ConnectionError, match=r"none of \d+ pairs? worked .*401"):
                await alice.connect()
            told = alice.why()
            assert told.startswith("state: failed: none of")
            assert f"turn:{place}?transport=udp: refused with 401" in told
            assert re.search(r"→ host 127\.0\.0\.1:\d+: no answer to \d+ checks", told)

    with caplog.at_level(logging.WARNING, "iceway.aiortc"):
        asyncio.run(run())
    assert [record.getMessage()[:12] for record in caplog.records] == ["ICE failed: "]
    assert "secret" not in caplog.text


def test_closed_is_told_once_whoever_asks_and_whenever() -> None:
    """aioice forgets the event when nobody waits for it, and whoever asks in a loop then spins for ever."""

    async def run() -> None:
        async with pair() as (alice, bob):
            waiting = asyncio.create_task(alice.get_event())
            await asyncio.sleep(0)
            await alice.close()
            await bob.close()
            assert isinstance(await waiting, aioice.ConnectionClosed)
            assert await alice.get_event() is None
            assert isinstance(await bob.get_event(), aioice.ConnectionClosed)
            assert await bob.get_event() is None

    asyncio.run(run())


def test_a_path_that_dies_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Bob is gone without a word: consent runs out, and what waits for data hears of it."""
    mortal = AgentConfig(controlling=False, consent_interval=0.05, consent_expiry=0.3)
    selected: list[Entry] = []

    async def run() -> None:
        def heard(entry: Entry) -> None:
            if isinstance(entry.record, PairSelected) and not entry.record.early:
                selected.append(entry)
                if len(selected) == 2:
                    both.set()

        both = asyncio.Event()
        async with pair(agent=mortal, recorder=Recorder(listeners=(heard,))) as (alice, bob):
            await connect(alice, bob)
            await both.wait()
            closed = asyncio.create_task(alice.get_event())
            reading = asyncio.create_task(alice.recv())
            await asyncio.sleep(0)
            await bob.close()
            assert isinstance(await closed, aioice.ConnectionClosed)
            with pytest.raises(ConnectionError, match="the peer stopped answering"):
                await reading

    with caplog.at_level(logging.WARNING, "iceway.aiortc"):
        asyncio.run(run())
    assert "ICE failed" in caplog.text


def test_close_while_connecting() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            await introduce(alice, bob)
            connecting = asyncio.create_task(alice.connect())
            await asyncio.sleep(0)
            await alice.close()
            with pytest.raises(ConnectionError, match="the connection is closed"):
                await connecting

    asyncio.run(run())


def test_a_dead_server_holds_up_gathering_for_two_seconds_and_closing_not_at_all() -> None:
    """aioice: 5 s of gathering, and 63 s of closing if the relay died meanwhile."""

    async def run() -> None:
        with silent_server() as hole:
            async with pair() as (alice, bob):
                alice.servers = (turn(Address(*hole)),)
                began = time.monotonic()
                await connect(alice, bob)
                assert time.monotonic() - began < 3
                began = time.monotonic()
                await alice.close()
                assert time.monotonic() - began < 0.5

    asyncio.run(run())


def test_all_servers_are_used_and_relays_are_given_back() -> None:
    async def run() -> None:
        async with (
            relay(Transport.UDP, Transport.TCP) as (one, (udp, tcp)),
            relay(Transport.UDP) as (other, (far,)),
            pair() as (alice, bob),
        ):
            alice.servers = (turn(udp), turn(tcp, Transport.TCP), turn(far))
            await connect(alice, bob)
            kinds = [candidate.type for candidate in alice.local_candidates]
            assert kinds.count("relay") == 3
            assert (len(one.allocations), len(other.allocations)) == (2, 1)
            await alice.close()
            await empty(one)
            await empty(other)

    asyncio.run(run())


def test_only_relays_with_the_relay_policy() -> None:
    async def run() -> None:
        async with relay(Transport.UDP) as (_, (udp,)), pair() as (_, bob):
            alice = Connection(
                True,
                turn_server=(udp.ip, udp.port),
                turn_username="user",
                turn_password="secret",
                transport_policy=aioice.TransportPolicy.RELAY,
                settings=settings(),
            )
            await connect(alice, bob)
            assert [candidate.type for candidate in alice.local_candidates] == ["relay"]
            assert alice.path is not None
            assert alice.path.local.type == "relay"
            await alice.close()

    asyncio.run(run())


def test_candidates_are_announced_as_they_are_found() -> None:
    async def run() -> None:
        with silent_server() as hole:
            async with relay(Transport.UDP) as (_, (udp,)), pair() as (alice, _):
                alice.servers = (turn(Address(*hole)), turn(udp))
                found: asyncio.Queue[aioice.Candidate] = asyncio.Queue()
                alice.on_candidate = found.put_nowait
                began = time.monotonic()
                await alice.gather_candidates()
                assert time.monotonic() - began < 0.5
                assert (await found.get()).type == "host"
                assert (await found.get()).type == "relay"

    asyncio.run(run())


def test_statistics_and_trace() -> None:
    async def run() -> None:
        async with pair() as (alice, bob):
            assert alice.statistics() == {}
            await connect(alice, bob)
            kinds = {entry["type"] for entry in alice.statistics().values()}
            assert kinds == {"transport", "candidate-pair", "local-candidate", "remote-candidate"}
            assert {type(entry.record).__name__ for entry in alice.trace} >= {"PairSucceeded", "StunSent"}

    asyncio.run(run())


def test_what_cannot_be_a_server_is_said_at_once() -> None:
    with pytest.raises(UsageError):
        Connection(True, stun_server=("", 3478))
