"""Fingerprints of certificates in session descriptions (RFC 8122 §5), and who opens the DTLS connection (RFC 4145).

A fingerprint is what makes a self-signed certificate worth anything: it came over signalling that was proved
otherwise. Hash functions that can be forged (md5, sha-1) are read and never trusted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from iceway.core.errors import ParseError

_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}  # weakest first
_VALUE = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){0,127}")
_NAME = re.compile(r"[A-Za-z0-9-]{1,20}")


class Setup(StrEnum):
    """`a=setup`: active opens the connection, actpass leaves it to the answer."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`a=fingerprint`: the hash function by its name in RFC 8122, and the hash."""

    algorithm: str
    value: bytes

    @classmethod
    def of(cls, certificate: bytes, algorithm: str = "sha-256") -> Fingerprint:
        """Of a certificate in DER."""
        return cls(algorithm, hashlib.new(_HASHES[algorithm], certificate).digest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        words = text.split()
        if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _VALUE.fullmatch(words[1]):
            raise ParseError(f"a=fingerprint:{text[:60]!r} is not a hash function and bytes in hexadecimal")
        return cls(words[0].lower(), bytes.fromhex(words[1].replace(":", "")))

    @property
    def trusted(self) -> bool:
        """Whether it can prove anything: a known function, and as many bytes as it gives."""
        name = _HASHES.get(self.algorithm)
        return name is not None and len(self.value) == hashlib.new(name).digest_size

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value.hex(':').upper()}"


def proves(fingerprints: Iterable[Fingerprint], certificate: bytes) -> bool:
    """Whether a certificate (DER) is one of those announced: by the strongest function there is (RFC 8122 §5)."""
    trusted = [one for one in fingerprints if one.trusted]
    if not trusted:
        return False
    names = list(_HASHES)
    strongest = max((one.algorithm for one in trusted), key=names.index)
    seen = Fingerprint.of(certificate, strongest).value
    return any(hmac.compare_digest(one.value, seen) for one in trusted if one.algorithm == strongest)
