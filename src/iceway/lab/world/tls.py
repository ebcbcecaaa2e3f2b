"""TLS as machines notice it: one round trip more, and who is believed to be whom.

A handshake is three units on a connection (RFC 8446 §2): the client's hello with the name it wants, the
server's certificate, the client's answer with its own if asked. A client is up when its answer left, so a
server that refuses the client's certificate is heard of a round trip later. Nothing is encrypted; what is
checked is what machines see: authority, validity by the host's own clock, name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iceway.core.machine import TlsClient, TlsPeer, TlsServer
from iceway.io.reasons import name_mismatch

HANDSHAKE_TIMEOUT = 10.0
AUTHORITY = "lab"
GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""What a TLS hello looks like to somebody who does not speak TLS."""

HELLO_SIZE = 320
CERTIFICATE_SIZE = 1100
FINISHED_SIZE = 80


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the model: DNS names, who signed it, from when until when (Unix seconds)."""

    names: tuple[str, ...]
    authority: str = AUTHORITY
    valid_from: float = 0.0
    valid_until: float = float("inf")


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The certificates a program holds, by identity, and the authorities it believes."""

    identities: Mapping[str, Certificate] = field(default_factory=dict)
    trusted: tuple[str, ...] = (AUTHORITY,)

    def distrusts(self, certificate: Certificate, wall_now: float) -> str | None:
        """Why a certificate is not believed, or None."""
        if certificate.authority not in self.trusted:
            return "certificate not trusted"
        if wall_now < certificate.valid_from:
            return "certificate is not valid yet"
        if wall_now > certificate.valid_until:
            return "certificate expired"
        return None


# --- what goes over the connection ----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ClientHello:
    server_name: str


@dataclass(frozen=True, slots=True)
class ServerHello:
    certificate: Certificate
    wants_certificate: bool


@dataclass(frozen=True, slots=True)
class Finished:
    certificate: Certificate | None


@dataclass(frozen=True, slots=True)
class Alert:
    """`text` is what the receiver of the alert makes of it."""

    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one side makes of a handshake message: an answer to send, and being up, or failing."""

    answer: ServerHello | Finished | Alert | None = None
    up: TlsPeer | None = None
    failed: str | None = None


def client_meets(hello: ServerHello, tls: TlsClient, keys: KeyStore, wall_now: float) -> Verdict:
    """The client's view of the server's certificate."""
    certificate = hello.certificate
    refusal = keys.distrusts(certificate, wall_now)
    if refusal is not None:
        return Verdict(Alert("peer does not trust our certificate"), failed=refusal)
    described = {"subjectAltName": tuple(("DNS", name) for name in certificate.names)}
    if (mismatch := name_mismatch(described, tls.server_name)) is not None:
        return Verdict(Alert("peer refused our certificate"), failed=mismatch)
    own = keys.identities.get(tls.identity) if tls.identity and hello.wants_certificate else None
    return Verdict(Finished(own), up=TlsPeer(tuple(name.lower() for name in certificate.names)))


def server_meets(finished: Finished, tls: TlsServer, keys: KeyStore, wall_now: float) -> Verdict:
    """The server's view of the client's certificate."""
    if finished.certificate is None:
        if tls.require_client_certificate:
            return Verdict(Alert("peer wants a client certificate"), failed="peer sent no certificate")
        return Verdict(up=TlsPeer())
    refusal = keys.distrusts(finished.certificate, wall_now)
    if refusal is not None:
        return Verdict(Alert("peer does not trust our certificate"), failed=refusal)
    return Verdict(up=TlsPeer(tuple(name.lower() for name in finished.certificate.names)))
