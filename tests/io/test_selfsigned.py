"""Certificates for the media path: new each time, valid now, and saying nothing about their owner."""

from __future__ import annotations

import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from iceway.io.selfsigned import media_identity
from iceway.wire.fingerprint import proves


def test_each_is_new_and_says_only_its_fingerprint() -> None:
    one, other = media_identity(), media_identity()
    assert one.fingerprint != other.fingerprint
    assert proves([one.fingerprint], one.certificate.public_bytes(Encoding.DER))
    assert one.certificate.subject.rfc4514_string() == "CN=media"
    assert str(one.key.private_numbers().private_value) not in repr(one)


def test_it_is_valid_now_and_signed_by_its_own_key() -> None:
    one = media_identity()
    now = datetime.datetime.now(datetime.UTC)
    assert one.certificate.not_valid_before_utc < now < one.certificate.not_valid_after_utc
    one.certificate.verify_directly_issued_by(one.certificate)
    assert isinstance(one.key.curve, ec.SECP256R1)
