"""Reflexive candidates over TCP: what is asked of a server, and what a server may do to us."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    AddressesChanged,
    Answer,
    CloseStream,
    Connect,
    Resolve,
    Resolved,
    SendStream,
    StreamClosed,
    StreamConnected,
    StreamReceived,
)
from iceway.ice.candidate import serialize
from iceway.ice.config import IceServer, Policy, ServerKind
from iceway.ice.events import GatheringDone
from iceway.trace import records
from iceway.wire import stun
from iceway.wire.stun import MessageClass
from tests.ice.test_tcp import IP, Seat

SERVER = Address("198.51.100.2", 3478)
STUN = IceServer(ServerKind.STUN, transport=Transport.TCP, address=SERVER)


class Asker(Seat):
    """A seat that was told of a STUN server over TCP."""

    def __init__(self, server: IceServer = STUN, **config: object) -> None:
        super().__init__(**config)
        self.agent.add_servers((server,), self.now)
        self.settle()

    def asks(self) -> list[Connect]:
        return [output for output in self.saw(Connect) if output.remote == SERVER and output.local_port]

    def connects(self, connect: Connect) -> bytes:
        """The server takes the connection; what it is asked."""
        self.gives(StreamConnected(connect.stream, Address(IP, connect.local_port), SERVER))
        (asked,) = self.sent(connect.stream)
        return asked

    def sent(self, stream: str) -> list[bytes]:
        return [output.data for output in self.saw(SendStream) if output.stream == stream]

    def answers(self, connect: Connect, mapped: Address) -> None:
        request = stun.parse(self.connects(connect))
        answer = stun.success_response(request, stun.XOR_MAPPED_ADDRESS(mapped))
        self.gives(StreamReceived(connect.stream, stun.serialize(answer)))

    def reflexive(self) -> list[str]:
        found = [serialize(c) for c in self.agent.local_candidates if c.type == "srflx"]
        return [text.split(" ", 4)[4] for text in found]


def test_each_listener_asks_from_its_own_port_in_bare_stun() -> None:
    seat = Asker()
    passive, so = seat.asks()
    assert [(c.local_ip, c.local_port) for c in (passive, so)] == [seat.base("passive"), seat.base("so")]
    request = stun.parse(seat.connects(so))
    assert (request.method, request.message_class) == (stun.Method.BINDING, MessageClass.REQUEST)
    assert request.get(stun.USERNAME) is None


def test_a_server_may_have_a_name() -> None:
    seat = Asker(IceServer(ServerKind.STUN, host="stun.example.test", transport=Transport.TCP))
    (resolve,) = seat.saw(Resolve)
    assert (resolve.name, resolve.record_type) == ("stun.example.test", "A")
    assert not seat.asks()
    seat.gives(Resolved(resolve.key, resolve.name, "A", (Answer(SERVER.ip),)))
    assert len(seat.asks()) == 2


def test_the_answer_is_a_candidate_and_gathering_waits_for_it() -> None:
    seat = Asker()
    seat.runs(0.1)
    done = len(seat.saw(GatheringDone))
    passive, so = seat.asks()
    seat.answers(passive, Address("198.51.100.77", 6001))
    assert len(seat.saw(GatheringDone)) == done
    seat.answers(so, Address("198.51.100.77", 6002))
    assert len(seat.saw(GatheringDone)) == done + 1
    assert seat.reflexive() == [
        "198.51.100.77 6001 typ srflx raddr 203.0.113.1 rport 7000 tcptype passive",
        "198.51.100.77 6002 typ srflx raddr 203.0.113.1 rport 7001 tcptype so",
    ]
    assert {r.server for r in seat.saw(records.ServerAnswered)} == {STUN.label}


def test_without_a_nat_the_answer_only_repeats_the_host() -> None:
    seat = Asker()
    for connect in seat.asks():
        seat.answers(connect, Address(IP, connect.local_port))
    assert seat.reflexive() == []
    assert len(seat.saw(records.CandidatePruned)) == 2


def test_the_mapping_is_kept_awake_until_it_is_not_needed() -> None:
    seat = Asker(keepalive=15.0)
    _, so = seat.asks()
    seat.answers(so, Address("198.51.100.77", 6002))
    seat.runs(46)
    later = [stun.parse(data) for data in seat.sent(so.stream)[1:]]
    assert [m.message_class for m in later] == [MessageClass.INDICATION] * 3
    seat.agent.close(seat.now)
    seat.settle()
    assert CloseStream(so.stream, abort=True) in seat.outputs
    assert seat.agent.poll_timeout() is None


def test_a_candidate_survives_that_its_server_hangs_up() -> None:
    seat = Asker()
    _, so = seat.asks()
    seat.answers(so, Address("198.51.100.77", 6002))
    seat.gives(StreamClosed(so.stream, "closed by peer"))
    assert len(seat.reflexive()) == 1
    assert not seat.saw(records.ServerUnreachable)


def test_a_server_that_does_not_answer_holds_gathering_up_for_ten_seconds_at_most() -> None:
    seat = Asker()
    passive, so = seat.asks()
    done = len(seat.saw(GatheringDone))
    seat.gives(StreamClosed(passive.stream, "connection refused"))
    seat.connects(so)
    seat.runs(9.9)
    assert len(seat.saw(GatheringDone)) == done
    seat.runs(0.2)
    assert len(seat.saw(GatheringDone)) == done + 1
    assert [r.detail for r in seat.saw(records.ServerUnreachable)] == [
        "connection refused",
        "no answer over TCP in 10 s",
    ]


def test_a_relays_own_client_says_what_is_wrong_with_it() -> None:
    relay = IceServer(ServerKind.TURN, transport=Transport.TCP, address=SERVER, username="u", password="p")
    seat = Asker(relay)
    for connect in seat.asks():
        seat.gives(StreamClosed(connect.stream, "connection refused"))
    assert not seat.saw(records.ServerUnreachable)


def test_no_relay_still_asks_a_relay_for_our_address() -> None:
    relay = IceServer(ServerKind.TURN, transport=Transport.TCP, address=SERVER, username="u", password="p")
    seat = Asker(relay, policy=Policy.NO_RELAY)
    seat.runs(1)
    assert len(seat.asks()) == 2
    assert len(seat.saw(Connect)) == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x01\x01\xff\xff" + bytes(16),
        b"\x01\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        b"\x01\x01\x00\x04\x21\x12\xa4\x42" + bytes(12) + b"\x00\x20\x00\x40",
    ],
)
def test_what_is_no_answer_ends_the_connection(said: bytes) -> None:
    seat = Asker()
    _, so = seat.asks()
    seat.connects(so)
    seat.gives(StreamReceived(so.stream, said))
    assert CloseStream(so.stream, abort=True) in seat.outputs
    assert seat.reflexive() == []
    assert seat.saw(records.ServerUnreachable)


def test_what_a_server_says_after_its_answer_is_not_heard() -> None:
    seat = Asker()
    _, so = seat.asks()
    seat.answers(so, Address("198.51.100.77", 6002))
    seat.gives(StreamReceived(so.stream, b"anything" * 1000))
    assert len(seat.reflexive()) == 1
    assert CloseStream(so.stream, abort=True) not in seat.outputs


def test_an_interface_that_leaves_takes_its_questions_along_and_a_restart_asks_anew() -> None:
    seat = Asker()
    before = seat.asks()
    seat.answers(before[0], Address("198.51.100.77", 6001))
    seat.agent.restart(seat.now)
    seat.settle()
    assert seat.asks() == before, "both connections are still there"
    seat.gives(AddressesChanged(("203.0.113.9",)))
    assert {CloseStream(connect.stream, abort=True) for connect in before} <= set(seat.saw(CloseStream))
    assert {connect.local_ip for connect in seat.asks()[2:]} == {"203.0.113.9"}
    assert seat.reflexive() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_of_a_server_bring_the_agent_down(pieces: list[bytes]) -> None:
    seat = Asker()
    _, so = seat.asks()
    seat.connects(so)
    for piece in pieces:
        seat.gives(StreamReceived(so.stream, piece))
    seat.runs(30)
    assert seat.reflexive() == []
