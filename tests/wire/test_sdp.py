"""SDP: read as RFC 8866, RFC 8839 and RFC 4568 write it, kept as it came."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.wire import sdp
from iceway.wire.sdp import (
    Connection,
    Crypto,
    IceParameters,
    Line,
    MediaDescription,
    Origin,
    RtpMap,
    SessionDescription,
    attribute,
    ice_lines,
    ice_parameters,
    parse,
    serialize,
)

KEY = bytes(range(30))
SPACE = " "  # Microsoft and libnice end this line in one
OFFER = f"""v=0
o=jdoe 2890844526 2890842807 IN IP4 203.0.113.141
s=-
c=IN IP4 192.0.2.3
t=0 0
a=ice-options:ice2 trickle
a=group:BUNDLE a1 v1
m=audio 45664 RTP/SAVP 96 0 101
b=RS:0
z=who knows
a=rtpmap:96 opus/48000/2
a=rtpmap:0 PCMU/8000
a=fmtp:96 useinbandfec=1; stereo=0
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(KEY).decode()}|2^31|1:1 UNENCRYPTED_SRTCP
a=ptime:20
a=mid:a1
a=rtcp:45665 IN IP4 192.0.2.3
a=rtcp-mux
a=sendonly
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=ice-ufrag:8hhY
a=candidate:1 1 UDP 2130706431 10.0.1.1 8998 typ host
a=candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998
a=remote-candidates:1 192.0.2.9 4000 2 2001:DB8::1 4001{SPACE}
a=end-of-candidates
m=video 0 RTP/AVP 97
a=x-unknown:kept: as=is
"""


def the_offer() -> tuple[SessionDescription, MediaDescription]:
    description = parse(OFFER)
    return description, description.media[0]


def test_a_description_goes_out_as_it_came_in() -> None:
    assert serialize(parse(OFFER)) == OFFER.replace("\n", "\r\n")


def test_sections_and_the_m_line() -> None:
    description, audio = the_offer()
    assert description.origin == Origin("jdoe", 2890844526, 2890842807, "203.0.113.141")
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        "audio",
        45664,
        "RTP/SAVP",
        ("96", "0", "101"),
    )
    assert description.media[1].port == 0
    assert description.media[1].attribute("x-unknown") == "kept: as=is"
    assert description.groups == (("BUNDLE", ("a1", "v1")),)
    assert parse("v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 5004/2 RTP/AVP 0\n").media[0].port_count == 2


def test_media_attributes() -> None:
    description, audio = the_offer()
    assert audio.rtpmaps == {96: RtpMap(96, "opus", 48000, 2), 0: RtpMap(0, "PCMU", 8000)}
    assert audio.fmtp(96) == "useinbandfec=1; stereo=0"
    assert audio.fmtp(0) == ""
    assert (audio.ptime, audio.mid, audio.rtcp_port, audio.has("rtcp-mux")) == (20, "a1", 45665, True)
    assert description.direction_of(audio) == "sendonly"
    assert description.direction_of(description.media[1]) == "sendrecv"
    assert description.connection_of(audio) == Connection("192.0.2.3")


def test_crypto_line() -> None:
    _, audio = the_offer()
    (crypto,) = audio.cryptos
    assert crypto == Crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY, "2^31", "1:1", ("UNENCRYPTED_SRTCP",))
    assert str(crypto) == audio.attribute("crypto")
    assert Crypto.parse(f"7 S inline:{base64.b64encode(KEY).decode()}|3:4").mki == "3:4"
    assert base64.b64encode(KEY).decode() not in repr(crypto)
    assert str(KEY) not in repr(crypto)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1 AES",
        "x AES inline:AAAA",
        "1 A inline:",
        "1 A clear:AAAA",
        "1 A inline:!!!",
        "1 A inline:AA|1|2|3",
        "1 A inline:AA|1|2",
        "1 A inline:AA||1:4",
    ],
)
def test_unreadable_crypto_lines_are_refused_and_offer_nothing(text: str) -> None:
    with pytest.raises(ParseError):
        Crypto.parse(text)
    body = f"v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 9 RTP/SAVP 0\na=crypto:{text}\n"
    assert parse(body).media[0].cryptos == ()


def test_ice_lines_are_read_at_both_levels() -> None:
    description, audio = the_offer()
    parameters = ice_parameters(description, audio)
    assert parameters == IceParameters(
        ufrag="8hhY",
        pwd="asd88fgpdd777uzjYhagZg",
        candidates=(
            "1 1 UDP 2130706431 10.0.1.1 8998 typ host",
            "2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998",
        ),
        remote_candidates=((1, Address("192.0.2.9", 4000)), (2, Address("2001:db8::1", 4001))),
        options=("ice2", "trickle"),
        end_of_candidates=True,
    )
    assert "asd88" not in repr(parameters)
    assert ice_parameters(description, description.media[1]) is None


def test_ice_lines_written_are_read_back() -> None:
    parameters = IceParameters(
        "abcd",
        "p" * 22,
        ("1 1 UDP 1 192.0.2.1 9 typ host",),
        ((1, Address("192.0.2.9", 7)),),
        ("ice2",),
        True,
        False,
        True,
    )
    media = MediaDescription("audio", 9, "RTP/SAVP", ("0",), ice_lines(parameters))
    description = SessionDescription(Origin("-", 1, 1, "0.0.0.0"), (), (media,))
    assert ice_parameters(description, media) == parameters


@pytest.mark.parametrize(
    ("ufrag", "pwd", "more"),
    [
        ("abc", "p" * 22, ""),
        ("abcd", "p" * 21, ""),
        ("a" * 257, "p" * 22, ""),
        ("ab d", "p" * 22, ""),
        ("abcd", "p" * 22, "a=remote-candidates:1 host.invalid 9\n"),
        ("abcd", "p" * 22, "a=remote-candidates:1 192.0.2.1\n"),
        ("abcd", "p" * 22, "a=candidate:x\n" * 201),
    ],
)
def test_bad_ice_lines_are_refused(ufrag: str, pwd: str, more: str) -> None:
    description = parse(
        f"v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 9 RTP/SAVP 0\na=ice-ufrag:{ufrag}\na=ice-pwd:{pwd}\n{more}"
    )
    with pytest.raises(ParseError):
        ice_parameters(description, description.media[0])


def test_a_password_without_a_fragment_is_refused() -> None:
    description = parse(
        "v=0\no=- 1 1 IN IP4 0.0.0.0\na=ice-pwd:pppppppppppppppppppppp\nm=audio 9 RTP/SAVP 0\n"
    )
    with pytest.raises(ParseError, match="ufrag"):
        ice_parameters(description, description.media[0])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "v=1\no=- 1 1 IN IP4 0.0.0.0\n",
        "v=0\ns=-\n",
        "v=0\no=- 1 1 IN IP4\n",
        "v=0\no=- x 1 IN IP4 0.0.0.0\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\nnonsense\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio x RTP/AVP 0\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 65536 RTP/AVP 0\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\nm=audio 9 RTP/AVP\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=\0\n",
        "v=0\no=- 1 1 IN IP4 0.0.0.0\n" + "m=audio 9 RTP/AVP 0\n" * 33,
        "v=0\no=- 1 1 IN IP4 0.0.0.0\n" + "a=x\n" * 2001,
        "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=" + "x" * 70_000,
    ],
)
def test_what_is_no_sdp_is_refused(body: str) -> None:
    with pytest.raises(ParseError):
        parse(body)


def test_harmless_oddities_are_accepted() -> None:
    assert parse(b"\r\nv=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n\r\ns=\xff\r\n\r\n").first("s") == "�"


values = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
lines = st.builds(Line, st.sampled_from("abcistz"), values)
numbers = st.integers(0, 10**20 - 1)
words = st.text("abcXYZ019.-_", min_size=1, max_size=8)
medias = st.builds(
    MediaDescription,
    words,
    st.integers(0, 65535),
    words,
    st.lists(words, min_size=1, max_size=5).map(tuple),
    st.lists(lines, max_size=6).map(tuple),
    st.integers(1, 9),
)
descriptions = st.builds(
    SessionDescription,
    st.builds(Origin, words, numbers, numbers, words, st.just("IP6")),
    st.lists(lines, max_size=6).map(tuple),
    st.lists(medias, max_size=4).map(tuple),
)


@settings(max_examples=150)
@given(descriptions)
def test_what_is_written_is_read_back(description: SessionDescription) -> None:
    assert parse(serialize(description).encode()) == description


def read_everything(description: SessionDescription) -> None:
    """Every reader a machine may call on hostile lines."""
    assert description.groups is not None
    for media in description.media:
        assert media.rtpmaps is not None
        assert media.cryptos is not None
        media.fmtp(96)
        assert media.ptime is None or media.ptime > 0
        description.direction_of(media)
        for reader in (
            lambda m: ice_parameters(description, m),
            lambda m: description.connection_of(m),
            lambda m: m.rtcp_port,
        ):
            with contextlib.suppress(ParseError):
                reader(media)


shards = st.sampled_from(
    [
        *(line + "\r\n" for line in OFFER.splitlines()),
        "a=crypto:",
        "a=rtpmap:",
        "a=group:\n",
        "m=",
        "a=rtcp:",
        "9",
        "\xff",
        " ",
    ]
)


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(shards, max_size=40).map(lambda x: "v=0\r\no=- 1 1 IN IP4 0\r\n" + "".join(x)),
    )
)
@example("v=0\no=- 1 1 IN IP4 0\na=group:\nm=audio 9 RTP/AVP 0\na=ptime:²\na=rtpmap:² x/²\n")
def test_no_bytes_crash_the_parser(data: bytes | str) -> None:
    try:
        description = parse(data)
    except ParseError:
        return
    read_everything(description)
    assert parse(serialize(description)) == description


def test_attribute_builds_both_forms() -> None:
    assert str(attribute("rtcp-mux")) == "a=rtcp-mux"
    assert str(attribute("ptime", "20")) == "a=ptime:20"
    assert sdp.DIRECTIONS[0] == "sendrecv"
