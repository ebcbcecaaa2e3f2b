"""A call of ours with an aiortc peer connection: its own ICE and DTLS, descriptions carried by hand, a tone each way."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from iceway.client.call import Call
from iceway.client.config import PhoneConfig
from iceway.client.events import CallEnded, CallKeyless
from iceway.client.media import Media
from iceway.io.driver import Driver
from iceway.io.recorder import Recorder
from iceway.io.selfsigned import media_identity
from iceway.media.files import MemorySink, SilenceSource, ToneSource
from iceway.media.keying import Keys
from iceway.media.sound import RATE, Samples
from iceway.trace.records import MediaKeyed

aiortc = pytest.importorskip("aiortc")
aioice = pytest.importorskip("aioice")
pytestmark = pytest.mark.interop

PATIENCE = 20.0
OURS, THEIRS = 440.0, 800.0  # Hz


class Wire:
    """Signalling to somebody who is not a `Call`: what was said to them, in order."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def offer(self, call: Call, body: str, now: float) -> None:
        self.said.put_nowait(body)

    def progress(self, call: Call, body: str, now: float) -> None:
        self.said.put_nowait(body)

    def accept(self, call: Call, body: str, now: float) -> None:
        pass

    def reoffer(self, call: Call, body: str, now: float) -> None:
        pass  # the pair in use need not be named to whom descriptions mean nothing any more

    def takes_candidates(self, call: Call) -> bool:
        return False

    def probe(self, call: Call, now: float) -> None:
        pass

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        pass


class Us:
    """Our call on a driver."""

    def __init__(self, *, incoming: bool) -> None:
        config = PhoneConfig("sip:us@example.test", "-", keys=Keys.BOTH, certificate=media_identity())
        self.wire, self.ear, self.events = Wire(), MemorySink(), list[object]()
        self.call = Call(
            "call.1",
            config,
            random.SystemRandom(),
            self.wire,  # type: ignore[arg-type]
            peer="sip:them@example.test",
            media=Media(ToneSource(OURS), self.ear, SilenceSource()),
            incoming=incoming,
        )
        self.recorder = Recorder(None, keep=True)
        self.driver = Driver(
            self.call,
            recorder=self.recorder,
            on_event=lambda event, now: self.events.append(event),
            addresses=lambda: ("127.0.0.1",),
        )

    def saw(self, kind: type) -> bool:
        return any(isinstance(event, kind) for event in self.events)


class Them:
    """An aiortc peer with one audio track each way."""

    def __init__(self) -> None:
        self.connection = aiortc.RTCPeerConnection()
        self.connection.addTrack(_Tone())
        self.heard: list[Samples] = []
        self.connection.on("track", self._listen)

    def _listen(self, track: object) -> None:
        self._listening = asyncio.ensure_future(self._hear(track))

    async def _hear(self, track: object) -> None:
        while True:
            try:
                frame = await track.recv()  # type: ignore[attr-defined]
            except aiortc.mediastreams.MediaStreamError:
                return
            self.heard.append(frame.to_ndarray()[0][:: len(frame.layout.channels)])

    async def takes(self, kind: str, body: str) -> None:
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(body, kind))


class _Tone(aiortc.mediastreams.AudioStreamTrack):
    """aiortc's silent track, with a tone in its frames."""

    _at = 0

    async def recv(self) -> object:
        frame = await super().recv()
        instants = (self._at + np.arange(frame.samples)) / frame.sample_rate
        self._at += frame.samples
        frame.planes[0].update((9000 * np.sin(2 * np.pi * THEIRS * instants)).astype(np.int16).tobytes())
        return frame


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_tone_each_way(monkeypatch: pytest.MonkeyPatch, ours_first: bool) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    asyncio.run(asyncio.wait_for(_scene(ours_first), 3 * PATIENCE))


async def _scene(ours_first: bool) -> None:
    us, them = Us(incoming=not ours_first), Them()
    async with us.driver:
        if ours_first:
            us.driver.call(lambda now: us.call.begin(("127.0.0.1",), (), now))
            await them.takes("offer", await us.wire.said.get())
            await them.connection.setLocalDescription(await them.connection.createAnswer())
            body = them.connection.localDescription.sdp
            assert us.driver.call(lambda now: us.call.receive_answer(body, now, early=False)), us.events
            us.driver.call(us.call.confirmed)
        else:
            await them.connection.setLocalDescription(await them.connection.createOffer())
            body = them.connection.localDescription.sdp
            assert us.driver.call(lambda now: us.call.receive_offer(body, now)), us.events
            us.driver.call(lambda now: us.call.begin(("127.0.0.1",), (), now))
            await them.takes("answer", await us.wire.said.get())
            us.driver.call(us.call.pick_up)
            us.driver.call(us.call.confirmed)
        async with asyncio.timeout(PATIENCE):
            while sum(map(len, them.heard)) < 2 * RATE or len(us.ear.samples) < 2 * RATE:
                assert not us.saw(CallKeyless), us.events
                assert not us.saw(CallEnded), us.events
                await asyncio.sleep(0.1)
        us.driver.call(us.call.hang_up)
        await them.connection.close()
    (keyed,) = (one.record for one in us.recorder.entries if isinstance(one.record, MediaKeyed))
    assert keyed.role == ("passive" if ours_first else "active")
    assert pitch(us.ear.samples[RATE : 2 * RATE]) == pytest.approx(THEIRS, abs=5)
    assert pitch(np.concatenate(them.heard)[RATE : 2 * RATE]) == pytest.approx(OURS, abs=5)


def pitch(second: Samples) -> float:
    """The strongest frequency in a second of sound."""
    return float(np.argmax(np.abs(np.fft.rfft(second.astype(float)))[50:]) + 50)
