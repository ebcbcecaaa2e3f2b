"""A certificate authority for development and labs: everybody's TLS works from the first minute.

Opening a directory a second time finds the same authority and the same certificates. A certificate is issued
anew when it is missing, about to expire, or asked for with other names. Keys are readable by their owner only.
Not for production: the authority's key lies unencrypted beside what it signs.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iceway.core.address import is_ip
from iceway.core.errors import EnvironmentFailure
from iceway.io.keystore import Identity, KeyStore

Algorithm = Literal["ec", "rsa"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CA_DAYS = 3650
CERTIFICATE_DAYS = 397
_RENEW_BEFORE = datetime.timedelta(days=7)
_BACKDATE = datetime.timedelta(hours=1)  # clocks of a lab differ


class DevCa:
    """`DevCa.open(directory)`, then `issue` a certificate a name and hand out a `keystore`."""

    def __init__(self, directory: Path, certificate: x509.Certificate, key: PrivateKey) -> None:
        self.directory = directory
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(
        cls, directory: Path, *, name: str = "iceway development CA", algorithm: Algorithm = "ec"
    ) -> DevCa:
        """The authority of this directory, made if it is new. Raises EnvironmentFailure."""
        files = Identity(directory / "ca.pem", directory / "ca.key")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if files.certificate.exists() and files.key.exists():
                return cls(directory, *_load(files))
            key = _new_key(algorithm)
            certificate = _self_signed(name, key)
            _save(files, [certificate], key)
            return cls(directory, certificate, key)
        except (OSError, ValueError) as error:
            raise EnvironmentFailure(
                f"the development CA in {directory} cannot be used: {error}",
                "Remove the directory to start afresh, or name another.",
            ) from error

    @property
    def certificate_path(self) -> Path:
        """What others must trust."""
        return self.directory / "ca.pem"

    def issue(
        self,
        identity: str,
        names: Iterable[str],
        *,
        algorithm: Algorithm = "ec",
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> Identity:
        """A certificate for these DNS names and IP addresses, usable at both ends of a connection."""
        names = tuple(names)
        files = Identity(self.directory / f"{identity}.pem", self.directory / f"{identity}.key")
        try:
            if not_after is None and self._is_good(files, names, algorithm):
                return files
            key = _new_key(algorithm)
            now = datetime.datetime.now(datetime.UTC)
            certificate = self._signed(
                names,
                key,
                not_before or now - _BACKDATE,
                not_after or now + datetime.timedelta(days=CERTIFICATE_DAYS),
            )
            _save(files, [certificate], key)
        except (OSError, ValueError) as error:
            raise EnvironmentFailure(f"cannot issue a certificate for {identity}: {error}") from error
        return files

    def keystore(self, **identities: Identity) -> KeyStore:
        """These identities, trusting this authority alone."""
        return KeyStore(identities, trust=[self.certificate_path])

    def _is_good(self, files: Identity, names: tuple[str, ...], algorithm: Algorithm) -> bool:
        if not (files.certificate.exists() and files.key.exists()):
            return False
        try:
            certificate, key = _load(files)
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:
            return False  # somebody else's, damaged, or signed by an authority that was thrown away
        lasting = datetime.datetime.now(datetime.UTC) + _RENEW_BEFORE < certificate.not_valid_after_utc
        same_names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value == _alternative_names(names)
        return lasting and same_names and isinstance(key, _KEY_TYPES[algorithm])

    def _signed(
        self,
        names: tuple[str, ...],
        key: PrivateKey,
        not_before: datetime.datetime,
        not_after: datetime.datetime,
    ) -> x509.Certificate:
        alternative_names = _alternative_names(names)
        common_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        return (
            x509.CertificateBuilder()
            .subject_name(common_name)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(alternative_names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


_KEY_TYPES: dict[Algorithm, type] = {"ec": ec.EllipticCurvePrivateKey, "rsa": rsa.RSAPrivateKey}


def _new_key(algorithm: Algorithm) -> PrivateKey:
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _self_signed(name: str, key: PrivateKey) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _alternative_names(names: tuple[str, ...]) -> x509.SubjectAlternativeName:
    if not names:
        raise ValueError("a certificate needs a name")
    return x509.SubjectAlternativeName(
        [
            x509.IPAddress(ipaddress.ip_address(name.strip("[]"))) if is_ip(name) else x509.DNSName(name)
            for name in names
        ]
    )


def _load(files: Identity) -> tuple[x509.Certificate, PrivateKey]:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"{files.key} is neither an EC nor an RSA key")
    return certificate, key


def _save(files: Identity, chain: list[x509.Certificate], key: PrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(files.key, pem, 0o600)
    _write(files.certificate, b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
    draft.replace(path)
