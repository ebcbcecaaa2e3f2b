"""Which agent a packet belongs to, and that no table grows without end."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.ice.mux_routes import MAX_ADDRESSES, MAX_TRANSACTIONS, Routes

SOCKET, OTHER = Address("203.0.113.1", 3478), Address("203.0.113.2", 3478)


def remote(number: int) -> Address:
    return Address("198.51.100.1", number)


def two() -> Routes:
    routes = Routes()
    for agent in ("a", "b"):
        routes.add(agent)
        routes.answers_to(agent, (f"{agent}1",))
    return routes


def test_a_restart_adds_a_name_and_its_end_takes_the_old_one() -> None:
    routes = two()
    routes.answers_to("a", ("a2", "a1"))
    assert routes.of_ufrag("a1") == routes.of_ufrag("a2") == "a"
    routes.answers_to("a", ("a2",))
    assert (routes.of_ufrag("a1"), routes.of_ufrag("a2")) == (None, "a")


def test_a_name_that_two_drew_is_whose_it_was_first() -> None:
    routes = two()
    routes.answers_to("b", ("a1", "b1"))
    assert routes.of_ufrag("a1") == "a"
    routes.remove("b")
    assert routes.of_ufrag("a1") == "a"


def test_an_address_is_whose_it_was_last() -> None:
    routes = two()
    routes.proved("a", SOCKET, remote(1))
    routes.proved("b", SOCKET, remote(1))
    assert routes.of_way(SOCKET, remote(1)) == "b"
    routes.remove("a")
    assert routes.of_way(SOCKET, remote(1)) == "b"
    assert routes.of_way(OTHER, remote(1)) is None


def test_the_address_used_longest_ago_is_forgotten_first() -> None:
    routes = two()
    for number in range(MAX_ADDRESSES):
        routes.proved("a", SOCKET, remote(number))
    routes.proved("a", SOCKET, remote(0))
    routes.proved("a", SOCKET, remote(1000))
    assert routes.of_way(SOCKET, remote(0)) == "a"
    assert routes.of_way(SOCKET, remote(1)) is None


def test_tables_stay_bounded_and_empty_when_their_agents_are_gone() -> None:
    routes = two()
    for number in range(1000):
        routes.proved("a", SOCKET, remote(number))
        routes.asked("a", number.to_bytes(12, "big"))
        routes.asked("a", number.to_bytes(12, "big"))
    assert len(routes) == 2 + MAX_ADDRESSES + MAX_TRANSACTIONS
    assert routes.of_transaction((999).to_bytes(12, "big")) == "a"
    assert routes.of_transaction((0).to_bytes(12, "big")) is None
    routes.left("a", SOCKET)
    assert routes.of_way(SOCKET, remote(999)) is None
    routes.remove("a")
    routes.remove("b")
    assert len(routes) == 0
