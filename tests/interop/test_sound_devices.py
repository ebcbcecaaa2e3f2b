"""A real PortAudio and a real sound server: what the speakers play comes back through the microphone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iceway.media.heard import compare
from iceway.media.speech import speech
from tests.e2e.programs import DOMAIN, Company, password

pytestmark = pytest.mark.interop("pulseaudio")

PATIENCE = 30.0
ASOUND = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
LOOP = """\
import json, time, numpy as np
from iceway.io.sound_devices import Microphone, Speakers, sound_devices
from iceway.media.files import ToneSource
from iceway.media.sound import FRAME_DURATION

microphone, speakers, tone = Microphone(), Speakers(), ToneSource(1000.0, 0.5)
heard, at = [], time.monotonic()
for _ in range(150):
    speakers.write(tone.read())
    heard.append(microphone.read())
    at += FRAME_DURATION
    time.sleep(max(0.0, at - time.monotonic()))
last = np.concatenate(heard[75:]).astype(float)
spectrum = np.abs(np.fft.rfft(last * np.hanning(len(last))))
loudest = np.argmax(spectrum) * 48000 / len(last)
share = float((spectrum[np.abs(np.arange(len(spectrum)) * 48000 / len(last) - 1000) < 50] ** 2).sum() / (spectrum**2).sum())
print(json.dumps({"devices": [one.name for one in sound_devices()], "level": float(last.std()), "loudest": float(loudest),
    "share": share, "latency": microphone.latency + speakers.latency}))
microphone.close(); speakers.close()
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What a program's environment says on a machine whose speakers its microphone hears."""
    home = tmp_path / "home"
    home.mkdir()
    socket = home / "sound"
    told = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_SERVER": f"unix:{socket}"}
    (home / ".asoundrc").write_text(ASOUND)
    server = subprocess.Popen(
        [
            "pulseaudio",
            *("-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"),
            *("-L", "module-null-sink sink_name=null"),
            *("-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"),
        ],
        env={**os.environ, **told},
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + PATIENCE
        while not socket.is_socket():
            assert time.monotonic() < give_up, "PulseAudio does not start"
            time.sleep(0.05)
        yield told
    finally:
        server.terminate()
        server.wait(PATIENCE)


def test_what_the_speakers_play_the_microphone_hears(environment: dict[str, str]) -> None:
    loop = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOOP],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert loop.returncode == 0, loop.stderr
    heard = json.loads(loop.stdout)
    assert "default" in heard["devices"]
    assert heard["loudest"] == pytest.approx(1000, abs=2)
    assert heard["share"] > 0.9, "and hardly anything else: few frames were repeated or left out"
    assert heard["level"] > 32767 * 0.5 / 2**0.5 * 0.7
    assert heard["latency"] < 0.3


def test_a_call_with_microphone_and_speakers(tmp_path: Path, environment: dict[str, str]) -> None:
    """What Bob says comes out of Alice's speakers, into her microphone, and back to him."""
    company = Company(tmp_path)
    try:
        company.serves()
        company.adds("alice", "bob")
        bob = company.answers("bob", "--ring-for", "0", "--loop")
        devices = company.done("devices", "devices", **environment)
        assert re.search(r"speakers:\n(  .*\n)*  speakers:default +32 channels, the default", devices.output)
        alice = company.done(
            "alice",
            *("call", f"bob@{DOMAIN}", *company.account("alice"), "--play", "mic", "--record", "speakers"),
            *("--duration", "10"),
            ICEWAY_PASSWORD=password("alice"),
            **environment,
        )
        assert alice.process.returncode == 0, alice.told()
        bob.prints("^bob ↔ alice: direct")
        assert bob.interrupted() == 0
        heard = compare(speech("bob"), company.path("bob-1.wav"))
        assert heard.share > 0.9, heard
        assert heard.delay < 6.0
    finally:
        company.close()
