"""The name server of laboratories: views by asker, garbage ignored."""

import contextlib
import socket
from dataclasses import replace

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.lab import topologies
from iceway.lab.nameserver import NameServer, answer
from iceway.lab.topology import NameRecord, View

OFFICE = topologies.reflexive()


def ask(name, kind, asker):
    query = dns.message.make_query(name, kind)
    reply = dns.message.from_wire(answer(OFFICE, query.to_wire(), asker))
    assert reply.id == query.id
    return dns.rcode.to_text(reply.rcode()), [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.mark.parametrize(
    ("name", "kind", "asker", "reply"),
    [
        ("_sip._tls.example.test", "SRV", "198.51.100.77", ("NOERROR", ["0 0 443 edge.example.test."])),
        ("_sip._tls.example.test", "SRV", "10.0.0.20", ("NXDOMAIN", [])),
        ("edge.example.test", "A", "198.51.100.77", ("NOERROR", ["198.51.100.2"])),
        ("EDGE.example.test.", "A", "10.0.0.20", ("NOERROR", ["10.0.0.2"])),
        ("edge.example.test", "AAAA", "10.0.0.20", ("NOERROR", [])),
        ("nobody.test", "A", "10.0.0.20", ("NXDOMAIN", [])),
    ],
)
def test_everybody_is_told_what_their_view_says(name, kind, asker, reply):
    assert ask(name, kind, asker) == reply


def test_naptr_records_are_answered_as_zone_files_write_them():
    record = NameRecord(
        "example.test", "NAPTR", "_turn._udp.example.test", order=10, flags="s", service="RELAY:turn.udp"
    )
    topology = replace(OFFICE, views=(View("all", (record,)),))
    reply = dns.message.from_wire(
        answer(topology, dns.message.make_query("example.test", "NAPTR").to_wire(), "10.0.0.20")
    )
    assert reply.answer[0][0].to_text() == '10 0 "s" "RELAY:turn.udp" "" _turn._udp.example.test.'


def test_it_answers_over_udp_and_survives_garbage():
    server = NameServer(OFFICE, "127.0.0.1", 0)
    with contextlib.closing(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        query = dns.message.make_query("av.example.test", "A")
        for data in (b"", b"\x00" * 11, query.to_wire()):
            asking.sendto(data, ("127.0.0.1", server.port))
        reply = dns.message.from_wire(asking.recv(4096))
        assert reply.id == query.id
        assert reply.answer[0][0].to_text() == "198.51.100.2"


def test_an_answer_is_not_answered():
    response = dns.message.make_response(dns.message.make_query("a.test", "A"))
    with pytest.raises(ParseError):
        answer(OFFICE, response.to_wire(), "10.0.0.20")


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\0\1\1\0\0\1\0\0\0\0\0\0" + tail))
def test_any_bytes_are_answered_or_a_parse_error(data):
    with contextlib.suppress(ParseError):
        answer(OFFICE, data, "10.0.0.20")
