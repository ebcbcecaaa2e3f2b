from __future__ import annotations

import contextlib

import dns.message
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.mdns import (
    MAX_ITEMS,
    MAX_MESSAGE,
    HostRecord,
    MdnsMessage,
    Question,
    host_name,
    parse,
    serialize,
)

NAME = "5ce7ab0a-7a1f-4a2f-8e9b-01b1d8c1f5a7.local"

# What a browser multicasts for a name of its own: the record, flushing what was known, and that there is no other. The
# latter (NSEC) compresses a name where DNS at large does not.
ANNOUNCEMENT = bytes.fromhex(
    "000084000000000100000001"
    "2435636537616230612d376131662d346132662d386539622d303162316438633166356137056c6f63616c00"
    "000180010000007800040a00000a"
    "c00c002f8001000000780005c00c000140"
)
MESSAGE = MdnsMessage(True, (), (HostRecord(NAME, "10.0.0.10"),))


def test_the_bytes_of_an_announcement() -> None:
    """As Chromium sends them."""
    assert parse(ANNOUNCEMENT) == MESSAGE


def test_ours_says_the_same_and_what_there_is_not() -> None:
    """RFC 6762 §6.1"""
    ours = serialize(MESSAGE)
    assert ours[: len(ANNOUNCEMENT) - 17] == ANNOUNCEMENT[:-17], "but for the compressed name"
    for ip, kind in (("10.0.0.10", "A"), ("2001:db8::1", "AAAA")):
        message = dns.message.from_wire(serialize(MdnsMessage(True, (), (HostRecord(NAME, ip),))))
        (other,) = message.additional
        assert other[0].to_text() == f"{NAME}. {kind}"
    assert not dns.message.from_wire(
        serialize(MdnsMessage(True, (), (HostRecord(NAME, "10.0.0.10", 0),)))
    ).additional


def test_a_question_says_whether_the_answer_may_come_to_us_alone() -> None:
    data = serialize(MdnsMessage(False, (Question(NAME, (6,), unicast=True), Question(NAME, (4,)))))
    assert parse(data).questions == (Question(NAME, (6,), True), Question(NAME, (4,)))
    asked = dns.message.from_wire(data).question
    assert [(int(one.rdclass), one.rdtype) for one in asked] == [
        (0x8001, dns.rdatatype.AAAA),
        (0x0001, dns.rdatatype.A),
    ]


def test_resolvers_of_old_are_answered_without_what_they_do_not_know() -> None:
    reply = MdnsMessage(True, (Question(NAME, (4,), unicast=True),), (HostRecord(NAME, "10.0.0.10", 10),), 77)
    read = dns.message.from_wire(serialize(reply, legacy=True))
    assert (read.id, int(read.question[0].rdclass), int(read.answer[0].rdclass)) == (77, 1, 1)
    assert read.answer[0][0].to_text() == "10.0.0.10"


def test_any_address_will_do_where_any_is_asked_for() -> None:
    data = dns.message.make_query(NAME, "ANY").to_wire()
    assert parse(data).questions == (Question(NAME, (4, 6)),)


def test_what_others_say_on_a_link_is_left_out() -> None:
    chatter = dns.message.make_response(dns.message.make_query("_ipp._tcp.local", "PTR"))
    assert parse(chatter.to_wire()) == MdnsMessage(True, id=chatter.id)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (NAME.upper(), NAME),
        ("printer.local", "printer.local"),
        ("a.b.local", None),
        ("local", None),
        (".local", None),
        ("a.local.", None),
        ("a.localhost", None),
        ("-a.local", None),
        ("é.local", None),
        ("a\n.local", None),
        ("a" * 64 + ".local", None),
    ],
)
def test_names_that_may_be_asked_for(text: str, name: str | None) -> None:
    assert host_name(text) == name


def test_too_much_is_not_read() -> None:
    with pytest.raises(ParseError):
        parse(bytes(MAX_MESSAGE + 1))
    many = MdnsMessage(True, (), tuple(HostRecord(f"n{n}.local", "10.0.0.1") for n in range(100)))
    assert len(parse(serialize(many)).records) == MAX_ITEMS


HEADERS = st.sampled_from(
    [b"\0\0\x84\0\0\0\0\1\0\0\0\0", b"\0\0\0\0\0\1\0\0\0\0\0\0", b"\0\0\0\0\0\2\0\1\0\0\0\2"]
)


@given(st.binary(max_size=300) | st.tuples(HEADERS, st.binary(max_size=100)).map(b"".join))
@example(ANNOUNCEMENT[:-1])
@example(ANNOUNCEMENT[:12] + b"\xc0\x0c" * 20)
def test_any_bytes_are_a_message_or_a_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(data)


records = st.builds(
    HostRecord,
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\.local", fullmatch=True),
    st.ip_addresses().map(str),
    st.integers(0, 2**31 - 1),
)


@given(st.booleans(), st.lists(records, max_size=8).map(tuple))
def test_what_is_written_is_read_again(response: bool, told: tuple[HostRecord, ...]) -> None:
    assert parse(serialize(MdnsMessage(response, (), told))).records == told
