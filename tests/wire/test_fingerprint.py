"""Fingerprints: read, written, and what they prove."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.fingerprint import Fingerprint, proves

CERTIFICATE, ANOTHER = b"a certificate", b"another"


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_said_and_read_again(algorithm: str) -> None:
    said = Fingerprint.of(CERTIFICATE, algorithm)
    assert Fingerprint.parse(str(said)) == said
    assert Fingerprint.parse(str(said).lower()) == said
    assert proves([said], CERTIFICATE)
    assert not proves([said], ANOTHER)


@pytest.mark.parametrize(
    "text", ["", "sha-256", "sha-256 AB:C", "sha-256 AB:CD EF", "sha-256 ABCD", "sha_1 AB"]
)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ParseError):
        Fingerprint.parse(text)


def test_weak_and_short_ones_prove_nothing() -> None:
    weak = Fingerprint("sha-1", hashlib.sha1(CERTIFICATE, usedforsecurity=False).digest())
    short = Fingerprint("sha-256", Fingerprint.of(CERTIFICATE).value[:4])
    assert not proves([weak, short], CERTIFICATE)
    assert not proves([], CERTIFICATE)


def test_the_strongest_function_decides_and_several_certificates_may_be_announced() -> None:
    """RFC 8122 §5: who changed only the weak one has changed nothing; one of several is enough."""
    weak, strong = Fingerprint.of(CERTIFICATE, "sha-256"), Fingerprint.of(ANOTHER, "sha-512")
    assert not proves([weak, strong], CERTIFICATE)
    assert proves([weak, strong], ANOTHER)
    assert proves([Fingerprint.of(ANOTHER), weak], CERTIFICATE)


@given(st.text(max_size=120))
@example("sha-256 " + ":".join(["AB"] * 129))
def test_no_text_crashes_the_reader(text: str) -> None:
    with contextlib.suppress(ParseError):
        Fingerprint.parse(text)
