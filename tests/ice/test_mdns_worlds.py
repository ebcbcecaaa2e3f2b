"""Agents that hide their addresses, on links, behind NATs, beside agents that do not."""

from __future__ import annotations

import pytest

from iceway.core.machine import (
    Input,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    Outbox,
    SendMulticast,
)
from iceway.ice.candidate import parse, serialize
from iceway.ice.config import Policy
from iceway.ice.events import CandidateFound, Failed
from iceway.lab.topology import Behaviour, Host, Interface, Link, Nat, Router, Segment, Topology
from iceway.trace import records
from iceway.wire import mdns
from iceway.wire.mdns import GROUP4, HostRecord, MdnsMessage
from tests.ice.test_worlds import EDGE4, EDGE6, Pair, two_internets


def told(pair: Pair, host: str) -> list[str]:
    """What an agent told its peer, as SDP says it."""
    events = pair.world.programs[host].events
    return [serialize(event.candidate) for _, event in events if isinstance(event, CandidateFound)]


def one_link(*alice: str, bob: tuple[str, ...] = ()) -> Topology:
    """Alice and Bob on one link of both families, the edge beside them."""
    segments = (
        Segment("link", "10.0.0.0/24", Link(delay=0.002)),
        Segment("link6", "2001:db8:b::/64", Link(delay=0.002)),
        Segment("elsewhere", "198.51.100.0/24"),
        Segment("elsewhere6", "2001:db8:a::/64"),
    )
    hosts = [
        Host(name, tuple(Interface("link6" if ":" in ip else "link", ip) for ip in ips))
        for name, ips in (("alice", alice), ("bob", bob))
    ]
    edge = Host("edge", (Interface("elsewhere", EDGE4), Interface("elsewhere6", EDGE6)))
    return Topology("one-link", segments, (*hosts, edge))


NOBODY: dict[str, tuple[str, ...]] = {"alice": (), "bob": ()}


# --- on one link -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("alice", "bob"),
    [
        (("10.0.0.10",), ("10.0.0.20",)),
        (("2001:db8:b::10",), ("2001:db8:b::20",)),
        (("10.0.0.10", "2001:db8:b::10"), ("10.0.0.20", "2001:db8:b::20")),
        (("10.0.0.10", "2001:db8:b::10"), ("2001:db8:b::20",)),
    ],
)
def test_neighbours_find_each_other_without_telling_their_addresses(
    alice: tuple[str, ...], bob: tuple[str, ...]
) -> None:
    pair = Pair(one_link(*alice, bob=bob), mdns=True)
    pair.meet(NOBODY)
    assert pair.talks()
    assert pair.world.now < 1.2, "a look-up costs a round trip, and talking takes a second"
    lines = told(pair, "alice") + told(pair, "bob")
    assert len(lines) == len(alice) + len(bob)
    assert not [line for line in lines for ip in (*alice, *bob) if ip in line]
    assert len({line.split()[4] for line in lines}) == len(lines), "a name for each address"
    assert pair.agents["alice"].selected.remote.name == pair.agents["bob"].selected.local.name


@pytest.mark.parametrize("hides", ["alice", "bob"])
def test_one_that_hides_and_one_that_does_not(hides: str) -> None:
    pair = Pair(
        one_link("10.0.0.10", bob=("10.0.0.20",)), mdns=hides == "alice", bobs={"mdns": hides == "bob"}
    )
    pair.meet(NOBODY)
    assert pair.talks()
    named = {host: parse(told(pair, host)[0]) for host in ("alice", "bob")}
    assert {host: hasattr(one, "at") for host, one in named.items()} == {
        "alice": hides == "alice",
        "bob": hides == "bob",
    }


@pytest.mark.parametrize("until", [0.5, 2.0])
def test_what_the_link_lost_is_asked_again(until: float) -> None:
    """Questions go out at 0, 1 and 3 s."""
    pair = Pair(one_link("10.0.0.10", bob=("10.0.0.20",)), mdns=True)
    pair.world.set_link("link", Link(delay=0.002, loss=1.0))
    pair.meet(NOBODY)
    pair.world.advance(until)
    pair.world.set_link("link", Link(delay=0.002))
    assert pair.world.run_until(lambda: all(agent.selected for agent in pair.agents.values()), 1.7)


def test_tcp_candidates_hide_as_well() -> None:
    pair = Pair(one_link("10.0.0.10", bob=("10.0.0.20",)), mdns=True, tcp=True)
    pair.meet(NOBODY)
    assert pair.talks()
    lines = told(pair, "alice")
    assert {line.split()[2] for line in lines} == {"UDP", "TCP"}
    assert all(line.split()[4].endswith(".local") for line in lines)


# --- on two links ----------------------------------------------------------------------------------------------
def two_homes() -> Topology:
    """Alice and Bob behind a NAT each, an edge between."""
    segments = [
        Segment("internet", "198.51.100.0/24", Link(delay=0.02)),
        Segment("internet6", "2001:db8:a::/64"),
    ]
    hosts = [Host("edge", (Interface("internet", EDGE4), Interface("internet6", EDGE6)))]
    routers = []
    for number, name in enumerate(("alice", "bob")):
        net = f"192.168.{number}"
        segments.append(Segment(name, f"{net}.0/24"))
        hosts.append(Host(name, (Interface(name, f"{net}.20"),), gateway=f"{net}.1"))
        outside = Interface("internet", f"198.51.100.7{number}")
        routers.append(
            Router(
                f"{name}-nat",
                (Interface(name, f"{net}.1"),),
                outside,
                nat=Nat(mapping=Behaviour.ENDPOINT_INDEPENDENT),
            )
        )
    return Topology("two-homes", tuple(segments), tuple(hosts), tuple(routers))


def test_across_the_internet_reflexive_addresses_do_and_say_nothing_of_the_inside() -> None:
    pair = Pair(two_homes(), mdns=True)
    pair.meet({"alice": (EDGE4,), "bob": (EDGE4,)})
    assert pair.talks()
    assert pair.agents["alice"].selected.remote.type == "srflx"
    host, srflx, relay = told(pair, "alice")
    assert "raddr 0.0.0.0 rport 0" in srflx
    assert "raddr 198.51.100.70" in relay, "what the world sees anyway"
    assert not [line for line in (host, srflx, relay) if "192.168" in line]
    pair.world.advance(10)
    lookups = [e.record for e in pair.world.trace if isinstance(e.record, records.NameResolved)]
    assert {lookup.error for lookup in lookups} == {
        "nobody on our links answered for it in 7 s: the peer is on none of them"
    }
    crossed = [e.record for e in pair.world.trace if isinstance(e.record, records.PacketTranslated)]
    assert not [record for record in crossed if record.peer.port == 5353], "no question left its link"


def test_the_default_candidate_of_an_sdp_is_never_a_hidden_one() -> None:
    pair = Pair(one_link("10.0.0.10", bob=("10.0.0.20",)), mdns=True)
    pair.meet(NOBODY)
    pair.world.advance(1)
    assert pair.agents["alice"].default_candidate() is None
    pair = Pair(two_homes(), mdns=True)
    pair.meet({"alice": (EDGE4,), "bob": (EDGE4,)})
    pair.world.advance(1)
    assert pair.agents["alice"].default_candidate().type == "relay"


def test_a_public_address_that_a_server_tells_is_no_secret() -> None:
    """Neighbours elsewhere cannot resolve the name, so the address is told as what the server saw."""
    pair = Pair(two_internets("198.51.100.10", "198.51.100.20"), mdns=True)
    pair.meet({"alice": (EDGE4,), "bob": ()})
    pair.world.advance(1)
    assert [line.split()[7] for line in told(pair, "alice")] == ["host", "srflx", "relay"]


def test_a_name_that_nobody_knows_does_not_keep_a_call_from_failing_with_a_reason() -> None:
    pair = Pair(one_link("10.0.0.10", bob=("10.0.0.20",)))
    alice = pair.agents["alice"]
    pair.world.call("alice", lambda now: alice.gather(("10.0.0.10",), (), now))
    pair.world.call("alice", lambda now: alice.set_remote("theirs", "p" * 22, now))
    named = parse("1 1 UDP 5 nobody.local 9 typ host")
    pair.world.call("alice", lambda now: alice.add_remote_candidate(named, now))
    pair.world.call("alice", alice.end_of_remote_candidates)
    events = pair.world.programs["alice"].events
    assert pair.world.run_until(lambda: any(isinstance(event, Failed) for _, event in events), 60)
    lookups = [e.record for e in pair.world.trace if isinstance(e.record, records.NameResolved)]
    assert [lookup.name for lookup in lookups] == ["nobody.local"]


def test_under_the_relay_policy_nothing_is_said_or_asked_on_the_link() -> None:
    pair = Pair(one_link("10.0.0.10", bob=("10.0.0.20",)), mdns=True, bobs={"policy": Policy.RELAY})
    pair.meet(NOBODY)
    pair.world.advance(10)
    assert not [e for e in pair.world.trace if isinstance(e.record, records.NameResolved)]
    notes = [e.record.text for e in pair.world.trace if isinstance(e.record, records.Note)]
    assert [note for note in notes if "only neighbours" in note]


# --- somebody else on the link -----------------------------------------------------------------------------------
class Stranger(Outbox):
    """On the link, with something to say to every packet."""

    def __init__(self, ip: str, says: object) -> None:
        super().__init__()
        self._says = says
        self.emit(OpenMulticast("stranger", GROUP4, ip))

    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, MulticastOpened):
            self.emit(SendMulticast("stranger", b"hello, is this thing on?"))
        elif isinstance(event, MulticastReceived) and event.source.ip != "10.0.0.66":
            for data in self._says(event.data):
                self.emit(SendMulticast("stranger", data))

    def handle_timeout(self, now: float) -> None: ...

    def poll_timeout(self) -> float | None:
        return None


def with_a_stranger(says: object) -> Pair:
    topology = one_link("10.0.0.10", bob=("10.0.0.20",))
    mallory = Host("mallory", (Interface("link", "10.0.0.66"),))
    topology = Topology(topology.name, topology.segments, (*topology.hosts, mallory))
    pair = Pair(topology, mdns=True)
    pair.world.run("mallory", Stranger("10.0.0.66", says))
    pair.meet(NOBODY)
    return pair


def test_garbage_on_the_group_disturbs_nobody() -> None:
    pair = with_a_stranger(lambda data: [data[::-1], data[:-3], b"", b"\xff" * 9000])
    assert pair.talks()


def test_one_that_claims_every_name_can_keep_neighbours_apart_but_not_stand_between_them() -> None:
    """Whoever answers first is asked; what answers has to know the passwords."""

    def claims(data: bytes) -> list[bytes]:
        try:
            message = mdns.parse(data)
        except Exception:
            return []
        names = {q.name for q in message.questions} | {r.name for r in message.records}
        return [
            mdns.serialize(MdnsMessage(True, (), (HostRecord(name, "10.0.0.66"),))) for name in sorted(names)
        ]

    pair = with_a_stranger(claims)
    pair.world.advance(45)
    for agent in pair.agents.values():
        selected = agent.selected
        assert selected is None or selected.remote.address.ip != "10.0.0.66"
    notes = [e.record for e in pair.world.trace if isinstance(e.record, records.Note)]
    assert [note for note in notes if "answers for our name" in note.text]
    said = [e for e in pair.world.trace if e.node == "mallory"]
    assert len(said) < 100
