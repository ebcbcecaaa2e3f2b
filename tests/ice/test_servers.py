"""What comes from a server's address, and what a refusal means."""

from __future__ import annotations

import random

from iceway.core.address import Address, Transport
from iceway.core.machine import Connect, StreamConnected, drain
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.servers import HostSocket, Job, ServerState, claims, client_of, is_mute, refusal
from iceway.turn.client import TurnClient
from iceway.wire import stun

SERVER = Address("198.51.100.2", 3478)
SOCKET = HostSocket(Address("10.0.0.1", 5000), 1, 0)


def made(kind: ServerKind, transport: Transport = Transport.UDP, socket: HostSocket | None = SOCKET):
    server = IceServer(kind, transport=transport, username="u", password="p", address=SERVER)
    return client_of("x", server, SERVER, socket, None, random.Random(1))


def test_the_answer_to_our_question_is_the_clients_and_a_strangers_is_not() -> None:
    for kind in ServerKind:
        client = made(kind)
        client.allocate(0.0) if isinstance(client, TurnClient) else client.ask(0.0)
        request = stun.parse(next(output.data for output in drain(client) if hasattr(output, "data")))
        assert claims(client, stun.serialize(stun.success_response(request)))
        other = stun.StunMessage(1, stun.MessageClass.SUCCESS, b"somebody's id")
        assert not claims(client, b"\x01\x01\x00\x00\x21\x12\xa4\x42" + other.transaction_id[:12])


def test_relayed_data_is_the_turn_clients_and_checks_are_not() -> None:
    turn, binding = made(ServerKind.TURN), made(ServerKind.STUN)
    channel = b"\x40\x00\x00\x04data"
    indication = stun.serialize(stun.StunMessage(stun.Method.DATA, stun.MessageClass.INDICATION, bytes(12)))
    check = stun.serialize(stun.StunMessage(1, stun.MessageClass.REQUEST, bytes(12)))
    media = b"\x80\x6f" + bytes(10)
    assert [claims(turn, data) for data in (channel, indication, check, media)] == [True, True, False, False]
    assert not any(claims(binding, data) for data in (channel, indication, check, media))


def test_stun_over_a_stream_is_of_no_use() -> None:
    assert made(ServerKind.STUN, Transport.TCP, None) is None
    assert isinstance(made(ServerKind.TURN, Transport.TCP, None), TurnClient)


def asked(ip: str, at: float | None, *, answered: bool = False) -> Job:
    """A server that was asked over UDP from an interface."""
    server = IceServer(ServerKind.STUN, address=SERVER)
    socket = HostSocket(Address(ip, 5000), 1, 0)
    client = client_of("x", server, SERVER, socket, None, random.Random(1))
    return Job(ServerState(server, 0), SERVER, 1, 0, socket, client, started_at=at, answered=answered)


def test_an_interface_on_which_nobody_answers_is_mute_once_that_means_something() -> None:
    jobs = [asked("10.8.0.1", 0.0), asked("10.0.0.1", 0.0, answered=True)]
    assert is_mute(jobs, "10.8.0.1", 0.5)
    assert not is_mute(jobs, "10.8.0.1", 0.49)  # asked once only; that may have been lost
    assert not is_mute(jobs, "10.0.0.1", 9.0)
    assert not is_mute(jobs, "10.9.0.1", 9.0)  # nobody was asked from there
    assert not is_mute([asked("10.8.0.1", None), jobs[1]], "10.8.0.1", 9.0)
    assert not is_mute(jobs[:1], "10.8.0.1", 9.0)  # perhaps the servers are dead
    assert not is_mute([jobs[0], asked("2001:db8::1", 0.0, answered=True)], "10.8.0.1", 9.0)


def test_udp_is_mute_where_servers_answer_over_tcp_alone() -> None:
    server = IceServer(ServerKind.TURN, transport=Transport.TCP, username="u", password="p", address=SERVER)
    client = made(ServerKind.TURN, Transport.TCP, None)
    client.allocate(0.0)
    (connect,) = (output for output in drain(client) if isinstance(output, Connect))
    client.handle_input(StreamConnected(connect.stream, Address("10.0.0.1", 40000), SERVER), 0.0)
    over_tcp = Job(ServerState(server, 0), SERVER, 1, 0, None, client, started_at=0.0, answered=True)
    assert is_mute([asked("10.0.0.1", 0.0), over_tcp], "10.0.0.1", 0.5)


def test_refusals_say_what_the_relay_minds() -> None:
    assert (
        refusal("10.0.0.1", 403, "Forbidden") == "relay refuses private peer address 10.0.0.1: 403 Forbidden"
    )
    assert refusal("203.0.113.1", 403, "") == "relay refuses peer address 203.0.113.1: 403"
    assert refusal("2001:db8::1", 443, "No") == "relay refuses peer address 2001:db8::1: 443 No"
    assert "did not say whether" in refusal("203.0.113.1", None, "no answer")
