"""The same seed gives the same world, byte for byte, whatever Python's hash seed; and a world is quick."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iceway.core.errors import UsageError
from iceway.core.machine import AddressesChanged
from iceway.lab import topologies
from iceway.lab.topology import Interface
from iceway.lab.world import World
from tests.lab.toys import Desk

SCRIPT = """
from iceway.core.machine import StreamConnected
from iceway.lab import topologies
from iceway.lab.topology import Link
from iceway.lab.world import Certificate, World
from iceway.trace.entry import to_json
from iceway.trace.records import Note
from tests.lab.toys import Desk

office = topologies.relayed_udp().with_link("internet", Link(0.02, jitter=0.01, loss=0.05, reorder=0.05))
world = World(office, seed={seed!r})
edge = Desk(world, "edge", echo=True, identities={{"edge": Certificate(("edge.test",))}})
alice, bob = Desk(world, "alice"), Desk(world, "bob")
edge.listens("198.51.100.2:443", tls=("edge",))
relay = edge.opens("198.51.100.2:3478")
sockets = [(desk, desk.opens(ip)) for desk, ip in ((alice, "192.168.1.20"), (bob, "10.0.0.20"))]
alice.connects("198.51.100.2:443", tls=("edge.test",))
for n in range(200):
    for desk, local in sockets:
        desk.sends(local, relay, b"voice" * 30)
    alice.says("out", b"signal" * 100)
    world.advance(0.02)
world.advance(5)
for desk in (alice, bob, edge):
    for event, at in zip(desk.toy.heard, desk.toy.instants):
        world.record(desk.name, Note("info", f"{{at!r}} {{event!r}}"))
for entry in world.trace:
    print(to_json(entry))
"""


def run_script(seed, hash_seed):
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(seed=seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_same_seed_gives_the_same_trace_under_any_hash_seed():
    first, *others = [run_script(7, hash_seed) for hash_seed in ("0", "1", "42")]
    assert len(first) > 100_000
    assert others == [first, first]
    assert run_script(8, "0") != first


def test_chance_is_a_matter_of_seed_and_name():
    world = World(topologies.one_lan(), seed=3)
    assert world.rng("alice") is world.rng("alice")
    assert world.rng("alice").random() == World(topologies.one_lan(), seed=3).rng("alice").random()
    assert world.rng("bob").random() != World(topologies.one_lan(), seed=4).rng("bob").random()


def test_five_seconds_of_voice_both_ways_cost_well_under_a_second():
    world = World(topologies.reflexive(), seed=1)
    alice, bob, edge = Desk(world, "alice"), Desk(world, "bob"), Desk(world, "edge")
    a, b = alice.opens("192.168.1.20:5000"), bob.opens("10.0.0.20:6000")
    alice_outside, bob_outside = edge.opens("198.51.100.2:1"), edge.opens("198.51.100.2:2")
    alice.sends(a, alice_outside)
    bob.sends(b, bob_outside)
    world.advance(1)
    began = time.process_time()
    for _ in range(250):
        alice.sends(a, bob_outside._replace(ip="198.51.100.1", port=6000), b"x" * 172)
        bob.sends(b, alice_outside._replace(ip="198.51.100.77", port=5000), b"x" * 172)
        world.advance(0.02)
    assert len(bob.toy.data) >= 248
    assert len(alice.toy.data) >= 248
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("name", topologies.TOPOLOGIES)
def test_every_host_reaches_the_edge_where_its_network_lets_it(name):
    world = World(topologies.named(name))
    edge = Desk(world, "edge", echo=True)
    relay = edge.opens("198.51.100.2:3478")
    edge.listens("198.51.100.2:443")
    for host in ("alice", "bob"):
        desk = Desk(world, host)
        desk.sends(desk.opens(world.topology.host(host).ips[0]), relay)
        desk.connects("198.51.100.2:443")
        desk.says("out", b"hello")
        world.advance(1)
        blocked = name == "relayed_tcp" and host == "bob"
        assert desk.toy.data == ([] if blocked else [b"hello"])
        assert desk.toy.text("out") == b"hello"


def test_a_host_that_moves_is_reached_where_it_is_and_what_it_had_before_is_dead():
    world = World(topologies.reflexive(), seed=1)
    edge, alice = Desk(world, "edge", echo=True), Desk(world, "alice")
    there, before = edge.opens("198.51.100.2:3478"), alice.opens("192.168.1.20")
    world.move("alice", Interface("internet", "198.51.100.90"))
    assert alice.toy.heard[-1] == AddressesChanged(("198.51.100.90",))
    alice.sends(before, there, b"from an address that is gone")
    world.advance(1)
    assert not edge.toy.data
    now = alice.opens("198.51.100.90")
    alice.sends(now, there, b"hello")
    world.advance(1)
    assert alice.toy.data == [b"hello"]


def test_nobody_moves_into_an_address_that_is_taken():
    world = World(topologies.reflexive(), seed=1)
    with pytest.raises(UsageError, match="belongs to edge"):
        world.move("alice", Interface("internet", "198.51.100.2"))


def test_what_is_open_on_a_host_can_be_seen():
    world = World(topologies.relayed_udp())
    edge, alice = Desk(world, "edge"), Desk(world, "alice")
    edge.listens("198.51.100.2:3478")
    local = alice.opens("192.168.1.20")
    alice.connects("198.51.100.2:3478")
    world.advance(1)
    assert "tcp 198.51.100.2:3478" in world.sockets("edge")
    assert f"udp {local}" in world.sockets("alice")
    assert any(socket.endswith("to 198.51.100.2:3478") for socket in world.sockets("alice"))
    assert not world.sockets("bob")
