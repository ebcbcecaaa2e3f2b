"""SRTP (RFC 3711) over libsrtp: one `SrtpKey` a direction, MKI included, refusals as values.

libsrtp knows no MKI as pylibsrtp builds it; since the MKI is not authenticated and has a fixed place
(RFC 3711 §3.1), it is put in and taken out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pylibsrtp import Error, Policy, Session

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite: libsrtp's number for it, and its lengths in bytes. SRTCP may have a longer tag than SRTP."""

    profile: int
    key: int
    salt: int
    tag: int
    rtcp_tag: int


SUITES = {
    # RFC 4568 §6.2: SRTCP keeps 80 bits even when SRTP has 32
    "AES_CM_128_HMAC_SHA1_80": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14, 10, 10),
    "AES_CM_128_HMAC_SHA1_32": Suite(Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 16, 14, 4, 10),
    # RFC 7714 §12: only DTLS agrees on these here
    "AEAD_AES_128_GCM": Suite(Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12, 16, 16),
    "AEAD_AES_256_GCM": Suite(Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12, 16, 16),
}
SDES_SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32")
DEFAULT_SUITE = SDES_SUITES[0]
KEY_AND_SALT_LENGTH = 30  # of those (RFC 4568 §6.2.1): 16 bytes of key, 14 of salt

MAX_PACKET = 2000
MAX_SOURCES = 256  # libsrtp keeps the state of each for good: a replay must not come in again
_WINDOW = (
    1024  # packets: a picture's piece that is sent again comes hundreds of packets late and is no replay
)


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """The master key and salt of one direction. Neither shows in `repr`."""

    suite: str
    key_and_salt: bytes = field(repr=False)
    mki: bytes = b""

    @classmethod
    def draw(cls, rng: Random, suite: str = DEFAULT_SUITE) -> SrtpKey:
        return cls(suite, rng.randbytes(KEY_AND_SALT_LENGTH))


class SrtpRefused(Exception):
    """A packet that did not verify. `reason` is for people; `replayed` says that it may be a mere repeat."""

    def __init__(self, reason: str, replayed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.replayed = replayed


class SrtpSender:
    """Protects what we send."""

    def __init__(self, key: SrtpKey) -> None:
        self._session = _session(key, Policy.SSRC_ANY_OUTBOUND)
        self._mki = key.mki
        self._suite = SUITES[key.suite]

    def protect(self, packet: bytes) -> bytes:
        return self._with_mki(self._session.protect(packet), self._suite.tag)

    def protect_rtcp(self, packet: bytes) -> bytes:
        return self._with_mki(self._session.protect_rtcp(packet), self._suite.rtcp_tag)

    def _with_mki(self, packet: bytes, tag: int) -> bytes:
        return packet[:-tag] + self._mki + packet[-tag:] if self._mki else packet


class SrtpReceiver:
    """Verifies and opens what we receive; raises SrtpRefused for everything else."""

    def __init__(self, key: SrtpKey) -> None:
        self._session = _session(key, Policy.SSRC_ANY_INBOUND)
        self._mki = key.mki
        self._suite = SUITES[key.suite]
        self._sources: set[bytes] = set()

    def unprotect(self, packet: bytes) -> bytes:
        return self._opened(packet, packet[8:12], self._suite.tag, self._session.unprotect)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        return self._opened(packet, packet[4:8], self._suite.rtcp_tag, self._session.unprotect_rtcp)

    def _opened(self, packet: bytes, source: bytes, tag: int, unprotect: Callable[[bytes], bytes]) -> bytes:
        if source not in self._sources and len(self._sources) >= MAX_SOURCES:
            raise SrtpRefused("more sources (SSRC) under one key than any call has")
        try:
            opened = unprotect(self._without_mki(packet, tag))
        except Error as error:
            raise _refusal(error) from None
        self._sources.add(source)
        return opened

    def _without_mki(self, packet: bytes, tag: int) -> bytes:
        if len(packet) > MAX_PACKET:
            raise SrtpRefused("longer than any voice packet")
        if not self._mki:
            return packet
        end = len(packet) - tag
        if packet[max(0, end - len(self._mki)) : end] != self._mki:
            raise SrtpRefused("unknown master key identifier")
        return packet[: end - len(self._mki)] + packet[end:]


def _session(key: SrtpKey, direction: int) -> Session:
    policy = Policy(key.key_and_salt, direction, 0, SUITES[key.suite].profile)
    policy.window_size = _WINDOW
    return Session(policy)


def _refusal(error: Error) -> SrtpRefused:
    if "replay" in str(error):
        return SrtpRefused("replayed", replayed=True)
    if "authentication" in str(error):
        return SrtpRefused("bad authentication: encrypted with another key, or damaged on the way")
    return SrtpRefused("not SRTP")
