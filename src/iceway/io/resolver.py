"""DNS for drivers: A, AAAA, SRV and NAPTR through dnspython, /etc/hosts first for addresses. Never raises.

A name that does not exist, or has no such records, is an empty answer without an error; an error means that
we do not know. Answers of one look-up are bounded, and so is its time.

Name servers race: the first is asked, the next joins as soon as those before it have failed or been silent for
`HEAD_START`, and the first good answer wins. So a dead one costs a fraction of a second, not the whole look-up. When all
of them were silent, those who ask next do not wait as long, until one answers again: a program whose network has no DNS
starts anyway, and soon.
"""

from __future__ import annotations

import asyncio
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
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from iceway.core.address import Address, canonical_ip, is_ip
from iceway.core.errors import ParseError
from iceway.core.machine import Answer

HEAD_START = 0.3
TRY_TIMEOUT = 1.0
LOOKUP_TIMEOUT = 3.0
SILENT_TIMEOUT = 1.0  # of a look-up after one that nobody answered
MAX_NAMESERVERS = 4
MAX_ANSWERS = 32
HOSTS = Path("/etc/hosts")
_FAMILY = {"A": 4, "AAAA": 6}
_RECORD_TYPES = ("A", "AAAA", "SRV", "NAPTR")


class Resolver:
    """One resolver a process. Without `nameservers` those of /etc/resolv.conf are asked."""

    def __init__(
        self,
        nameservers: Iterable[Address] = (),
        *,
        hosts: Path | None = HOSTS,
        head_start: float = HEAD_START,
        try_timeout: float = TRY_TIMEOUT,
        lookup_timeout: float = LOOKUP_TIMEOUT,
    ) -> None:
        self._hosts = _read_hosts(hosts) if hosts is not None else {}
        self._head_start = head_start
        self._lookup_timeout = lookup_timeout
        self._silent = False
        self._servers: list[dns.asyncresolver.Resolver] = []
        for nameserver in _nameservers(nameservers)[:MAX_NAMESERVERS]:
            server = dns.asyncresolver.Resolver(configure=False)
            server.nameservers = [nameserver]
            server.timeout = try_timeout
            self._servers.append(server)

    async def resolve(self, name: str, record_type: str) -> tuple[tuple[Answer, ...], str | None]:
        """The answers, or none and an error in words: "timed out", "SERVFAIL"."""
        family = _FAMILY.get(record_type)
        if family is not None:
            known = [name] if is_ip(name) else self._hosts.get(name.lower().rstrip("."), [])
            if known:
                ips = (canonical_ip(ip) for ip in known)
                return tuple(Answer(ip) for ip in ips if ipaddress.ip_address(ip).version == family), None
        elif record_type not in _RECORD_TYPES:
            return (), f"no look-up of {record_type} records"
        if not self._servers:
            return (), "no name server is configured: /etc/resolv.conf names none"
        try:
            found = await self._race(dns.name.from_text(name), record_type)
            return tuple(_answer(rdata) for rdata in list(found.rrset or ())[:MAX_ANSWERS]), None
        except dns.resolver.NXDOMAIN:
            return (), None
        except dns.exception.DNSException as error:
            return (), _words(name, error)
        except (OSError, UnicodeError, ValueError) as error:
            return (), str(error) or type(error).__name__

    async def _race(self, name: dns.name.Name, record_type: str) -> dns.resolver.Answer:
        """The first good answer of any server; "no such name" is one. Raises what says most if there is none."""
        now = asyncio.get_running_loop().time
        whole = min(SILENT_TIMEOUT, self._lookup_timeout) if self._silent else self._lookup_timeout
        deadline = now() + whole
        waiting = list(self._servers)
        running: set[asyncio.Task[dns.resolver.Answer]] = set()
        failures: list[BaseException] = []
        try:
            while waiting or running:
                if waiting:
                    left = max(deadline - now(), self._head_start)
                    asking = waiting.pop(0).resolve(
                        name, record_type, search=False, raise_on_no_answer=False, lifetime=left
                    )
                    running.add(asyncio.ensure_future(asking))
                done, running = await asyncio.wait(
                    running,
                    timeout=self._head_start if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    failure = task.exception()
                    if failure is None or isinstance(failure, dns.resolver.NXDOMAIN):
                        self._silent = False
                        return task.result()
                    failures.append(failure)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        told = [failure for failure in failures if not isinstance(failure, dns.exception.Timeout)]
        self._silent = not told
        raise (told or failures)[0]


def _nameservers(given: Iterable[Address]) -> list[str | dns.nameserver.Nameserver]:
    nameservers: list[str | dns.nameserver.Nameserver] = [
        dns.nameserver.Do53Nameserver(server.ip, server.port) for server in given
    ]
    if nameservers:
        return nameservers
    try:
        return list(dns.asyncresolver.Resolver(configure=True).nameservers)
    except dns.resolver.NoResolverConfiguration:
        return []


def _answer(rdata: object) -> Answer:
    match rdata:
        case A(address=ip) | AAAA(address=ip):
            return Answer(canonical_ip(ip))
        case SRV():
            return Answer(_host(rdata.target), rdata.port, rdata.priority, rdata.weight)
        case NAPTR():
            return Answer(
                _host(rdata.replacement),
                order=rdata.order,
                preference=rdata.preference,
                flags=_text(rdata.flags),
                service=_text(rdata.service),
                regexp=_text(rdata.regexp),
            )
        case _:
            raise ValueError("the name server answered with other records than were asked for")


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else "."


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")


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
