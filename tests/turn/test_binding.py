"""The Binding client: its address from outside, or why not."""

from __future__ import annotations

from random import Random

import pytest

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import DatagramReceived
from iceway.trace.records import Malformed, StunReceived, StunSent
from iceway.turn.binding import BindingClient
from iceway.turn.events import BindingFailed, Bound
from iceway.wire import stun
from tests.turn.harness import DELAY, RELAY, Net, Node, add_server

LOCAL = Address("198.51.100.7", 40_000)


def add_binding_client(net: Net, server: Address = RELAY) -> tuple[Node, BindingClient]:
    client = BindingClient("alice/stun", server, Random(1), local=LOCAL)
    node = net.add(LOCAL.ip, client)
    net.share_socket(node, LOCAL)
    net.call(node, client.ask)
    return node, client


def answer(client: BindingClient, net: Net, node: Node, response: stun.StunMessage) -> None:
    node.feed(DatagramReceived(LOCAL, RELAY, stun.serialize(response)))


def request_of(node: Node) -> stun.StunMessage:
    return stun.parse(node.sent()[0])


def test_the_server_says_how_it_sees_us() -> None:
    net = Net()
    server = add_server(net)
    node, client = add_binding_client(net)
    net.run(1)
    assert node.events() == [Bound(LOCAL, pytest.approx(2 * DELAY))]
    assert client.done
    assert client.poll_timeout() is None
    assert [type(r) for r in node.records()] == [StunSent, StunReceived]
    assert len(server.sent()) == 1


def test_a_binding_answer_hardly_amplifies() -> None:
    """A forged source must not make the server a weapon: 40 bytes for 28, 32 for 20."""
    net = Net()
    server = add_server(net)
    node, _ = add_binding_client(net)
    net.run(1)
    assert len(server.sent()[0]) <= 1.6 * len(node.sent()[0])


def test_a_dead_server_fails_after_seven_requests() -> None:
    net = Net()
    node, client = add_binding_client(net)
    net.run(60)
    assert node.events() == [BindingFailed(None, "no answer", "no answer to 7 requests in 39.5 s")]
    assert len(node.sent()) == 7
    assert client.poll_timeout() is None


def test_an_error_is_told_with_its_code() -> None:
    net = Net()
    node, client = add_binding_client(net)
    answer(client, net, node, stun.error_response(request_of(node), 500, "Server Error"))
    assert node.events() == [BindingFailed(500, "Server Error", "the server answered 500 Server Error")]


def test_an_old_server_answers_with_the_plain_attribute() -> None:
    net = Net()
    node, client = add_binding_client(net)
    mapped = Address("192.0.2.9", 999)
    answer(client, net, node, stun.success_response(request_of(node), stun.MAPPED_ADDRESS(mapped)))
    assert node.events(Bound)[0].mapped == mapped  # type: ignore[attr-defined]


def test_an_empty_answer_is_a_failure() -> None:
    net = Net()
    node, client = add_binding_client(net)
    answer(client, net, node, stun.success_response(request_of(node)))
    assert node.events() == [BindingFailed(None, "useless answer", "the answer names no mapped address")]


def test_what_is_not_ours_changes_nothing() -> None:
    net = Net()
    node, client = add_binding_client(net)
    request = request_of(node)
    other = stun.StunMessage(request.method, request.message_class, bytes(12))
    answer(client, net, node, stun.success_response(other, stun.XOR_MAPPED_ADDRESS(LOCAL)))
    answer(client, net, node, request)
    node.feed(DatagramReceived(LOCAL, RELAY, b"\x00garbage"))
    success = stun.serialize(stun.success_response(request, stun.XOR_MAPPED_ADDRESS(LOCAL)))
    node.feed(DatagramReceived(LOCAL, Address("192.0.2.66", 3478), success))
    assert not node.events()
    assert len(node.records(Malformed)) == 1
    assert client.owns(request.transaction_id)
    assert not client.owns(bytes(12))


def test_close_ends_it_without_a_word() -> None:
    net = Net()
    node, client = add_binding_client(net)
    net.call(node, client.close)
    net.run(60)
    assert not node.events()
    assert client.poll_timeout() is None
    with pytest.raises(UsageError):
        client.ask(net.now)


def test_closed_before_it_asked_it_is_done() -> None:
    client = BindingClient("alice/stun", RELAY, Random(1), local=LOCAL)
    assert not client.done
    client.close(0.0)
    assert client.done
