"""Names: inside and outside are told different things; a name server out of reach is a time-out."""

import pytest

from iceway.core.machine import Answer, Resolved
from iceway.lab import topologies
from iceway.lab.topology import Firewall
from iceway.lab.world import World
from tests.lab.toys import Desk

OUTSIDE_SRV = (Answer("edge.example.test", 443),)
INSIDE_SRV = (Answer("frontend.example.test", 5061),)


def asks(world, host, name, record_type="A", wait=10.0):
    desk = Desk(world, host)
    desk.resolves(name, record_type)
    assert world.run_until(lambda: desk.toy.all(Resolved), timeout=wait)
    return desk.toy.last(Resolved)


@pytest.mark.parametrize(
    ("host", "name", "record_type", "answers"),
    [
        ("alice", "_sip._tls.example.test", "SRV", OUTSIDE_SRV),
        ("alice", "_sipinternaltls._tcp.example.test", "SRV", ()),
        ("bob", "_sipinternaltls._tcp.example.test", "SRV", INSIDE_SRV),
        ("bob", "_sip._tls.example.test", "SRV", ()),
        ("alice", "edge.example.test", "A", (Answer("198.51.100.2"),)),
        ("bob", "edge.example.test", "A", (Answer("10.0.0.2"),)),
        ("frontend", "edge.example.test", "A", (Answer("10.0.0.2"),)),
        ("edge", "frontend.example.test", "A", (Answer("10.0.0.10"),)),
        ("alice", "AV.Example.TEST.", "A", (Answer("198.51.100.2"),)),
        ("bob", "av.example.test", "A", (Answer("198.51.100.2"),)),
        ("bob", "av.example.test", "AAAA", ()),
        ("bob", "nothing.test", "A", ()),
    ],
)
def test_everybody_is_told_what_their_view_says(host, name, record_type, answers):
    reply = asks(World(topologies.reflexive()), host, name, record_type)
    assert (reply.answers, reply.error) == (answers, None)
    assert (reply.key, reply.name, reply.record_type) == ("lookup", name, record_type)


def test_an_answer_takes_a_round_trip_to_the_name_server():
    world = World(topologies.reflexive())
    asks(world, "alice", "av.example.test")
    assert world.now == pytest.approx(0.0415)


def test_a_name_server_that_is_gone_or_cut_off_is_a_time_out():
    gone = World(topologies.reflexive())
    gone.unplug("names")
    assert asks(gone, "alice", "av.example.test").error == "timed out"
    blocked = World(topologies.reflexive().with_router("home-nat", firewall=Firewall(block_udp=True)))
    assert asks(blocked, "alice", "av.example.test").error == "timed out"
    assert asks(blocked, "bob", "av.example.test").error is None


def test_a_host_without_a_name_server_says_so():
    assert asks(World(topologies.reflexive()), "names", "a.test").error == "no name server is configured"
