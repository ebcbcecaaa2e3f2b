"""A topology that exists hangs together; one that does not says which field is wrong."""

import dataclasses

import pytest

from iceway.core.errors import ParseError, UsageError
from iceway.lab import topologies
from iceway.lab.topology import Behaviour, Host, Interface, Link, Nat, Route, Router, Segment, Topology

LAN = Segment("lan", "10.0.0.0/24")


def broken(**fields):
    complete = {"name": "t", "segments": (LAN,), "hosts": (Host("a", (Interface("lan", "10.0.0.1"),)),)}
    with pytest.raises(ParseError) as failure:
        Topology(**{**complete, **fields})
    return str(failure.value)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"segments": (Segment("lan", "10.0.0.5/24"),)}, "segment[0].subnet"),
        ({"segments": (LAN, LAN)}, "segment[1].name: 'lan' is taken"),
        ({"segments": (Segment("lan", "10.0.0.0/24", Link(loss=2)),)}, "segment[0].link.loss"),
        ({"segments": (Segment("lan", "10.0.0.0/24", Link(rate=0)),)}, "segment[0].link.rate"),
        ({"segments": (Segment("lan", "10.0.0.0/24", Link(delay=-1)),)}, "segment[0].link.delay"),
        ({"hosts": (Host("a", ()),)}, "host[0].interfaces"),
        ({"hosts": (Host("A b", (Interface("lan", "10.0.0.1"),)),)}, "host[0].name"),
        (
            {"hosts": (Host("a", (Interface("wan", "10.0.0.1"),)),)},
            "host[0].interfaces[0].segment: no segment",
        ),
        (
            {"hosts": (Host("a", (Interface("lan", "10.0.1.1"),)),)},
            "host[0].interfaces[0].ip: 10.0.1.1 is not in",
        ),
        ({"hosts": (Host("a", (Interface("lan", "ten"),)),)}, "host[0].interfaces[0].ip: 'ten'"),
        ({"hosts": (Host("a", (Interface("lan", "10.0.0.1"),), gateway="10.9.0.1"),)}, "host[0].gateway"),
        (
            {"hosts": (Host("a", (Interface("lan", "10.0.0.1"),), routes=(Route("x", "10.0.0.2"),)),)},
            "host[0].routes[0].subnet",
        ),
        (
            {
                "hosts": (
                    Host(
                        "a",
                        (Interface("lan", "10.0.0.1"),),
                        routes=(Route("0.0.0.0/0", "10.0.0.2", source="10.0.0.3"),),
                    ),
                )
            },
            "host[0].routes[0].source: 10.0.0.3 is not an address of a",
        ),
        (
            {"hosts": tuple(Host(name, (Interface("lan", "10.0.0.1"),)) for name in "ab")},
            "host[1].interfaces[0].ip: 10.0.0.1 already belongs to a",
        ),
        (
            {"routers": (Router("r", (), Interface("lan", "10.0.0.9"), nat=Nat(ports=(9, 1))),)},
            "router[0].nat.ports",
        ),
        ({"routers": (Router("r", (), Interface("wan", "10.0.0.9")),)}, "router[0].outside.segment"),
    ],
)
def test_an_inconsistent_topology_names_the_field(fields, complaint):
    assert complaint in broken(**fields)


def test_the_demo_networks_are_known_by_name_with_either_spelling():
    for name in topologies.TOPOLOGIES:
        assert topologies.named(name) == topologies.named(name.replace("_", "-"))
    with pytest.raises(UsageError, match="there are one_lan"):
        topologies.named("two_lans")


def test_who_asks_from_headquarters_sees_the_inside_view():
    office = topologies.reflexive()
    assert office.view_of("10.0.0.20").name == "inside"
    assert office.view_of("198.51.100.77").name == "outside"
    assert dataclasses.replace(office, views=()).view_of("10.0.0.20") is None


def test_one_field_of_a_router_or_a_link_can_be_replaced():
    office = topologies.reflexive()
    symmetric = office.with_router("home-nat", nat=Nat(mapping=Behaviour.ADDRESS_DEPENDENT))
    assert symmetric.router("home-nat").nat.mapping is Behaviour.ADDRESS_DEPENDENT
    assert symmetric.router("hq-nat") == office.router("hq-nat")
    assert office.with_link("internet", Link(loss=0.5)).segment("internet").link.loss == 0.5
    with pytest.raises(UsageError, match="no router is called 'nobody'"):
        office.with_router("nobody", nat=None)
