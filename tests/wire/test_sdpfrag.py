"""Fragments of trickled candidates: read, written, and hostile."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iceway.core.errors import ParseError
from iceway.wire.sdp import IceParameters
from iceway.wire.sdpfrag import Section, parse, serialize

HEAD = "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n"
CANDIDATE = "1 1 UDP 2130706431 192.0.2.1 50000 typ host"


def test_credentials_above_hold_for_every_section_below() -> None:
    """As RFC 8840 §9 draws it: one user name for all, a section for each stream."""
    body = (
        f"{HEAD}m=audio 9 RTP/AVP 0\r\na=mid:1\r\na=candidate:{CANDIDATE}\r\na=end-of-candidates\r\n"
        f"m=video 9 RTP/AVP 31\r\na=mid:2\r\na=candidate:{CANDIDATE}\r\n"
    )
    audio, video = parse(body.encode())
    assert (audio.mid, audio.ice.ufrag, audio.ice.candidates) == ("1", "8hhY", (CANDIDATE,))
    assert (video.mid, video.ice.ufrag) == ("2", "8hhY")
    assert audio.ice.end_of_candidates
    assert not video.ice.end_of_candidates


def test_the_end_may_be_said_for_all() -> None:
    (section,) = parse(f"{HEAD}a=end-of-candidates\r\nm=audio 9 RTP/AVP 0\r\na=mid:1\r\n")
    assert section.ice.end_of_candidates


def test_what_is_written_is_read_back() -> None:
    ice = IceParameters("8hhY", "asd88fgpdd777uzjYhagZg", (CANDIDATE,), end_of_candidates=True)
    sections = (Section("0", ice), Section(None, ice, "video 9 RTP/SAVP 96"))
    assert parse(serialize(*sections)) == sections


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("m=audio 9 RTP/AVP 0\r\na=mid:1\r\n", "belongs to no session"),
        (f"{HEAD}m=audio\r\n", "is not media"),
        ("a=ice-ufrag:8\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\n", "ice-chars"),
        ("candidate", "is not a letter"),
    ],
)
def test_what_makes_no_sense_says_why(body: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        parse(body)


SHARDS = st.sampled_from(
    [
        HEAD,
        "m=audio 9 RTP/AVP 0\r\n",
        "a=mid:1\r\n",
        f"a=candidate:{CANDIDATE}\r\n",
        "a=candidate:\r\n",
        "a=end-of-candidates\r\n",
        "a=ice-pacing:99999999999\r\n",
        "a=remote-candidates:1\r\n",
        "v=0\r\n",
        "\0",
    ]
)


@given(st.binary(max_size=200) | st.lists(SHARDS | st.text(max_size=8), max_size=30).map("".join))
@example(b"")
@example("\r\n")
def test_no_bytes_crash_the_parser(data: bytes | str) -> None:
    try:
        sections = parse(data)
    except ParseError:
        return
    assert all(section.ice.ufrag for section in sections)
