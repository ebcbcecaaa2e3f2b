"""Interfaces and their sockets."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.core.machine import CloseUdp, OpenUdp
from iceway.ice.config import AgentConfig
from iceway.ice.interfaces import Change, Interfaces

ONE, TWO = "203.0.113.1", "203.0.113.2"


def made(**config: object) -> tuple[Interfaces, list[object]]:
    said: list[object] = []
    return Interfaces("a", AgentConfig(True, **config), said.append), said


def opened(interfaces: Interfaces, said: list[object]) -> None:
    for number, request in enumerate([r for r in said if isinstance(r, OpenUdp)]):
        interfaces.opened(request.key, Address(request.local.ip, 5000 + number))


def test_one_socket_a_component_and_a_rank_an_interface() -> None:
    interfaces, said = made(components=2, ports=(5000, 5010))
    interfaces.come((ONE, TWO))
    assert interfaces.opening
    assert {request.ports for request in said} == {(5000, 5010)}
    opened(interfaces, said)
    assert not interfaces.opening
    places = [(socket.local.ip, socket.component, socket.rank) for socket in interfaces.current]
    assert places == [(ONE, 1, 0), (ONE, 2, 0), (TWO, 1, 1), (TWO, 2, 1)]


def test_an_interface_that_comes_back_has_its_rank_and_a_new_socket() -> None:
    interfaces, said = made()
    interfaces.come((ONE, TWO))
    opened(interfaces, said)
    (left,) = interfaces.leave(ONE)
    assert left.leaving
    assert interfaces.changed((ONE, TWO)) == Change((ONE,), ())
    interfaces.come((ONE,))
    again = said[-1]
    assert again.key not in [request.key for request in said[:-1]]
    socket = interfaces.opened(again.key, Address(ONE, 6000))
    assert socket.rank == 0
    assert [s.local.port for s in interfaces.current] == [5001, 6000]


def test_a_second_socket_is_opened_once_and_is_no_base() -> None:
    interfaces, said = made()
    interfaces.come((ONE,))
    opened(interfaces, said)
    (socket,) = interfaces.current
    interfaces.open_second(socket)
    interfaces.open_second(socket)
    second = interfaces.opened(said[-1].key, Address(ONE, 7000))
    interfaces.open_second(socket)
    assert len(said) == 2
    assert second.relays_only
    assert (interfaces.is_base(socket.local), interfaces.is_base(second.local)) == (True, False)


def test_what_comes_too_late_is_closed() -> None:
    interfaces, said = made()
    interfaces.come((ONE,))
    interfaces.leave(ONE)
    late = Address(ONE, 5000)
    assert interfaces.opened(said[0].key, late) is None
    assert said[-1] == CloseUdp(late)
    assert interfaces.opened("stranger", late) is None


def test_addresses_become_canonical_and_unusable_ones_are_left_out() -> None:
    interfaces, _ = made()
    assert interfaces.usable(("2001:DB8:0::1", "fe80::1", "nonsense", ONE)) == ("2001:db8::1", ONE)
    assert interfaces.families == (4,), "while there is none"
