"""Offer and answer for several streams: what becomes of each, on whose transport, and in which order."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import drain
from iceway.media.description import AudioNegotiation
from iceway.media.negotiation import MediaNegotiation, Transport
from iceway.media.pattern import PatternSource, Reading, read
from iceway.media.pictures import MemoryPictures, MemorySink
from iceway.media.reading import NegotiationError
from iceway.media.session import SendMedia
from iceway.media.video import VideoSession
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint
from iceway.wire.sdp import IceParameters, MediaDescription

ALL = {"audio": None, "video": None, "slides": None}


def transports(who: str, *kinds: str) -> dict[str, Transport]:
    found = {}
    for number, kind in enumerate(kinds):
        port = 5000 + 10 * number
        candidate = f"1 1 UDP 9 192.0.2.{ord(who) - 96} {port} typ host"
        ice = IceParameters(who * 4 + str(number), who * 22, (candidate,), (), ("ice2",))
        found[kind] = Transport(Address(f"192.0.2.{ord(who) - 96}", port), ice)
    return found


def side(seed: int, *kinds: str, **terms: object) -> MediaNegotiation:
    return MediaNegotiation(random.Random(seed), dict.fromkeys(kinds or ("audio", "video")), **terms)  # type: ignore[arg-type]


def sections(body: str) -> dict[str, MediaDescription]:
    found = {}
    for media in sdp.parse(body).media:
        found["slides" if media.attribute("content") == "slides" else media.kind] = media
    return found


def test_sound_and_pictures_share_the_transport_of_the_first() -> None:
    alice, bob = side(1), side(2)
    offer = alice.offer(transports("a", "audio", "video"))
    assert "a=group:BUNDLE 0 1\r\n" in offer
    assert [media.port for media in sdp.parse(offer).media] == [5000, 5010]
    theirs = bob.receive_offer(offer)
    assert bob.bundle == ("audio", "video")
    assert theirs["video"].transport == "audio"
    answer = bob.answer(transports("b", "audio"))
    said = sections(answer)
    assert said["audio"].has("ice-ufrag")
    assert said["audio"].cryptos
    assert not said["video"].has("ice-ufrag")
    assert not said["video"].cryptos
    assert said["video"].port == said["audio"].port == 5000
    ours = alice.receive_answer(answer)
    assert alice.bundle == ("audio", "video")
    assert ours["video"].transport == "audio"
    for kind in ("audio", "video"):
        one, other = ours[kind].negotiated, bob.terms[kind].negotiated
        assert one is not None
        assert other is not None
        assert one.codec == other.codec
        assert one.ice is not None
        assert one.ice.ufrag == "bbbb0"
        assert other.ice is not None
        assert other.ice.ufrag == "aaaa0"
        assert (one.send_key, one.recv_key) == (other.recv_key, other.send_key)
    assert ours["audio"].negotiated is not None
    assert ours["video"].negotiated is not None
    assert ours["audio"].negotiated.send_key == ours["video"].negotiated.send_key
    assert ours["video"].negotiated.codec.feedback == ("nack", "nack pli", "ccm fir")


def test_bundled_packets_may_bear_the_name_of_their_section() -> None:
    """Asked for in offers (RFC 8843 §15), granted in answers under the number that they gave it."""
    alice, bob = side(1), side(2)
    offer = alice.offer(transports("a", "audio", "video"))
    line = "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    assert offer.count(line) == 2
    bob.receive_offer(offer.replace("a=extmap:1 ", "a=extmap:7/sendrecv "))
    answer = bob.answer(transports("b", "audio"))
    assert answer.count("a=extmap:7 urn:ietf:params:rtp-hdrext:sdes:mid\r\n") == 2
    alice.receive_answer(answer)
    for strange in ("", "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid\r\n", "a=extmap:x y\r\na=extmap\r\n"):
        bob = side(2)
        bob.receive_offer(offer.replace(line, strange))
        assert "extmap" not in bob.answer(transports("b", "audio"))


def test_packets_on_a_shared_transport_can_be_told_apart() -> None:
    """By number, by source and by name, whichever the other side heeds."""
    alice, bob = side(1, *ALL), side(2, *ALL)
    offer = alice.offer(transports("a", *ALL))
    numbers = [number for media in sdp.parse(offer).media for number in media.formats]
    assert len(numbers) == len(set(numbers))
    bob.receive_offer(offer)
    ours = alice.receive_answer(bob.answer(transports("b", "audio")))
    for number, kind in enumerate(ALL):
        one, other = ours[kind].negotiated, bob.terms[kind].negotiated
        assert one is not None
        assert other is not None
        assert one.named == other.named == (1, str(number))
        assert (one.their_ssrcs, other.their_ssrcs) == ((other.ssrc,), (one.ssrc,))


def test_packets_are_not_named_for_who_does_not_ask() -> None:
    alice, bob = side(1), side(2)
    bob.receive_offer(alice.offer(transports("a", "audio", "video")))
    answer = bob.answer(transports("b", "audio"))
    silent = "".join(line for line in answer.splitlines(keepends=True) if not line.startswith("a=extmap"))
    assert all(
        found.negotiated and not found.negotiated.named for found in alice.receive_answer(silent).values()
    )


def test_a_second_stream_of_pictures_that_nobody_marked_is_slides() -> None:
    """As browsers offer a shared screen, under the numbers of the camera."""
    alice, bob = side(1, *ALL), side(2, *ALL)
    offer = alice.offer(transports("a", *ALL)).replace("a=content:slides\r\n", "")
    terms = bob.receive_offer(offer)
    assert terms["slides"].negotiated
    answer = bob.answer(transports("b", "audio"))
    assert [media.kind for media in sdp.parse(answer).media] == ["audio", "video", "video"]
    assert alice.receive_answer(answer)["slides"].negotiated


def test_of_two_sections_for_sound_the_encrypted_is_meant() -> None:
    offer = side(1, "audio").offer(transports("a", "audio"))
    clear = "m=audio 6000 RTP/AVP 0\r\na=mid:c\r\n"
    both = offer.replace("m=audio", f"{clear}m=audio", 1)
    bob = side(2, "audio", allow_clear=True)
    for _ in range(2):  # in later offers as well
        agreed = bob.receive_offer(both)["audio"].negotiated
        assert agreed is not None
        assert agreed.send_key
        answer = bob.answer(transports("b", "audio"))
        assert [media.port for media in sdp.parse(answer).media] == [0, 5000]


def test_an_offer_that_is_refused_changes_nothing() -> None:
    """It crossed one of ours, whose answer is about the sections that were."""
    alice, bob = side(1, *ALL), side(2, *ALL)
    bob.receive_offer(alice.offer(transports("a", "audio"), {"audio": "sendrecv"}))
    alice.receive_answer(bob.answer(transports("b", "audio")))
    held = alice.offer(transports("a", "audio"), {"audio": "sendonly"})
    alice.receive_offer(bob.offer(transports("b", *ALL), dict.fromkeys(ALL, "sendrecv")))
    alice.refuse()
    bob.receive_offer(held)
    assert set(alice.receive_answer(bob.answer(transports("b", "audio")))) == {"audio"}
    assert alice.bundle == ()


def test_only_streams_that_are_wanted_are_taken() -> None:
    alice, bob = side(1, *ALL), side(2, *ALL)
    terms = bob.receive_offer(alice.offer(transports("a", *ALL)), ("audio", "slides"))
    assert set(terms) == {"audio", "slides"}
    answer = bob.answer(transports("b", "audio"))
    assert [media.port != 0 for media in sdp.parse(answer).media] == [True, False, True]
    later = bob.offer(transports("b", "audio"), dict.fromkeys(ALL, "sendrecv"))
    mids = [media.mid for media in sdp.parse(later).media]
    assert len(set(mids)) == 3
    assert alice.receive_offer(later)["video"].negotiated


def test_who_cannot_bundle_gets_a_transport_for_each() -> None:
    alice, bob = side(1), side(2)
    offer = alice.offer(transports("a", "audio", "video"))
    bob.receive_offer(offer.replace("a=group:BUNDLE 0 1\r\n", ""))
    assert bob.bundle == ()
    answer = bob.answer(transports("b", "audio", "video"))
    assert "BUNDLE" not in answer
    ours = alice.receive_answer(answer)
    assert alice.bundle == ()
    assert {kind: found.transport for kind, found in ours.items()} == {"audio": "audio", "video": "video"}
    ports, keys = [], []
    for found in ours.values():
        assert found.negotiated is not None
        assert found.negotiated.remote is not None
        ports.append(found.negotiated.remote.port)
        keys.append(found.negotiated.send_key)
    assert ports == [5000, 5010]


def test_a_stream_without_a_transport_of_its_own_is_for_the_bundle_alone() -> None:
    alice, bob = side(1), side(2)
    offer = alice.offer(transports("a", "audio"))
    video = sections(offer)["video"]
    assert video.port == 0
    assert video.has("bundle-only")
    bob.receive_offer(offer)
    answer = bob.answer(transports("b", "audio"))
    assert alice.receive_answer(answer)["video"].transport == "audio"
    # Somebody who does not know bundles takes port 0 for what it always meant.
    other = AudioNegotiation(random.Random(3))
    other.receive_offer(offer)
    old = alice.receive_answer(other.answer(None, Address("192.0.2.9", 7000)))
    assert old["audio"].negotiated is not None
    assert old["video"].negotiated is None
    assert "bundle" in old["video"].reason


def test_slides_are_a_stream_of_their_own_and_marked() -> None:
    alice, bob = side(1, *ALL), side(2, *ALL)
    offer = alice.offer(
        transports("a", "audio"), {"audio": "sendrecv", "video": "sendrecv", "slides": "sendonly"}
    )
    assert [media.attribute("content") for media in sdp.parse(offer).media] == [None, None, "slides"]
    terms = bob.receive_offer(offer)
    assert terms["slides"].negotiated is not None
    assert terms["slides"].negotiated.direction == "recvonly"
    ours = alice.receive_answer(bob.answer(transports("b", "audio")))
    assert ours["slides"].negotiated is not None
    assert ours["slides"].negotiated.direction == "sendonly"
    assert alice.bundle == bob.bundle == ("audio", "video", "slides")


def test_one_stream_may_be_refused_and_the_others_go_on() -> None:
    alice, bob = side(1, *ALL), side(2, *ALL)
    bob.receive_offer(alice.offer(transports("a", "audio", "video", "slides")))
    answer = bob.answer(transports("b", "audio"), refuse=("video",))
    assert [media.port for media in sdp.parse(answer).media] == [5000, 0, 5000]
    ours = alice.receive_answer(answer)
    assert ours["video"].negotiated is None
    assert "refused" in ours["video"].reason
    assert alice.bundle == bob.bundle == ("audio", "slides")


def test_who_knows_sound_only_and_who_asks_with_sound_only() -> None:
    old, alice = AudioNegotiation(random.Random(3)), side(1)
    old.receive_offer(alice.offer(transports("a", "audio", "video")))
    terms = alice.receive_answer(old.answer(None, Address("192.0.2.9", 7000)))
    assert terms["audio"].negotiated is not None
    assert terms["video"].negotiated is None
    bob = side(2)
    bob.receive_offer(AudioNegotiation(random.Random(3)).offer(None, Address("192.0.2.9", 7000)))
    assert set(bob.terms) == {"audio"}
    assert len(sdp.parse(bob.answer(transports("b", "audio"))).media) == 1


def test_a_place_that_was_nobodys_may_become_anything_but_what_there_is() -> None:
    """RFC 3264 §8.1: a section of port 0 may be used again, also for a second stream of pictures."""
    alice, bob = side(1, *ALL), side(2, *ALL)
    offer = sdp.parse(
        alice.offer(transports("a", "audio", "video"), dict.fromkeys(("audio", "video"), "sendrecv"))
    )
    sound, pictures = offer.media
    nobodys = MediaDescription("application", 0, "UDP/BFCP", ("*",))
    bare = tuple(line for line in offer.lines if not line.value.startswith("group:"))
    bob.receive_offer(sdp.serialize(replace(offer, lines=bare, media=(sound, nobodys, pictures))))
    bob.answer(transports("b", "audio", "video"))
    unnamed = tuple(line for line in pictures.lines if not line.value.startswith("mid:"))
    second = replace(pictures, lines=unnamed)
    terms = bob.receive_offer(sdp.serialize(replace(offer, lines=bare, media=(sound, second, pictures))))
    assert set(terms) == {"audio", "video", "slides"}
    answer = bob.answer(transports("b", *ALL))
    assert [media.attribute("content") for media in sdp.parse(answer).media] == [None, "slides", None]


def test_the_order_of_sections_is_for_the_whole_call() -> None:
    alice, bob = side(1, *ALL), side(2, *ALL)
    first = alice.offer(transports("a", "audio"), {"audio": "sendrecv", "video": "sendrecv"})
    assert len(sdp.parse(first).media) == 2
    bob.receive_offer(first)
    alice.receive_answer(bob.answer(transports("b", "audio")))
    # Bob shares his desktop.
    second = bob.offer(
        transports("b", "audio"), {"audio": "sendrecv", "video": "sendrecv", "slides": "sendonly"}
    )
    assert [media.kind for media in sdp.parse(second).media] == ["audio", "video", "video"]
    assert sections(second)["slides"].has("bundle-only")
    assert not sections(second)["video"].has("bundle-only")
    assert not sections(second)["video"].has("ice-ufrag")
    alice.receive_offer(second)
    terms = bob.receive_answer(alice.answer(transports("a", "audio")))
    assert [kind for kind, found in terms.items() if found.negotiated] == ["audio", "video", "slides"]
    # Alice takes her camera out; its place stays.
    third = alice.offer(transports("a", "audio"), {"audio": "sendrecv", "slides": "recvonly"})
    assert [bool(media.port) for media in sdp.parse(third).media] == [True, False, True]
    bob.receive_offer(third)
    assert set(bob.terms) == {"audio", "slides"}
    ours = alice.receive_answer(bob.answer(transports("b", "audio")))
    assert set(ours) == {"audio", "slides"}
    versions = [sdp.parse(body).origin.version for body in (first, third)]
    assert versions[0] < versions[1]


def test_keys_by_dtls_are_those_of_the_bundle() -> None:
    one, other = (Fingerprint("sha-256", bytes([seed]) * 32) for seed in (1, 2))
    alice, bob = side(1, sdes=False, fingerprint=one), side(2, sdes=False, fingerprint=other)
    bob.receive_offer(alice.offer(transports("a", "audio", "video")))
    answer = bob.answer(transports("b", "audio"))
    assert not sections(answer)["video"].has("fingerprint")
    ours = alice.receive_answer(answer)
    for terms in (ours, bob.terms):
        audio, video = terms["audio"].negotiated, terms["video"].negotiated
        assert audio is not None
        assert video is not None
        assert audio.dtls is not None
        assert audio.dtls == video.dtls


def test_what_was_agreed_carries_pictures() -> None:
    alice, bob = side(1), side(2)
    bob.receive_offer(alice.offer(transports("a", "audio")))
    ours = alice.receive_answer(bob.answer(transports("b", "audio")))["video"].negotiated
    theirs = bob.terms["video"].negotiated
    assert ours is not None
    assert theirs is not None
    sink = MemorySink()
    sender = VideoSession("a", ours, PatternSource(64, 36), MemorySink(), random.Random(1), frame_rate=10)
    receiver = VideoSession("b", theirs, MemoryPictures(()), sink, random.Random(2), frame_rate=10)
    sender.start_sending(0.0)
    for step in range(10):
        sender.handle_timeout(step / 10)
        for output in drain(sender):
            if isinstance(output, SendMedia):
                receiver.receive(output.data, step / 10)
    assert [read(picture) for _, picture in sink.seen] == [Reading(number) for number in range(10)]


def test_nothing_in_common_is_an_error_with_reasons() -> None:
    bob = side(2, "video")
    with pytest.raises(NegotiationError):
        bob.receive_offer(AudioNegotiation(random.Random(3)).offer(None, Address("192.0.2.9", 7000)))
    with pytest.raises(UsageError):
        bob.answer(transports("b", "audio"))
    with pytest.raises(UsageError):
        bob.receive_answer("")
    with pytest.raises(UsageError):
        bob.offer({})
    with pytest.raises(UsageError):
        side(1, "smell")


# --- whatever the answer --------------------------------------------------------------------------------
OFFERED = side(1, *ALL).offer(transports("a", "audio", "video"))
_answering = side(2, *ALL)
_answering.receive_offer(OFFERED)
ANSWERED = _answering.answer(transports("b", "audio", "video", "slides")).split("\r\n")[:-1]
LINES = st.sampled_from(
    [
        *ANSWERED,
        *OFFERED.split("\r\n")[:-1],
        "a=group:BUNDLE 1 0",
        "a=group:BUNDLE",
        "a=mid:0",
        "a=mid:2",
        "m=video 0 RTP/SAVP 96",
        "m=audio 9 RTP/AVP 0",
        "a=rtcp-fb:* nack",
        "a=rtcp-fb:",
        "a=fmtp:97 packetization-mode",
        "a=bundle-only",
        "a=inactive",
        "a=content:slides",
        "c=IN IP6 ::",
        "a=setup:holdconn",
        "a=rtpmap:96 VP8/90000",
    ]
)


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """The answer with lines left out, moved, doubled and put in."""
    kept = [line for line in ANSWERED[2:] if draw(st.integers(0, 9)) > 0]
    for _ in range(draw(st.integers(0, 6))):
        kept.insert(draw(st.integers(0, len(kept))), draw(LINES))
    return "\r\n".join([*ANSWERED[:2], *kept]) + "\r\n"


@settings(max_examples=150, deadline=None)
@given(bodies())
def test_no_answer_that_is_well_formed_crashes_us(body: str) -> None:
    for secure in ({}, {"allow_clear": True}):
        alice = side(1, *ALL, **secure)
        alice.offer(transports("a", "audio", "video"))
        with contextlib.suppress(NegotiationError):
            alice.receive_answer(body)
            assert any(found.negotiated for found in alice.terms.values())
            again = alice.offer(transports("a", "audio", "video"))
            assert sdp.parse(again).media


@settings(max_examples=150, deadline=None)
@given(bodies())
def test_no_offer_that_is_well_formed_crashes_us(body: str) -> None:
    bob = side(2, *ALL)
    with contextlib.suppress(NegotiationError):
        bob.receive_offer(body)
        answer = bob.answer(transports("b", "audio", "video", "slides"))
        assert len(sdp.parse(answer).media) == len(sdp.parse(body).media)
