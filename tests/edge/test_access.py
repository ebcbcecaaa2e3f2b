"""The access proxy between clients outside and a front end inside."""

from __future__ import annotations

from random import Random

import pytest

from iceway.core.address import Address
from iceway.core.machine import Answer, Connect, Resolve, Resolved
from iceway.edge.access import AccessConfig, AccessProxy
from iceway.trace.records import Note
from iceway.wire.sip import Request, SipUri
from tests.sip.bench import Bench, Peer

FRONTEND = "10.0.0.2"


class Perimeter:
    """An edge on a bench; `frontend` is its connection to the front end, once up."""

    def __init__(self, host: str = FRONTEND, *, up: bool = True, per_ip: int = 200, seed: int = 1) -> None:
        self.up = up
        self.tries = 0
        config = AccessConfig(
            public=SipUri.parse("sip:edge.example.test:5061;transport=tls"),
            names=("edge.example.test",),
            domain="example.test",
            listen=(Address("198.51.100.1", 5061),),
            frontend=SipUri.parse(f"sip:{host}:5061;transport=tls"),
            frontend_name="fe.example.test",
            max_connections_per_ip=per_ip,
        )
        self.machine = AccessProxy(config, Random(seed))
        self.bench = Bench(self.machine, self._answer, ip="198.51.100.1")
        self.machine.start(0.0)
        self.bench.settle()
        self._port = 40000

    def _answer(self, connect: Connect) -> tuple[str, ...] | str:
        self.tries += 1
        return ("fe.example.test",) if self.up else "connection refused"

    @property
    def frontend(self) -> Peer:
        return self.bench.dialled[-1]

    def client(self, ip: str = "192.0.2.10") -> Peer:
        self._port += 1
        return self.bench.connects(ip, self._port)


def message(method: str, to: str, *more: str, by: str = "alice", branch: str = "z9hG4bK1") -> list[str]:
    return [
        f"{method} {to} SIP/2.0",
        f"Via: SIP/2.0/TLS 192.168.1.2:5061;branch={branch}",
        f"From: <sip:{by}@example.test>;tag=a",
        f"To: <{to}>",
        "Call-ID: c1",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        *more,
    ]


def register(perimeter: Perimeter, name: str) -> tuple[Peer, str]:
    """A client registers; the Path under which the front end reaches it."""
    client = perimeter.client()
    client.says(
        *message(
            "REGISTER", "sip:example.test", f"Contact: <sip:{name}@192.168.1.2>", branch=f"z9hG4bK{name}"
        )
    )
    request = perimeter.frontend.hears_request("REGISTER")
    (path,) = request.headers.all("Path")
    perimeter.frontend.answers(request, 200)
    client.hears_response(200)
    return client, path


def test_the_connection_inside_is_mutual_tls_and_stays_open() -> None:
    perimeter = Perimeter()
    connect = perimeter.frontend.connect
    assert connect is not None
    assert connect.tls is not None
    assert (connect.tls.server_name, connect.tls.identity) == ("fe.example.test", "edge")
    perimeter.bench.waits(30)
    assert perimeter.frontend.raw == b"\r\n\r\n"  # a keep-alive


def test_a_registration_goes_inside_with_our_path_on_it() -> None:
    perimeter = Perimeter()
    client = perimeter.client()
    client.says(*message("REGISTER", "sip:example.test", 'Authorization: Digest realm="x", nonce="y"'))
    request = perimeter.frontend.hears_request("REGISTER")
    assert request.headers.get("Authorization") == 'Digest realm="x", nonce="y"'
    (path,) = request.addresses("Path")
    assert path.sip.host == "edge.example.test"
    assert path.sip.param("lr") is not None
    assert path.sip.param("ob") is not None
    assert path.sip.user
    perimeter.frontend.answers(request, 401, ("WWW-Authenticate", 'Digest realm="x", nonce="z"'))
    assert "WWW-Authenticate" in client.hears_response(401).headers


def test_a_call_from_inside_finds_the_client_by_its_path() -> None:
    perimeter = Perimeter()
    client, path = register(perimeter, "alice")
    other, _ = register(perimeter, "bob")
    perimeter.frontend.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}", by="carol"))
    request = client.hears_request("INVITE")
    other.hears_nothing()
    assert request.uri == "sip:alice@192.168.1.2"
    assert request.routes == ()
    (recorded,) = request.record_routes
    assert recorded.sip.host == "edge.example.test"
    client.answers(request, 180)
    perimeter.frontend.hears_response(180)


def test_a_path_whose_client_is_gone_is_430() -> None:
    perimeter = Perimeter()
    client, path = register(perimeter, "alice")
    client.hangs_up()
    perimeter.frontend.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}"))
    perimeter.frontend.hears_response(430)


def test_a_path_of_the_edges_life_before_is_430() -> None:
    _, path = register(Perimeter(), "alice")
    reborn = Perimeter(seed=2)
    client, _ = register(reborn, "bob")  # whose connection has the name that Alice's had
    reborn.frontend.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}"))
    reborn.frontend.hears_response(430)
    client.hears_nothing()


def test_a_call_from_outside_is_recorded_with_the_callers_flow() -> None:
    perimeter = Perimeter()
    client, _ = register(perimeter, "alice")
    client.says(*message("INVITE", "sip:bob@example.test", "Contact: <sip:alice@192.168.1.2>"))
    request = perimeter.frontend.hears_request("INVITE")
    (recorded,) = request.headers.all("Record-Route")
    perimeter.frontend.answers(request, 200, tag="b")
    client.hears_response(200)
    bye = message("BYE", "sip:alice@192.168.1.2", f"Route: {recorded}", by="bob", branch="z9hG4bKbye")
    perimeter.frontend.says(*bye)
    client.answers(client.hears_request("BYE"), 200)
    perimeter.frontend.hears_response(200)


def test_within_a_dialog_the_client_goes_inside_by_the_same_route() -> None:
    perimeter = Perimeter()
    client, _ = register(perimeter, "alice")
    client.says(*message("INVITE", "sip:bob@example.test"))
    request = perimeter.frontend.hears_request("INVITE")
    (recorded,) = request.headers.all("Record-Route")
    within = message(
        "BYE", "sip:bob@10.1.1.1", f"Route: {recorded}", "Route: <sip:fe.example.test;lr>", branch="z9hG4bK2"
    )
    within[3] = "To: <sip:bob@example.test>;tag=b"
    client.says(*within)
    bye = perimeter.frontend.hears_request("BYE")
    assert bye.headers.all("Route") == ("<sip:fe.example.test;lr>",)
    assert bye.uri == "sip:bob@10.1.1.1"


def test_one_client_cannot_address_another_past_the_front_end() -> None:
    perimeter = Perimeter()
    _, path = register(perimeter, "alice")
    mallory, _ = register(perimeter, "mallory")
    mallory.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}"))
    mallory.hears_response(403)


def test_routes_of_others_lead_inside_at_best() -> None:
    """A client's own token, of a connection before this one, looks no different; the front end is who decides."""
    perimeter = Perimeter()
    _, path = register(perimeter, "alice")
    mallory, _ = register(perimeter, "mallory")
    within = message(
        "BYE", "sip:alice@192.168.1.2", f"Route: {path}", "Route: <sip:fe.example.test;lr>", by="mallory"
    )
    within[3] = "To: <sip:alice@example.test>;tag=b"
    mallory.says(*within)
    assert perimeter.frontend.hears_request("BYE").headers.all("Route") == ("<sip:fe.example.test;lr>",)


def test_a_client_that_comes_back_over_another_connection_keeps_its_dialogs() -> None:
    perimeter = Perimeter()
    device = 'Contact: <sip:alice@192.168.1.2>;+sip.instance="<urn:uuid:1>";reg-id=1'

    def comes(branch: str) -> Peer:
        client = perimeter.client()
        client.says(*message("REGISTER", "sip:example.test", device, branch=branch))
        perimeter.frontend.answers(perimeter.frontend.hears_request("REGISTER"), 200)
        client.hears_response(200)
        return client

    first = comes("z9hG4bKr1")
    first.says(*message("INVITE", "sip:bob@example.test"))
    (recorded,) = perimeter.frontend.hears_request("INVITE").headers.all("Record-Route")
    second = comes("z9hG4bKr2")
    bye = message("BYE", "sip:alice@192.168.1.2", f"Route: {recorded}", by="bob", branch="z9hG4bKb")
    bye[3] = "To: <sip:alice@example.test>;tag=a"
    perimeter.frontend.says(*bye)
    assert second.hears_request("BYE").uri == "sip:alice@192.168.1.2"


def test_other_domains_are_refused_at_the_door() -> None:
    perimeter = Perimeter()
    client = perimeter.client()
    client.says(*message("INVITE", "sip:victim@other.test"))
    client.hears_response(403)
    client.says(*message("REGISTER", "sip:notexample.test", branch="z9hG4bK2"))
    client.hears_response(403)
    perimeter.frontend.hears_nothing()


def test_what_only_servers_may_say_is_taken_off() -> None:
    perimeter = Perimeter()
    client = perimeter.client()
    client.says(
        *message("INVITE", "sip:bob@example.test", "P-Asserted-Identity: <sip:boss@example.test>"),
        "ms-user-logon-data: x",
    )
    request = perimeter.frontend.hears_request("INVITE")
    assert "P-Asserted-Identity" not in request.headers
    assert "ms-user-logon-data" not in request.headers


def test_a_route_to_the_edge_itself_is_taken_off() -> None:
    perimeter = Perimeter()
    client = perimeter.client()
    client.says(
        *message("INVITE", "sip:bob@example.test", "Route: <sip:edge.example.test:5061;transport=tls;lr>")
    )
    assert perimeter.frontend.hears_request("INVITE").routes == ()


def test_what_the_front_end_sends_for_nobody_is_404() -> None:
    perimeter = Perimeter()
    perimeter.frontend.says(*message("INVITE", "sip:alice@192.168.1.2"))
    perimeter.frontend.hears_response(404)


def test_a_front_end_that_is_down_is_503_and_tried_again_ever_more_patiently() -> None:
    perimeter = Perimeter(up=False)
    client = perimeter.client()
    client.says(*message("OPTIONS", "sip:example.test"))
    answer = client.hears_response(503)
    assert "connection refused" in (answer.headers.get("Warning") or "")
    perimeter.bench.waits(60)
    assert 7 <= perimeter.tries <= 14
    perimeter.up = True
    perimeter.bench.waits(11)
    perimeter.client().says(*message("OPTIONS", "sip:example.test", branch="z9hG4bK2"))
    perimeter.frontend.hears_request("OPTIONS")


def test_an_edge_that_starts_before_its_front_end_says_so_once_and_when_it_is_over() -> None:
    perimeter = Perimeter(up=False)
    perimeter.bench.waits(60)
    perimeter.up = True
    perimeter.bench.waits(30)
    perimeter.frontend.hangs_up()
    perimeter.bench.waits(30)
    assert [note.text for note in perimeter.bench.seen(Note) if isinstance(note, Note)] == [
        "No connection to the front end 10.0.0.2:5061: connection refused; trying again",
        "Connected to the front end 10.0.0.2:5061",
        "No connection to the front end 10.0.0.2:5061: closed by peer; trying again",
        "Connected to the front end 10.0.0.2:5061",
    ]


def test_a_front_end_that_restarts_is_connected_again_within_a_second() -> None:
    perimeter = Perimeter()
    _, path = register(perimeter, "alice")
    perimeter.frontend.hangs_up()
    perimeter.bench.waits(1)
    assert len(perimeter.bench.dialled) == 2
    perimeter.frontend.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}"))
    perimeter.frontend.hears_nothing()  # it was for the client, whose flow outlived the front end


def test_a_front_end_is_looked_up_by_name_and_again_when_it_moved() -> None:
    perimeter = Perimeter("fe.example.test")
    asked = [request for request in perimeter.bench.requests if isinstance(request, Resolve)]
    assert {request.record_type for request in asked} == {"A", "AAAA"}
    client = perimeter.client()
    client.says(*message("OPTIONS", "sip:example.test"))
    assert client.hears_response(503).headers.get("Retry-After")
    for request in asked:
        answers = (Answer("10.0.0.7"),) if request.record_type == "A" else ()
        perimeter.bench.give(Resolved(request.key, request.name, request.record_type, answers))
    assert perimeter.frontend.remote == Address("10.0.0.7", 5061)
    client.says(*message("OPTIONS", "sip:example.test", branch="z9hG4bK2"))
    perimeter.frontend.hears_request("OPTIONS")


def test_a_flood_is_slowed_down() -> None:
    perimeter = Perimeter()
    client = perimeter.client()
    for number in range(300):
        client.says(*message("OPTIONS", "sip:example.test", branch=f"z9hG4bK{number}"))
    forwarded = len(perimeter.frontend.heard)
    assert 190 <= forwarded <= 260
    assert all(not isinstance(answer, Request) and answer.status == 503 for answer in client.heard)
    perimeter.bench.waits(2)
    perimeter.frontend.heard.clear()
    client.says(*message("OPTIONS", "sip:example.test", branch="z9hG4bKlater"))
    perimeter.frontend.hears_request("OPTIONS")


def test_who_floods_on_is_cut_off() -> None:
    """A refusal costs a transaction too, so refusals are not endless either."""
    perimeter = Perimeter()
    flooder, client = perimeter.client("192.0.2.66"), perimeter.client()
    for number in range(1000):
        if flooder.closed is None:
            flooder.says(*message("INVITE", "sip:bob@example.test", branch=f"z9hG4bK{number}"))
    assert flooder.closed
    assert len(perimeter.frontend.heard) + len(flooder.heard) <= 500
    client.says(*message("OPTIONS", "sip:example.test", branch="z9hG4bKother"))
    assert client.closed is None


def test_a_site_gets_no_more_by_coming_over_many_connections() -> None:
    perimeter = Perimeter()
    for connection in range(30):
        flooder = perimeter.client("192.0.2.66")
        for number in range(150):
            if flooder.closed is None:
                branch = f"z9hG4bK{connection}.{number}"
                flooder.says(*message("OPTIONS", "sip:example.test", branch=branch))
    assert len(perimeter.frontend.heard) <= 1000
    perimeter.frontend.heard.clear()
    client = perimeter.client("192.0.2.67")
    client.says(*message("OPTIONS", "sip:example.test", branch="z9hG4bKother"))
    perimeter.frontend.hears_request("OPTIONS")


def test_one_address_cannot_hold_all_connections() -> None:
    perimeter = Perimeter(per_ip=3)
    clients = [perimeter.client("192.0.2.66") for _ in range(4)]
    assert [client.closed for client in clients] == [None, None, None, "closed"]
    assert perimeter.client("192.0.2.67").closed is None
    clients[0].hangs_up()
    assert perimeter.client("192.0.2.66").closed is None


def test_bodies_have_a_limit() -> None:
    client = Perimeter().client()
    client.says(*message("MESSAGE", "sip:bob@example.test"), body="x" * (300 * 1024))
    client.hears_response(513)


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"INVITE\r\n\r\n", b"\xff\xfe\r\n\r\n" * 9]
)
def test_garbage_ends_its_connection_and_nothing_else(junk: bytes) -> None:
    perimeter = Perimeter()
    attacker, client = perimeter.client(), perimeter.client()
    attacker.sends(junk)
    client.says(*message("OPTIONS", "sip:example.test"))
    perimeter.frontend.hears_request("OPTIONS")


def test_pings_are_answered() -> None:
    client = Perimeter().client()
    client.sends(b"\r\n\r\n")
    assert client.raw == b"\r\n"


def test_who_is_granted_nothing_is_shown_out_and_who_registered_may_be_silent() -> None:
    """Words alone keep no connection: strangers could hold them all."""
    perimeter = Perimeter()
    silent, stranger = perimeter.client(), perimeter.client()
    for method, status in (("REGISTER", 401), ("OPTIONS", 200)):
        stranger.says(*message(method, "sip:example.test", branch=f"z9hG4bK{method}"))
        perimeter.frontend.answers(perimeter.frontend.hears_request(method), status)
        stranger.hears_response(status)
    alice, path = register(perimeter, "alice")
    perimeter.bench.waits(31)
    assert silent.closed
    assert stranger.closed
    perimeter.bench.waits(3500)
    assert alice.closed is None
    perimeter.frontend.says(*message("INVITE", "sip:alice@192.168.1.2", f"Route: {path}"))
    alice.hears_request("INVITE")
