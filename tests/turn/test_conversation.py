"""Client and server of this room talking to each other, over UDP and TCP, on good and bad days."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import ClockSet, Listen, SendDatagram, SendStream, TlsClient, TlsServer
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    ChannelBound,
    ConnectionClosed,
    PermissionInstalled,
    RelayDropped,
    RelayRefused,
    StunReceived,
    StunSent,
)
from iceway.turn.auth import TimeLimitedAuthenticator
from iceway.turn.client import State, TurnClient
from iceway.turn.config import TurnListener
from iceway.turn.events import Allocated, AllocationFailed, AllocationLost, PeerData, PeerRefused
from iceway.turn.server import Listening
from iceway.wire import stun
from tests.turn.harness import DELAY, RELAY, WALL, Net, Node, add_client, add_server, server_config

BOTH = pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])


def machine(node: Node) -> TurnClient:
    assert isinstance(node.machine, TurnClient)
    return node.machine


def allocate(net: Net, node: Node) -> Address:
    """The client asks and gets."""
    net.call(node, machine(node).allocate)
    assert net.run_until(lambda: bool(node.events(Allocated, AllocationFailed)), 60)
    (event,) = node.events(Allocated, AllocationFailed)
    assert isinstance(event, Allocated), event
    return event.relayed


def failure(net: Net, node: Node) -> AllocationFailed:
    net.call(node, machine(node).allocate)
    assert net.run_until(lambda: bool(node.events()), 60)
    (event,) = node.events()
    assert isinstance(event, AllocationFailed), event
    return event


def send(net: Net, node: Node, peer: Address, data: bytes) -> None:
    net.call(node, machine(node).send, peer, data)


def data_heard(node: Node) -> list[tuple[Address, bytes]]:
    return [(event.peer, event.data) for event in node.events(PeerData)]  # type: ignore[attr-defined]


# --- good days ------------------------------------------------------------------------------------------
@BOTH
def test_a_client_allocates_and_talks_with_a_peer(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport)
    peer = net.peer("198.51.100.99", 7000, echo=True)
    relayed = allocate(net, alice)
    assert relayed.ip == RELAY.ip
    assert 49152 <= relayed.port <= 65535

    send(net, alice, peer.address, b"hello")
    net.run(1)
    assert peer.heard == [(relayed, b"hello")]
    assert data_heard(alice) == [(peer.address, b"hello")]

    (created,) = server.records(AllocationCreated)
    assert created.user_id == "alice"
    assert created.transport == transport.value
    assert server.records(PermissionInstalled) == [PermissionInstalled(relayed, peer.address.ip)]
    assert not server.records(RelayRefused)


def test_allocated_tells_address_lifetime_and_round_trip() -> None:
    net = Net()
    add_server(net)
    alice = add_client(net, "198.51.100.7")
    relayed = allocate(net, alice)
    (event,) = alice.events()
    assert event == Allocated(relayed, Address("198.51.100.7", 40_000), 600.0, pytest.approx(2 * DELAY))


def test_the_messages_of_an_allocation_in_order() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    allocate(net, alice)
    seen = [(type(r).__name__, r.method, r.message_class) for r in alice.records(StunSent, StunReceived)]
    assert seen == [
        ("StunSent", "Allocate", "request"),
        ("StunReceived", "Allocate", "error"),
        ("StunSent", "Allocate", "request"),
        ("StunReceived", "Allocate", "success"),
    ]
    mirrored = [(type(r).__name__, r.raw) for r in server.records(StunSent, StunReceived)]
    assert mirrored == [
        ("StunReceived" if isinstance(r, StunSent) else "StunSent", r.raw)
        for r in alice.records(StunSent, StunReceived)
    ]
    assert Listening(Transport.UDP, RELAY) in server.events()


@BOTH
def test_a_busy_peer_gets_a_channel_and_data_goes_on(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport)
    peer = net.peer("198.51.100.99", 7000, echo=True)
    relayed = allocate(net, alice)
    said = [bytes([n]) * (n + 1) for n in range(20)]
    for packet in said:
        send(net, alice, peer.address, packet)
        net.run(0.1)
    net.run(1)
    assert server.records(ChannelBound) == [ChannelBound(relayed, 0x4000, peer.address)]
    assert [data for _, data in peer.heard] == said
    assert [data for _, data in data_heard(alice)] == said
    assert alice.sent()[-1][:2] == b"\x40\x00"
    assert server.sent()[-1][:2] == b"\x40\x00"


def test_bind_makes_a_channel_at_once_and_what_was_queued_goes_out() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    peer = net.peer("198.51.100.99", 7000)
    allocate(net, alice)
    net.call(alice, machine(alice).bind, peer.address)
    send(net, alice, peer.address, b"first")
    net.run(1)
    send(net, alice, peer.address, b"second")
    net.run(1)
    assert [data for _, data in peer.heard] == [b"first", b"second"]
    assert len(server.records(ChannelBound)) == 1


@BOTH
def test_an_hour_of_quiet_does_not_end_it(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport)
    one, two = net.peer("198.51.100.98", 7000), net.peer("198.51.100.99", 7000)
    relayed = allocate(net, alice)
    send(net, alice, one.address, b"x")
    net.call(alice, machine(alice).bind, two.address)
    for _ in range(60):
        net.run(60)
        one.sends(relayed, b"by indication")
        two.sends(relayed, b"by channel")
    net.run(1)
    assert len(data_heard(alice)) == 120
    assert not alice.events(AllocationLost, PeerRefused)
    assert not server.records(RelayDropped, AllocationEnded, RelayRefused)


@BOTH
def test_close_gives_the_address_back_and_leaves_no_timer(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport)
    relayed = allocate(net, alice)
    send(net, alice, Address("198.51.100.99", 7000), b"x")
    net.call(alice, machine(alice).close)
    net.run(3)
    (ended,) = server.records(AllocationEnded)
    assert (ended.relayed, ended.reason) == (relayed, "released by client")
    assert machine(alice).state is State.ENDED
    assert machine(alice).poll_timeout() is None
    assert not alice.events(AllocationLost)
    if transport is Transport.TCP:
        assert server.records(ConnectionClosed)


def test_close_while_the_answer_is_on_its_way_gives_the_address_back_too() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    net.call(alice, machine(alice).allocate)
    net.run(3.5 * DELAY)
    net.call(alice, machine(alice).close)
    net.run(3)
    assert [record.reason for record in server.records(AllocationEnded)] == ["released by client"]
    assert machine(alice).state is State.ENDED
    assert not alice.events()


def test_close_of_a_dead_relay_takes_two_and_a_half_seconds_and_no_more() -> None:
    net = Net()
    add_server(net)
    alice = add_client(net, "198.51.100.7")
    allocate(net, alice)
    net.lose = lambda source, target, data: True
    start = net.now
    net.call(alice, machine(alice).close)
    assert net.run_until(lambda: machine(alice).state is State.ENDED)
    assert net.now - start == pytest.approx(2.5)
    assert machine(alice).poll_timeout() is None


# --- relay to relay -------------------------------------------------------------------------------------
@pytest.mark.parametrize("external", [None, "198.51.100.2"])
def test_two_clients_of_one_relay_reach_each_other_through_it(external: str | None) -> None:
    """Also behind a one-to-one NAT that turns nothing around: here nobody routes the external address."""
    net = Net()
    server = add_server(net, server_config(external_ip=external))
    alice = add_client(net, "198.51.100.7")
    bob = add_client(net, "198.51.100.8", Transport.TCP, user="bob")
    hers, his = allocate(net, alice), allocate(net, bob)
    assert hers.ip == his.ip == (external or RELAY.ip)
    net.call(bob, machine(bob).permit, (hers.ip,))
    net.run(1)
    send(net, alice, his, b"hello bob")
    net.run(1)
    assert data_heard(bob) == [(hers, b"hello bob")]
    net.call(bob, machine(bob).bind, hers)
    net.run(1)
    send(net, bob, hers, b"hello alice")
    net.run(1)
    assert data_heard(alice) == [(his, b"hello alice")]
    assert not server.records(RelayDropped, RelayRefused)


def test_without_permission_not_even_a_neighbour_gets_through() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    bob = add_client(net, "198.51.100.8", user="bob")
    hers, his = allocate(net, alice), allocate(net, bob)
    send(net, alice, his, b"hello bob")
    net.run(1)
    assert not data_heard(bob)
    (dropped,) = server.records(RelayDropped)
    assert (dropped.relayed, dropped.peer) == (his, hers)
    assert "no permission" in dropped.reason


def test_a_client_may_hear_itself() -> None:
    net = Net()
    add_server(net)
    alice = add_client(net, "198.51.100.7")
    hers = allocate(net, alice)
    send(net, alice, hers, b"echo")
    net.run(1)
    assert data_heard(alice) == [(hers, b"echo")]


# --- loss and silence -----------------------------------------------------------------------------------
def test_a_third_of_all_packets_lost_costs_time_only() -> None:
    net = Net(seed=3)
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    net.lose = lambda source, target, data: net.rng.random() < 1 / 3
    relayed = allocate(net, alice)
    net.call(alice, machine(alice).permit, ("198.51.100.99",))
    net.call(alice, machine(alice).bind, Address("198.51.100.99", 7000))
    net.run(40)
    assert [r.relayed for r in server.records(AllocationCreated)] == [relayed]
    assert len(server.records(ChannelBound)) == 1
    assert not alice.events(AllocationLost, PeerRefused)


def test_a_lost_answer_is_given_again_and_nothing_happens_twice() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    lost = []

    def lose(source: Address, target: Address, data: bytes) -> bool:
        if source == RELAY and stun.parse(data).class_name == "success" and len(lost) < 2:
            lost.append(data)
            return True
        return False

    net.lose = lose
    allocate(net, alice)
    assert lost[0] == lost[1]
    assert len(server.records(AllocationCreated)) == 1


def test_a_dead_relay_is_given_up_after_seven_requests() -> None:
    net = Net()
    alice = add_client(net, "198.51.100.7")
    start = net.now
    event = failure(net, alice)
    assert net.now - start == pytest.approx(39.5)  # RFC 8489 §6.2.1
    assert event == AllocationFailed(None, "no answer", "no answer to 7 requests in 39.5 s")
    assert [type(r) for r in alice.records()] == [StunSent] * 7
    assert machine(alice).poll_timeout() is None


def test_over_tcp_requests_are_not_repeated() -> None:
    net = Net()
    add_server(net)
    alice = add_client(net, "198.51.100.7", Transport.TCP)
    net.delay = 2.0
    allocate(net, alice)
    assert len(alice.records(StunSent)) == 2


def test_a_relay_that_dies_is_noticed_at_the_next_refresh() -> None:
    net = Net()
    add_server(net)
    alice = add_client(net, "198.51.100.7")
    allocate(net, alice)
    net.lose = lambda source, target, data: True
    net.run(700)
    assert alice.events(AllocationLost) == [AllocationLost("no answer to 7 requests in 39.5 s")]
    assert machine(alice).poll_timeout() is None


# --- streams --------------------------------------------------------------------------------------------
def test_under_tls_it_is_the_same_with_another_name() -> None:
    net = Net()
    listener = TurnListener(Transport.TLS, Address(RELAY.ip, 443), TlsServer("edge"))
    server = add_server(net, server_config(listeners=(listener,)))
    alice = add_client(
        net, "198.51.100.7", Transport.TLS, server=listener.address, tls=TlsClient("av.example.test")
    )
    allocate(net, alice)
    assert Listen("turn/tls.0", listener.address, TlsServer("edge")) in server.outputs
    assert [record.transport for record in server.records(AllocationCreated)] == ["tls"]
    assert machine(alice).label == "turn:203.0.113.1:443?transport=tls"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_over_tcp_arrive_however_they_are_cut(size: int) -> None:
    net = Net()
    net.chop = size
    add_server(net)
    alice = add_client(net, "198.51.100.7", Transport.TCP)
    peer = net.peer("198.51.100.99", 7000, echo=True)
    allocate(net, alice)
    net.call(alice, machine(alice).bind, peer.address)
    net.run(1)
    for text in (b"a", b"bc", b"def"):
        send(net, alice, peer.address, text)
    net.run(1)
    assert [data for _, data in data_heard(alice)] == [b"a", b"bc", b"def"]


def test_a_server_that_stops_ends_everything_and_the_client_hears_of_it() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", Transport.TCP)
    allocate(net, alice)
    net.call(server, server.machine.stop)  # type: ignore[attr-defined]
    net.run(1)
    assert [record.reason for record in server.records(AllocationEnded)] == ["shut down"]
    assert alice.events(AllocationLost) == [
        AllocationLost("the connection to the relay ended: closed by peer")
    ]
    assert server.machine.poll_timeout() is None


def test_a_refused_connection_fails_at_once_with_the_cause() -> None:
    net = Net()
    alice = add_client(net, "198.51.100.7", Transport.TCP)
    assert failure(net, alice) == AllocationFailed(None, "no connection", "connection refused")


def test_a_swallowed_connection_fails_in_ten_seconds() -> None:
    net = Net()
    net.black_holes.add(RELAY)
    alice = add_client(net, "198.51.100.7", Transport.TCP)
    start = net.now
    assert failure(net, alice) == AllocationFailed(None, "no connection", "no connection after 10 s")
    assert net.now - start == pytest.approx(10)


# --- credentials ----------------------------------------------------------------------------------------
@BOTH
def test_a_wrong_password_fails_with_the_cause_on_both_sides(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport, password="wrong")
    event = failure(net, alice)
    assert (event.code, event.reason) == (401, "Unauthorized")
    assert event.detail == "401 Unauthorized: it does not accept user name and password"
    (refused,) = server.records(RelayRefused)
    assert (refused.code, refused.detail) == (401, "wrong password for alice")
    assert len(alice.records(StunSent)) == 2


def test_an_unknown_user_learns_no_more_than_a_wrong_password() -> None:
    net = Net()
    server, mallory = add_server(net), add_client(net, "198.51.100.7", user="mallory")
    assert failure(net, mallory).reason == "Unauthorized"
    assert [record.detail for record in server.records(RelayRefused)] == ["unknown user"]


def test_time_limited_credentials_work_until_they_expire() -> None:
    net = Net()
    authenticator = TimeLimitedAuthenticator("secret")
    username, password = authenticator.credentials("alice", WALL + 1000)
    server = add_server(net, authenticator=authenticator)
    alice = add_client(net, "198.51.100.7", user=username, password=password)
    allocate(net, alice)
    net.run(1200)
    (lost,) = alice.events(AllocationLost)
    assert "401: Credentials expired" in lost.reason  # type: ignore[attr-defined]
    assert server.records(RelayRefused)[0].detail.startswith("credentials expired")  # type: ignore[attr-defined]


def test_credentials_renewed_in_time_carry_a_call_over_their_expiry() -> None:
    """The user name changes with the expiry; the allocation belongs to the user."""
    net = Net()
    authenticator = TimeLimitedAuthenticator("secret")
    server = add_server(net, authenticator=authenticator)
    first = authenticator.credentials("alice", WALL + 1000)
    second = authenticator.credentials("alice", WALL + 10_000)
    alice = add_client(net, "198.51.100.7", user=first[0], password=first[1])
    allocate(net, alice)
    net.run(900)
    net.call(alice, machine(alice).renew, *second)
    net.run(2000)
    assert not alice.events(AllocationLost)
    assert not server.records(RelayRefused, AllocationEnded)


def test_expired_credentials_fail_and_both_sides_know_for_how_long() -> None:
    net = Net()
    authenticator = TimeLimitedAuthenticator("secret")
    username, password = authenticator.credentials("alice", WALL - 93)
    server = add_server(net, authenticator=authenticator)
    alice = add_client(net, "198.51.100.7", user=username, password=password)
    event = failure(net, alice)
    assert event == AllocationFailed(401, "Credentials expired 93 s ago", "401: Credentials expired 93 s ago")
    assert server.records(RelayRefused)[0].detail == "credentials expired 93 s ago"  # type: ignore[attr-defined]


def test_a_clock_ten_minutes_off_is_what_the_server_goes_by() -> None:
    net = Net()
    authenticator = TimeLimitedAuthenticator("secret")
    server = add_server(net, authenticator=authenticator)
    username, password = authenticator.credentials("alice", WALL + 300)
    server.feed(ClockSet(WALL - net.now + 600))
    alice = add_client(net, "198.51.100.7", user=username, password=password)
    assert failure(net, alice).reason == "Credentials expired 300 s ago"


def test_a_nonce_that_grew_stale_is_renewed_unnoticed() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    allocate(net, alice)
    net.run(2 * 3600)
    stale = [r for r in server.records(StunSent) if ("ERROR-CODE", "438 Stale Nonce") in r.attributes]  # type: ignore[attr-defined]
    assert stale
    assert not alice.events(AllocationLost)
    assert not server.records(RelayRefused, AllocationEnded)


# --- refusals -------------------------------------------------------------------------------------------
@BOTH
def test_a_forbidden_peer_fails_alone(transport: Transport) -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7", transport)
    good, bad = net.peer("198.51.100.99", 7000), net.peer("192.168.1.5", 7000)
    allocate(net, alice)
    send(net, alice, bad.address, b"knock")
    send(net, alice, good.address, b"knock")
    net.run(1)
    assert alice.events(PeerRefused) == [PeerRefused("192.168.1.5", 403, "Forbidden")]
    assert not bad.heard
    assert len(good.heard) == 1
    assert server.records(RelayRefused)[0].detail == "192.168.1.5 is private"  # type: ignore[attr-defined]
    send(net, alice, bad.address, b"again")
    net.call(alice, machine(alice).bind, bad.address)
    net.run(1)
    assert len(alice.events(PeerRefused)) == 1
    assert len(server.records(RelayRefused)) == 1


def test_a_peer_of_the_other_family_is_refused_without_asking() -> None:
    net = Net()
    server, alice = add_server(net), add_client(net, "198.51.100.7")
    allocate(net, alice)
    net.call(alice, machine(alice).permit, ("2001:db8::1",))
    (refused,) = alice.events(PeerRefused)
    assert (refused.peer_ip, refused.code) == ("2001:db8::1", 443)  # type: ignore[attr-defined]
    net.run(1)
    assert not server.records(RelayRefused)


def test_the_quota_of_a_user_holds_and_comes_back() -> None:
    net = Net()
    server = add_server(net, server_config(max_allocations_per_user=2))
    clients = [add_client(net, f"198.51.100.{n}") for n in range(1, 4)]
    bob = add_client(net, "198.51.100.8", user="bob")
    allocate(net, clients[0])
    allocate(net, clients[1])
    event = failure(net, clients[2])
    assert (event.code, event.reason) == (486, "Allocation Quota Reached")
    assert server.records(RelayRefused)[0].detail == "alice has 2 allocations"  # type: ignore[attr-defined]
    allocate(net, bob)
    net.call(clients[0], machine(clients[0]).close)
    net.run(1)
    allocate(net, add_client(net, "198.51.100.9"))


def test_a_relay_without_ports_says_508() -> None:
    net = Net()
    server = add_server(net, server_config(relay_ports=(50_000, 50_001)))
    net.taken.add(Address(RELAY.ip, 50_000))
    event = failure(net, add_client(net, "198.51.100.7"))
    assert (event.code, event.detail) == (
        508,
        "508 Insufficient Capacity: it has no relay address or port left",
    )
    assert server.records(RelayRefused)[0].detail == "no relayed socket: address already in use"  # type: ignore[attr-defined]


def test_a_family_the_relay_lacks_is_a_440() -> None:
    net = Net()
    add_server(net)
    assert failure(net, add_client(net, "198.51.100.7", requested_family=6)).code == 440


def test_a_relay_of_both_families_gives_what_is_asked() -> None:
    net = Net()
    add_server(net, server_config(relay_ip6="2001:db8::1"))
    assert allocate(net, add_client(net, "198.51.100.7", requested_family=6)).ip == "2001:db8::1"
    assert allocate(net, add_client(net, "198.51.100.8", user="bob")).ip == RELAY.ip


def test_a_client_that_comes_back_on_the_same_port_clears_its_old_allocation() -> None:
    net = Net()
    server = add_server(net)
    first = add_client(net, "198.51.100.7")
    old = allocate(net, first)
    net.nodes.remove(first)
    second = add_client(net, "198.51.100.7")
    new = allocate(net, second)
    assert [record.relayed for record in server.records(AllocationEnded)] == [old]
    assert [record.relayed for record in server.records(AllocationCreated)] == [old, new]


def test_somebody_elses_allocation_on_the_same_port_is_not_touched() -> None:
    net = Net()
    server = add_server(net)
    first = add_client(net, "198.51.100.7")
    allocate(net, first)
    net.nodes.remove(first)
    event = failure(net, add_client(net, "198.51.100.7", user="bob"))
    assert event.code == 437
    assert not server.records(AllocationEnded)
    assert [(r.code, r.user_id) for r in server.records(RelayRefused)] == [  # type: ignore[attr-defined]
        (437, "bob"),
        (441, "bob"),
        (437, "bob"),
    ]


def test_without_an_allocation_sending_is_silent() -> None:
    net = Net()
    alice = add_client(net, "198.51.100.7")
    send(net, alice, Address("198.51.100.99", 1), b"x")
    assert not [o for o in alice.outputs if isinstance(o, SendDatagram | SendStream)]
