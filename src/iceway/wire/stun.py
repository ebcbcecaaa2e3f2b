"""STUN messages (RFC 8489) as values: `parse` bytes, look, build, `serialize`. TURN and ICE are usages of it.

The three attributes that are computed over the bytes (MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256,
FINGERPRINT) are not among `attributes`. `parse` checks the fingerprint and notes where integrity stands;
`verify_integrity` checks it over the bytes as they came; `serialize` appends them. What follows integrity is
ignored, as RFC 8489 §14.5 demands, so an attacker cannot append attributes.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from iceway.core.errors import ParseError, UsageError
from iceway.wire.stun_attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ALTERNATE_DOMAIN,
    ALTERNATE_SERVER,
    CHANGE_REQUEST,
    CHANNEL_NUMBER,
    DATA,
    DONT_FRAGMENT,
    ERROR_CODE,
    EVEN_PORT,
    FAMILY_IPV4,
    FAMILY_IPV6,
    FINGERPRINT,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    KNOWN,
    LIFETIME,
    MAGIC_COOKIE,
    MAPPED_ADDRESS,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NOMINATION,
    NONCE,
    OTHER_ADDRESS,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    PRIORITY,
    REALM,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    RESPONSE_ORIGIN,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USE_CANDIDATE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    Attribute,
    ErrorCode,
    PasswordAlgorithm,
    T,
    attribute_of,
)

__all__ = [
    "ADDITIONAL_ADDRESS_FAMILY",
    "ALTERNATE_DOMAIN",
    "ALTERNATE_SERVER",
    "CHANGE_REQUEST",
    "CHANNEL_NUMBER",
    "DATA",
    "DONT_FRAGMENT",
    "ERROR_CODE",
    "EVEN_PORT",
    "FAMILY_IPV4",
    "FAMILY_IPV6",
    "HEADER_SIZE",
    "ICE_CONTROLLED",
    "ICE_CONTROLLING",
    "LIFETIME",
    "MAPPED_ADDRESS",
    "NOMINATION",
    "NONCE",
    "OTHER_ADDRESS",
    "PASSWORD_ALGORITHM",
    "PASSWORD_ALGORITHMS",
    "PRIORITY",
    "REALM",
    "REQUESTED_ADDRESS_FAMILY",
    "REQUESTED_TRANSPORT",
    "RESERVATION_TOKEN",
    "RESPONSE_ORIGIN",
    "SOFTWARE",
    "UDP_PROTOCOL",
    "UNKNOWN_ATTRIBUTES",
    "USERHASH",
    "USERNAME",
    "USE_CANDIDATE",
    "XOR_MAPPED_ADDRESS",
    "XOR_PEER_ADDRESS",
    "XOR_RELAYED_ADDRESS",
    "Attribute",
    "ErrorCode",
    "MessageClass",
    "Method",
    "PasswordAlgorithm",
    "StunMessage",
    "describe",
    "error_response",
    "is_stun",
    "long_term_key",
    "parse",
    "serialize",
    "short_term_key",
    "success_response",
    "verify_integrity",
]

HEADER_SIZE = 20  # RFC 8489 §5
FINGERPRINT_XOR = 0x5354554E  # RFC 8489 §14.7
MAX_ATTRIBUTES = 64
UDP_PROTOCOL = 17  # REQUESTED-TRANSPORT, RFC 8656 §18.7

_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")


class Method(IntEnum):
    """RFC 8489 §18.1 and RFC 8656 §17."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class MessageClass(IntEnum):
    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


_METHOD_NAMES = {
    Method.BINDING: "Binding",
    Method.ALLOCATE: "Allocate",
    Method.REFRESH: "Refresh",
    Method.SEND: "Send",
    Method.DATA: "Data",
    Method.CREATE_PERMISSION: "CreatePermission",
    Method.CHANNEL_BIND: "ChannelBind",
}


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One message. Build attributes as pairs: `StunMessage(Method.BINDING, …, id, (PRIORITY(7),))`.

    The fields after `attributes` describe the bytes it was parsed from and do not count for equality.
    """

    method: int
    message_class: MessageClass
    transaction_id: bytes
    attributes: tuple[tuple[Attribute[Any], Any], ...] = ()
    raw: bytes = field(default=b"", compare=False, repr=False)
    integrity_at: int | None = field(default=None, compare=False, repr=False)
    integrity_sha256_at: int | None = field(default=None, compare=False, repr=False)
    has_fingerprint: bool = field(default=False, compare=False, repr=False)

    def get(self, attribute: Attribute[T]) -> T | None:
        """The value of the first such attribute (RFC 8489 §14: later ones are ignored), or None."""
        wanted = attribute.type
        for key, value in self.attributes:
            if key.type == wanted:
                found: T = value
                return found
        return None

    def all(self, attribute: Attribute[T]) -> tuple[T, ...]:
        """The values of all such attributes, for the few that may repeat (XOR-PEER-ADDRESS)."""
        return tuple(value for key, value in self.attributes if key.type == attribute.type)

    @property
    def has_integrity(self) -> bool:
        return self.integrity_at is not None or self.integrity_sha256_at is not None

    @property
    def unknown_required(self) -> tuple[int, ...]:
        """Comprehension-required attributes that iceway does not know: answer 420 (RFC 8489 §6.3.1)."""
        return tuple(key.type for key, _ in self.attributes if key.type < 0x8000 and key.type not in KNOWN)

    @property
    def method_name(self) -> str:
        """As records name it: "Allocate", "ChannelBind" …"""
        try:
            return _METHOD_NAMES[Method(self.method)]
        except ValueError:
            return f"0x{self.method:03X}"

    @property
    def class_name(self) -> str:
        """request, indication, success or error."""
        return self.message_class.name.lower()


def is_stun(data: bytes) -> bool:
    """Whether a datagram on a shared socket is STUN: its first byte (RFC 7983 §7) and the magic cookie.

    Both are needed: the first byte alone would take some payloads for STUN.
    """
    return len(data) >= HEADER_SIZE and data[0] < 4 and data[4:8] == _COOKIE


def parse(data: bytes) -> StunMessage:
    """One whole message. Raises ParseError for anything malformed, a wrong FINGERPRINT included."""
    if not is_stun(data):
        raise ParseError("no STUN message: wrong first byte or magic cookie")
    size = len(data)
    if int.from_bytes(data[2:4], "big") != size - HEADER_SIZE:
        raise ParseError(
            f"the header counts {int.from_bytes(data[2:4], 'big')} bytes, {size - HEADER_SIZE} follow"
        )
    if size % 4:
        raise ParseError("a message whose length is not a multiple of 4")
    head = int.from_bytes(data[:2], "big")
    pad = data[4:20]
    attributes: list[tuple[Attribute[Any], Any]] = []
    integrity_at = integrity_sha256_at = None
    at = HEADER_SIZE
    has_fingerprint = False
    while at < size:
        type = data[at] << 8 | data[at + 1]
        end = at + 4 + (data[at + 2] << 8 | data[at + 3])
        if end > size:
            raise ParseError(f"attribute 0x{type:04X} runs past the end of the message")
        if has_fingerprint:
            raise ParseError("an attribute follows FINGERPRINT")
        value = data[at + 4 : end]
        attribute = KNOWN.get(type) or attribute_of(type)
        if type == FINGERPRINT.type:
            if FINGERPRINT.decode(value, pad) != _fingerprint(data[:at]):
                raise ParseError("FINGERPRINT does not match")
            has_fingerprint = True
        elif type == MESSAGE_INTEGRITY_SHA256.type:
            if not 16 <= len(value) <= 32 or len(value) % 4:
                raise ParseError(f"MESSAGE-INTEGRITY-SHA256 in {len(value)} bytes")
            integrity_sha256_at = at if integrity_sha256_at is None else integrity_sha256_at
        elif integrity_sha256_at is None and integrity_at is None:
            if type == MESSAGE_INTEGRITY.type:
                MESSAGE_INTEGRITY.decode(value, pad)
                integrity_at = at
            elif len(attributes) == MAX_ATTRIBUTES:
                raise ParseError(f"more than {MAX_ATTRIBUTES} attributes")
            else:
                try:
                    attributes.append((attribute, attribute.decode(value, pad)))
                except ParseError as error:
                    raise ParseError(f"{attribute.name}: {error}") from error
        at = end + -end % 4
    return StunMessage(
        method=(head & 0x000F) | (head & 0x00E0) >> 1 | (head & 0x3E00) >> 2,
        message_class=MessageClass((head & 0x0010) >> 4 | (head & 0x0100) >> 7),
        transaction_id=data[8:20],
        attributes=tuple(attributes),
        raw=data,
        integrity_at=integrity_at,
        integrity_sha256_at=integrity_sha256_at,
        has_fingerprint=has_fingerprint,
    )


def serialize(
    message: StunMessage, key: bytes | None = None, *, sha256: bool = False, fingerprint: bool = False
) -> bytes:
    """The message as bytes, with MESSAGE-INTEGRITY(-SHA256 if asked) under `key`, and with FINGERPRINT."""
    head = (
        (message.method & 0x000F)
        | (message.method & 0x0070) << 1
        | (message.method & 0x0F80) << 2
        | (message.message_class & 1) << 4
        | (message.message_class & 2) << 7
    )
    pad = _COOKIE + message.transaction_id
    parts = [b""]
    for attribute, value in message.attributes:
        encoded = attribute.encode(value, pad)
        parts.append(attribute.type.to_bytes(2, "big") + len(encoded).to_bytes(2, "big") + encoded)
        parts.append(bytes(-len(encoded) % 4))
    body = b"".join(parts)
    if len(body) > 0xFFFF - 44 or len(message.transaction_id) != 12:
        raise UsageError("a STUN message holds at most 64 KiB and has a transaction id of 12 bytes")
    data = head.to_bytes(2, "big") + len(body).to_bytes(2, "big") + pad + body
    if key is not None:
        kind = MESSAGE_INTEGRITY_SHA256 if sha256 else MESSAGE_INTEGRITY
        digest = _hmac(data, len(data), key, sha256)
        data = _append(data, kind, digest)
    if fingerprint:
        grown = _with_length(data, len(data) + 8)
        data = _append(data, FINGERPRINT, _fingerprint(grown).to_bytes(4, "big"))
    return data


def verify_integrity(message: StunMessage, key: bytes) -> bool:
    """Whether the parsed message was protected with this key; False when it carries no integrity.

    When both kinds are there, the stronger one decides (RFC 8489 §9.1.3, §9.2.4). Constant time.
    """
    sha256 = message.integrity_sha256_at is not None
    at = message.integrity_sha256_at if sha256 else message.integrity_at
    if at is None:
        return False
    size = int.from_bytes(message.raw[at + 2 : at + 4], "big")
    expected = _hmac(message.raw, at, key, sha256, size)
    return hmac.compare_digest(message.raw[at + 4 : at + 4 + size], expected)


def short_term_key(password: str | bytes) -> bytes:
    """RFC 8489 §9.1.1."""
    return _opaque_string(password)


def long_term_key(username: str | bytes, realm: str, password: str | bytes, *, sha256: bool = False) -> bytes:
    """RFC 8489 §9.2.2: MD5, or SHA-256 where the peers agreed on it with PASSWORD-ALGORITHM."""
    text = b":".join((_opaque_string(username), _opaque_string(realm), _opaque_string(password)))
    # The RFC demands MD5 here; it is no choice of ours.
    return hashlib.sha256(text).digest() if sha256 else hashlib.md5(text, usedforsecurity=False).digest()


def success_response(request: StunMessage, *attributes: tuple[Attribute[Any], Any]) -> StunMessage:
    return StunMessage(request.method, MessageClass.SUCCESS, request.transaction_id, attributes)


def error_response(
    request: StunMessage, code: int, reason: str, *attributes: tuple[Attribute[Any], Any]
) -> StunMessage:
    first = ERROR_CODE(ErrorCode(code, reason))
    return StunMessage(request.method, MessageClass.ERROR, request.transaction_id, (first, *attributes))


def describe(message: StunMessage) -> tuple[tuple[str, str], ...]:
    """Attributes as readable pairs for StunSent and StunReceived. Shows that integrity is there, not what it is."""
    pairs = [(attribute.name, attribute.show(value)) for attribute, value in message.attributes]
    if message.integrity_at is not None:
        pairs.append((MESSAGE_INTEGRITY.name, "present"))
    if message.integrity_sha256_at is not None:
        pairs.append((MESSAGE_INTEGRITY_SHA256.name, "present"))
    if message.has_fingerprint:
        pairs.append((FINGERPRINT.name, "present"))
    return tuple(pairs)


# --- helpers --------------------------------------------------------------------------------------------
def _with_length(data: bytes, total: int) -> bytes:
    """The bytes with the header's length set as if the message were `total` bytes long."""
    return data[:2] + (total - HEADER_SIZE).to_bytes(2, "big") + data[4:]


def _append(data: bytes, attribute: Attribute[Any], value: bytes) -> bytes:
    head = attribute.type.to_bytes(2, "big") + len(value).to_bytes(2, "big")
    return _with_length(data, len(data) + 4 + len(value)) + head + value


def _hmac(data: bytes, end: int, key: bytes, sha256: bool, size: int | None = None) -> bytes:
    """HMAC of the message up to `end`, its length counting the integrity attribute (RFC 8489 §14.5)."""
    size = size or (32 if sha256 else 20)
    text = _with_length(data[:end], end + 4 + size)
    return hmac.digest(key, text, "sha256" if sha256 else "sha1")[:size]


def _fingerprint(data: bytes) -> int:
    return binascii.crc32(data) ^ FINGERPRINT_XOR


def _opaque_string(text: str | bytes) -> bytes:
    """The part of RFC 8265 §4.2 that changes anything: other spaces become space, NFC. Bytes pass as they are."""
    if isinstance(text, bytes):
        return text
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
    return unicodedata.normalize("NFC", spaced).encode()
