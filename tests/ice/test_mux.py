"""Many agents on one port: on a simulated network, on the loopback, and against strangers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.errors import UsageError
from iceway.core.machine import (
    Answer,
    CloseListener,
    CloseStream,
    CloseUdp,
    Connect,
    DatagramReceived,
    Listen,
    ListenerFailed,
    ListenerOpened,
    MulticastOpened,
    OpenMulticast,
    OpenUdp,
    Resolve,
    Resolved,
    SendDatagram,
    SendMulticast,
    StreamAccepted,
    StreamClosed,
    StreamReceived,
    UdpFailed,
    UdpOpened,
)
from iceway.ice.agent import Agent
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.ice.events import CandidateFound, DataReceived, Failed, GatheringDone, IceState
from iceway.ice.mux import FromAgent, Mux, MuxConfig, MuxFailed, MuxOpened
from iceway.ice.tcp import frame
from iceway.lab.topology import Behaviour, Firewall, Host, Interface, Link, Nat, Router, Segment, Topology
from iceway.lab.world import World
from iceway.trace import records
from iceway.wire import stun

SERVER = "198.51.100.80"
UDP, TCP = Address(SERVER, 3478), Address(SERVER, 4443)


def internet(*, block_udp: bool = False, nat: Nat | None = None, loss: float = 0.0) -> Topology:
    """A server on the internet, and a home with as many programs as a test likes behind one NAT."""
    return Topology(
        "mux",
        (
            Segment("internet", "198.51.100.0/24", Link(delay=0.02, loss=loss)),
            Segment("home", "192.168.1.0/24"),
        ),
        (
            Host("server", (Interface("internet", SERVER),)),
            Host("home", (Interface("home", "192.168.1.20"),), gateway="192.168.1.1"),
        ),
        (
            Router(
                "nat",
                (Interface("home", "192.168.1.1"),),
                Interface("internet", "198.51.100.77"),
                nat=nat or Nat(),
                firewall=Firewall(block_udp=block_udp),
            ),
        ),
    )


class Company:
    """A server's mux, and clients that each have a line to an agent of their own on it."""

    def __init__(
        self,
        *,
        block_udp: bool = False,
        tcp: bool = False,
        seed: int = 1,
        nat: Nat | None = None,
        loss: float = 0.0,
    ) -> None:
        self.world = World(internet(block_udp=block_udp, nat=nat, loss=loss), seed)
        self.mux = Mux("mux", MuxConfig((UDP,), (TCP,) if tcp else ()), self.world.rng("server"))
        self.server = self.world.run("server", self.mux)
        self.world.call("server", self.mux.start)
        self.clients: dict[str, Agent] = {}
        self.tcp = tcp

    def invite(self, id: str, *, lite: bool = False, controlling: bool = False) -> None:
        """A client and its agent on the mux, introduced to each other."""
        config = AgentConfig(controlling=controlling, lite=lite)
        self.world.call("server", lambda now: self.mux.add(id, config, now))
        client = self.clients[id] = Agent(
            f"{id}/ice", AgentConfig(not controlling, tcp=self.tcp), self.world.rng(id)
        )
        self.world.run("home", client, name=id)
        self.world.call(id, lambda now: client.gather(("192.168.1.20",), (), now))
        self.world.advance(0.001)
        self.introduce(id)

    def introduce(self, id: str) -> None:
        theirs, ours = self.mux.agents[id], self.clients[id]
        self.world.call(id, lambda now: tell(ours, theirs, now))
        self.command(id, lambda agent, now: tell(agent, ours, now))

    def command(self, id: str, command: Callable[[Agent, float], object]) -> None:
        self.world.call("server", lambda now: self.mux.command(id, lambda agent: command(agent, now), now))

    def connected(self) -> bool:
        agents = [*self.mux.agents.values(), *self.clients.values()]
        return all(agent.state is IceState.COMPLETED for agent in agents)

    def meet(self) -> None:
        assert self.world.run_until(self.connected, timeout=20)

    def says(self, id: str, data: bytes) -> None:
        self.world.call(id, lambda now: self.clients[id].send(data, now))

    def answers(self, id: str, data: bytes) -> None:
        self.command(id, lambda agent, now: agent.send(data, now))

    def heard(self, id: str) -> list[bytes]:
        """What the agent of this client heard."""
        told = [event for _, event in self.server.events if isinstance(event, FromAgent)]
        return [f.event.data for f in told if f.agent == id and isinstance(f.event, DataReceived)]

    def client_heard(self, id: str) -> list[bytes]:
        return [e.data for _, e in self.world.programs[id].events if isinstance(e, DataReceived)]

    def notes(self) -> list[str]:
        return [e.record.text for e in self.world.trace if isinstance(e.record, records.Note)]


def tell(agent: Agent, peer: Agent, now: float) -> None:
    agent.set_remote(peer.local_ufrag, peer.local_pwd, now, lite=peer.lite)
    for candidate in peer.local_candidates:
        agent.add_remote_candidate(parse(serialize(candidate)), now)
    agent.end_of_remote_candidates(now)


def all_talk(company: Company) -> None:
    """Each hears what is meant for it, and nothing else."""
    before = {id: len(company.heard(id)) for id in company.clients}
    for id in company.clients:
        company.says(id, b"\xffto the agent of " + id.encode())
        company.answers(id, b"\xffto " + id.encode())
    company.world.advance(1)
    for id in company.clients:
        assert company.heard(id)[before[id] :] == [b"\xffto the agent of " + id.encode()]
        assert company.client_heard(id)[-1] == b"\xffto " + id.encode()


# --- over UDP --------------------------------------------------------------------------------------------
def test_two_hundred_agents_on_one_port_each_hear_their_own_peer() -> None:
    company = Company()
    for number in range(200):
        company.invite(f"c{number}", lite=number % 2 == 1, controlling=number % 4 == 0)
    company.meet()
    all_talk(company)
    company.world.advance(60)
    assert company.connected(), "consent goes on for all of them"
    all_talk(company)
    assert {agent.selected.local.address for agent in company.mux.agents.values()} == {UDP}


def test_the_muxs_port_is_all_that_is_open() -> None:
    company = Company(tcp=True)
    for id in ("a", "b"):
        company.invite(id)
    company.meet()
    candidates = [c for c in company.mux.agents["a"].local_candidates if c.tcp_type != "active"]
    assert {(c.transport, c.address) for c in candidates} == {("udp", UDP), ("tcp", TCP)}
    assert company.mux.local(Transport.UDP) == (UDP,)
    assert company.mux.local(Transport.TCP) == (TCP,)
    assert [e for _, e in company.server.events if isinstance(e, MuxOpened)] == [
        MuxOpened(Transport.UDP, UDP),
        MuxOpened(Transport.TCP, TCP),
    ]


@pytest.mark.parametrize("lite", [False, True])
def test_a_restart_takes_new_names_and_loses_nothing(lite: bool) -> None:
    company = Company()
    for id in ("a", "b"):
        company.invite(id, lite=lite)
    company.meet()
    old = company.mux.agents["a"].local_ufrags
    company.command("a", lambda agent, now: agent.restart(now))
    company.world.call("a", company.clients["a"].restart)
    assert len(company.mux.agents["a"].local_ufrags) == 2, "the old path carries on until there is a new one"
    all_talk(company)
    company.introduce("a")
    company.world.advance(5)
    company.meet()
    assert company.mux.agents["a"].local_ufrags != old
    assert len(company.mux.agents["a"].local_ufrags) == 1
    all_talk(company)


def test_one_that_closes_leaves_the_others_alone() -> None:
    company = Company(tcp=True)
    for id in ("a", "b", "c"):
        company.invite(id)
    company.meet()
    company.command("b", lambda agent, now: agent.close(now))
    assert set(company.mux.agents) == {"a", "c"}
    client = company.clients.pop("b")
    company.world.advance(60)
    assert any(isinstance(e, Failed) for _, e in company.world.programs["b"].events)
    assert client.state is IceState.FAILED
    assert company.connected()
    all_talk(company)
    with pytest.raises(UsageError, match="no agent 'b'"):
        company.command("b", lambda agent, now: agent.restart(now))
    company.world.kill("b")
    company.invite("b")  # the name is free again
    company.meet()


def test_a_client_whose_nat_forgets_comes_back_from_another_address() -> None:
    company = Company()
    for id in ("a", "b"):
        company.invite(id)
    company.meet()
    company.world.reboot("nat")
    company.world.advance(12)  # consent from the new address
    company.says("a", b"\xffstill me")
    company.world.advance(1)
    assert company.heard("a")[-1] == b"\xffstill me"
    assert not company.heard("b")


# --- over TCP --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("lite", [False, True])
def test_a_dozen_agents_on_one_listener(lite: bool) -> None:
    company = Company(block_udp=True, tcp=True)
    for number in range(12):
        company.invite(f"c{number}", lite=lite)
    company.meet()
    all_talk(company)
    assert {agent.selected.local.address for agent in company.mux.agents.values()} == {TCP}
    company.world.advance(60)
    assert company.connected()
    company.command("c3", lambda agent, now: agent.close(now))
    del company.clients["c3"]
    company.world.advance(5)
    assert company.connected()
    all_talk(company)
    company.world.call("server", company.mux.close)
    assert company.mux.closed
    assert company.mux.poll_timeout() is None
    company.world.advance(5)
    assert {agent.state for agent in company.clients.values()} == {IceState.FAILED}


# --- anything at all -----------------------------------------------------------------------------------
ACTIONS = st.tuples(st.sampled_from(["restart", "close", "new mapping"]), st.integers(0, 5))


@settings(max_examples=25, deadline=None)
@given(
    lite=st.lists(st.booleans(), min_size=2, max_size=6),
    nat=st.builds(Nat, mapping=st.sampled_from(Behaviour), filtering=st.sampled_from(Behaviour)),
    loss=st.sampled_from([0.0, 0.03]),
    block_udp=st.booleans(),
    actions=st.lists(ACTIONS, max_size=4),
    seed=st.integers(0, 99),
)
def test_whatever_happens_nobody_hears_what_is_not_for_them(
    lite: list[bool], nat: Nat, loss: float, block_udp: bool, actions: list[tuple[str, int]], seed: int
) -> None:
    company = Company(block_udp=block_udp, tcp=True, seed=seed, nat=nat, loss=loss)
    for number, is_lite in enumerate(lite):
        company.invite(f"c{number}", lite=is_lite)
    company.meet()
    for action, number in actions:
        id = f"c{number % len(lite)}"
        if id not in company.clients:
            continue
        if action == "restart":
            company.command(id, lambda agent, now: agent.restart(now))
            company.world.call(id, company.clients[id].restart)
            company.introduce(id)
        elif action == "close":
            company.command(id, lambda agent, now: agent.close(now))
            company.world.call(id, company.clients.pop(id).close)
        elif not block_udp:  # Connections over TCP would end.
            company.world.reboot("nat")
        company.world.advance(8)
        for other in company.clients:
            company.says(other, b"\xff" + other.encode())
            company.answers(other, b"\xff" + other.encode())
        company.world.advance(1)
    for number in range(len(lite)):
        id = f"c{number}"
        assert set(company.heard(id)) | set(company.client_heard(id)) <= {b"\xff" + id.encode()}
    company.world.advance(20)
    company.meet()
    company.world.call("server", company.mux.close)
    assert company.mux.closed
    assert company.mux.poll_timeout() is None


# --- strangers -------------------------------------------------------------------------------------------
class Seat:
    """A mux with one agent, and the host around it played by the test."""

    def __init__(self, *, lite: bool = True, **config: object) -> None:
        self.now = 100.0
        self.mux = Mux("mux", MuxConfig((UDP,), (TCP,), **config), random.Random(1))
        self.outputs: list[object] = []
        self.mux.start(self.now)
        self.settle()
        self.ids: list[str] = []
        self.add("a", lite=lite)

    def add(self, id: str, *, lite: bool = True, **config: object) -> None:
        self.mux.add(id, AgentConfig(False, lite=lite, **config), self.now)
        self.mux.command(id, lambda agent: agent.set_remote("peer", "p" * 24, self.now), self.now)
        self.settle()

    def settle(self) -> None:
        while (output := self.mux.poll_output()) is not None:
            self.outputs.append(output)
            match output:
                case OpenUdp(key=key, local=local):
                    self.gives(UdpOpened(key, local))
                case Listen(key=key, local=local):
                    self.gives(ListenerOpened(key, local))

    def gives(self, event: object) -> None:
        self.mux.handle_input(event, self.now)
        self.settle()

    def runs(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.mux.poll_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.mux.handle_timeout(self.now)
            self.settle()
        self.now = end

    def hears(self, data: bytes, remote: Address) -> list[bytes]:
        """What goes back upon a datagram."""
        before = len(self.outputs)
        self.gives(DatagramReceived(UDP, remote, data))
        sent = [o for o in self.outputs[before:] if isinstance(o, SendDatagram) and o.remote == remote]
        return [o.data for o in sent]

    def accepts(self, number: int, remote: Address) -> str:
        stream = f"mux/tcp.1/{number}"
        self.gives(StreamAccepted(stream, "mux/tcp.1", TCP, remote))
        return stream

    def saw(self, kind: type) -> list:
        return [output for output in self.outputs if isinstance(output, kind)]

    def heard(self, id: str) -> list[bytes]:
        return [
            f.event.data for f in self.saw(FromAgent) if f.agent == id and isinstance(f.event, DataReceived)
        ]

    def check(
        self, id: str = "a", *, pwd: str = "", ufrag: str = "", transaction: bytes = b"q" * 12
    ) -> bytes:
        agent = self.mux.agents[id]
        attributes = (
            stun.USERNAME(f"{ufrag or agent.local_ufrag}:peer".encode()),
            stun.PRIORITY(77),
            stun.ICE_CONTROLLING(5),
            stun.USE_CANDIDATE(True),
        )
        request = stun.StunMessage(stun.Method.BINDING, stun.MessageClass.REQUEST, transaction, attributes)
        return stun.serialize(request, stun.short_term_key(pwd or agent.local_pwd), fingerprint=True)


HERE, THERE = Address("203.0.113.5", 5000), Address("203.0.113.6", 6000)


def test_checks_for_nobody_are_dropped_and_counted() -> None:
    seat = Seat()
    for number in range(5):
        assert seat.hears(seat.check(ufrag=f"nobody{number}"), HERE) == []
    assert seat.hears(b"\xffmedia out of nowhere", HERE) == []
    assert seat.hears(seat.check()[:-4] + b"\0\0\0\0", HERE) == []
    seat.runs(11)
    (note,) = seat.saw(records.Note)
    assert note.text == (
        "mux dropped in 10 s: 5 checks for agents that are not here, "
        "1 packets from addresses that proved nothing, 1 broken checks"
    )
    assert seat.mux.poll_timeout() is None or seat.mux.poll_timeout() > seat.now + 1


def test_an_address_moves_to_another_agent_only_by_an_authentic_check() -> None:
    seat = Seat()
    seat.add("b")
    (said,) = seat.hears(seat.check("a"), HERE)
    assert stun.parse(said).message_class is stun.MessageClass.SUCCESS
    seat.hears(b"\xffone", HERE)
    (said,) = seat.hears(seat.check("b", pwd="w" * 24), HERE)
    assert stun.parse(said).message_class is stun.MessageClass.ERROR
    seat.hears(b"\xfftwo", HERE)
    assert (seat.heard("a"), seat.heard("b")) == ([b"\xffone", b"\xfftwo"], [])
    seat.hears(seat.check("b"), HERE)
    seat.hears(b"\xffthree", HERE)
    assert (seat.heard("a"), seat.heard("b")) == ([b"\xffone", b"\xfftwo"], [b"\xffthree"])


def test_answers_find_whoever_asked_even_at_one_address() -> None:
    """Two agents of ours check the same place: a mux like this one."""
    seat = Seat(lite=False)
    seat.add("b", lite=False)
    for id in ("a", "b"):
        candidate = parse(f"1 1 UDP 99 {THERE.ip} {THERE.port} typ host")
        seat.mux.command(id, lambda agent, c=candidate: agent.add_remote_candidate(c, seat.now), seat.now)
    seat.settle()
    seat.runs(0.2)
    sent = [o.data for o in seat.saw(SendDatagram) if o.remote == THERE]
    assert len(sent) == 2
    for request in reversed(sent):
        answer = stun.success_response(stun.parse(request), stun.XOR_MAPPED_ADDRESS(UDP))
        seat.hears(stun.serialize(answer, stun.short_term_key("p" * 24), fingerprint=True), THERE)
    assert {r.agent for r in seat.saw(records.PairSucceeded)} == {"mux/a", "mux/b"}


def test_a_connection_that_names_no_agent_is_cut_off() -> None:
    seat = Seat()
    silent = seat.accepts(1, HERE)
    http = seat.accepts(2, Address(HERE.ip, 5001))
    seat.gives(StreamReceived(http, b"GET / HTTP/1.1\r\n\r\n"))
    assert CloseStream(http, abort=True) in seat.outputs
    stranger = seat.accepts(3, Address(HERE.ip, 5002))
    seat.gives(StreamReceived(stranger, frame(seat.check(ufrag="nobody"))))
    assert CloseStream(stranger, abort=True) in seat.outputs
    assert CloseStream(silent, abort=True) not in seat.outputs
    seat.runs(5)
    assert CloseStream(silent, abort=True) in seat.outputs


def test_a_connection_may_say_its_first_packet_in_pieces() -> None:
    seat = Seat()
    stream = seat.accepts(1, HERE)
    for byte in frame(seat.check()) + frame(b"\xffhello"):
        seat.gives(StreamReceived(stream, bytes([byte])))
    assert seat.heard("a") == [b"\xffhello"]
    seat.runs(20)
    assert CloseStream(stream, abort=True) not in seat.outputs


def test_a_crowd_at_the_door_is_bounded_in_all_and_by_site() -> None:
    seat = Seat(max_unproven=6, max_unproven_per_site=4)
    crowd = [seat.accepts(n, Address(HERE.ip, 1000 + n)) for n in range(5)]
    others = [seat.accepts(10 + n, Address(f"203.0.113.{100 + n}", 1000)) for n in range(3)]
    assert [o.stream for o in seat.saw(CloseStream)] == [crowd[4], others[2]]
    seat.runs(6)
    seat.accepts(20, HERE)
    assert len(seat.saw(CloseStream)) == 8


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_of_anybody_bring_the_mux_down(data: st.DataObject) -> None:
    seat = Seat(lite=data.draw(st.booleans()))
    valid = seat.check()
    pieces = st.one_of(
        st.binary(max_size=80),
        st.sampled_from([valid, frame(valid), valid[:30], frame(valid)[:30], seat.check(ufrag="x")]),
        st.builds(
            lambda at, byte: valid[:at] + bytes([byte]) + valid[at + 1 :],
            st.integers(0, len(valid)),
            st.integers(0, 255),
        ),
        st.builds(
            lambda head, rest: head + b"\x21\x12\xa4\x42" + rest,
            st.binary(min_size=4, max_size=4),
            st.binary(max_size=60),
        ),
    )
    stream = seat.accepts(1, HERE)
    for piece in data.draw(st.lists(pieces, max_size=12)):
        if data.draw(st.booleans()):
            seat.gives(DatagramReceived(UDP, HERE, piece))
        else:
            seat.gives(StreamReceived(stream, piece))
    seat.runs(60)
    assert set(seat.mux.agents) == {"a"}


# --- opening and closing ---------------------------------------------------------------------------------
def test_what_is_an_agents_own_leads_back_to_it() -> None:
    """A look-up, and the multicast group in which the peer's names are asked for."""
    seat = Seat(lite=False, resolve_names=True)
    server = IceServer(ServerKind.STUN, host="stun.example.test")
    seat.mux.command("a", lambda agent: agent.add_servers((server,), seat.now), seat.now)
    named = parse("1 1 UDP 99 4d3c7a4e-3d31-4f6c-9b6e-0a5d6f6b8c11.local 5000 typ host")
    seat.mux.command("a", lambda agent: agent.add_remote_candidate(named, seat.now), seat.now)
    seat.settle()
    (resolve,), (group,) = seat.saw(Resolve), seat.saw(OpenMulticast)
    seat.gives(MulticastOpened(group.key))
    assert [output.key for output in seat.saw(SendMulticast)] == [group.key]
    seat.gives(Resolved(resolve.key, resolve.name, "A", (Answer(THERE.ip),)))
    seat.runs(0.1)
    (asked,) = [o.data for o in seat.saw(SendDatagram) if o.remote == Address(THERE.ip, 3478)]
    answer = stun.success_response(stun.parse(asked), stun.XOR_MAPPED_ADDRESS(Address("203.0.113.99", 1)))
    seat.hears(stun.serialize(answer), Address(THERE.ip, 3478))
    found = [c.address.ip for c in seat.mux.agents["a"].local_candidates if c.type == "srflx"]
    assert found == ["203.0.113.99"]


def test_names_of_peers_are_not_asked_for_unless_the_mux_is_told_to() -> None:
    seat = Seat(lite=False)
    named = parse("1 1 UDP 99 4d3c7a4e-3d31-4f6c-9b6e-0a5d6f6b8c11.local 5000 typ host")
    seat.mux.command("a", lambda agent: agent.add_remote_candidate(named, seat.now), seat.now)
    seat.settle()
    assert not seat.saw(OpenMulticast)


def test_agents_wait_for_the_socket_and_are_told_why_there_is_none() -> None:
    mux = Mux("mux", MuxConfig((UDP,), (TCP,)), random.Random(1))
    mux.start(0.0)
    mux.add("a", AgentConfig(False, lite=True), 0.0)
    outputs = [mux.poll_output() for _ in range(20)]
    assert not [o for o in outputs if isinstance(o, FromAgent) and isinstance(o.event, GatheringDone)]
    mux.handle_input(UdpFailed("mux/udp.1", "address already in use"), 0.0)
    outputs = [mux.poll_output() for _ in range(20)]
    assert MuxFailed(Transport.UDP, UDP, "address already in use") in outputs
    assert Listen("mux/tcp.1", TCP) in outputs
    assert FromAgent("a", GatheringDone()) in outputs
    assert mux.agents["a"].local_candidates == ()


def test_a_listener_is_never_where_the_socket_is() -> None:
    mux = Mux("mux", MuxConfig((Address(SERVER, 0),), (Address(SERVER, 0),)), random.Random(1))
    mux.start(0.0)
    mux.handle_input(UdpOpened("mux/udp.1", Address(SERVER, 5000)), 0.0)
    mux.handle_input(ListenerOpened("mux/tcp.1", Address(SERVER, 5000)), 0.0)
    outputs = [mux.poll_output() for _ in range(20)]
    assert CloseListener("mux/tcp.1") in outputs
    assert outputs.count(Listen("mux/tcp.1", Address(SERVER, 0))) == 2
    mux.handle_input(ListenerOpened("mux/tcp.1", Address(SERVER, 5001)), 0.0)
    assert mux.local(Transport.TCP) == (Address(SERVER, 5001),)


def test_a_mux_of_both_families_and_one_listener_gives_each_agent_what_there_is() -> None:
    udp = (UDP, Address("2001:db8::80", 3478))
    mux = Mux("mux", MuxConfig(udp, (TCP,)), random.Random(1))
    mux.start(0.0)
    mux.add("a", AgentConfig(False, lite=True), 0.0)
    for number, local in enumerate(udp, 1):
        mux.handle_input(UdpOpened(f"mux/udp.{number}", local), 0.0)
    mux.handle_input(ListenerOpened("mux/tcp.1", TCP), 0.0)
    assert {c.address for c in mux.agents["a"].local_candidates} == {*udp, TCP}
    notes = [o.text for o in iter(mux.poll_output, None) if isinstance(o, records.Note)]
    assert notes == ["no passive candidate over TCP: the mux has none on 2001:db8::80"]


def test_without_its_listener_a_mux_goes_on_over_udp() -> None:
    mux = Mux("mux", MuxConfig((UDP,), (TCP,)), random.Random(1))
    mux.start(0.0)
    mux.handle_input(UdpOpened("mux/udp.1", UDP), 0.0)
    mux.add("a", AgentConfig(False, lite=True), 0.0)
    mux.handle_input(ListenerFailed("mux/tcp.1", "permission denied"), 0.0)
    outputs = list(iter(mux.poll_output, None))
    assert MuxFailed(Transport.TCP, TCP, "permission denied") in outputs
    assert FromAgent("a", GatheringDone()) in outputs
    assert [c.address for c in mux.agents["a"].local_candidates] == [UDP]
    mux.close(0.0)
    assert mux.closed


def test_whoever_stands_at_the_door_goes_with_the_mux() -> None:
    seat = Seat()
    gone, waiting = seat.accepts(1, HERE), seat.accepts(2, THERE)
    seat.gives(StreamClosed(gone, "closed by peer"))
    for _ in range(2):
        seat.mux.close(seat.now)
    seat.settle()
    assert [output.stream for output in seat.saw(CloseStream)] == [waiting]
    assert {CloseUdp(UDP), CloseListener("mux/tcp.1")} <= set(seat.saw(CloseUdp) + seat.saw(CloseListener))
    assert seat.mux.poll_timeout() is None
    late = seat.accepts(3, HERE)
    seat.gives(DatagramReceived(UDP, HERE, b"\xfflate"))
    assert seat.mux.closed
    assert CloseStream(late, abort=True) in seat.outputs, "it crossed the end of the listener"


def test_a_socket_refused_after_the_end_is_the_end() -> None:
    mux = Mux("mux", MuxConfig((UDP,)), random.Random(1))
    mux.start(0.0)
    mux.add("a", AgentConfig(False), 0.0)
    mux.close(0.0)
    mux.handle_input(UdpFailed("mux/udp.1", "address already in use"), 0.0)
    assert mux.closed


def test_what_opens_after_the_end_is_closed() -> None:
    mux = Mux("mux", MuxConfig((UDP,), (TCP,)), random.Random(1))
    mux.start(0.0)
    mux.add("a", AgentConfig(False), 0.0)
    mux.close(0.0)
    assert not mux.closed
    mux.handle_input(UdpOpened("mux/udp.1", UDP), 0.0)
    outputs = [mux.poll_output() for _ in range(20)]
    assert CloseUdp(UDP) in outputs
    assert not any(isinstance(output, Listen) for output in outputs)
    assert mux.closed
    with pytest.raises(UsageError):
        mux.add("b", AgentConfig(False), 0.0)


def test_a_name_is_free_again_when_its_connections_have_ended() -> None:
    seat = Seat(lite=False)
    there = parse(f"1 1 TCP 99 {THERE.ip} {THERE.port} typ host tcptype passive")
    seat.mux.command("a", lambda agent: agent.add_remote_candidate(there, seat.now), seat.now)
    seat.runs(0.1)
    (connect,) = seat.saw(Connect)
    seat.mux.command("a", lambda agent: agent.close(seat.now), seat.now)
    with pytest.raises(UsageError, match="taken"):
        seat.mux.add("a", AgentConfig(False), seat.now)
    seat.gives(StreamClosed(connect.stream, "closed by us"))
    seat.add("a")
    assert set(seat.mux.agents) == {"a"}


def test_an_outside_address_is_told_with_the_muxs_port() -> None:
    inside = Address("10.0.0.5", 3478)
    mux = Mux("mux", MuxConfig((inside,), (Address("10.0.0.5", 4443),)), random.Random(1))
    mux.start(0.0)
    mux.handle_input(UdpOpened("mux/udp.1", inside), 0.0)
    mux.handle_input(ListenerOpened("mux/tcp.1", Address("10.0.0.5", 4443)), 0.0)
    mux.add("a", AgentConfig(False, lite=True, external_ips=(("10.0.0.5", "203.0.113.9"),)), 0.0)
    told = [o.event for o in iter(mux.poll_output, None) if isinstance(o, FromAgent)]
    found = [serialize(event.candidate) for event in told if isinstance(event, CandidateFound)]
    assert [text.split(" ", 4)[4] for text in found] == [
        "10.0.0.5 3478 typ host",
        "203.0.113.9 3478 typ srflx raddr 10.0.0.5 rport 3478",
        "10.0.0.5 4443 typ host tcptype passive",
        "203.0.113.9 4443 typ srflx raddr 10.0.0.5 rport 4443 tcptype passive",
    ]


def test_misuse_is_said() -> None:
    with pytest.raises(UsageError, match="two ports"):
        MuxConfig((UDP,), (UDP,))
    with pytest.raises(UsageError, match="needs a UDP socket"):
        MuxConfig((), (TCP,))
    with pytest.raises(UsageError, match="one socket of a kind"):
        MuxConfig((UDP, Address(SERVER, 1)))
    with pytest.raises(UsageError, match="name the interface"):
        MuxConfig((Address("0.0.0.0", 3478),))
    seat = Seat()
    with pytest.raises(UsageError, match="has been started"):
        seat.mux.start(0.0)
    for id, config in (
        ("a", AgentConfig(False)),
        ("b/c", AgentConfig(False)),
        ("", AgentConfig(False)),
        ("b", AgentConfig(False, components=2)),
        ("b", AgentConfig(False, policy=Policy.RELAY)),
    ):
        with pytest.raises(UsageError):
            seat.mux.add(id, config, 0.0)
