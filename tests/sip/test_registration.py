"""A user agent and its home: found by DNS, registered over TLS with digest, kept registered."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import AddressesChanged, Answer, TlsServer
from iceway.sip.digest import Algorithm, Authenticated, DigestServer, hash_a1
from iceway.sip.endpoint import AckReceived, Endpoint, FlowClosed, FlowOpened, RequestReceived, Target
from iceway.sip.useragent import (
    Answered,
    Deregistered,
    RegistrationFailed,
    RegistrationSucceeded,
    RequestAnswered,
    RequestFailed,
    UserAgent,
    UserAgentConfig,
)
from iceway.trace.records import NameResolved, Registered, SipAuthenticationFailed, SipSent, Unregistered
from iceway.wire.sip import Credentials, Request, make_response
from tests.sip.sip_net import Net, Node

DOMAIN = "example.test"
EDGE, SPARE = Address("198.51.100.1", 443), Address("198.51.100.2", 443)


class Home:
    """A scripted registrar behind one TLS listener: challenges everything, then says 200."""

    def __init__(self, net: Net, name: str, at: Address) -> None:
        self.net = net
        self.endpoint = Endpoint(name, random.Random(name))
        self.node: Node = net.add(name, self.endpoint, at.ip)
        net.certificates[name] = (f"{name}.{DOMAIN}",)
        self.endpoint.listen(Transport.TLS, at, 0, TlsServer(name))
        self.endpoint.listen(Transport.UDP, Address(at.ip, 5060), 0)
        net.run(0)
        self.node.on_event = self._on_event
        self.digest = DigestServer(DOMAIN, b"key", random.Random(3))
        self.proxy_digest: DigestServer | None = None
        self.fields: tuple[tuple[str, str], ...] = ()
        self.expires = 3600
        self.min_expires = 0
        self.answers = True
        self.refuses_with: int | None = None

    def requests(self, method: str) -> list[Request]:
        return [e.request for e in self.node.seen(RequestReceived) if e.request.method == method]

    def flows(self) -> int:
        return len(self.node.seen(FlowOpened)) - len(self.node.seen(FlowClosed))

    def _lookup(self, user: str, algorithm: Algorithm) -> str | None:
        return hash_a1(user, DOMAIN, "secret", algorithm) if user == "alice" else None

    def _on_event(self, event: object, now: float) -> None:
        if not isinstance(event, RequestReceived) or not self.answers:
            return
        request = event.request
        response = make_response(request, self.refuses_with or 200, to_tag="home")
        proxy = self.proxy_digest is not None and request.method != "REGISTER"
        digest = self.proxy_digest if proxy and self.proxy_digest else self.digest
        verdict = digest.check(request, self._lookup, now, proxy=proxy)
        if not isinstance(verdict, Authenticated):
            response = make_response(request, 407 if proxy else 401, to_tag="home").with_header(
                "Proxy-Authenticate" if proxy else "WWW-Authenticate", *digest.challenges(now, verdict.stale)
            )
        elif request.method == "REGISTER" and response.is_success:
            if 0 < (request.expires or 0) < self.min_expires:
                response = make_response(request, 423).with_last("Min-Expires", str(self.min_expires))
            else:
                granted = min(self.expires, request.expires or 0)
                for contact in request.contacts:
                    response = response.with_last("Contact", str(contact.with_param("expires", str(granted))))
        elif request.method == "INVITE":
            response = response.with_header("Contact", "<sip:bob@192.0.2.7>").with_body(
                b"x", "application/sdp"
            )
        for name, value in self.fields:
            response = response.with_last(name, value)
        self.endpoint.respond(event.transaction, response, now)


class House:
    """Alice outside, two edges of her domain in the DNS."""

    def __init__(self, password: str = "secret", **config: object) -> None:
        self.net = Net()
        self.edge = Home(self.net, "edge", EDGE)
        self.spare = Home(self.net, "spare", SPARE)
        self.net.zone = {
            ("_sip._tls.example.test", "SRV"): [
                Answer("edge.example.test", 443, 10),
                Answer("spare.example.test", 443, 20),
            ],
            ("edge.example.test", "A"): [Answer(EDGE.ip)],
            ("spare.example.test", "A"): [Answer(SPARE.ip)],
        }
        settings = UserAgentConfig("sip:alice@example.test", password=password, **config)  # type: ignore[arg-type]
        self.alice = UserAgent("alice", settings, random.Random(1))
        self.a = self.net.add("alice", self.alice, "192.0.2.1")

    def registers(self, seconds: float = 1.0) -> None:
        self.alice.register(self.net.now)
        self.net.run(seconds)


def test_registering_from_nothing_but_an_address() -> None:
    house = House(expires=600)
    house.registers()
    assert house.a.said() == ["REGISTER", "REGISTER"]
    first, second = house.edge.requests("REGISTER")
    assert first.uri == "sip:example.test"
    assert first.call_id == second.call_id
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert Credentials.parse(second.headers.get("Authorization") or "").algorithm == "SHA-512-256"
    assert {"path", "outbound", "gruu"} <= set(second.headers.values("Supported"))
    (contact,) = second.contacts
    flow = house.alice.uplink
    assert flow is not None
    assert contact.uri == f"sip:alice@192.0.2.1:{flow.local.port};transport=tls;ob"
    assert (contact.reg_id, (contact.instance or "")[:9]) == (1, "urn:uuid:")
    assert flow.peer_names == ("edge.example.test",)
    (success,) = house.a.seen(RegistrationSucceeded)
    assert success.expires == 600
    assert house.a.seen(Registered)[0].contact == contact.uri
    assert "_sip._tls.example.test" in {record.name for record in house.a.seen(NameResolved)}


def test_what_the_registrar_says_is_kept() -> None:
    house = House()
    house.edge.fields = (
        ("Service-Route", "<sip:edge.example.test;lr>, <sip:home.example.test;lr>"),
        ("Path", "<sip:token@edge.example.test;lr;ob>"),
        ("ms-user-logon-data", "RemoteUser"),
    )
    house.registers()
    (record,) = house.a.seen(Registered)
    assert (record.path, record.outside) == (("sip:token@edge.example.test;lr;ob",), True)
    house.alice.request_out_of_dialog("SERVICE", "sip:mras@example.test", house.net.now)
    house.net.run(1)
    assert [route.uri for route in house.edge.requests("SERVICE")[0].routes] == [
        "sip:edge.example.test;lr",
        "sip:home.example.test;lr",
    ]


def test_a_registration_is_refreshed_in_time_and_survives_stale_nonces() -> None:
    house = House(expires=1000)
    house.registers()
    house.net.run(3 * 800)
    expiries = [event.expires for event in house.a.seen(RegistrationSucceeded)]
    assert expiries == [1000.0] * 4
    assert not house.a.seen(RegistrationFailed)
    assert len({r.call_id for r in house.edge.requests("REGISTER")}) == 1
    assert house.edge.flows() == 1


def test_a_wrong_password_is_told_once_and_not_tried_again() -> None:
    house = House(password="wrong")
    house.registers(1000)
    assert house.a.said() == ["REGISTER", "REGISTER"]
    assert house.a.seen(RegistrationFailed) == [
        RegistrationFailed(401, "401 Unauthorized (is the password right?)", None)
    ]
    assert [record.user for record in house.a.seen(SipAuthenticationFailed)] == ["alice"]


def test_too_brief_an_interval_is_lengthened() -> None:
    house = House(expires=60)
    house.edge.min_expires = 300
    house.registers()
    assert [event.expires for event in house.a.seen(RegistrationSucceeded)] == [300.0]


def test_the_next_server_is_tried_when_one_is_down() -> None:
    house = House()
    house.net._listeners.pop(EDGE)
    house.registers()
    assert house.alice.uplink is not None
    assert house.alice.uplink.remote == SPARE
    assert house.a.seen(RegistrationSucceeded)


def test_the_next_server_is_tried_when_one_does_not_answer() -> None:
    house = House()
    house.edge.answers = False
    house.registers(40)
    assert house.alice.uplink is not None
    assert house.alice.uplink.remote == SPARE
    assert house.a.seen(RegistrationSucceeded)


def test_without_any_server_the_reason_is_told_and_tried_again_with_growing_pauses() -> None:
    house = House()
    listeners, house.net._listeners = house.net._listeners, {}
    house.registers(100)
    failures = house.a.seen(RegistrationFailed)
    assert (
        failures[0].reason
        == "tls 198.51.100.1:443: connection refused; tls 198.51.100.2:443: connection refused"
    )
    pauses = [failure.retry_in or 0 for failure in failures]
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses))
    assert len(pauses) >= 6
    house.net._listeners = listeners
    house.net.run(100)
    assert len(house.a.seen(RegistrationSucceeded)) == 1


def test_a_domain_without_servers() -> None:
    house = House()
    house.net.zone.clear()
    house.registers()
    assert "neither SRV records" in house.a.seen(RegistrationFailed)[0].reason


def test_a_certificate_of_another_name_is_not_accepted() -> None:
    house = House()
    house.net.certificates = {"edge": ("evil.test",), "spare": ("evil.test",)}
    house.registers()
    assert "certificate is for evil.test, not edge.example.test" in house.a.seen(RegistrationFailed)[0].reason


def test_a_lost_connection_is_replaced_and_registered_again() -> None:
    house = House()
    house.registers()
    house.net.break_streams("alice")
    (failure,) = house.a.seen(RegistrationFailed)
    assert failure.reason == "the connection ended: connection reset"
    assert failure.retry_in is not None
    house.net.run(3)
    assert len(house.a.seen(RegistrationSucceeded)) == 2
    contacts = [r.contacts[0] for r in house.edge.requests("REGISTER")]
    assert len({contact.uri for contact in contacts}) == 2
    assert len({contact.instance for contact in contacts}) == 1


def test_a_connection_gone_silent_is_noticed_by_its_keepalive() -> None:
    house = House()
    house.registers()
    assert house.alice.uplink is not None
    house.net.silent.add(house.alice.uplink.id)
    house.net.run(45)
    assert "no answer to a keep-alive" in house.a.seen(RegistrationFailed)[0].reason
    assert len(house.a.seen(RegistrationSucceeded)) == 2


def test_another_network_means_another_connection() -> None:
    house = House()
    house.registers()
    house.alice.handle_input(AddressesChanged(("192.0.2.1", "10.0.0.1")), house.net.now)
    assert not house.a.seen(RegistrationFailed)
    house.alice.handle_input(AddressesChanged(("10.0.0.1",)), house.net.now)
    house.net.run(0.5)
    assert len(house.a.seen(RegistrationSucceeded)) == 2, "at once, without the pause after a failure"
    assert not house.a.seen(RegistrationFailed)


def test_no_network_for_a_while_is_followed_by_another_connection() -> None:
    house = House()
    house.registers()
    house.alice.handle_input(AddressesChanged(("192.0.2.1",)), house.net.now)
    house.alice.handle_input(AddressesChanged(()), house.net.now)
    house.net.run(5)
    assert len(house.a.seen(RegistrationSucceeded)) == 1
    house.alice.handle_input(AddressesChanged(("10.0.0.1",)), house.net.now)
    house.net.run(0.5)
    assert len(house.a.seen(RegistrationSucceeded)) == 2


@pytest.mark.parametrize(("status", "again"), [(503, True), (403, False), (404, False), (430, True)])
def test_which_refusals_are_worth_another_try(status: int, again: bool) -> None:
    house = House()
    house.edge.refuses_with = status
    house.edge.fields = (("Retry-After", "20"),)
    house.registers()
    (failure,) = house.a.seen(RegistrationFailed)
    assert failure.status == status
    assert (failure.retry_in == 20.0) if again else (failure.retry_in is None)
    house.edge.refuses_with = None
    house.net.run(30)
    assert bool(house.a.seen(RegistrationSucceeded)) == again


def test_unregistering() -> None:
    house = House()
    house.registers()
    house.alice.unregister(house.net.now)
    house.net.run(1)
    assert house.edge.requests("REGISTER")[-1].expires == 0
    assert house.a.seen(Deregistered)
    assert house.a.seen(Unregistered)
    house.net.run(5000)
    assert len(house.a.seen(RegistrationSucceeded)) == 1


def test_unregistering_without_being_registered() -> None:
    house = House()
    house.alice.unregister(house.net.now)
    house.net.run(1)
    assert house.a.seen(Deregistered)


def test_credentials_go_along_unasked_once_the_realm_is_known() -> None:
    house = House()
    house.registers()
    asked = house.alice.request_out_of_dialog(
        "SERVICE", "sip:mras@example.test", house.net.now, body=b"<request/>"
    )
    house.net.run(1)
    assert [(e.request, e.response.status) for e in house.a.seen(RequestAnswered)] == [(asked, 200)]
    assert len(house.edge.requests("SERVICE")) == 1


def test_a_request_without_registration_finds_its_way_and_is_authenticated() -> None:
    house = House()
    house.alice.request_out_of_dialog("SERVICE", "sip:mras@example.test", house.net.now)
    house.net.run(1)
    assert [e.response.status for e in house.a.seen(RequestAnswered)] == [200]
    first, second = house.edge.requests("SERVICE")
    assert (first.cseq.number, second.cseq.number) == (1, 2)
    assert first.top_via.branch != second.top_via.branch


def test_a_request_fails_with_the_reason_when_no_server_can_be_reached() -> None:
    house = House()
    house.net._listeners.clear()
    house.alice.request_out_of_dialog("SERVICE", "sip:mras@example.test", house.net.now)
    house.net.run(1)
    (failed,) = house.a.seen(RequestFailed)
    assert "connection refused" in failed.reason


def test_an_invite_challenged_by_a_proxy() -> None:
    house = House()
    house.edge.proxy_digest = DigestServer(DOMAIN, b"proxy", random.Random(4))
    house.registers()
    house.alice.invite("sip:bob@example.test", b"offer", house.net.now)
    house.net.run(1)
    assert house.a.said() == ["REGISTER", "REGISTER", "INVITE", "ACK", "INVITE", "ACK"]
    assert len(house.a.seen(Answered)) == 1
    first, second = house.edge.requests("INVITE")
    assert second.cseq.number == first.cseq.number + 1
    (ack,) = house.edge.node.seen(AckReceived)
    assert ack.request.headers.get("Proxy-Authorization") == second.headers.get("Proxy-Authorization")
    assert ack.request.cseq.number == second.cseq.number


def test_a_public_gruu_is_our_contact_once_we_have_it() -> None:
    house = House()
    house.registers()
    instance = house.edge.requests("REGISTER")[0].contacts[0].instance
    house.edge.fields = (
        ("Contact", f'<sip:x>;+sip.instance="<{instance}>";pub-gruu="sip:alice@example.test;gr={instance}"'),
    )
    house.registers()
    house.edge.fields = ()
    house.alice.invite("sip:bob@example.test", b"offer", house.net.now)
    house.net.run(1)
    (contact,) = house.edge.requests("INVITE")[-1].contacts
    assert contact.uri == f"sip:alice@example.test;gr={instance}"


def test_over_udp_to_a_configured_proxy() -> None:
    house = House(outbound=(Target(Address(EDGE.ip, 5060), Transport.UDP),))
    house.alice.handle_input(AddressesChanged(("192.0.2.1",)), house.net.now)
    house.registers()
    assert house.a.seen(RegistrationSucceeded)
    uri = house.edge.requests("REGISTER")[0].contacts[0].sip
    assert (uri.host, uri.transport) == ("192.0.2.1", None)
    before = len(house.edge.requests("REGISTER"))
    house.alice.handle_input(AddressesChanged(("10.0.0.1",)), house.net.now)
    house.net.run(0.5)
    assert len(house.edge.requests("REGISTER")) > before, "the proxy sees us elsewhere now"


def test_no_password_leaves_the_machine() -> None:
    house = House(password="hunter2hunter2")
    house.registers()
    assert not [record for record in house.a.seen(SipSent) if "hunter2" in repr(record)]
