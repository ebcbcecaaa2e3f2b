"""Self-signed certificates for DTLS-SRTP: one a process, whose fingerprint goes into session descriptions.

Nobody vouches for it and its name says nothing, so that calls cannot be told apart by it (RFC 8827 §6.5 asks the
same of browsers).
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from iceway.media.dtls import DtlsIdentity

_LIFE = datetime.timedelta(days=30)
_BACKDATE = datetime.timedelta(days=1)  # for clocks that are slow


def media_identity() -> DtlsIdentity:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    return DtlsIdentity(certificate, key)
