"""How offer and answer agree on keys for SRTP: DTLS on the media path (RFC 5763), or keys in SDP (SDES, RFC 4568).

Who can do both offers both in one stream, as `RTP/SAVP`: ends that know only one of them find theirs and pass over
the other. In the answer stands one, and the handshake is preferred, since keys in SDP are known to every server that
passes them on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from iceway.core.errors import ParseError
from iceway.wire.fingerprint import Fingerprint, Setup
from iceway.wire.sdp import Line, MediaDescription, SessionDescription, attribute

MAX_FINGERPRINTS = 16


class Keys(StrEnum):
    """Which ways of agreeing on keys are taken."""

    BOTH = "both"
    DTLS = "dtls"
    SDES = "sdes"


@dataclass(frozen=True, slots=True)
class DtlsTerms:
    """What SDP settled about the handshake: whom to believe, and whether we open it."""

    fingerprints: tuple[Fingerprint, ...]
    active: bool


def fingerprints_of(description: SessionDescription, media: MediaDescription) -> tuple[Fingerprint, ...]:
    """Those that can prove something; the media's own, else the session's (RFC 8122 §5)."""
    found = []
    for text in (media.attributes("fingerprint") or description.attributes("fingerprint"))[:MAX_FINGERPRINTS]:
        try:
            fingerprint = Fingerprint.parse(text)
        except ParseError:
            continue
        if fingerprint.trusted:
            found.append(fingerprint)
    return tuple(found)


def setup_of(description: SessionDescription, media: MediaDescription) -> Setup | None:
    """Their role; "active" where nothing is said (RFC 4145 §4.1), None for what is no role or means not yet."""
    text = (description.attribute_of(media, "setup") or Setup.ACTIVE).strip().lower()
    return Setup(text) if text in (Setup.ACTIVE, Setup.PASSIVE, Setup.ACTPASS) else None


def role_in_answer(offered: Setup, current: DtlsTerms | None, fingerprints: tuple[Fingerprint, ...]) -> bool:
    """Whether our answer says active: free to choose we are, and keep to what we are already (RFC 8842 §5.5)."""
    if offered is not Setup.ACTPASS:
        return offered is Setup.PASSIVE
    same = current is not None and current.fingerprints == fingerprints
    return current.active if same and current is not None else True


def dtls_lines(fingerprint: Fingerprint, setup: Setup) -> tuple[Line, ...]:
    return (attribute("fingerprint", str(fingerprint)), attribute("setup", setup.value))
