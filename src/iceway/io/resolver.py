"""DNS for drivers: A, AAAA and SRV through dnspython, /etc/hosts first for addresses. Never raises.

A name that does not exist, or has no such records, is an empty answer without an error; an error means that
we do not know. Answers of one look-up are bounded, and so is its time: every try of every server is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rcode
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from iceway.core.address import Address, canonical_ip, is_ip
from iceway.core.errors import ParseError
from iceway.core.machine import Answer

TRY_TIMEOUT = 2.0
LOOKUP_TIMEOUT = 6.0
MAX_ANSWERS = 32
HOSTS = Path("/etc/hosts")
_FAMILY = {"A": 4, "AAAA": 6}


class Resolver:
    """One resolver a process. Without `nameservers` those of /etc/resolv.conf are asked."""

    def __init__(
        self,
        nameservers: Iterable[Address] = (),
        *,
        hosts: Path | None = HOSTS,
        try_timeout: float = TRY_TIMEOUT,
        lookup_timeout: float = LOOKUP_TIMEOUT,
    ) -> None:
        self._hosts = _read_hosts(hosts) if hosts is not None else {}
        self._problem: str | None = None
        nameservers = tuple(nameservers)
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            self._problem = "no name server is configured: /etc/resolv.conf names none"
        if nameservers:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(server.ip, server.port) for server in nameservers
            ]
        self._resolver.timeout = try_timeout
        self._resolver.lifetime = lookup_timeout

    async def resolve(self, name: str, record_type: str) -> tuple[tuple[Answer, ...], str | None]:
        """The answers, or none and an error in words: "timed out", "SERVFAIL"."""
        family = _FAMILY.get(record_type)
        if family is not None:
            known = [name] if is_ip(name) else self._hosts.get(name.lower().rstrip("."), [])
            if known:
                ips = (canonical_ip(ip) for ip in known)
                return tuple(Answer(ip) for ip in ips if ipaddress.ip_address(ip).version == family), None
        elif record_type != "SRV":
            return (), f"no look-up of {record_type} records"
        if self._problem is not None:
            return (), self._problem
        try:
            qname = dns.name.from_text(name)
            found = await self._resolver.resolve(qname, record_type, search=False, raise_on_no_answer=False)
            return tuple(_answer(rdata) for rdata in list(found.rrset or ())[:MAX_ANSWERS]), None
        except dns.resolver.NXDOMAIN:
            return (), None
        except dns.exception.DNSException as error:
            return (), _words(name, error)
        except (OSError, UnicodeError, ValueError) as error:
            return (), str(error) or type(error).__name__


def _answer(rdata: object) -> Answer:
    match rdata:
        case A(address=ip) | AAAA(address=ip):
            return Answer(canonical_ip(ip))
        case SRV():
            return Answer(
                rdata.target.to_text(omit_final_dot=True).lower() if rdata.target != dns.name.root else ".",
                rdata.port,
                rdata.priority,
                rdata.weight,
            )
        case _:
            raise ValueError("the name server answered with other records than were asked for")


def _words(name: str, error: dns.exception.DNSException) -> str:
    match error:
        case dns.exception.Timeout():
            return "timed out"
        case dns.resolver.NoNameservers():
            codes = {
                dns.rcode.to_text(attempt[4].rcode())
                for attempt in error.kwargs.get("errors", ())
                if len(attempt) > 4 and attempt[4] is not None
            }
            return ", ".join(sorted(codes)) or "no name server answered"
        case (
            dns.name.LabelTooLong()
            | dns.name.NameTooLong()
            | dns.name.EmptyLabel()
            | dns.exception.SyntaxError()
        ):
            return f"{name!r} is not a domain name"
        case _:
            return str(error) or type(error).__name__


def _read_hosts(path: Path) -> dict[str, list[str]]:
    """hosts(5). What cannot be read or understood is passed over, as everybody does."""
    table: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return table
    for line in lines:
        ip, *names = line.partition("#")[0].split() or [""]
        try:
            ip = canonical_ip(ip)
        except ParseError:
            continue
        for name in names:
            table.setdefault(name.lower().rstrip("."), []).append(ip)
    return table
