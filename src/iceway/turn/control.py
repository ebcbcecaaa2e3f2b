"""The requests of STUN and TURN, as a server answers them (RFC 8489 §6.3, §9.2.4; RFC 8656 §7–§12).

Each request passes the same gates (unknown attributes, credentials, its allocation) and then one handler.
The answer to an authenticated request is remembered for a while, so that a retransmission gets the same answer
and changes nothing. What is refused is recorded with the cause as the server knows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from iceway.core.address import Address, PeerAddress, Transport
from iceway.core.machine import SendDatagram, SendStream
from iceway.trace.records import ChannelBound, PermissionInstalled, RelayRefused
from iceway.turn.allocation import Allocation, Client
from iceway.turn.auth import UNAUTHORIZED, Accepted, Authenticator, Nonces
from iceway.turn.config import TurnServerConfig
from iceway.turn.relay import Relay
from iceway.turn.strangers import Strangers
from iceway.turn.trace import stun_received, stun_sent
from iceway.wire import stun
from iceway.wire.channel_data import FIRST_CHANNEL, LAST_OLD_CHANNEL
from iceway.wire.stun import Method, StunMessage

ANSWER_LIFETIME = 40.0
"""How long answers are remembered: a request may be sent again for 39.5 s (RFC 8489 §6.2.1)."""
MAX_ANSWERS = 20_000
EVEN_PORT_TRIES = 8

Pairs = tuple[tuple[stun.Attribute[Any], Any], ...]


@dataclass(slots=True, eq=False)
class OpeningRelay:
    """An Allocate request whose relayed socket is being opened."""

    client: Client
    request: StunMessage
    identity: Accepted
    lifetime: int
    family: int
    even_port: bool
    tries_left: int = EVEN_PORT_TRIES
    abandoned: bool = False

    @property
    def user_id(self) -> str:
        return self.identity.user_id


class Host(Protocol):
    """What the server does for us."""

    def emit(self, output: object) -> None: ...

    def open_relay(self, opening: OpeningRelay) -> None: ...

    @property
    def awaited(self) -> int: ...

    def awaited_by(self, user_id: str) -> int: ...

    def add_allocation(self, opening: OpeningRelay, local: Address, now: float) -> Allocation: ...

    def extend_allocation(self, allocation: Allocation, lifetime: int, now: float) -> None: ...

    def end_allocation(self, allocation: Allocation, reason: str, now: float | None = None) -> None: ...


class _Refusal(Exception):
    """The error answer to the request at hand. Raised by handlers, never leaves this file."""

    def __init__(self, code: int, detail: str, phrase: str | None = None, *attributes: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.phrase = phrase if phrase is not None else _PHRASES[code]
        self.attributes: Pairs = attributes


class Control:
    """Answers requests. The server owns clients and allocations; this decides about them."""

    def __init__(
        self,
        config: TurnServerConfig,
        authenticator: Authenticator,
        relay: Relay,
        strangers: Strangers,
        host: Host,
        families: frozenset[int],
    ) -> None:
        self.wall_offset = 0.0
        self._config = config
        self._authenticator = authenticator
        self._relay = relay
        self._strangers = strangers
        self._host = host
        self._families = families
        self._nonces = Nonces(b"")
        self._answers: dict[tuple[Address, Address, bytes], tuple[float, bytes, bytes]] = {}
        self._held: Counter[str] = Counter()
        self._handlers: dict[int, Callable[[Client, StunMessage, Accepted, float], Pairs | None]] = {
            Method.ALLOCATE: self._allocate,
            Method.REFRESH: self._refresh,
            Method.CREATE_PERMISSION: self._create_permission,
            Method.CHANNEL_BIND: self._channel_bind,
        }

    def start(self, nonce_key: bytes) -> None:
        self._nonces = Nonces(nonce_key)

    # --- requests -------------------------------------------------------------------------------------
    def handle_request(self, client: Client, request: StunMessage, now: float) -> None:
        if request.transaction_id == client.awaiting:
            return
        emit = self._host.emit
        emit(stun_received(request, client.transport, client.local, client.remote))
        if request.method == Method.BINDING:
            self._answer_binding(client, request)
            return
        remembered = self._answers.get((client.local, client.remote, request.transaction_id))
        if remembered is not None and remembered[0] > now and remembered[1] == request.raw:
            self._put(client, remembered[2])
            return
        handler = self._handlers.get(request.method)
        identity: Accepted | None = None
        try:
            if handler is None:
                raise _Refusal(400, f"no such method: {request.method_name}")
            identity = self._authenticate(client, request, now)
            if request.unknown_required:
                types = ", ".join(f"0x{type:04X}" for type in request.unknown_required)
                unknown = stun.UNKNOWN_ATTRIBUTES(request.unknown_required)
                raise _Refusal(420, f"unknown attributes {types}", None, unknown)
            attributes = handler(client, request, identity, now)
        except _Refusal as refusal:
            self._refuse(client, request, refusal, identity, now)
            return
        if attributes is not None:
            self._succeed(client, request, identity, attributes, now)

    def _answer_binding(self, client: Client, request: StunMessage) -> None:
        """RFC 8489 §11; open to everybody, and therefore short."""
        if request.unknown_required:
            unknown = stun.UNKNOWN_ATTRIBUTES(request.unknown_required)
            answer = stun.error_response(request, 420, _PHRASES[420], unknown)
        else:
            answer = stun.success_response(request, stun.XOR_MAPPED_ADDRESS(client.remote))
        self._put(client, stun.serialize(answer, fingerprint=request.has_fingerprint))

    # --- gates ----------------------------------------------------------------------------------------
    def _authenticate(self, client: Client, request: StunMessage, now: float) -> Accepted:
        """RFC 8489 §9.2.4, in its order."""
        if not request.has_integrity:
            raise self._challenge(client, 401, "", now)
        username, realm = request.get(stun.USERNAME), request.get(stun.REALM)
        nonce = request.get(stun.NONCE)
        if username is None or realm is None or nonce is None:
            raise _Refusal(400, "MESSAGE-INTEGRITY without USERNAME, REALM or NONCE")
        if realm != self._config.realm:
            raise self._challenge(client, 401, f"realm {realm!r} is not ours", now)
        if not self._nonces.is_fresh(nonce, client.remote, now):
            raise self._challenge(client, 438, "", now)
        found = self._authenticator.lookup(username, realm, now + self.wall_offset)
        if not isinstance(found, Accepted):
            raise self._challenge(client, 401, found.reason, now, found.phrase)
        if not stun.verify_integrity(request, found.key):
            raise self._challenge(client, 401, f"wrong password for {found.user_id}", now)
        return found

    def _challenge(
        self, client: Client, code: int, detail: str, now: float, phrase: str | None = None
    ) -> _Refusal:
        """A 401 or 438 with what the client needs to try again. Without detail it is no refusal on record."""
        realm = stun.REALM(self._config.realm)
        nonce = stun.NONCE(self._nonces.make(client.remote, now))
        return _Refusal(code, detail, phrase, realm, nonce)

    def _own_allocation(self, client: Client, identity: Accepted) -> Allocation:
        """RFC 8656 §5: requests but Allocate need the client's allocation, and its owner's credentials.

        The owner is the user, not the user name: names with an expiry change when they are renewed.
        """
        allocation = client.allocation
        if allocation is None:
            raise _Refusal(437, "the client has no allocation here")
        if allocation.user_id != identity.user_id:
            raise _Refusal(441, f"the allocation belongs to {allocation.user_id}")
        return allocation

    # --- handlers: attributes of the success, or None when the answer comes later ------------------------
    def _allocate(self, client: Client, request: StunMessage, identity: Accepted, now: float) -> Pairs | None:
        """RFC 8656 §7.2."""
        if client.allocation is not None or client.awaiting is not None:
            raise _Refusal(437, "the client has an allocation already")
        transport = request.get(stun.REQUESTED_TRANSPORT)
        if transport is None:
            raise _Refusal(400, "no REQUESTED-TRANSPORT")
        if transport != stun.UDP_PROTOCOL:
            raise _Refusal(442, f"transport {transport} is not UDP")
        self._refuse_dont_fragment(request)
        even_port = request.get(stun.EVEN_PORT)
        token = request.get(stun.RESERVATION_TOKEN)
        wire_family = request.get(stun.REQUESTED_ADDRESS_FAMILY)
        if token is not None and (even_port is not None or wire_family is not None):
            raise _Refusal(400, "RESERVATION-TOKEN together with EVEN-PORT or REQUESTED-ADDRESS-FAMILY")
        if token is not None or even_port:
            raise _Refusal(508, "ports are not reserved here")
        family = 4 if wire_family is None else _FAMILIES.get(wire_family, 0)
        if family not in self._families:
            raise _Refusal(440, "no relayed addresses of this family here")
        config, user_id = self._config, identity.user_id
        if self._held[user_id] + self._host.awaited_by(user_id) >= config.max_allocations_per_user:
            raise _Refusal(486, f"{user_id} has {config.max_allocations_per_user} allocations")
        if len(self._relay.by_relayed) + self._host.awaited >= config.max_allocations:
            raise _Refusal(508, f"the relay has {config.max_allocations} allocations")
        client.awaiting = request.transaction_id
        lifetime = self._lifetime(request)
        self._host.open_relay(
            OpeningRelay(client, request, identity, lifetime, family, even_port is not None)
        )
        return None

    def relay_opened(self, opening: OpeningRelay, local: Address, now: float) -> None:
        """The answer to Allocate that waited for its socket."""
        opening.client.awaiting = None
        allocation = self._host.add_allocation(opening, local, now)
        self._held[allocation.user_id] += 1
        attributes: Pairs = (
            stun.XOR_RELAYED_ADDRESS(allocation.relayed),
            stun.LIFETIME(opening.lifetime),
            stun.XOR_MAPPED_ADDRESS(opening.client.remote),
        )
        self._succeed(opening.client, opening.request, opening.identity, attributes, now)

    def relay_failed(self, opening: OpeningRelay, reason: str, now: float) -> None:
        opening.client.awaiting = None
        refusal = _Refusal(508, f"no relayed socket: {reason}")
        self._refuse(opening.client, opening.request, refusal, opening.identity, now)

    def allocation_ended(self, allocation: Allocation) -> None:
        self._held[allocation.user_id] -= 1
        if not self._held[allocation.user_id]:
            del self._held[allocation.user_id]

    def _refresh(self, client: Client, request: StunMessage, identity: Accepted, now: float) -> Pairs:
        """RFC 8656 §8.2."""
        allocation = self._own_allocation(client, identity)
        wire_family = request.get(stun.REQUESTED_ADDRESS_FAMILY)
        if wire_family is not None and _FAMILIES.get(wire_family) != allocation.relayed.family:
            raise _Refusal(443, "the allocation is of the other family")
        if request.get(stun.LIFETIME) == 0:
            self._host.end_allocation(allocation, "released by client", now)
            return (stun.LIFETIME(0),)
        lifetime = self._lifetime(request)
        self._host.extend_allocation(allocation, lifetime, now)
        return (stun.LIFETIME(lifetime),)

    def _create_permission(
        self, client: Client, request: StunMessage, identity: Accepted, now: float
    ) -> Pairs:
        """RFC 8656 §10.2: all of the peers or none."""
        allocation = self._own_allocation(client, identity)
        ips = [peer.ip for peer in request.all(stun.XOR_PEER_ADDRESS)]
        if not ips:
            raise _Refusal(400, "no XOR-PEER-ADDRESS")
        for ip in ips:
            self._refuse_family(allocation, ip)
            if (why := self._relay.refusal_of_ip(ip)) is not None:
                raise _Refusal(403, why)
        limit = self._config.max_permissions
        if not allocation.room_for_permissions(set(ips), limit, now):
            raise _Refusal(508, f"the allocation has {limit} permissions")
        for ip in ips:
            if allocation.permit(ip, now):
                self._host.emit(PermissionInstalled(allocation.relayed, ip))
        return ()

    def _channel_bind(self, client: Client, request: StunMessage, identity: Accepted, now: float) -> Pairs:
        """RFC 8656 §12.2."""
        allocation = self._own_allocation(client, identity)
        number, peer = request.get(stun.CHANNEL_NUMBER), request.get(stun.XOR_PEER_ADDRESS)
        if number is None or peer is None:
            raise _Refusal(400, "no CHANNEL-NUMBER or no XOR-PEER-ADDRESS")
        if not FIRST_CHANNEL <= number <= LAST_OLD_CHANNEL:
            raise _Refusal(400, f"0x{number:04X} is no channel number")
        if not peer.port:
            raise _Refusal(400, "a peer with port 0")
        self._refuse_family(allocation, peer.ip)
        if (why := self._relay.refusal_of_peer(peer)) is not None:
            raise _Refusal(403, why)
        limit, wire_number = self._config.max_permissions, number.to_bytes(2, "big")
        if (why := allocation.channel_conflict(wire_number, peer, limit, now)) is not None:
            raise _Refusal(400, why)
        if not allocation.room_for_permissions({peer.ip}, limit, now):
            raise _Refusal(508, f"the allocation has {limit} permissions")
        if not allocation.permits(peer.ip, now):
            self._host.emit(PermissionInstalled(allocation.relayed, peer.ip))
        if allocation.bind(wire_number, PeerAddress(peer), now):
            self._host.emit(ChannelBound(allocation.relayed, number, peer))
        return ()

    def _refuse_family(self, allocation: Allocation, ip: str) -> None:
        if (":" in ip) != (allocation.relayed.family == 6):
            raise _Refusal(443, f"{ip} is not of the family of {allocation.relayed}")

    def _refuse_dont_fragment(self, request: StunMessage) -> None:
        """We cannot set DF, and say so as if we had never heard of it (RFC 8656 §7.2)."""
        if request.get(stun.DONT_FRAGMENT):
            unknown = stun.UNKNOWN_ATTRIBUTES((stun.DONT_FRAGMENT.type,))
            raise _Refusal(420, "DONT-FRAGMENT is not supported", None, unknown)

    def _lifetime(self, request: StunMessage) -> int:
        """What was asked for, no less than the default and no more than the maximum (RFC 8656 §7.2)."""
        asked = request.get(stun.LIFETIME)
        default = self._config.default_lifetime
        return default if asked is None else min(max(asked, default), self._config.max_lifetime)

    # --- answers --------------------------------------------------------------------------------------
    def _succeed(
        self, client: Client, request: StunMessage, identity: Accepted, attributes: Pairs, now: float
    ) -> None:
        answer = stun.success_response(request, *attributes, stun.SOFTWARE(self._config.software))
        self._answer(client, request, answer, identity, now)

    def _refuse(
        self,
        client: Client,
        request: StunMessage,
        refusal: _Refusal,
        identity: Accepted | None,
        now: float,
    ) -> None:
        if refusal.detail:
            self._host.emit(
                RelayRefused(
                    client.remote,
                    client.transport.value,
                    request.method_name,
                    refusal.code,
                    refusal.detail,
                    identity.user_id if identity else "",
                )
            )
        answer = stun.error_response(request, refusal.code, refusal.phrase, *refusal.attributes)
        self._answer(client, request, answer, identity, now)

    def _answer(
        self,
        client: Client,
        request: StunMessage,
        answer: StunMessage,
        identity: Accepted | None,
        now: float,
    ) -> None:
        data = stun.serialize(
            answer,
            identity.key if identity else None,
            sha256=request.integrity_sha256_at is not None,
            fingerprint=request.has_fingerprint,
        )
        if identity is not None and client.transport is Transport.UDP:
            self._remember(client, request, data, now)
        self._put(client, data)

    def _remember(self, client: Client, request: StunMessage, answer: bytes, now: float) -> None:
        while self._answers:
            oldest = next(iter(self._answers))
            if self._answers[oldest][0] > now and len(self._answers) < MAX_ANSWERS:
                break
            del self._answers[oldest]
        key = client.local, client.remote, request.transaction_id
        self._answers[key] = now + ANSWER_LIFETIME, request.raw, answer

    def _put(self, client: Client, data: bytes) -> None:
        if client.stream is None:
            self._host.emit(SendDatagram(client.local, client.remote, data))
        else:
            self._host.emit(SendStream(client.stream, data))
        self._host.emit(stun_sent(data, client.transport, client.local, client.remote))


_FAMILIES = {stun.FAMILY_IPV4: 4, stun.FAMILY_IPV6: 6}
_PHRASES = {
    400: "Bad Request",
    401: UNAUTHORIZED,
    403: "Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    486: "Allocation Quota Reached",
    508: "Insufficient Capacity",
}
