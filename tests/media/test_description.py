"""Offer and answer: who may say what, and what it comes to on both sides."""

from __future__ import annotations

import base64
import contextlib
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.media.description import AudioNegotiation, Negotiated
from iceway.media.formats import Codec
from iceway.media.keying import DtlsTerms
from iceway.media.reading import NegotiationError
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint
from iceway.wire.sdp import Crypto, IceParameters

HOME = Address("192.0.2.1", 5000)
OFFICE = Address("198.51.100.7", 7000)
KEY = base64.b64encode(bytes(range(30))).decode()
SUITE = "AES_CM_128_HMAC_SHA1_80"


def alice(*codecs: str, allow_clear: bool = False) -> AudioNegotiation:
    return AudioNegotiation(random.Random(1), codecs or ("opus", "PCMU", "PCMA"), allow_clear=allow_clear)


def bob(*codecs: str, allow_clear: bool = False) -> AudioNegotiation:
    return AudioNegotiation(random.Random(2), codecs or ("opus", "PCMU", "PCMA"), allow_clear=allow_clear)


def ice(who: str, *candidates: str, remote: tuple[tuple[int, Address], ...] = ()) -> IceParameters:
    return IceParameters(who * 4, who * 22, candidates, remote, ("ice2",))


def call(caller: AudioNegotiation, callee: AudioNegotiation) -> tuple[Negotiated, Negotiated]:
    """Offer, answer; what each side came to."""
    callee.receive_offer(caller.offer(ice("a", "1 1 UDP 9 192.0.2.1 5000 typ host"), HOME))
    answer = callee.answer(ice("b", "1 1 UDP 9 198.51.100.7 7000 typ host"), OFFICE)
    ours = caller.receive_answer(answer)
    assert callee.negotiated is not None
    return ours, callee.negotiated


def body(media: str, *lines: str, session: str = "") -> str:
    return (
        f"v=0\r\no=x 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{session}m={media}\r\n"
        + "".join(f"a={line}\r\n" for line in lines)
    )


ALL = ("opus", "PCMU", "PCMA")


@pytest.mark.parametrize(("caller", "callee"), list(product([ALL, ALL[:1], ALL[1:2], ALL[::-1]], repeat=2)))
def test_every_pair_of_codec_lists(caller: tuple[str, ...], callee: tuple[str, ...]) -> None:
    common = [name for name in caller if name in callee]
    if not common:
        with pytest.raises(NegotiationError, match="no codec in common") as refusal:
            call(alice(*caller), bob(*callee))
        assert refusal.value.code == 488
        return
    ours, theirs = call(alice(*caller), bob(*callee))
    assert ours.codec == theirs.codec
    assert ours.codec.name == common[0]
    assert ours.receives == theirs.receives == (ours.codec,)
    assert ours.send_key == theirs.recv_key
    assert ours.recv_key == theirs.send_key
    assert ours.send_key != ours.recv_key
    assert ours.ice == ice("b", "1 1 UDP 9 198.51.100.7 7000 typ host")
    assert theirs.ice == ice("a", "1 1 UDP 9 192.0.2.1 5000 typ host")
    assert (ours.remote, theirs.remote) == (OFFICE, HOME)
    assert (ours.direction, theirs.direction) == ("sendrecv", "sendrecv")
    assert ours.rtcp_mux
    assert theirs.rtcp_mux
    assert ours.ptime == 20


def test_the_offer_as_it_goes_out() -> None:
    description = sdp.parse(alice().offer(ice("a", "1 1 UDP 9 192.0.2.1 5000 typ host"), HOME))
    (audio,) = description.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        "audio",
        5000,
        "RTP/SAVP",
        ("111", "0", "8", "110", "101"),
    )
    assert description.connection == sdp.Connection("192.0.2.1")
    assert audio.rtpmaps[111] == sdp.RtpMap(111, "opus", 48000, 2)
    assert audio.has("rtcp-mux")
    assert audio.ptime == 20
    assert [crypto.suite for crypto in audio.cryptos] == [SUITE]
    assert sdp.ice_parameters(description, audio) == ice("a", "1 1 UDP 9 192.0.2.1 5000 typ host")


def test_ipv6_is_said_as_such() -> None:
    text = alice().offer(None, Address("2001:db8::1", 9))
    assert "c=IN IP6 2001:db8::1\r\n" in text
    assert bob().receive_offer(text).remote == Address("2001:db8::1", 9)


@pytest.mark.parametrize(
    ("protocol", "allow_clear", "keyed", "accepted"),
    [
        (protocol, clear, keyed, keyed or (clear and protocol.endswith(("/AVP", "/AVPF"))))
        for protocol in ("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "TCP/RTP/SAVP")
        for clear in (False, True)
        for keyed in (False, True)
    ],
)
def test_every_profile_with_and_without_key(
    protocol: str, allow_clear: bool, keyed: bool, accepted: bool
) -> None:
    lines = [f"crypto:3 {SUITE} inline:{KEY}|2^31"] if keyed else []
    callee = bob(allow_clear=allow_clear)
    offer = body(f"audio 4000 {protocol} 0", *lines, "rtcp-mux")
    if not accepted:
        with pytest.raises(NegotiationError, match=r"key|unencrypted"):
            callee.receive_offer(offer)
        return
    negotiated = callee.receive_offer(offer)
    answered = sdp.parse(callee.answer(None, OFFICE)).media[0]
    assert answered.protocol == protocol
    assert (negotiated.recv_key is not None) is keyed
    if keyed:
        assert negotiated.recv_key is not None
        assert negotiated.recv_key.key_and_salt == bytes(range(30))
        assert [(crypto.tag, crypto.suite) for crypto in answered.cryptos] == [(3, SUITE)]
    else:
        assert answered.cryptos == ()
        assert negotiated.send_key is None


@pytest.mark.parametrize(
    ("line", "usable"),
    [
        (f"1 {SUITE} inline:{KEY}", True),
        (f"1 {SUITE} inline:{KEY}|2^31|1:1", True),
        (f"1 {SUITE} inline:{KEY} WSH=64 -X", True),
        (f"1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}", True),
        (f"1 {SUITE} inline:{KEY[:36]}", False),
        (f"1 {SUITE} inline:{KEY} UNENCRYPTED_SRTP", False),
        (f"1 {SUITE} inline:{KEY}|256:1", False),
        (f"1 {SUITE} inline:{KEY}|1:0", False),
        (f"1 {SUITE} inline:{KEY}|1:129", False),
        (f"1 {SUITE} inline:{KEY}|x:1", False),
        (f"1 F8_128_HMAC_SHA1_80 inline:{KEY}", False),
    ],
)
def test_which_keys_can_be_used(line: str, usable: bool) -> None:
    offer = body("audio 4000 RTP/SAVP 0", f"crypto:{line}")
    if usable:
        assert bob().receive_offer(offer).recv_key is not None
    else:
        with pytest.raises(NegotiationError, match="none of the offered keys"):
            bob().receive_offer(offer)


def test_the_first_usable_key_of_several_is_taken() -> None:
    offer = body(
        "audio 4000 RTP/SAVP 0",
        f"crypto:1 AEAD_AES_256_GCM inline:{KEY}",
        f"crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}",
        f"crypto:3 {SUITE} inline:{KEY}",
    )
    callee = bob()
    negotiated = callee.receive_offer(offer)
    assert negotiated.recv_key is not None
    assert negotiated.recv_key.suite == "AES_CM_128_HMAC_SHA1_32"
    (answered,) = sdp.parse(callee.answer(None, OFFICE)).media[0].cryptos
    assert (answered.tag, answered.suite) == (2, "AES_CM_128_HMAC_SHA1_32")


def test_an_mki_is_carried_to_the_key() -> None:
    negotiated = bob().receive_offer(
        body("audio 4000 RTP/AVP 0", f"crypto:1 {SUITE} inline:{KEY}|2^31|258:2")
    )
    assert negotiated.recv_key is not None
    assert negotiated.recv_key.mki == b"\x01\x02"
    assert negotiated.send_key is not None
    assert negotiated.send_key.mki == b""


def test_media_keyed_by_dtls_is_refused_with_a_reason() -> None:
    offer = body("audio 4000 UDP/TLS/RTP/SAVPF 111", "rtpmap:111 opus/48000/2", "fingerprint:sha-256 AA:BB")
    with pytest.raises(NegotiationError, match=r"DTLS.*RTP/SAVP") as refusal:
        bob().receive_offer(offer)
    assert refusal.value.code == 488


def test_of_two_audio_streams_the_encrypted_one_is_taken() -> None:
    offer = body("audio 4000 RTP/AVP 0") + f"m=audio 4002 RTP/SAVP 8\r\na=crypto:1 {SUITE} inline:{KEY}\r\n"
    callee = bob(allow_clear=True)
    assert callee.receive_offer(offer).codec.name == "PCMA"
    clear, secure = sdp.parse(callee.answer(None, OFFICE)).media
    assert (clear.port, clear.protocol, clear.formats) == (0, "RTP/AVP", ("0",))
    assert (secure.port, secure.formats) == (7000, ("8",))


def test_video_beside_the_audio_is_refused_in_its_place() -> None:
    offer = (
        body("video 4002 RTP/SAVP 97")
        + f"m=audio 4000 RTP/SAVP 0\r\na=mid:sound\r\na=crypto:1 {SUITE} inline:{KEY}\r\n"
    )
    callee = bob()
    callee.receive_offer(offer)
    video, audio = sdp.parse(callee.answer(None, OFFICE)).media
    assert (video.kind, video.port) == ("video", 0)
    assert (audio.kind, audio.port, audio.mid) == ("audio", 7000, "sound")
    # An offer of ours must repeat both (RFC 3264 §8), and is answered in the second.
    video, audio = sdp.parse(callee.offer(None, OFFICE)).media
    assert (video.kind, video.port, audio.port, audio.mid) == ("video", 0, 7000, "sound")
    answer = body("video 0 RTP/SAVP 97") + f"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 {SUITE} inline:{KEY}\r\n"
    assert callee.receive_answer(answer).codec.name == "PCMU"


@pytest.mark.parametrize("media", ["video 4000 RTP/SAVP 97", "audio 0 RTP/SAVP 0", "audio 4000 udptl t38"])
def test_an_offer_without_audio_for_us_is_refused(media: str) -> None:
    with pytest.raises(NegotiationError):
        bob().receive_offer(body(media, f"crypto:1 {SUITE} inline:{KEY}"))


def test_numbers_of_the_offerer_are_used() -> None:
    offer = body(
        "audio 4000 RTP/SAVP 9 98 96 0",
        "rtpmap:98 OPUS/48000",
        "rtpmap:96 OPUS/48000/2",
        f"crypto:1 {SUITE} inline:{KEY}",
    )
    callee = bob()
    assert callee.receive_offer(offer).codec == Codec("opus", 96, 48000, 2)
    assert sdp.parse(callee.answer(None, OFFICE)).media[0].formats == ("96",)
    # Later offers keep the number the codec has got (RFC 3264 §8.3.2).
    assert sdp.parse(callee.offer(None, OFFICE)).media[0].formats == ("96", "0", "8", "110", "101")


def test_the_answerers_numbers_are_sent_and_ours_received() -> None:
    caller = alice()
    caller.offer(None, HOME)
    negotiated = caller.receive_answer(
        body("audio 4000 RTP/SAVP 8 100", "rtpmap:100 opus/48000/2", f"crypto:1 {SUITE} inline:{KEY}")
    )
    assert negotiated.codec == Codec("PCMA", 8, 8000)
    assert [codec.payload_type for codec in negotiated.receives] == [111, 8]


@pytest.mark.parametrize(
    ("theirs", "wanted", "ours"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
    ],
)
def test_directions_meet(theirs: str, wanted: str, ours: str) -> None:
    caller, callee = alice(), bob()
    callee.receive_offer(caller.offer(ice("a"), HOME, theirs))
    answer = callee.answer(ice("b"), OFFICE, wanted)
    assert callee.negotiated is not None
    assert callee.negotiated.direction == ours
    assert sdp.parse(answer).media[0].direction == ours
    mirrored = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(ours, ours)
    assert caller.receive_answer(answer).direction == mirrored


def test_hold_by_a_null_address_stops_sending_but_not_under_ice() -> None:
    offer = body("audio 4000 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}").replace(
        "c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0"
    )
    assert bob().receive_offer(offer).direction == "recvonly"
    trickling = offer + f"a=ice-ufrag:aaaa\r\na=ice-pwd:{'a' * 22}\r\n"
    assert bob().receive_offer(trickling).direction == "sendrecv"


def test_without_ice_in_the_offer_there_is_none_in_the_answer() -> None:
    callee = bob()
    negotiated = callee.receive_offer(body("audio 4000 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}"))
    assert (negotiated.ice, negotiated.remote) == (None, Address("192.0.2.9", 4000))
    assert "ice-ufrag" not in callee.answer(ice("b"), OFFICE)


def test_without_rtcp_mux_no_rtcp_is_expected() -> None:
    callee = bob()
    offer = body("audio 4000 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}")
    assert not callee.receive_offer(offer).rtcp_mux
    answer = callee.answer(None, OFFICE)
    assert "b=RR:0" in answer
    assert "rtcp-mux" not in answer


def test_a_host_name_as_destination_is_no_address() -> None:
    offer = body("audio 4000 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}").replace(
        "c=IN IP4 192.0.2.9", "c=IN IP4 host.test"
    )
    assert bob().receive_offer(offer).remote is None


# --- settling and other re-INVITEs ----------------------------------------------------------------------
def test_the_offer_that_settles_names_one_pair_and_keeps_everything_else() -> None:
    caller, callee = alice(), bob()
    before = call(caller, callee)
    chosen = Address("203.0.113.5", 3333)
    settling = caller.offer(ice("a", "2 1 UDP 5 203.0.113.5 3333 typ srflx", remote=((1, OFFICE),)), chosen)
    seen = callee.receive_offer(settling)
    assert seen.remote == chosen
    assert seen.ice is not None
    assert seen.ice.candidates == ("2 1 UDP 5 203.0.113.5 3333 typ srflx",)
    assert seen.ice.remote_candidates == ((1, OFFICE),)
    settled = caller.receive_answer(
        callee.answer(ice("b", "1 1 UDP 9 198.51.100.7 7000 typ host", remote=((1, chosen),)), OFFICE)
    )
    assert callee.negotiated is not None
    after = (settled, callee.negotiated)
    for old, new in zip(before, after, strict=True):
        assert (new.codec, new.send_key, new.recv_key) == (old.codec, old.send_key, old.recv_key)
    assert settled.ice is not None
    assert settled.ice.remote_candidates == ((1, chosen),)


def test_the_version_grows_only_with_a_change() -> None:
    caller = alice()
    first, same, moved = (sdp.parse(caller.offer(ice("a"), where)).origin for where in (HOME, HOME, OFFICE))
    assert first == same
    assert (moved.session_id, moved.version) == (first.session_id, first.version + 1)


def test_either_side_may_offer_next() -> None:
    caller, callee = alice(), bob()
    ours, theirs = call(caller, callee)
    caller.receive_offer(callee.offer(ice("b"), OFFICE))
    again = callee.receive_answer(caller.answer(ice("a"), HOME))
    assert (again.codec, again.send_key, again.recv_key) == (theirs.codec, theirs.send_key, theirs.recv_key)
    assert caller.negotiated is not None
    assert caller.negotiated.send_key == ours.send_key


def test_a_refused_offer_changes_nothing() -> None:
    caller, callee = alice(), bob()
    _, before = call(caller, callee)
    with pytest.raises(NegotiationError):
        callee.receive_offer(body("audio 4000 RTP/AVP 0"))
    assert callee.negotiated == before


def test_an_answer_may_come_twice() -> None:
    caller, callee = alice(), bob()
    callee.receive_offer(caller.offer(ice("a"), HOME))
    answer = callee.answer(ice("b"), OFFICE)
    assert caller.receive_answer(answer) == caller.receive_answer(answer.encode())


# --- bad answers ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("rubbish", "cannot be read"),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n", "leaves out"),
        (body("audio 0 RTP/SAVP 0"), "refused audio"),
        (body("video 9 RTP/SAVP 0"), "video"),
        (body("audio 9 UDP/TLS/RTP/SAVP 0"), "UDP/TLS"),
        (body("audio 9 RTP/SAVP 9", f"crypto:1 {SUITE} inline:{KEY}"), "none of opus"),
        (body("audio 9 RTP/SAVP 0"), "no key"),
        (body("audio 9 RTP/AVP 0"), "no key"),
        (body("audio 9 RTP/SAVP 0", f"crypto:2 {SUITE} inline:{KEY}"), "tag 1"),
        (body("audio 9 RTP/SAVP 0", f"crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"), "does not accept"),
        (body("audio 9 RTP/SAVP 0", f"crypto:1 {SUITE} inline:!"), "does not accept"),
        (body("audio 9 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}", "ice-ufrag:x"), "ICE"),
        (
            body("audio 9 RTP/SAVP 0", f"crypto:1 {SUITE} inline:{KEY}").replace("c=IN IP4 192.0.2.9", "c=x"),
            "connection",
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(answer: str, reason: str) -> None:
    caller = alice()
    caller.offer(ice("a"), HOME)
    with pytest.raises(NegotiationError, match=reason):
        caller.receive_answer(answer)
    assert caller.negotiated is None


def test_clear_media_where_it_is_allowed() -> None:
    ours, theirs = call(alice(allow_clear=True), bob(allow_clear=True))
    assert ours.send_key is not None, "both know SRTP, so it is used"
    caller = alice(allow_clear=True)
    caller.offer(None, HOME)
    assert caller.receive_answer(body("audio 9 RTP/AVP 0")).send_key is None
    assert theirs.recv_key == ours.send_key


def test_misuse_is_told() -> None:
    with pytest.raises(UsageError):
        alice().receive_answer("")
    with pytest.raises(UsageError):
        alice().answer(None, HOME)
    with pytest.raises(UsageError, match="G729"):
        alice("G729")


def test_keys_do_not_show() -> None:
    ours, _ = call(alice(), bob())
    assert ours.send_key is not None
    assert str(ours.send_key.key_and_salt) not in repr(ours)
    assert isinstance(Crypto.parse(f"1 {SUITE} inline:{KEY}"), Crypto)


# --- garbage --------------------------------------------------------------------------------------------
shards = st.sampled_from(
    [
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY,
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + KEY + "|1:99999999999",
        "a=rtpmap:0 x/1/99999999999999999999",
        "a=rtpmap:111 opus/48000/2",
        "a=ice-ufrag:aaaa",
        "a=ice-pwd:" + "a" * 22,
        "a=remote-candidates:1 x 1",
        "c=IN IP4 ::1",
        "c=",
        "a=sendonly",
        "m=audio 9 RTP/SAVP 0 111",
        "m=audio 9 RTP/AVP ² 9999999999",
        "m=video 0 RTP/AVP 1",
        "a=candidate:",
    ]
)


@settings(max_examples=150)
@given(st.lists(shards, max_size=12))
def test_no_description_crashes_either_side(lines: list[str]) -> None:
    text = "\r\n".join(["v=0", "o=- 1 1 IN IP4 0", "m=audio 9 RTP/SAVP 0 111", *lines, ""])
    for who in (alice(), bob(allow_clear=True)):
        who.offer(None, HOME)
        with contextlib.suppress(NegotiationError):
            who.receive_answer(text)
        with contextlib.suppress(NegotiationError):
            who.receive_offer(text)
            sdp.parse(who.answer(ice("b"), OFFICE))


# --- keys by DTLS (RFC 5763) ------------------------------------------------------------------------------
OURS, THEIRS = Fingerprint("sha-256", b"a" * 32), Fingerprint("sha-256", b"b" * 32)


def with_dtls(seed: int, fingerprint: Fingerprint, *, sdes: bool = True) -> AudioNegotiation:
    return AudioNegotiation(random.Random(seed), fingerprint=fingerprint, sdes=sdes)


def test_both_ways_offered_and_the_handshake_answered() -> None:
    ours, theirs = call(with_dtls(1, OURS), with_dtls(2, THEIRS))
    assert ours.dtls == DtlsTerms((THEIRS,), active=False)
    assert theirs.dtls == DtlsTerms((OURS,), active=True)
    assert (ours.send_key, ours.recv_key, theirs.send_key, theirs.recv_key) == (None,) * 4


@pytest.mark.parametrize("ours_first", [True, False])
def test_who_knows_only_keys_in_sdp_finds_them(ours_first: bool) -> None:
    new, old = with_dtls(1, OURS), bob()
    ours, theirs = call(*((new, old) if ours_first else (old, new)))
    assert ours.dtls is theirs.dtls is None
    assert ours.send_key == theirs.recv_key
    assert ours.send_key is not None


@pytest.mark.parametrize(
    ("protocol", "setup", "active"),
    [
        (protocol, setup, active)
        for protocol in (
            "UDP/TLS/RTP/SAVP",
            "UDP/TLS/RTP/SAVPF",
            "RTP/SAVP",
            "RTP/SAVPF",
            "TCP/DTLS/RTP/SAVPF",
        )
        for setup, active in (("actpass", True), ("active", False), ("passive", True), (None, False))
    ],
)
def test_every_profile_and_role_offered(protocol: str, setup: str | None, active: bool) -> None:
    """Without a role the offer means to be active (RFC 4145 §4.1)."""
    lines = [f"fingerprint:{THEIRS}", "rtcp-mux", *([f"setup:{setup}"] if setup else [])]
    callee = with_dtls(2, OURS, sdes=False)
    negotiated = callee.receive_offer(body(f"audio 4000 {protocol} 0", *lines))
    assert negotiated.dtls == DtlsTerms((THEIRS,), active)
    answered = sdp.parse(callee.answer(None, OFFICE)).media[0]
    assert answered.protocol == protocol
    assert answered.attribute("fingerprint") == str(OURS)
    assert answered.attribute("setup") == ("active" if active else "passive")
    assert not answered.has("crypto")


def test_the_session_may_say_it_for_all_its_streams() -> None:
    session = f"a=fingerprint:{THEIRS}\r\na=fingerprint:md5 AA\r\na=setup:passive\r\n"
    negotiated = with_dtls(2, OURS).receive_offer(body("audio 4000 UDP/TLS/RTP/SAVPF 0", session=session))
    assert negotiated.dtls == DtlsTerms((THEIRS,), active=True)


@pytest.mark.parametrize("first_active", [True, False])
def test_roles_stay_through_later_offers(first_active: bool) -> None:
    """An offer leaves it open again; the answer keeps what is (RFC 8842 §5.5), whoever offers."""
    caller, callee = with_dtls(1, OURS), with_dtls(2, THEIRS)
    setup = "actpass" if first_active else "active"
    callee.receive_offer(caller.offer(None, HOME).replace("actpass", setup))
    answer = callee.answer(None, OFFICE)
    ours = caller.receive_answer(answer)
    assert callee.negotiated is not None
    assert (ours.dtls, callee.negotiated.dtls) == (
        DtlsTerms((THEIRS,), not first_active),
        DtlsTerms((OURS,), first_active),
    )
    again, theirs_again = call(callee, caller)
    assert again.dtls == DtlsTerms((OURS,), first_active)
    assert theirs_again.dtls == DtlsTerms((THEIRS,), not first_active)


@pytest.mark.parametrize(
    ("media", "lines", "reason"),
    [
        ("UDP/TLS/RTP/SAVP", ("fingerprint:sha-1 AA:BB", "setup:active"), "cannot be used"),
        ("UDP/TLS/RTP/SAVP", (f"fingerprint:{THEIRS}", "setup:holdconn"), "cannot be used"),
        ("UDP/TLS/RTP/SAVP", (f"fingerprint:{THEIRS}", "setup:later"), "cannot be used"),
        ("UDP/TLS/RTP/AVP", (f"fingerprint:{THEIRS}",), "not RTP as"),
        ("RTP/SAVP", (f"crypto:1 {SUITE} inline:{KEY}",), "others on the way could read them"),
        ("RTP/AVP", (), "unencrypted"),
    ],
)
def test_offers_that_lead_to_no_handshake(media: str, lines: tuple[str, ...], reason: str) -> None:
    with pytest.raises(NegotiationError, match=reason):
        with_dtls(2, OURS, sdes=False).receive_offer(body(f"audio 4000 {media} 0", *lines))


@pytest.mark.parametrize(
    ("media", "lines", "reason"),
    [
        ("UDP/TLS/RTP/SAVP", (), "no fingerprint"),
        ("UDP/TLS/RTP/SAVP", (f"crypto:1 {SUITE} inline:{KEY}",), "no fingerprint"),
        ("UDP/TLS/RTP/SAVP", (f"fingerprint:{THEIRS}", "setup:actpass"), "who opens"),
        ("UDP/TLS/RTP/SAVP", (f"fingerprint:{THEIRS}", "setup:holdconn"), "who opens"),
    ],
)
def test_answers_that_lead_to_no_handshake(media: str, lines: tuple[str, ...], reason: str) -> None:
    caller = with_dtls(1, OURS, sdes=False)
    caller.offer(None, HOME)
    with pytest.raises(NegotiationError, match=reason):
        caller.receive_answer(body(f"audio 4000 {media} 0", *lines))


def test_whoever_wants_the_handshake_alone_says_so() -> None:
    (audio,) = sdp.parse(with_dtls(1, OURS, sdes=False).offer(None, HOME)).media
    assert audio.protocol == "UDP/TLS/RTP/SAVP"
    assert not audio.has("crypto")
    assert audio.attribute("setup") == "actpass"
