"""A router of a topology as nftables rules: text in the language of `nft -f`, and what it cannot say.

How the kernel keeps the promises of RFC 4787, and for TCP those of RFC 5382:

* endpoint-independent mapping is `masquerade`: conntrack keeps the inside port wherever that is free, so one
  inside endpoint has one outside port whoever it writes to (two inside hosts on one port are kept apart only
  where they write to the same remote: RFC 4787 calls that overloading, and the virtual world never does it);
* address-and-port-dependent mapping is `masquerade fully-random`: every new destination gets a port of its own, but
  the first one the inside port, where ports are preserved;
* in between, and without port preservation, the first packet's random port is remembered for as much of the
  destination as the mapping looks at, and what follows is given the same by `snat`;
* address-and-port-dependent filtering is conntrack itself: only who was written to may answer;
* the laxer filterings remember outgoing packets after translation (outside port → inside endpoint, and for
  address-dependent filtering whom it wrote to) and send what comes to a remembered port in. Where a mapping has one
  port for all, that is a `dnat`, whose connection the answer then follows. Where the answer is to get a port of its own,
  conntrack must not see the packet: addresses are rewritten before it looks. A connection cannot be opened so, hence
  that is done for UDP alone;
* hairpinning is a `dnat` and a `snat` of what comes from inside for the outside address, past a filter that remembers
  who inside wrote to that address. It counts on preserved ports.

IPv6 is never translated. The router drops what is addressed to itself, or conntrack would keep a stranger's packet as a
connection of the router and give the answer of a host inside another port. Packets dropped are dropped silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from iceway.core.errors import EnvironmentFailure
from iceway.lab.topology import Behaviour, Firewall, Forward, Nat, Router

EI, AD, APD = Behaviour
_DYNAMIC = "flags dynamic, timeout; size 65535;"
_BOTH = "{ tcp, udp }"
_FIREWALL_TIMEOUT = "120s"


def check(router: Router) -> None:
    """Raises EnvironmentFailure for a behaviour that kernels do not have."""
    nat, missing = router.nat, None
    if nat is not None and nat.mapping is not EI and nat.filter_by == "endpoint":
        missing = f"{nat.mapping} mapping with filters by endpoint"
    elif nat is not None and nat.hairpin and not (nat.mapping is EI and nat.port_preservation):
        missing = "hairpinning but for endpoint-independent mapping with port preservation"
    if missing:
        raise EnvironmentFailure(f"{router.name}: no kernel does {missing}", "Use the virtual world for it")


def ruleset(router: Router, inside: Sequence[str], outside: str) -> str:
    """The rules of one router with interfaces named `inside` and `outside`."""
    check(router)
    ins = f"{{ {', '.join(inside)} }}"
    lines = ["table inet firewall {", *_firewall(router, ins, outside), "}"]
    if router.nat is not None:
        lines += [
            "table ip translation {",
            *_Translation(router.nat, ins, outside, router.outside.ip).lines(),
            "}",
        ]
    return "\n".join(lines) + "\n"


def _firewall(router: Router, ins: str, outside: str) -> list[str]:
    rules: Firewall = router.firewall
    sets: list[str] = []
    forward: list[str] = []
    if rules.block_udp:
        forward.append("meta l4proto udp drop")
    if rules.tcp_ports is not None:
        allowed = (
            f"tcp dport != {{ {', '.join(map(str, rules.tcp_ports))} }} "
            if rules.tcp_ports
            else "tcp flags syn "
        )
        forward.append(f"iifname {ins} oifname {outside} ct state new {allowed}drop")
    if router.nat is None and rules.filtering in (EI, AD):
        for ip, address in (("ip", "ipv4_addr"), ("ip6", "ipv6_addr")):
            kind, leaves, comes = address, f"{ip} saddr . th sport", f"{ip} daddr . th dport"
            if rules.filtering is AD:
                kind, leaves, comes = f"{address} . {kind}", f"{ip} daddr . {leaves}", f"{ip} saddr . {comes}"
            sets.append(f"  set asked_{ip} {{ type inet_proto . {kind} . inet_service; {_DYNAMIC} }}")
            told = f"update @asked_{ip} {{ meta l4proto . {leaves} timeout {_FIREWALL_TIMEOUT} }}"
            forward.append(f"iifname {ins} oifname {outside} meta l4proto {_BOTH} {told}")
            forward.append(f"iifname {outside} ct state new meta l4proto . {comes} @asked_{ip} accept")
    if router.nat is not None or rules.filtering is not None:
        forward.append(f"iifname {outside} ct state new ct status ! dnat drop")
    return [
        *sets,
        "  chain input {",
        "    type filter hook input priority 0; policy drop;",
        "    iifname lo accept",
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "  }",
        *_chain("forward", "filter hook forward priority 0; policy accept", forward),
    ]


class _Translation:
    """The chains of one NAT, and the sets by which they remember: those of each transport under its name."""

    def __init__(self, nat: Nat, ins: str, outside: str, ip: str) -> None:
        self._in, self._out = f"iifname {outside}", f"oifname {outside}"
        self._leaving = f"iifname {ins} {self._out}"
        self._turning = f"iifname {ins} ip daddr {ip}"
        self._lives = {"udp": nat.mapping_timeout, "tcp": nat.tcp_timeout}
        self._sets: list[str] = []
        self._strangers: list[str] = []
        self._inside_out: list[str] = []
        self._incoming: list[str] = []
        self._outgoing: list[str] = []
        self._remembering: list[str] = []
        low, high = nat.ports
        anew = f"masquerade to :{low}-{high} fully-random"
        for forward in nat.forwards:
            self._forward(forward)
        for transport in self._lives:
            if nat.mapping is AD or (nat.mapping is EI and not nat.port_preservation):
                self._keep_ports(transport, " . ip daddr" if nat.mapping is AD else "")
            if nat.filtering is not APD and nat.mapping is EI:
                self._let_in(transport, nat.filtering)
            if nat.hairpin:
                self._turn(transport, nat.filtering)
            if nat.port_preservation and nat.mapping is not EI:
                self._set(transport, "used", "inet_service")
                self._remember(transport, "used", f"{transport} sport")
                self._outgoing.append(f"{self._leaving} {transport} sport @{transport}_used {anew}")
        if nat.hairpin:
            self._outgoing.append(f"iifname {ins} ct status dnat ct original ip daddr {ip} snat to {ip}")
        if nat.filtering is not APD and nat.mapping is not EI:
            self._let_in_unseen(nat.filtering)
        self._outgoing.append(
            f"{self._out} meta l4proto {_BOTH} {'masquerade' if nat.port_preservation else anew}"
        )
        self._outgoing.append(f"{self._out} masquerade")

    def lines(self) -> list[str]:
        return [
            *(f"  {one}" for one in self._sets),
            *_chain("strangers", "filter hook prerouting priority -300", self._strangers),
            *_chain("inside_out", "filter hook prerouting priority -150", self._inside_out),
            *_chain("incoming", "nat hook prerouting priority -100", self._incoming),
            *_chain("outgoing", "nat hook postrouting priority 100", self._outgoing),
            *_chain("remembering", "filter hook postrouting priority 300", self._remembering),
        ]

    def _forward(self, forward: Forward) -> None:
        transport, port, to = forward.transport, forward.port, forward.to
        self._incoming.append(f"{self._in} {transport} dport {port} dnat to {to.ip}:{to.port}")
        self._outgoing.append(
            f"{self._leaving} {transport} sport {to.port} ip saddr {to.ip} masquerade to :{port}"
        )

    def _keep_ports(self, transport: str, destination: str) -> None:
        """What an inside endpoint sends to as much of a destination leaves from the port of its first packet."""
        kind = "ipv4_addr . inet_service" + (" . ipv4_addr" if destination else "")
        self._set(transport, "ports", f"{kind} : ipv4_addr . inet_service")
        self._remember(transport, "ports", f"{{inside}}{destination}", f" : ip saddr . {transport} sport")
        self._outgoing.append(
            f"{self._leaving} snat ip to ip saddr . {transport} sport{destination} map @{transport}_ports"
        )

    def _let_in(self, transport: str, filtering: Behaviour) -> None:
        """More than answers: who comes to a port that was given out, from an address written to if it is asked."""
        asked = self._ask(transport, filtering)
        self._know(transport)
        self._incoming.append(f"{self._in} {asked}dnat ip to {transport} dport map @{transport}_mappings")

    def _let_in_unseen(self, filtering: Behaviour) -> None:
        """The same for datagrams, past conntrack, so that the answer is mapped as any packet to a new destination."""
        asked = self._ask("udp", filtering)
        self._set("udp", "insides", "inet_service : ipv4_addr")
        self._set("udp", "inside_ports", "inet_service : inet_service")
        self._set("udp", "answers", "inet_service . ipv4_addr . inet_service")
        self._remember("udp", "insides", "udp sport", " : {ip}")
        self._remember("udp", "inside_ports", "udp sport", " : {port}")
        self._remember("udp", "answers", "udp sport . ip daddr . udp dport")
        rewritten = "ip daddr set udp dport map @udp_insides udp dport set udp dport map @udp_inside_ports"
        self._strangers += [
            f"{self._in} udp dport . ip saddr . udp sport @udp_answers accept",
            f"{self._in} {asked}{rewritten} notrack",
        ]

    def _turn(self, transport: str, filtering: Behaviour) -> None:
        """From inside to the outside address: out and in again, seen from outside (RFC 4787 §6)."""
        ours, theirs = f"{transport} sport", f"{transport} dport"
        remembered = [f"@{transport}_mappings {{ {ours} {self._timeout(transport)} : ip saddr . {ours} }}"]
        asked = ""
        if filtering is APD:
            self._know(transport)
            self._set(transport, "turned", "inet_service . inet_service")
            remembered.append(f"@{transport}_turned {{ {ours} . {theirs} {self._timeout(transport)} }}")
            asked = f"{theirs} . {ours} @{transport}_turned "
        elif filtering is AD:
            remembered.append(f"@{transport}_asked {{ {ours} . ip daddr {self._timeout(transport)} }}")
            asked = f"{theirs} . ip daddr @{transport}_asked "
        self._inside_out += [f"{self._turning} update {one}" for one in remembered]
        self._incoming.append(f"{self._turning} {asked}dnat ip to {theirs} map @{transport}_mappings")

    def _know(self, transport: str) -> None:
        """Whose an outside port is."""
        self._set(transport, "mappings", "inet_service : ipv4_addr . inet_service")
        self._remember(transport, "mappings", f"{transport} sport", " : {inside}")

    def _ask(self, transport: str, filtering: Behaviour) -> str:
        """What lets in only whose address was written to from the port, where the filter looks at that."""
        if filtering is EI:
            return ""
        self._set(transport, "asked", "inet_service . ipv4_addr")
        self._remember(transport, "asked", f"{transport} sport . ip daddr")
        return f"{transport} dport . ip saddr @{transport}_asked "

    def _timeout(self, transport: str) -> str:
        return f"timeout {max(1, round(self._lives[transport]))}s"

    def _set(self, transport: str, name: str, kind: str) -> None:
        what = "map" if ":" in kind else "set"
        self._sets.append(f"{what} {transport}_{name} {{ type {kind}; {_DYNAMIC} }}")

    def _remember(self, transport: str, where: str, key: str, value: str = "") -> None:
        """Of every packet that leaves; the inside endpoint is who began its connection, or who answers in it."""
        rule = f"update @{transport}_{where} {{{{ {key} {self._timeout(transport)}{value} }}}}"
        leaving = f"{self._leaving} meta l4proto {transport}"
        if "{" not in key + value:
            self._remembering.append(f"{leaving} {rule.format()}")
            return
        for direction in ("original", "reply"):
            ip, port = f"ct {direction} ip saddr", f"ct {direction} proto-src"
            told = rule.format(inside=f"{ip} . {port}", ip=ip, port=port)
            self._remembering.append(f"{leaving} ct direction {direction} {told}")


def _chain(name: str, hook: str, rules: Sequence[str]) -> list[str]:
    return [f"  chain {name} {{", f"    type {hook};", *(f"    {rule}" for rule in rules), "  }"]
