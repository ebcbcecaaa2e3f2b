"""A program with one aiortc peer connection, told what to do in lines of JSON: python bench/media/aiortc_party.py

{"offer": "audio"} or {"offer": "VP8"} → {"sdp": …}; {"take": SDP, "media": …} → {"sdp": …}; {"answer": SDP} → {};
{"report": true} → frames received. What it sends is what `party.py` sends: a tone and pictures that are there already.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
import time

import aioice.ice
import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from scenery import FRAME_RATE, pictures, tone

from iceway.media.picture import frame_of
from iceway.media.sound import FRAME, RATE

aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Tone(AudioStreamTrack):
    def __init__(self) -> None:
        super().__init__()
        self._source = tone()
        self._began: float | None = None
        self._at = 0

    async def recv(self) -> av.AudioFrame:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        await asyncio.sleep(max(0.0, self._began + self._at / RATE - now))
        samples = self._source.read()
        assert samples is not None
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._at, fractions.Fraction(1, RATE)
        self._at += FRAME
        return frame


class Camera(MediaStreamTrack):
    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._source = pictures()
        self._began: float | None = None
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        await asyncio.sleep(max(0.0, self._began + self._count / FRAME_RATE - now))
        picture = self._source.read()
        assert picture is not None
        frame = frame_of(picture)
        frame.pts, frame.time_base = round(self._count * 90_000 / FRAME_RATE), fractions.Fraction(1, 90_000)
        self._count += 1
        return frame


class Party:
    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.connection.on("track", self._listen)
        self.received = {"audio": 0, "video": 0}
        self._listening: list[asyncio.Future[None]] = []

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listening.append(asyncio.ensure_future(self._count(track)))

    async def _count(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                await track.recv()
            except MediaStreamError:
                return
            self.received[track.kind] += 1

    def plays(self, media: str) -> None:
        self.connection.addTrack(Tone())
        if media != "audio":
            self.connection.addTrack(Camera())
            (video,) = (one for one in self.connection.getTransceivers() if one.kind == "video")
            known = RTCRtpSender.getCapabilities("video").codecs
            video.setCodecPreferences([one for one in known if one.mimeType == f"video/{media}"])

    async def offers(self, media: str) -> str:
        self.plays(media)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def takes(self, sdp: str, media: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        self.plays(media)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    async def answered(self, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))


async def main() -> None:
    party = Party()
    loop = asyncio.get_running_loop()
    _say({"ready": True})
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match json.loads(line):
            case {"offer": media}:
                _say({"sdp": await party.offers(media)})
            case {"take": sdp, "media": media}:
                _say({"sdp": await party.takes(sdp, media)})
            case {"answer": sdp}:
                await party.answered(sdp)
                _say({})
            case _:
                _say(dict(party.received))
    await party.connection.close()


def _say(what: dict[str, object] | dict[str, int]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
