"""TCP and TLS as machines notice them: connecting, order, loss, refusal, names, closing, congestion."""

import pytest

from iceway.core.address import Address
from iceway.core.machine import (
    CloseListener,
    Connect,
    Listen,
    ListenerFailed,
    ListenerOpened,
    SendStream,
    StreamAccepted,
    StreamClosed,
    StreamCongested,
    StreamConnected,
    StreamReceived,
    TlsPeer,
)
from iceway.lab import topologies
from iceway.lab.topology import Behaviour, Link, Nat
from iceway.lab.world import Certificate, World
from iceway.lab.world.world import WALL_START
from iceway.trace.records import ConnectionClosed, PacketTranslated
from tests.lab.toys import Desk

ROUND_TRIP = 0.041
EDGE = {"edge": Certificate(("edge.example.test", "av.example.test"))}
SECURE = "198.51.100.2:443"


@pytest.fixture
def world():
    return World(topologies.reflexive(), seed=2)


def pair(world, *, edge=None, alice=None):
    return Desk(world, "edge", **(edge or {})), Desk(world, "alice", **(alice or {}))


def closed(desk, stream="out"):
    (reason,) = [event.reason for event in desk.toy.all(StreamClosed) if event.stream == stream]
    return reason


# --- TCP ------------------------------------------------------------------------------------------------
def test_a_connection_takes_one_round_trip_and_both_ends_know_each_other(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80", "web")
    alice.connects("198.51.100.2:80")
    assert world.run_until(lambda: alice.toy.all(StreamConnected), timeout=1)
    assert world.now == pytest.approx(ROUND_TRIP)
    world.advance(1)
    ours, theirs = alice.toy.last(StreamConnected), edge.accepted()
    assert (theirs.stream, theirs.key, theirs.peer) == ("web/1", "web", None)
    assert theirs.local == ours.remote == Address("198.51.100.2", 80)
    assert ours.local.ip == "192.168.1.20"
    assert theirs.remote == Address("198.51.100.77", ours.local.port)


def from_7000(desk, remote, stream="out"):
    ip = desk.world.topology.host(desk.name).ips[0]
    desk.does(Connect(stream, Address.parse(remote), ip, local_port=7000))


def test_two_that_connect_to_each_other_through_nats_have_one_connection(world):
    """RFC 9293 §3.5: each SYN opens its own NAT, and the second to arrive finds the other end connecting."""
    alice, bob = Desk(world, "alice"), Desk(world, "bob")
    outside = {
        name: world.topology.router(f"{at}-nat").outside.ip for name, at in (("alice", "home"), ("bob", "hq"))
    }
    from_7000(alice, f"{outside['bob']}:7000")
    world.advance(0.3)
    assert not alice.toy.all(StreamConnected), "bob's NAT let nothing in"
    from_7000(bob, f"{outside['alice']}:7000")
    world.advance(0.2)
    assert [desk.toy.last(StreamConnected).local.port for desk in (alice, bob)] == [7000, 7000]
    alice.says("out", b"hello")
    bob.says("out", b"hi")
    world.advance(1)
    assert (alice.toy.text("out"), bob.toy.text("out")) == (b"hi", b"hello")
    alice.closes("out")
    world.advance(1)
    assert closed(bob) == "closed by peer"


def test_connections_leave_from_a_listeners_port_if_that_is_shared(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80", "web")
    edge.listens("198.51.100.2:81", "other")
    alice.does(Listen("alone", Address("192.168.1.20", 7000)))
    from_7000(alice, "198.51.100.2:80", "no")
    world.advance(0)
    assert closed(alice, "no") == "192.168.1.20:7000 is already in use"
    alice.does(CloseListener("alone"), Listen("shared", Address("192.168.1.20", 7000), shared=True))
    for stream, remote in (("a", "198.51.100.2:80"), ("b", "198.51.100.2:81"), ("c", "198.51.100.2:80")):
        from_7000(alice, remote, stream)
    world.advance(1)
    assert {event.stream for event in alice.toy.all(StreamConnected)} == {"a", "b"}
    assert closed(alice, "c") == "192.168.1.20:7000 is already in use"
    alice.does(Listen("second", Address("192.168.1.20", 7000), shared=True))
    world.advance(0)
    assert alice.toy.last(ListenerFailed).key == "second"


def test_bytes_arrive_in_order_and_in_pieces(world):
    edge, alice = pair(world, edge={"echo": True})
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    message = bytes(range(256)) * 40
    alice.says("out", message)
    world.advance(2)
    assert alice.toy.text("out") == message
    assert len(alice.toy.all(StreamReceived)) > 5


@pytest.mark.parametrize("link", [Link(0.02, loss=0.2), Link(0.02, reorder=0.3), Link(0.02, duplicate=0.3)])
@pytest.mark.parametrize("seed", range(5))
def test_no_network_however_bad_changes_what_was_said(link, seed):
    world = World(topologies.reflexive().with_link("internet", link), seed)
    edge, alice = pair(world, edge={"echo": True, "identities": EDGE})
    edge.listens(SECURE, tls=("edge",))
    alice.connects(SECURE, tls=("edge.example.test",))
    assert world.run_until(lambda: alice.toy.all(StreamConnected), timeout=30)
    message = bytes(n % 251 for n in range(60_000))
    alice.says("out", message)
    assert world.run_until(lambda: alice.toy.text("out") == message, timeout=120)


def test_a_closed_port_refuses(world):
    _, alice = pair(world)
    alice.connects("198.51.100.2:81")
    world.advance(1)
    assert closed(alice) == "connection refused"


def test_an_address_that_nobody_has_times_out(world):
    _, alice = pair(world)
    alice.connects("198.51.100.99:80")
    world.advance(9.9)
    assert not alice.toy.all(StreamClosed)
    world.advance(0.2)
    assert closed(alice) == "timed out"


def test_without_a_route_there_is_nothing_to_wait_for(world):
    edge, _ = pair(world)
    edge.connects("203.0.113.1:80")
    world.advance(0)
    assert closed(edge) == "network unreachable"


def test_closing_sends_what_was_said_before_and_is_told_on_both_sides(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    alice.says("out", b"x" * 200_000)
    alice.closes("out")
    alice.says("out", b"too late")
    world.advance(5)
    assert edge.toy.text("in/1") == b"x" * 200_000
    assert closed(edge, "in/1") == "closed by peer"
    assert closed(alice) == "closed by us"


def test_an_aborted_connection_is_reset(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    alice.closes("out", abort=True)
    world.advance(1)
    assert closed(edge, "in/1") == "reset by peer"
    assert closed(alice) == "closed by us"


def test_giving_up_a_pending_connection_is_told_at_once(world):
    _, alice = pair(world)
    alice.connects("198.51.100.99:80")
    alice.closes("out")
    world.advance(0)
    assert closed(alice) == "closed by us"
    world.advance(20)
    assert len(alice.toy.all(StreamClosed)) == 1


def test_both_ends_may_close_at_once(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    alice.closes("out")
    edge.closes("in/1")
    world.advance(5)
    assert closed(alice) == closed(edge, "in/1") == "closed by us"


def test_a_peer_that_vanishes_is_noticed_only_by_who_speaks(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    world.unplug("edge")
    world.advance(600)
    assert not alice.toy.all(StreamClosed)
    alice.says("out", b"anybody?")
    world.advance(120)
    assert closed(alice) == "timed out"


def test_a_killed_program_leaves_as_its_kernel_does(world):
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    world.kill("edge")
    world.advance(1)
    assert closed(alice) == "closed by peer"
    alice.connects("198.51.100.2:80", "again")
    world.advance(1)
    assert closed(alice, "again") == "connection refused"


def test_a_closed_listener_keeps_the_connections_it_accepted(world):
    edge, alice = pair(world, edge={"echo": True})
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    edge.does(CloseListener("in"))
    alice.connects("198.51.100.2:80", "late")
    alice.says("out", b"hi")
    world.advance(1)
    assert closed(alice, "late") == "connection refused"
    assert alice.toy.text("out") == b"hi"
    edge.listens("198.51.100.2:80", "new")
    assert edge.toy.last(ListenerOpened).key == "new"


def test_a_listener_that_cannot_be_had_says_why(world):
    edge, _ = pair(world)
    edge.listens("198.51.100.2:80")
    for local, key, tls, words in (
        ("198.51.100.2:80", "second", None, "already in use"),
        ("198.51.100.2:81", "in", None, "open already"),
        ("198.51.100.3:80", "third", None, "no interface of this host"),
        ("198.51.100.2:82", "fourth", ("nobody",), "no certificate is called 'nobody'"),
    ):
        edge.listens(local, key, tls)
        assert words in edge.toy.last(ListenerFailed).reason


def test_congestion_is_told_when_the_buffer_fills_and_when_it_drains(world):
    world.set_link("internet", Link(0.02, rate=8e6))
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80")
    world.advance(1)
    alice.does(SendStream("out", b"x" * 60_000), SendStream("out", b"x" * 240_000))
    world.advance(0)
    assert alice.toy.all(StreamCongested) == [StreamCongested("out", True)]
    world.advance(60)
    assert alice.toy.all(StreamCongested) == [StreamCongested("out", True), StreamCongested("out", False)]
    assert len(edge.toy.text("in/1")) == 300_000


def test_connections_pass_a_symmetric_nat_with_a_mapping_each(world):
    nat = Nat(Behaviour.ADDRESS_AND_PORT_DEPENDENT, port_preservation=False)
    world = World(topologies.reflexive().with_router("home-nat", nat=nat))
    edge, alice = pair(world)
    edge.listens("198.51.100.2:80")
    alice.connects("198.51.100.2:80", "one")
    alice.connects("198.51.100.2:80", "two")
    world.advance(1)
    assert [e.stream for e in alice.toy.all(StreamConnected)] == ["one", "two"]
    told = [e.record for e in world.trace if isinstance(e.record, PacketTranslated) and e.record.outgoing]
    assert len({record.after for record in told}) == 2


# --- TLS ------------------------------------------------------------------------------------------------
def handshake(world, *, client=("edge.example.test",), server=("edge",), edge=None, alice=None):
    edge, alice = pair(world, edge={"identities": EDGE, **(edge or {})}, alice=alice)
    edge.listens(SECURE, "tls", server)
    alice.connects(SECURE, tls=client)
    world.advance(15)
    return edge, alice


def test_tls_takes_a_second_round_trip_and_proves_the_names(world):
    edge, alice = handshake(world)
    up = alice.toy.last(StreamConnected)
    assert up.peer == TlsPeer(("edge.example.test", "av.example.test"))
    assert edge.accepted().peer == TlsPeer(())
    assert alice.toy.instants[alice.toy.heard.index(up)] == pytest.approx(2 * ROUND_TRIP)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"client": ("b.test",)}, "certificate is for edge.example.test, av.example.test, not b.test"),
        ({"alice": {"trusted": ("elsewhere",)}}, "certificate not trusted"),
        (
            {
                "edge": {
                    "identities": {"edge": Certificate(("edge.example.test",), valid_until=WALL_START - 1)}
                }
            },
            "certificate expired",
        ),
        (
            {
                "edge": {
                    "identities": {"edge": Certificate(("edge.example.test",), valid_from=WALL_START + 300)}
                }
            },
            "certificate is not valid yet",
        ),
    ],
)
def test_a_certificate_that_does_not_convince_ends_the_connection(world, options, reason):
    edge, alice = handshake(world, **options)
    assert closed(alice) == reason
    assert not edge.toy.all(StreamAccepted)
    (refused,) = [e.record for e in world.trace if isinstance(e.record, ConnectionClosed)]
    assert (refused.stream, refused.remote.ip) == ("tls/1", "198.51.100.77")


def test_validity_is_judged_by_the_clients_own_clock(world):
    identities = {"edge": Certificate(("edge.example.test",), valid_from=WALL_START + 300)}
    _, alice = handshake(world, edge={"identities": identities}, alice={"wall_skew": 600.0})
    assert alice.toy.all(StreamConnected)


FRONTEND = {"frontend": Certificate(("frontend.example.test",))}


def test_mutual_tls_tells_the_server_who_called(world):
    edge, _ = handshake(
        world,
        server=("edge", True),
        client=("edge.example.test", "frontend"),
        alice={"identities": FRONTEND},
    )
    assert edge.accepted().peer == TlsPeer(("frontend.example.test",))


def test_an_anonymous_client_is_not_asked_who_it_is(world):
    edge, _ = handshake(
        world,
        server=("edge", False, True),
        client=("edge.example.test", "frontend"),
        alice={"identities": FRONTEND},
    )
    assert edge.accepted().peer == TlsPeer(())


@pytest.mark.parametrize(
    ("client", "certificate", "reason", "why"),
    [
        (("edge.example.test",), None, "peer wants a client certificate", "peer sent no certificate"),
        (
            ("edge.example.test", "frontend"),
            Certificate(("frontend.example.test",), authority="elsewhere"),
            "peer does not trust our certificate",
            "certificate not trusted",
        ),
    ],
)
def test_a_server_that_is_not_convinced_says_so_after_the_client_was_up(
    world, client, certificate, reason, why
):
    edge, alice = handshake(
        world, server=("edge", True), client=client, alice={"identities": {"frontend": certificate}}
    )
    assert alice.toy.all(StreamConnected)
    assert closed(alice) == reason
    assert not edge.toy.all(StreamAccepted)
    assert [e.record.reason for e in world.trace if isinstance(e.record, ConnectionClosed)] == [why]


def test_a_client_without_the_certificate_it_wants_to_show_does_not_connect(world):
    _, alice = handshake(world, client=("edge.example.test", "frontend"))
    assert closed(alice) == "no certificate is called 'frontend'"


def test_who_speaks_plainly_to_a_tls_port_is_cut_off(world):
    edge, alice = pair(world, edge={"identities": EDGE})
    edge.listens(SECURE, "tls", ("edge",))
    alice.connects(SECURE)
    world.advance(1)
    alice.says("out", b"GET / HTTP/1.0\r\n\r\n")
    world.advance(1)
    assert closed(alice) == "reset by peer"
    assert not edge.toy.all(StreamAccepted)


def test_who_speaks_tls_to_a_plain_port_is_heard_as_garbage(world):
    edge, alice = pair(world, edge={"echo": True})
    edge.listens(SECURE)
    alice.connects(SECURE, tls=("edge.example.test",))
    world.advance(15)
    assert edge.toy.text("in/1").startswith(b"\x16\x03")
    assert closed(alice) == "peer does not speak TLS"


def test_a_server_that_never_answers_the_hello_is_given_up(world):
    edge, alice = pair(world)
    edge.listens(SECURE)
    alice.connects(SECURE, tls=("edge.example.test",))
    world.advance(9)
    assert not alice.toy.all(StreamClosed)
    world.advance(2)
    assert closed(alice) == "TLS handshake timed out"
