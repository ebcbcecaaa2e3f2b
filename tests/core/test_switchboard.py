"""Inputs find the child whose key they carry; outputs come up in order until everybody is quiet."""

from __future__ import annotations

import pytest

from iceway.core.address import Address
from iceway.core.machine import (
    AddressesChanged,
    ClockSet,
    CloseUdp,
    DatagramReceived,
    Input,
    OpenUdp,
    Outbox,
    Resolved,
    StreamAccepted,
    StreamClosed,
    UdpFailed,
    UdpOpened,
)
from iceway.core.switchboard import Switchboard

HERE, THERE = Address("192.0.2.1", 5000), Address("198.51.100.2", 3478)


class Child(Outbox):
    """Notes what it hears; wakes at `at`."""

    def __init__(self, at: float | None = None) -> None:
        super().__init__()
        self.heard: list[Input] = []
        self.woken: list[float] = []
        self.at = at

    def handle_input(self, event: Input, now: float) -> None:
        self.heard.append(event)

    def handle_timeout(self, now: float) -> None:
        self.woken.append(now)

    def poll_timeout(self) -> float | None:
        return self.at


@pytest.fixture
def family() -> tuple[Switchboard, Child, Child, Child]:
    board = Switchboard()
    call, ice, sip = Child(), Child(), Child()
    board.add("call.1", call)
    board.add("call.1/ice", ice)
    board.add("sip", sip)
    return board, call, ice, sip


Family = tuple[Switchboard, Child, Child, Child]


def test_the_longest_prefix_wins(family: Family) -> None:
    board, call, ice, _ = family
    assert board.owner("call.1/ice/udp") == "call.1/ice"
    assert board.owner("call.1/icecream/udp") == "call.1"
    assert board.owner("call.10/udp") is None
    assert board.owner("call.1") is None
    assert board.owner("") is None
    assert board.route(UdpFailed("call.1/ice/udp", "in use"), 0.0)
    assert board.route(UdpFailed("call.1/rtp", "in use"), 0.0)
    assert (len(call.heard), len(ice.heard)) == (1, 1)


def test_streams_listeners_and_look_ups_route_by_key(family: Family) -> None:
    board, _, _, sip = family
    events: list[Input] = [
        StreamAccepted("sip/tls/7", "sip/tls", HERE, THERE),
        StreamClosed("sip/tls/7", "closed by peer"),
        Resolved("sip/locate", "example.test", "SRV"),
    ]
    for event in events:
        assert board.route(event, 0.0)
    assert sip.heard == events


def test_datagrams_go_to_whoever_opened_the_socket(family: Family) -> None:
    board, _, ice, _ = family
    packet = DatagramReceived(HERE, THERE, b"x")
    assert not board.route(packet, 0.0)
    assert board.route(UdpOpened("call.1/ice/udp", HERE), 0.0)
    assert board.route(packet, 0.0)
    assert ice.heard[-1] == packet
    ice.emit(CloseUdp(HERE))
    assert list(board.outputs()) == [("call.1/ice", CloseUdp(HERE))]
    assert not board.route(packet, 0.0)


def test_a_removed_child_hears_nothing_more(family: Family) -> None:
    board, call, ice, _ = family
    board.route(UdpOpened("call.1/ice/udp", HERE), 0.0)
    board.remove("call.1/ice")
    assert not board.route(DatagramReceived(HERE, THERE, b"x"), 0.0)
    assert board.route(UdpFailed("call.1/ice/udp", "late"), 0.0)  # the parent's prefix is left
    assert ice.heard == [UdpOpened("call.1/ice/udp", HERE)]
    assert call.heard == [UdpFailed("call.1/ice/udp", "late")]


def test_clock_and_addresses_reach_everybody(family: Family) -> None:
    board, *children = family
    events: list[Input] = [ClockSet(1e9), AddressesChanged(("192.0.2.1",))]
    for event in events:
        assert board.route(event, 0.0)
    assert all(child.heard == events for child in children)


def test_only_due_children_are_woken() -> None:
    board = Switchboard()
    early, late, never = Child(1.0), Child(2.0), Child()
    for name, child in (("early", early), ("late", late), ("never", never)):
        board.add(name, child)
    assert board.poll_timeout() == 1.0
    board.handle_timeout(1.5)
    assert (early.woken, late.woken, never.woken) == ([1.5], [], [])
    assert Switchboard().poll_timeout() is None


def test_outputs_are_drained_until_all_are_quiet(family: Family) -> None:
    board, call, ice, sip = family
    call.emit("offer")
    seen = []
    for name, output in board.outputs():
        seen.append((name, output))
        if output == "offer":
            sip.emit(OpenUdp("sip/udp", HERE))
            call.emit("again")
        if isinstance(output, OpenUdp):
            call.emit("answer")  # an earlier child speaks up after its turn
            ice.emit("late")
    assert seen == [
        ("call.1", "offer"),
        ("call.1", "again"),
        ("sip", OpenUdp("sip/udp", HERE)),
        ("call.1", "answer"),
        ("call.1/ice", "late"),
    ]
