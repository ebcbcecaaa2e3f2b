"""Frames on a wire: who they are for, which of them the link is for, and that no frame breaks it."""

from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.lab.crossing import Crossing
from iceway.lab.topology import Link
from iceway.lab.wires import Wire, is_discovery

ALL = b"\xff" * 6
MACS = [bytes([2, 0, 0, 0, 0, n]) for n in range(3)]


def wire(link):
    ports = [SimpleNamespace(device=f"port{n}") for n in range(3)]
    return Wire(Crossing(link, Random(1)), ports), ports


def frame(to, source, kind=b"\x08\x00", body=b"-" * 46):
    return to + source + kind + body


def icmpv6(number, *, reports=False):
    """An IPv6 packet with an ICMPv6 message, behind a hop-by-hop header as reports of listeners have it."""
    message = (bytes([58, 0, 5, 2, 0, 0, 1, 0]) if reports else b"") + bytes([number, 0, 0, 0])
    header = b"\x60\x00\x00\x00" + len(message).to_bytes(2, "big") + bytes([0 if reports else 58, 255])
    return header + bytes(32) + message


def test_a_frame_goes_to_all_until_its_receiver_was_heard():
    lan, (a, b, c) = wire(Link(delay=0.02))
    assert lan.carry(frame(MACS[1], MACS[0]), a, 1.0) == [(1.02, b), (1.02, c)]
    assert lan.carry(frame(MACS[0], MACS[1]), b, 2.0) == [(2.02, a)]
    assert lan.carry(frame(MACS[1], MACS[0]), a, 3.0) == [(3.02, b)]
    assert lan.carry(frame(ALL, MACS[0]), a, 4.0) == [(4.02, b), (4.02, c)]


def test_finding_neighbours_costs_no_time_and_is_never_lost():
    lan, (a, b, c) = wire(Link(delay=0.02, loss=1.0))
    assert lan.carry(frame(ALL, MACS[0], b"\x08\x06"), a, 1.0) == [(1.0, b), (1.0, c)]
    assert lan.carry(frame(ALL, MACS[0], b"\x86\xdd", icmpv6(135)), a, 1.0) == [(1.0, b), (1.0, c)]
    assert lan.carry(frame(ALL, MACS[0]), a, 1.0) == []


@pytest.mark.parametrize("number", [130, 133, 135, 136, 143])
@pytest.mark.parametrize("reports", [True, False])
def test_messages_of_the_neighbourhood_are_known(number, reports):
    assert is_discovery(frame(ALL, MACS[0], b"\x86\xdd", icmpv6(number, reports=reports)))


@pytest.mark.parametrize("number", [1, 2, 3, 128, 129])
def test_errors_and_echoes_are_traffic(number):
    assert not is_discovery(frame(ALL, MACS[0], b"\x86\xdd", icmpv6(number)))


@given(st.binary(min_size=14, max_size=80))
def test_any_frame_is_carried(data):
    lan, (a, _, _) = wire(Link(delay=0.02))
    assert all(due in (1.0, 1.02) for due, _ in lan.carry(data, a, 1.0))
    lan.carry(data[:12] + b"\x86\xdd" + data, a, 1.0)
