"""The STUN messages of connectivity checks (RFC 8445 §7): how they are built, and what makes one authentic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iceway.core.address import Address
from iceway.wire import stun
from iceway.wire.stun import Attribute, MessageClass, Method, StunMessage

if TYPE_CHECKING:
    from random import Random

_ICE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # RFC 8839 §5.4


@dataclass(frozen=True, slots=True)
class Credentials:
    """One side's user name fragment and password (RFC 8445 §5.3)."""

    ufrag: str
    pwd: str

    @classmethod
    def drawn(cls, rng: Random) -> Credentials:
        """RFC 8445 §5.3 wants 24 bits in the ufrag and 128 in the password; these hold 48 and 144."""
        text = "".join(rng.choice(_ICE_CHARACTERS) for _ in range(32))
        return cls(text[:8], text[8:])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not authentic, as an error answer says it (RFC 8489 §9.1.3)."""

    code: int
    reason: str


def transaction_id(rng: Random) -> bytes:
    return rng.getrandbits(96).to_bytes(12, "big")


def check_request(
    transaction_id: bytes,
    local: Credentials,
    remote: Credentials,
    *,
    priority: int,
    controlling: bool,
    tie_breaker: int,
    nominate: bool = False,
    nomination: int | None = None,
) -> bytes:
    """A check (RFC 8445 §7.1), which also serves as consent request (RFC 7675 §5.1).

    `nomination` numbers nominations for peers that follow the highest.
    """
    role = stun.ICE_CONTROLLING if controlling else stun.ICE_CONTROLLED
    attributes: list[tuple[Attribute[Any], Any]] = [
        stun.USERNAME(f"{remote.ufrag}:{local.ufrag}".encode()),
        stun.PRIORITY(priority),
        role(tie_breaker),
    ]
    if nominate:
        attributes.append(stun.USE_CANDIDATE(True))
    if nomination is not None:
        attributes.append(stun.NOMINATION(nomination))
    message = StunMessage(Method.BINDING, MessageClass.REQUEST, transaction_id, tuple(attributes))
    return stun.serialize(message, stun.short_term_key(remote.pwd), fingerprint=True)


def check_success(request: StunMessage, local: Credentials, source: Address) -> bytes:
    """RFC 8445 §7.3.1.2: tells the peer where its check came from."""
    answer = stun.success_response(request, stun.XOR_MAPPED_ADDRESS(source))
    return stun.serialize(answer, stun.short_term_key(local.pwd), fingerprint=True)


def check_error(request: StunMessage, refusal: Refusal, local: Credentials | None) -> bytes:
    """An error answer; signed only if the request was authentic (`local` given)."""
    extra = (stun.UNKNOWN_ATTRIBUTES(request.unknown_required),) if refusal.code == 420 else ()
    answer = stun.error_response(request, refusal.code, refusal.reason, *extra)
    return stun.serialize(answer, stun.short_term_key(local.pwd) if local else None, fingerprint=True)


def keepalive_indication(transaction_id: bytes) -> bytes:
    """RFC 8445 §11: nobody answers it; it only keeps the NATs on the way awake."""
    message = StunMessage(Method.BINDING, MessageClass.INDICATION, transaction_id)
    return stun.serialize(message, fingerprint=True)


def user_fragments(request: StunMessage) -> tuple[str, str] | None:
    """The receiver's and the sender's ufrag as a check's USERNAME names them."""
    username = request.get(stun.USERNAME)
    if username is None:
        return None
    ours, colon, theirs = username.decode("utf-8", "replace").partition(":")
    return (ours, theirs) if colon else None


def authenticate(request: StunMessage, local: Credentials) -> Refusal | None:
    """None if the request is authentic and complete (RFC 8489 §9.1.3, §6.3.1)."""
    if not request.has_integrity or request.get(stun.USERNAME) is None:
        return Refusal(400, "Bad Request")
    if not stun.verify_integrity(request, stun.short_term_key(local.pwd)):
        return Refusal(401, "Unauthenticated")
    if request.unknown_required:
        return Refusal(420, "Unknown Attribute")
    return None
