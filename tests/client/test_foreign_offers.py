"""Offers as telephones of others make them, to a call of ours: what is answered, and what the call then has."""

from __future__ import annotations

from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.media import Media
from iceway.io.selfsigned import media_identity
from iceway.lab import topologies
from iceway.lab.world import World
from iceway.media.files import MemorySink, SilenceSource
from iceway.media.pattern import PatternSource
from iceway.media.pictures import Pictures
from iceway.wire import sdp
from tests.client.test_call import Wire

ICE = "a=ice-ufrag:them\na=ice-pwd:tttttttttttttttttttttttt\na=candidate:1 1 UDP 2130706431 10.0.0.21 {port} typ host\n"
KEY = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\n"
HEAD = "v=0\no=- 1 1 IN IP4 10.0.0.21\ns=-\nc=IN IP4 10.0.0.21\nt=0 0\n"
SOUND = f"m=audio 5000 RTP/SAVP 0\n{KEY}a=rtcp-mux\n{ICE.format(port=5000)}"
PICTURES = f"m=video 5002 RTP/SAVP 97\na=rtpmap:97 VP8/90000\n{KEY}"


class Answered(Wire):
    """Keeps what Bob says; nobody hears it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.answer = ""
        self.refused: tuple[int, str] | None = None

    def progress(self, call: Call, body: str, now: float) -> None:
        self.answer = body

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None:
        self.refused = code, reason


def offered(body: str) -> tuple[Answered, Call]:
    world = World(topologies.one_lan(), seed=1)
    wire = Answered(world)
    bob = Call(
        "call.1",
        PhoneConfig("sip:bob@example.test", "-", certificate=media_identity()),
        world.rng("bob"),
        wire,
        peer="sip:alice@example.test",
        media=Media(SilenceSource(), MemorySink(), SilenceSource(), Pictures(PatternSource())),
        incoming=True,
    )
    world.run("bob", bob)

    def arrives(now: float) -> None:
        if bob.receive_offer(body.replace("\n", "\r\n"), now):
            bob.begin(("10.0.0.20",), (), now)

    world.call("bob", arrives)
    world.run_until(lambda: bool(wire.answer) or wire.refused is not None, 5)
    return wire, bob


def test_pictures_with_ice_are_answered_with_a_way_of_their_own() -> None:
    wire, bob = offered(HEAD + SOUND + PICTURES + "a=rtcp-mux\n" + ICE.format(port=5002))
    sound, pictures = sdp.parse(wire.answer).media
    assert sound.port != pictures.port != 0
    assert pictures.has("ice-ufrag")
    assert bob.streams == ("audio", "video")


def test_pictures_without_ice_are_refused_and_the_sound_goes_on() -> None:
    """Nobody could ever be reached there; said in the answer, it is no stream that never comes."""
    wire, bob = offered(HEAD + SOUND + PICTURES)
    sound, pictures = sdp.parse(wire.answer).media
    assert sound.port != 0
    assert pictures.port == 0
    assert bob.streams == ("audio",)


def test_sound_without_ice_is_no_call() -> None:
    wire, bob = offered(HEAD + SOUND.replace(ICE.format(port=5000), ""))
    assert wire.refused is not None
    assert wire.refused[0] == 488
    assert "ICE" in wire.refused[1]
    assert bob.ended
