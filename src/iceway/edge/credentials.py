"""Relay credentials that need no database: what an edge minted, every edge with the same key can check.

A username is a *token* and an HMAC over it; the password is an HMAC over the username. The token carries its
expiry and an opaque client id (an HMAC of the identity, so a relay never learns who speaks through it), in the
layout of [MS-AVEDGEA]; the flags word of version 2 holds the id of the key that made it.

    v2: u8 major=2 | u8 minor=0 | u16 size=36 | u32 expiry low | u32 expiry high | 20 bytes client id | u32 key id
    v1: the same without the last word, major=1, size=32

Expiry is a FILETIME (100 ns since 1601). Its part below a second is a salt: minting counts it up until neither
form of the credentials begins with a quotation mark or ends in one or in NUL, since some clients trim those.

Keys are derived with HKDF (RFC 5869) from the private key of the edge's certificate, so edges of a pool share
keys by sharing a certificate. On a roll-over the old key still verifies for as long as a token may live.
"""

from __future__ import annotations

import hmac
import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha1

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from iceway.core.errors import EnvironmentFailure, UsageError

DEFAULT_LIFETIME = 8 * 3600.0
CLOCK_TOLERANCE = 15 * 60.0
"""How much further in the future than policy allows an expiry may lie: clocks of a pool differ."""

FILETIME_EPOCH = 11_644_473_600  # seconds from 1601-01-01 to 1970-01-01
TICKS = 10_000_000  # of 100 ns a second
MAC = 20
_OTHER_KEY = "Credentials made with a key this edge does not hold"
HEAD = struct.Struct(">BBHLL20s")


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The keys for one certificate: for client ids, for usernames, for passwords. `key_id` None: layout v1."""

    identity: bytes = field(repr=False)
    username: bytes = field(repr=False)
    password: bytes = field(repr=False)
    key_id: int | None = None

    @classmethod
    def derive(cls, secret: bytes) -> TokenKeys:
        """From key material that is secret and has entropy enough, such as `private_key_secret`."""
        return cls(
            identity=_hkdf(secret, b"iceway relay credentials: client id"),
            username=_hkdf(secret, b"iceway relay credentials: username"),
            password=_hkdf(secret, b"iceway relay credentials: password"),
            key_id=int.from_bytes(_hkdf(secret, b"iceway relay credentials: key id")[:4]),
        )

    @classmethod
    def from_pem(cls, pem: bytes) -> TokenKeys:
        return cls.derive(private_key_secret(pem))

    @property
    def label(self) -> str:
        """The key's name in records and messages."""
        return "v1" if self.key_id is None else f"{self.key_id:08x}"


@dataclass(frozen=True, slots=True)
class RetiredKeys:
    """Keys that only verify, and only until `not_after` (wall time)."""

    keys: TokenKeys
    not_after: float


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client gets. Username and password are text, ready for XML and for RFC 8656 clients."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    expires_at: float
    user_id: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    password: str = field(repr=False)
    user_id: str
    expires_at: float
    key_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """`reason` goes on record here. `phrase` may be told to whoever showed the username: it says more than
    "Unauthorized" only where that helps an honest client and teaches nobody anything."""

    reason: str
    phrase: str = "Unauthorized"
    user_id: str = ""


class KeyRing:
    """The keys an edge mints and verifies with. A ring never changes; `roll` makes the next one."""

    def __init__(
        self,
        current: TokenKeys,
        retired: Sequence[RetiredKeys] = (),
        *,
        max_lifetime: float = DEFAULT_LIFETIME,
        clock_tolerance: float = CLOCK_TOLERANCE,
    ) -> None:
        if max_lifetime < 60:
            raise UsageError(f"a longest lifetime of {max_lifetime} s is under a minute")
        self.current = current
        self.retired = tuple(retired)
        self.max_lifetime = max_lifetime
        self.clock_tolerance = clock_tolerance

    @classmethod
    def from_pem(cls, pem: bytes, *, max_lifetime: float = DEFAULT_LIFETIME) -> KeyRing:
        """The ring of one certificate's private key (RSA, EC or EdDSA, in any PEM form without password)."""
        return cls(TokenKeys.from_pem(pem), max_lifetime=max_lifetime)

    def roll(self, current: TokenKeys, wall_now: float) -> KeyRing:
        """The ring after a new certificate: what the old key made stays good for as long as it may live."""
        alive = [old for old in self.retired if old.not_after > wall_now and old.keys != current]
        if self.current != current:
            alive.insert(0, RetiredKeys(self.current, wall_now + self.max_lifetime))
        return KeyRing(current, alive, max_lifetime=self.max_lifetime, clock_tolerance=self.clock_tolerance)

    def mint(self, identity: str, duration: float, wall_now: float) -> Credentials:
        """Credentials for `duration` seconds, or for as long as policy allows if that is less.

        Minting reads nothing and stores nothing: the same identity in the same instant gets the same.
        """
        lifetime = min(max(duration, 1.0), self.max_lifetime)
        keys = self.current
        client_id = _mac(keys.identity, identity.encode())
        second = int(wall_now + lifetime) + FILETIME_EPOCH
        for salt in range(TICKS):
            token = _pack_token(keys, second * TICKS + salt, client_id)
            username = token + _mac(keys.username, token)
            password = _mac(keys.password, username)
            if _is_trim_proof(username) and _is_trim_proof(password):
                break
        return Credentials(
            username=b64encode(username).decode(),
            password=b64encode(password).decode(),
            expires_at=float(second - FILETIME_EPOCH),
            user_id=_user_id(client_id),
            key_id=keys.label,
        )

    def verify(self, username: str, wall_now: float) -> Accepted | Rejected:
        """Check a username and compute its password. Any text may come in; a rejection says why."""
        try:
            raw = b64decode(username.encode("ascii"), validate=True)
        except ValueError:
            return Rejected("the username is not one that an edge makes (not base64)")
        token = raw[:-MAC]
        if len(token) < HEAD.size:
            return Rejected("the username is not one that an edge makes (too short)")
        major, minor, size, low, high, client_id = HEAD.unpack_from(token)
        if (major, minor, size, len(token)) not in ((1, 0, 32, 32), (2, 0, 36, 36)):
            return Rejected("the username is not one that an edge makes (another layout)")
        key_id = int.from_bytes(token[HEAD.size :]) if major == 2 else None
        keys = self._find(key_id, wall_now)
        if isinstance(keys, Rejected):
            return keys
        if not hmac.compare_digest(_mac(keys.username, token), raw[-MAC:]):
            return Rejected("bad signature: the username was altered, or made with another key")
        user_id = _user_id(client_id)
        expires_at = (high << 32 | low) / TICKS - FILETIME_EPOCH
        if expires_at <= wall_now:
            ago = f"redentials expired {_seconds(wall_now - expires_at)} ago"
            return Rejected("c" + ago, "C" + ago, user_id)
        too_far = expires_at - wall_now - self.max_lifetime
        if too_far > self.clock_tolerance:
            return Rejected(
                f"credentials expire {_seconds(too_far)} later than policy allows: "
                "a clock is wrong here or where they were made",
                "Credentials are from the future: a clock is wrong",
                user_id,
            )
        password = b64encode(_mac(keys.password, raw)).decode()
        return Accepted(password, user_id, float(int(expires_at)), keys.label)

    def _find(self, key_id: int | None, wall_now: float) -> TokenKeys | Rejected:
        if self.current.key_id == key_id:
            return self.current
        for old in self.retired:
            if old.keys.key_id == key_id:
                if wall_now < old.not_after:
                    return old.keys
                return Rejected(f"made with key {old.keys.label}, which was retired", _OTHER_KEY)
        label = "v1" if key_id is None else f"{key_id:08x}"
        return Rejected(
            f"made with key {label}, which this edge does not hold (it has {self.current.label})", _OTHER_KEY
        )


def private_key_secret(pem: bytes) -> bytes:
    """A private key as bytes that depend on its numbers alone, not on the file or the library that wrote it.

    RSA: both primes, smaller first. EC: the curve's name and the private number. EdDSA: the raw key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise EnvironmentFailure(
            "The certificate's private key cannot be read",
            "Give a PEM file with an RSA, EC or Ed25519 private key that has no password.",
        ) from error
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            width = (key.key_size + 7) // 8
            return b"rsa" + b"".join(prime.to_bytes(width) for prime in sorted((numbers.p, numbers.q)))
        case ec.EllipticCurvePrivateKey():
            width = (key.curve.key_size + 7) // 8
            return b"ec " + key.curve.name.encode() + key.private_numbers().private_value.to_bytes(width)
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return b"ed " + key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    raise EnvironmentFailure(
        f"Relay credentials cannot be derived from a {type(key).__name__}",
        "Use a certificate with an RSA, EC or Ed25519 key.",
    )


def _pack_token(keys: TokenKeys, ticks: int, client_id: bytes) -> bytes:
    low, high = ticks & 0xFFFFFFFF, ticks >> 32
    if keys.key_id is None:
        return HEAD.pack(1, 0, 32, low, high, client_id)
    return HEAD.pack(2, 0, 36, low, high, client_id) + keys.key_id.to_bytes(4)


def _is_trim_proof(value: bytes) -> bool:
    return value[0] != 0x22 and value[-1] not in (0x22, 0x00)


def _user_id(client_id: bytes) -> str:
    return client_id[:8].hex()


def _seconds(duration: float) -> str:
    return f"{max(1, round(duration))} s"


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, sha1)


def _hkdf(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=MAC, salt=None, info=purpose).derive(secret)
