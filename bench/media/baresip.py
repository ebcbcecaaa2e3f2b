"""Two processes of baresip that call each other on loopback, without a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULES = Path("/usr/lib/baresip/modules")
PATIENCE = 15.0

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
audio_source ausine,440
audio_player aubridge,ear
audio_alert aubridge,alert
ausrc_srate 48000
auplay_srate 48000
ausrc_channels {channels}
auplay_channels {channels}
opus_stereo no
opus_sprop_stereo no
rtcp_mux yes
{video}module_path {modules}
module opus.so
module ausine.so
module aubridge.so
module srtp.so
module dtls_srtp.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
"""
_VIDEO = """\
video_source fakevideo,nil
video_display fakevideo,nil
video_size 640x360
video_bitrate 500000
video_fps 15
module fakevideo.so
module vp8.so
"""


def missing() -> str | None:
    if shutil.which("baresip") is None or not MODULES.is_dir():
        return "there is no baresip here; apt-get install baresip-core"
    return None


def version() -> str:
    if missing():
        return "none"
    said = subprocess.run(["baresip", "-h"], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).split()[1].lstrip("v")


def can(row: str) -> bool:
    """Debian's baresip-core brings VP8 and no H.264."""
    return row in ("audio", "VP8")


@contextmanager
def standing(row: str, directory: Path) -> Iterator[tuple[int, int]]:
    """The process ids of two that are in a call."""
    ports = _free_port(), _free_port()
    processes = []
    try:
        for name, port in zip(("bob", "alice"), ports, strict=True):
            home = directory / name
            home.mkdir()
            video = _VIDEO if row != "audio" else ""
            (home / "config").write_text(_CONFIG.format(port=port, channels=2, video=video, modules=MODULES))
            (home / "contacts").touch()
            wanted = "audio_codecs=opus/48000/2" + (f";video_codecs={row.lower()}" if video else "")
            (home / "accounts").write_text(
                f"<sip:{name}@127.0.0.1:{port}>;regint=0;answermode=auto;mediaenc=dtls_srtp;{wanted}\n"
            )
            dials = ["-e", f"/dial sip:bob@127.0.0.1:{ports[0]}"] if name == "alice" else []
            with (home / "log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        ["baresip", "-4", "-f", str(home), "-v", *dials, "-t", "120"],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            time.sleep(1.0)
        _wait_for(directory / "alice" / "log", "Call established")
        yield processes[1].pid, processes[0].pid
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait_for(log: Path, words: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while words not in log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"baresip's call is not established:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
