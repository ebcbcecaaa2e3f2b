"""How a TCP port looks from outside a NAT (RFC 6544 §5.2): STUN over TCP, from the port that a candidate has.

Each server is asked once from each listener, all at once. The message is bare STUN, without the frames that
checks have. The connection is kept and its NAT kept awake for as long as candidates may be needed, because the
mapping is what the candidate is. A server that hangs up later changes nothing, and one that says nothing within
some seconds has nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.core.machine import (
    CloseStream,
    Connect,
    Input,
    SendStream,
    StreamClosed,
    StreamConnected,
    StreamReceived,
)
from iceway.core.timers import Timers
from iceway.ice.config import AgentConfig, IceServer, ServerKind
from iceway.ice.messages import keepalive_indication, transaction_id
from iceway.trace import records
from iceway.turn.trace import stun_received, stun_sent
from iceway.wire import stun
from iceway.wire.stun import MessageClass, Method, StunMessage

if TYPE_CHECKING:
    from random import Random

MAX_INQUIRIES = 32  # connections of one agent
ANSWER_WITHIN = 10.0  # with its connection
MAX_ANSWER = 1500


class Owner(Protocol):
    """The TCP side of the agent."""

    def emit(self, output: object) -> None: ...

    def seen_from_outside(
        self, base: Address, server: IceServer, asked: Address, mapped: Address, now: float
    ) -> None:
        """A connection from the base came to the server from `mapped`."""


@dataclass(slots=True, eq=False)
class _Inquiry:
    """One server asked from one base. `transaction_id` is empty until the question has left."""

    stream: str
    base: Address
    server: IceServer
    address: Address
    transaction_id: bytes = b""
    asked_at: float = 0.0
    answered: bool = False
    said: bytearray = field(default_factory=bytearray)


class Outside:
    """All inquiries of one agent. Its outputs leave through the owner's queue."""

    def __init__(self, agent: str, config: AgentConfig, rng: Random, owner: Owner) -> None:
        self._agent = agent
        self._keepalive = config.keepalive
        self._rng = rng
        self._owner = owner
        self._timers = Timers()
        self._servers: dict[Address, IceServer] = {}
        self._bases: dict[Address, None] = {}
        self._inquiries: dict[str, _Inquiry] = {}
        self._count = 0

    @property
    def asking(self) -> bool:
        return any(not inquiry.answered for inquiry in self._inquiries.values())

    # --- commands ----------------------------------------------------------------------------------------
    def ask(self, server: IceServer, address: Address, now: float) -> None:
        """A further server; a restart asks known ones again."""
        self._servers[address] = server
        for base in self._bases:
            self._inquire(base, server, address, now)

    def come(self, base: Address, now: float) -> None:
        """A further listener."""
        self._bases[base] = None
        for address, server in self._servers.items():
            self._inquire(base, server, address, now)

    def leave(self, base: Address) -> None:
        self._bases.pop(base, None)
        for inquiry in [inquiry for inquiry in self._inquiries.values() if inquiry.base == base]:
            self._end(inquiry)

    def release(self) -> None:
        for inquiry in list(self._inquiries.values()):
            self._end(inquiry)

    # --- inputs ------------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> bool:
        """False: it is not about these connections."""
        match event:
            case StreamConnected(stream=stream) if stream in self._inquiries:
                self._connected(self._inquiries[stream], now)
            case StreamReceived(stream=stream, data=data) if stream in self._inquiries:
                self._received(self._inquiries[stream], data, now)
            case StreamClosed(stream=stream, reason=reason) if stream in self._inquiries:
                self._failed(self._inquiries.pop(stream), reason)
            case _:
                return False
        return True

    def handle_timeout(self, now: float) -> None:
        for stream in self._timers.due(now):
            inquiry = self._inquiries[str(stream)]
            if inquiry.answered:
                self._say(inquiry, keepalive_indication(transaction_id(self._rng)))
                self._timers.arm(inquiry.stream, now + self._keepalive)
            else:
                self._end(inquiry)
                self._failed(inquiry, f"no answer over TCP in {ANSWER_WITHIN:.0f} s")

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- one inquiry -------------------------------------------------------------------------------------
    def _inquire(self, base: Address, server: IceServer, address: Address, now: float) -> None:
        known = any((i.base, i.address) == (base, address) for i in self._inquiries.values())
        if known or base.family != address.family or len(self._inquiries) >= MAX_INQUIRIES:
            return
        self._count += 1
        stream = f"{self._agent}/outside.{self._count}"
        self._inquiries[stream] = _Inquiry(stream, base, server, address)
        self._timers.arm(stream, now + ANSWER_WITHIN)
        self._owner.emit(Connect(stream, address, base.ip, local_port=base.port))

    def _connected(self, inquiry: _Inquiry, now: float) -> None:
        inquiry.transaction_id, inquiry.asked_at = transaction_id(self._rng), now
        request = StunMessage(Method.BINDING, MessageClass.REQUEST, inquiry.transaction_id)
        self._say(inquiry, stun.serialize(request, fingerprint=True))

    def _received(self, inquiry: _Inquiry, data: bytes, now: float) -> None:
        if inquiry.answered:
            return
        said = inquiry.said
        said += data
        if len(said) < stun.HEADER_SIZE:
            return
        size = stun.HEADER_SIZE + int.from_bytes(said[2:4], "big")
        if size > MAX_ANSWER:
            self._refuse(inquiry, f"its answer of {size} bytes is no STUN")
        elif len(said) >= size:
            self._answered(inquiry, bytes(said[:size]), now)

    def _answered(self, inquiry: _Inquiry, data: bytes, now: float) -> None:
        try:
            message = stun.parse(data)
        except ParseError as error:
            self._owner.emit(records.Malformed("stun", inquiry.address, str(error), len(data)))
            self._refuse(inquiry, "its answer is no STUN")
            return
        self._owner.emit(stun_received(message, Transport.TCP, inquiry.base, inquiry.address))
        mapped = message.get(stun.XOR_MAPPED_ADDRESS) or message.get(stun.MAPPED_ADDRESS)
        ours = message.method == Method.BINDING and message.transaction_id == inquiry.transaction_id
        if not ours or message.message_class is not MessageClass.SUCCESS or mapped is None:
            self._refuse(inquiry, "its answer names no mapped address")
            return
        inquiry.answered = True
        inquiry.said.clear()
        self._timers.arm(inquiry.stream, now + self._keepalive)
        self._owner.emit(
            records.ServerAnswered(self._agent, inquiry.server.label, inquiry.base, now - inquiry.asked_at)
        )
        self._owner.seen_from_outside(inquiry.base, inquiry.server, inquiry.address, mapped, now)

    def _refuse(self, inquiry: _Inquiry, reason: str) -> None:
        self._end(inquiry)
        self._failed(inquiry, reason)

    def _failed(self, inquiry: _Inquiry, reason: str) -> None:
        self._timers.cancel(inquiry.stream)
        if (
            not inquiry.answered and inquiry.server.kind is ServerKind.STUN
        ):  # A relay's client tells by itself.
            label = inquiry.server.label
            self._owner.emit(records.ServerUnreachable(self._agent, label, reason))

    def _say(self, inquiry: _Inquiry, data: bytes) -> None:
        self._owner.emit(SendStream(inquiry.stream, data))
        self._owner.emit(stun_sent(data, Transport.TCP, inquiry.base, inquiry.address))

    def _end(self, inquiry: _Inquiry) -> None:
        self._timers.cancel(inquiry.stream)
        del self._inquiries[inquiry.stream]
        # Aborted, or the kernel would keep the way from this port to the server closed for a minute (TIME-WAIT).
        self._owner.emit(CloseStream(inquiry.stream, abort=True))
