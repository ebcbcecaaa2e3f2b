"""The drawing of the network: places, and the ways packets take through it."""

from __future__ import annotations

import pytest

from iceway.explain.cast import Cast
from iceway.lab.topologies import TOPOLOGIES, named
from iceway.studio.picture import (
    Picture,
    PictureArea,
    PictureLink,
    PictureNode,
    arrange,
    from_entries,
    from_topology,
)
from tests.explain.call_story import NETWORKS, told, view_of


@pytest.fixture
def office() -> Picture:
    return from_topology(named("reflexive"))


def test_areas_stand_side_by_side_with_the_nats_between(office: Picture) -> None:
    assert [area.label for area in office.areas] == ["Home", "Internet", "Headquarters"]
    spans = [(area.begin, area.end) for area in office.areas]
    assert spans == sorted(spans)
    for gate, left, right in (("home-nat", 0, 1), ("hq-nat", 1, 2)):
        node = office.node(gate)
        assert node is not None
        assert node.along is not None
        assert office.areas[left].end < node.along < office.areas[right].begin


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_everybody_has_a_place_of_their_own(name: str) -> None:
    picture = from_topology(named(name))
    places = [(node.along, node.across) for node in picture.nodes]
    assert len(set(places)) == len(places)
    assert all(along is not None and 0 <= along <= 1 for along, _ in places)
    assert all(across is not None and 0 <= across <= 1 for _, across in places)


def test_an_empty_network_is_left_out() -> None:
    picture = from_topology(named("one_lan"))
    assert [area.name for area in picture.areas] == ["internet", "hq"]
    assert picture.node("home-nat") is None


def test_calls_go_through_both_nats(office: Picture) -> None:
    assert office.route("alice", "bob") == ["alice", "home", "home-nat", "internet", "hq-nat", "hq", "bob"]


def test_the_address_says_which_foot_of_the_edge_is_meant(office: Picture) -> None:
    assert office.route("bob", "edge", "10.0.0.20", "198.51.100.2") == [
        "bob",
        "hq",
        "hq-nat",
        "internet",
        "edge",
    ]
    assert office.route("frontend", "edge", "10.0.0.10", "10.0.0.2") == ["frontend", "hq", "edge"]
    assert office.route("edge", "bob", "198.51.100.2") == ["edge", "internet", "hq-nat", "hq", "bob"]


def test_a_server_with_two_feet_is_no_way_through() -> None:
    links = (
        PictureLink("a", "left"),
        PictureLink("server", "left"),
        PictureLink("server", "right"),
        PictureLink("b", "right"),
    )
    nodes = tuple(
        PictureNode(n, k)
        for n, k in (
            ("a", "client"),
            ("b", "client"),
            ("server", "edge"),
            ("left", "segment"),
            ("right", "segment"),
        )
    )
    assert Picture(nodes, links, ()).route("a", "b") == ["a", "b"]  # nothing but a straight line is known


def test_what_stands_at_the_nat_is_written_under_it() -> None:
    notes = {name: from_topology(named(name)) for name in ("reflexive", "relayed_udp", "relayed_tcp")}
    assert notes["reflexive"].node("home-nat").note == "same port for all"  # type: ignore[union-attr]
    assert notes["relayed_udp"].node("home-nat").note == "new port for each"  # type: ignore[union-attr]
    assert notes["relayed_tcp"].node("hq-nat").note == "drops all UDP"  # type: ignore[union-attr]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_picture_is_guessed_from_a_trace_alone(network: str) -> None:
    entries = told(network)
    picture = from_entries(entries)
    assert {"alice", "bob", "edge", "frontend"} <= {node.name for node in picture.nodes}
    route = picture.route("alice", "bob")
    expected = {"hq-nat"} if network == "one_lan" else {"home-nat", "hq-nat"}
    assert {node.name for node in picture.nodes if node.kind == "nat"} == expected
    assert ("home-nat" in route) == (network != "one_lan")


def test_one_ends_trace_gives_a_picture_too() -> None:
    entries = view_of(told("reflexive"), "alice")
    picture = from_entries(entries, Cast(entries))
    assert picture.node("alice") is not None
    assert any(node.kind == "nat" for node in picture.nodes)


def test_given_places_are_kept() -> None:
    nodes = (PictureNode("a", "client", "lan", along=0.9, across=0.1), PictureNode("lan", "segment", "lan"))
    kept = arrange(Picture(nodes, (PictureLink("a", "lan"),), (PictureArea("lan", "LAN"),)))
    assert (kept.nodes[0].along, kept.nodes[0].across) == (0.9, 0.1)
