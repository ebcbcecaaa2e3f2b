"""The certificates of one process: whom we are (identities) and whom we trust (roots).

An identity is a name the program chooses ("edge", "frontend") for a certificate chain and its private key,
both PEM files. Machines name identities; only drivers see keys. TLS is 1.2 or newer, and every outgoing
connection verifies the chain here; the name is compared by the driver, which can then say whose it was.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from OpenSSL import SSL

from iceway.core.address import Address
from iceway.core.errors import EnvironmentFailure
from iceway.core.machine import TlsClient, TlsServer

_DTLS_1_2 = 0xFEFD


@dataclass(slots=True)
class HandshakeFacts:
    """What callbacks know of a DTLS connection: they get it as its app data. `distrusted` is an X509_V_ERR."""

    remote: Address
    distrusted: int = 0


class Identity(NamedTuple):
    """Where a certificate chain (leaf first) and its unencrypted private key lie."""

    certificate: Path
    key: Path


class KeyStore:
    """Identities and trust. Contexts are built once; `reload` forgets them after files changed."""

    def __init__(
        self,
        identities: dict[str, Identity] | None = None,
        *,
        trust: Iterable[Path] = (),
        system_trust: bool = False,
    ) -> None:
        """`trust`: PEM files of root certificates. `system_trust` adds those of the operating system."""
        self._identities = dict(identities or {})
        self._trust = tuple(trust)
        self._system_trust = system_trust
        self._contexts: dict[TlsServer | str | None, ssl.SSLContext] = {}

    def add(self, name: str, identity: Identity) -> None:
        self._identities[name] = identity
        self.reload()

    def reload(self) -> None:
        """Read the files again for connections from now on."""
        self._contexts.clear()

    def identity(self, name: str) -> Identity:
        """Raises EnvironmentFailure if there is none of that name."""
        try:
            return self._identities[name]
        except KeyError:
            known = ", ".join(sorted(self._identities)) or "none"
            raise EnvironmentFailure(
                f"no certificate is configured for {name!r} (there is: {known})"
            ) from None

    def private_key_pem(self, name: str) -> bytes:
        """The private key of an identity, for keys derived from it."""
        path = self.identity(name).key
        try:
            return path.read_bytes()
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot read the private key {path}: {error.strerror}",
                "Section [tls] of the configuration names it; relative paths count from the configuration.",
            ) from error

    def server_context(self, tls: TlsServer) -> ssl.SSLContext:
        """For a listener. A client certificate is asked for unless `anonymous`; `require…` decides if it must come."""
        context = self._contexts.get(tls)
        if context is None:
            context = self._context(ssl.PROTOCOL_TLS_SERVER, tls.identity)
            if tls.require_client_certificate:
                context.verify_mode = ssl.CERT_REQUIRED
            elif not tls.anonymous and (self._trust or self._system_trust):
                context.verify_mode = ssl.CERT_OPTIONAL
            self._contexts[tls] = context
        return context

    def client_context(self, tls: TlsClient) -> ssl.SSLContext:
        """For an outgoing connection: the chain is verified, the name is left to the caller."""
        context = self._contexts.get(tls.identity)
        if context is None:
            context = self._context(ssl.PROTOCOL_TLS_CLIENT, tls.identity)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            self._contexts[tls.identity] = context
        return context

    def datagram_context(self, tls: TlsServer | TlsClient) -> SSL.Context:
        """For DTLS, with the rules of the others. A fresh one, which its caller keeps."""
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        for option in (SSL.OP_NO_QUERY_MTU, SSL.OP_COOKIE_EXCHANGE, SSL.OP_NO_RENEGOTIATION):
            context.set_options(option or 0)
        if self._system_trust:
            context.set_default_verify_paths()
        for path in self._trust:
            try:
                context.load_verify_locations(str(path))
            except SSL.Error as error:
                raise EnvironmentFailure(
                    f"cannot load trusted certificates from {path}",
                    "Name the PEM file of the authority to trust.",
                ) from error
        if tls.identity is not None:
            certificate, key = self.identity(tls.identity)
            try:
                context.use_certificate_chain_file(str(certificate))
                context.use_privatekey_file(str(key))
                context.check_privatekey()
            except SSL.Error as error:
                raise EnvironmentFailure(
                    f"cannot load certificate {certificate} with key {key}",
                    "Both must be PEM files, the key unencrypted and belonging to the certificate.",
                ) from error
        if isinstance(tls, TlsClient):
            context.set_verify(SSL.VERIFY_PEER, _judged)
        elif tls.require_client_certificate:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _judged)
        return context

    def _context(self, protocol: int, identity: str | None) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self._system_trust:
            context.load_default_certs()
        for path in self._trust:
            try:
                context.load_verify_locations(path)
            except OSError as error:
                raise EnvironmentFailure(
                    f"cannot load trusted certificates from {path}: {error.strerror or error}",
                    "Name the PEM file of the authority to trust.",
                ) from error
        if identity is not None:
            certificate, key = self.identity(identity)
            try:
                context.load_cert_chain(certificate, key, password=_no_password)
            except (OSError, ValueError) as error:
                raise EnvironmentFailure(
                    f"cannot load certificate {certificate} with key {key}: {error}",
                    "Both must be PEM files, the key unencrypted and belonging to the certificate.",
                ) from error
        return context


def _judged(tls: SSL.Connection, _: object, code: int, depth: int, believed: int) -> bool:
    """Remember why a certificate is not believed: OpenSSL's error does not say."""
    if not believed:
        tls.get_app_data().distrusted = code
    return bool(believed)


def _no_password() -> str:
    # Without a callback OpenSSL would ask on the terminal and hang a daemon.
    raise ValueError("the private key is encrypted")
