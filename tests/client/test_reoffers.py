"""Re-INVITEs as nobody should make them, to a call that is answered: each is answered or refused, and the call lives."""

from __future__ import annotations

import re
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.lab import topologies
from iceway.lab.world import World
from iceway.media.files import MemorySink, SilenceSource
from iceway.media.picture import plain
from iceway.media.pictures import MemoryPictures, Pictures
from iceway.wire import sdp
from tests.client.test_call import Wire

HEAD = "v=0\no=- 1 1 IN IP4 10.0.0.21\ns=-\nc=IN IP4 10.0.0.21\nt=0 0\n"
BUNDLE = "a=group:BUNDLE 0 1\n"
ICE = "a=ice-ufrag:{ufrag}\na=ice-pwd:tttttttttttttttttttttttt\na=candidate:1 1 UDP 2130706431 10.0.0.21 {port} typ host\n"
KEY = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\n"
SOUND = f"m=audio 5000 RTP/SAVP 0\na=mid:0\n{KEY}a=rtcp-mux\n{ICE.format(ufrag='them', port=5000)}"
PICTURES = f"m=video 5000 RTP/SAVP 97\na=mid:1\na=rtpmap:97 VP8/90000\n{KEY}a=rtcp-mux\n"
OWN_WAY = ICE.format(ufrag="also", port=5002)
BUNDLED = HEAD + BUNDLE + SOUND + PICTURES
APART = HEAD + SOUND + PICTURES + OWN_WAY


class Said(Wire):
    """Keeps what Bob says to a re-INVITE: an answer, or the status of a refusal."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.said: list[str | int] = []

    def progress(self, call: Call, body: str, now: float) -> None:
        self.said.append(body)

    def accept(self, call: Call, body: str, now: float) -> None:
        pass

    def reoffer(self, call: Call, body: str, now: float) -> None:
        pass

    def withdraw_reoffer(self, call: Call, now: float) -> None:
        pass

    def answer_reoffer(self, call: Call, body: str, now: float) -> None:
        self.said.append(body)

    def refuse_reoffer(self, call: Call, code: int, now: float) -> None:
        self.said.append(code)

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        pass


class Bob:
    """In a call with pictures that he has answered; the other side is nothing but words."""

    def __init__(self, offer: str) -> None:
        self.world = World(topologies.one_lan(), seed=1)
        self.wire = Said(self.world)
        pictures = Pictures(MemoryPictures([plain(64, 36)], loop=True))
        self.call = Call(
            "call.1",
            PhoneConfig("sip:bob@example.test", "-"),
            self.world.rng("bob"),
            self.wire,
            peer="sip:alice@example.test",
            media=Media(SilenceSource(), MemorySink(), SilenceSource(), pictures, pictures),
            incoming=True,
        )
        self.world.run("bob", self.call)
        assert self.world.call("bob", lambda now: self.call.receive_offer(_lines(offer), now))
        self.world.call("bob", lambda now: self.call.begin(("10.0.0.20",), (), now))
        self.world.run_until(lambda: bool(self.wire.said), 5)
        self.world.call("bob", self.call.pick_up)
        self.world.call("bob", self.call.confirmed)

    def hears(self, offer: str) -> str | int:
        """What he says to a re-INVITE."""
        self.wire.said.clear()
        self.world.call("bob", lambda now: self.call.receive_reoffer(_lines(offer), now))
        self.world.run_until(lambda: bool(self.wire.said), 5)
        assert len(self.wire.said) == 1
        return self.wire.said[0]


def test_a_call_of_which_nothing_is_left_ends() -> None:
    bob = Bob(BUNDLED)
    assert isinstance(
        bob.hears(APART.replace("m=audio 5000", "m=audio 0").replace("ufrag:also", "ufrag:them")), str
    )
    assert bob.call.streams == ("video",)
    bob.world.call("bob", lambda now: bob.call.drop("video", now))
    assert bob.call.end_reason == "nothing is left of this call"


def test_pictures_that_are_dropped_and_added_at_once_are_other_pictures() -> None:
    """Another session counts its packets anew: under the old number it would use up the same key stream twice."""
    bob = Bob(HEAD + SOUND)
    bob.wire.said.clear()
    bob.world.call("bob", lambda now: bob.call.receive_reoffer(_lines(APART), now))
    before = bob.call._agreement._negotiation._streams["video"].ssrc
    bob.world.call("bob", lambda now: bob.call.drop("video", now))
    bob.world.call("bob", lambda now: bob.call.add("video", Pictures(MemoryPictures([plain(64, 36)])), now))
    bob.world.run_until(lambda: bool(bob.wire.said), 5)
    assert bob.call.streams == ("audio", "video")
    answered = bob.call._agreement.terms["video"].negotiated
    assert answered is not None
    assert answered.ssrc != before
    assert f"a=ssrc:{answered.ssrc} " in str(bob.wire.said[0])


def _lines(body: str) -> str:
    return body.replace("\n", "\r\n")


def test_ice_that_met_a_middlebox_cannot_be_left_either() -> None:
    """RFC 8839 §5.4: who says so goes on without ICE, which a call of ours cannot."""
    bob = Bob(BUNDLED)
    assert bob.hears(BUNDLED.replace("a=rtcp-mux\n", "a=rtcp-mux\na=ice-mismatch\n", 1)) == 488
    assert bob.call.streams == ("audio", "video")


def test_a_stream_that_leaves_the_bundle_gets_a_way_of_its_own() -> None:
    bob = Bob(BUNDLED)
    answer = bob.hears(APART)
    assert isinstance(answer, str)
    sound, pictures = sdp.parse(answer).media
    assert 0 != sound.port != pictures.port != 0
    assert sound.attribute("ice-ufrag") != pictures.attribute("ice-ufrag")
    back = bob.hears(BUNDLED)
    assert isinstance(back, str)
    sound, pictures = sdp.parse(back).media
    assert sound.port == pictures.port
    assert len(list(bob.call._legs)) == 1


def test_an_offer_that_is_refused_leaves_the_sections_where_they_are() -> None:
    bob = Bob(APART)
    before = [media.kind for media in sdp.parse(str(bob.wire.said[0])).media]
    turned = HEAD + PICTURES + OWN_WAY + SOUND.replace(KEY, "")
    assert bob.hears(turned) == 488
    answer = bob.hears(APART)
    assert isinstance(answer, str)
    assert [media.kind for media in sdp.parse(answer).media] == before


def test_a_path_that_dies_while_an_answer_waits_for_candidates_lets_it_wait_no_longer() -> None:
    """As long as theirs is not answered, SIP would not let the offer of our restart go."""
    bob = Bob(HEAD + SOUND)
    bob.wire.said.clear()
    bob.world.call("bob", lambda now: bob.call.receive_reoffer(_lines(APART), now))
    assert bob.wire.said == []
    bob.world.call("bob", lambda now: bob.call._renegotiation.restart(now))
    assert isinstance(bob.wire.said[0], str)


@given(st.randoms(use_true_random=False), st.sampled_from([BUNDLED, APART]))
@settings(max_examples=25, deadline=None)
def test_whatever_is_offered_in_mid_call_is_answered_or_refused(rng: Random, first: str) -> None:
    bob = Bob(first)
    for _ in range(3):
        bob.world.call("bob", lambda now: _deed(bob.call, rng, now))
        if bob.call.ended:  # they took the sound out, and he the pictures
            break
        offer = mutated(rng.choice([BUNDLED, APART]), rng)
        said = bob.hears(offer)
        if isinstance(said, str):
            ports = [media.port for media in sdp.parse(said).media]
            assert any(ports)
            assert len(ports) == len(sdp.parse(offer).media)
    bob.world.call("bob", bob.call.hang_up)
    bob.world.advance(1)
    assert bob.call.finished


def _deed(call: Call, rng: Random, now: float) -> None:
    match rng.randrange(4):
        case 0:
            call.drop(rng.choice(["video", "slides"]), now)
        case 1 if "video" not in call.streams and "video" not in call._agreement._wanted:
            call.add("video", Pictures(MemoryPictures([plain(64, 36)])), now)
        case 2:
            call.hold(rng.random() < 0.5, now) if call._media.audio is not None else None


def mutated(body: str, rng: Random) -> str:
    """Sections that move, double, go and come back as something else; lines that go, and letters that change."""
    top, *rest = re.split(r"(?m)^(?=m=)", body)
    media = list(rest)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(media))
        lines = media[at].splitlines(keepends=True)
        match rng.randrange(10):
            case 0:
                rng.shuffle(media)
            case 1:
                media.append(media[at])
            case 2:
                media.insert(at, "m=application 0 UDP/BFCP *\n")
            case 3:
                media[at] = re.sub(r" \d+ ", " 0 ", media[at], count=1)
            case 4:
                del lines[rng.randrange(len(lines))]
                media[at] = "".join(lines) or media[at]
            case 5:
                media[at] = re.sub("a=mid:.*", f"a=mid:{rng.choice(['0', '1', 'x', ''])}", media[at])
            case 6:
                media[at] = re.sub("ice-ufrag:.*", "ice-ufrag:another", media[at])
            case 7:
                media[at] = re.sub("^m=(audio|video)", rng.choice(["m=audio", "m=video"]), media[at])
            case 8 if len(media) > 1:
                del media[at]
            case _:
                where = rng.randrange(len(body))
                media[at] = media[at][:where] + rng.choice(["", "\0", "-1", "99999"]) + media[at][where + 1 :]
    return top + "".join(media)


class Asked(Said):
    def offer(self, call: Call, body: str, now: float) -> None:
        self.said.append(body)


def test_an_answer_that_takes_pictures_and_refuses_sound_is_told_as_that() -> None:
    world = World(topologies.one_lan(), seed=1)
    wire = Asked(world)
    pictures = Pictures(MemoryPictures([plain(64, 36)]))
    alice = Call(
        "call.1",
        PhoneConfig("sip:alice@example.test", "-"),
        world.rng("alice"),
        wire,
        peer="sip:bob@example.test",
        media=Media(SilenceSource(), MemorySink(), SilenceSource(), pictures),
        incoming=False,
    )
    world.run("alice", alice)
    world.call("alice", lambda now: alice.begin(("10.0.0.20",), (), now))
    world.run_until(lambda: bool(wire.said), 5)
    answer = HEAD + SOUND.replace("m=audio 5000", "m=audio 0") + PICTURES + OWN_WAY
    world.call("alice", lambda now: alice.receive_answer(_lines(answer), now, early=False))
    assert "refuses the stream whose transport carries the call" in alice.end_reason
