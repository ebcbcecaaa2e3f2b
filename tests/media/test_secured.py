"""What sessions share: keys that stay or change, refusals by cause, reports of the other side."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from iceway.core.errors import ParseError, UsageError
from iceway.media.description import Negotiated
from iceway.media.formats import CODECS
from iceway.media.keying import DtlsTerms
from iceway.media.secured import FarSide, Protection, Refusals
from iceway.media.srtp import SrtpKey, SrtpRefused
from iceway.media.stream import middle, ntp_time
from iceway.wire.rtp import ReceiverReport, ReceptionReport, RtpPacket, serialize_rtcp, serialize_rtp

ONE, OTHER = (SrtpKey.draw(random.Random(seed)) for seed in (1, 2))
TERMS = Negotiated(CODECS["opus"], (CODECS["opus"],), ONE, OTHER, None, None)
MIRRORED = replace(TERMS, send_key=OTHER, recv_key=ONE)


def packet(sequence: int) -> bytes:
    return serialize_rtp(RtpPacket(111, sequence, 0, 7, b"sound"))


def test_both_sides_open_what_the_other_protected() -> None:
    one, other = Protection(TERMS), Protection(MIRRORED)
    report = serialize_rtcp(ReceiverReport(7))
    assert other.opened(one.protect(packet(1))) == packet(1)
    assert other.opened(one.protect_rtcp(report)) == report
    with pytest.raises(SrtpRefused):
        other.opened(other.protect(packet(2)))
    assert other.stray(b"PING")
    assert not other.stray(one.protect(packet(3)))


def test_a_key_that_comes_back_never_encrypts_twice_the_same() -> None:
    keys = Protection(TERMS)
    before = keys.protect(packet(1))
    keys.change(replace(TERMS, send_key=None))
    assert keys.protect(packet(2)) == packet(2)
    keys.change(TERMS)
    other = Protection(MIRRORED)
    assert other.opened(before) == packet(1)
    assert other.opened(keys.protect(packet(3))) == packet(3)


def test_in_clear_packets_have_a_greatest_length() -> None:
    keys = Protection(replace(TERMS, send_key=None, recv_key=None))
    assert keys.opened(packet(1)) == packet(1)
    assert not keys.stray(b"PING")
    with pytest.raises(ParseError):
        keys.opened(bytes(2001))


def test_nothing_goes_out_in_clear_while_keys_are_to_come() -> None:
    terms = replace(TERMS, send_key=None, recv_key=None, dtls=DtlsTerms((), True))
    with pytest.raises(UsageError):
        Protection(terms).protect(packet(1))


def test_each_cause_is_said_once_and_causes_are_bounded() -> None:
    refusals = Refusals()
    assert [refusals.count("damaged") for _ in range(3)] == ["damaged", None, None]
    said = [refusals.count(f"cause {number}") for number in range(100)]
    assert said[30:33] == ["cause 30", "other causes", None]
    assert refusals.total == 103


def test_a_round_trip_that_cannot_be_is_none() -> None:
    far = FarSide()
    block = ReceptionReport(7, 64, 0, 0, 0, middle(ntp_time(1000.0)), 65_536 // 2)
    far.report(block, 8000, 1000.7)
    assert (far.reports, far.jitter) == (1, 0.0)
    assert (far.fraction_lost, far.round_trip) == (0.25, pytest.approx(0.2, abs=1e-4))
    far.report(block, 8000, 900.0)
    assert far.round_trip == pytest.approx(0.2, abs=1e-4)


def test_a_key_that_comes_back_after_another_goes_on_counting() -> None:
    """As when a call rings at two ends and comes back to the first: no index is used twice (RFC 3711 §9.1)."""
    protection = Protection(TERMS)
    report = serialize_rtcp(ReceiverReport(99))
    before = protection.protect_rtcp(report)
    protection.change(replace(TERMS, send_key=OTHER))
    protection.protect_rtcp(report)
    protection.change(TERMS)
    after = protection.protect_rtcp(report)
    assert [int.from_bytes(one[-14:-10]) & 0x7FFF_FFFF for one in (before, after)] == [1, 2]
