"""Named topologies. The first four are the networks of `iceway demo`, one for each path a call can take.

    home 192.168.1.0/24          internet 198.51.100.0/24                hq 10.0.0.0/24
    alice .20 ── home-nat .1/.77 ──┬── edge .2 ─────────────────── edge .2 ─┬─ frontend .10
                                   ├── names .53 ─────────────── names .53 ─┤
                                   └── .1 hq-nat ────────────────────── .1 ─┴─ bob .20

The edge and the name server stand in the perimeter, with one foot on the internet and one in headquarters.
Whoever asks names from inside headquarters gets the inside view (front end), anybody else the outside view
(edge). The relay's name, av.example.test, is its outer address in both views: clients in headquarters reach
it through their own NAT and so learn their reflexive address from it.
"""

from __future__ import annotations

from collections.abc import Callable

from iceway.core.errors import UsageError
from iceway.lab.topology import (
    Behaviour,
    Firewall,
    Host,
    Interface,
    Link,
    NameRecord,
    Nat,
    Route,
    Router,
    Segment,
    Topology,
    View,
)

DOMAIN = "example.test"
EDGE_OUTER = "198.51.100.2"
EDGE_INNER = "10.0.0.2"
FRONTEND = "10.0.0.10"
ACCESS_PORT = 443
FRONTEND_PORT = 5061

_INTERNET = Link(delay=0.020)
_LAN = Link(delay=0.0005)
# What Linux does, so that the same topologies stand on kernels.
_PUNCHABLE = Nat(
    mapping=Behaviour.ENDPOINT_INDEPENDENT,
    filtering=Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    inbound_refresh=True,
)
_SYMMETRIC = Nat(
    mapping=Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Behaviour.ADDRESS_AND_PORT_DEPENDENT,
    port_preservation=False,
    inbound_refresh=True,
)


def one_lan() -> Topology:
    """Alice visits headquarters: both callers in one LAN, so media goes host to host."""
    alice = Host("alice", (Interface("hq", "10.0.0.21"),), gateway="10.0.0.1", nameserver="10.0.0.53")
    return _office("one-lan", "both in one LAN", alice=alice)


def reflexive() -> Topology:
    """Both NATs map independently of the endpoint, so holes can be punched: reflexive to reflexive."""
    return _office("reflexive", "two NATs with endpoint-independent mapping")


def relayed_udp() -> Topology:
    """A symmetric NAT at home meets address-and-port-dependent filtering: media is relayed over UDP."""
    return _office("relayed-udp", "symmetric NAT at home", home=_SYMMETRIC)


def relayed_tcp() -> Topology:
    """The firewall of headquarters drops all UDP: Bob reaches the relay over TCP only."""
    return _office("relayed-tcp", "headquarters drops all UDP", firewall=Firewall(block_udp=True))


def nats(left: Nat | None, right: Nat | None) -> Topology:
    """The office network with any two NATs (None: a plain router): home for alice, hq for bob."""
    return _office("nats", "two NATs", home=left, hq=right)


TOPOLOGIES: dict[str, Callable[[], Topology]] = {
    "one_lan": one_lan,
    "reflexive": reflexive,
    "relayed_udp": relayed_udp,
    "relayed_tcp": relayed_tcp,
}


def named(name: str) -> Topology:
    """A topology of the library by its name."""
    try:
        return TOPOLOGIES[name.replace("-", "_")]()
    except KeyError:
        raise UsageError(f"no topology is called {name!r}; there are {', '.join(TOPOLOGIES)}") from None


def _office(
    name: str,
    summary: str,
    *,
    alice: Host | None = None,
    home: Nat | None = _PUNCHABLE,
    hq: Nat | None = _PUNCHABLE,
    firewall: Firewall | None = None,
) -> Topology:
    # Behind a plain router inside addresses are real ones, so the internet has to know the way back.
    to_home = () if home else (Route("192.168.1.0/24", "198.51.100.77"),)
    to_hq = () if hq else (Route("10.0.0.0/24", "198.51.100.1"),)
    return Topology(
        name=name,
        summary=summary,
        segments=(
            Segment("internet", "198.51.100.0/24", _INTERNET),
            Segment("home", "192.168.1.0/24", _LAN),
            Segment("hq", "10.0.0.0/24", _LAN),
        ),
        hosts=(
            alice
            or Host(
                "alice",
                (Interface("home", "192.168.1.20"),),
                gateway="192.168.1.1",
                nameserver="198.51.100.53",
            ),
            Host("bob", (Interface("hq", "10.0.0.20"),), gateway="10.0.0.1", nameserver="10.0.0.53"),
            Host("frontend", (Interface("hq", FRONTEND),), gateway="10.0.0.1", nameserver="10.0.0.53"),
            Host(
                "edge",
                (Interface("internet", EDGE_OUTER), Interface("hq", EDGE_INNER)),
                nameserver="10.0.0.53",
                routes=to_home,
            ),
            Host(
                "names",
                (Interface("internet", "198.51.100.53"), Interface("hq", "10.0.0.53")),
                routes=to_home,
            ),
        ),
        routers=(
            Router(
                "home-nat",
                (Interface("home", "192.168.1.1"),),
                Interface("internet", "198.51.100.77"),
                nat=home,
                routes=to_hq,
            ),
            Router(
                "hq-nat",
                (Interface("hq", "10.0.0.1"),),
                Interface("internet", "198.51.100.1"),
                nat=hq,
                firewall=firewall or Firewall(),
                routes=to_home,
            ),
        ),
        views=(_inside_view(), _outside_view()),
    )


def _inside_view() -> View:
    return View(
        "inside",
        sources=("10.0.0.0/24",),
        records=(
            NameRecord(f"_sipinternaltls._tcp.{DOMAIN}", "SRV", f"frontend.{DOMAIN}", FRONTEND_PORT),
            NameRecord(f"frontend.{DOMAIN}", "A", FRONTEND),
            NameRecord(f"edge.{DOMAIN}", "A", EDGE_INNER),
            NameRecord(f"av.{DOMAIN}", "A", EDGE_OUTER),
        ),
    )


def _outside_view() -> View:
    return View(
        "outside",
        records=(
            NameRecord(f"_sip._tls.{DOMAIN}", "SRV", f"edge.{DOMAIN}", ACCESS_PORT),
            NameRecord(f"edge.{DOMAIN}", "A", EDGE_OUTER),
            NameRecord(f"av.{DOMAIN}", "A", EDGE_OUTER),
        ),
    )
