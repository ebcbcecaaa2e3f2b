"""Browsers at the edge: registered over a WebSocket, found again by the token of their flow (RFC 7118, RFC 5626)."""

from __future__ import annotations

from random import Random

from iceway.core.address import Address
from iceway.core.machine import Connect, TlsServer
from iceway.edge.access import EARN_WITHIN, AccessConfig, AccessProxy
from iceway.trace.records import ConnectionClosed
from iceway.wire.sip import SipUri
from tests.sip.bench import Bench, Peer
from tests.sip.browser import Browser

CONTACT = "sip:k1@df7jal23ls0d.invalid;transport=ws"
DOOR = "198.51.100.1:443"


class Perimeter:
    """An edge with a door for browsers beside the one for phones; `frontend` is its connection inside."""

    def __init__(self, per_ip: int = 200) -> None:
        config = AccessConfig(
            public=SipUri.parse("sip:edge.example.test:5061;transport=tls"),
            names=("edge.example.test",),
            domain="example.test",
            listen=(Address("198.51.100.1", 5061),),
            frontend=SipUri.parse("sip:10.0.0.2:5061;transport=tls"),
            frontend_name="fe.example.test",
            max_connections_per_ip=per_ip,
            websocket_listen=(Address.parse(DOOR),),
        )
        self.bench = Bench(AccessProxy(config, Random(1)), self._answer, ip="198.51.100.1")
        self.bench.machine.start(0.0)  # type: ignore[attr-defined]
        self.bench.settle()

    def _answer(self, connect: Connect) -> tuple[str, ...]:
        return ("fe.example.test",)

    @property
    def frontend(self) -> Peer:
        return self.bench.dialled[-1]

    def connects(self, port: int = 40001) -> Peer:
        return self.bench.connects("192.0.2.10", port, listener=DOOR)

    def browser(self, port: int = 40001) -> Browser:
        return Browser(self.connects(port))

    def closed(self) -> list[str]:
        return [record.reason for record in self.bench.records if isinstance(record, ConnectionClosed)]


def message(method: str, to: str, *more: str, by: str = "alice", to_tag: str = "") -> list[str]:
    return [
        f"{method} {to} SIP/2.0",
        f"Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{by}{method}",
        f"From: <sip:{by}@example.test>;tag={by}",
        f"To: <{to}>{to_tag}",
        "Call-ID: c1",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        *more,
    ]


def registered(perimeter: Perimeter) -> tuple[Browser, str]:
    """A browser whose registration was accepted, and the Path that leads to it."""
    browser = perimeter.browser()
    browser.says(
        *message("REGISTER", "sip:example.test", f"Contact: <{CONTACT}>", "Supported: path, outbound")
    )
    request = perimeter.frontend.hears_request("REGISTER")
    assert request.contacts[0].uri == CONTACT
    (path,) = request.headers.all("Path")
    perimeter.frontend.answers(request, 200)
    browser.hears_response(200)
    return browser, path


def test_browsers_are_not_asked_for_a_certificate() -> None:
    """They break a WebSocket off when they are."""
    asked = {str(listen.local): listen.tls for listen in Perimeter().bench.listeners.values()}
    assert asked[DOOR] == TlsServer("edge", anonymous=True)
    assert asked["198.51.100.1:5061"] == TlsServer("edge")


def test_a_registration_goes_inside_with_a_path_that_the_front_end_can_use() -> None:
    perimeter = Perimeter()
    _, path = registered(perimeter)
    assert "@edge.example.test:5061;transport=tls;lr;ob>" in path


def test_a_call_from_inside_finds_the_browser_whose_host_is_invalid() -> None:
    perimeter = Perimeter()
    browser, path = registered(perimeter)
    perimeter.frontend.says(*message("INVITE", CONTACT, f"Route: {path}", by="bob"))
    invite = browser.hears_request("INVITE")
    assert invite.uri == CONTACT
    assert invite.top_via.transport == "WSS"
    (recorded,) = invite.headers.all("Record-Route")
    browser.answers(invite, 200, ("Contact", f"<{CONTACT}>"))
    perimeter.frontend.hears_response(200)
    perimeter.frontend.says(*message("ACK", CONTACT, f"Route: {recorded}", by="bob", to_tag=";tag=browser"))
    assert browser.hears_request("ACK").uri == CONTACT
    perimeter.frontend.says(*message("BYE", CONTACT, f"Route: {recorded}", by="bob", to_tag=";tag=browser"))
    browser.answers(browser.hears_request("BYE"), 200)
    perimeter.frontend.hears_response(200)


def test_a_call_of_the_browser_is_recorded_with_its_flow() -> None:
    perimeter = Perimeter()
    browser, _ = registered(perimeter)
    browser.says(*message("INVITE", "sip:bob@example.test", f"Contact: <{CONTACT};ob>"))
    invite = perimeter.frontend.hears_request("INVITE")
    (recorded,) = invite.headers.all("Record-Route")
    perimeter.frontend.answers(invite, 200, tag="b")
    browser.hears_response(200)
    perimeter.frontend.says(*message("BYE", CONTACT, f"Route: {recorded}", by="bob", to_tag=";tag=alice"))
    assert browser.hears_request("BYE").uri == CONTACT


def test_a_browser_that_closed_its_page_is_430() -> None:
    perimeter = Perimeter()
    browser, path = registered(perimeter)
    browser.protocol.send_close(1001)
    browser.flush()
    perimeter.frontend.says(*message("INVITE", CONTACT, f"Route: {path}", by="bob"))
    perimeter.frontend.hears_response(430)


def test_connections_count_from_the_start_whether_hands_are_shaken_or_not() -> None:
    perimeter = Perimeter(per_ip=2)
    for port in range(40001, 40004):
        perimeter.connects(port)
    assert perimeter.closed() == ["too many connections from one address"]


def test_a_websocket_that_earns_nothing_is_closed() -> None:
    perimeter = Perimeter()
    browser = perimeter.browser()
    perimeter.bench.waits(EARN_WITHIN + 1)
    assert perimeter.closed() == ["was granted nothing in 30 s"]
    assert browser.protocol.close_rcvd is not None
    assert browser.protocol.close_rcvd.reason == "was granted nothing in 30 s"
