"""Connections that have not said yet which agent they want, on the one TCP listener of a mux.

The first framed packet (RFC 4571) must be a check for an agent that is here: a STUN Binding request with
integrity whose USERNAME begins with a known ufrag. Whoever sends something else, or nothing for some seconds,
is cut off. How many may stand at the door is limited, in all and by site, so that one cannot keep others out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from iceway.core.address import Address, site_of
from iceway.core.errors import ParseError
from iceway.ice.messages import user_fragments
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage

MAX_FIRST = 1500  # bytes of a first packet; a check has some 120
HEADER = 2


@dataclass(slots=True)
class Visitor:
    """A connection at the door of the listener at `local`, and what it has said so far."""

    stream: str
    local: Address
    remote: Address
    said: bytearray = field(default_factory=bytearray)


class Doors:
    """Who stands at the door."""

    def __init__(self, most: int, most_per_site: int) -> None:
        self._most = most
        self._most_per_site = most_per_site
        self._visitors: dict[str, Visitor] = {}
        self._sites: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._visitors)

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self._visitors)

    def get(self, stream: str) -> Visitor | None:
        return self._visitors.get(stream)

    def come(self, visitor: Visitor) -> bool:
        """False: there is no room."""
        site = site_of(visitor.remote.ip)
        if len(self._visitors) >= self._most or self._sites[site] >= self._most_per_site:
            return False
        self._visitors[visitor.stream] = visitor
        self._sites[site] += 1
        return True

    def leave(self, stream: str) -> Visitor | None:
        visitor = self._visitors.pop(stream, None)
        if visitor is not None:
            site = site_of(visitor.remote.ip)
            self._sites[site] -= 1
            if not self._sites[site]:
                del self._sites[site]
        return visitor


def ufrag_of(message: StunMessage) -> str | None:
    """The ufrag of the agent that a check is for; None if it is no check that could be authentic."""
    if message.method != Method.BINDING or message.message_class is not MessageClass.REQUEST:
        return None
    fragments = user_fragments(message) if message.has_integrity else None
    return fragments[0] if fragments else None


def first_word(said: bytes | bytearray) -> str | None:
    """The ufrag that a connection asks for; None while it has not said enough. Raises ParseError."""
    if len(said) < HEADER:
        return None
    size = int.from_bytes(said[:HEADER], "big")
    if not stun.HEADER_SIZE <= size <= MAX_FIRST:
        raise ParseError(f"a first packet of {size} bytes is no check")
    if len(said) < HEADER + size:
        return None
    packet = bytes(said[HEADER : HEADER + size])
    if not stun.is_stun(packet):
        raise ParseError("the first packet is not STUN")
    ufrag = ufrag_of(stun.parse(packet))
    if ufrag is None:
        raise ParseError("the first packet is no check")
    return ufrag
