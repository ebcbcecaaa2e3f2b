"""Multicast DNS: whatever is said on a link, ParseError or a message; and the agent's part of it says little back."""

from __future__ import annotations

import random
from collections.abc import Iterator

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.core.machine import MulticastOpened, MulticastReceived, SendMulticast
from iceway.ice.mdns import Names
from iceway.wire.mdns import HostRecord, MdnsMessage, Question, host_name, parse, serialize

NAME, OURS, NEIGHBOUR = "0b1c.local", "192.0.2.1", Address("192.0.2.9", 5353)
MESSAGES = (
    MdnsMessage(True, (), (HostRecord(NAME, "192.0.2.9"), HostRecord(NAME, "2001:db8::9", 0))),
    MdnsMessage(False, (Question(NAME, (4,), unicast=True),), (HostRecord(NAME, "192.0.2.9"),), 77),
)
FOUND: tuple[bytes, ...] = ()


class Seat:
    """An agent that hides, and asks for a name."""

    def __init__(self) -> None:
        self.sent = 0
        self.names = Names("a", True, random.Random(1), self)
        self.names.interfaces((OURS,), 0.0)
        self.names.handle_input(MulticastOpened("a/mdns.1"), 0.0)
        self.names.find(NAME, 0.0)

    def emit(self, output: object) -> None:
        self.sent += isinstance(output, SendMulticast)

    def name_resolved(self, name: str, ip: str | None, now: float) -> None:
        assert name == NAME


def check(data: bytes) -> None:
    seat = Seat()
    before = seat.sent
    for _ in range(3):
        seat.names.handle_input(MulticastReceived("a/mdns.1", NEIGHBOUR, data), 1.0)
    assert seat.sent - before <= 4
    try:
        message = parse(data)
    except ParseError:
        return
    assert all(host_name(one.name) == one.name for one in (*message.questions, *message.records))
    some = MdnsMessage(message.response, (), message.records[:16], message.id)
    assert parse(serialize(some)) == some


def seeds() -> Iterator[bytes]:
    yield from map(serialize, MESSAGES)
