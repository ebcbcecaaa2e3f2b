"""A whole call as every node would record it, made by hand: the four networks of the demo, and spoiled ones.

The addresses are those of the lab's topologies; times follow from delays of 20 ms across the internet and half a
millisecond within a LAN. `CallStory(...).entries()` gives the merged trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iceway.core.address import Address
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CallState,
    CandidateGathered,
    CandidateInfo,
    CandidateReceived,
    ChannelBound,
    ConnectionOpened,
    CredentialsMinted,
    CredentialsReceived,
    CredentialsRequested,
    GatheringFinished,
    GatheringStarted,
    IceStateChanged,
    Measured,
    MediaStarted,
    MediaSummary,
    NameResolved,
    PacketDropped,
    PacketTranslated,
    PairChecked,
    PairFailed,
    PairFormed,
    PairNominated,
    PairSelected,
    PairSucceeded,
    PermissionInstalled,
    Record,
    Registered,
    ServerAnswered,
    ServerUnreachable,
    SipReceived,
    SipSent,
    Started,
    StunReceived,
    StunSent,
)
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method

EDGE = "198.51.100.2"
EDGE_INNER = "10.0.0.2"
FRONT = Address("10.0.0.10", 5061)
ACCESS = Address(EDGE, 443)
TURN = Address(EDGE, 3478)
HOME_NAT = "198.51.100.77"
HQ_NAT = "198.51.100.1"
FAR, NEAR = 0.0205, 0.0005
ICE = "call.1/ice"
CALL = "f81d4fae-7dec@192.168.1.20"
VERSION = "0.1.0"


def address(ip: str, port: int) -> Address:
    return Address(ip, port)


@dataclass
class Party:
    """A caller or callee and what the network makes of its addresses."""

    node: str
    host: Address
    behind: str | None
    seen_as: Address | None
    relays: tuple[CandidateInfo, ...] = ()

    @property
    def candidates(self) -> tuple[CandidateInfo, ...]:
        host = CandidateInfo("host", "udp", self.host, 2130706431, "1")
        if self.seen_as is None:
            return (host, *self.relays)
        reflexive = CandidateInfo("srflx", "udp", self.seen_as, 1694498815, "2", related=self.host)
        return (host, reflexive, *self.relays)


def relay(port: int, over: str = "udp", related: Address | None = None) -> CandidateInfo:
    priority = {"udp": 16777215, "tcp": 16776959}[over]
    server = f"turn:av.example.test:3478?transport={over}"
    return CandidateInfo(
        "relay",
        "udp",
        Address(EDGE, port),
        priority,
        "3" + over,
        1,
        related,
        relay_transport=over,
        server=server,
    )


NETWORKS = ("one_lan", "reflexive", "relayed_udp", "relayed_tcp")


class CallStory:
    """Writes a trace, step by step. `network` is one of NETWORKS."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.said: list[tuple[float, str, Record]] = []
        self.now = 0.0
        self._count = 0
        lan = network == "one_lan"
        symmetric = network == "relayed_udp"
        blocked = network == "relayed_tcp"
        home = Address("10.0.0.21" if lan else "192.168.1.20", 50000)
        self.alice = Party(
            "alice",
            home,
            None if lan else "home-nat",
            Address(HQ_NAT, 50021) if lan else Address(HOME_NAT, 41873 if symmetric else 50000),
            (relay(49152), relay(49153, "tcp")),
        )
        self.bob = Party(
            "bob",
            Address("10.0.0.20", 50100),
            None if lan else "hq-nat",
            None if blocked else Address(HQ_NAT, 50100),
            (relay(49155, "tcp"),) if blocked else (relay(49154), relay(49155, "tcp")),
        )
        self.outside = not lan
        self.stop_checks_at = 3.2

    # --- the whole call -----------------------------------------------------------------------------
    def tell(self) -> CallStory:
        self.begin()
        self.register(self.bob, 0.02)
        self.register(self.alice, 0.05)
        self.credentials(self.bob, 0.30)
        self.credentials(self.alice, 0.45)
        self.gather(self.alice, 2.0)
        self.invite(2.2)
        self.checks(2.46)
        self.pick_up(4.6)
        if self.network != "one_lan":
            self.settle(4.75)
        self.talk(4.66, 9.9)
        self.hang_up(10.0)
        return self

    def entries(self) -> list[Entry]:
        ordered = sorted(enumerate(self.said), key=lambda item: (round(item[1][0], 6), item[0]))
        return [
            Entry(number, round(at, 6), node, record)
            for number, (_, (at, node, record)) in enumerate(ordered, 1)
        ]

    def say(self, at: float, node: str, *records: Record) -> None:
        self.said += [(at, node, record) for record in records]

    # --- steps --------------------------------------------------------------------------------------
    def begin(self) -> None:
        self.say(0.0, "edge", Started("edge", VERSION, "edge.example.test"))
        self.say(0.0, "frontend", Started("frontend", VERSION, "fe.example.test"))
        self.say(0.0, "alice", Started("client", VERSION, "sip:alice@example.test"))
        self.say(0.0, "bob", Started("client", VERSION, "sip:bob@example.test"))

    def register(self, who: Party, at: float) -> None:
        inside = who is self.bob or not self.outside
        service = "_sipinternaltls._tcp.example.test" if inside else "_sip._tls.example.test"
        target = ("fe.example.test", 5061) if inside else ("edge.example.test", 443)
        self.say(at + 0.002, who.node, NameResolved(service, "SRV", (f"0 0 {target[1]} {target[0]}",)))
        self.say(at + 0.004, who.node, NameResolved(target[0], "A", (FRONT.ip if inside else EDGE,)))
        self.open_flow(who, at + 0.06)
        user = f"sip:{who.node}@example.test"
        first = ("REGISTER sip:example.test SIP/2.0", "1 REGISTER", who.node)
        at = self.up(who, at + 0.07, *first)
        at = self.down(who, at, "SIP/2.0 401 Unauthorized", "1 REGISTER", who.node, (
            'WWW-Authenticate: Digest realm="example.test", nonce="b3f1", algorithm=SHA-256, qop="auth"',
        ))  # fmt: skip
        at = self.up(who, at + 0.001, first[0], "2 REGISTER", who.node, (
            f'Authorization: Digest username="{who.node}", realm="example.test", response="[hidden]"',
        ))  # fmt: skip
        path = () if inside else ("<sip:token@edge.example.test;lr;ob>",)
        contact = f"<sip:{who.node}@{who.host.ip}:5061;transport=tls;ob>"
        self.say(at, "frontend", Registered(user, contact, 600.0, path, outside=not inside))
        at = self.down(who, at, "SIP/2.0 200 OK", "2 REGISTER", who.node, (
            f"Contact: {contact};expires=600",
            "X-Iceway-Media-Relay-Service: <sip:mras@example.test;gruu;opaque=srvr:MRAS>",
        ))  # fmt: skip
        self.say(at, who.node, Registered(user, contact, 600.0))

    def credentials(self, who: Party, at: float) -> None:
        location = "internet" if (who is self.alice and self.outside) else "intranet"
        identity = f"sip:{who.node}@example.test"
        self.say(at, who.node, CredentialsRequested(identity, location, 28800.0))
        body = f"<request><credentialsRequest><identity>{identity}</identity></credentialsRequest></request>"
        line = "SERVICE sip:mras@example.test SIP/2.0"
        at = self.up(who, at, line, "3 SERVICE", f"{who.node}-mras", body=body)
        at = self.hop(
            at, "frontend", "edge", line, "1 SERVICE", f"{who.node}-vouch", FRONT, Address(EDGE_INNER, 5062)
        )
        user = hashlib.sha256(who.node.encode()).hexdigest()[:12]
        self.say(at, "edge", CredentialsMinted(user, "k1", 1_800_028_800.0))
        answer = "<response><username>AQAAIKCk[hidden]</username><password>[hidden]</password></response>"
        at = self.hop(at, "edge", "frontend", "SIP/2.0 200 OK", "1 SERVICE", f"{who.node}-vouch",
                      Address(EDGE_INNER, 5062), FRONT, body=answer)  # fmt: skip
        at = self.down(who, at, "SIP/2.0 200 OK", "3 SERVICE", f"{who.node}-mras", body=answer)
        self.say(at, who.node, CredentialsReceived("av.example.test", 3478, 443, 28800.0))

    def gather(self, who: Party, at: float) -> None:
        servers = tuple(f"turn:av.example.test:3478?transport={over}" for over in ("udp", "tcp"))
        self.say(at, who.node, IceStateChanged(ICE, "gathering"))
        self.say(at, who.node, GatheringStarted(ICE, (who.host.ip,), servers))
        self.say(at, who.node, CandidateGathered(ICE, who.candidates[0]))
        done = at
        if who.seen_as is not None:
            if who.behind or self.network == "one_lan":
                nat = who.behind or "hq-nat"
                self.say(at + 0.0005, nat, PacketTranslated(nat, "udp", who.host, who.seen_as, TURN, True))
            back = self.allocate(who, at + 0.001, "udp", who.host, who.seen_as, who.relays[0])
            self.say(back, who.node, ServerAnswered(ICE, servers[0], who.host, 0.041))
            self.say(back, who.node, CandidateGathered(ICE, who.candidates[1]))
            self.say(back, who.node, CandidateGathered(ICE, who.relays[0]))
            done = back
        else:
            nat = who.behind or "hq-nat"
            self.say(
                at + 0.001, nat, PacketDropped(nat, "udp", who.host, TURN, "this firewall drops all UDP")
            )
            for wait in (0.001, 0.501, 1.501):
                self.bind_unanswered(who, at + wait)
            self.say(
                at + 1.7, who.node, ServerUnreachable(ICE, servers[0], "no answer to 3 requests in 1.7 s")
            )
        tcp_local, tcp_seen = (
            Address(who.host.ip, 40700),
            Address((who.behind and self.nat_ip(who)) or HQ_NAT, 40700),
        )
        back = self.allocate(who, at + 0.042, "tcp", tcp_local, tcp_seen, who.relays[-1])
        self.say(back, who.node, ServerAnswered(ICE, servers[1], tcp_local, 0.041))
        self.say(back, who.node, CandidateGathered(ICE, who.relays[-1]))
        self.say(max(back, done), who.node, GatheringFinished(ICE, max(back, done) - at))

    def invite(self, at: float) -> None:
        self.say(at, "alice", CallState(CALL, "trying", "sip:alice@example.test", "sip:bob@example.test"))
        at = self.up(
            self.alice, at, "INVITE sip:bob@example.test SIP/2.0", "1 INVITE", CALL, body=self.sdp(self.alice)
        )
        self.down(self.alice, at, "SIP/2.0 100 Trying", "1 INVITE", CALL)
        at = self.hop(at, "frontend", "bob", "INVITE sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "1 INVITE", CALL,
                      FRONT, Address("10.0.0.20", 51002), body=self.sdp(self.alice))  # fmt: skip
        self.say(at, "bob", CallState(CALL, "ringing", "sip:bob@example.test", "sip:alice@example.test"))
        self.gather(self.bob, at + 0.001)
        for candidate in self.alice.candidates:
            self.say(at + 0.001, "bob", CandidateReceived(ICE, candidate))
        at += 0.15
        at = self.through(at, "SIP/2.0 183 Session Progress", "1 INVITE", ("Require: 100rel", "RSeq: 1"),
                          body=self.sdp(self.bob))  # fmt: skip
        for candidate in self.bob.candidates:
            self.say(at, "alice", CandidateReceived(ICE, candidate))
        self.say(at, "alice", CallState(CALL, "early", "sip:alice@example.test", "sip:bob@example.test"))
        at = self.to_bob(at + 0.001, "PRACK sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "2 PRACK")
        self.through(at, "SIP/2.0 200 OK", "2 PRACK")

    def checks(self, at: float) -> None:
        """Pairs in order of priority, paced; the chosen one answers."""
        chosen_at = at
        for who, other, lead in ((self.alice, self.bob, 0.0), (self.bob, self.alice, 0.01)):
            self.say(at + lead, who.node, IceStateChanged(ICE, "checking"))
            pairs = [
                (mine, theirs)
                for mine in who.candidates
                for theirs in other.candidates
                if mine.type != "srflx"
            ]
            pairs.sort(key=lambda pair: -self.pair_priority(*pair))
            for number, (mine, theirs) in enumerate(pairs, 1):
                self.say(
                    at + lead,
                    who.node,
                    PairFormed(ICE, number, mine, theirs, self.pair_priority(mine, theirs)),
                )
            for number, (mine, theirs) in enumerate(pairs, 1):
                moment = at + lead + 0.05 * number
                works = self.works(who, mine, theirs)
                better = any(self.works(who, *pair) for pair in pairs[: number - 1])
                if better and number > 5:
                    continue
                self.check(who, other, mine, theirs, number, moment, works, "ordinary")
                if works and not better:
                    chosen_at = max(chosen_at, moment + 0.05)
        self.choose(chosen_at + 0.4)

    def choose(self, at: float) -> None:
        for who, other in ((self.alice, self.bob), (self.bob, self.alice)):
            pairs = [
                (mine, theirs)
                for mine in who.candidates
                for theirs in other.candidates
                if mine.type != "srflx"
            ]
            pairs.sort(key=lambda pair: -self.pair_priority(*pair))
            number = next(n for n, pair in enumerate(pairs, 1) if self.works(who, *pair))
            mine, theirs = pairs[number - 1]
            if who is self.alice:
                self.check(who, other, mine, theirs, number, at, True, "nomination")
            delay = at + (0.043 if who is self.alice else 0.022)
            # the valid pair's local candidate is the one the peer sees
            local = who.candidates[1] if mine.type == "host" and self.path == "reflexive" else mine
            round_trip = {"one_lan": 0.001, "reflexive": 0.041, "relayed_udp": 0.062, "relayed_tcp": 0.062}[
                self.network
            ]
            self.say(delay, who.node, PairNominated(ICE, number, who is self.alice))
            self.say(
                delay,
                who.node,
                PairSelected(ICE, number, local, self.as_seen(theirs, who), False, round_trip),
            )
            self.say(delay, who.node, IceStateChanged(ICE, "completed"))
            if who is self.bob:
                self.say(delay + 0.01, "bob", MediaStarted(CALL, "sent", "opus", True))
                self.say(delay + 0.032, "alice", MediaStarted(CALL, "received", "opus", True))

    def pick_up(self, at: float) -> None:
        self.say(at, "bob", CallState(CALL, "confirmed", "sip:bob@example.test", "sip:alice@example.test"))
        at = self.through(at, "SIP/2.0 200 OK", "1 INVITE")
        self.say(at, "alice", CallState(CALL, "confirmed", "sip:alice@example.test", "sip:bob@example.test"))
        self.to_bob(at + 0.001, "ACK sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "1 ACK")

    def settle(self, at: float) -> None:
        at = self.to_bob(at, "INVITE sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "3 INVITE",
                         body=self.sdp(self.alice) + "a=remote-candidates:1 198.51.100.1 50100\r\n")  # fmt: skip
        at = self.through(at, "SIP/2.0 200 OK", "3 INVITE", body=self.sdp(self.bob))
        self.to_bob(at + 0.001, "ACK sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "3 ACK")
        for node, other in (("alice", "bob"), ("bob", "alice")):
            self.say(
                at, node, CallState(CALL, "settled", f"sip:{node}@example.test", f"sip:{other}@example.test")
            )

    def talk(self, at: float, until: float) -> None:
        self.say(at, "alice", MediaStarted(CALL, "sent", "opus", False))
        self.say(at + 0.031, "bob", MediaStarted(CALL, "received", "opus", False))
        packets = round((until - at) / 0.02)
        for node in ("alice", "bob"):
            self.say(until, node, MediaSummary(CALL, "opus", packets, packets - 1, 1, 0, 0.0009, 0.042))
        self.say(until + 0.2, "demo", Measured("bob heard alice", 0.987, "share", (("correlation", "0.99"),)))
        self.say(until + 0.2, "demo", Measured("alice heard bob", 0.991, "share", (("correlation", "0.99"),)))

    def hang_up(self, at: float) -> None:
        at = self.to_bob(at, "BYE sip:bob@10.0.0.20:5061;transport=tls SIP/2.0", "4 BYE")
        self.say(
            at,
            "bob",
            CallState(CALL, "ended", "sip:bob@example.test", "sip:alice@example.test", "hung up by peer"),
        )
        at = self.through(at, "SIP/2.0 200 OK", "4 BYE")
        self.say(
            at, "alice", CallState(CALL, "ended", "sip:alice@example.test", "sip:bob@example.test", "hung up")
        )
        for who in (self.alice, self.bob):
            used = self.path.startswith("relayed") and who.relays[0] == self.relay_used
            for candidate in who.relays:
                seen = who.seen_as or Address(HQ_NAT, 40700)
                amount = 61000 if used and candidate is who.relays[0] else 0
                self.say(
                    at + 0.05,
                    "edge",
                    AllocationEnded(seen, candidate.address, "released by client", amount, amount),
                )

    # --- what the network lets through --------------------------------------------------------------
    @property
    def path(self) -> str:
        return {"one_lan": "direct", "reflexive": "reflexive"}.get(
            self.network, self.network.replace("_", " over ")
        )

    @property
    def relay_used(self) -> CandidateInfo:
        return self.bob.relays[0]

    def works(self, who: Party, mine: CandidateInfo, theirs: CandidateInfo) -> bool:
        kinds = (mine.type, theirs.type)
        if self.network == "one_lan":
            return kinds in (("host", "host"), ("relay", "relay"))
        if self.network == "reflexive":
            return kinds == ("host", "srflx") or ("relay" in kinds and "host" not in kinds)
        return kinds == (
            ("relay", "srflx") if who is self.bob else ("host", "relay")
        ) and self.relay_used in (mine, theirs)

    def as_seen(self, theirs: CandidateInfo, who: Party) -> CandidateInfo:
        if self.network.startswith("relayed") and who is self.bob and theirs.type == "srflx":
            return replace(theirs, type="prflx" if self.network == "relayed_udp" else "srflx")
        return theirs

    def nat_ip(self, who: Party) -> str:
        return HOME_NAT if who.behind == "home-nat" else HQ_NAT

    @staticmethod
    def pair_priority(mine: CandidateInfo, theirs: CandidateInfo) -> int:
        low, high = sorted((mine.priority, theirs.priority))
        return (low << 32) + 2 * high + (mine.priority > theirs.priority)

    # --- STUN ---------------------------------------------------------------------------------------
    def check(
        self, who: Party, other: Party, mine: CandidateInfo, theirs: CandidateInfo, number: int, at: float,
        works: bool, cause: str,
    ) -> None:  # fmt: skip
        extra: tuple[Any, ...] = (stun.PRIORITY(1862270975),)
        if cause == "nomination":
            extra = (*extra, stun.USE_CANDIDATE(True))
        role = stun.ICE_CONTROLLING if who is self.alice else stun.ICE_CONTROLLED
        attributes = (stun.USERNAME(f"{other.node}F:{who.node}F".encode()), *extra, role(0x1122334455667788))
        through = mine.type == "relay"
        local = self.base(who, mine)
        trip = (
            0.001
            if self.network == "one_lan"
            else 0.0205
            if not through and theirs.type != "relay"
            else 0.031
        )
        seen_at = other.host if theirs.type != "relay" else self.base(other, theirs)
        seen_from = mine.address if through else (who.seen_as or who.host)
        if self.network == "one_lan" and not through:
            seen_from = who.host
        times = 1 if works else 7
        for attempt in range(times):
            moment = at + 0.1 * (2**attempt - 1)
            if moment > self.stop_checks_at:
                return
            self.say(moment, who.node, PairChecked(ICE, number, attempt + 1, cause))
            self.stun(
                moment, who.node, other.node if works else None, "udp", local, theirs.address, Method.BINDING,
                MessageClass.REQUEST, attributes, trip=trip, seen_from=seen_from, seen_at=seen_at,
                relay=mine.address if through else None, relay_there=theirs.address if theirs.type == "relay" else None,
            )  # fmt: skip
            if works or attempt:
                continue
            nat = who.behind or "hq-nat"
            if (
                who.behind
                and theirs.type == "srflx"
                and not through
                and self.other_mapping(who) != who.seen_as
            ):
                mapping = PacketTranslated(nat, "udp", local, self.other_mapping(who), theirs.address, True)
                self.say(at + 0.001, nat, mapping)
            if theirs.type == "host" and not through:
                self.say(at + 0.001, nat, PacketDropped(nat, "udp", local, theirs.address, "no route"))
            elif theirs.type == "srflx" and other.behind and not through:
                drop = PacketDropped(other.behind, "udp", self.other_mapping(who), theirs.address, "filtered")
                self.say(at + 0.02, other.behind, drop)
        if not works:
            self.say(at + 8.0, who.node, PairFailed(ICE, number, "no answer to 7 checks in 8.0 s"))
            return
        self.stun(
            at + trip, other.node, who.node, "udp", seen_at, seen_from, Method.BINDING, MessageClass.SUCCESS,
            (stun.XOR_MAPPED_ADDRESS(seen_from),), trip=trip, seen_from=theirs.address, seen_at=local,
            relay=theirs.address if theirs.type == "relay" else None, relay_there=mine.address if through else None,
            same=True,
        )  # fmt: skip
        self.say(at + 2 * trip, who.node, PairSucceeded(ICE, number, 2 * trip, seen_from))

    def base(self, who: Party, candidate: CandidateInfo) -> Address:
        if candidate.type != "relay" or candidate.relay_transport == "udp":
            return who.host
        return Address(who.host.ip, 40700)

    def other_mapping(self, who: Party) -> Address:
        """What a symmetric NAT makes of the same socket towards another destination."""
        seen = who.seen_as or who.host
        return Address(seen.ip, 52345) if self.network == "relayed_udp" and who is self.alice else seen

    def bind_unanswered(self, who: Party, at: float) -> None:
        self.stun(at, who.node, None, "udp", who.host, TURN, Method.ALLOCATE, MessageClass.REQUEST,
                  (stun.REQUESTED_TRANSPORT(17),))  # fmt: skip

    def allocate(
        self, who: Party, at: float, over: str, local: Address, seen: Address, got: CandidateInfo
    ) -> float:
        to, ask, trip = TURN, (stun.REQUESTED_TRANSPORT(17),), FAR
        if over == "tcp":
            self.say(at, who.node, ConnectionOpened("ice/turn.2/stream", local, to, "tcp", False))
        request, error, success = MessageClass.REQUEST, MessageClass.ERROR, MessageClass.SUCCESS
        at = self.stun(at, who.node, "edge", over, local, to, Method.ALLOCATE, request, ask, trip, seen)
        refused = (stun.ERROR_CODE(stun.ErrorCode(401, "Unauthorized")), stun.REALM("example.test"))
        at = self.stun(
            at, "edge", who.node, over, to, seen, Method.ALLOCATE, error, refused, trip, to, local, same=True
        )
        who_says = (*ask, stun.USERNAME(b"AQAAIKCkQAAB"), stun.REALM("example.test"), stun.NONCE(b"a1b2c3"))
        at = self.stun(at, who.node, "edge", over, local, to, Method.ALLOCATE, request, who_says, trip, seen)
        self.say(at, "edge", AllocationCreated(seen, over, got.address, 600.0, "9f86d081884c"))
        granted = (stun.XOR_RELAYED_ADDRESS(got.address), stun.XOR_MAPPED_ADDRESS(seen), stun.LIFETIME(600))
        at = self.stun(
            at,
            "edge",
            who.node,
            over,
            to,
            seen,
            Method.ALLOCATE,
            success,
            granted,
            trip,
            to,
            local,
            same=True,
        )
        if self.network.startswith("relayed") and who is self.bob:
            self.say(at + 0.3, "edge", PermissionInstalled(got.address, HOME_NAT))
            self.say(at + 0.9, "edge", ChannelBound(got.address, 0x4000, Address(HOME_NAT, 52345)))
        return at

    def stun(
        self, at: float, sender: str, receiver: str | None, over: str, local: Address, remote: Address, method: Method,
        kind: MessageClass, attributes: Sequence[Any], trip: float = FAR, seen_from: Address | None = None,
        seen_at: Address | None = None, relay: Address | None = None, relay_there: Address | None = None,
        same: bool = False,
    ) -> float:  # fmt: skip
        if not same:
            self._count += 1
        transaction = hashlib.sha256(str(self._count).encode()).digest()[:12]
        message = stun.StunMessage(method, kind, transaction, tuple(attributes))
        raw = stun.serialize(message, fingerprint=True)
        shown = stun.describe(stun.parse(raw))
        named = (message.method_name, message.class_name, transaction.hex(), shown, raw.hex())
        self.say(at, sender, StunSent(over, local, remote, *named, relay))
        if receiver is not None:
            heard = StunReceived(over, seen_at or remote, seen_from or local, *named, relay_there)
            self.say(at + trip, receiver, heard)
        return at + trip

    # --- SIP ----------------------------------------------------------------------------------------
    def open_flow(self, who: Party, at: float) -> None:
        if who is self.alice and self.outside:
            local = Address(who.host.ip, 40512)
            self.say(at - 0.04, "home-nat",
                     PacketTranslated("home-nat", "tcp", local, Address(HOME_NAT, 40512), ACCESS, True))  # fmt: skip
            opened = ConnectionOpened("sip/1", local, ACCESS, "tls", False, ("edge.example.test",))
        else:
            opened = ConnectionOpened(
                "sip/1", Address(who.host.ip, 51002), FRONT, "tls", False, ("fe.example.test",)
            )
        self.say(at, who.node, opened)

    def up(self, who: Party, at: float, line: str, cseq: str, call: str, headers: tuple[str, ...] = (),
           body: str = "") -> float:  # fmt: skip
        """A request from a client to the front end, through the edge for those outside."""
        if who is self.alice and self.outside:
            local = Address(who.host.ip, 40512)
            at = self.hop(at, who.node, "edge", line, cseq, call, local, ACCESS, headers, body,
                          seen_from=Address(HOME_NAT, 40512))  # fmt: skip
            return self.hop(
                at, "edge", "frontend", line, cseq, call, Address(EDGE_INNER, 39001), FRONT, headers, body
            )
        return self.hop(
            at, who.node, "frontend", line, cseq, call, Address(who.host.ip, 51002), FRONT, headers, body
        )

    def down(self, who: Party, at: float, line: str, cseq: str, call: str, headers: tuple[str, ...] = (),
             body: str = "") -> float:  # fmt: skip
        if who is self.alice and self.outside:
            at = self.hop(
                at, "frontend", "edge", line, cseq, call, FRONT, Address(EDGE_INNER, 39001), headers, body
            )
            return self.hop(at, "edge", who.node, line, cseq, call, ACCESS, Address(HOME_NAT, 40512), headers, body,
                            seen_at=Address(who.host.ip, 40512))  # fmt: skip
        return self.hop(
            at, "frontend", who.node, line, cseq, call, FRONT, Address(who.host.ip, 51002), headers, body
        )

    def to_bob(self, at: float, line: str, cseq: str, body: str = "") -> float:
        at = self.up(self.alice, at, line, cseq, CALL, body=body)
        return self.hop(
            at, "frontend", "bob", line, cseq, CALL, FRONT, Address("10.0.0.20", 51002), body=body
        )

    def through(
        self, at: float, line: str, cseq: str, headers: tuple[str, ...] = (), body: str = ""
    ) -> float:
        at = self.hop(
            at, "bob", "frontend", line, cseq, CALL, Address("10.0.0.20", 51002), FRONT, headers, body
        )
        return self.down(self.alice, at, line, cseq, CALL, headers, body)

    def hop(
        self, at: float, sender: str, receiver: str, line: str, cseq: str, call: str, local: Address, remote: Address,
        headers: tuple[str, ...] = (), body: str = "", seen_from: Address | None = None, seen_at: Address | None = None,
    ) -> float:  # fmt: skip
        kind = "application/sdp" if body.startswith("v=0") else "application/msrtc-media-relay-auth+xml"
        text = "\r\n".join(
            (
                line,
                f"Via: SIP/2.0/TLS {local};branch=z9hG4bK{hashlib.sha256(f'{line}{cseq}{local}'.encode()).hexdigest()[:9]}",
                "Max-Forwards: 70",
                f"From: <sip:{'bob' if call.startswith('bob') else 'alice'}@example.test>;tag=7f3a",
                "To: <sip:bob@example.test>",
                f"Call-ID: {call}",
                f"CSeq: {cseq}",
                *headers,
                *((f"Content-Type: {kind}",) if body else ()),
                f"Content-Length: {len(body)}",
                "",
                body,
            )
        )
        self.say(at, sender, SipSent("tls", local, remote, line, call, cseq, text))
        trip = FAR if "alice" in (sender, receiver) and self.outside else NEAR
        heard = SipReceived("tls", seen_at or remote, seen_from or local, line, call, cseq, text)
        self.say(at + trip, receiver, heard)
        return at + trip

    def sdp(self, who: Party) -> str:
        lines = ["v=0", f"o={who.node} 1 1 IN IP4 {who.host.ip}", "s=-", "t=0 0", "m=audio 50000 RTP/SAVP 111 0 8",
                 f"c=IN IP4 {who.candidates[-1].address.ip}", "a=rtpmap:111 opus/48000/2", f"a=ice-ufrag:{who.node}F",
                 "a=ice-pwd:[hidden]", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:[hidden]", "a=rtcp-mux"]  # fmt: skip
        for candidate in who.candidates:
            line = f"a=candidate:{candidate.foundation} 1 UDP {candidate.priority} {candidate.address.ip} "
            related = (
                f" raddr {candidate.related.ip} rport {candidate.related.port}" if candidate.related else ""
            )
            lines.append(f"{line}{candidate.address.port} typ {candidate.type}{related}")
        return "\r\n".join(lines) + "\r\n"


def told(network: str) -> list[Entry]:
    """The whole trace of one of the four calls."""
    return CallStory(network).tell().entries()


def changed(entries: Sequence[Entry], keep: Callable[[Entry], bool]) -> list[Entry]:
    """A trace without some entries: one node's view, or records that never came to be."""
    return [entry for entry in entries if keep(entry)]


def view_of(entries: Sequence[Entry], node: str) -> list[Entry]:
    """What one node alone recorded."""
    return changed(entries, lambda entry: entry.node == node)
