"""A telephone of baresip-python's, as a program: registers, talks in one call, tells what it heard and saw.

    python baresip_phone.py orders.json

What it does is in a file of one JSON object (`Orders`); what happens is a JSON object a line on stdout: `registered`,
`incoming`, `established`, `closed` with the numbers of the test patterns that it saw.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from baresip import Account, Call, Config, Runtime, UserAgent
from baresip.errors import AudioNotActive, AudioRestarted, BaresipError, VideoNotActive, VideoRestarted

from iceway.media.files import load
from iceway.media.pattern import numbered, read
from iceway.media.sound import RATE

TICK = 0.02  # seconds
AHEAD = 3  # ticks of sound that it may be ahead of its clock
SIZE = (320, 180)
FRAME_RATE = 12.0  # pictures a second; it sends the newest it has at each tick of a faster clock of its own


@dataclass(frozen=True, slots=True)
class Orders:
    """`dials`: whom, else it waits to be called. `listens`: seconds before it speaks.
    `talks`: seconds of sound until it hangs up; 0: that is for the other side."""

    name: str
    domain: str
    password: str
    server: str
    ca: str
    account: list[str]
    codec: str
    play: str
    record: str
    dials: str = ""
    listens: float = 0.0
    talks: float = 0.0
    video: bool = False
    bundle: bool = False


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Conversation:
    """Sound and pictures of one call, moved by hand every tick."""

    def __init__(self, call: Call, orders: Orders) -> None:
        self._call = call
        self._orders = orders
        self._said = load(orders.play)
        self._at = -orders.listens
        self._heard: list[bytes] = []
        self._format = (RATE, 1)
        self._shown = 0
        self.saw: list[tuple[int, str]] = []

    async def hold(self) -> None:
        """Until the call is over."""
        loop = asyncio.get_running_loop()
        while self._call.state.value != "closed" and not self._flows():  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(TICK)
        began = loop.time()
        ticks = 0
        while self._call.state.value != "closed":
            self._sound()
            if self._orders.video:
                self._pictures(loop.time() - began)
            if self._orders.talks and loop.time() - began > self._orders.talks:
                await self._call.hangup()
                break
            ticks += 1
            await asyncio.sleep(max(0.0, began + ticks * TICK - loop.time()))
        self._write()

    def _flows(self) -> bool:
        try:
            return self._call.audio.info().tx_ready
        except AudioNotActive:
            return False

    def _sound(self) -> None:
        try:
            audio = self._call.audio
            info = audio.info()
            if info.rx_ready:
                self._format = info.rx_sample_rate, info.rx_channels
                self._heard.append(audio.read(info.rx_capacity))
            if info.tx_ready:
                tick = int(info.tx_sample_rate * TICK) * info.tx_channels * 2
                while info.tx_buffered < AHEAD * tick:
                    audio.write(self._next_words(info.tx_sample_rate, info.tx_channels))
                    info = audio.info()
        except (AudioNotActive, AudioRestarted):
            pass  # not yet, or a re-INVITE has begun the streams anew

    def _next_words(self, rate: int, channels: int) -> bytes:
        start = round(self._at * RATE)
        self._at += TICK
        piece = np.zeros(int(RATE * TICK), np.int16)
        words = self._said[start : start + len(piece)] if start >= 0 else piece[:0]
        piece[: len(words)] = words
        thin = piece.reshape(-1, RATE // rate).mean(axis=1).astype("<i2")
        return bytes(np.repeat(thin, channels).tobytes())

    def _pictures(self, elapsed: float) -> None:
        try:
            video = self._call.video
            if elapsed * FRAME_RATE >= self._shown and video.info().tx_ready:
                self._shown += 1
                video.write_frame(numbered(self._shown, *SIZE).tobytes())
            frame = video.read_frame()
            if frame is not None:
                planes = np.frombuffer(frame.data, np.uint8).reshape(frame.height * 3 // 2, frame.width)
                reading = read(planes)
                if reading is not None:
                    self.saw.append((reading.number, reading.lies))
        except (VideoNotActive, VideoRestarted):
            pass

    def _write(self) -> None:
        rate, channels = self._format
        with wave.open(self._orders.record, "wb") as out:
            out.setnchannels(channels)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(b"".join(self._heard))


async def live(orders: Orders) -> None:
    runtime = Runtime()
    await runtime.start(
        Config(
            native_log_level="info",
            video_size=SIZE,
            video_fps=30,
            video_bitrate=400_000,
            extra_config_text=f"sip_cafile {orders.ca}\navt_bundle {'yes' if orders.bundle else 'no'}\n",
        )
    )
    account = Account(
        orders.name,
        orders.domain,
        orders.password,
        registrar=f"{orders.server};transport=tls",
        transport="tls",
        audio_codecs=(orders.codec,),
        extra_params=tuple(orders.account),
    )
    agent = await UserAgent.create(runtime, account)
    incoming: asyncio.Queue[Call] = asyncio.Queue()
    agent.on_incoming(incoming.put_nowait)
    await agent.register()
    tell(did="registered")
    if orders.dials:
        call = await agent.dial(f"sip:{orders.dials}@{orders.domain}", video=orders.video)
    else:
        call = await incoming.get()
        tell(did="incoming", peer=call.peer)
        await call.answer(video=orders.video)
    await call.wait_established()
    tell(did="established")
    conversation = Conversation(call, orders)
    await conversation.hold()
    tell(did="closed", saw=conversation.saw)
    try:
        await agent.unregister(timeout=2)
    finally:
        await runtime.close()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO
    )  # what the stack says is in the log, for whoever reads why a test failed
    wishes = json.loads(Path(sys.argv[1]).read_text())
    try:
        asyncio.run(live(Orders(**wishes)))
    except BaresipError as error:
        tell(failed=str(error))
        sys.exit(1)
