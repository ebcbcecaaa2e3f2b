"""Candidates over TCP: what is asked of the host, what strangers can do, what ends with a connection."""

from __future__ import annotations

import random
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    CloseListener,
    CloseStream,
    Connect,
    Listen,
    ListenerFailed,
    ListenerOpened,
    OpenUdp,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    UdpOpened,
)
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, parse, serialize
from iceway.ice.config import AgentConfig, Policy
from iceway.ice.events import DataReceived, Failed, GatheringDone, RestartNeeded, Selected
from iceway.ice.tcp import MAX_ACCEPTED, MAX_ACCEPTED_PER_SITE, Framer, frame
from iceway.trace import records
from iceway.wire import stun

IP, PEER = "203.0.113.1", Address("203.0.113.2", 6000)
TRANSIENT = Address("203.0.113.2", 50123)


class Seat:
    """One agent, and the host around it played by the test."""

    def __init__(self, seed: int = 1, *, port: int = 7000, udp_port: int = 5000, **config: object) -> None:
        self.now = 100.0
        config = {"controlling": True, "tcp": True} | config
        self.agent = Agent(f"seat{seed}", AgentConfig(**config), random.Random(seed))
        self.outputs: list[object] = []
        self.ports = count(port)
        self.udp_ports = count(udp_port)
        self.listeners: dict[Address, str] = {}
        self.agent.gather((IP,), (), self.now)
        self.settle()

    def settle(self) -> None:
        while (output := self.agent.poll_output()) is not None:
            self.outputs.append(output)
            match output:
                case OpenUdp(key=key, local=local):
                    self.gives(UdpOpened(key, Address(local.ip, next(self.udp_ports))))
                case Listen(key=key, local=local):
                    opened = Address(local.ip, local.port or next(self.ports))
                    self.listeners[opened] = key
                    self.gives(ListenerOpened(key, opened))

    def gives(self, event: object) -> None:
        self.agent.handle_input(event, self.now)
        self.settle()

    def runs(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.agent.poll_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.agent.handle_timeout(self.now)
            self.settle()
        self.now = end

    def meets(self, *candidates: Candidate) -> None:
        self.agent.set_remote("peer", "p" * 24, self.now)
        for candidate in candidates:
            self.agent.add_remote_candidate(candidate, self.now)
        self.agent.end_of_remote_candidates(self.now)
        self.settle()

    def saw(self, kind: type) -> list:
        return [output for output in self.outputs if isinstance(output, kind)]

    def base(self, kind: str) -> Address:
        """Where the host candidate of this `tcptype` is."""
        found = (c for c in self.agent.local_candidates if (c.tcp_type, c.type) == (kind, "host"))
        return next(found).address

    @property
    def listener(self) -> str:
        return self.listeners[self.base("passive")]

    def accepts(self, remote: Address = TRANSIENT, name: str = "1", kind: str = "passive") -> str:
        local = self.base(kind)
        stream = f"{self.listeners[local]}/{name}"
        self.gives(StreamAccepted(stream, self.listeners[local], local, remote))
        return stream

    def sent_on(self, stream: str) -> list[bytes]:
        data = b"".join(output.data for output in self.saw(SendStream) if output.stream == stream)
        return list(Framer().feed(data))


def passive(priority: int = 1000) -> Candidate:
    return parse(f"1 1 TCP {priority} {PEER.ip} {PEER.port} typ host tcptype passive")


def check(seat: Seat, *, nominate: bool = False, controlling: bool = True) -> bytes:
    role = stun.ICE_CONTROLLING if controlling else stun.ICE_CONTROLLED
    attributes = [
        stun.USERNAME(f"{seat.agent.local_ufrag}:peer".encode()),
        stun.PRIORITY(77),
        role(5),
    ]
    if nominate:
        attributes.append(stun.USE_CANDIDATE(True))
    request = stun.StunMessage(stun.Method.BINDING, stun.MessageClass.REQUEST, b"q" * 12, tuple(attributes))
    return stun.serialize(request, stun.short_term_key(seat.agent.local_pwd), fingerprint=True)


def answer(request: bytes, mapped: Address) -> bytes:
    said = stun.success_response(stun.parse(request), stun.XOR_MAPPED_ADDRESS(mapped))
    return stun.serialize(said, stun.short_term_key("p" * 24), fingerprint=True)


def requests(packets: list[bytes]) -> list[bytes]:
    return [p for p in packets if stun.parse(p).message_class is stun.MessageClass.REQUEST]


# --- gathering -------------------------------------------------------------------------------------------
def test_an_interface_listens_and_can_connect() -> None:
    seat = Seat()
    assert [serialize(c).split(" ", 1)[1] for c in seat.agent.local_candidates] == [
        "1 UDP 2130706431 203.0.113.1 5000 typ host",
        "1 TCP 1524629503 203.0.113.1 9 typ host tcptype active",
        "1 TCP 1520435199 203.0.113.1 7000 typ host tcptype passive",
        "1 TCP 1516240895 203.0.113.1 7001 typ host tcptype so",
    ]
    assert seat.saw(GatheringDone)
    assert seat.agent.default_candidate().transport == "udp"


def test_nothing_of_it_unless_it_is_asked_for() -> None:
    for config in ({"tcp": False}, {"policy": Policy.RELAY}):
        seat = Seat(**config)
        seat.meets(passive())
        seat.runs(5)
        assert not seat.saw(Listen) + seat.saw(Connect)


def test_a_lite_agent_only_listens() -> None:
    seat = Seat(lite=True, controlling=False)
    assert [c.tcp_type for c in seat.agent.local_candidates] == [None, "passive"]


def test_a_port_that_udp_has_is_not_used_for_tcp() -> None:
    seat = Seat(port=5000, tcp_types=("active", "passive"))
    first, second = seat.saw(Listen)
    assert CloseListener(first.key) in seat.outputs
    assert seat.agent.local_candidates[-1].address == Address(IP, 5001)
    assert second.key != first.key


def test_listeners_stay_within_the_range_of_ports() -> None:
    seat = Seat(ports=(7000, 7002), udp_port=7000)
    assert {request.local.port for request in seat.saw(Listen)} == {7000, 7001, 7002}
    found = [(c.tcp_type, c.address.port) for c in seat.agent.local_candidates]
    assert found == [(None, 7000), ("active", 9), ("passive", 7001), ("so", 7002)]


def test_where_nothing_may_listen_connecting_is_left() -> None:
    agent = Agent("deaf", AgentConfig(True, tcp=True, ports=(7000, 7001)), random.Random(1))
    agent.gather((IP,), (), 0.0)
    outputs = []
    while (output := agent.poll_output()) is not None:
        outputs.append(output)
        match output:
            case OpenUdp(key=key):
                agent.handle_input(UdpOpened(key, Address(IP, 7000)), 0.0)
            case Listen(key=key):
                agent.handle_input(ListenerFailed(key, "permission denied"), 0.0)
    assert [c.tcp_type for c in agent.local_candidates] == [None, "active"]
    assert [output.text for output in outputs if isinstance(output, records.Note)] == [
        "no passive candidate over TCP: permission denied",
        "no so candidate over TCP: permission denied",
    ]
    assert any(isinstance(output, GatheringDone) for output in outputs)


def test_components_and_tcp_do_not_go_together() -> None:
    with pytest.raises(UsageError):
        AgentConfig(True, components=2, tcp=True)


# --- the active side -------------------------------------------------------------------------------------
def test_a_check_opens_the_connection_and_is_sent_once() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    assert (connect.remote, connect.local_ip) == (PEER, IP)
    assert not seat.saw(SendStream)
    seat.gives(StreamConnected(connect.stream, Address(IP, 40123), PEER))
    (request,) = seat.sent_on(connect.stream)
    seat.runs(30)
    assert seat.sent_on(connect.stream) == [request], "TCP repeats by itself"
    sent = [r for r in seat.saw(records.StunSent) if r.remote == PEER]
    assert {r.transport for r in sent} == {"tcp"}


def test_the_path_is_the_hosts_own_when_nothing_translates() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.gives(StreamConnected(connect.stream, Address(IP, 40123), PEER))
    seat.gives(
        StreamReceived(connect.stream, frame(answer(seat.sent_on(connect.stream)[0], Address(IP, 40123))))
    )
    seat.runs(1)
    nomination = requests(seat.sent_on(connect.stream))[-1]
    assert stun.parse(nomination).get(stun.USE_CANDIDATE)
    seat.gives(StreamReceived(connect.stream, frame(answer(nomination, Address(IP, 40123)))))
    (selected,) = seat.saw(Selected)
    assert (selected.path.local.type, selected.path.local.address) == ("host", Address(IP, 40123))
    assert seat.agent.send(b"\xffmedia", seat.now)
    seat.gives(StreamCongested(connect.stream, True))
    assert seat.agent.send(b"\xfflost", seat.now)
    seat.gives(StreamCongested(connect.stream, False))
    assert seat.agent.send(b"\xffmore", seat.now)
    seat.settle()
    assert seat.sent_on(connect.stream)[-2:] == [b"\xffmedia", b"\xffmore"]
    seat.gives(StreamReceived(connect.stream, frame(b"\xffhi")[:3]))
    seat.gives(StreamReceived(connect.stream, frame(b"\xffhi")[3:]))
    assert [event.data for event in seat.saw(DataReceived)] == [b"\xffhi"]
    seat.gives(StreamClosed(connect.stream, "closed by peer"))
    assert seat.saw(Failed)[0].reason == "the TCP connection ended: closed by peer"
    assert not seat.agent.send(b"?", seat.now)


def test_a_refused_connection_fails_its_pair_with_the_cause() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.gives(StreamClosed(connect.stream, "connection refused"))
    (failed,) = seat.saw(records.PairFailed)
    assert failed.reason == "the TCP connection ended: connection refused"


def test_a_connection_that_never_comes_up_is_given_up() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(11)
    (connect,) = seat.saw(Connect)
    assert CloseStream(connect.stream, abort=True) in seat.outputs
    (failed,) = seat.saw(records.PairFailed)
    assert failed.reason == "no TCP connection after 10 s"


def test_active_candidates_of_the_peer_are_nothing_to_connect_to() -> None:
    seat = Seat()
    seat.meets(parse("1 1 TCP 9 203.0.113.2 9 typ host tcptype active"))
    seat.runs(1)
    assert not seat.saw(Connect)
    (pruned,) = seat.saw(records.CandidatePruned)
    assert pruned.reason == "nobody listens there; the peer connects to us if it can"


def test_the_same_address_over_udp_is_another_candidate() -> None:
    seat = Seat()
    seat.meets(passive(), parse(f"2 1 UDP 2000 {PEER.ip} {PEER.port} typ host"))
    seat.runs(0.5)
    assert len(seat.saw(records.PairFormed)) == 2
    assert not seat.saw(records.CandidatePruned)


# --- the passive side --------------------------------------------------------------------------------------
def test_whoever_connects_and_checks_becomes_a_pair() -> None:
    seat = Seat(controlling=False)
    seat.meets()
    stream = seat.accepts()
    seat.gives(StreamReceived(stream, frame(check(seat))))
    seat.runs(0.1)
    success, triggered = seat.sent_on(stream)
    assert stun.parse(success).get(stun.XOR_MAPPED_ADDRESS) == TRANSIENT
    seat.gives(StreamReceived(stream, frame(answer(triggered, Address(IP, 7000)))))
    request = stun.parse(check(seat, nominate=True))
    again = stun.StunMessage(request.method, request.message_class, b"r" * 12, request.attributes)
    nominated = stun.serialize(again, stun.short_term_key(seat.agent.local_pwd), fingerprint=True)
    seat.gives(StreamReceived(stream, frame(nominated)))
    (selected,) = seat.saw(Selected)
    path = selected.path
    assert (path.local.tcp_type, path.remote.tcp_type, path.remote.address) == (
        "passive",
        "active",
        TRANSIENT,
    )
    seat.runs(60)
    assert CloseStream(stream) not in seat.outputs


def test_a_stranger_that_proves_nothing_is_cut_off() -> None:
    seat = Seat(controlling=False)
    seat.meets()
    stream = seat.accepts()
    seat.gives(StreamReceived(stream, frame(b"GET / HTTP/1.1\r\n\r\n")))
    seat.runs(11)
    assert CloseStream(stream) in seat.outputs
    assert not seat.saw(DataReceived)


def test_a_crowd_of_strangers_is_bounded() -> None:
    seat = Seat(controlling=False)
    streams = [seat.accepts(Address(f"203.0.113.{n}", 1024), str(n)) for n in range(MAX_ACCEPTED + 5)]
    refused = [output.stream for output in seat.saw(CloseStream)]
    assert refused == streams[MAX_ACCEPTED:]


def test_one_stranger_leaves_room_for_others() -> None:
    seat = Seat(controlling=False)
    streams = [
        seat.accepts(Address("203.0.113.3", 1024 + n), str(n)) for n in range(MAX_ACCEPTED_PER_SITE + 2)
    ]
    seat.accepts(Address("203.0.113.4", 1024), "another")
    refused = [output.stream for output in seat.saw(CloseStream)]
    assert refused == streams[MAX_ACCEPTED_PER_SITE:]


# --- ends ------------------------------------------------------------------------------------------------
def test_an_interface_that_leaves_takes_listener_and_connections_along() -> None:
    seat = Seat(controlling=False)
    seat.meets()
    listener, stream = seat.listener, seat.accepts()
    seat.gives(AddressesChanged(("203.0.113.9",)))
    assert CloseListener(listener) in seat.outputs
    assert CloseStream(stream) in seat.outputs
    assert {c.address.ip for c in seat.agent.local_candidates} == {"203.0.113.9"}


def test_a_path_over_tcp_is_kept_when_its_interface_leaves_until_a_restart() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.gives(StreamConnected(connect.stream, Address(IP, 40123), PEER))
    for _ in range(2):
        last = requests(seat.sent_on(connect.stream))[-1]
        seat.gives(StreamReceived(connect.stream, frame(answer(last, Address(IP, 40123)))))
        seat.runs(1)
    assert seat.saw(Selected)
    seat.gives(AddressesChanged(("203.0.113.9",)))
    assert seat.saw(RestartNeeded)
    assert {c.address.ip for c in seat.agent.local_candidates} == {"203.0.113.9"}
    seat.agent.send(b"\xffstill", seat.now)
    seat.settle()
    assert seat.sent_on(connect.stream)[-1] == b"\xffstill"


def test_connections_that_lost_are_closed_when_all_is_decided() -> None:
    seat = Seat()
    other = Address("203.0.113.2", 6009)
    seat.meets(passive(), parse(f"2 1 TCP 900 {other.ip} {other.port} typ host tcptype passive"))
    seat.runs(0.2)
    first, second = seat.saw(Connect)
    for connect in (first, second):
        local = Address(IP, 40123)
        seat.gives(StreamConnected(connect.stream, local, connect.remote))
        seat.gives(
            StreamReceived(connect.stream, frame(answer(requests(seat.sent_on(connect.stream))[-1], local)))
        )
    seat.runs(1)
    for connect in (first, second):
        asked = requests(seat.sent_on(connect.stream))
        if stun.parse(asked[-1]).get(stun.USE_CANDIDATE):
            seat.gives(StreamReceived(connect.stream, frame(answer(asked[-1], Address(IP, 40123)))))
    (selected,) = seat.saw(Selected)
    assert selected.path.remote.address == PEER
    seat.runs(9)
    assert not seat.saw(CloseStream)
    seat.runs(2)
    assert seat.saw(CloseStream) == [CloseStream(second.stream, abort=True)]
    assert seat.agent.send(b"\xffstill", seat.now)


def test_closing_leaves_nothing_behind() -> None:
    seat = Seat()
    seat.meets(passive())
    seat.runs(0.1)
    listener, stream = seat.listener, seat.accepts()
    (connect,) = seat.saw(Connect)
    seat.agent.close(seat.now)
    seat.settle()
    seat.gives(StreamAccepted(f"{listener}/late", listener, Address(IP, 7000), PEER))
    assert CloseStream(f"{listener}/late", abort=True) in seat.outputs
    assert CloseListener(listener) in seat.outputs
    assert CloseStream(stream) in seat.outputs
    assert CloseStream(connect.stream, abort=True) in seat.outputs
    assert seat.agent.closed
    assert seat.agent.poll_timeout() is None


def test_a_listener_that_comes_after_the_end_is_closed() -> None:
    agent = Agent("late", AgentConfig(True, tcp=True), random.Random(1))
    agent.gather((IP,), (), 0.0)
    outputs = []
    while (output := agent.poll_output()) is not None:
        outputs.append(output)
        if isinstance(output, OpenUdp):
            agent.handle_input(UdpOpened(output.key, Address(IP, 5000)), 0.0)
    asked = [output.key for output in outputs if isinstance(output, Listen)]
    agent.close(0.0)
    for number, key in enumerate(asked):
        assert not agent.closed
        agent.handle_input(ListenerOpened(key, Address(IP, 7000 + number)), 0.0)
    outputs = [agent.poll_output() for _ in range(20)]
    assert [output.key for output in outputs if isinstance(output, CloseListener)] == asked
    assert agent.closed


# --- framing and garbage -----------------------------------------------------------------------------------
@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 50)))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(
    packets: list[bytes], cuts: list[int]
) -> None:
    data, framer, found = b"".join(map(frame, packets)), Framer(), []
    for cut in cuts:
        found += framer.feed(data[:cut])
        data = data[cut:]
    found += framer.feed(data)
    assert found == packets


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=120) | st.sampled_from([frame(b""), frame(bytes(20)), b"\xff\xff"])))
def test_no_bytes_on_a_connection_bring_the_agent_down(pieces: list[bytes]) -> None:
    seat = Seat(controlling=False)
    seat.meets()
    stream = seat.accepts()
    for piece in pieces:
        seat.gives(StreamReceived(stream, piece))
    seat.runs(60)
    assert not seat.saw(DataReceived) + seat.saw(Selected)
    assert Transport.TCP in {c.transport for c in seat.agent.local_candidates}
