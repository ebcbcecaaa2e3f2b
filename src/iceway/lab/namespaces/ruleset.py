"""A router of a topology as nftables rules: text in the language of `nft -f`, and what it cannot say.

How the kernel keeps the promises of RFC 4787:

* endpoint-independent mapping is `masquerade`: conntrack keeps the inside port wherever that is free, so one
  inside endpoint has one outside port whoever it writes to (two inside hosts on one port are kept apart only
  where they write to the same remote: RFC 4787 calls that overloading, and the virtual world never does it);
* address-and-port-dependent mapping is `masquerade fully-random`: every new destination gets a port of its own;
* address-and-port-dependent filtering is conntrack itself: only who was written to may answer;
* the laxer filterings remember outgoing packets after translation (outside port → inside endpoint, and for
  address-dependent filtering whom it wrote to) and send what comes to a remembered port in by `dnat`.

The router drops what is addressed to itself, or conntrack would keep a stranger's packet as a connection of the
router and give the answer of a host inside another port. Packets dropped are dropped silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from iceway.core.errors import EnvironmentFailure
from iceway.lab.topology import Behaviour, Firewall, Nat, Router

EI, AD, APD = Behaviour


def check(router: Router) -> None:
    """Raises EnvironmentFailure for a behaviour that kernels do not have."""
    nat, firewall = router.nat, router.firewall
    missing = None
    if nat is not None:
        if nat.mapping is AD:
            missing = "address-dependent mapping"
        elif nat.mapping is APD and nat.filtering is not APD:
            missing = f"address-and-port-dependent mapping with {nat.filtering} filtering"
        elif nat.mapping is EI and not nat.port_preservation:
            missing = "endpoint-independent mapping without port preservation"
        elif nat.mapping is APD and nat.port_preservation:
            missing = "address-and-port-dependent mapping with port preservation"
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
    lines = ["table ip iceway {", *_firewall(router, ins, outside)]
    if router.nat is not None:
        lines += _nat(router.nat, ins, outside)
    return "\n".join([*lines, "}"]) + "\n"


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
        "  chain input { type filter hook input priority 0; policy drop; iifname lo accept; }",
        "  chain forward {",
        "    type filter hook forward priority 0; policy accept;",
        *(f"    {rule}" for rule in forward),
        "  }",
    ]


def _nat(nat: Nat, ins: str, outside: str) -> list[str]:
    low, high = nat.ports
    timeout = f"{max(1, round(nat.mapping_timeout))}s"
    incoming = [
        f"iifname {outside} {f.transport} dport {f.port} dnat to {f.to.ip}:{f.to.port}" for f in nat.forwards
    ]
    remembering: list[str] = []
    sets: list[str] = []
    if nat.filtering is not APD:
        sets.append(
            "  map mappings { type inet_service : ipv4_addr . inet_service; flags dynamic, timeout; size 65535; }"
        )
        original = "ct original ip saddr . ct original proto-src"
        remembering.append(f"update @mappings {{ udp sport timeout {timeout} : {original} }}")
        asked = ""
        if nat.filtering is AD:
            sets.append("  set asked { type inet_service . ipv4_addr; flags dynamic, timeout; size 65535; }")
            remembering.append(f"update @asked {{ udp sport . ip daddr timeout {timeout} }}")
            asked = "udp dport . ip saddr @asked "
        incoming.append(f"iifname {outside} meta l4proto udp {asked}dnat ip to udp dport map @mappings")
    masquerade = "masquerade" if nat.mapping is EI else f"masquerade to :{low}-{high} fully-random"
    return [
        *sets,
        "  chain incoming {",
        "    type nat hook prerouting priority -100;",
        *(f"    {rule}" for rule in incoming),
        "  }",
        "  chain outgoing {",
        "    type nat hook postrouting priority 100;",
        *(
            f"    iifname {ins} oifname {outside} {f.transport} sport {f.to.port} ip saddr {f.to.ip} masquerade to :{f.port}"
            for f in nat.forwards
        ),
        f"    oifname {outside} meta l4proto {{ tcp, udp }} {masquerade}",
        f"    oifname {outside} masquerade",
        "  }",
        "  chain remembering {",
        "    type filter hook postrouting priority 300;",
        *(f"    iifname {ins} oifname {outside} meta l4proto udp {rule}" for rule in remembering),
        "  }",
    ]
