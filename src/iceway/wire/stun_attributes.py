"""STUN and TURN attributes: what each number means and how its value is written (RFC 8489, 8656, 8445, 5780).

An `Attribute` is a typed key: `message.get(PRIORITY)` is an int or None, `PRIORITY(7)` makes the pair that a
message holds. Values are plain: addresses, ints, text, bytes, True for flags. User names and nonces stay
bytes, because they go into an HMAC as they came. Decoding raises ParseError for anything out of shape.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from iceway.core.address import Address
from iceway.core.errors import ParseError, UsageError

T = TypeVar("T")

MAGIC_COOKIE = 0x2112A442  # RFC 8489 §5
FAMILY_IPV4 = 0x01  # RFC 8489 §14.1
FAMILY_IPV6 = 0x02
MAX_USERNAME = 513  # RFC 5389 §15.3; RFC 8489 §14.3 says 509, older clients may use all of it
MAX_TEXT = 763  # RFC 8489 §14.9, §14.10, §14.14: 127 characters of up to 6 bytes


class ErrorCode(NamedTuple):
    """ERROR-CODE (RFC 8489 §14.8)."""

    code: int
    reason: str


class PasswordAlgorithm(NamedTuple):
    """An entry of PASSWORD-ALGORITHM(S) (RFC 8489 §14.11); `number` 1 is MD5, 2 is SHA-256."""

    number: int
    parameters: bytes = b""


class Attribute(Generic[T]):
    """One attribute type: a key into a message and the codec of its value. Equal when the numbers are."""

    __slots__ = ("decode", "encode", "name", "show", "type")

    def __init__(
        self,
        type: int,
        name: str,
        decode: Callable[[bytes, bytes], T],
        encode: Callable[[T, bytes], bytes],
        show: Callable[[T], str] = str,
    ) -> None:
        self.type = type
        self.name = name
        self.decode = decode
        self.encode = encode
        self.show = show

    def __call__(self, value: T) -> tuple[Attribute[T], T]:
        return (self, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attribute) and other.type == self.type

    def __hash__(self) -> int:
        return self.type

    def __repr__(self) -> str:
        return self.name


KNOWN: dict[int, Attribute[Any]] = {}
"""Every attribute defined here, by number."""


def attribute_of(type: int) -> Attribute[Any]:
    """The attribute with this number; one that keeps raw bytes if nobody defined it."""
    return KNOWN.get(type) or _unknown(type)


@lru_cache(maxsize=256)
def _unknown(type: int) -> Attribute[bytes]:
    return Attribute(type, f"0x{type:04X}", lambda data, _: data, lambda value, _: value, bytes.hex)


# --- codecs; the second argument is cookie and transaction id, what addresses are XORed with ------------
def _define(
    type: int,
    name: str,
    codec: tuple[Callable[[bytes, bytes], T], Callable[[T, bytes], bytes]],
    show: Callable[[T], str] = str,
) -> Attribute[T]:
    attribute = Attribute(type, name, *codec, show)
    KNOWN[type] = attribute
    return attribute


@lru_cache(maxsize=1024)
def _ipv6_text(packed: bytes) -> str:
    return str(ipaddress.IPv6Address(packed))


@lru_cache(maxsize=1024)
def _packed_ip(ip: str) -> bytes:
    try:
        return ipaddress.ip_address(ip).packed
    except ValueError as error:
        raise UsageError(f"{ip!r} is not an IP address") from error


def _decode_address(data: bytes, _: bytes) -> Address:
    if len(data) == 8 and data[1] == FAMILY_IPV4:
        return Address(f"{data[4]}.{data[5]}.{data[6]}.{data[7]}", data[2] << 8 | data[3])
    if len(data) == 20 and data[1] == FAMILY_IPV6:
        return Address(_ipv6_text(data[4:]), data[2] << 8 | data[3])
    raise ParseError(f"an address of family {data[1] if len(data) > 1 else '?'} in {len(data)} bytes")


def _encode_address(value: Address, _: bytes) -> bytes:
    packed = _packed_ip(value.ip)
    family = FAMILY_IPV4 if len(packed) == 4 else FAMILY_IPV6
    return bytes((0, family)) + value.port.to_bytes(2, "big") + packed


def _xor(data: bytes, pad: bytes) -> bytes:
    """Port with the cookie's first half, IP with cookie and transaction id (RFC 8489 §14.2)."""
    if len(data) not in (8, 20):
        raise ParseError(f"an address in {len(data)} bytes")
    mask = pad[:2] + pad[: len(data) - 4]
    mixed = int.from_bytes(data[2:], "big") ^ int.from_bytes(mask, "big")
    return data[:2] + mixed.to_bytes(len(data) - 2, "big")


def _decode_xor_address(data: bytes, pad: bytes) -> Address:
    return _decode_address(_xor(data, pad), pad)


def _encode_xor_address(value: Address, pad: bytes) -> bytes:
    return _xor(_encode_address(value, pad), pad)


def _integer(size: int) -> tuple[Callable[[bytes, bytes], int], Callable[[int, bytes], bytes]]:
    def decode(data: bytes, _: bytes) -> int:
        if len(data) != size:
            raise ParseError(f"{len(data)} bytes where {size} belong")
        return int.from_bytes(data, "big")

    return decode, lambda value, _: value.to_bytes(size, "big")


def _leading_integer(size: int) -> tuple[Callable[[bytes, bytes], int], Callable[[int, bytes], bytes]]:
    """A number at the start of a 32-bit word whose rest is reserved and ignored."""

    def decode(data: bytes, _: bytes) -> int:
        if len(data) != 4:
            raise ParseError(f"{len(data)} bytes where 4 belong")
        return int.from_bytes(data[:size], "big")

    return decode, lambda value, _: value.to_bytes(size, "big").ljust(4, b"\0")


def _decode_flag(data: bytes, _: bytes) -> bool:
    if data:
        raise ParseError("a flag with a value")
    return True


def _opaque(limit: int | None) -> tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes]]:
    def decode(data: bytes, _: bytes) -> bytes:
        if limit is not None and len(data) > limit:
            raise ParseError(f"{len(data)} bytes where at most {limit} belong")
        return data

    return decode, lambda value, _: value


def _exactly(size: int) -> tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes]]:
    def decode(data: bytes, _: bytes) -> bytes:
        if len(data) != size:
            raise ParseError(f"{len(data)} bytes where {size} belong")
        return data

    return decode, lambda value, _: value


def _decode_text(data: bytes, _: bytes) -> str:
    if len(data) > MAX_TEXT:
        raise ParseError(f"{len(data)} bytes of text where at most {MAX_TEXT} belong")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ParseError("text that is not UTF-8") from error


def _decode_words(data: bytes) -> str:
    """Text for people only: neither its encoding nor its length spoils the message. U+FFFD is longer than what
    it stands for, so the cut is made after it, lest the text be too long to be written again."""
    return data.decode(errors="replace").encode()[:MAX_TEXT].decode(errors="ignore")


def _decode_error_code(data: bytes, _: bytes) -> ErrorCode:
    if len(data) < 4 or len(data) > 4 + MAX_TEXT:
        raise ParseError(f"an error code in {len(data)} bytes")
    hundreds, number = data[2] & 0x07, data[3]
    if not 3 <= hundreds <= 6 or number > 99:
        raise ParseError(f"error code {hundreds}·100+{number}")
    return ErrorCode(hundreds * 100 + number, _decode_words(data[4:]))


def _encode_error_code(value: ErrorCode, _: bytes) -> bytes:
    return bytes((0, 0, value.code // 100, value.code % 100)) + value.reason.encode()


def _decode_types(data: bytes, _: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        raise ParseError("an odd number of bytes of attribute types")
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _encode_types(value: tuple[int, ...], _: bytes) -> bytes:
    return b"".join(type.to_bytes(2, "big") for type in value)


def _decode_even_port(data: bytes, _: bytes) -> bool:
    if len(data) != 1:
        raise ParseError(f"EVEN-PORT in {len(data)} bytes")
    return bool(data[0] & 0x80)


def _decode_algorithms(data: bytes, _: bytes) -> tuple[PasswordAlgorithm, ...]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 + size > len(data):
            raise ParseError("a password algorithm is cut short")
        found.append(
            PasswordAlgorithm(int.from_bytes(data[at : at + 2], "big"), data[at + 4 : at + 4 + size])
        )
        at += 4 + size + -size % 4
    return tuple(found)


def _encode_algorithms(value: tuple[PasswordAlgorithm, ...], _: bytes) -> bytes:
    out = b""
    for number, parameters in value:
        out += number.to_bytes(2, "big") + len(parameters).to_bytes(2, "big") + parameters
        out += bytes(-len(parameters) % 4)
    return out


def _decode_algorithm(data: bytes, pad: bytes) -> PasswordAlgorithm:
    algorithms = _decode_algorithms(data, pad)
    if len(algorithms) != 1:
        raise ParseError(f"{len(algorithms)} password algorithms where one belongs")
    return algorithms[0]


# --- how values look in a record ------------------------------------------------------------------------
def _show_bytes(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _show_shortened(value: bytes) -> str:
    return _show_bytes(value if len(value) <= 16 else value[:12]) + ("…" if len(value) > 16 else "")


def _show_size(value: bytes) -> str:
    return f"{len(value)} bytes"


def _show_family(value: int) -> str:
    return {FAMILY_IPV4: "IPv4", FAMILY_IPV6: "IPv6"}.get(value, f"0x{value:02X}")


def _show_transport(value: int) -> str:
    return {6: "TCP", 17: "UDP"}.get(value, str(value))


def _show_types(value: tuple[int, ...]) -> str:
    return ", ".join(attribute_of(type).name for type in value)


def _show_present(_: object) -> str:
    return "present"


_ADDRESS = _decode_address, _encode_address
_XOR_ADDRESS = _decode_xor_address, _encode_xor_address
_TEXT = _decode_text, lambda value, _: value.encode()
_FLAG = _decode_flag, lambda _value, _: b""

# --- RFC 8489 §14 ---------------------------------------------------------------------------------------
MAPPED_ADDRESS: Attribute[Address] = _define(0x0001, "MAPPED-ADDRESS", _ADDRESS)
USERNAME: Attribute[bytes] = _define(0x0006, "USERNAME", _opaque(MAX_USERNAME), _show_bytes)
MESSAGE_INTEGRITY: Attribute[bytes] = _define(0x0008, "MESSAGE-INTEGRITY", _exactly(20), _show_present)
ERROR_CODE: Attribute[ErrorCode] = _define(
    0x0009, "ERROR-CODE", (_decode_error_code, _encode_error_code), lambda e: f"{e.code} {e.reason}".rstrip()
)
UNKNOWN_ATTRIBUTES: Attribute[tuple[int, ...]] = _define(
    0x000A, "UNKNOWN-ATTRIBUTES", (_decode_types, _encode_types), _show_types
)
REALM: Attribute[str] = _define(0x0014, "REALM", _TEXT)
NONCE: Attribute[bytes] = _define(0x0015, "NONCE", _opaque(MAX_TEXT), _show_shortened)
MESSAGE_INTEGRITY_SHA256: Attribute[bytes] = _define(
    0x001C, "MESSAGE-INTEGRITY-SHA256", _opaque(32), _show_present
)
PASSWORD_ALGORITHM: Attribute[PasswordAlgorithm] = _define(
    0x001D,
    "PASSWORD-ALGORITHM",
    (_decode_algorithm, lambda value, pad: _encode_algorithms((value,), pad)),
    lambda algorithm: str(algorithm.number),
)
USERHASH: Attribute[bytes] = _define(0x001E, "USERHASH", _exactly(32), bytes.hex)
XOR_MAPPED_ADDRESS: Attribute[Address] = _define(0x0020, "XOR-MAPPED-ADDRESS", _XOR_ADDRESS)
PASSWORD_ALGORITHMS: Attribute[tuple[PasswordAlgorithm, ...]] = _define(
    0x8002,
    "PASSWORD-ALGORITHMS",
    (_decode_algorithms, _encode_algorithms),
    lambda algorithms: ", ".join(str(algorithm.number) for algorithm in algorithms),
)
ALTERNATE_DOMAIN: Attribute[str] = _define(0x8003, "ALTERNATE-DOMAIN", _TEXT)
SOFTWARE: Attribute[str] = _define(
    0x8022,
    "SOFTWARE",
    (lambda data, _: _decode_words(data), lambda value, _: value.encode()),
)
ALTERNATE_SERVER: Attribute[Address] = _define(0x8023, "ALTERNATE-SERVER", _ADDRESS)
FINGERPRINT: Attribute[int] = _define(0x8028, "FINGERPRINT", _integer(4), _show_present)

# --- TURN, RFC 8656 §18 ---------------------------------------------------------------------------------
CHANNEL_NUMBER: Attribute[int] = _define(
    0x000C, "CHANNEL-NUMBER", _leading_integer(2), lambda number: f"0x{number:04X}"
)
LIFETIME: Attribute[int] = _define(0x000D, "LIFETIME", _integer(4), lambda seconds: f"{seconds} s")
XOR_PEER_ADDRESS: Attribute[Address] = _define(0x0012, "XOR-PEER-ADDRESS", _XOR_ADDRESS)
DATA: Attribute[bytes] = _define(0x0013, "DATA", _opaque(None), _show_size)
XOR_RELAYED_ADDRESS: Attribute[Address] = _define(0x0016, "XOR-RELAYED-ADDRESS", _XOR_ADDRESS)
REQUESTED_ADDRESS_FAMILY: Attribute[int] = _define(
    0x0017, "REQUESTED-ADDRESS-FAMILY", _leading_integer(1), _show_family
)
EVEN_PORT: Attribute[bool] = _define(
    0x0018, "EVEN-PORT", (_decode_even_port, lambda reserve, _: b"\x80" if reserve else b"\0")
)
REQUESTED_TRANSPORT: Attribute[int] = _define(
    0x0019, "REQUESTED-TRANSPORT", _leading_integer(1), _show_transport
)
DONT_FRAGMENT: Attribute[bool] = _define(0x001A, "DONT-FRAGMENT", _FLAG, _show_present)
RESERVATION_TOKEN: Attribute[bytes] = _define(0x0022, "RESERVATION-TOKEN", _exactly(8), bytes.hex)
ADDITIONAL_ADDRESS_FAMILY: Attribute[int] = _define(
    0x8000, "ADDITIONAL-ADDRESS-FAMILY", _leading_integer(1), _show_family
)

# --- ICE, RFC 8445 §16.1 --------------------------------------------------------------------------------
PRIORITY: Attribute[int] = _define(0x0024, "PRIORITY", _integer(4))
USE_CANDIDATE: Attribute[bool] = _define(0x0025, "USE-CANDIDATE", _FLAG, _show_present)
ICE_CONTROLLED: Attribute[int] = _define(0x8029, "ICE-CONTROLLED", _integer(8), lambda n: f"{n:016x}")
ICE_CONTROLLING: Attribute[int] = _define(0x802A, "ICE-CONTROLLING", _integer(8), lambda n: f"{n:016x}")
NOMINATION: Attribute[int] = _define(0xC001, "NOMINATION", _integer(4))  # draft-thatcher-ice-renomination

# --- NAT discovery, RFC 5780 §7: servers volunteer the last two -----------------------------------------
CHANGE_REQUEST: Attribute[int] = _define(0x0003, "CHANGE-REQUEST", _integer(4))
RESPONSE_ORIGIN: Attribute[Address] = _define(0x802B, "RESPONSE-ORIGIN", _ADDRESS)
OTHER_ADDRESS: Attribute[Address] = _define(0x802C, "OTHER-ADDRESS", _ADDRESS)
