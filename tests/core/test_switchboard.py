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


# --- children that rest -----------------------------------------------------------------------------------
class Counting(Child):
    """Counts how often it is asked for anything."""

    def __init__(self, at: float | None = None) -> None:
        super().__init__(at)
        self.asked = 0

    def poll_output(self) -> object | None:
        self.asked += 1
        return super().poll_output()

    def poll_timeout(self) -> float | None:
        self.asked += 1
        return super().poll_timeout()

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.at = None


def resting(*deadlines: float | None) -> tuple[Switchboard, list[Counting]]:
    board = Switchboard()
    children = [Counting(at) for at in deadlines]
    for number, child in enumerate(children):
        board.add(f"call.{number}", child, rests=True)
    list(board.outputs())
    board.poll_timeout()
    for child in children:
        child.asked = 0
    return board, children


def test_who_rests_is_not_asked_again_before_something_happens_to_it() -> None:
    board, (one, other) = resting(5.0, 7.0)
    for _ in range(3):
        assert board.poll_timeout() == 5.0
        assert list(board.outputs()) == []
    assert (one.asked, other.asked) == (0, 0)
    board.route(Resolved("call.1/srv", "a.test", "A"), 1.0)
    other.emit("heard")
    other.at = 3.0
    assert list(board.outputs()) == [("call.1", "heard")]
    assert board.poll_timeout() == 3.0
    assert one.asked == 0


def test_who_rests_is_woken_by_its_own_deadline_and_no_other() -> None:
    board, (one, other) = resting(5.0, 7.0)
    board.handle_timeout(6.0)
    assert (one.woken, other.woken) == ([6.0], [])
    assert board.poll_timeout() == 7.0
    board.handle_timeout(8.0)
    assert other.woken == [8.0]
    assert board.poll_timeout() is None


def test_what_the_parent_does_to_a_child_counts_once_it_says_so() -> None:
    board, (one, other) = resting(None, None)
    one.emit("done")
    one.at = 2.0
    assert list(board.outputs()) == []
    board.wake("call.0")
    assert list(board.outputs()) == [("call.0", "done")]
    assert board.poll_timeout() == 2.0
    assert other.asked == 0
    board.wake()
    list(board.outputs())
    assert other.asked > 0


def test_a_consumer_that_wakes_others_hears_them_in_the_same_drain() -> None:
    board, (one, other) = resting(None, None)
    board.route(Resolved("call.1/srv", "a.test", "A"), 1.0)
    other.emit("first")
    heard = []
    for name, output in board.outputs():
        heard.append((name, output))
        if output == "first":
            board.wake("call.0")
            one.emit("second")
    assert heard == [("call.1", "first"), ("call.0", "second")]


def test_whoever_was_touched_is_told_once_and_in_order() -> None:
    board, _ = resting(None, 1.0, None)
    board.stirred()
    board.handle_timeout(2.0)
    board.route(ClockSet(0.0), 2.0)
    assert board.stirred() == ["call.0", "call.1", "call.2"]
    assert board.stirred() == []
    board.wake("call.2")
    board.remove("call.2")
    assert board.stirred() == []


def test_who_is_restless_is_asked_each_time() -> None:
    board, (one,) = resting(None)
    restless = Counting(9.0)
    board.add("ua", restless)
    for at in (9.0, 4.0, None):
        restless.at = at
        assert board.poll_timeout() == at
    restless.emit("x")
    assert list(board.outputs()) == [("ua", "x")]
    board.wake("ua")
    assert one.asked == 0
