"""What a proxy makes of the answers of several phones (RFC 3261 §16.7 to §16.10)."""

from __future__ import annotations

import pytest

from iceway.core.address import Address, Transport
from iceway.sip.endpoint import Target
from iceway.sip.proxy_events import Hop
from tests.sip.proxy_bench import Network, invite


def test_two_phones_ring_and_the_loser_is_cancelled() -> None:
    network = Network()
    alice, desk, mobile = network.joins("alice"), network.joins("bob"), network.joins("bob")
    alice.says(*invite())
    at_desk, at_mobile = desk.hears_request("INVITE"), mobile.hears_request("INVITE")
    assert at_desk.top_via.branch != at_mobile.top_via.branch
    desk.answers(at_desk, 180)
    mobile.answers(at_mobile, 180)
    alice.hears_response(180)
    alice.hears_response(180)
    mobile.answers(at_mobile, 200)
    alice.hears_response(200)
    cancel = desk.hears_request("CANCEL")
    assert "Call completed elsewhere" in (cancel.headers.get("Reason") or "")
    desk.answers(cancel, 200)
    desk.answers(at_desk, 487)
    desk.hears_request("ACK")
    alice.hears_nothing()


def test_a_loser_that_answers_anyway_is_passed_on_too() -> None:
    network = Network()
    alice, desk, mobile = network.joins("alice"), network.joins("bob"), network.joins("bob")
    alice.says(*invite())
    at_desk, at_mobile = desk.hears_request("INVITE"), mobile.hears_request("INVITE")
    mobile.answers(at_mobile, 200)
    desk.answers(at_desk, 200)
    assert alice.hears_response(200).to.tag != alice.hears_response(200).to.tag


def test_challenges_of_all_servers_are_collected() -> None:
    network = Network()
    alice = network.joins("alice")
    desk, mobile = network.joins("bob", client=False), network.joins("bob", client=False)
    alice.says(*invite())
    for peer, realm in ((desk, "desk"), (mobile, "mobile")):
        peer.answers(
            peer.hears_request("INVITE"), 407, ("Proxy-Authenticate", f'Digest realm="{realm}", nonce="1"')
        )
    assert len(alice.hears_response(407).headers.all("Proxy-Authenticate")) == 2


def test_who_declines_for_all_ends_the_ringing_everywhere() -> None:
    network = Network()
    alice, desk, mobile = network.joins("alice"), network.joins("bob"), network.joins("bob")
    alice.says(*invite())
    at_desk, at_mobile = desk.hears_request("INVITE"), mobile.hears_request("INVITE")
    desk.answers(at_desk, 180)
    alice.hears_response(180)
    mobile.answers(at_mobile, 603)
    desk.answers(desk.hears_request("CANCEL"), 200)
    alice.hears_nothing()
    desk.answers(at_desk, 487)
    alice.hears_response(603)


def test_the_caller_gives_up_and_everybody_hears_it() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    bob.answers(asked, 180)
    alice.hears_response(180)
    cancel = [line for line in invite(method="CANCEL") if not line.startswith("Contact")]
    alice.says(*cancel, "Reason: SIP;cause=487")
    alice.hears_response(200)
    cancelled = bob.hears_request("CANCEL")
    assert cancelled.top_via.branch == asked.top_via.branch
    assert cancelled.headers.get("Reason") == "SIP;cause=487"
    bob.answers(cancelled, 200)
    bob.answers(asked, 487)
    alice.hears_response(487)


def test_a_phone_that_rings_for_ever_is_given_up_by_timer_c() -> None:
    network = Network(timer_c=185)
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    bob.answers(asked, 180)
    alice.hears_response(180)
    network.bench.waits(180)
    bob.answers(asked, 180)  # every provisional response starts the timer anew
    alice.hears_response(180)
    network.bench.waits(180)
    bob.hears_nothing()
    network.bench.waits(6)
    cancel = bob.hears_request("CANCEL")
    bob.answers(cancel, 200)
    bob.answers(asked, 487)
    alice.hears_response(487)


def test_a_dead_contact_is_told_and_the_caller_hears_unavailable() -> None:
    network = Network()
    alice = network.joins("alice")
    network.hops["bob"] = [
        Hop("sip:bob@192.0.2.99", Target(Address("192.0.2.99", 5061), Transport.TLS), label="x")
    ]
    alice.says(*invite())
    answer = alice.hears_response(480)
    assert "connection refused" in (answer.headers.get("Warning") or "")
    assert [(failed.status, failed.reason) for failed in network.failed] == [(503, "connection refused")]


def test_a_second_flow_of_the_device_is_tried_when_the_first_is_dead() -> None:
    network = Network()
    alice, edge, second = network.joins("alice"), network.joins("bob"), network.joins("other")
    network.hops["bob"] = [network.hop(edge, "bob", fallback=network.hop(second, "bob"))]
    alice.says(*invite())
    edge.answers(edge.hears_request("INVITE"), 430)
    edge.hears_request("ACK")
    alice.hears_nothing()
    second.answers(second.hears_request("INVITE"), 200)
    alice.hears_response(200)
    assert [failed.status for failed in network.failed] == [430]


def test_430_from_the_only_edge_means_unavailable() -> None:
    network = Network()
    alice, edge = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    edge.answers(edge.hears_request("INVITE"), 430)
    alice.hears_response(480)


def test_a_silent_phone_times_out() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite(method="OPTIONS"))
    bob.hears_request("OPTIONS")
    network.bench.waits(33)
    alice.hears_response(408)


def test_the_upstream_dies_and_the_phone_stops_ringing() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    bob.answers(asked, 180)
    alice.hangs_up()
    bob.answers(bob.hears_request("CANCEL"), 200)
    bob.answers(asked, 487)
    bob.hears_request("ACK")


@pytest.mark.parametrize("status", [401, 407])
def test_a_client_cannot_ask_another_for_its_password(status: int) -> None:
    """A digest made for bob's challenge is something to guess alice's password from."""
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    challenge = 'Digest realm="example.test", nonce="n", algorithm=MD5, qop="auth"'
    header = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    bob.answers(bob.hears_request("INVITE"), status, (header, challenge))
    assert header not in alice.hears_response(403).headers


def test_a_client_cannot_say_who_it_is_in_a_response() -> None:
    network = Network()
    alice, bob = network.joins("alice"), network.joins("bob")
    alice.says(*invite())
    asked = bob.hears_request("INVITE")
    for status in (180, 200):
        boss = "<sip:boss@example.test>"
        bob.answers(asked, status, ("P-Asserted-Identity", boss), ("Remote-Party-ID", boss))
        heard = alice.hears_response(status)
        assert "P-Asserted-Identity" not in heard.headers
        assert "Remote-Party-ID" not in heard.headers
