"""The oracle and the simulator are written apart; on every pair of NATs they must say the same."""

import itertools

import pytest

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived, SendDatagram
from iceway.lab import topologies
from iceway.lab.grid.play import expectation
from iceway.lab.oracle import Access, Path, expected_path, punches
from iceway.lab.topology import Behaviour, Firewall, Nat
from iceway.lab.world import World
from tests.lab.toys import Desk, Toy
from tests.properties.cases import Box, Case, Place
from tests.properties.networks import topology

EI, AD, APD = Behaviour
KINDS = list(itertools.product(Behaviour, Behaviour))


class Puncher(Toy):
    """As little of ICE as hole punching needs: check every known address, answer, learn from checks."""

    def __init__(self):
        super().__init__()
        self.reflexive = None
        self.known = []
        self.met = None

    def handle_input(self, event, now):
        if not isinstance(event, DatagramReceived):
            super().handle_input(event, now)
            return
        kind, _, about = event.data.decode().partition(" ")
        if kind == "reflexive":
            self.reflexive = Address.parse(about)
        elif kind == "check":
            self.emit(SendDatagram(event.local, event.remote, f"answer {about}".encode()))
            if event.remote not in self.known and len(self.known) < 12:
                self.known.append(event.remote)
        elif about == str(
            event.remote
        ):  # an answer must come from where the check went (RFC 8445 §7.2.5.2.1)
            self.met = event.remote

    def check_all(self, local):
        for remote in self.known:
            self.emit(SendDatagram(local, remote, f"check {remote}".encode()))


class Reflector(Toy):
    def handle_input(self, event, now):
        if isinstance(event, DatagramReceived):
            self.emit(SendDatagram(event.local, event.remote, f"reflexive {event.remote}".encode()))
        else:
            super().handle_input(event, now)


def simulated_meeting(left, right):
    world = World(topologies.nats(left, right), seed=11)
    relay = Desk(world, "edge", toy=Reflector()).opens("198.51.100.2:3478")
    alice, bob = (Desk(world, name, toy=Puncher()) for name in ("alice", "bob"))
    sockets = [(alice, alice.opens("192.168.1.20")), (bob, bob.opens("10.0.0.20"))]
    for desk, local in sockets:
        desk.sends(local, relay, b"who am I?")
    world.advance(1)
    alice.toy.known, bob.toy.known = [bob.toy.reflexive], [alice.toy.reflexive]
    for _ in range(12):
        for desk, local in sockets:
            world.call(desk.name, lambda now, desk=desk, local=local: desk.toy.check_all(local))
        world.advance(0.2)
    return alice.toy.met is not None or bob.toy.met is not None


def nat(kind, filter_by):
    mapping, filtering = kind
    return Nat(mapping, filtering, port_preservation=False, filter_by=filter_by)


@pytest.mark.parametrize("filter_by", ["mapping", "endpoint"])
@pytest.mark.parametrize("left", KINDS, ids=lambda kind: f"{kind[0].value}/{kind[1].value}")
def test_hole_punching_succeeds_in_the_simulator_exactly_where_the_oracle_says(left, filter_by):
    for right in KINDS:
        one, two = (Access(*kind, filters_by_endpoint=filter_by == "endpoint") for kind in (left, right))
        simulated = simulated_meeting(nat(left, filter_by), nat(right, filter_by))
        assert simulated == punches(one, two), right


def test_textbook_cases_of_hole_punching():
    def open_for(left, right):
        return punches(Access(*left), Access(*right))

    assert open_for((EI, APD), (EI, APD)), "two port-restricted NATs"
    assert open_for((APD, APD), (EI, AD)), "symmetric meets address-restricted"
    assert not open_for((APD, APD), (EI, APD)), "symmetric meets port-restricted"
    assert not open_for((APD, APD), (APD, APD)), "symmetric meets symmetric"


@pytest.mark.parametrize("left", KINDS)
def test_who_calls_does_not_matter(left):
    for right in KINDS:
        assert punches(Access(*left), Access(*right)) == punches(Access(*right), Access(*left))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("one_lan", Path.HOST),
        ("reflexive", Path.REFLEXIVE),
        ("relayed_udp", Path.RELAY_UDP),
        ("relayed_tcp", Path.RELAY_TCP),
    ],
)
def test_the_demo_networks_take_their_four_paths(name, path):
    assert expected_path(topologies.named(name), "alice", "bob", "edge") is path


@pytest.mark.parametrize(
    ("home", "hq", "path"),
    [
        (Firewall(), Firewall(), Path.REFLEXIVE),
        (Firewall(block_udp=True), Firewall(block_udp=True), Path.RELAY_TCP),
        (Firewall(block_udp=True, tcp_ports=(443,)), Firewall(), Path.NONE),
        (Firewall(block_udp=True, tcp_ports=(3478,)), Firewall(), Path.RELAY_TCP),
        (Firewall(tcp_ports=(443,)), Firewall(), Path.REFLEXIVE),
    ],
)
def test_firewalls_decide_how_the_relay_is_reached(home, hq, path):
    office = topologies.reflexive().with_router("home-nat", firewall=home).with_router("hq-nat", firewall=hq)
    assert expected_path(office, "alice", "bob", "edge") is path


def test_plain_routers_let_hosts_meet_unless_they_block_udp():
    plain = topologies.nats(None, None)
    assert expected_path(plain, "alice", "bob", "edge") is Path.HOST
    blocked = plain.with_router("hq-nat", firewall=Firewall(block_udp=True))
    assert expected_path(blocked, "alice", "bob", "edge") is Path.RELAY_TCP
    one_sided = topologies.nats(None, Nat())
    assert expected_path(one_sided, "alice", "bob", "edge") is Path.REFLEXIVE


def test_a_relay_that_speaks_tls_on_the_webs_port_is_reached_where_only_the_web_is():
    web_only = Firewall(block_udp=True, tcp_ports=(443,))
    office = topologies.reflexive().with_router("home-nat", firewall=web_only)
    assert expected_path(office, "alice", "bob", "edge", tls_port=443) is Path.RELAY_TLS
    assert expected_path(office, "alice", "bob", "edge", tls_port=5349) is Path.NONE


# --- networks that random cases found (tests/properties) ----------------------------------------------------
def path_of(alive: bool = True, **case: object) -> Path:
    return expected_path(topology(Case(**case)), "alice", "bob", "edge", 3478, 443, alive=alive)


def test_what_a_nat_takes_for_one_endpoint_is_a_mapping_of_the_nat_inside_of_it():
    """The outer filter opens for one mapping of the inner NAT only, which makes one for each destination."""
    inner, outer = Box("AD", by_endpoint=True), Box(filtering="AD")
    both = {"alice": Place(boxes=(inner, outer)), "bob": Place(boxes=(inner, outer))}
    assert path_of(**both) is Path.RELAY_UDP
    alone = Place(boxes=(Box("AD", "AD", by_endpoint=True),))
    assert path_of(alice=alone, bob=alone) is Path.REFLEXIVE


def test_two_homes_may_have_the_same_private_addresses():
    closed = Place(boxes=(Box(),), closed="udp")
    assert path_of(alice=closed, bob=closed, overlap=True) is Path.RELAY_TCP


@pytest.mark.parametrize(
    ("alice", "bob", "path"),
    [
        (Place(), Place(), Path.HOST),
        (Place(boxes=(Box("APD", "APD"),)), Place(), Path.REFLEXIVE),
        (Place(boxes=(Box(),)), Place(boxes=(Box(),)), Path.NONE),
        (Place(closed="udp"), Place(), Path.NONE),
    ],
)
def test_without_a_relay_they_meet_if_one_of_them_can_be_reached_where_it_is(alice, bob, path):
    assert path_of(alive=False, alice=alice, bob=bob) is path
    assert path_of(alive=False, alice=bob, bob=alice) is path


def test_a_public_host_is_on_the_internet_whatever_dead_ends_it_has():
    assert expectation(topology(Case(alice=Place(vpn=True)))).round_trip == pytest.approx(0.04)
