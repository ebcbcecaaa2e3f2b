"""Registrations as conversations (RFC 3261 §10, RFC 3327, RFC 5626 §6)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from iceway.sip.registrar import Binding, Outcome, Registrar, RegistrarConfig
from iceway.trace.records import Registered, Unregistered
from iceway.wire.sip import Request, SipUri, parse_message

NOON = 1_767_268_800.0
ALICE = SipUri.parse("sip:alice@example.test")
PHONE = "<sip:alice@192.0.2.10:5060>"
DESK = "<sip:alice@192.0.2.11:5060>"
DEVICE = '+sip.instance="<urn:uuid:00000000-0000-0000-0000-0000000000aa>"'


class Memory:
    """A store of bindings as the registrar wants one."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Binding]] = {}
        self.writes = 0

    def bindings(self, aor: str) -> list[Binding]:
        return list(self.rows.get(aor, []))

    def replace(self, aor: str, bindings: Sequence[Binding]) -> None:
        self.rows[aor] = list(bindings)
        self.writes += 1

    def take_expired(self, wall_now: float) -> list[Binding]:
        gone = [b for row in self.rows.values() for b in row if b.expires_at <= wall_now]
        self.rows = {aor: [b for b in row if b not in gone] for aor, row in self.rows.items()}
        return gone

    def next_expiry(self) -> float | None:
        return min((b.expires_at for row in self.rows.values() for b in row), default=None)


class Alice:
    """A user agent that registers; every call is one REGISTER and its answer."""

    def __init__(self, **config: int) -> None:
        self.store = Memory()
        self.registrar = Registrar(self.store, RegistrarConfig(**config))
        self.cseq = 0
        self.now = NOON

    def sends(
        self,
        *lines: str,
        cseq: int | None = None,
        call_id: str = "one",
        to: str = "<sip:alice@example.test>",
        outside: bool = False,
    ) -> Outcome:
        self.cseq = self.cseq + 1 if cseq is None else cseq
        text = "\r\n".join(
            [
                "REGISTER sip:example.test SIP/2.0",
                "Via: SIP/2.0/TLS 192.0.2.10:5060;branch=z9hG4bK1",
                "From: <sip:alice@example.test>;tag=a",
                f"To: {to}",
                f"Call-ID: {call_id}",
                f"CSeq: {self.cseq} REGISTER",
                *lines,
                "",
                "",
            ]
        )
        request = parse_message(text.encode())
        assert isinstance(request, Request)
        return self.registrar.register(request, outside=outside, to_tag="srv", wall_now=self.now)

    def contacts(self, uri: SipUri = ALICE) -> list[str]:
        return [device[0].uri for device in self.registrar.lookup(uri, self.now)]


def test_alice_registers_and_is_found() -> None:
    alice = Alice()
    outcome = alice.sends(f"Contact: {PHONE};expires=600", "User-Agent: phone/1")
    assert outcome.response.status == 200
    assert outcome.response.to.tag == "srv"
    assert outcome.response.headers.all("Contact") == ("<sip:alice@192.0.2.10:5060>;expires=600",)
    assert outcome.response.headers.get("Date") == "Thu, 01 Jan 2026 12:00:00 GMT"
    assert outcome.records == (
        Registered("sip:alice@example.test", "sip:alice@192.0.2.10:5060", 600.0, (), False),
    )
    assert alice.contacts() == ["sip:alice@192.0.2.10:5060"]
    assert alice.contacts(SipUri.parse("sips:Alice@example.test")) == []
    assert alice.contacts(SipUri.parse("sips:alice@EXAMPLE.test;transport=tls")) == [
        "sip:alice@192.0.2.10:5060"
    ]


def test_without_a_wish_the_default_holds_and_greed_is_capped() -> None:
    alice = Alice(default_expires=1800, max_expires=3600)
    assert alice.sends(f"Contact: {PHONE}").response.contacts[0].expires == 1800
    assert alice.sends(f"Contact: {PHONE};expires=4000000000").response.contacts[0].expires == 3600
    assert alice.sends(f"Contact: {PHONE}", "Expires: 120").response.contacts[0].expires == 120


def test_too_brief_an_interval_is_423_and_changes_nothing() -> None:
    alice = Alice(min_expires=60)
    outcome = alice.sends(f"Contact: {PHONE};expires=600, {DESK};expires=59")
    assert outcome.response.status == 423
    assert outcome.response.headers.get("Min-Expires") == "60"
    assert alice.contacts() == []
    assert alice.store.writes == 0


def test_a_fetch_lists_and_stores_nothing() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};q=0.5;expires=600")
    alice.now += 100
    outcome = alice.sends()
    assert outcome.response.headers.all("Contact") == ("<sip:alice@192.0.2.10:5060>;q=0.5;expires=500",)
    assert outcome.records == ()
    assert alice.store.writes == 1


def test_a_refresh_moves_the_expiry_and_keeps_one_binding() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};expires=600")
    alice.now += 500
    alice.sends("Contact: <sip:alice@192.0.2.10:5060;x=y>;expires=600")
    assert len(alice.store.bindings("sip:alice@example.test")) == 1
    alice.now += 599
    assert alice.contacts() == ["sip:alice@192.0.2.10:5060;x=y"]
    alice.now += 1
    assert alice.contacts() == []


def test_expires_zero_removes_one_contact_and_a_star_removes_all() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE}, {DESK}")
    outcome = alice.sends(f"Contact: {PHONE};expires=0")
    assert alice.contacts() == ["sip:alice@192.0.2.11:5060"]
    assert outcome.records == (
        Unregistered("sip:alice@example.test", "sip:alice@192.0.2.10:5060", "removed by its owner"),
    )
    assert alice.sends("Contact: *").response.status == 400
    assert alice.sends("Contact: *", "Expires: 60").response.status == 400
    assert alice.contacts() == ["sip:alice@192.0.2.11:5060"]
    outcome = alice.sends("Contact: *", "Expires: 0")
    assert outcome.response.status == 200
    assert outcome.response.headers.all("Contact") == ()
    assert alice.contacts() == []


def test_an_old_request_of_the_same_call_cannot_undo_a_newer_one() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE}", cseq=5)
    assert alice.sends(f"Contact: {PHONE};expires=0", cseq=5).response.status == 400
    assert alice.sends("Contact: *", "Expires: 0", cseq=4).response.status == 400
    assert alice.contacts() == ["sip:alice@192.0.2.10:5060"]
    assert alice.sends(f"Contact: {PHONE};expires=0", cseq=1, call_id="restarted").response.status == 200
    assert alice.contacts() == []


def test_what_came_through_an_edge_is_reached_through_it() -> None:
    alice = Alice()
    path = "<sip:token@edge.example.test;lr;ob>"
    outcome = alice.sends(f"Contact: {PHONE}", f"Path: {path}", "Supported: path", outside=True)
    assert outcome.response.headers.all("Path") == (path,)
    ((binding,),) = alice.registrar.lookup(ALICE, alice.now)
    assert binding.path == (path,)
    assert binding.outside
    silent = alice.sends(f"Contact: {PHONE}", f"Path: {path}")
    assert silent.response.headers.all("Path") == ()


def test_one_device_with_two_flows_is_called_over_the_newest() -> None:
    alice = Alice()
    for reg_id, edge in ((1, "one"), (2, "two")):
        outcome = alice.sends(
            f"Contact: {PHONE};{DEVICE};reg-id={reg_id}",
            f"Path: <sip:t@{edge}.example.test;lr;ob>",
            "Supported: path, outbound",
        )
        assert outcome.response.requires("outbound")
        alice.now += 1
    assert len(alice.store.bindings("sip:alice@example.test")) == 2
    ((binding, other),) = alice.registrar.lookup(ALICE, alice.now)
    assert (binding.reg_id, other.reg_id) == (2, 1)
    records = alice.registrar.forget(binding, "flow failed")
    assert records == (Unregistered("sip:alice@example.test", "sip:alice@192.0.2.10:5060", "flow failed"),)
    ((binding,),) = alice.registrar.lookup(ALICE, alice.now)
    assert binding.reg_id == 1


def test_a_device_that_restarts_replaces_its_flow() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};{DEVICE};reg-id=1", "Supported: outbound")
    alice.sends(f"Contact: {DESK};{DEVICE};reg-id=1", "Supported: outbound", call_id="restarted")
    assert alice.contacts() == ["sip:alice@192.0.2.11:5060"]


def test_a_flow_through_a_first_hop_without_outbound_is_439() -> None:
    alice = Alice()
    outcome = alice.sends(
        f"Contact: {PHONE};{DEVICE};reg-id=1", "Supported: outbound", "Path: <sip:old.example.test;lr>"
    )
    assert outcome.response.status == 439


def test_reg_id_without_outbound_is_an_ordinary_contact() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};{DEVICE};reg-id=1")
    alice.sends(f"Contact: {DESK};{DEVICE};reg-id=1")
    assert len(alice.contacts()) == 2


def test_a_public_gruu_reaches_the_device_it_names() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};{DEVICE}, {DESK}")
    gruu = ALICE.with_param("gr", "urn:uuid:00000000-0000-0000-0000-0000000000aa")
    assert alice.contacts(gruu) == ["sip:alice@192.0.2.10:5060"]
    assert alice.contacts(ALICE.with_param("gr", "urn:uuid:other")) == []


def test_a_device_is_told_its_public_gruu() -> None:
    """RFC 5627 §5; whoever does not know what that is gets none."""
    alice = Alice()
    assert "gruu" not in str(alice.sends(f"Contact: {PHONE};{DEVICE}").response.headers.get("Contact"))
    outcome = alice.sends(f'Contact: {PHONE};{DEVICE};pub-gruu="sip:bob@x", {DESK}', "Supported: gruu")
    with_device, without = outcome.response.contacts
    gruu = with_device.params.get("pub-gruu")
    assert gruu == "sip:alice@example.test;gr=urn:uuid:00000000-0000-0000-0000-0000000000aa"
    assert without.params.get("pub-gruu") is None
    assert alice.contacts(SipUri.parse(gruu)) == ["sip:alice@192.0.2.10:5060"]


def test_contacts_keep_their_own_parameters() -> None:
    alice = Alice()
    outcome = alice.sends(f'Contact: "A" {PHONE};methods="INVITE, BYE";{DEVICE};expires=60')
    assert outcome.response.headers.get("Contact") == f'{PHONE};methods="INVITE, BYE";{DEVICE};expires=60'


def test_preference_orders_the_contacts() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};q=0.2, {DESK};q=0.9")
    assert alice.contacts() == ["sip:alice@192.0.2.11:5060", "sip:alice@192.0.2.10:5060"]


def test_a_user_cannot_fill_the_store() -> None:
    alice = Alice(max_bindings=2)
    alice.sends(f"Contact: {PHONE}")
    many = ", ".join(f"<sip:alice@192.0.2.{n}>" for n in range(20))
    assert alice.sends(f"Contact: {many}").response.status == 403
    assert alice.contacts() == ["sip:alice@192.0.2.10:5060"]


def test_what_runs_out_is_told_once() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE};expires=60")
    assert alice.registrar.next_expiry() == NOON + 60
    assert alice.registrar.expire(NOON + 59) == ()
    assert alice.registrar.expire(NOON + 60) == (
        Unregistered("sip:alice@example.test", "sip:alice@192.0.2.10:5060", "expired"),
    )
    assert alice.registrar.expire(NOON + 61) == ()


def test_a_binding_that_was_refreshed_meanwhile_is_not_forgotten() -> None:
    alice = Alice()
    alice.sends(f"Contact: {PHONE}")
    ((old,),) = alice.registrar.lookup(ALICE, alice.now)
    alice.sends(f"Contact: {PHONE}")
    assert alice.registrar.forget(old, "flow failed") == ()
    assert alice.contacts() == ["sip:alice@192.0.2.10:5060"]


@pytest.mark.parametrize(
    "lines",
    [
        ("Contact: tel:+12345",),
        ("Contact: <mailto:alice@example.test>",),
        (f"Contact: {PHONE};expires=soon",),
        (f"Contact: {PHONE};q=2",),
        (f"Contact: {PHONE}", "Expires: -1"),
        (f"Contact: {PHONE}", "Path: <tel:1>, <>"),
        ("Contact: <sip:alice@192.0.2.10", f"Path: {PHONE}"),
        (f"Contact: {PHONE};{DEVICE};reg-id=0", "Supported: outbound"),
        (f"Contact: {PHONE};{DEVICE};reg-id=1, {DESK};{DEVICE};reg-id=2", "Supported: outbound"),
        (f"Contact: *, {PHONE}", "Expires: 0"),
    ],
)
def test_nonsense_is_400_and_changes_nothing(lines: tuple[str, ...]) -> None:
    alice = Alice()
    assert alice.sends(*lines).response.status == 400
    assert alice.store.writes == 0


def test_an_address_that_is_no_sip_uri_cannot_be_registered() -> None:
    assert Alice().sends(f"Contact: {PHONE}", to="<tel:+1234>").response.status == 400


def test_a_crowd_of_contacts_is_refused_before_they_are_compared() -> None:
    """A header's worth of contacts, each compared with each, would hold the server for minutes."""
    alice = Alice(max_bindings=10)
    contacts = ", ".join(f"<sip:{number}@h>" for number in range(4000))
    before = time.process_time()
    assert alice.sends(f"Contact: {contacts}").response.status == 403
    assert time.process_time() - before < 1.0
    assert alice.store.writes == 0
