"""docs/voicebot.py, as it stands there: it greets, repeats what it hears, and says goodbye."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from iceway.client import AudioFrames, CallFailed, Client
from iceway.client.media import Media
from iceway.core.errors import UsageError
from iceway.media.files import ToneSource, WavSink
from iceway.media.sound import RATE, Samples
from tests.client.test_run import DOMAIN, Scene, play

BOT = Path(__file__).parents[2] / "docs" / "voicebot.py"
GREETING, SPOKEN = 700.0, 1200.0  # Hz


@pytest.fixture
def bot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("voicebot", BOT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pitch(samples: Samples) -> float | None:
    """The loudest pitch in a piece, None if it is silent."""
    if samples.std() < 500:
        return None
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * RATE / len(samples)


async def hears(frames: AudioFrames, expected: float | None) -> None:
    """Listen until a tenth of a second sounds so."""
    pieces: list[Samples] = []
    async for samples in frames:
        pieces = [*pieces[-4:], samples]
        heard = pitch(np.concatenate(pieces))
        if len(pieces) == 5 and (heard == pytest.approx(expected, rel=0.05) if expected else heard is None):
            return
    raise AssertionError(f"{expected} was not heard")


def test_a_voice_bot(bot: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greeting, tone = WavSink(tmp_path / "greeting.wav"), ToneSource(GREETING)
    for _ in range(40):
        greeting.write(tone.read())
    greeting.close()
    monkeypatch.setenv("ICEWAY_PASSWORD", "secret")

    async def scene(on: Scene) -> None:
        # The bot finds its server by itself; in this scene it is told, as its command line would.
        def told(
            identity: str, password: str, *, server: object, trust: object, media: Callable[[str], Media]
        ) -> Client:
            return on.client("bob", password, media=media)

        monkeypatch.setattr(bot, "Client", told)
        running: Coroutine[Any, Any, None] = bot.main(f"bob@{DOMAIN}", str(tmp_path / "greeting.wav"))
        working = asyncio.ensure_future(running)
        async with on.client("alice") as alice:
            for _ in itertools.count():
                frames = AudioFrames()
                call = await alice.call(f"sip:bob@{DOMAIN}", play=frames.source, record=frames.sink)
                try:
                    await call.answered(10)
                    break
                except CallFailed:  # the bot is not registered yet
                    await asyncio.sleep(0.1)
            await hears(frames, GREETING)
            await hears(frames, None)
            speaking = ToneSource(SPOKEN)
            for _ in range(50):
                await frames.write(speaking.read())
            await hears(frames, SPOKEN)
            call.send_dtmf("5#")
            await hears(frames, GREETING)
            await call.ended(10)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    play(tmp_path, scene)


def test_a_call_that_was_given_something_else_has_no_frames(tmp_path: Path) -> None:
    async def scene(on: Scene) -> None:
        async with on.client("alice") as alice:
            call = await alice.call(f"sip:bob@{DOMAIN}")
            with pytest.raises(UsageError, match="was not given AudioFrames"):
                AudioFrames.of(call)

    play(tmp_path, scene)
