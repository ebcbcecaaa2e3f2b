"""An agent is told `turn:example.test` and nothing else; DNS, relays and firewalls do what they do."""

from __future__ import annotations

from iceway.core.address import Address, Transport
from iceway.ice.agent import Agent
from iceway.ice.config import AgentConfig, IceServer
from iceway.ice.events import CandidateFound, GatheringDone, GatheringSettled
from iceway.lab.topology import (
    Firewall,
    Host,
    Interface,
    Link,
    NameRecord,
    Nat,
    Router,
    Segment,
    Topology,
    View,
)
from iceway.lab.world import World
from iceway.trace import records
from iceway.turn.auth import StaticAuthenticator
from iceway.turn.config import TurnListener, TurnServerConfig
from iceway.turn.server import TurnServer

NAMES, FIRST, SECOND = "198.51.100.53", "198.51.100.1", "198.51.100.2"


def srv(service: str, host: str, port: int, priority: int = 0) -> NameRecord:
    return NameRecord(f"{service}.example.test", "SRV", host, port, priority)


RECORDS = (
    NameRecord(
        "example.test",
        "NAPTR",
        "_turn._udp.example.test",
        order=10,
        flags="s",
        service="RELAY:turn.udp",
    ),
    NameRecord(
        "example.test",
        "NAPTR",
        "_turn._tcp.example.test",
        order=20,
        flags="s",
        service="RELAY:turn.tcp",
    ),
    srv("_turn._udp", "first.example.test", 3479, priority=1),
    srv("_turn._udp", "second.example.test", 3479, priority=2),
    srv("_turn._tcp", "first.example.test", 443, priority=1),
    srv("_turn._tcp", "second.example.test", 443, priority=2),
    NameRecord("first.example.test", "A", FIRST),
    NameRecord("second.example.test", "A", SECOND),
)


class Home:
    """Alice at home; two relays outside, unless one is `off`."""

    def __init__(
        self,
        off: str = "",
        blocks_udp: bool = False,
        zone: tuple[NameRecord, ...] = RECORDS,
        nameserver: str = NAMES,
        password: str = "secret",
    ) -> None:
        nat = Router(
            "nat",
            (Interface("home", "192.168.1.1"),),
            Interface("internet", "198.51.100.77"),
            nat=Nat(),
            firewall=Firewall(block_udp=blocks_udp),
        )
        hosts = [
            Host(name, (Interface("internet", ip),))
            for name, ip in (("names", NAMES), ("first", FIRST), ("second", SECOND))
        ]
        alice = Host(
            "alice", (Interface("home", "192.168.1.20"),), gateway="192.168.1.1", nameserver=nameserver
        )
        segments = (
            Segment("internet", "198.51.100.0/24", Link(delay=0.02)),
            Segment("home", "192.168.1.0/24"),
        )
        self.world = World(Topology("home", segments, (*hosts, alice), (nat,), (View("all", zone),)))
        for name, ip in (("first", FIRST), ("second", SECOND)):
            listeners = (
                TurnListener(Transport.UDP, Address(ip, 3479)),
                TurnListener(Transport.TCP, Address(ip, 443)),
            )
            relay = TurnServer(
                TurnServerConfig("example.test", listeners, ip),
                StaticAuthenticator({"user": "secret"}),
                self.world.rng(name),
            )
            if name != off:
                self.world.run(name, relay)
                self.world.call(name, relay.start)
        self.agent = Agent("alice/ice", AgentConfig(controlling=True), self.world.rng("alice"))
        self.program = self.world.run("alice", self.agent)
        server = IceServer.from_uri("turn:example.test", "user", password)
        self.world.call("alice", lambda now: self.agent.gather(("192.168.1.20",), (server,), now))

    def waits_for(self, kind: type, seconds: float = 60) -> float:
        """The time until the event."""
        events = self.program.events
        assert self.world.run_until(lambda: any(isinstance(event, kind) for _, event in events), seconds)
        return next(at for at, event in events if isinstance(event, kind))

    @property
    def relays(self) -> set[tuple[str, Transport | None]]:
        found = [event.candidate for _, event in self.program.events if isinstance(event, CandidateFound)]
        return {(one.address.ip, one.relay_transport) for one in found if one.type == "relay"}

    def told(self, kind: type[records.Record]) -> list[records.Record]:
        return [entry.record for entry in self.world.trace if isinstance(entry.record, kind)]


UDP, TCP = Transport.UDP, Transport.TCP


def test_a_domain_is_all_that_an_agent_needs_to_be_told() -> None:
    home = Home()
    assert home.waits_for(GatheringDone) < 1
    assert home.relays == {(FIRST, UDP), (FIRST, TCP)}, "every transport, and of each the first server"
    assert "srflx" in {candidate.type for candidate in home.agent.local_candidates}


def test_the_next_server_is_asked_long_before_a_dead_one_is_given_up() -> None:
    home = Home(off="first")
    assert home.waits_for(GatheringSettled) < 1
    assert home.relays == {(SECOND, TCP)}, "over TCP it refuses at once"
    home.world.advance(2.0 - home.world.now)
    assert home.relays == {(SECOND, UDP), (SECOND, TCP)}, "over UDP it is silent"
    assert home.waits_for(GatheringDone) > 30, "the dead one had its time all the same"
    (dead, *_) = [one for one in home.told(records.ServerUnreachable) if "udp" in one.server]
    assert "no answer" in dead.detail


def test_without_udp_the_relay_is_found_by_its_other_transport() -> None:
    home = Home(blocks_udp=True, nameserver="192.168.1.20")
    home.waits_for(GatheringSettled)
    assert home.relays == {(FIRST, TCP)}


def test_a_wrong_password_is_refused_once_and_not_tried_at_every_server() -> None:
    home = Home(password="wrong")
    home.waits_for(GatheringDone)
    assert home.relays == set()
    assert len(home.told(records.ServerRefused)) == 2, "one for each transport"


def test_a_domain_without_a_relay_is_told_at_once() -> None:
    home = Home(zone=())
    assert home.waits_for(GatheringDone) < 1
    (nowhere,) = home.told(records.ServerUnreachable)
    assert (nowhere.server, nowhere.detail) == (
        "turn:example.test",
        "its name did not resolve: no such name",
    )


def test_closing_while_names_are_looked_up_leaves_nothing_behind() -> None:
    home = Home(nameserver="203.0.113.9")
    home.world.call("alice", home.agent.close)
    home.world.advance(10)
    assert home.agent.closed
    assert home.relays == set()
    assert home.agent.poll_timeout() is None
