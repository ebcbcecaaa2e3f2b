"""The proxy as conversations (RFC 3261 §16): an owner with a table of routes, peers on its connections."""

from __future__ import annotations

from random import Random

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import TlsServer
from iceway.sip.flow_token import FlowTokens
from iceway.sip.proxy_events import Hop
from iceway.sip.websocket import WebSocketConfig
from iceway.wire.sip import NameAddr, SipUri
from tests.sip.bench import Peer
from tests.sip.proxy_bench import Network, invite


def test_a_call_goes_through_and_every_response_comes_back() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite("bob", "Max-Forwards: 10"), body="v=0")
    asked = bob.hears_request("INVITE")
    assert asked.uri == f"sip:bob@{bob.remote}"
    assert asked.max_forwards == 9
    assert asked.body == b"v=0"
    assert len(asked.vias) == 2
    bob.answers(asked, 180)
    assert len(alice.hears_response(180).vias) == 1
    bob.answers(asked, 200, ("Contact", f"<sip:bob@{bob.remote}>"))
    assert alice.hears_response(200).top_via.branch == "z9hG4bKa"
    alice.hears_nothing()


def test_a_missing_max_forwards_becomes_seventy_and_zero_is_refused() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    assert bob.hears_request("INVITE").max_forwards == 70
    alice.says(*invite("bob", "Max-Forwards: 0", branch="z9hG4bKb"))
    alice.hears_response(483)
    bob.hears_nothing()


def _dialog(network: Network, alice: Peer, bob: Peer) -> tuple[list[str], list[str]]:
    """Set a call up; the route sets of Alice (reversed) and of Bob (as it came)."""
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    routes = [str(route) for route in asked.record_routes]
    bob.answers(asked, 200, ("Contact", f"<sip:bob@{bob.remote}>"), tag="b")
    answer = alice.hears_response(200)
    assert [str(route) for route in answer.record_routes] == routes
    return routes[::-1], routes


def _within(method: str, by: str, to: str, routes: list[str], cseq: int = 2) -> list[str]:
    tags = {"alice": "a", "bob": "b"}
    return [
        f"{method} sip:{to}@203.0.113.9:1 SIP/2.0",
        f"Via: SIP/2.0/TLS 192.0.2.10:5061;branch=z9hG4bK{method}{by}{cseq}",
        f"From: <sip:{by}@example.test>;tag={tags[by]}",
        f"To: <sip:{to}@example.test>;tag={tags[to]}",
        "Call-ID: call-1",
        f"CSeq: {cseq} {method}",
        *(f"Route: {route}" for route in routes),
    ]


def test_both_ends_find_each_other_again_over_their_flows() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    hers, his = _dialog(network, alice, bob)
    assert len(his) == 2
    alice.says(*_within("ACK", "alice", "bob", hers, 1))
    ack = bob.hears_request("ACK")
    assert ack.uri == "sip:bob@203.0.113.9:1"
    assert ack.routes == ()
    bob.says(*_within("BYE", "bob", "alice", his))
    bye = alice.hears_request("BYE")
    assert bye.record_routes == ()
    alice.answers(bye, 200)
    bob.hears_response(200)


def test_a_flow_that_is_gone_is_430_within_a_dialog() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    hers, _ = _dialog(network, alice, bob)
    bob.hangs_up()
    alice.says(*_within("BYE", "alice", "bob", hers))
    alice.hears_response(430)


def test_a_token_that_somebody_forged_leads_nowhere() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    hers, _ = _dialog(network, alice, bob)
    forged = [hers[0], hers[1].replace("sip:", "sip:x", 1)]
    alice.says(*_within("BYE", "alice", "bob", forged))
    alice.hears_response(430)
    bob.hears_nothing()


def test_towards_a_server_only_the_clients_flow_is_remembered() -> None:
    network = Network()
    alice, server = network.joins("alice"), network.joins("bob", client=False)
    hers, his = _dialog(network, alice, server)
    assert len(his) == 1
    server.says(*_within("BYE", "bob", "alice", his))
    alice.answers(alice.hears_request("BYE"), 200)
    server.hears_response(200)
    # From Alice the same value means: onward.
    alice.says(*_within("INFO", "alice", "bob", [*hers, "<sip:next.example.test;lr>"], 3))
    assert network.arrived[-1].destination is None
    assert network.arrived[-1].ours
    assert network.arrived[-1].request.headers.all("Route") == ("<sip:next.example.test;lr>",)


def test_a_client_that_reconnected_still_gets_its_dialog_onward() -> None:
    network = Network()
    alice, server = network.joins("alice"), network.joins("bob", client=False)
    hers, _ = _dialog(network, alice, server)
    alice.hangs_up()
    again = network.joins("alice")
    again.says(*_within("INFO", "alice", "bob", [*hers, "<sip:next.example.test;lr>"]))
    assert not network.arrived[-1].gone


def test_a_strict_router_before_us_is_understood() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    hers, _ = _dialog(network, alice, bob)
    lines = _within("BYE", "alice", "bob", [hers[1], "<sip:bob@203.0.113.9:1>"])
    lines[0] = f"BYE {NameAddr.parse(hers[0]).uri} SIP/2.0"
    alice.says(*lines)
    assert bob.hears_request("BYE").uri == "sip:bob@203.0.113.9:1"


def test_a_strict_router_after_us_gets_itself_as_request_uri() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite("bob", "Route: <sip:old.example.test>"))
    asked = bob.hears_request("INVITE")
    assert asked.uri == "sip:old.example.test"
    assert asked.headers.all("Route") == (f"<sip:bob@{bob.remote}>",)


def test_pushed_routes_come_first() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    (hop,) = network.hops["bob"]
    network.hops["bob"] = [Hop(hop.uri, hop.target, routes=("<sip:one;lr>", "<sip:two;lr>"))]
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    assert asked.headers.all("Route") == ("<sip:one;lr>", "<sip:two;lr>")
    assert asked.uri == hop.uri


@pytest.mark.parametrize(
    ("desk_says", "mobile_says", "alice_hears"),
    [
        (404, 486, 486),
        (480, 486, 486),
        (408, 480, 408),
        (302, 404, 302),
        (404, 603, 603),
        (500, 486, 486),
        (486, 415, 415),
    ],
)
def test_the_best_of_several_refusals_is_passed_on(
    desk_says: int, mobile_says: int, alice_hears: int
) -> None:
    network = Network()
    alice, desk, mobile = network.joins("alice"), network.joins("bob"), network.joins("bob")
    alice.says(*invite())
    at_desk, at_mobile = desk.hears_request("INVITE"), mobile.hears_request("INVITE")
    desk.answers(at_desk, desk_says)
    desk.hears_request("ACK")
    alice.hears_nothing()
    mobile.answers(at_mobile, mobile_says)
    mobile.hears_request("ACK")
    alice.hears_response(alice_hears)


def test_nobody_there_is_480() -> None:
    network = Network()
    alice = network.joins("alice")
    alice.says(*invite("nobody"))
    alice.hears_response(480)


def test_a_loop_is_detected_and_a_spiral_is_not() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    vias = asked.headers.all("Via")
    loop = [line for line in invite() if not line.startswith("Via")]
    bob.says(loop[0], "Via: SIP/2.0/TLS b;branch=z9hG4bKx", *(f"Via: {via}" for via in vias), *loop[1:])
    bob.hears_response(482)
    spiral = ["INVITE sip:alice@example.test SIP/2.0", "Via: SIP/2.0/TLS b;branch=z9hG4bKy"]
    bob.says(*spiral, *(f"Via: {via}" for via in vias), *loop[1:])
    alice.hears_request("INVITE")


def test_what_the_proxy_cannot_do_is_said() -> None:
    network = Network()
    alice, _ = network.joins("alice"), network.joins("bob")
    alice.says(*invite("bob", "Proxy-Require: teleport"))
    assert alice.hears_response(420).headers.get("Unsupported") == "teleport"
    alice.says("OPTIONS tel:+1 SIP/2.0", *invite(method="OPTIONS", branch="z9hG4bKt")[1:])
    alice.hears_response(416)
    alice.says(*invite("bob", "Max-Breadth: 0", branch="z9hG4bKm"))
    alice.hears_response(440)
    alice.says(*invite("bob", "Max-Breadth: many", branch="z9hG4bKn"))
    alice.hears_response(400)


def test_garbage_on_a_connection_ends_that_connection_only() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    bob.sends(b"\x16\x03\x01 what\r\n\r\n" * 3)
    alice.says(*invite("alice"))
    alice.hears_request("INVITE")


def test_a_udp_phone_is_found_by_its_token_even_by_a_new_process_with_the_key() -> None:
    before, after = FlowTokens(Random(1)), FlowTokens(Random(2))
    before.use_key(bytes(32))
    after.use_key(bytes(32))
    token = before.seal("udp|10.0.0.1:5060|192.0.2.10:5060")
    assert after.open(token) == "udp|10.0.0.1:5060|192.0.2.10:5060"
    assert after.open(before.seal("p/tls.1/3")) is None
    assert before.open(before.seal("p/tls.1/3")) == "p/tls.1/3"
    assert FlowTokens(Random(1)).open(token) is None
    for junk in ("", "x", "é", token[:-2], token + "AAAA"):
        assert after.open(junk) is None


def test_a_call_over_udp_comes_back_to_where_it_came_from() -> None:
    network = Network()
    alice = network.bench.udp_peer("192.0.2.10", 5999)
    bob = network.joins("bob")
    alice.says(*[line.replace("/TLS", "/UDP") for line in invite()])
    bob.answers(bob.hears_request("INVITE"), 486)
    alice.hears_nothing()  # without rport, answers go to the port of the Via (RFC 3261 §18.2.2)
    again = [line.replace("/TLS", "/UDP") for line in invite(branch="z9hG4bKr")]
    again[1] += ";rport"
    alice.says(*again)
    bob.hears_request("ACK")
    bob.answers(bob.hears_request("INVITE"), 486)
    answer = alice.hears_response(486)
    assert answer.top_via.rport == 5999


def test_who_has_read_the_vias_can_neither_cancel_nor_answer_from_elsewhere() -> None:
    """A callee sees the branch of everybody on the way; over another connection it is worth nothing."""
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    mallory = network.bench.connects("192.0.2.66")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    mallory.says(*invite(method="CANCEL"))
    mallory.hears_response(481)
    mallory.answers(asked, 200, ("Contact", "<sip:mallory@192.0.2.66>"))
    bob.hears_nothing()
    alice.hears_nothing()
    bob.answers(asked, 180)
    alice.hears_response(180)
    alice.says(*invite(method="CANCEL"))
    alice.hears_response(200)
    bob.hears_request("CANCEL")


def test_a_route_to_our_address_means_us_by_the_default_port_of_its_transport() -> None:
    """443 for WebSockets under TLS (RFC 7118 §5.3)."""
    network = Network()
    proxy = network.proxy
    assert proxy.is_ours(SipUri.parse("sip:10.0.0.1;transport=tls"))
    assert not proxy.is_ours(SipUri.parse("sip:10.0.0.1;transport=ws"))
    proxy.listen(Transport.TLS, Address("10.0.0.1", 443), 0.0, TlsServer("edge"), WebSocketConfig())
    network.bench.settle()
    assert proxy.is_ours(SipUri.parse("sip:10.0.0.1;transport=ws"))
