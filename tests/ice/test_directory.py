"""Where servers are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.core.machine import Answer, Resolve, Resolved
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.directory import MAX_TRIED, Directory
from iceway.ice.servers import ServerState
from iceway.trace.records import NameResolved


class Asker:
    def __init__(self) -> None:
        self.said: list[object] = []
        self.found: list[Address] = []
        self.troubles: list[str] = []

    def emit(self, output: object) -> None:
        self.said.append(output)

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        self.found.append(address)

    def server_unreachable(self, state: ServerState, detail: str) -> None:
        self.troubles.append(detail)


def looked_up(families: tuple[int, ...] = (4,)) -> tuple[Asker, Directory]:
    asker = Asker()
    directory = Directory("a", asker, random.Random(1))
    directory.add(IceServer(ServerKind.STUN, "stun.test"), families, 0.0)
    return asker, directory


def answers(*ips: str) -> tuple[Answer, ...]:
    return tuple(Answer(ip) for ip in ips)


def test_given_addresses_and_names_that_are_addresses_need_no_look_up() -> None:
    asker = Asker()
    directory = Directory("a", asker, random.Random(1))
    directory.add(IceServer(ServerKind.STUN, address=Address("192.0.2.1", 3478)), (4,), 0.0)
    directory.add(IceServer(ServerKind.STUN, "192.0.2.2", 5000), (4,), 0.0)
    assert asker.found == [Address("192.0.2.1", 3478), Address("192.0.2.2", 5000)]
    assert not directory.busy
    assert asker.said == []


def test_each_family_is_looked_up_and_the_first_address_of_each_is_asked() -> None:
    asker, directory = looked_up((4, 6))
    assert [r.record_type for r in asker.said if isinstance(r, Resolve)] == ["A", "AAAA"]
    directory.resolved(
        Resolved("a/resolve.0.A.stun.test", "stun.test", "A", answers("192.0.2.1", "192.0.2.2")), 0.0
    )
    assert directory.busy
    directory.resolved(
        Resolved("a/resolve.0.AAAA.stun.test", "stun.test", "AAAA", answers("2001:db8::1")), 0.0
    )
    assert not directory.busy
    assert [address.ip for address in asker.found] == ["192.0.2.1", "2001:db8::1"]


def test_spares_are_tried_one_by_one_and_there_is_an_end_to_them() -> None:
    asker, directory = looked_up()
    ips = [f"192.0.2.{n}" for n in range(1, 10)]
    directory.resolved(Resolved("a/resolve.0.A.stun.test", "stun.test", "A", answers(*ips)), 0.0)
    for _ in range(9):
        directory.try_spare(directory.servers[0], 0.0)
    assert [address.ip for address in asker.found] == ips[:MAX_TRIED]


def test_after_the_end_nothing_is_tried_and_late_answers_are_ignored() -> None:
    asker, directory = looked_up((4, 6))
    directory.resolved(
        Resolved("a/resolve.0.A.stun.test", "stun.test", "A", answers("192.0.2.1", "192.0.2.2")), 0.0
    )
    directory.stop()
    directory.try_spare(directory.servers[0], 0.0)
    directory.resolved(
        Resolved("a/resolve.0.AAAA.stun.test", "stun.test", "AAAA", answers("2001:db8::1")), 0.0
    )
    assert len(asker.found) == 1


def test_no_address_at_all_is_told_once_with_the_cause() -> None:
    asker, directory = looked_up((4, 6))
    directory.resolved(Resolved("a/resolve.0.A.stun.test", "stun.test", "A"), 0.0)
    assert asker.troubles == []
    directory.resolved(Resolved("a/resolve.0.AAAA.stun.test", "stun.test", "AAAA", error="SERVFAIL"), 0.0)
    assert asker.troubles == ["its name did not resolve: SERVFAIL"]


# --- servers by URI ----------------------------------------------------------------------------------------
def by_uri(uri: str, kind: ServerKind | None = None) -> tuple[Asker, Directory]:
    asker = Asker()
    directory = Directory("a", asker, random.Random(1))
    server = IceServer.from_uri(uri, "user", "secret")
    directory.add(replace(server, kind=kind or server.kind), (4,), 0.0)
    return asker, directory


def hear(directory: Directory, asker: Asker, zone: dict[tuple[str, str], tuple[Answer, ...]]) -> None:
    """Every look-up is answered."""
    heard: set[str] = set()
    while left := [said for said in asker.said if isinstance(said, Resolve) and said.key not in heard]:
        for request in left:
            heard.add(request.key)
            found = zone.get((request.name, request.record_type), ())
            directory.resolved(Resolved(request.key, request.name, request.record_type, found), 0.0)


ZONE = {
    ("_turn._udp.example.test", "SRV"): (Answer("a.test", 1, 1), Answer("b.test", 2, 2)),
    ("_turns._tcp.example.test", "SRV"): (Answer("a.test", 443),),
    ("a.test", "A"): answers("192.0.2.1"),
    ("b.test", "A"): answers("192.0.2.2"),
}


def test_a_uri_becomes_one_server_for_each_transport_with_the_others_as_spares() -> None:
    asker, directory = by_uri("turn:example.test")
    assert directory.busy
    assert directory.relays_wanted, "before any address is known"
    hear(directory, asker, ZONE)
    assert not directory.busy
    udp, tls = directory.servers
    assert (udp.server.transport, udp.addresses, udp.spares) == (
        Transport.UDP,
        (Address("192.0.2.1", 1),),
        (Address("192.0.2.2", 2),),
    )
    assert (tls.server.transport, tls.addresses) == (Transport.TLS, (Address("192.0.2.1", 443),))
    assert tls.server.host == "example.test", "the name that its certificate must prove"
    assert udp.server.label == "turn:example.test:1?transport=udp"
    told = [said for said in asker.said if isinstance(said, NameResolved)]
    assert ("1 0 1 a.test", "2 0 2 b.test") in [one.answers for one in told]


def test_new_credentials_reach_every_transport_of_a_uri() -> None:
    asker, directory = by_uri("turn:example.test")
    hear(directory, asker, ZONE)
    renewed = IceServer.from_uri("turn:example.test", "later", "secret2")
    directory.renew({renewed.place: renewed})
    assert {(state.server.username, state.server.password) for state in directory.servers} == {
        ("later", "secret2")
    }
    assert {state.server.transport for state in directory.servers} == {Transport.UDP, Transport.TLS}
    assert {state.server.place for state in directory.servers} == {renewed.place}


def test_a_relay_that_is_asked_for_our_address_only_is_asked_over_udp() -> None:
    asker, directory = by_uri("turn:example.test", ServerKind.STUN)
    hear(directory, asker, ZONE)
    assert [state.server.transport for state in directory.servers] == [Transport.UDP]


def test_a_uri_that_leads_nowhere_is_told_with_its_reason() -> None:
    asker, directory = by_uri("turn:nobody.test")
    hear(directory, asker, ZONE)
    assert asker.troubles == ["its name did not resolve: no such name"]
    asker, directory = by_uri("stuns:example.test")
    assert "over TLS a STUN server" in asker.troubles[0]
    assert not directory.busy


def test_what_is_no_uri_is_a_parse_error() -> None:
    with pytest.raises(ParseError):
        IceServer.from_uri("turn:user@example.test")
