"""A router of a topology as nftables rules: text in the language of `nft -f`, and what it cannot say.

How the kernel keeps the promises of RFC 4787, for UDP:

* endpoint-independent mapping is `masquerade`: conntrack keeps the inside port wherever that is free, so one
  inside endpoint has one outside port whoever it writes to (two inside hosts on one port are kept apart only
  where they write to the same remote: RFC 4787 calls that overloading, and the virtual world never does it);
* address-and-port-dependent mapping is `masquerade fully-random`: every new destination gets a port of its own;
* in between, and without port preservation, the first packet's random port is remembered for as much of the
  destination as the mapping looks at, and what follows is given the same by `snat`;
* address-and-port-dependent filtering is conntrack itself: only who was written to may answer;
* the laxer filterings remember outgoing packets after translation (outside port → inside endpoint, and for
  address-dependent filtering whom it wrote to) and send what comes to a remembered port in. Where a mapping has one
  port for all, that is a `dnat`, whose connection the answer then follows. Where the answer is to get a port of its own,
  conntrack must not see the packet: addresses are rewritten before it looks.

TCP is mapped by conntrack alone, a port a connection unless ports are preserved, and only answers come in. IPv6 is never
translated. The router drops what is addressed to itself, or conntrack would keep a stranger's packet as a connection of
the router and give the answer of a host inside another port. Packets dropped are dropped silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from iceway.core.errors import EnvironmentFailure
from iceway.lab.topology import Behaviour, Firewall, Forward, Nat, Router

EI, AD, APD = Behaviour
_DYNAMIC = "flags dynamic, timeout; size 65535;"


def check(router: Router) -> None:
    """Raises EnvironmentFailure for a behaviour that kernels do not have."""
    nat, firewall = router.nat, router.firewall
    missing = None
    if nat is not None:
        if nat.mapping is not EI and nat.port_preservation:
            missing = f"{nat.mapping} mapping with port preservation"
        elif nat.mapping is not EI and nat.filter_by == "endpoint":
            missing = f"{nat.mapping} mapping with filters by endpoint"
        elif nat.hairpin:
            missing = "hairpinning"
    elif firewall.filtering not in (None, APD):
        missing = f"a router without NAT with {firewall.filtering} filtering"
    if missing:
        raise EnvironmentFailure(f"{router.name}: no kernel does {missing}", "Use the virtual world for it")


def ruleset(router: Router, inside: Sequence[str], outside: str) -> str:
    """The rules of one router with interfaces named `inside` and `outside`."""
    check(router)
    ins = f"{{ {', '.join(inside)} }}"
    lines = ["table inet firewall {", *_firewall(router, ins, outside), "}"]
    if router.nat is not None:
        lines += ["table ip translation {", *_Translation(router.nat, ins, outside).lines(), "}"]
    return "\n".join(lines) + "\n"


def _firewall(router: Router, ins: str, outside: str) -> list[str]:
    rules: Firewall = router.firewall
    forward = []
    if rules.block_udp:
        forward.append("meta l4proto udp drop")
    if rules.tcp_ports is not None:
        allowed = (
            f"tcp dport != {{ {', '.join(map(str, rules.tcp_ports))} }} "
            if rules.tcp_ports
            else "tcp flags syn "
        )
        forward.append(f"iifname {ins} oifname {outside} ct state new {allowed}drop")
    if router.nat is not None or rules.filtering is not None:
        forward.append(f"iifname {outside} ct state new ct status ! dnat drop")
    return [
        "  chain input {",
        "    type filter hook input priority 0; policy drop;",
        "    iifname lo accept",
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "  }",
        *_chain("forward", "filter hook forward priority 0; policy accept", forward),
    ]


class _Translation:
    """The chains of one NAT, and the sets by which they remember."""

    def __init__(self, nat: Nat, ins: str, outside: str) -> None:
        self._in, self._out = f"iifname {outside}", f"oifname {outside}"
        self._leaving = f"iifname {ins} {self._out}"
        self._timeout = f"timeout {max(1, round(nat.mapping_timeout))}s"
        self._sets: list[str] = []
        self._strangers: list[str] = []
        self._incoming: list[str] = []
        self._outgoing: list[str] = []
        self._remembering: list[str] = []
        for forward in nat.forwards:
            self._forward(forward)
        if nat.mapping is AD or (nat.mapping is EI and not nat.port_preservation):
            self._keep_ports(" . ip daddr" if nat.mapping is AD else "")
        if nat.filtering is not APD:
            self._let_in(nat)
        low, high = nat.ports
        anew = "masquerade" if nat.port_preservation else f"masquerade to :{low}-{high} fully-random"
        self._outgoing.append(f"{self._out} meta l4proto {{ tcp, udp }} {anew}")
        self._outgoing.append(f"{self._out} masquerade")

    def lines(self) -> list[str]:
        return [
            *(f"  {one}" for one in self._sets),
            *_chain("strangers", "filter hook prerouting priority -300", self._strangers),
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

    def _keep_ports(self, destination: str) -> None:
        """What an inside endpoint sends to as much of a destination leaves from the port of its first packet."""
        kind = "ipv4_addr . inet_service" + (" . ipv4_addr" if destination else "")
        self._sets.append(f"map ports {{ type {kind} : ipv4_addr . inet_service; {_DYNAMIC} }}")
        self._remember("ports", f"{{inside}}{destination}", " : ip saddr . udp sport")
        self._outgoing.append(
            f"{self._leaving} meta l4proto udp snat ip to ip saddr . udp sport{destination} map @ports"
        )

    def _let_in(self, nat: Nat) -> None:
        """More than answers: who comes to a port that was given out, from an address written to if it is asked."""
        asked = ""
        if nat.filtering is AD:
            self._sets.append(f"set asked {{ type inet_service . ipv4_addr; {_DYNAMIC} }}")
            self._remember("asked", "udp sport . ip daddr")
            asked = "udp dport . ip saddr @asked "
        if nat.mapping is EI:
            self._sets.append(f"map mappings {{ type inet_service : ipv4_addr . inet_service; {_DYNAMIC} }}")
            self._remember("mappings", "udp sport", " : {inside}")
            self._incoming.append(f"{self._in} meta l4proto udp {asked}dnat ip to udp dport map @mappings")
            return
        self._sets += [
            f"map insides {{ type inet_service : ipv4_addr; {_DYNAMIC} }}",
            f"map inside_ports {{ type inet_service : inet_service; {_DYNAMIC} }}",
            f"set answers {{ type inet_service . ipv4_addr . inet_service; {_DYNAMIC} }}",
        ]
        self._remember("insides", "udp sport", " : {ip}")
        self._remember("inside_ports", "udp sport", " : {port}")
        self._remember("answers", "udp sport . ip daddr . udp dport")
        self._strangers += [
            f"{self._in} udp dport . ip saddr . udp sport @answers accept",
            f"{self._in} {asked}ip daddr set udp dport map @insides udp dport set udp dport map @inside_ports notrack",
        ]

    def _remember(self, where: str, key: str, value: str = "") -> None:
        """Of every packet that leaves; the inside endpoint is who began its connection, or who answers in it."""
        rule = f"update @{where} {{{{ {key} {self._timeout}{value} }}}}"
        if "{" not in key + value:
            self._remembering.append(f"{self._leaving} meta l4proto udp {rule.format()}")
            return
        for direction in ("original", "reply"):
            ip, port = f"ct {direction} ip saddr", f"ct {direction} proto-src"
            told = rule.format(inside=f"{ip} . {port}", ip=ip, port=port)
            self._remembering.append(f"{self._leaving} meta l4proto udp ct direction {direction} {told}")


def _chain(name: str, hook: str, rules: Sequence[str]) -> list[str]:
    return [f"  chain {name} {{", f"    type {hook};", *(f"    {rule}" for rule in rules), "  }"]
