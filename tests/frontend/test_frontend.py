"""The front end as conversations: clients inside and outside, edges, credentials."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from iceway.core.machine import Connect
from iceway.frontend.config import EdgeConfig, FrontEndConfig, ListenConfig, RegistrationConfig
from iceway.frontend.frontend import FrontEnd
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.sip.digest import DigestClient
from iceway.trace.records import (
    CredentialsRefused,
    Registered,
    SipAuthenticationFailed,
    Unregistered,
)
from iceway.wire import mras
from iceway.wire.mras import (
    CredentialsRequest,
    CredentialsResponse,
    Location,
    MediaRelay,
    MrasRequest,
    MrasResponse,
    ReasonPhrase,
)
from iceway.wire.sip import NameAddr, Request, Response, SipUri, parse_message
from tests.sip.bench import Bench, Peer

DOMAIN = "example.test"
EDGE_PATH = "<sip:alicesflow@edge1.example.test:5061;transport=tls;lr;ob>"


class Domain:
    """A front end with alice and bob as users and two edges configured."""

    def __init__(self, store: SqlStore, *, seed: int = 1, listen: tuple[ListenConfig, ...] = ()) -> None:
        self.store = store
        self.mras: dict[str, tuple[str, ...] | str] = {}
        config = FrontEndConfig(
            domain=DOMAIN,
            name="fe.example.test",
            listen=listen or (ListenConfig(address="10.0.0.1:5061"),),
            edges=(
                EdgeConfig(name="edge1.example.test", mras="10.0.0.11:5062", hosts=("198.51.100.1",)),
                EdgeConfig(name="edge2.example.test", mras="10.0.0.12:5062"),
            ),
            registration=RegistrationConfig(min_expires=60),
        )
        self.machine = FrontEnd(config, store, Random(seed))
        self.bench = Bench(self.machine, self._answer)
        self.machine.start(0.0)
        self.bench.settle()
        self._port = 40000

    def _answer(self, connect: Connect) -> tuple[str, ...] | str:
        assert connect.tls is not None
        return self.mras.get(connect.remote.ip, (connect.tls.server_name,))

    def inside(self, name: str) -> Client:
        """Somebody's client in the office, connected directly."""
        self._port += 1
        return Client(name, self.bench.connects("10.0.1.5", self._port), self._port)

    def edge(self, name: str = "edge1.example.test") -> Peer:
        self._port += 1
        return self.bench.connects("10.0.0.11", self._port, names=(name,))


class Client:
    """A user with a password and a connection (possibly the edge's, which carries others' words too)."""

    def __init__(self, name: str, peer: Peer, seed: int = 7, password: str | None = None) -> None:
        self.name = name
        self.peer = peer
        self.cseq = 0
        self.branch = 0
        self.seed = seed
        self.digest = DigestClient(name, password or f"{name}'s secret", Random(seed))

    def request(
        self,
        method: str,
        uri: str,
        *more: str,
        to: str | None = None,
        by: str | None = None,
        body: bytes = b"",
    ) -> Request:
        self.cseq += 1
        me = f"sip:{by or self.name}@{DOMAIN}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"From: <{me}>;tag={self.name}",
            f"To: <{to or (me if method == 'REGISTER' else uri)}>",
            f"Call-ID: {self.name}{self.seed}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:{self.name}@192.168.1.2:5061>",
            *more,
        ]
        head = "\r\n".join([lines[0], "Via: SIP/2.0/TLS 1.2.3.4;branch=z9hG4bKx", *lines[1:], "", ""])
        request = parse_message(head.encode())
        assert isinstance(request, Request)
        return request.without_header("Via").with_body(body, mras.CONTENT_TYPE if body else None)

    def sends(self, request: Request) -> None:
        self.branch += 1
        transport = "TLS" if self.peer.stream else "UDP"
        via = f"SIP/2.0/{transport} 192.168.1.2:{self.seed};rport;branch=z9hG4bK{self.name}{self.branch}"
        self.peer.sends(request.with_first("Via", via).serialize())

    def asks(self, request: Request) -> Response:
        """Send a request, answering a challenge with the password; the final answer."""
        self.sends(self.digest.authorize(request))
        answer = self.peer.hears()
        assert isinstance(answer, Response), answer.start_line
        if answer.status in (401, 407):
            again = self.digest.answer(answer, request)
            if again is None:
                return answer
            self.sends(again.with_header("CSeq", f"{self._next()} {request.method}"))
            answer = self.peer.hears()
            assert isinstance(answer, Response), answer.start_line
        return answer

    def _next(self) -> int:
        self.cseq += 1
        return self.cseq

    def registers(self, *more: str, to: str | None = None) -> Response:
        return self.asks(self.request("REGISTER", f"sip:{DOMAIN}", *more, to=to))

    def invites(self, to: str, *more: str) -> None:
        """Send an INVITE and answer the 407."""
        request = self.request("INVITE", f"sip:{to}@{DOMAIN}", *more)
        self.sends(request)
        again = self.digest.answer(self.peer.hears_response(407), request)
        assert again is not None
        self.sends(again.with_header("CSeq", f"{self._next()} INVITE"))

    def wants_credentials(self, uri: str, identity: str | None = None, minutes: int = 480) -> Request:
        item = CredentialsRequest("1", identity or f"sip:{self.name}@{DOMAIN}", Location.INTERNET, minutes)
        body = mras.serialize_request(MrasRequest("r1", uri, f"sip:{self.name}@{DOMAIN}", (item,)))
        return self.request("SERVICE", uri, body=body)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore()
    for name in ("alice", "bob"):
        add_user(opened, name, f"{name}'s secret", DOMAIN, 0.0)
    yield opened
    opened.close()


# --- registering ----------------------------------------------------------------------------------------
def test_a_client_inside_registers_and_learns_where_credentials_are_to_be_had(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    alice.sends(alice.request("REGISTER", f"sip:{DOMAIN}"))
    challenge = alice.peer.hears_response(401)
    assert [value.partition("algorithm=")[2][:7] for value in challenge.headers.all("WWW-Authenticate")] == [
        "SHA-256",
        "MD5",
    ]
    answer = alice.registers()
    assert answer.status == 200
    assert answer.headers.get(mras.SERVICE_HEADER) == f"<{domain.machine.media_relay_service}>"
    assert mras.LOGON_HEADER not in answer.headers
    (registered,) = domain.bench.seen(Registered)
    assert isinstance(registered, Registered)
    assert registered.aor == "sip:alice@example.test"
    assert registered.outside is False


def test_a_client_that_knows_only_md5_and_stumbles_over_more_is_offered_md5(store: SqlStore) -> None:
    alice = Domain(store).inside("alice")
    alice.sends(alice.request("REGISTER", f"sip:{DOMAIN}", "User-Agent: baresip v1.0.0 (x86_64/linux)"))
    (challenge,) = alice.peer.hears_response(401).headers.all("WWW-Authenticate")
    assert "algorithm=MD5" in challenge


def test_a_client_outside_is_known_by_the_edge_it_comes_through(store: SqlStore) -> None:
    domain = Domain(store)
    alice = Client("alice", domain.edge())
    answer = alice.registers(f"Path: {EDGE_PATH}", "Supported: path")
    assert answer.status == 200
    assert answer.headers.get(mras.LOGON_HEADER) == mras.OUTSIDE
    assert answer.headers.all("Path") == (EDGE_PATH,)
    (registered,) = domain.bench.seen(Registered)
    assert isinstance(registered, Registered)
    assert registered.outside is True


def test_a_path_from_somebody_who_is_no_edge_counts_for_nothing(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    alice.registers("Path: <sip:evil.test;lr>", f"{mras.LOGON_HEADER}: {mras.OUTSIDE}")
    (binding,) = store.bindings("sip:alice@example.test")
    assert not binding.outside
    assert "evil.test" not in binding.path[0]
    stranger = Client("alice", domain.bench.connects("10.0.0.66", 1, names=("edge1.example.test.evil.test",)))
    assert mras.LOGON_HEADER not in stranger.registers(f"Path: {EDGE_PATH}").headers


def test_a_wrong_password_is_refused_and_recorded(store: SqlStore) -> None:
    domain = Domain(store)
    mallory = Client("alice", domain.inside("x").peer, password="guess")
    assert mallory.registers().status == 401
    (failed,) = domain.bench.seen(SipAuthenticationFailed)
    assert isinstance(failed, SipAuthenticationFailed)
    assert (failed.user, failed.reason) == ("alice", "wrong password")
    assert store.bindings("sip:alice@example.test") == []
    nobody = Client("nobody", domain.inside("x").peer, seed=9)
    assert nobody.registers().status == 401


def test_who_guesses_is_not_heard_for_a_while_and_others_are(store: SqlStore) -> None:
    """Outside, everybody comes over the edge's connection: the Via under the edge's own tells them apart."""
    domain = Domain(store)
    edge = domain.edge()

    def through_edge(password: str, ip: str, seed: int) -> Response:
        client = Client("alice", edge, seed, password)
        request = client.request("REGISTER", f"sip:{DOMAIN}", f"Path: {EDGE_PATH}")
        for _ in range(2):
            client.branch += 1
            branch = f"z9hG4bK{seed}.{client.branch}"
            told = request.with_first("Via", f"SIP/2.0/TLS 192.168.1.2;received={ip};branch={branch}c")
            edge.sends(told.with_first("Via", f"SIP/2.0/TLS 10.0.0.11;branch={branch}").serialize())
            answer = edge.hears()
            assert isinstance(answer, Response)
            again = client.digest.answer(answer, request) if answer.status == 401 else None
            if again is None:
                break
            request = again.with_header("CSeq", f"{client._next()} REGISTER")
        return answer

    for guess in range(5):
        assert through_edge(f"guess {guess}", "203.0.113.66", 100 + guess).status == 401
    for password in ("another guess", "alice's secret"):  # right or wrong is not to be learned
        told = through_edge(password, "203.0.113.66", 200 + len(password))
        assert (told.status, told.headers.get("Retry-After")) == (503, "2")
    assert through_edge("alice's secret", "203.0.113.1", 300).status == 200
    assert domain.inside("alice").registers().status == 200
    domain.bench.waits(2.1)
    assert through_edge("alice's secret", "203.0.113.66", 400).status == 200


def test_nobody_registers_or_calls_as_somebody_else(store: SqlStore) -> None:
    domain = Domain(store)
    bob = domain.inside("bob")
    assert bob.registers(to=f"sip:alice@{DOMAIN}").status == 403
    assert bob.asks(bob.request("OPTIONS", f"sip:alice@{DOMAIN}", by="alice")).status == 403
    assert store.bindings("sip:alice@example.test") == []
    assert len(domain.bench.seen(SipAuthenticationFailed)) == 2


def test_a_removed_user_is_out(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    assert alice.registers().status == 200
    store.remove_user("sip:alice@example.test")
    assert alice.registers().status == 401


def test_registrations_run_out_by_the_wall_clock(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    alice.registers("Expires: 60")
    domain.bench.waits(100)
    (gone,) = domain.bench.seen(Unregistered)
    assert isinstance(gone, Unregistered)
    assert gone.reason == "expired"


# --- calling --------------------------------------------------------------------------------------------
def test_alice_outside_calls_bob_inside_and_both_find_each_other_again(store: SqlStore) -> None:
    domain = Domain(store)
    edge = domain.edge()
    alice, bob = Client("alice", edge), domain.inside("bob")
    bob.registers()
    record = "<sip:alicesflow@edge1.example.test:5061;transport=tls;lr>"
    alice.invites("bob", f"Record-Route: {record}", "P-Asserted-Identity: <sip:boss@example.test>")
    invite = bob.peer.hears_request("INVITE")
    assert invite.uri == "sip:bob@192.168.1.2:5061"
    assert invite.headers.all("P-Asserted-Identity") == ("<sip:alice@example.test>",)
    assert "Proxy-Authorization" not in invite.headers
    ours, edges = invite.headers.all("Record-Route")
    assert edges == record
    assert NameAddr.parse(ours).sip.host == "fe.example.test"
    bob.peer.answers(invite, 200, tag="b")
    edge.hears_response(200)

    ack = alice.request("ACK", "sip:bob@192.168.1.2:5061", f"Route: {ours}")
    alice.sends(ack.with_header("To", "<sip:bob@example.test>;tag=b"))
    bob.peer.hears_request("ACK")
    bye = bob.request("BYE", "sip:alice@192.168.1.2:5061", f"Route: {ours}, {edges}")
    bob.sends(bye.with_header("To", "<sip:alice@example.test>;tag=alice"))
    forwarded = edge.hears_request("BYE")
    assert forwarded.headers.all("Route") == (edges,)
    edge.answers(forwarded, 200)
    bob.peer.hears_response(200)


def test_bob_inside_calls_alice_outside_over_her_path(store: SqlStore) -> None:
    domain = Domain(store)
    edge, other = domain.edge(), domain.edge("edge2.example.test")
    Client("alice", edge).registers(f"Path: {EDGE_PATH}")
    bob = domain.inside("bob")
    bob.invites("alice")
    invite = edge.hears_request("INVITE")
    assert invite.headers.all("Route") == (EDGE_PATH,)
    assert invite.uri == "sip:alice@192.168.1.2:5061"
    other.hears_nothing()


def test_an_edge_that_names_itself_by_address_is_found_too(store: SqlStore) -> None:
    domain = Domain(store)
    edge = domain.edge()
    Client("alice", edge).registers("Path: <sip:t@198.51.100.1:5061;transport=tls;lr;ob>")
    bob = domain.inside("bob")
    bob.invites("alice")
    edge.hears_request("INVITE")


def test_a_call_to_nobody_is_404_and_to_somebody_away_480(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    assert alice.asks(alice.request("INVITE", f"sip:nobody@{DOMAIN}")).status == 404
    assert alice.asks(alice.request("INVITE", f"sip:bob@{DOMAIN}")).status == 480


def test_other_domains_are_not_routed_to(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    assert alice.asks(alice.request("INVITE", "sip:victim@other.test")).status == 403
    within = alice.request(
        "BYE", "sip:victim@other.test", "Route: <sip:fe.example.test;lr>, <sip:other.test;lr>"
    )
    assert alice.asks(within.with_header("To", "<sip:x@y>;tag=z")).status == 404


def test_a_dialog_cannot_be_made_up_to_avoid_the_password(store: SqlStore) -> None:
    domain = Domain(store)
    bob = domain.inside("bob")
    bob.registers()
    mallory = domain.inside("mallory")
    invite = mallory.request("INVITE", f"sip:bob@{DOMAIN}", "Route: <sip:fe.example.test;lr>")
    mallory.sends(invite.with_header("To", f"<sip:bob@{DOMAIN}>;tag=made-up"))
    mallory.peer.hears_response(404)
    mallory.sends(mallory.request("INVITE", f"sip:bob@{DOMAIN}").with_header("To", "<sip:b@x>;tag=made-up"))
    mallory.peer.hears_response(407)
    bob.peer.hears_nothing()


def test_proofs_sent_within_a_dialog_do_not_reach_the_other_side(store: SqlStore) -> None:
    """Bob picks the Request-URI of alice's re-INVITE with his Contact: her proof in it would let him call as her."""
    domain = Domain(store)
    alice, bob = domain.inside("alice"), domain.inside("bob")
    bob.registers()
    alice.invites("bob")
    invite = bob.peer.hears_request("INVITE")
    bob.peer.answers(invite, 200, ("Contact", f"<sip:carol@{DOMAIN}>"), tag="b")
    routes = alice.peer.hears_response(200).headers.all("Record-Route")
    for method in ("INVITE", "BYE", "ACK"):
        request = alice.request(method, f"sip:carol@{DOMAIN}", *(f"Route: {route}" for route in routes[::-1]))
        request = request.with_header("To", "<sip:bob@example.test>;tag=b")
        alice.sends(alice.digest.authorize(request))
        heard = bob.peer.hears_request(method)
        assert "Authorization" not in heard.headers
        assert "Proxy-Authorization" not in heard.headers


def test_a_binding_whose_edge_lost_the_client_is_forgotten(store: SqlStore) -> None:
    domain = Domain(store)
    edge = domain.edge()
    Client("alice", edge).registers(f"Path: {EDGE_PATH}")
    bob = domain.inside("bob")
    bob.invites("alice")
    edge.answers(edge.hears_request("INVITE"), 430)
    bob.peer.hears_response(480)
    assert store.bindings("sip:alice@example.test") == []
    (gone,) = domain.bench.seen(Unregistered)
    assert isinstance(gone, Unregistered)
    assert "no connection to the client" in gone.reason


def test_a_binding_whose_connection_closed_is_forgotten(store: SqlStore) -> None:
    domain = Domain(store)
    alice, bob = domain.inside("alice"), domain.inside("bob")
    alice.registers()
    alice.peer.hangs_up()
    bob.invites("alice")
    bob.peer.hears_response(480)
    assert store.bindings("sip:alice@example.test") == []


def test_a_binding_outlives_an_edge_that_is_away_for_a_moment(store: SqlStore) -> None:
    domain = Domain(store)
    edge = domain.edge()
    Client("alice", edge).registers(f"Path: {EDGE_PATH}")
    edge.hangs_up()
    bob = domain.inside("bob")
    bob.invites("alice")
    bob.peer.hears_response(480)
    again = domain.edge()
    bob.invites("alice")
    again.hears_request("INVITE")


def test_bindings_survive_the_front_end(store: SqlStore) -> None:
    Client("alice", (first := Domain(store)).edge()).registers(f"Path: {EDGE_PATH}")
    first.machine.stop(0.0)
    second = Domain(store, seed=2)
    edge, bob = second.edge(), second.inside("bob")
    bob.invites("alice")
    assert edge.hears_request("INVITE").headers.all("Route") == (EDGE_PATH,)


def test_a_nonce_of_the_front_ends_life_before_is_good_and_another_servers_is_stale(store: SqlStore) -> None:
    alice = Domain(store).inside("alice")
    alice.registers()
    alice.peer = Domain(store, seed=2).inside("alice").peer
    alice.sends(alice.digest.authorize(alice.request("REGISTER", f"sip:{DOMAIN}")))
    alice.peer.hears_response(200)
    other = SqlStore()
    add_user(other, "alice", "alice's secret", DOMAIN, 0.0)
    alice.peer = Domain(other, seed=3).inside("alice").peer
    assert alice.registers().status == 200
    other.close()


def test_a_client_over_udp_is_found_by_the_front_ends_next_life(store: SqlStore) -> None:
    listen = (
        ListenConfig(address="10.0.0.1:5060", transport="udp"),
        ListenConfig(address="10.0.0.1:5060", transport="tcp"),
    )
    first = Domain(store, listen=listen)
    alice = Client("alice", first.bench.udp_peer("10.0.1.5", 5070))
    alice.registers()
    second = Domain(store, seed=2, listen=listen)
    heard = second.bench.udp_peer("10.0.1.5", 5070)
    second.inside("bob").invites("alice")
    heard.hears_request("INVITE")


def test_a_challenge_is_sent_once_and_costs_nothing_lasting(store: SqlStore) -> None:
    """Over UDP the sender's address may be forged: what is sent again and again would hit somebody else."""
    listen = (ListenConfig(address="10.0.0.1:5060", transport="udp"),)
    domain = Domain(store, listen=listen)
    stranger = Client("alice", domain.bench.udp_peer("10.0.1.66", 5070))
    invite = stranger.request("INVITE", f"sip:bob@{DOMAIN}")
    stranger.sends(invite)
    challenge = stranger.peer.hears_response(407)
    assert domain.machine._proxy._endpoint._transactions == {}
    domain.bench.waits(40)
    stranger.peer.hears_nothing()
    ack = stranger.request("ACK", invite.uri).with_header("To", str(challenge.to))
    stranger.sends(ack)
    stranger.peer.hears_nothing()


def test_sips_goes_over_tls_or_not_at_all(store: SqlStore) -> None:
    listen = (
        ListenConfig(address="10.0.0.1:5061"),
        ListenConfig(address="10.0.0.1:5060", transport="udp"),
    )
    domain = Domain(store, listen=listen)
    phone, bob = Client("alice", domain.bench.udp_peer("10.0.1.5", 5070)), domain.inside("bob")
    phone.registers("Contact: <sip:phone@10.0.1.5:5070>")
    assert bob.asks(bob.request("INVITE", f"sips:alice@{DOMAIN}")).status == 480
    phone.peer.hears_nothing()
    desk = domain.inside("alice")
    desk.registers("Contact: <sips:desk@192.168.1.3>")
    bob.sends(bob.digest.authorize(bob.request("INVITE", f"sips:alice@{DOMAIN}")))
    desk.peer.hears_request("INVITE")
    phone.peer.hears_nothing()


def test_both_devices_of_a_user_ring(store: SqlStore) -> None:
    domain = Domain(store)
    desk, laptop, bob = domain.inside("alice"), domain.inside("alice"), domain.inside("bob")
    desk.registers("Contact: <sip:desk@192.168.1.3>")
    laptop.registers("Contact: <sip:laptop@192.168.1.4>")
    bob.invites("alice")
    desk.peer.hears_request("INVITE")
    laptop.peer.hears_request("INVITE")


def test_clients_over_udp_and_tcp_are_found_again_too(store: SqlStore) -> None:
    listen = (
        ListenConfig(address="10.0.0.1:5060", transport="udp"),
        ListenConfig(address="10.0.0.1:5060", transport="tcp"),
    )
    domain = Domain(store, listen=listen)
    alice = Client("alice", domain.bench.udp_peer("10.0.1.5", 5070))
    bob = domain.inside("bob")
    alice.sends = lambda request: alice.peer.sends(  # type: ignore[method-assign]
        request.with_first(
            "Via", f"SIP/2.0/UDP 10.0.1.5:5070;branch=z9hG4bK{alice._next()};rport"
        ).serialize()
    )
    assert alice.registers().status == 200
    bob.invites("alice")
    invite = alice.peer.hears_request("INVITE")
    top, second = (address.sip for address in invite.record_routes)
    assert (top.host, top.port, top.transport) == ("10.0.0.1", 5060, "udp")
    assert (second.host, second.port, second.transport) == ("10.0.0.1", 5060, "tcp")


def test_the_server_answers_options_for_itself(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    alice.sends(alice.request("OPTIONS", f"sip:{DOMAIN}"))
    alice.peer.hears_response(200)


# --- relay credentials ----------------------------------------------------------------------------------
def minted(edge: Peer, reason: ReasonPhrase = ReasonPhrase.OK) -> Request:
    """An edge's credential service answers; the request it got."""
    request = edge.hears_request("SERVICE")
    asked = mras.parse_request(request.body)
    (item,) = asked.credentials
    credentials = (
        CredentialsResponse(
            item.request_id, "U", "P", item.duration or 1, (MediaRelay("av", udp_port=3478),)
        ),
    )
    body = mras.serialize_response(
        MrasResponse(
            reason, asked.request_id, asked.to, asked.from_, credentials if reason is ReasonPhrase.OK else ()
        )
    )
    edge.answers(request, 200, ("Content-Type", mras.CONTENT_TYPE), body=body)
    return request


def test_the_front_end_vouches_and_brings_the_edges_answer(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    request = alice.wants_credentials(domain.machine.media_relay_service, minutes=100000)
    alice.sends(request)
    again = alice.digest.answer(alice.peer.hears_response(401), request)
    assert again is not None
    alice.sends(again)
    (edge,) = domain.bench.dialled
    assert edge.connect is not None
    assert edge.connect.tls is not None
    assert (edge.connect.tls.server_name, edge.connect.tls.identity) == ("edge1.example.test", "frontend")
    got = minted(edge)
    assert got.headers.get("P-Asserted-Identity") == "<sip:alice@example.test>"
    assert "Authorization" not in got.headers
    (item,) = mras.parse_request(got.body).credentials
    assert (item.identity, item.duration) == ("sip:alice@example.test", 480)
    answer = mras.parse_response(alice.peer.hears_response(200).body)
    assert answer.reason is ReasonPhrase.OK
    assert answer.credentials[0].username == "U"


def _asked(domain: Domain, alice: Client, **how: str) -> None:
    request = alice.wants_credentials("sip:mras@example.test", **how)  # type: ignore[arg-type]
    alice.sends(request)
    again = alice.digest.answer(alice.peer.hears_response(401), request)
    assert again is not None
    alice.sends(again)


def test_nobody_gets_credentials_in_anothers_name(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    _asked(domain, alice, identity="sip:bob@example.test")
    assert mras.parse_response(alice.peer.hears_response(200).body).reason is ReasonPhrase.FORBIDDEN
    (refused,) = domain.bench.seen(CredentialsRefused)
    assert refused == CredentialsRefused(
        "sip:alice@example.test", "asked for credentials of sip:bob@example.test"
    )
    assert domain.bench.dialled == []


def test_when_an_edge_is_down_the_next_is_asked(store: SqlStore) -> None:
    domain = Domain(store)
    domain.mras["10.0.0.11"] = "connection refused"
    alice = domain.inside("alice")
    _asked(domain, alice)
    (second,) = domain.bench.dialled
    assert second.remote.ip == "10.0.0.12"
    minted(second)
    alice.peer.hears_response(200)


def test_an_edge_that_never_answers_has_bounded_time(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    _asked(domain, alice)
    domain.bench.waits(3.1)
    first, second = domain.bench.dialled
    minted(second)
    alice.peer.hears_response(200)
    minted(first)  # too late
    alice.peer.hears_nothing()


def test_an_edge_that_does_not_connect_has_bounded_time_too(store: SqlStore) -> None:
    domain = Domain(store)
    domain.mras["10.0.0.11"] = ""  # neither up nor refused
    alice = domain.inside("alice")
    _asked(domain, alice)
    domain.bench.waits(3.1)
    (second,) = domain.bench.dialled
    minted(second)
    alice.peer.hears_response(200)


def test_when_no_edge_gives_any_the_client_hears_504_and_why(store: SqlStore) -> None:
    domain = Domain(store)
    domain.mras["10.0.0.11"] = "certificate is for a.test, not edge1.example.test"
    alice = domain.inside("alice")
    _asked(domain, alice)
    (second,) = domain.bench.dialled
    second.answers(second.hears_request("SERVICE"), 403)
    answer = alice.peer.hears_response(504)
    warning = answer.headers.get("Warning") or ""
    assert "edge edge1.example.test: certificate is for a.test" in warning
    assert "edge edge2.example.test: it answered 403 Forbidden" in warning
    (refused,) = domain.bench.seen(CredentialsRefused)
    assert isinstance(refused, CredentialsRefused)
    assert "403" in refused.reason


def test_a_busy_edge_is_passed_over_and_an_honest_no_is_passed_on(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    _asked(domain, alice)
    minted(domain.bench.dialled[0], ReasonPhrase.BUSY)
    minted(domain.bench.dialled[1], ReasonPhrase.NOT_SUPPORTED)
    assert mras.parse_response(alice.peer.hears_response(200).body).reason is ReasonPhrase.NOT_SUPPORTED


def test_hostile_bodies_are_answered_in_the_protocol(store: SqlStore) -> None:
    domain = Domain(store)
    alice = domain.inside("alice")
    uri = "sip:mras@example.test"
    hostile = alice.request("SERVICE", uri, body=b'<!DOCTYPE x [<!ENTITY a "b">]><request>&a;</request>')
    assert mras.parse_response(alice.asks(hostile).body).reason is ReasonPhrase.MALFORMED
    text = alice.request("SERVICE", uri, body=b"hello").with_header("Content-Type", "text/plain")
    assert alice.asks(text).status == 415


def test_a_service_request_for_a_user_is_just_forwarded(store: SqlStore) -> None:
    domain = Domain(store)
    alice, bob = domain.inside("alice"), domain.inside("bob")
    bob.registers()
    request = alice.request("SERVICE", f"sip:bob@{DOMAIN}")
    alice.sends(request)
    again = alice.digest.answer(alice.peer.hears_response(407), request)
    assert again is not None
    alice.sends(again)
    assert bob.peer.hears_request("SERVICE").sip_uri.matches(SipUri.parse("sip:bob@192.168.1.2:5061"))
