"""Keys for SRTP from a DTLS handshake over the media path (RFC 5763, RFC 5764), as a machine.

OpenSSL shakes hands between two memory buffers; this decides when, carries its records, and believes it only if the
other side's certificate is the one whose fingerprint came with its session description. Keys come out once. Nobody
may repeat what was lost but us: the last flight goes out again on our timers, as OpenSSL would write it anew if its
own clock agrees that it is time, else as it was. Whoever spoke last repeats it when asked again, since the other side
cannot know that it is done (RFC 6347 §4.2.4).

A handshake that fails or never ends is told once, with its reason; nothing a peer sends raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509

from iceway.core.errors import ParseError
from iceway.core.machine import Outbox
from iceway.core.timers import Timers
from iceway.media.srtp import SUITES, SrtpKey
from iceway.trace.records import Malformed, MediaKeyed, MediaKeyFailed
from iceway.wire import dtls
from iceway.wire.fingerprint import Fingerprint, proves

HANDSHAKE_LIMIT = 20.0  # seconds, once there is a path and somebody has picked up
FIRST_REPEAT = 0.5  # seconds, where no round trip is known
SHORTEST_REPEAT, LONGEST_REPEAT = 0.1, 2.0
MAX_LAST_WORDS = 20  # times that a finished handshake answers somebody who asks again
MAX_MALFORMED = 8
_LABEL = b"EXTRACTOR-dtls_srtp"  # RFC 5764 §4.2
_DTLS_1_2 = 0xFEFD
_LARGEST = 65535

PROFILES = {  # RFC 5764 §4.1.2, RFC 7714 §14.2, ours in order of preference
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
    b"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
}


@dataclass(frozen=True, slots=True)
class DtlsIdentity:
    """A certificate and its key, by which our end of a handshake is known. Made outside (`io/selfsigned.py`)."""

    certificate: x509.Certificate = field(repr=False)
    key: EllipticCurvePrivateKey = field(repr=False)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.certificate.public_bytes(Encoding.DER))


@dataclass(frozen=True, slots=True)
class SendHandshake:
    """A datagram for the other side, along the media path."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KeysAgreed:
    name: str
    send_key: SrtpKey
    recv_key: SrtpKey


@dataclass(frozen=True, slots=True)
class KeysFailed:
    """There will be no keys, and why; the last word."""

    name: str
    reason: str


class DtlsAssociation(Outbox):
    """One handshake. `active` opens it (RFC 5763 §5); `fingerprints` are what the other side announced."""

    def __init__(
        self,
        name: str,
        identity: DtlsIdentity,
        fingerprints: tuple[Fingerprint, ...],
        *,
        active: bool,
        call_id: str = "",
    ) -> None:
        super().__init__()
        self.name = name
        self._active = active
        self._fingerprints = fingerprints
        self._call_id = call_id
        self._timers = Timers()  # "repeat", "deadline"
        self._pause = FIRST_REPEAT
        self._begun_at: float | None = None
        self._expected = False
        self._flight: list[bytes] = []
        self._repeated = 0
        self._last_words = 0
        self._malformed = 0
        self._heard = self._finished = self._closed = False
        self._distrusted = ""
        self._tls = SSL.Connection(_context(identity, self._trusts), None)
        self._tls.set_ciphertext_mtu(dtls.MTU)
        if active:
            self._tls.set_connect_state()
        else:
            self._tls.set_accept_state()

    # --- commands -----------------------------------------------------------------------------------------
    def begin(self, now: float, round_trip: float | None = None) -> None:
        """There is a path, or a better one. The active side speaks, the other one waits to be spoken to.

        Many listen only when their checks have ended, which is when the path is chosen: whoever has not been heard
        by then is asked again soon.
        """
        if self._closed or (self._begun_at is not None and (self._heard or not self._active)):
            return
        self._pause = FIRST_REPEAT
        if round_trip is not None:
            self._pause = min(max(1.5 * round_trip, SHORTEST_REPEAT), FIRST_REPEAT)
        if self._begun_at is not None:
            self._timers.arm("repeat", min(self._timers.at("repeat") or now, now + self._pause))
            return
        self._begun_at = now
        self._limit(now)
        if self._active:
            self._advance(now)

    def expect(self, now: float) -> None:
        """The call is answered, so that keys are due. While it rings the other end need not listen yet."""
        if not self._expected:
            self._expected = True
            self._limit(now)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram from the path whose first byte is DTLS's (RFC 7983)."""
        if self._closed:
            return
        try:
            headers = dtls.parse_records(data)
        except ParseError as error:
            if self._malformed < MAX_MALFORMED:
                self._malformed += 1
                self.emit(Malformed("dtls", None, str(error), len(data)))
            return
        self._heard = True
        self.begin(now)
        if not self._finished:
            self._take(data)
            self._advance(now)
        elif any(one.content_type == dtls.HANDSHAKE for one in headers):
            self._take(data)
            self._say_again()

    def close(self, now: float) -> None:
        """Nothing comes out after that. Keys that were given out stay good."""
        self._closed = True
        self._timers.clear()

    # --- time ---------------------------------------------------------------------------------------------
    def handle_timeout(self, now: float) -> None:
        for timer in self._timers.due(now):
            if timer == "deadline":
                limit = f"within {HANDSHAKE_LIMIT:.0f} s"
                self._fail(f"the DTLS handshake did not end {limit}: {self._how_far()}", now)
                return
            self._repeat(now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    def _limit(self, now: float) -> None:
        if self._expected and self._begun_at is not None and not (self._finished or self._closed):
            self._timers.arm("deadline", now + HANDSHAKE_LIMIT)

    def _how_far(self) -> str:
        if self._heard:
            return "it stopped half way"
        return "nobody answered it" if self._active else "nobody began it"

    # --- the handshake ------------------------------------------------------------------------------------
    def _take(self, data: bytes) -> None:
        with contextlib.suppress(SSL.Error):
            self._tls.bio_write(data)

    def _advance(self, now: float) -> None:
        """Let OpenSSL do what it can with what is there."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._send_new(now)
        except SSL.Error as error:
            self._send_new(now)
            self._fail(self._distrusted or f"the DTLS handshake failed: {_words(error)}", now)
        else:
            self._send_new(now)
            self._finish(now)

    def _finish(self, now: float) -> None:
        assert self._begun_at is not None
        self._finished = True
        self._timers.clear()
        suite = PROFILES.get(self._tls.get_selected_srtp_profile())
        if suite is None:
            self._fail("both ends shook hands over DTLS but have no SRTP profile in common", now)
            return
        ours, theirs = self._exported(suite)
        role = "active" if self._active else "passive"
        self.emit(MediaKeyed(self._call_id, role, suite, now - self._begun_at, self._repeated))
        self.emit(KeysAgreed(self.name, ours, theirs))

    def _exported(self, suite: str) -> tuple[SrtpKey, SrtpKey]:
        """What we send under and what we receive under (RFC 5764 §4.2: keys, then salts; the client's first)."""
        kind = SUITES[suite]
        material = self._tls.export_keying_material(_LABEL, 2 * (kind.key + kind.salt), None)
        keys, salts = material[: 2 * kind.key], material[2 * kind.key :]
        client = SrtpKey(suite, keys[: kind.key] + salts[: kind.salt])
        server = SrtpKey(suite, keys[kind.key :] + salts[kind.salt :])
        return (client, server) if self._active else (server, client)

    def _trusts(self, certificate: X509) -> bool:
        if proves(self._fingerprints, certificate.to_cryptography().public_bytes(Encoding.DER)):
            return True
        self._distrusted = (
            "the other side's certificate is not the one whose fingerprint it announced (a=fingerprint): "
            "somebody else answered on the media path, or its signalling was changed on the way"
        )
        return False

    def _fail(self, reason: str, now: float) -> None:
        self.close(now)
        self.emit(MediaKeyFailed(self._call_id, reason))
        self.emit(KeysFailed(self.name, reason))

    # --- flights ------------------------------------------------------------------------------------------
    def _written(self) -> list[bytes]:
        """What OpenSSL wrote, cut into datagrams at the borders of its records."""
        written = b""
        while True:
            try:
                written += self._tls.bio_read(_LARGEST)
            except SSL.Error:
                return dtls.datagrams(written)

    def _send_new(self, now: float) -> None:
        """A flight of ours, if it is our turn; until the next one it is repeated."""
        flight = self._written()
        if flight:
            self._flight = flight
            self._send_flight()
            self._timers.arm("repeat", now + self._pause)

    def _send_flight(self) -> None:
        for datagram in self._flight:
            self.emit(SendHandshake(self.name, datagram))

    def _repeat(self, now: float) -> None:
        self._repeated += 1
        self._pause = min(2 * self._pause, LONGEST_REPEAT)
        with contextlib.suppress(SSL.Error):  # it counts tries of its own; ours are bounded by the deadline
            self._tls.DTLSv1_handle_timeout()
        self._flight = self._written() or self._flight
        self._send_flight()
        self._timers.arm("repeat", now + self._pause)

    def _say_again(self) -> None:
        """We are done, the other side is not: it missed our last flight."""
        with contextlib.suppress(SSL.Error):
            while True:  # to the end of the datagram: what else is in it concerns nobody
                self._tls.recv(_LARGEST)
        if self._active or self._last_words >= MAX_LAST_WORDS:
            return
        self._last_words += 1
        self._flight = self._written() or self._flight
        self._send_flight()


def _context(identity: DtlsIdentity, trusts: Callable[[X509], bool]) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES")
    context.use_certificate(identity.certificate)
    context.use_privatekey(identity.key)
    context.set_tlsext_use_srtp(b":".join(PROFILES))
    # Self-signed is as good as any: what counts is the certificate itself, at depth 0.
    context.set_verify(
        SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
        lambda tls, certificate, error, depth, ok: depth > 0 or trusts(certificate),
    )
    return context


def _words(error: SSL.Error) -> str:
    """What OpenSSL says, without the names of its functions."""
    said = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = "; ".join(str(reason) for _, _, reason in said) or "no reason given"
    if "alert" in words and ("certificate" in words or "unknown ca" in words):
        return f"the other side does not take our certificate for the one that was announced to it ({words})"
    return words
