"""A real PortAudio and a real sound server: what the speakers play comes back through the microphone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def test_what_the_speakers_play_the_microphone_hears(tmp_path: Path) -> None:
    socket = tmp_path / "sound"
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PULSE_SERVER": f"unix:{socket}",
    }
    (tmp_path / ".asoundrc").write_text(ASOUND)
    server = subprocess.Popen(
        [
            "pulseaudio",
            *("-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"),
            *("-L", "module-null-sink sink_name=null"),
            *("-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"),
        ],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + PATIENCE
        while not socket.is_socket():
            assert time.monotonic() < give_up, "PulseAudio does not start"
            time.sleep(0.05)
        loop = subprocess.run(
            [sys.executable, "-W", "error", "-c", LOOP],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert loop.returncode == 0, loop.stderr
        heard = json.loads(loop.stdout)
    finally:
        server.terminate()
        server.wait(PATIENCE)
    assert "default" in heard["devices"]
    assert heard["loudest"] == pytest.approx(1000, abs=2)
    assert heard["share"] > 0.9, "and hardly anything else: few frames were repeated or left out"
    assert heard["level"] > 32767 * 0.5 / 2**0.5 * 0.7
    assert heard["latency"] < 0.3
