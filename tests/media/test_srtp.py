"""SRTP: what one side protects the other opens, and nothing else passes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.media.srtp import SDES_SUITES, SUITES, SrtpKey, SrtpReceiver, SrtpRefused, SrtpSender
from iceway.wire.rtp import ReceiverReport, RtpPacket, parse_rtp, serialize_rtcp, serialize_rtp

RTP = serialize_rtp(RtpPacket(0, 7, 160, 99, b"sound" * 20))
RTCP = serialize_rtcp(ReceiverReport(99))


def pair(key: SrtpKey) -> tuple[SrtpSender, SrtpReceiver]:
    return SrtpSender(key), SrtpReceiver(key)


@pytest.mark.parametrize(
    ("suite", "mki"),
    [(suite, mki) for suite in SDES_SUITES for mki in (b"", b"\x01", b"\0\0\0\7")]
    + [(suite, b"") for suite in sorted(set(SUITES) - set(SDES_SUITES))],
)
def test_both_kinds_of_packet_come_through(suite: str, mki: bytes) -> None:
    key = SrtpKey(suite, bytes(range(SUITES[suite].key + SUITES[suite].salt)), mki)
    sender, receiver = pair(key)
    protected, report = sender.protect(RTP), sender.protect_rtcp(RTCP)
    assert b"sound" not in protected
    assert len(protected) == len(RTP) + SUITES[suite].tag + len(mki)
    assert receiver.unprotect(protected) == RTP
    assert receiver.unprotect_rtcp(report) == RTCP


def test_a_known_packet_of_this_key() -> None:
    # RFC 3711 §B.3 master key and salt; the keystream makes the header plain and the rest reproducible.
    key = SrtpKey(
        "AES_CM_128_HMAC_SHA1_80",
        bytes.fromhex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6"),
    )
    plain = bytes.fromhex("800f1234decafbadcafebabe") + b"\xab" * 16
    # The reference packet of libsrtp's own validation suite.
    protected = bytes.fromhex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb")
    assert SrtpSender(key).protect(plain) == protected
    assert SrtpReceiver(key).unprotect(protected) == plain


def test_another_key_a_changed_bit_and_a_repeat_are_refused() -> None:
    key = SrtpKey.draw(random.Random(1))
    sender, receiver = pair(key)
    protected = sender.protect(RTP)
    with pytest.raises(SrtpRefused, match="another key") as wrong:
        SrtpReceiver(SrtpKey.draw(random.Random(2))).unprotect(protected)
    assert not wrong.value.replayed
    with pytest.raises(SrtpRefused, match="damaged"):
        receiver.unprotect(protected[:-1] + bytes([protected[-1] ^ 1]))
    receiver.unprotect(protected)
    with pytest.raises(SrtpRefused) as repeat:
        receiver.unprotect(protected)
    assert repeat.value.replayed


def test_a_missing_or_other_mki_is_refused() -> None:
    keyed = SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(30), b"\1")
    for other in (b"", b"\2"):
        packet = SrtpSender(SrtpKey(keyed.suite, keyed.key_and_salt, other)).protect(RTP)
        with pytest.raises(SrtpRefused, match="identifier"):
            SrtpReceiver(keyed).unprotect(packet)


def test_keys_are_drawn_from_the_given_chance_and_never_shown() -> None:
    one, same, other = (SrtpKey.draw(random.Random(seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert len(one.key_and_salt) == 30
    assert str(one.key_and_salt) not in repr(one)


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=120), st.just(b"\x80" * 3000)), st.sampled_from([b"", b"\1\2"]))
def test_no_bytes_crash_the_receiver(data: bytes, mki: bytes) -> None:
    receiver = SrtpReceiver(SrtpKey("AES_CM_128_HMAC_SHA1_80", bytes(30), mki))
    for unprotect in (receiver.unprotect, receiver.unprotect_rtcp):
        with pytest.raises(SrtpRefused):
            unprotect(data)


def test_packets_around_the_wrap_of_the_sequence_number() -> None:
    sender, receiver = pair(SrtpKey.draw(random.Random(3)))
    for number in (65534, 65535, 0, 1):
        packet = serialize_rtp(RtpPacket(0, number, 0, 5, b"x"))
        assert parse_rtp(receiver.unprotect(sender.protect(packet))).sequence == number
