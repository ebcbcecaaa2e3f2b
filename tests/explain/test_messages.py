"""Who sent what to whom: cast and joined messages."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.explain.cast import Cast, user_of
from iceway.explain.messages import Message, attribute, is_check, join
from iceway.trace.entry import Entry
from iceway.trace.records import PacketDropped, SipReceived, SipSent, StunReceived, StunSent
from tests.explain.call_story import ACCESS, EDGE, HOME_NAT, HQ_NAT, changed, told, view_of


def joined(network: str) -> list[Message]:
    entries = told(network)
    return join(entries, Cast(entries))


def test_everybody_has_a_role_and_a_name() -> None:
    cast = Cast(told("reflexive"))
    assert cast.roles["alice"] == "caller"
    assert cast.roles["bob"] == "callee"
    assert {cast.roles[node] for node in ("edge", "frontend", "home-nat")} == {"edge", "frontend", "nat"}
    names = [cast.name(node) for node in ("alice", "edge", "frontend", "home-nat", "hq-nat")]
    assert names == ["Alice", "the edge", "the front end", "the home NAT", "the HQ NAT"]
    assert cast.in_order(["bob", "frontend", "edge", "alice"]) == ["alice", "edge", "frontend", "bob"]


def test_addresses_lead_to_whoever_announced_them() -> None:
    cast = Cast(told("reflexive"))
    assert cast.behind(Address(HQ_NAT, 50100)) == "bob"
    assert cast.behind(Address(HOME_NAT, 9)) == "home-nat"
    assert cast.relay_of(Address(EDGE, 49152)) == "edge"
    assert cast.behind(Address("203.0.113.9", 9)) == "203.0.113.9"


def test_roles_are_guessed_where_nobody_said_them() -> None:
    entries = changed(told("reflexive"), lambda entry: type(entry.record).__name__ != "Started")
    cast = Cast(entries)
    assert [cast.roles[n] for n in ("alice", "bob", "edge", "frontend")] == [
        "caller",
        "callee",
        "edge",
        "frontend",
    ]


def test_one_ends_trace_names_the_other_end_by_its_uri() -> None:
    cast = Cast(view_of(told("reflexive"), "alice"))
    assert cast.behind(Address(HQ_NAT, 50100), "alice") == "bob"
    assert user_of("<sip:bob@example.test;transport=tls>") == "bob"
    assert user_of("sips:carol@example.test") == "carol"


def test_one_ends_trace_takes_no_server_for_the_other_end() -> None:
    entries = view_of(told("reflexive"), "alice")
    cast = Cast(entries)
    messages = [one for one in join(entries, cast) if one.sender == "alice"]
    assert {one.receiver for one in messages if isinstance(one.record, SipSent)} == {ACCESS.ip}
    assert "bob" in {one.receiver for one in messages if is_check(one.record)}


def test_programs_of_one_machine_are_told_apart_by_their_ports() -> None:
    edge, alice = Address("127.0.0.1", 5061), Address("127.0.0.1", 41000)

    def asks(node: str, at: float, local: Address) -> Entry:
        line = "REGISTER sip:example.test SIP/2.0"
        return Entry(
            int(at), at, node, SipSent("tls", local, edge, line, node, "1 REGISTER", f"{line}\r\n\r\n")
        )

    entries = [asks("bob", 1, Address("127.0.0.1", 42000)), asks("alice", 2, alice)]
    cast = Cast(entries)
    assert cast.owner(alice) == "alice"
    assert [(one.sender, one.receiver, one.lost) for one in join(entries, cast)] == [
        ("bob", "127.0.0.1", False),
        ("alice", "127.0.0.1", False),
    ]


def test_every_message_is_joined_once() -> None:
    entries = told("reflexive")
    messages = join(entries, Cast(entries))
    ids = [identifier for message in messages for identifier in message.ids]
    sent = [entry.id for entry in entries if isinstance(entry.record, SipSent | StunSent)]
    assert set(sent) <= set(ids)
    assert all(message.received is not None or message.lost for message in messages)


def test_a_forwarded_invite_is_three_messages() -> None:
    invites = [
        m for m in joined("reflexive") if m.record.__class__ is SipSent and m.record.cseq == "1 INVITE"
    ]  # type: ignore[union-attr]
    hops = [(m.sender, m.receiver) for m in invites if m.record.start_line.startswith("INVITE")]  # type: ignore[union-attr]
    assert hops == [("alice", "edge"), ("edge", "frontend"), ("frontend", "bob")]


def test_the_receiver_saw_the_nats_address() -> None:
    first = next(m for m in joined("reflexive") if m.sender == "alice" and m.destination == ACCESS)
    assert first.source == Address("192.168.1.20", 40512)
    assert first.seen_from == Address(HOME_NAT, 40512)


def test_a_lost_check_knows_where_it_was_dropped() -> None:
    lost = [m for m in joined("relayed_udp") if m.lost and m.sender == "alice" and m.destination.ip == HQ_NAT]
    assert lost
    assert all(isinstance(message.dropped.record, PacketDropped) for message in lost if message.dropped)
    assert any(message.dropped and message.dropped.node == "hq-nat" for message in lost)


def test_relayed_checks_go_by_way_of_the_edge() -> None:
    relayed = [m for m in joined("relayed_udp") if is_check(m.record) and m.received and m.via]
    assert {(m.sender, m.receiver, m.via) for m in relayed} == {
        ("alice", "bob", "edge"),
        ("bob", "alice", "edge"),
    }


def test_without_the_receivers_trace_a_message_counts_as_arrived() -> None:
    entries = view_of(told("reflexive"), "alice")
    messages = join(entries, Cast(entries))
    to_edge = [m for m in messages if m.sender == "alice" and m.destination == ACCESS]
    assert to_edge
    assert not any(message.lost for message in to_edge)


def test_what_was_only_heard_has_a_sender_too() -> None:
    here, there = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)
    entry = Entry(
        1,
        0.0,
        "bob",
        SipReceived("udp", here, there, "OPTIONS sip:bob@192.0.2.1 SIP/2.0", "c", "1 OPTIONS", ""),
    )
    (message,) = join([entry], Cast([entry]))
    assert (message.sender, message.receiver, message.sent) == ("192.0.2.2", "bob", None)
    assert (message.source, message.destination) == (there, here)


def test_checks_are_told_from_address_questions() -> None:
    here, there = Address("192.0.2.1", 1), Address("192.0.2.2", 3478)
    question = StunSent("udp", here, there, "Binding", "request", "ab")
    assert not is_check(question)
    assert is_check(StunReceived("udp", here, there, "Binding", "request", "ab", (("PRIORITY", "1"),)))
    assert (
        attribute(
            StunSent("udp", here, there, "Binding", "request", "ab", (("XOR_MAPPED_ADDRESS", "x"),)),
            "XOR-MAPPED-ADDRESS",
        )
        == "x"
    )


def test_two_processes_may_write_out_of_order() -> None:
    here, there = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)
    said = ("OPTIONS sip:bob@192.0.2.1 SIP/2.0", "c", "1 OPTIONS", "")
    entries = [
        Entry(1, 0.100, "bob", SipReceived("udp", here, there, *said)),
        Entry(2, 0.101, "alice", SipSent("udp", there, here, *said)),
    ]
    (message,) = join(entries, Cast(entries))
    assert (message.sender, message.receiver, message.lost) == ("alice", "bob", False)
    assert message.ids == (2, 1)
    late = [entries[0], entries[1]._replace(at=5.0)]
    assert len(join(late, Cast(late))) == 2
