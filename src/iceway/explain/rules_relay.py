"""Rules about relays: credentials, keys, clocks, reachability, what a relay refuses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from iceway.explain.case import Case, Finding, Rule, Severity, ids
from iceway.explain.messages import attribute
from iceway.explain.servers import over, silent_servers
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CredentialsReceived,
    CredentialsRefused,
    GatheringStarted,
    RelayRefused,
    ServerAnswered,
    ServerRefused,
    ServerUnreachable,
    StunReceived,
)

_EXPIRED = re.compile(r"expired(?: (?P<ago>[\d.]+ ?\w+) ago)?", re.IGNORECASE)
_FOREIGN_KEY = re.compile(r"unknown key|does not hold|another key|no such key|bad signature", re.IGNORECASE)
_CLOCK = re.compile(r"clock|not yet valid|too far in the future|far ahead", re.IGNORECASE)


def _refusals(case: Case) -> Iterator[tuple[str, str, int, str, list[Entry]]]:
    """(client, server, code, cause, entries): what clients were told, joined with what servers know."""
    known = {(record.code, record.detail): entry for entry, record in case.of(RelayRefused)}
    groups: dict[tuple[str, str, int], list[tuple[Entry, str]]] = defaultdict(list)
    for entry, told in case.of(ServerRefused):
        groups[entry.node, told.server, told.code].append((entry, told.detail or told.reason))
    for (node, server, code), seen in groups.items():
        causes = [detail for held, detail in known if held == code and detail]
        told_cause = seen[-1][1]
        cause = (
            next((c for c in causes if _specific(c)), told_cause) if not _specific(told_cause) else told_cause
        )
        backing = [known[held, detail] for held, detail in known if held == code and detail == cause]
        yield node, server, code, cause, [entry for entry, _ in seen] + backing
    if not groups:
        by_server: dict[tuple[str, int, str], list[Entry]] = defaultdict(list)
        for entry, knows in case.of(RelayRefused, lambda r: _specific(r.detail)):
            by_server[entry.node, knows.code, knows.detail].append(entry)
        for (server, code, cause), entries in by_server.items():
            yield "", server, code, cause, entries


def _specific(cause: str) -> bool:
    return bool(_EXPIRED.search(cause) or _FOREIGN_KEY.search(cause) or _CLOCK.search(cause))


def _times(case: Case, server: str, code: int, entries: list[Entry]) -> str:
    """`edge 198.51.100.2:3478 answered 401 twice`, counted on the wire where the trace has it."""
    count = sum(
        (attribute(record, "ERROR-CODE") or "").startswith(str(code))
        for entry, record in case.of(StunReceived)
        if entry.node in {seen.node for seen in entries}
    )
    count = max(count, len([entry for entry in entries if isinstance(entry.record, ServerRefused)]))
    often = {0: "", 1: " once", 2: " twice"}.get(count, f" {count} times")
    return f"{server or 'the edge'} answered {code}{often}"


def _credentials(case: Case) -> Iterator[Finding]:
    for node, server, code, cause, entries in _refusals(case):
        who = case.name(node) if node else "A client"
        times = _times(case, server, code, entries)
        seen = ids(entries)
        if code in (401, 431, 438) and (expired := _EXPIRED.search(cause)):
            ago = f" {expired['ago']} ago" if expired["ago"] else ""
            yield Finding(
                Severity.ERROR,
                f"No relay for {who}: {times}; the credentials expired{ago}",
                seen,
                "Relay credentials work for some hours. These were kept too long, or the clock of the edge "
                "is ahead of the one that made them.",
                "Ask for new credentials before a call (the client does so by itself when it stays registered); "
                "compare the clocks of the edges (NTP).",
            )
        elif code == 401 and _CLOCK.search(cause):
            yield Finding(
                Severity.ERROR,
                f"No relay for {who}: {times}: {cause}",
                seen,
                "The edge that minted the credentials and the one that checks them disagree about the time.",
                "Set both clocks (NTP), then ask for new credentials.",
            )
        elif code == 401 and _FOREIGN_KEY.search(cause):
            yield Finding(
                Severity.ERROR,
                f"No relay for {who}: {times}: {cause}",
                seen,
                "The credentials were minted by an edge with another certificate key. All edges of a pool must "
                "hold the same key, or each of them refuses what the others made.",
                "Install one certificate with its private key on every edge of the pool; when rolling it over, "
                "keep the old key in the ring for 8 hours.",
            )
        elif code in (401, 441):
            yield Finding(
                Severity.ERROR,
                f"No relay for {who}: {times}" + (f": {cause}" if cause else ""),
                seen,
                "The relay did not accept user name and password, and the trace does not say why.",
                "Look at the edge's own trace: its record names the cause (expired, unknown key, wrong password).",
            )
        elif code == 486:
            yield Finding(
                Severity.WARNING,
                f"{who} has used up its share of relay addresses: {times}",
                seen,
                "The relay lends each user a limited number of addresses at a time; old calls may still hold some.",
                "End unused calls, wait for old allocations to expire (10 minutes), or raise the quota of the edge.",
            )
        elif code == 508:
            yield Finding(
                Severity.ERROR,
                f"The relay has no addresses left: {times}",
                seen,
                "All ports of the relay's range are in use.",
                "Widen the port range of the edge, or add an edge to the pool.",
            )
        else:
            yield Finding(
                Severity.WARNING,
                f"{times.capitalize() if not server else times}: {cause}",
                seen,
                "The relay understood the request and refused it.",
                "See RFC 8656 for this code, and the edge's own trace for its cause.",
            )


def _no_credentials(case: Case) -> Iterator[Finding]:
    refused: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry, record in case.of(CredentialsRefused):
        refused[entry.node, record.reason].append(entry)
    for (node, reason), seen in refused.items():
        yield Finding(
            Severity.WARNING,
            f"{case.name(node)} got no relay credentials: {reason}",
            ids(seen),
            "Without them a client has no relay, and calls fail wherever NATs do not let it through directly.",
            "Check that the front end reaches the edge's credential service (port 5062, mutual TLS), and that the "
            "edge trusts the front end's certificate name.",
        )
    if refused:
        return
    have = {entry.node for entry, _ in case.of(CredentialsReceived)}
    for view in case.agents:
        started = next(
            (r for e, r in case.of(GatheringStarted) if (e.node, r.agent) == (view.node, view.agent)), None
        )
        if (
            view.node not in have
            and started is not None
            and not any("turn" in server for server in started.servers)
        ):
            yield Finding(
                Severity.WARNING,
                f"{case.name(view.node)} gathered without any relay: nobody had given it credentials",
                (view.first.id,),
                "The client never learned a relay service, so it could only offer addresses of its own.",
                "Configure an edge for the front end, so that REGISTER tells clients where to ask.",
            )


def _unreachable(case: Case) -> Iterator[Finding]:
    for view in case.agents:
        node = view.node
        silent = silent_servers(node, view.agent, case.entries)
        if not silent:
            continue
        answered = [r.server for e, r in case.of(ServerAnswered) if (e.node, r.agent) == (node, view.agent)]
        dead = "; ".join(dict.fromkeys(map(str, silent)))
        seen = tuple(number for one in silent for number in one.seen)[:12]
        hosts = {_host(one.server) for one in silent}
        only_udp = all(over(one.server) == "udp" for one in silent)
        if only_udp and any(over(server) != "udp" and _host(server) in hosts for server in answered):
            yield Finding(
                Severity.WARNING,
                f"A firewall blocks UDP in front of {case.name(node)}: {dead}",
                seen,
                "The same server answers over TCP, so it is up; only UDP does not get there and back. Sound goes "
                "over TCP then, where one lost packet holds up all behind it.",
                "Let UDP out to port 3478 of the edge (and answers back in); the call works without, only less well.",
            )
        elif answered:
            yield Finding(
                Severity.WARNING,
                f"{case.name(node)} had no answer from {dead}",
                seen,
                "Other servers answered, so the call went on without this one.",
                "Check that this server runs; remove it from the pool if it is gone.",
            )
        else:
            yield Finding(
                Severity.ERROR,
                f"{case.name(node)} reaches no STUN or TURN server at all: {dead}",
                seen,
                "No outside address and no relay can be had, so only peers in the same network can be called.",
                "Check that the edge runs, that its name resolves to the right address, and that the firewall lets "
                "UDP 3478 or TCP 443 out.",
            )


def _host(server: str) -> str:
    return re.sub(r"^\w+:|\?.*$|:\d+(?=\?|$)", "", server)


def _private_peers(case: Case) -> Iterator[Finding]:
    seen = [entry for entry, record in case.of(RelayRefused, lambda r: r.code == 403)]
    if seen:
        yield Finding(
            Severity.INFO,
            f"The relay refused to forward to private addresses ({len(seen)} time{'s' if len(seen) != 1 else ''})",
            ids(seen),
            "Normal: a relay on the internet does not reach into private networks, and must not. Those pairs fail, "
            "others remain.",
            "Nothing to do. If peers in these networks should be reachable through the relay, list them in allow_peers.",
        )


def _no_relay_candidate(case: Case) -> Iterator[Finding]:
    explained = {
        e.node for kind in (ServerRefused, ServerUnreachable, CredentialsRefused) for e, _ in case.of(kind)
    }
    have = {entry.node for entry, _ in case.of(CredentialsReceived)}
    for view in case.agents:
        relays = any(candidate.type == "relay" for candidate in view.gathered)
        if view.gathered and not relays and view.node in have and view.node not in explained:
            yield Finding(
                Severity.WARNING,
                f"{case.name(view.node)} has credentials, but no relay candidate",
                (view.first.id,),
                "The records hold neither a refusal nor a silent server; gathering may have ended too early.",
                "Compare the time of the credentials with the start of gathering in the ladder.",
            )


RELAY_RULES: tuple[Rule, ...] = (
    _credentials,
    _no_credentials,
    _unreachable,
    _private_peers,
    _no_relay_candidate,
)
