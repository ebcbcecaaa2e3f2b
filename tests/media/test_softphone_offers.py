"""What softphones really offer and answer, and what we make of it: as their programs sent it, with other keys."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from iceway.core.address import Address
from iceway.media.negotiation import MediaNegotiation, Transport
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint
from iceway.wire.sdp import IceParameters, MediaDescription

PRINT = Fingerprint.parse(f"sha-256 {':'.join(['AB'] * 32)}")
ICE = IceParameters("ours", "o" * 22, ("1 1 UDP 9 192.0.2.1 5000 typ host",), (), ("ice2",))
KEY = "A" * 40

LINPHONE = f"""\
v=0
o=alice 3856 2542 IN IP4 192.168.1.20
s=Talk
c=IN IP4 192.168.1.20
t=0 0
a=ice-pwd:25d1f1bb012025285c5dfa2b
a=ice-ufrag:c960a71b
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
m=audio 50808 RTP/SAVP 96 97 98 0 8 18 99 100 101
c=IN IP4 198.51.100.2
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=fmtp:18 annexb=yes
a=rtpmap:99 telephone-event/48000
a=rtpmap:100 telephone-event/16000
a=rtpmap:101 telephone-event/8000
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}
a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}
a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:{"A" * 61}=
a=crypto:4 AES_256_CM_HMAC_SHA1_32 inline:{"A" * 61}=
a=rtcp:51345
a=candidate:1 1 UDP 2130706303 192.168.1.20 7078 typ host
a=candidate:1 2 UDP 2130706302 192.168.1.20 7079 typ host
a=candidate:2 1 UDP 1694498687 198.51.100.77 7078 typ srflx raddr 192.168.1.20 rport 7078
a=candidate:3 1 UDP 16777087 198.51.100.2 50808 typ relay raddr 192.168.1.20 rport 7078
a=candidate:2 2 UDP 1694498686 198.51.100.77 7079 typ srflx raddr 192.168.1.20 rport 7079
a=candidate:3 2 UDP 16777086 198.51.100.2 51345 typ relay raddr 192.168.1.20 rport 7079
a=rtcp-fb:* trr-int 1000
a=rtcp-fb:* ccm tmmbr
"""
LINPHONE_ANSWERS = """\
v=0
o=bob 4029 252 IN IP4 10.0.0.20
s=Talk
c=IN IP4 10.0.0.20
t=0 0
a=ice-pwd:25d1f1bb012025285c5dfa2b
a=ice-ufrag:bc0e656e
m=audio 7078 UDP/TLS/RTP/SAVP 111 0 8 110 101
c=IN IP4 198.51.100.1
a=rtpmap:111 opus/48000/2
a=fmtp:111 useinbandfec=1
a=rtpmap:110 telephone-event/48000
a=rtpmap:101 telephone-event/8000
a=setup:active
a=fingerprint:SHA-256 8E:33:32:4B:0D:40:0F:83:34:87:62:B3:E7:A4:00:59:30:B4:68:6E:B3:B2:80:E9:83:64:40:F2:81:8D:E9:AF
a=ssrc:1953237120 cname:sip:bob@example.test
a=rtcp:7079 IN IP4 10.0.0.20
a=candidate:1 1 UDP 2130706303 10.0.0.20 7078 typ host
a=candidate:2 1 UDP 1694498687 198.51.100.1 7078 typ srflx raddr 10.0.0.20 rport 7078
"""
BARESIP = f"""\
v=0
o=- 1619559037 687107287 IN IP4 192.168.1.20
s=-
c=IN IP4 192.168.1.20
t=0 0
a=ice-ufrag:mHD0
a=ice-pwd:25d1f1bb012025285c5dfa2b
m=audio 63784 RTP/SAVP 96 101
c=IN IP4 198.51.100.2
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=1;sprop-stereo=1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
a=label:1
a=rtcp-rsize
a=ssrc:1370414708 cname:sip:alice@example.test
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}
a=ptime:20
a=candidate:c0a80114 1 UDP 2113929471 192.168.1.20 32794 typ host
a=candidate:c6336401 1 UDP 255 198.51.100.2 63784 typ relay raddr 192.168.1.20 rport 32794
m=video 58224 RTP/SAVP 96 97 34 98 99
c=IN IP4 198.51.100.2
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=0;profile-level-id=42e01f
a=rtpmap:97 H264/90000
a=fmtp:97 packetization-mode=1;profile-level-id=42e01f
a=rtpmap:34 H263/90000
a=fmtp:34 CIF=1;CIF4=1
a=rtpmap:98 MP4V-ES/90000
a=fmtp:98 profile-level-id=3
a=rtpmap:99 H265/90000
a=fmtp:99 profile-id=1
a=sendrecv
a=label:2
a=framerate:15.00
a=rtcp-fb:* nack pli
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}
a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}
a=candidate:c0a80114 1 UDP 2113929471 192.168.1.20 16998 typ host
a=candidate:c6336401 1 UDP 255 198.51.100.2 58224 typ relay raddr 192.168.1.20 rport 16998
"""
LIBRE_BUNDLES = """\
v=0
o=- 1258658064 1790766331 IN IP4 192.168.1.20
s=-
c=IN IP4 192.168.1.20
t=0 0
a=ice-ufrag:h9csQY9
a=ice-pwd:25d1f1bb012025285c5dfa2b
a=setup:actpass
a=fingerprint:SHA-256 27:52:87:0F:05:18:18:1A:19:A4:B0:5B:91:B8:45:89:78:D2:F4:4E:30:1F:14:CC:5C:62:4D:59:E0:F4:07:06
a=group:BUNDLE 0 1
m=audio 61997 UDP/TLS/RTP/SAVPF 96 101
c=IN IP4 198.51.100.2
a=rtpmap:96 opus/48000/2
a=fmtp:96 stereo=1;sprop-stereo=1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
a=ssrc:2449514892 cname:sip:alice@example.test
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=candidate:c0a80114 1 UDP 2130706175 192.168.1.20 7008 typ host
a=rtcp-mux
a=mid:0
m=video 17452 UDP/TLS/RTP/SAVPF 97
a=rtpmap:97 VP8/90000
a=fmtp:97 max-fs=8100
a=sendrecv
a=ssrc:1520869195 cname:sip:alice@example.test
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=framerate:15.00
a=rtcp-fb:* nack
a=rtcp-fb:* nack pli
a=content:main
a=candidate:c0a80114 1 UDP 2130706175 192.168.1.20 7010 typ host
a=rtcp-mux
a=mid:1
"""


def ours(*kinds: str, sdes: bool = True) -> MediaNegotiation:
    return MediaNegotiation(
        random.Random(1), dict.fromkeys(kinds or ("audio",)), sdes=sdes, fingerprint=PRINT
    )


def wire(text: str) -> str:
    return text.replace("\n", "\r\n")


def answered(body: str, *kinds: str) -> tuple[MediaNegotiation, dict[str, MediaDescription]]:
    """Our answer, by kind; a transport for each stream that wants one."""
    side = ours(*kinds)
    side.receive_offer(wire(body))
    ends = {
        kind: Transport(Address("192.0.2.1", 5000 + 2 * number), replace(ICE, ufrag=f"ours{number}"))
        for number, kind in enumerate(kinds or ("audio",))
    }
    return side, {media.kind: media for media in sdp.parse(side.answer(ends)).media}


def test_linphone_has_no_mux_and_more_suites_than_anybody() -> None:
    """Its first key is taken, Opus with the telephone keys of its clock; RTCP is declined (RFC 3556)."""
    side, media = answered(LINPHONE)
    audio = media["audio"]
    assert audio.formats == ("96", "99")
    assert [(crypto.tag, crypto.suite) for crypto in audio.cryptos] == [(1, "AES_CM_128_HMAC_SHA1_80")]
    assert not audio.has("rtcp-mux")
    assert {(line.letter, line.value) for line in audio.lines if line.letter == "b"} == {
        ("b", "RS:0"),
        ("b", "RR:0"),
    }
    terms = side.terms["audio"].negotiated
    assert terms is not None
    assert not terms.rtcp_mux
    assert terms.ice is not None
    assert (terms.ice.ufrag, terms.remote) == ("c960a71b", Address("198.51.100.2", 50808))
    assert len(terms.ice.candidates) == 6, (
        "those of the second component, too; the agent knows which are its own"
    )


def test_linphone_answers_without_mux_but_with_an_address_for_rtcp() -> None:
    side = ours(sdes=False)
    side.offer({"audio": Transport(Address("192.0.2.1", 5000), ICE)})
    found = side.receive_answer(wire(LINPHONE_ANSWERS))["audio"].negotiated
    assert found is not None
    assert found.dtls is not None
    assert not found.dtls.active, "it said that it opens the handshake"
    assert not found.rtcp_mux
    assert (found.codec.name, found.codec.payload_type) == ("opus", 111)


def test_a_telephone_that_wants_the_handshake_alone_gets_no_keys_in_sdp() -> None:
    """linphone with DTLS offers UDP/TLS/RTP/SAVP and no key."""
    offer = "\n".join(line for line in LINPHONE.split("\n") if not line.startswith("a=crypto"))
    offer = offer.replace("RTP/SAVP", "UDP/TLS/RTP/SAVP") + f"a=setup:actpass\na=fingerprint:{PRINT}\n"
    side, media = answered(offer)
    assert media["audio"].protocol == "UDP/TLS/RTP/SAVP"
    assert media["audio"].attribute("setup") == "active"
    assert not media["audio"].cryptos
    terms = side.terms["audio"].negotiated
    assert terms is not None
    assert terms.dtls is not None


@pytest.mark.parametrize("setup", ["", "a=setup:holdconn\n", "a=setup:nonsense\n"])
def test_a_role_that_is_none(setup: str) -> None:
    """Nothing said means active (RFC 4145 §4.1), so that we wait; who will not say leaves keys in SDP."""
    offer = LINPHONE + f"a=fingerprint:{PRINT}\n{setup}"
    side, media = answered(offer)
    assert (media["audio"].attribute("setup") == "passive") == (not setup)
    assert bool(media["audio"].cryptos) == bool(setup)
    assert side.terms["audio"].negotiated is not None


def test_baresip_offers_two_kinds_of_h264_and_two_transports() -> None:
    """Mode 0 is passed over, and so are codecs that we do not speak; each stream keeps its own way and key."""
    side, media = answered(BARESIP, "audio", "video")
    assert media["video"].formats == ("97",)
    assert media["video"].port != media["audio"].port
    assert media["video"].cryptos[0].key_and_salt != b""
    video, audio = side.terms["video"].negotiated, side.terms["audio"].negotiated
    assert video is not None
    assert audio is not None
    assert video.codec.name == "H264"
    assert video.codec.feedback == ("nack pli",), "it knows no NACK"
    assert (side.terms["video"].transport, side.bundle) == ("video", ())
    assert audio.remote == Address("198.51.100.2", 63784)
    assert video.remote == Address("198.51.100.2", 58224)


def test_h264_in_mode_0_alone_is_no_reason_to_refuse_the_sound() -> None:
    offer = BARESIP.replace("RTP/SAVP 96 97 34 98 99", "RTP/SAVP 96 34 98 99")
    side, media = answered(offer, "audio", "video")
    assert (media["audio"].port, media["video"].port) == (5000, 0)
    assert "H264" in side.terms["video"].reason


def test_pictures_that_nobody_wants_are_refused_in_their_place() -> None:
    _, media = answered(BARESIP, "audio")
    assert list(media) == ["audio", "video"]
    assert (media["audio"].port, media["video"].port) == (5000, 0)


def test_libre_says_the_handshake_once_for_both_and_bundles() -> None:
    side, media = answered(LIBRE_BUNDLES, "audio", "video")
    assert side.bundle == ("audio", "video")
    assert media["audio"].attribute("setup") == "active"
    assert not media["video"].has("fingerprint")
    assert media["video"].port == media["audio"].port
    for kind in ("audio", "video"):
        assert media[kind].attribute("extmap") == "1 urn:ietf:params:rtp-hdrext:sdes:mid"
        terms = side.terms[kind].negotiated
        assert terms is not None
        assert terms.dtls is not None
    sound, pictures = side.terms["audio"].negotiated, side.terms["video"].negotiated
    assert sound is not None
    assert pictures is not None
    assert sound.their_ssrcs == (2449514892,)
    assert pictures.their_ssrcs == (1520869195,)
    assert pictures.codec.feedback == ("nack", "nack pli")
