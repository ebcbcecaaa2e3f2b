"""A small DNS server for laboratories: the views of a topology over UDP, chosen by who asks."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from iceway.core.errors import ParseError
from iceway.lab.topology import NameRecord, Topology

PORT = 53
TTL = 60


def answer(topology: Topology, query: bytes, asker: str) -> bytes | None:
    """The reply to one query, as an asker with this address gets it. Raises ParseError for anything else."""
    try:
        question = dns.message.from_wire(query)
        if question.flags & dns.flags.QR or len(question.question) != 1:
            raise ParseError("not a DNS query")
        reply = dns.message.make_response(question)
        wanted = question.question[0]
        name = wanted.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(wanted.rdtype)
    except (dns.exception.DNSException, ValueError, NotImplementedError) as error:
        raise ParseError(f"not a DNS query: {error!r}") from error
    view = topology.view_of(asker)
    named = [record for record in (view.records if view else ()) if record.name.rstrip(".").lower() == name]
    reply.flags |= dns.flags.AA | dns.flags.RA
    if not named:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    matching = [_data(record) for record in named if record.type == kind]
    if matching:
        reply.answer.append(dns.rrset.from_text(wanted.name, TTL, dns.rdataclass.IN, kind, *matching))
    return reply.to_wire()


def _data(record: NameRecord) -> str:
    if record.type == "SRV":
        return f"{record.priority} {record.weight} {record.port} {record.data.rstrip('.')}."
    if record.type == "NAPTR":
        texts = " ".join(f'"{text}"' for text in (record.flags, record.service, record.regexp))
        return f"{record.order} {record.preference} {texts} {record.data.rstrip('.')}."
    return record.data


class NameServer:
    """Answers on one address, from a thread of its own, until it is closed."""

    def __init__(self, topology: Topology, ip: str, port: int = PORT) -> None:
        self._topology = topology
        self._socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, port))
        self.port: int = self._socket.getsockname()[1]
        self._stop_reading, self._stop_writing = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=f"names at {ip}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop_writing.close()
        self._thread.join()
        self._socket.close()
        self._stop_reading.close()

    def _serve(self) -> None:
        while True:
            readable, _, _ = select.select([self._socket, self._stop_reading], [], [])
            if self._stop_reading in readable:
                return
            with contextlib.suppress(ParseError, OSError):
                query, asker = self._socket.recvfrom(4096)
                reply = answer(self._topology, query, asker[0])
                if reply is not None:
                    self._socket.sendto(reply, asker)
