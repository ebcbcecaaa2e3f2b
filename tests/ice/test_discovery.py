"""Zones, and the servers that a URI leads to in them: RFC 5928 step by step, its own examples first."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address, Transport
from iceway.core.machine import Answer, Resolved
from iceway.ice.discovery import MAX_LOOKUPS, MAX_TARGETS, Discovery, Reason
from iceway.wire.server_uri import ServerUri, parse

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
Zone = dict[tuple[str, str], tuple[Answer, ...]]


class Search:
    """A discovery in a zone whose answers come when the test says so."""

    def __init__(
        self, uri: str | ServerUri, zone: Zone, families: tuple[int, ...] = (4,), seed: int = 1
    ) -> None:
        self.zone = zone
        self.asked: list[tuple[str, str]] = []
        self.waiting: list[tuple[str, str]] = []
        uri = parse(uri) if isinstance(uri, str) else uri
        self.discovery = Discovery(uri, families, random.Random(seed), self._ask)

    def _ask(self, name: str, kind: str) -> None:
        self.asked.append((name, kind))
        self.waiting.append((name, kind))

    def hear(self, name: str, kind: str, error: str | None = None) -> None:
        """One answer comes."""
        self.waiting.remove((name, kind))
        answers = () if error else self.zone.get((name, kind), ())
        self.discovery.answered(Resolved("", name, kind, answers, error))

    def end(self) -> Search:
        """All answers come."""
        while self.waiting:
            self.hear(*self.waiting[0])
        return self

    @property
    def found(self) -> list[tuple[Transport, str]]:
        return [(transport, str(address)) for transport, address in self.discovery.addresses()]

    @property
    def reasons(self) -> list[Reason]:
        return [end.reason for end in self.discovery.dead_ends()]


def a(ip: str) -> tuple[Answer, ...]:
    return (Answer(ip),)


def srv(host: str, port: int, priority: int = 0, weight: int = 0) -> Answer:
    return Answer(host, port, priority, weight)


def naptr(order: int, flags: str, service: str, to: str, preference: int = 10, regexp: str = "") -> Answer:
    return Answer(
        to, order=order, preference=preference, flags=flags, service=f"RELAY:{service}", regexp=regexp
    )


EXAMPLE: Zone = {  # RFC 5928 §4.1
    ("example.net", "NAPTR"): (
        naptr(200, "", "turn.tcp:turn.tls", "stream.example.net"),
        naptr(100, "", "turn.udp", "datagram.example.net"),
    ),
    ("datagram.example.net", "NAPTR"): (naptr(100, "S", "turn.udp", "_turn._udp.example.net"),),
    ("stream.example.net", "NAPTR"): (
        naptr(100, "S", "turn.tcp", "_turn._tcp.example.net"),
        naptr(200, "A", "turn.tls", "a.example.net"),
    ),
    ("_turn._udp.example.net", "SRV"): (srv("a.example.net", 3478),),
    ("_turn._tcp.example.net", "SRV"): (srv("a.example.net", 5000),),
    ("a.example.net", "A"): a("192.0.2.1"),
}
COMPATIBLE: Zone = {  # RFC 5928 §4.3: no NAPTR
    ("_turn._udp.example.com", "SRV"): (srv("a.example.com", 3478),),
    ("_turn._tcp.example.com", "SRV"): (srv("a.example.com", 3478),),
    ("_turns._tcp.example.com", "SRV"): (srv("a.example.com", 5349),),
    ("a.example.com", "A"): a("192.0.2.1"),
}


# --- the branches of RFC 5928 §3 ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("turn:192.0.2.9:5000?transport=udp", [(UDP, "192.0.2.9:5000")]),
        ("turn:192.0.2.9?transport=tcp", [(TCP, "192.0.2.9:3478")]),
        ("turns:192.0.2.9", [(TLS, "192.0.2.9:5349")]),
        ("turns:192.0.2.9?transport=udp", [(Transport.DTLS, "192.0.2.9:5349")]),
        ("turn:192.0.2.9", [(UDP, "192.0.2.9:3478"), (TCP, "192.0.2.9:3478")]),
        ("stun:192.0.2.9", [(UDP, "192.0.2.9:3478")]),
    ],
)
def test_literals_are_not_looked_up(uri: str, found: list[tuple[Transport, str]]) -> None:
    search = Search(uri, {})
    assert search.asked == []
    assert search.found == found


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("turn:a.test:5000?transport=udp", [(UDP, "192.0.2.1:5000")]),
        ("turns:a.test:443", [(TLS, "192.0.2.1:443")]),
        ("turn:a.test:5000", [(UDP, "192.0.2.1:5000"), (TCP, "192.0.2.1:5000")]),
        ("stun:a.test:5000", [(UDP, "192.0.2.1:5000")]),
    ],
)
def test_a_port_leaves_the_hosts_addresses(uri: str, found: list[tuple[Transport, str]]) -> None:
    search = Search(uri, {("a.test", "A"): a("192.0.2.1")}).end()
    assert search.asked == [("a.test", "A")]
    assert search.found == found


def test_a_transport_leaves_srv() -> None:
    search = Search("turn:example.net?transport=tcp", EXAMPLE).end()
    assert search.found == [(TCP, "192.0.2.1:5000")]
    assert ("example.net", "NAPTR") not in search.asked


def test_neither_leaves_naptr_and_its_ways_end_in_srv_and_addresses() -> None:
    search = Search("turn:example.net", EXAMPLE).end()
    assert search.found == [(UDP, "192.0.2.1:3478"), (TCP, "192.0.2.1:5000"), (TLS, "192.0.2.1:5349")]


def test_dtls_has_an_srv_name_of_its_own() -> None:
    zone = {
        ("_turns._udp.a.test", "SRV"): (srv("relay.a.test", 5350),),
        ("relay.a.test", "A"): a("192.0.2.7"),
    }
    search = Search("turns:a.test?transport=udp", zone).end()
    assert search.found == [(Transport.DTLS, "192.0.2.7:5350")]


def test_a_secure_uri_follows_only_what_is_secure() -> None:
    assert Search("turns:example.net", EXAMPLE).end().found == [(TLS, "192.0.2.1:5349")]
    assert Search("turns:example.com", COMPATIBLE).end().found == [(TLS, "192.0.2.1:5349")]


def test_without_naptr_srv_of_every_transport_counts() -> None:
    search = Search("turn:example.com", COMPATIBLE).end()
    assert search.found == [(UDP, "192.0.2.1:3478"), (TCP, "192.0.2.1:3478"), (TLS, "192.0.2.1:5349")]


def test_without_any_record_the_host_itself_is_the_server() -> None:
    zone: Zone = {("a.test", "A"): a("192.0.2.1")}
    assert Search("turn:a.test", zone).end().found == [(UDP, "192.0.2.1:3478"), (TCP, "192.0.2.1:3478")]
    assert Search("turns:a.test", zone).end().found == [(TLS, "192.0.2.1:5349")]
    assert Search("turn:a.test?transport=tcp", zone).end().found == [(TCP, "192.0.2.1:3478")]
    assert Search("stun:a.test", zone).end().found == [(UDP, "192.0.2.1:3478")]


def test_stun_is_found_by_srv() -> None:
    zone: Zone = {
        ("_stun._udp.example.test", "SRV"): (srv("stun.example.test", 3480),),
        ("stun.example.test", "A"): a("192.0.2.1"),
        ("example.test", "A"): a("192.0.2.99"),
    }
    assert Search("stun:example.test", zone).end().found == [(UDP, "192.0.2.1:3480")]


# --- all at once ---------------------------------------------------------------------------------------------
def test_what_may_be_needed_is_asked_at_once_and_what_is_known_is_used_at_once() -> None:
    search = Search("turn:example.com", COMPATIBLE)
    assert {kind for _, kind in search.asked} == {"NAPTR", "SRV", "A"}
    search.hear("_turn._tcp.example.com", "SRV")
    assert search.found == [], "NAPTR records would come before these"
    search.hear("example.com", "NAPTR")
    search.hear("a.example.com", "A")
    assert search.found == [(TCP, "192.0.2.1:3478")], "the other transports are not waited for"
    assert search.discovery.busy
    search.hear("_turn._udp.example.com", "SRV")
    search.hear("_turns._tcp.example.com", "SRV")
    assert len(search.found) == 3
    assert not search.discovery.busy, "the host's own address is of no interest any more"


def test_servers_are_used_in_their_order_however_their_addresses_come() -> None:
    zone: Zone = {
        ("_stun._udp.example.test", "SRV"): (srv("second.test", 2, 20), srv("first.test", 1, 10)),
        ("first.test", "A"): a("192.0.2.1"),
        ("first.test", "AAAA"): a("2001:db8::1"),
        ("second.test", "A"): a("192.0.2.2"),
    }
    search = Search("stun:example.test", zone, families=(4, 6))
    search.hear("_stun._udp.example.test", "SRV")
    search.hear("second.test", "A")
    assert search.found == []
    search.hear("first.test", "A")
    assert search.found == [(UDP, "192.0.2.1:1"), (UDP, "192.0.2.2:2")]
    search.end()
    assert search.found == [(UDP, "192.0.2.1:1"), (UDP, "[2001:db8::1]:1"), (UDP, "192.0.2.2:2")]


def test_weights_share_the_load_and_the_order_stays_as_it_was_drawn() -> None:
    zone: Zone = {
        ("_stun._udp.example.test", "SRV"): (srv("big.test", 1, 0, 75), srv("small.test", 2, 0, 25)),
        ("big.test", "A"): a("192.0.2.1"),
        ("small.test", "A"): a("192.0.2.2"),
    }
    first: Counter[str] = Counter()
    for seed in range(400):
        search = Search("stun:example.test", zone, seed=seed).end()
        assert search.found == search.found
        first[search.found[0][1]] += 1
    assert 270 < first["192.0.2.1:1"] < 330


def test_a_host_that_gets_another_family_asks_for_its_addresses() -> None:
    search = Search("turn:example.com", COMPATIBLE | {("a.example.com", "AAAA"): a("2001:db8::1")}).end()
    search.discovery.widen((4, 6))
    assert search.waiting == [("example.com", "AAAA"), ("a.example.com", "AAAA")]
    assert len(search.end().found) == 6


# --- dead ends -----------------------------------------------------------------------------------------------
def test_every_dead_end_has_its_reason() -> None:
    assert Search("stuns:example.test", {}).reasons == [Reason.UNSUPPORTED]
    assert Search("turn:a.test?transport=pigeon", {}).reasons == [Reason.UNSUPPORTED]
    assert Search("turn:nobody.test", {}).end().reasons == [Reason.NO_SUCH_NAME]
    declined: Zone = {
        ("_turn._udp.a.test", "SRV"): (srv(".", 0),),
        ("a.test", "A"): a("192.0.2.1"),
    }
    assert Search("turn:a.test?transport=udp", declined).end().reasons == [Reason.DECLINED]
    assert Search("turn:a.test?transport=udp", declined).end().found == [], "no means no (RFC 2782)"
    assert Search("stun:[2001:db8::1]", {}).reasons == [Reason.UNSUPPORTED], "this host has IPv4 only"


def test_a_name_server_that_fails_is_told_apart_from_a_name_that_is_not_there() -> None:
    search = Search("turn:a.test?transport=udp", {})
    search.hear("_turn._udp.a.test", "SRV", error="timed out")
    search.hear("a.test", "A", error="timed out")
    (end,) = search.discovery.dead_ends()
    assert (end.reason, end.detail) == (Reason.LOOKUP_FAILED, "its name did not resolve: timed out")


def test_one_server_without_an_address_does_not_hide_the_others() -> None:
    zone = COMPATIBLE | {("_turn._udp.example.com", "SRV"): (srv("gone.test", 1), srv("a.example.com", 2, 9))}
    search = Search("turn:example.com?transport=udp", zone).end()
    assert search.found == [(UDP, "192.0.2.1:2")]
    assert "gone.test" in search.discovery.dead_ends()[0].detail


@pytest.mark.parametrize(
    "record",
    [
        naptr(1, "S", "turn.sctp", "_turn._udp.example.com"),
        naptr(1, "S", "turn.udp", ".", regexp="!.*!x.test!"),
        naptr(1, "U", "turn.udp", "_turn._udp.example.com"),
        Answer("_sip._udp.example.com", order=1, flags="S", service="SIP+D2U"),
        naptr(1, "", "turn.udp", "example.com"),
    ],
)
def test_naptr_records_of_others_and_loops_lead_back_to_srv(record: Answer) -> None:
    zone = COMPATIBLE | {("example.com", "NAPTR"): (record,)}
    assert len(Search("turn:example.com", zone).end().found) == 3


def test_a_zone_that_leads_to_itself_in_many_ways_is_walked_once() -> None:
    """Each of these records leads to all of them: four steps deep those are a million ways."""
    loop = tuple(naptr(n, "", "turn.udp:turn.tcp", "example.com") for n in range(32))
    visits = 0

    class Counted(tuple[Answer, ...]):
        def __iter__(self) -> Iterator[Answer]:
            nonlocal visits
            visits += len(self)
            return super().__iter__()

    search = Search("turn:example.com", COMPATIBLE | {("example.com", "NAPTR"): Counted(loop)}).end()
    assert len(search.found) == 3
    assert visits < 32 * 20


def test_a_zone_that_branches_without_end_costs_a_bounded_number_of_look_ups() -> None:
    class Endless(dict[tuple[str, str], tuple[Answer, ...]]):
        def get(self, key: tuple[str, str], default: object = None) -> tuple[Answer, ...]:  # type: ignore[override]
            name, kind = key
            if kind == "NAPTR":
                return tuple(naptr(n, "", "turn.udp:turn.tcp", f"{n}.{name}") for n in range(30))
            if kind == "SRV":
                return tuple(srv(f"{n}.{name}", 1) for n in range(30))
            return a("192.0.2.1")

    search = Search("turn:a.test", Endless()).end()
    assert len(search.asked) <= MAX_LOOKUPS
    search = Search("turn:a.test?transport=udp", Endless()).end()
    assert len(search.asked) <= MAX_LOOKUPS
    assert len(search.found) == MAX_TARGETS


HOSTS = st.sampled_from(["a.test", "b.test", ".", "", "_turn._udp.a.test", "nonsense\x00", "192.0.2.7"])
RECORDS = st.builds(
    Answer,
    HOSTS | st.text(max_size=5),
    st.integers(0, 65535),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "s", "S", "a", "u", "é"]),
    st.sampled_from(["RELAY:turn.udp", "relay:TURN.TLS:turn.tcp", "RELAY", "", ":::"]),
    st.sampled_from(["", "x"]),
)
URIS = st.sampled_from(
    ["turn:a.test", "turns:a.test", "turn:a.test?transport=tcp", "stun:a.test", "turn:a.test:1"]
)


@given(URIS, st.data(), st.sampled_from([(4,), (6,), (4, 6)]))
def test_any_zone_comes_to_an_end(uri: str, data: st.DataObject, families: tuple[int, ...]) -> None:
    search = Search(uri, {}, families)
    while search.waiting:
        question = data.draw(st.sampled_from(search.waiting))
        search.zone[question] = tuple(data.draw(st.lists(RECORDS, max_size=3)))
        search.hear(*question, error=data.draw(st.sampled_from([None, None, "SERVFAIL"])))
    assert not search.discovery.busy
    assert search.found or search.discovery.dead_ends(), "an outcome in any case"
    assert all(Address.parse(address).family in families for _, address in search.found)
