"""Multicast DNS messages (RFC 6762) as far as ICE needs them: who has this name, and I do, at this address.

Everything else that is said on a link (services, texts, hosts with other names) parses and is left out. Only names of
one label and `.local` count, which is what draft-ietf-mmusic-mdns-ice-candidates §3.2.1 lets a peer make us ask for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from iceway.core.address import Address
from iceway.core.errors import ParseError

GROUP4 = Address("224.0.0.251", 5353)
GROUP6 = Address("ff02::fb", 5353)
TTL = 120  # RFC 6762 §10: of records that name a host
LEGACY_TTL = 10  # RFC 6762 §6.7
MAX_MESSAGE = 9000  # RFC 6762 §17
MAX_ITEMS = 64  # questions, and records, that are read of one message

_TOP_BIT = 0x8000  # in a question: answer by unicast (§5.4); in a record: flush what you knew (§10.2)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.local", re.ASCII)
_TYPES = {dns.rdatatype.A: (4,), dns.rdatatype.AAAA: (6,), dns.rdatatype.ANY: (4, 6)}
_LENGTHS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Question:
    """Who has this name? `families` are those of the addresses that would do; `unicast`: tell me alone."""

    name: str
    families: tuple[int, ...] = (4, 6)
    unicast: bool = False


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A name's address. `ttl` 0 takes it back."""

    name: str
    ip: str
    ttl: int = TTL


@dataclass(frozen=True, slots=True)
class MdnsMessage:
    """`records` are the answers of a response, or those that a query says are known already."""

    response: bool
    questions: tuple[Question, ...] = ()
    records: tuple[HostRecord, ...] = ()
    id: int = 0


def host_name(text: str) -> str | None:
    """The name in lower case if it is one that multicast DNS may be asked for, else None."""
    name = text.lower()
    return name if _NAME.fullmatch(name) else None


def parse(data: bytes) -> MdnsMessage:
    """Raises ParseError for what is not a DNS message."""
    if len(data) > MAX_MESSAGE:
        raise ParseError(f"{len(data)} bytes are too many for multicast DNS")
    try:
        # Records that dnspython cannot read are passed over: browsers compress names in NSEC records, as RFC 6762
        # §18.14 lets them and RFC 4034 does not.
        message = dns.message.from_wire(
            data, one_rr_per_rrset=True, ignore_trailing=True, continue_on_error=True
        )
        questions, known = tuple(_questions(message)), tuple(_records(message))
        if message.opcode() != 0:
            raise ParseError("no query and no response")
        if message.errors and not questions and not known:
            raise ParseError(f"not a DNS message: {message.errors[0].exception!r}")
        return MdnsMessage(bool(message.flags & dns.flags.QR), questions, known, message.id)
    except (dns.exception.DNSException, ValueError, NotImplementedError) as error:
        raise ParseError(f"not a DNS message: {error!r}") from error


def serialize(message: MdnsMessage, *, legacy: bool = False) -> bytes:
    """`legacy` answers resolvers that know nothing of multicast (RFC 6762 §6.7): no top bits.

    To others a response also says, by NSEC, that its names have no other addresses (RFC 6762 §6.1).
    """
    flags = dns.flags.QR | dns.flags.AA if message.response else 0
    wire = dns.message.Message(id=message.id)
    wire.flags = dns.flags.Flag(flags)
    for question in message.questions:
        for kind, families in _TYPES.items():
            if families[0] in question.families and len(families) == 1:
                klass = dns.rdataclass.IN | (_TOP_BIT if question.unicast and not legacy else 0)
                name = dns.name.from_text(question.name)
                wire.question.append(dns.rrset.RRset(name, dns.rdataclass.RdataClass.make(klass), kind))
    for record in message.records:
        wire.answer.append(_rrset(record, flush=message.response and not legacy))
        if message.response and not legacy and record.ttl:
            wire.additional.append(_no_other(record))
    return wire.to_wire()


def _rrset(record: HostRecord, *, flush: bool) -> dns.rrset.RRset:
    packed = ipaddress.ip_address(record.ip).packed
    kind = dns.rdatatype.A if len(packed) == 4 else dns.rdatatype.AAAA
    klass = dns.rdataclass.RdataClass.make(dns.rdataclass.IN | (_TOP_BIT if flush else 0))
    rrset = dns.rrset.RRset(dns.name.from_text(record.name), klass, kind)
    rrset.add(dns.rdata.GenericRdata(klass, kind, packed), record.ttl)
    return rrset


def _no_other(record: HostRecord) -> dns.rrset.RRset:
    """The NSEC record: the next name is the name itself, and A or AAAA is all there is (RFC 4034 §4.1)."""
    name = dns.name.from_text(record.name)
    klass = dns.rdataclass.RdataClass.make(dns.rdataclass.IN | _TOP_BIT)
    types = b"\0\4\0\0\0\x08" if ":" in record.ip else b"\0\1\x40"
    rrset = dns.rrset.RRset(name, klass, dns.rdatatype.NSEC)
    rrset.add(dns.rdata.GenericRdata(klass, dns.rdatatype.NSEC, (name.to_wire() or b"") + types), record.ttl)
    return rrset


def _questions(message: dns.message.Message) -> Iterable[Question]:
    for asked in message.question[:MAX_ITEMS]:
        name, klass = _host(asked.name), int(asked.rdclass)
        if name is not None and asked.rdtype in _TYPES and klass & ~_TOP_BIT in (1, 255):
            yield Question(name, _TYPES[asked.rdtype], bool(klass & _TOP_BIT))


def _records(message: dns.message.Message) -> Iterable[HostRecord]:
    for rrset in (message.answer + message.additional)[:MAX_ITEMS]:
        name = _host(rrset.name)
        if name is None or int(rrset.rdclass) & ~_TOP_BIT != dns.rdataclass.IN:
            continue
        for rdata in rrset:
            packed = rdata.to_wire()
            if packed is not None and _LENGTHS.get(rrset.rdtype) == len(packed):
                yield HostRecord(name, str(ipaddress.ip_address(packed)), rrset.ttl)


def _host(name: dns.name.Name) -> str | None:
    return host_name(name.to_text(omit_final_dot=True))
